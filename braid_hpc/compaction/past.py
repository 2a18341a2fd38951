"""What writers have said before a slice: the latest of it in memory, all of it in the store.

A commit may be larger than memory, and a store always is. So what may be asked while the graph of a slice is made is
learned beforehand, in a few queries for the whole slice, and only what the latest slices did not bring. A look-up goes
no further back in the store than the first snapshot of the writers it is about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from braid_hpc.compaction.extract import Place

__all__ = ["KEPT", "Name", "Past", "Seen"]

#: Kind, where it is known, and name.
Name = tuple[str | None, str]

#: Occurrences, names and ids that are kept in memory, each.
KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An occurrence of an earlier slice or commit; texts are as they stand in the store."""

    sequence: int
    uid: str
    kind: str
    name: str
    step: int
    digest: str | None
    state: int

    @property
    def meaning(self) -> tuple[str, str, int, str | None]:
        """What a link to it is compared by."""
        return self.kind, self.name, self.step, self.digest


_COLUMNS = "o.sequence, v.uid, v.kind, v.name, o.step, v.digest, o.state"


class Past:
    """Occurrences and activities of earlier slices and commits.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the file that the commit builds; its earlier slices are in it.
    snapshot : int
        Number of the snapshot to be.
    kept : int, optional
        How much is kept in memory; by default :data:`KEPT`.

    Attributes
    ----------
    ids : dict of str to int
        Ids of versions, activities and placeholders that were met lately.
    since, runs : dict of str to int
        The first snapshot that has anything of a writer, of a run.
    complete : bool
        Whether everything that this commit brought is still in memory.
    """

    def __init__(self, connection: Any, snapshot: int, kept: int | None = None) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._kept = kept or KEPT
        self.complete = True
        self.since: dict[str, int] = dict(connection.execute("select writer, snapshot from writers").fetchall())
        self.runs: dict[str, int] = dict(
            connection.execute("select run, min(snapshot) from writers group by run").fetchall()
        )
        self.ids: dict[str, int] = {}
        self._seen: dict[Place, Seen] = {}
        self._activities: dict[Place, str] = {}
        self._last: dict[tuple[str, Name], Seen | None] = {}

    # ------------------------------------------------------------------ answers

    def seen(self, place: Place) -> Seen | None:
        """Return an occurrence, None if no slice and no commit has brought it.

        Parameters
        ----------
        place : (str, int)
            One that was learned.

        Returns
        -------
        Seen or None
            What is known of it.
        """
        return self._seen.get(place)

    def activity(self, place: Place) -> str | None:
        """Return the id of an activity, None if its beginning was not seen.

        Parameters
        ----------
        place : (str, int)
            One that was learned.

        Returns
        -------
        str or None
            Its uid.
        """
        return self._activities.get(place)

    def last(self, writer: str, kind: str | None, name: str, sequence: int) -> Seen | None:
        """Return the last occurrence of a name that a writer declared before a sequence.

        Parameters
        ----------
        writer : str
            The writer.
        kind, name
            One that was learned; the kind may be None.
        sequence : int
            The occurrence that asks.

        Returns
        -------
        Seen or None
            None if there is none.
        """
        found = self._last.get((writer, (kind, name)))
        if found is not None and found.sequence >= sequence:
            # A row that came late, into a place that earlier commits had found empty.
            rows = self._rows(
                f"select {_COLUMNS} from occurrences o join version_rows v using (id) where o.writer = ? "
                "and v.name = ? and (? is null or v.kind = ?) and o.sequence < ? order by o.sequence desc limit 1",
                [writer, name, kind, kind, sequence],
            )
            found = Seen(*rows[0]) if rows else None
        return found

    # ------------------------------------------------------------------ learning

    def learn(self, places: Iterable[Place], names: Iterable[tuple[str, Name]]) -> None:
        """Look up what a slice refers to.

        Parameters
        ----------
        places : iterable of (str, int)
            Writers and sequences of occurrences and activities.
        names : iterable of (str, (str or None, str))
            Writers, and kinds and names whose last occurrence is wanted.
        """
        known = self._seen, self._activities
        self._learn_places(
            [each for each in places if not any(each in one for one in known) and self.may_hold(each[0])]
        )
        self._learn_names([each for each in names if each not in self._last and self.may_hold(each[0])])

    def may_hold(self, writer: str) -> bool:
        """Return whether the store may have something of a writer that is not in memory.

        Parameters
        ----------
        writer : str
            Its id.

        Returns
        -------
        bool
            False if everything that there is was brought by this commit lately.
        """
        return writer in self.since or not self.complete

    def _from(self, writers: Iterable[str]) -> int:
        """Return the first snapshot that has anything of some writers."""
        found = min((self.since[writer] for writer in writers if writer in self.since), default=self._snapshot)
        return min(found, self._snapshot)

    def _learn_places(self, places: list[Place]) -> None:
        if not places:
            return
        asked = _table(("writer", pa.string(), [place[0] for place in places]), _sequences(places))
        since = self._from(place[0] for place in places)
        for writer, sequence, identity, *rest in self._ask(
            f"select o.writer, o.sequence, o.id, {_COLUMNS} from occurrences o "
            "join braid_incoming i on o.writer = i.writer and o.sequence = i.sequence "
            f"join version_rows v on v.id = o.id where o.snapshot >= {since}",
            asked,
        ):
            self._seen[writer, sequence] = seen = Seen(*rest)
            self.ids[seen.uid] = identity
        for writer, sequence, uid, identity in self._ask(
            "select a.writer, a.sequence, a.uid, a.id from activity_rows a "
            "join braid_incoming i on a.writer = i.writer and a.sequence = i.sequence "
            f"where a.snapshot >= {since}",
            asked,
        ):
            self._activities[writer, sequence] = uid
            self.ids[uid] = identity

    def _learn_names(self, names: list[tuple[str, Name]]) -> None:
        if not names:
            return
        since = self._from(writer for writer, _ in names)
        for with_kind in (True, False):
            some = [each for each in names if (each[1][0] is not None) == with_kind]
            asked = _table(
                ("writer", pa.string(), [writer for writer, _ in some]),
                ("kind", pa.string(), [name[0] for _, name in some]),
                ("name", pa.string(), [name[1] for _, name in some]),
                ("number", pa.int64(), range(len(some))),
            )
            kind = "and v.kind = i.kind" if with_kind else ""
            for number, *rest in self._ask(
                f"select i.number, {_COLUMNS} from occurrences o join version_rows v using (id) "
                f"join braid_incoming i on o.writer = i.writer and v.name = i.name {kind} "
                f"where o.snapshot >= {since} "
                "qualify row_number() over (partition by i.number order by o.sequence desc) = 1",
                asked,
            ):
                self._last[some[number]] = Seen(*rest)

    # ------------------------------------------------------------------ what a slice brings

    def learn_ids(self, uids: dict[str, str | None]) -> None:
        """Look up the ids of versions that a slice may bring anew, or join.

        Parameters
        ----------
        uids : dict of str to (str or None)
            The run that such a version can be of; None where it may be of any.
        """
        wanted = {uid: run for uid, run in uids.items() if uid not in self.ids}
        sources = [uid for uid, run in wanted.items() if run is None]
        others = [uid for uid, run in wanted.items() if run is not None and (run in self.runs or not self.complete)]
        since = min((self.runs.get(wanted[uid] or "", self._snapshot) for uid in others), default=self._snapshot)
        # A source may be as old as the store; what is made in a run is not older than the run.
        first = 1 if not self.complete else 0
        for some, condition in (
            (sources, f"v.snapshot < {self._snapshot + first}"),
            (others, f"v.snapshot >= {since}"),
        ):
            self.ids.update(
                self._ask(
                    f"select v.uid, v.id from version_rows v join braid_incoming using (uid) where {condition}",
                    _table(("uid", pa.string(), some)),
                )
            )

    def add(self, place: Place, seen: Seen) -> None:
        """Remember an occurrence.

        Parameters
        ----------
        place : (str, int)
            Writer and sequence.
        seen : Seen
            What is known of it.
        """
        self._seen[place] = seen
        for kind in (None, seen.kind):
            key = (place[0], (kind, seen.name))
            before = self._last.pop(key, None)
            self._last[key] = before if before is not None and before.sequence > seen.sequence else seen

    def add_activity(self, place: Place, uid: str) -> None:
        """Remember an activity.

        Parameters
        ----------
        place : (str, int)
            Writer and sequence of its beginning.
        uid : str
            Its id.
        """
        self._activities[place] = uid

    def forget(self) -> None:
        """Drop what was met longest ago, where there is too much."""
        caches: tuple[dict[Any, Any], ...] = (self._seen, self._activities, self._last, self.ids)
        for cache in caches:
            if len(cache) > self._kept:
                self.complete = False
                for key in list(islice(cache, len(cache) - self._kept // 2)):
                    del cache[key]

    def _rows(self, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._connection.execute(query, parameters).fetchall()
        return found

    def _ask(self, query: str, braid_incoming: pa.Table) -> list[tuple[Any, ...]]:
        # DuckDB finds the table by the argument's name.
        found: list[tuple[Any, ...]] = self._connection.execute(query).fetchall() if len(braid_incoming) else []
        return found


def _sequences(places: list[Place]) -> tuple[str, pa.DataType, list[int]]:
    # A handle may name any 64-bit number; none that is stored is beyond 63 bits.
    return "sequence", pa.int64(), [min(place[1], (1 << 63) - 1) for place in places]


def _table(*columns: tuple[str, pa.DataType, Any]) -> pa.Table:
    return pa.table({name: pa.array(list(values), kind) for name, kind, values in columns})
