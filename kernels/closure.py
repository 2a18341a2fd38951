"""Closure: everything that is reached from some nodes of a graph in compressed rows, level by level.

:func:`closure` is compiled, :func:`closure_slow` is its readable twin; they agree in every number and in order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["When", "closure", "closure_slow"]


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
    places : ndarray of uint32, shape (n,)
        Edges whose mark is 2 in `allowed`, ascending; each once for each of its rows below.
    rows : ndarray of uint32, shape (n,)
        Which rows.
    stated, retracted : ndarray of int64
        When an edge was stated, and when that was retracted; rows of one statement are neighbours.
    snapshot : ndarray of uint32
        Which snapshot brought the retraction; 0 for none.
    """

    at: int
    as_of: int
    times: NDArray[np.int64]
    places: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    stated: NDArray[np.int64]
    retracted: NDArray[np.int64]
    snapshot: NDArray[np.uint32]


_NO_TIME = When(
    *(0, 0, np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.uint32)),
    *(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint32)),
)


def closure(
    rows: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
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
    rows : tuple of ndarray
        ``offsets`` (unsigned, shape (nodes + 1,)), ``far`` and ``mark`` (unsigned, shape (edges,)): the edges of node
        `i` lead to ``far[offsets[i]:offsets[i + 1]]``.
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
    >>> rows = np.array([0, 1, 2, 2], np.uint32), np.array([1, 2], np.uint32), np.array([0, 0], np.uint16)
    >>> nodes, distance = closure(rows, np.array([1], np.uint8), np.array([0]), depth=9, seen=np.zeros(1, np.uint8))
    >>> nodes.tolist(), distance.tolist()
    ([0, 1, 2], [0, 1, 2])
    """
    offsets, far, mark = rows
    found: tuple[NDArray[np.int64], NDArray[np.int32]]
    found = _closure(offsets, far, mark, allowed, starts, depth, seen, when is not None, *(when or _NO_TIME))
    return found


@compiled
def _closure(
    offsets: NDArray[Any],
    far: NDArray[Any],
    mark: NDArray[Any],
    allowed: NDArray[np.uint8],
    starts: NDArray[np.int64],
    depth: int,
    seen: NDArray[np.uint8],
    timed: bool,
    at_snapshot: int,
    as_of: int,
    times: NDArray[np.int64],
    places: NDArray[np.uint32],
    rows: NDArray[np.uint32],
    stated: NDArray[np.int64],
    retracted: NDArray[np.int64],
    snapshot: NDArray[np.uint32],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    nodes = np.empty(max(1024, 2 * starts.size), np.int64)
    distance = np.empty(nodes.size, np.int32)
    count = starts.size
    for at in range(count):
        nodes[at], distance[at] = starts[at], 0
        seen[starts[at] >> 3] |= 1 << (starts[at] & 7)
    at = 0
    while at < count and distance[at] < depth:
        node, level = nodes[at], distance[at] + 1
        at += 1
        for edge in range(offsets[node], offsets[node + 1]):
            there = far[edge]
            # Asked first: where most of a graph is reached, most edges lead to what was seen.
            byte, bit = there >> 3, np.uint8(1 << (there & 7))
            if seen[byte] & bit:
                continue
            follow = allowed[mark[edge]]
            if follow:
                if timed:
                    if times[there] > as_of:
                        continue
                    if follow == 2:
                        # The first row of this edge, then its statements one by one: one that holds is enough.
                        low, high = 0, places.size
                        while low < high:
                            middle = (low + high) // 2
                            if places[middle] < edge:
                                low = middle + 1
                            else:
                                high = middle
                        holds = False
                        while low < places.size and places[low] == edge and not holds:
                            said = stated[rows[low]]
                            holds = said <= as_of
                            while low < places.size and places[low] == edge and stated[rows[low]] == said:
                                row = rows[low]
                                if snapshot[row] and snapshot[row] <= at_snapshot and retracted[row] <= as_of:
                                    holds = False
                                low += 1
                        if not holds:
                            continue
                if count == nodes.size:
                    more, further = np.empty(2 * count, np.int64), np.empty(2 * count, np.int32)
                    more[:count], further[:count] = nodes, distance
                    nodes, distance = more, further
                nodes[count], distance[count] = there, level
                seen[byte] |= bit
                count += 1
    return nodes[:count], distance[:count]


def closure_slow(
    rows: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
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
    offsets, far, mark = rows
    found = dict.fromkeys(starts.tolist(), 0)
    for node in (queue := list(found)):
        if found[node] < depth:
            for edge in range(int(offsets[node]), int(offsets[node + 1])):
                there = int(far[edge])
                follow = int(allowed[mark[edge]])
                if when is not None and follow:
                    follow = when.times[there] <= when.as_of and (follow == 1 or _holds(when, edge))
                if follow and not seen[there >> 3] >> (there & 7) & 1 and there not in found:
                    found[there] = found[node] + 1
                    queue.append(there)
    return np.array(queue, np.int64), np.array([found[node] for node in queue], np.int32)


def _holds(when: When, edge: int) -> bool:
    """Whether one statement of an edge was made by the time that is asked for, and not retracted by then."""
    said: dict[int, bool] = {}
    for place, row in zip(when.places.tolist(), when.rows.tolist(), strict=True):
        if place == edge:
            gone = 0 < when.snapshot[row] <= when.at and when.retracted[row] <= when.as_of
            time = int(when.stated[row])
            said[time] = said.get(time, time <= when.as_of) and not gone
    return any(said.values())
