"""What the store already holds, as far as a commit needs it."""

from __future__ import annotations

from typing import Any

from braid_hpc.vocabulary.references import Reference

__all__ = ["Known"]


class Known:
    """Look-ups in the snapshot that a commit builds on.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a copy of that snapshot.
    writers : list of str
        Writers whose logs are read in this commit.

    Attributes
    ----------
    occurrences : dict of (str, int) to str
        Version id by writer and sequence, for these writers and for every handle of another writer.
    uids : set of str
        Ids of all versions and activities.
    """

    def __init__(self, connection: Any, writers: list[str]) -> None:
        self._connection = connection
        rows = connection.execute(
            "select o.writer, o.sequence, v.uid from occurrences o join version_rows v using (id)"
        ).fetchall()
        self.occurrences: dict[tuple[str, int], str] = {(writer, sequence): uid for writer, sequence, uid in rows}
        self.uids: set[str] = {uid for (uid,) in connection.execute("select uid from nodes").fetchall()}
        self.writers = set(writers)

    def parents(self, uid: str) -> list[str]:
        """Return what a version is derived from, as earlier commits know it.

        Parameters
        ----------
        uid : str
            Its id.

        Returns
        -------
        list of str
            Ids.
        """
        rows = self._connection.execute(
            "select p.uid from version_rows c join edge_rows e on e.child = c.id join version_rows p on p.id = e.parent "
            "where c.uid = ? and e.relation = 'wasDerivedFrom'",
            [uid],
        ).fetchall()
        return [parent for (parent,) in rows]

    def find(self, reference: Reference, *, before: int) -> str | None:
        """Find the version a reference means to a run that began at a certain time.

        Parameters
        ----------
        reference : Reference
            With a version number, it means that one; else the newest.
        before : int
            UTC nanoseconds; younger versions are passed over.

        Returns
        -------
        str or None
            Its id.
        """
        if reference.identity is not None:
            rows = self._connection.execute(
                "select uid from version_rows where starts_with(uid, ?) limit 2", [reference.identity]
            ).fetchall()
            return rows[0][0] if len(rows) == 1 else None
        rows = self._connection.execute(
            "select uid from versions where name = ? and (? is null or kind = ?) and (? is null or version = ?) "
            "and (? is not null or time <= make_timestamp_ns(?)) and not placeholder order by version desc limit 1",
            [
                reference.name,
                reference.kind,
                reference.kind,
                reference.version,
                reference.version,
                reference.version,
                before,
            ],
        ).fetchall()
        return rows[0][0] if rows else None
