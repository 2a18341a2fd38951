"""The rows of edges that an adjacency index is made of, in the order in which it has them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.snapshots.adjacency_layers import Fresh
from braid_hpc.snapshots.adjacency_times import Retracted, retracted_edges
from braid_hpc.snapshots.halves import ALWAYS, RELATIONS
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import StorageError

__all__ = ["EdgeRows", "Sorted"]

#: How many edges are sorted at once, at about 70 bytes each: what bounds the memory.
EDGES_AT_ONCE = 1 << 21

#: Ranges of ids that edges are counted in, to cut them into parts of about one size.
_BUCKETS = 1 << 14

_OTHER = 0
#: Their numbers are their places in a list, counted from 1, which costs half of a case for each.
_NAMES = [str(relation) for relation in sorted(RELATIONS, key=RELATIONS.__getitem__)]
_NUMBER = f"coalesce(list_position({_NAMES}, relation), {_OTHER})::utinyint"
_EDGES = f"""(
    select child, parent, {_NUMBER} as number, snapshot, epoch_ns(time) as time from edge_rows
    union all select child, parent, {RELATIONS[Relation.SAME_CONTENT]}::utinyint, snapshot, ({ALWAYS})::bigint
    from content_rows)
"""
_HALF = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Sorted:
    """Edges by the node they are met at, then by the other end, then by what they say; each once.

    Attributes
    ----------
    edge : ndarray of uint64
        Near end, then far end, 32 bits each.
    what : ndarray of uint64
        Snapshot, then three bits of the relation.
    time : ndarray of int64
        When it was first stated, in nanoseconds since 1970 UTC.
    """

    edge: NDArray[np.uint64]
    what: NDArray[np.uint64]
    time: NDArray[np.int64]


@dataclass(frozen=True)
class EdgeRows:
    """The rows of edges in a store that an index is made of.

    Attributes
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    nodes : int
        The highest id.
    fresh : Fresh
        What is to be said of them.
    """

    connection: Any
    nodes: int
    fresh: Fresh

    @functools.cached_property
    def _loaded(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]] | None:
        """Edges (child first), what they say, and when, if they are few enough to be held."""
        if self._counted(None) > EDGES_AT_ONCE:
            return None
        return self._fetched("child", "true", {}, self.fresh.which(), self.fresh.given())

    def _fetched(
        self, near: str, range_of: str, between: dict[str, int], which: str, given: dict[str, Any]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        far = "child" if near == "parent" else "parent"
        columns = self.connection.execute(
            f"select ({near}::ubigint << 32) | {far}::ubigint as edge, snapshot, number, time from {_EDGES} "
            f"where {range_of} and {which}",
            {**between, **given},
        ).fetchnumpy()
        edge, time = np.asarray(columns["edge"]), np.asarray(columns["time"])
        what = _what(columns)
        if len(edge):
            ends = edge >> _HALF, edge & np.uint64(0xFFFFFFFF)
            for end in (*(int(ids.max()) for ids in ends), *(int(ids.min()) for ids in ends)):
                if not 0 < end <= self.nodes:
                    raise StorageError(f"an edge of the store names a node {end}, which is not in it")
        return edge, what, time

    def count(self, near: str) -> int:
        """Return how many rows there are.

        Parameters
        ----------
        near : str
            The end that they are met at, ``"child"`` or ``"parent"``.

        Returns
        -------
        int
            At least as many as there are edges.
        """
        return self._counted(near) if self._loaded is None else len(self._loaded[0])

    def _counted(self, near: str | None) -> int:
        query = f"select count(*) from {_EDGES} where {self.fresh.which(near)}"
        (number,) = self.connection.execute(query, self.fresh.given(near)).fetchall()[0]
        return int(number)

    def said(self) -> NDArray[np.uint64]:
        """Return what there is that edges say.

        Returns
        -------
        ndarray of uint64
            As in :class:`Sorted`, each once.
        """
        if self._loaded is not None:
            return np.unique(self._loaded[1])
        query = f"select distinct snapshot, number from {_EDGES} where {self.fresh.which()}"
        return np.unique(_what(self.connection.execute(query, self.fresh.given()).fetchnumpy()))

    def retracted(self) -> Retracted:
        """Return those that retractions are about.

        Returns
        -------
        Retracted
            With every time at which each was stated.
        """
        if self._loaded is not None and self.fresh.since and not self._may_be_retracted(self._loaded[0]):
            return Retracted.none()
        return retracted_edges(self.connection, _NUMBER, which=self.fresh.which(), given=self.fresh.given())

    def _may_be_retracted(self, edge: NDArray[np.uint64]) -> bool:
        if not len(edge):
            return False
        ends = {"child": edge >> _HALF, "parent": edge & np.uint64(0xFFFFFFFF)}
        bounds = {f"{name}_{what}": int(getattr(ids, what)()) for name, ids in ends.items() for what in ("min", "max")}
        query = (
            "select 1 from retraction_rows where child between $child_min and $child_max "
            "and parent between $parent_min and $parent_max limit 1"
        )
        return bool(self.connection.execute(query, bounds).fetchall())

    def ranges(self, near: str) -> Iterator[tuple[int, int]]:
        """Yield ranges of ids that cover all, each with about as many edges as are sorted at once.

        Parameters
        ----------
        near : str
            The end that they are met at.

        Yields
        ------
        first, after : int
            Dense ids.
        """
        parts = 1 if self._loaded is not None else -(-self.count(near) // EDGES_AT_ONCE)
        cuts: list[int] = []
        if parts > 1:
            width = -(-(self.nodes + 1) // _BUCKETS)
            query = (
                f"select {near} // {width} as bucket, count(*) as rows from {_EDGES} "
                f"where {self.fresh.which(near)} group by bucket order by bucket"
            )
            found = self.connection.execute(query, self.fresh.given(near)).fetchnumpy()
            bucket, rows = np.asarray(found["bucket"]).astype(np.int64), np.cumsum(found["rows"])
            # The last bucket that begins in a part.
            places = np.searchsorted(rows, np.arange(1, parts) * rows[-1] / parts)
            cuts = sorted({int(cut) for cut in (bucket[places] + 1) * width - 1 if 1 <= cut < self.nodes})
        bounds = [0, *(cut + 1 for cut in cuts), self.nodes + 1]
        yield from pairwise(bounds)

    def read(self, near: str, between: tuple[int, int]) -> Sorted:
        """Read the edges of some nodes.

        Parameters
        ----------
        near : str
            The end that they are met at.
        between : (int, int)
            From :meth:`ranges`.

        Returns
        -------
        Sorted
            What several ranks stated in one commit is one edge.

        Raises
        ------
        StorageError
            If one of them names a node that is not there.
        """
        if self._loaded is None:
            return in_order(
                *self._fetched(
                    near,
                    f"{near} >= $first and {near} < $after",
                    {"first": between[0], "after": between[1]},
                    self.fresh.which(near),
                    self.fresh.given(near),
                )
            )
        edge, what, time = self._loaded
        if near == "parent":
            edge = (edge << _HALF) | (edge >> _HALF)
        if len(self.fresh.again["child"]) or len(self.fresh.again["parent"]):
            # The rows that are read are those of either end.
            mine = (what >> np.uint64(3) > self.fresh.since) | np.isin(edge >> _HALF, self.fresh.again[near])
            edge, what, time = edge[mine], what[mine], time[mine]
        return in_order(edge, what, time)


def _what(columns: Any) -> NDArray[np.uint64]:
    """Return snapshots with three bits of the relation."""
    what = np.asarray(columns["snapshot"]).astype(np.uint64)
    what <<= np.uint64(3)
    what |= np.asarray(columns["number"])
    return what


def in_order(edge: NDArray[np.uint64], what: NDArray[np.uint64], time: NDArray[np.int64]) -> Sorted:
    """Put edges in order, each of what it says once, with its first time.

    Parameters
    ----------
    edge, what : ndarray of uint64
        As in :class:`Sorted`.
    time : ndarray of int64
        As there.

    Returns
    -------
    Sorted
        New arrays.
    """
    order = _order(edge)
    edge, what, time = edge[order], what[order], time[order]
    same = edge[1:] == edge[:-1]
    if same.any():
        # Only these are sorted by what they say.
        twice = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
        again = twice[np.lexsort((time[twice], what[twice], edge[twice]))]
        what[twice], time[twice] = what[again], time[again]
        fresh = np.concatenate([[True], ~same | (what[1:] != what[:-1])])
        edge, what, time = edge[fresh], what[fresh], time[fresh]
    return Sorted(edge, what, time)


def _order(edge: NDArray[np.uint64]) -> NDArray[Any]:
    """Return what puts edges in order."""
    # Sorting numbers with their places in the low bits is several times faster than asking for the order.
    if not len(edge):
        return np.empty(0, np.int64)
    near, far = edge >> _HALF, edge & np.uint64(0xFFFFFFFF)
    first = near.min()
    bits = [int(top).bit_length() for top in (near.max() - first, far.max(), np.uint64(len(edge) - 1))]
    if sum(bits) > 64:
        return np.argsort(edge)
    place = np.uint64(bits[2])
    packed = ((near - first) << np.uint64(bits[1]) | far) << place | np.arange(len(edge), dtype=np.uint64)
    packed.sort()
    order: NDArray[np.int64] = (packed & ((np.uint64(1) << place) - np.uint64(1))).astype(np.int64)
    return order
