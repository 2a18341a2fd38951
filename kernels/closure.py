"""Closure: everything that is reached from some nodes of a graph in compressed rows, level by level.

:func:`closure` is compiled, :func:`closure_slow` is its readable twin; they agree in every number and in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["closure", "closure_slow"]


def closure(
    rows: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    allowed: NDArray[np.bool_],
    starts: NDArray[np.int64],
    *,
    depth: int,
    seen: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Find what is reached from some nodes, and over how many edges.

    Parameters
    ----------
    rows : tuple of ndarray
        ``offsets`` (unsigned, shape (nodes + 1,)), ``far`` and ``mark`` (unsigned, shape (edges,)): the edges of node
        `i` lead to ``far[offsets[i]:offsets[i + 1]]``.
    allowed : ndarray of bool
        By mark: whether such an edge is followed.
    starts : ndarray of int64
        Where to begin; each once.
    depth : int
        How many edges at most.
    seen : ndarray of uint8, shape (nodes,)
        Nodes that are not 0 here are not entered (starts are all the same). It is as it was when the call returns.

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
    >>> nodes, distance = closure(rows, np.array([True]), np.array([0]), depth=9, seen=np.zeros(3, np.uint8))
    >>> nodes.tolist(), distance.tolist()
    ([0, 1, 2], [0, 1, 2])
    """
    offsets, far, mark = rows
    found: tuple[NDArray[np.int64], NDArray[np.int32]] = _closure(offsets, far, mark, allowed, starts, depth, seen)
    return found


@compiled
def _closure(
    offsets: NDArray[Any],
    far: NDArray[Any],
    mark: NDArray[Any],
    allowed: NDArray[np.bool_],
    starts: NDArray[np.int64],
    depth: int,
    seen: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    nodes = np.empty(max(1024, 2 * starts.size), np.int64)
    distance = np.empty(nodes.size, np.int32)
    before = np.empty(starts.size, np.uint8)
    count = starts.size
    for at in range(count):
        before[at] = seen[starts[at]]
        nodes[at], distance[at], seen[starts[at]] = starts[at], 0, 1
    at = 0
    while at < count and distance[at] < depth:
        node, level = nodes[at], distance[at] + 1
        at += 1
        for edge in range(offsets[node], offsets[node + 1]):
            there = far[edge]
            if allowed[mark[edge]] and not seen[there]:
                if count == nodes.size:
                    more, further = np.empty(2 * count, np.int64), np.empty(2 * count, np.int32)
                    more[:count], further[:count] = nodes, distance
                    nodes, distance = more, further
                nodes[count], distance[count], seen[there] = there, level, 1
                count += 1
    for at in range(count):
        seen[nodes[at]] = before[at] if at < starts.size else 0
    return nodes[:count].copy(), distance[:count].copy()


def closure_slow(
    rows: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    allowed: NDArray[np.bool_],
    starts: NDArray[np.int64],
    *,
    depth: int,
    seen: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Find what is reached from some nodes, in plain Python.

    Parameters
    ----------
    rows, allowed, starts, depth, seen
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
                if allowed[mark[edge]] and not seen[there] and there not in found:
                    found[there] = found[node] + 1
                    queue.append(there)
    return np.array(queue, np.int64), np.array([found[node] for node in queue], np.int32)
