"""What a small file has to say that is laid over an adjacency index: what is new, and what is no longer as it was.

Each merge would else write the whole index again. The files of an index become smaller from the lowest to the uppermost
one, each by :data:`FACTOR` at least: one that is not is written again together with what comes over it, as in a
log-structured merge tree (O'Neil et al., Acta Informatica 33, 1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from braid_hpc.snapshots.adjacency import Adjacency, open_adjacency
from braid_hpc.snapshots.adjacency_times import earlier_times
from braid_hpc.snapshots.halves import ALWAYS, Times
from braid_hpc.snapshots.schema import NODE_TIMES
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["FACTOR", "Fresh", "commit_of", "fresh_since", "ground_for", "of_another_store"]

#: By how much a file is smaller than the one it is laid over, at least.
FACTOR = 4

#: Files of fewer edges count as if they had so many: else there were many of them.
SMALLEST = 1 << 14

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Fresh:
    """What there is to say of an index since a snapshot.

    Attributes
    ----------
    since : int
        The snapshot; 0 for a whole index.
    before : int
        The highest id there was; 0 for a whole index, of which also node 0 has its place.
    times : Times
        Of all nodes, as is known now.
    tail : ndarray of int64
        Of these the times of nodes behind `before`; for a whole index of all.
    changed : tuple of (ndarray of int64, ndarray of int64)
        Earlier nodes whose time is another one now, and that.
    earlier : tuple of ndarray of int64
        Nodes, snapshots and times: before that snapshot, only that later time was known.
    again : dict of str to ndarray of int64
        By ``"child"`` and ``"parent"``: nodes whose edges are all said again, for some of them are no longer as they
        were.
    """

    since: int
    before: int
    times: Times
    tail: NDArray[np.int64]
    changed: tuple[NDArray[np.int64], NDArray[np.int64]]
    earlier: tuple[NDArray[np.int64], ...]
    again: dict[str, NDArray[np.int64]]

    def which(self, near: str | None = None) -> str:
        """Return a condition for rows of edges in SQL.

        Parameters
        ----------
        near : str, optional
            The end that they are met at, ``"child"`` or ``"parent"``; without it, either.

        Returns
        -------
        str
            It takes the parameters of :meth:`given`.
        """
        if not self.since:
            return "true"
        ends = [end for end in ("child", "parent") if near in (None, end) and len(self.again[end])]
        also = "".join(f" or {end} in (select unnest(${end}::bigint[]))" for end in ends)
        return f"(snapshot > $since{also})"

    def given(self, near: str | None = None) -> dict[str, Any]:
        """Return the parameters of :meth:`which`.

        Parameters
        ----------
        near : str, optional
            As there.

        Returns
        -------
        dict
            By name.
        """
        if not self.since:
            return {}
        lists = {end: ids.tolist() for end, ids in self.again.items() if near in (None, end) and len(ids)}
        return {"since": self.since, **lists}


def commit_of(connection: Any, snapshot: int) -> bytes:
    """Return what an index says of the commit that made a snapshot.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    snapshot : int
        Its number.

    Returns
    -------
    bytes
        16 of them.
    """
    found = connection.execute("select archive from snapshots where snapshot = ?", [snapshot]).fetchall()
    return xxhash.xxh3_128_digest(str(found[0][0] or "").encode() if found else b"")


def of_another_store(connection: Any, index: Adjacency) -> str | None:
    """Return what of an index was not made by the commits of a store.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    index : Adjacency
        Open.

    Returns
    -------
    str or None
        A sentence; None if all of it was.
    """
    for segment in index.segments:
        if segment.commit != commit_of(connection, segment.snapshot):
            return str(segment.corrupt(f"is not of the commit that made snapshot {segment.snapshot} of this store"))
    return None


def ground_for(connection: Any, newest: Path, snapshot: int) -> Adjacency | None:
    """Return what the index of a new snapshot is best laid over.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the new one.
    newest : Path
        The index of an earlier snapshot.
    snapshot : int
        That earlier one.

    Returns
    -------
    Adjacency or None
        That index, or the lower ones of its files; None where it is better written as a whole: where nothing is large
        enough to stand under what is new, or it is missing or damaged.
    """
    try:
        index = open_adjacency(newest)
    except (OSError, CorruptLogError, FormatTooNewError):
        return None
    if index.snapshot != snapshot or of_another_store(connection, index):
        return None
    (fresh,) = connection.execute(
        "select (select count(*) from edge_rows where snapshot > $since) "
        "+ (select count(*) from content_rows where snapshot > $since)",
        {"since": snapshot},
    ).fetchall()[0]
    segments, total = list(index.segments), max(int(fresh), SMALLEST)
    while segments and segments[-1].edges < FACTOR * total:
        total += segments.pop().edges
    return Adjacency(segments) if segments else None


def fresh_since(connection: Any, below: Adjacency, snapshot: int, nodes: int) -> Fresh | None:
    """Find what a file laid over an index has to say.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the new snapshot.
    below : Adjacency
        The index of an earlier one.
    snapshot : int
        The new one.
    nodes : int
        The highest id now.

    Returns
    -------
    Fresh or None
        None if too much is no longer as it was.

    Raises
    ------
    CorruptLogError
        If the index is damaged.
    """
    since, before, known = below.snapshot, below.nodes, below.times
    seen = connection.execute(
        f"select id, epoch_ns(min(time)) as time from {NODE_TIMES} "
        "where snapshot > $since and time is not null and id <= $nodes group by id",
        {"since": since, "nodes": nodes},
    ).fetchnumpy()
    ids, times = (np.asarray(seen[name]).astype(np.int64) for name in ("id", "time"))
    tail = np.full(nodes - before, ALWAYS, np.int64)
    tail[ids[ids > before] - before - 1] = times[ids > before]
    ids, times = ids[ids <= before], times[ids <= before]
    was = known.of(ids)
    other = (was == ALWAYS) | (times < was)
    changed = ids[other], times[other]
    again = _said_again(connection, below, changed[0])
    if again is None:
        return None
    earlier: tuple[NDArray[np.int64], ...] = (_NONE, _NONE, _NONE)
    if len(ids) or snapshot > since + 1:
        earlier = earlier_times(connection, since=since, before=before, known=known)
    return Fresh(since, before, known.over(tail, changed), tail, changed, earlier, again)


def _said_again(connection: Any, below: Adjacency, changed: NDArray[np.int64]) -> dict[str, NDArray[np.int64]] | None:
    """Return nodes of which an edge is no longer as it was: retracted, or one of its ends has another time."""
    rows = connection.execute(
        "select distinct child, parent from retraction_rows "
        "where snapshot > $since and child <= $before and parent <= $before",
        {"since": below.snapshot, "before": below.nodes},
    ).fetchnumpy()
    again = {end: np.asarray(rows[end]).astype(np.int64) for end in ("child", "parent")}
    if len(changed):
        parents = below.half(down=False).edges_of(changed).far
        children = below.half(down=True).edges_of(changed).far
        again = {
            "child": np.concatenate([again["child"], changed, children]),
            "parent": np.concatenate([again["parent"], changed, parents]),
        }
    most = 0
    for end, ids in again.items():
        again[end] = np.unique(ids)
        most = max(most, len(below.half(down=end == "parent").edges_of(again[end]).far) if len(ids) else 0)
    return again if FACTOR * most <= below.segments[0].edges else None
