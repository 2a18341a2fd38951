"""Closure: everything that is reached from some nodes of a graph in compressed rows, level by level.

:func:`closure` is compiled, :func:`closure_slow` is its readable twin; they agree in every number and in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["NOTHING_OVER", "NOTHING_STATED", "PAGE_BITS", "Over", "Rows", "Stated", "When", "closure", "closure_slow"]


class Over(NamedTuple):
    """Rows of some nodes that are laid over those of a graph: layers, from the lowest to the uppermost.

    Attributes
    ----------
    pages : ndarray of uint32, shape (layers, pages + 1)
        Which of the rows below are of nodes ``128 p`` up to ``128 p + 127`` in a layer: from ``pages[layer, p]`` to
        ``pages[layer, p + 1]``.
    near : ndarray of uint32, shape (rows,)
        The node of each row; ascending in each layer.
    instead : ndarray of uint8, shape (rows,)
        1 where a row stands for all that lower layers say of its node, 0 where it adds to that.
    offsets : ndarray of uint32, shape (rows + 1,)
        The edges of a row stand at ``offsets[row]:offsets[row + 1]``.
    far, mark : ndarray of uint32, shape (edges,)
        As in :class:`Rows`; marks count on behind those of the graph below.
    """

    pages: NDArray[np.uint32]
    near: NDArray[np.uint32]
    instead: NDArray[np.uint8]
    offsets: NDArray[np.uint32]
    far: NDArray[np.uint32]
    mark: NDArray[np.uint32]


class Rows(NamedTuple):
    """A graph in compressed rows.

    Attributes
    ----------
    offsets : ndarray of uint32, shape (nodes + 1,)
        The edges of node `i` stand at ``offsets[i]:offsets[i + 1]``.
    far : ndarray of uint32, shape (edges,)
        The node at the other end.
    mark : ndarray of unsigned, shape (edges,)
        Of which kind the edge is.
    over : Over
        What is laid over it; the nodes there may be beyond those that have rows here. The places of its edges count on
        behind those here.
    """

    offsets: NDArray[np.uint32]
    far: NDArray[np.uint32]
    mark: NDArray[Any]
    over: Over


class Stated(NamedTuple):
    """When edges were stated and retracted.

    Attributes
    ----------
    places : ndarray of uint32, shape (n,)
        Edges whose mark is 2 in `allowed`, ascending; each once for each of its rows below.
    rows : ndarray of uint32, shape (n,)
        Which rows.
    stated, retracted : ndarray of int64
        When an edge was stated, and when that was retracted; rows of one statement are neighbours.
    snapshot : ndarray of uint32
        Which snapshot brought the retraction; 0 for none.
    """

    places: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    stated: NDArray[np.int64]
    retracted: NDArray[np.int64]
    snapshot: NDArray[np.uint32]


class When(NamedTuple):
    """A time that is asked for, and what is to be known of nodes and edges for it.

    Attributes
    ----------
    at : int
        A snapshot: retractions of later ones are not known.
    as_of : int
        Nodes and statements of later times are not there.
    times : ndarray of int64, shape (nodes,)
        When each node was first there.
    more_times : ndarray of int64
        The same for the nodes behind those.
    stated : Stated
        Of the edges of a graph.
    over : Stated
        Of the edges that are laid over it; their places begin with 0.
    """

    at: int
    as_of: int
    times: NDArray[np.int64]
    more_times: NDArray[np.int64]
    stated: Stated
    over: Stated


def _constant(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array of the same type as those that are mapped: one machine code serves both."""
    values.flags.writeable = False
    return values


_NO_TIMES: NDArray[np.int64] = _constant(np.empty(0, np.int64))
_NO_NUMBERS: NDArray[np.uint32] = _constant(np.empty(0, np.uint32))
NOTHING_STATED = Stated(_NO_NUMBERS, _NO_NUMBERS, _NO_TIMES, _NO_TIMES, _NO_NUMBERS)
_NO_TIME = When(0, 0, _NO_TIMES, _NO_TIMES, NOTHING_STATED, NOTHING_STATED)

#: No layers.
NOTHING_OVER = Over(
    *(_constant(np.empty((0, 1), np.uint32)), _NO_NUMBERS, _constant(np.empty(0, np.uint8))),
    *(_constant(np.zeros(1, np.uint32)), _NO_NUMBERS, _NO_NUMBERS),
)

#: Bits of a node's number that say where in its page it is.
PAGE_BITS = 7

#: Nodes that there is room for at first; where more are reached, there is made more.
_ROOM = 1 << 15


def closure(
    rows: Rows,
    allowed: NDArray[np.uint8],
    starts: NDArray[np.int64],
    *,
    depth: int,
    seen: NDArray[np.uint8],
    when: When | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Find what is reached from some nodes, and over how many edges.

    Parameters
    ----------
    rows : Rows
        The graph.
    allowed : ndarray of uint8
        By mark: whether such an edge is followed; 2 where `when` says so.
    starts : ndarray of int64
        Where to begin; each once.
    depth : int
        How many edges at most.
    seen : ndarray of uint8, shape (nodes // 8 + 1,)
        Nodes whose bit is set here are not entered (starts are all the same), bit `i` of byte `n` for node ``8 n + i``:
        it stays within a cache where a byte for each would not. It is used up: what was reached is set then.
    when : When, optional
        A time that is asked for; without it none.

    Returns
    -------
    nodes : ndarray of int64
        The starts, and what is reached, each once: by distance, then in the order in which it was met.
    distance : ndarray of int32
        Edges on the shortest way.

    Raises
    ------
    ModuleNotFoundError
        If numba is not installed.

    See Also
    --------
    closure_slow : the same in plain Python.

    Examples
    --------
    >>> import numpy as np
    >>> offsets, far, mark = np.array([0, 1, 2, 2], "u4"), np.array([1, 2], "u4"), np.array([0, 0], "u2")
    >>> rows = Rows(offsets, far, mark, NOTHING_OVER)
    >>> nodes, distance = closure(rows, np.array([1], np.uint8), np.array([0]), depth=9, seen=np.zeros(1, np.uint8))
    >>> nodes.tolist(), distance.tolist()
    ([0, 1, 2], [0, 1, 2])
    """
    layered, timed = rows.over.pages.shape[0] > 0, when is not None
    if not timed:
        allowed = (allowed != 0).astype(np.uint8)
    count = starts.size
    nodes = np.empty(max(_ROOM, 2 * count), np.int64)
    distance = np.empty(nodes.size, np.int32)
    nodes[:count] = starts
    np.bitwise_or.at(seen, starts >> 3, (1 << (starts & 7)).astype(np.uint8))
    progress = np.array([0, count, 0, count, 0], np.int64)
    while not _WALKS[layered, timed](rows, allowed, depth, seen, when or _NO_TIME, nodes, distance, progress):
        count, room = int(progress[1]), max(4 * nodes.size, int(progress[4]))
        nodes, distance = (_longer(values, count, room) for values in (nodes, distance))
    count = int(progress[1])
    return nodes[:count], distance[:count]


def _longer(values: NDArray[Any], count: int, room: int) -> NDArray[Any]:
    longer = np.empty(room, values.dtype)
    longer[:count] = values[:count]
    return longer


def _walk(layered: bool, timed: bool) -> Callable[..., bool]:
    """Return the walk over a graph with layers or without, with a time or without.

    Each is compiled apart: what is not asked for, and arrays that grow while they are walked over, cost several times
    as much as the walk itself.
    """

    @compiled
    def walk(
        rows: Rows,
        allowed: NDArray[np.uint8],
        depth: int,
        seen: NDArray[np.uint8],
        when: When,
        nodes: NDArray[np.int64],
        distance: NDArray[np.int32],
        progress: NDArray[np.int64],
    ) -> bool:
        # Where to go on, how many nodes there are, the present distance, where the next one begins, the room that is
        # needed. Without room it stops before a node, whose edges are all looked at again then: those that were
        # entered are seen.
        at, count, level, level_end = progress[0], progress[1], progress[2], progress[3]
        at_snapshot, as_of, times, more_times = when.at, when.as_of, when.times, when.more_times
        known = times.size
        offsets, pages, near, instead = rows.offsets, rows.over.pages, rows.over.near, rows.over.instead
        # Taken out of their tuples here: in the loop it would be done for each edge.
        far, mark = rows.far, rows.mark
        over_offsets, over_far, over_mark = rows.over.offsets, rows.over.far, rows.over.mark
        places, which, stated, retracted, snapshot = when.stated
        over_places, over_which, over_stated, over_retracted, over_snapshot = when.over

        def holds(edge: Any, places: Any, which: Any, stated: Any, retracted: Any, snapshot: Any) -> bool:
            # The first row of this edge, then its statements one by one: one that holds is enough.
            low, high = 0, places.size
            while low < high:
                middle = (low + high) // 2
                if places[middle] < edge:
                    low = middle + 1
                else:
                    high = middle
            found = False
            while low < places.size and places[low] == edge and not found:
                said = stated[which[low]]
                found = said <= as_of
                while low < places.size and places[low] == edge and stated[which[low]] == said:
                    row = which[low]
                    if snapshot[row] and snapshot[row] <= at_snapshot and retracted[row] <= as_of:
                        found = False
                    low += 1
            return found

        def enter(
            begin: Any,
            end: Any,
            count: Any,
            far: Any,
            mark: Any,
            places: Any,
            which: Any,
            stated: Any,
            retracted: Any,
            snapshot: Any,
        ) -> Any:
            for edge in range(begin, end):
                there = far[edge]
                byte, bit = seen[there >> 3], np.uint8(there & 7)
                fresh = (~byte >> bit) & np.uint8(1)
                # Without a branch that nothing could foresee.
                follow = allowed[mark[edge]]
                if timed:
                    # Read whether it is that one or not: a choice between two arrays costs more than all else here.
                    appeared = times[there if there < known else np.uint32(0)]
                    if there >= known:
                        appeared = more_times[np.uint64(there) - np.uint64(known)]
                    fresh &= np.uint8(appeared <= as_of) & np.uint8(follow != 0)
                    if follow == 2 and fresh:
                        fresh = np.uint8(holds(edge, places, which, stated, retracted, snapshot))
                else:
                    fresh &= follow
                nodes[count] = there
                count += fresh
                seen[there >> 3] = byte | (fresh << bit)
            return count

        while at < count:
            if at == level_end:
                level, level_end = level + 1, count
            if level < depth:
                node, last = nodes[at], False
                if layered:
                    # The layers from the uppermost on, then what they are laid over.
                    for layer in range(pages.shape[0] - 1, -1, -1):
                        page = node >> PAGE_BITS
                        low, after = np.int64(pages[layer, page]), np.int64(pages[layer, page + 1])
                        high = after
                        while low < high:
                            middle = (low + high) // 2
                            if near[middle] < node:
                                low = middle + 1
                            else:
                                high = middle
                        if low < after and near[low] == node:
                            begin, end = np.int64(over_offsets[low]), np.int64(over_offsets[low + 1])
                            if count + end - begin >= nodes.size:
                                progress[:] = (at, count, level, level_end, count + end - begin + 1)
                                return False
                            count = enter(
                                begin,
                                end,
                                count,
                                over_far,
                                over_mark,
                                over_places,
                                over_which,
                                over_stated,
                                over_retracted,
                                over_snapshot,
                            )
                            last = instead[low] != 0
                        if last:
                            break
                if not last and node < offsets.size - 1:
                    begin, end = np.int64(offsets[node]), np.int64(offsets[node + 1])
                    if count + end - begin >= nodes.size:
                        progress[:] = (at, count, level, level_end, count + end - begin + 1)
                        return False
                    count = enter(begin, end, count, far, mark, places, which, stated, retracted, snapshot)
            distance[at] = level
            at += 1
        progress[:] = (at, count, level, level_end, 0)
        return True

    return walk


_WALKS = {(layered, timed): _walk(layered, timed) for layered in (False, True) for timed in (False, True)}


def closure_slow(
    rows: Rows,
    allowed: NDArray[np.uint8],
    starts: NDArray[np.int64],
    *,
    depth: int,
    seen: NDArray[np.uint8],
    when: When | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Find what is reached from some nodes, in plain Python.

    Parameters
    ----------
    rows, allowed, starts, depth, seen, when
        As for :func:`closure`.

    Returns
    -------
    nodes : ndarray of int64
        As from :func:`closure`.
    distance : ndarray of int32
        As from :func:`closure`.

    See Also
    --------
    closure : the same, compiled.
    """
    found = dict.fromkeys(starts.tolist(), 0)
    for node in (queue := list(found)):
        if found[node] < depth:
            for there, mark, edge, about in _edges_slow(rows, node, when):
                follow = int(allowed[mark])
                if when is not None and follow:
                    follow = _time_slow(when, there) <= when.as_of and (follow == 1 or _holds(when, about, edge))
                if follow and not seen[there >> 3] >> (there & 7) & 1 and there not in found:
                    found[there] = found[node] + 1
                    queue.append(there)
    return np.array(queue, np.int64), np.array([found[node] for node in queue], np.int32)


def _edges_slow(rows: Rows, node: int, when: When | None) -> Iterator[tuple[int, int, int, Stated | None]]:
    """Yield far end, mark, place, and where to look its times up, of the edges of a node, the uppermost layer first."""
    over = rows.over
    for pages in reversed(over.pages.tolist()):
        page = node >> PAGE_BITS
        for row in range(pages[page], pages[page + 1]):
            if over.near[row] == node:
                for edge in range(int(over.offsets[row]), int(over.offsets[row + 1])):
                    yield int(over.far[edge]), int(over.mark[edge]), edge, when and when.over
                if over.instead[row]:
                    return
    if node < len(rows.offsets) - 1:
        for edge in range(int(rows.offsets[node]), int(rows.offsets[node + 1])):
            yield int(rows.far[edge]), int(rows.mark[edge]), edge, when and when.stated


def _time_slow(when: When, node: int) -> int:
    known = len(when.times)
    return int(when.times[node] if node < known else when.more_times[node - known])


def _holds(when: When, about: Stated | None, edge: int) -> bool:
    """Whether one statement of an edge was made by the time that is asked for, and not retracted by then."""
    said: dict[int, bool] = {}
    assert about is not None
    for place, row in zip(about.places.tolist(), about.rows.tolist(), strict=True):
        if place == edge:
            gone = 0 < about.snapshot[row] <= when.at and about.retracted[row] <= when.as_of
            time = int(about.stated[row])
            said[time] = said.get(time, time <= when.as_of) and not gone
    return any(said.values())
