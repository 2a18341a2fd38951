"""What an adjacency index knows of time: when nodes appeared, and which edges were retracted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.snapshots.halves import ALWAYS, NEVER, Times
from braid_hpc.snapshots.schema import NODE_TIMES

__all__ = ["Retracted", "earlier_times", "node_times", "retracted_edges"]


#: How many rows are held at once while all declarations of a store are read.
_ROWS_AT_ONCE = 1 << 20

#: How many ids are handed to a query, and not looked for by it.
_FEW = 10_000


def node_times(connection: Any, nodes: int) -> NDArray[np.int64]:
    """Return when nodes were first declared or begun.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    nodes : int
        The highest id.

    Returns
    -------
    ndarray of int64, shape (nodes + 1,)
        As is known now, by id; always where nothing of it was seen.
    """
    times = np.full(nodes + 1, NEVER, np.int64)
    query = f"select id, epoch_ns(time) as time from {NODE_TIMES} where id <= {nodes:d} and time is not null"
    for ids, told in _parts(connection, query):
        # Several times faster than a group for each node.
        np.minimum.at(times, ids, told)
    times[times == NEVER] = ALWAYS
    return times


def _parts(connection: Any, query: str) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """Yield the columns of a query, which have a value in each row, some rows at a time."""
    for batch in connection.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
        yield tuple(column.to_numpy(zero_copy_only=False) for column in batch.columns)


def _told_of_again(connection: Any) -> NDArray[np.int64]:
    """Return the nodes that several snapshots declare."""
    (highest,) = connection.execute("select coalesce(max(id), 0) from occurrences").fetchall()[0]
    first = np.full(highest + 1, np.iinfo(np.int32).max, np.int32)
    last = np.zeros(highest + 1, np.int32)
    for ids, snapshots in _parts(connection, "select id, snapshot from occurrences"):
        np.minimum.at(first, ids, snapshots)
        np.maximum.at(last, ids, snapshots)
    return np.flatnonzero(first < last)


def earlier_times(
    connection: Any, *, since: int = 0, before: int = 0, known: Times | None = None
) -> tuple[NDArray[np.int64], ...]:
    """Return which later times were known before a snapshot brought an earlier one.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    since : int
        What later snapshots than this one brought.
    before : int
        The highest id there was at that snapshot.
    known : Times, optional
        What was known then.

    Returns
    -------
    node, until, time : ndarray of int64
        Before a snapshot `until`, of a node only that later time was known.
    """
    which = (
        "select id from occurrences where snapshot > $since and id > $before group by id "
        "having min(snapshot) < max(snapshot)"
    )
    given: dict[str, Any] = {"since": since, "before": before}
    if not since and len(again := _told_of_again(connection)) <= _FEW:
        which, given["again"] = "select unnest($again::bigint[])", again.tolist()
    rows = connection.execute(
        "select id, snapshot, epoch_ns(min(time)) as time from occurrences "
        f"where snapshot > $since and time is not null and (id <= $before or id in ({which})) "
        "group by all order by all",
        given,
    ).fetchnumpy()
    node, snapshot, time = (np.asarray(rows[name]).astype(np.int64) for name in ("id", "snapshot", "time"))
    if known is not None:
        old = np.unique(node[node <= before])
        was = known.of(old)
        old, was = old[was != ALWAYS], was[was != ALWAYS]
        node, time = np.concatenate([old, node]), np.concatenate([was, time])
        snapshot = np.concatenate([np.full(len(old), since), snapshot])
        order = np.lexsort((snapshot, node))
        node, snapshot, time = node[order], snapshot[order], time[order]
    # Of each node only the snapshots that brought an earlier time than was known.
    while True:
        stale = (node[1:] == node[:-1]) & (time[1:] >= time[:-1])
        if not stale.any():
            break
        keep = np.concatenate([[True], ~stale])
        node, snapshot, time = node[keep], snapshot[keep], time[keep]
    same = node[1:] == node[:-1]
    return node[:-1][same], snapshot[1:][same], time[:-1][same]


@dataclass(frozen=True, slots=True)
class Retracted:
    """The edges that retractions are about, with every time at which each was stated, by :attr:`edge`, then the rest.

    Attributes
    ----------
    edge : ndarray of uint64
        Child, then parent, 32 bits each.
    what : ndarray of uint64
        Snapshot, then three bits of the relation.
    stated, retracted : ndarray of int64
        Nanoseconds since 1970 UTC.
    snapshot : ndarray of int64
        Of the retraction; 0 if none is later than the statement.
    key : ndarray of uint64
        The mark of the edge: `what`, then 32 bits of the snapshot from which on it is retracted, then a bit.
    """

    edge: NDArray[np.uint64]
    what: NDArray[np.uint64]
    stated: NDArray[np.int64]
    retracted: NDArray[np.int64]
    snapshot: NDArray[np.int64]
    key: NDArray[np.uint64]

    @classmethod
    def none(cls) -> Retracted:
        """Return no edges.

        Returns
        -------
        Retracted
            Of length 0.
        """
        numbers, times = np.empty(0, np.uint64), np.empty(0, np.int64)
        return cls(numbers, numbers, times, times, times, numbers)

    def settle(
        self,
        edge: NDArray[np.uint64],
        what: NDArray[np.uint64],
        key: NDArray[np.uint64],
        part: Any,
        between: tuple[int, int],
        near: str,
    ) -> tuple[NDArray[np.uint64], Any]:
        """Give those of some edges that are retracted their marks, and their rows among the exceptions.

        Parameters
        ----------
        edge, what, key : ndarray of uint64
            The edges, near end before far end, in ascending order, with their marks.
        part : object
            Their exceptions so far.
        between : (int, int)
            The range of nodes that they are met at.
        near : str
            At which end.

        Returns
        -------
        key : ndarray of uint64
            The marks.
        part : object
            All exceptions, by place.
        """
        half = np.uint64(32)
        local = self.edge if near == "child" else (self.edge << half) | (self.edge >> half)
        mine = np.flatnonzero((local >> half >= between[0]) & (local >> half < between[1]))
        if not len(mine):
            return key, part
        place = _places(edge, what, local[mine], self.what[mine])
        # Not all are here where an index has only what is new.
        place, mine = place[place >= 0], mine[place >= 0]
        key = key.copy()
        key[place] = self.key[mine]
        settled = np.zeros(len(edge), np.bool_)
        settled[place] = True
        kept = ~settled[part.place]
        columns = {
            "place": place,
            **{name: getattr(self, name)[mine] for name in ("edge", "what", "stated", "retracted", "snapshot")},
        }
        merged = {name: np.concatenate([getattr(part, name)[kept], added]) for name, added in columns.items()}
        order = np.lexsort((merged["snapshot"], merged["stated"], merged["place"]))
        return key, replace(part, **{name: values[order] for name, values in merged.items()})


def _places(
    edge: NDArray[np.uint64], what: NDArray[np.uint64], edges: NDArray[np.uint64], said: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return where some edges stand among others that are ordered by edge and what they say; -1 for nowhere."""
    place, last = np.searchsorted(edge, edges), len(edge) - 1
    if last < 0:
        return np.full(len(edges), -1)
    while True:
        # Those of several snapshots or relations are neighbours.
        at = np.minimum(place, last)
        further = (place <= last) & (edge[at] == edges) & (what[at] < said)
        if not further.any():
            found: NDArray[np.int64] = np.where((edge[at] == edges) & (what[at] == said), at, -1)
            return found
        place += further


def retracted_edges(
    connection: Any, number: str, *, which: str = "true", given: dict[str, Any] | None = None
) -> Retracted:
    """Return the edges that retractions are about.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    number : str
        SQL that gives the number of ``relation``.
    which, given : str, dict
        A condition for the rows of edges in SQL, and its parameters.

    Returns
    -------
    Retracted
        Each time at which such an edge was stated, with each retraction after it, unless one that is no later was
        known no later.
    """
    rows = connection.execute(
        f"""
        select (e.child::ubigint << 32) | e.parent::ubigint as edge, (e.snapshot::ubigint << 3) | ({number}) as what,
            epoch_ns(e.time) as stated, coalesce(r.snapshot, 0)::bigint as snapshot,
            coalesce(epoch_ns(r.time), {NEVER}) as retracted
        from (select distinct child, parent, relation, snapshot, time from edge_rows
            where {which} and (child, parent) in (
            select (child, parent) from retraction_rows where child is not null and parent is not null)) e
        left join (select distinct child, parent, relation as which, snapshot, time from retraction_rows) r
            on r.child = e.child and r.parent = e.parent and (r.which is null or r.which = e.relation)
            and r.time >= e.time
        order by edge, what, stated, snapshot, retracted
        """,
        given or {},
    ).fetchnumpy()
    edge, what = (np.asarray(rows[name]).astype(np.uint64) for name in ("edge", "what"))
    stated, snapshot, retracted = (
        np.asarray(rows[name]).astype(np.int64) for name in ("stated", "snapshot", "retracted")
    )
    while True:
        same = (edge[1:] == edge[:-1]) & (what[1:] == what[:-1])
        # Known no earlier and no earlier than the one before it: it takes nothing back that is not taken back already.
        idle = same & (stated[1:] == stated[:-1]) & (retracted[1:] >= retracted[:-1])
        if not idle.any():
            break
        keep = np.concatenate([[True], ~idle])
        edge, what, stated, snapshot, retracted = (
            *(edge[keep], what[keep]),
            *(stated[keep], snapshot[keep], retracted[keep]),
        )
    return Retracted(edge, what, stated, retracted, snapshot, _keys(edge, what, stated, snapshot))


def _keys(
    edge: NDArray[np.uint64], what: NDArray[np.uint64], stated: NDArray[np.int64], snapshot: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return the marks: an edge is retracted from the snapshot on from which on all its statements are."""
    if not len(edge):
        return np.empty(0, np.uint64)
    entry = np.concatenate([[True], (edge[1:] != edge[:-1]) | (what[1:] != what[:-1])])
    said = entry | np.concatenate([[True], stated[1:] != stated[:-1]])
    # Of each statement the first snapshot that knew it retracted is in its first row.
    until = np.where(snapshot[said] == 0, np.iinfo(np.int64).max, snapshot[said])
    dead = np.maximum.reduceat(until, np.flatnonzero(entry[said]))
    dead[dead == np.iinfo(np.int64).max] = 0
    which = np.cumsum(entry) - 1
    key: NDArray[np.uint64] = (what << np.uint64(33)) | (dead[which].astype(np.uint64) << np.uint64(1)) | np.uint64(1)
    return key
