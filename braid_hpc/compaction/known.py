"""What the store already holds, as far as a commit needs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from braid_hpc.compaction.extract import Place
from braid_hpc.compaction.statements import Edge, Late, Unresolved
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.references import Reference

__all__ = ["FED_BY", "Known"]

#: The relations by which something can come to be its own ancestor.
FED_BY = (Relation.DERIVED, Relation.USED, Relation.GENERATED, Relation.SAME_CONTENT)


class Known:
    """Look-ups in the snapshot that a commit builds on.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a copy of that snapshot.

    Attributes
    ----------
    occurrences : dict of (str, int) to str
        Version id by writer and sequence.
    uids : set of str
        Ids of all versions, activities and placeholders.
    unfilled : dict of str to (str, int)
        Placeholders of what is still not seen: id to writer and sequence.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        rows = self._rows("select o.writer, o.sequence, v.uid from occurrences o join version_rows v using (id)")
        self.occurrences: dict[Place, str] = {(writer, sequence): uid for writer, sequence, uid in rows}
        self.uids: set[str] = {uid for (uid,) in self._rows("select uid from nodes")}
        self.unfilled: dict[str, Place] = {
            uid: _place(text)
            for uid, text in self._rows(
                "select uid, placeholder from version_rows "
                "where placeholder is not null and id not in (select id from filled)"
            )
        }
        self._found: dict[tuple[str, int], str | None] = {}

    def _rows(self, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._connection.execute(query, parameters).fetchall()
        return found

    def above(self, uids: Iterable[str], relations: Iterable[Relation] = FED_BY) -> list[tuple[str, str]]:
        """Return the edges that are met going up from some nodes, as earlier commits know them.

        Parameters
        ----------
        uids : iterable of str
            Ids; those that the store does not hold are passed over.
        relations : iterable of Relation
            Which edges to follow.

        Returns
        -------
        list of (str, str)
            Child and parent.
        """
        wanted = sorted(set(uids) & self.uids)
        if not wanted:
            return []
        return [
            (child, parent)
            for child, parent in self._rows(
                """
                with recursive followed as materialized (
                    select child, parent from (
                        select child, parent, relation from edge_rows
                        union all select child, parent, 'same-content' from content_rows)
                    where list_contains(?, relation)),
                up(id) as (
                    select id from nodes where uid in (select unnest(?::varchar[]))
                    union
                    select e.parent from up join followed e on e.child = up.id)
                select distinct c.uid, p.uid from up join followed e on e.child = up.id
                join nodes c on c.id = e.child join nodes p on p.id = e.parent
                """,
                [[str(each) for each in relations], wanted],
            )
        ]

    def touching(self, uids: Iterable[str]) -> list[Edge]:
        """Return the edges that begin or end at some nodes.

        Parameters
        ----------
        uids : iterable of str
            Ids.

        Returns
        -------
        list of Edge
            As earlier commits wrote them.
        """
        rows = self._rows(
            "select c.uid, p.uid, e.relation, e.writer, e.sequence, e.said from edge_rows e "
            "join nodes c on c.id = e.child join nodes p on p.id = e.parent "
            "where list_contains(?::varchar[], c.uid) or list_contains(?::varchar[], p.uid) order by all",
            [sorted(uids)] * 2,
        )
        return [Edge(child, parent, Relation(relation), *rest) for child, parent, relation, *rest in rows]

    def tags(self, uids: Iterable[str]) -> list[tuple[Any, ...]]:
        """Return the rows of tags that hang on some nodes.

        Parameters
        ----------
        uids : iterable of str
            Ids.

        Returns
        -------
        list of tuple
            uid, then key, type, text, integer (as text), real, boolean, writer, sequence.
        """
        return self._rows(
            "select n.uid, t.key, t.type, t.text, t.integer::varchar, t.real, t.boolean, t.writer, t.sequence "
            "from tag_rows t join nodes n using (id) where list_contains(?::varchar[], n.uid) order by all",
            [sorted(uids)],
        )

    def late(self, runs: Iterable[str]) -> list[Late]:
        """Return the late-bound links that records of some runs may still answer.

        Parameters
        ----------
        runs : iterable of str
            The runs of this commit's logs.

        Returns
        -------
        list of Late
            Those whose own record is not seen are always among them.
        """
        rows = self._rows(
            "select n.uid, l.relation, l.writer, l.sequence, l.run, l.kind, l.name, l.step, l.place "
            "from late_links l join nodes n on n.id = l.child "
            "where l.run is null or list_contains(?::varchar[], l.run)",
            [sorted(runs)],
        )
        return [
            Late(child, Relation(relation), writer, sequence, place=_place(place))
            if place is not None
            else Late(child, Relation(relation), writer, sequence, (run, kind, name, step))
            for child, relation, writer, sequence, run, kind, name, step, place in rows
        ]

    def unresolved(self, runs: Iterable[str]) -> list[Unresolved]:
        """Return the references in text that named nothing when records of these runs were taken before.

        Parameters
        ----------
        runs : iterable of str
            The runs of this commit's logs.

        Returns
        -------
        list of Unresolved
            Without those that were resolved since.
        """
        rows = self._rows(
            "select n.uid, u.run, u.said, epoch_ns(u.time), u.relation, u.writer, u.sequence "
            "from unresolved_links u join nodes n on n.id = u.child where list_contains(?::varchar[], u.run) "
            "and not exists ("
            "from edge_rows e where e.writer = u.writer and e.sequence = u.sequence and e.said = u.said)",
            [sorted(runs)],
        )
        return [
            Unresolved(child, run, said, time, Relation(relation), writer, sequence)
            for child, run, said, time, relation, writer, sequence in rows
        ]

    def described(self, place: Place) -> tuple[str, str, str, int] | None:
        """Return run, kind, name and step of an occurrence.

        Parameters
        ----------
        place : (str, int)
            Writer and sequence.

        Returns
        -------
        tuple or None
            None if it was not seen.
        """
        rows = self._rows(
            "select o.run, v.kind, v.name, o.step from occurrences o join version_rows v using (id) "
            "where o.writer = ? and o.sequence = ?",
            list(place),
        )
        return (rows[0][0], rows[0][1], rows[0][2], rows[0][3]) if rows else None

    def at_step(self, run: str, kind: str, name: str, step: int) -> list[str]:
        """Return the versions of a record that the writers of a run declared at one step.

        Parameters
        ----------
        run, kind, name, step
            What a late-bound link means.

        Returns
        -------
        list of str
            Ids.
        """
        rows = self._rows(
            "select distinct v.uid from occurrences o join version_rows v using (id) "
            "where o.run = ? and o.step = ? and v.kind = ? and v.name = ? order by 1",
            [run, step, kind, name],
        )
        return [uid for (uid,) in rows]

    def named(self, run: str, kind: str | None, name: str) -> list[tuple[int, str]]:
        """Return what a run declared under a name.

        Parameters
        ----------
        run, kind, name
            The kind may be None.

        Returns
        -------
        list of (int, str)
            Time (UTC ns) and id of each occurrence.
        """
        return [
            (time, uid)
            for time, uid in self._rows(
                "select epoch_ns(o.time), v.uid from occurrences o join version_rows v using (id) "
                "where o.run = ? and v.name = ? and (? is null or v.kind = ?)",
                [run, name, kind, kind],
            )
        ]

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
        key = (str(reference), before)
        if key not in self._found:
            self._found[key] = self._look_up(reference, before)
        return self._found[key]

    def _look_up(self, reference: Reference, before: int) -> str | None:
        if reference.identity is not None:
            rows = self._rows("select uid from version_rows where starts_with(uid, ?) limit 2", [reference.identity])
            return rows[0][0] if len(rows) == 1 else None
        rows = self._rows(
            "select uid from versions where name = ? and (? is null or kind = ?) and (? is null or version = ?) "
            "and (? is not null or time <= make_timestamp_ns(?)) and not placeholder "
            "order by time desc, version desc, kind limit 1",
            [
                reference.name,
                reference.kind,
                reference.kind,
                reference.version,
                reference.version,
                reference.version,
                before,
            ],
        )
        return rows[0][0] if rows else None


def _place(text: str) -> Place:
    writer, _, sequence = text.rpartition(":")
    return writer, int(sequence)
