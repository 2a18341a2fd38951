"""Parts of what walks reached, by arrays: what two of them have in common, and what lies between two nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.lineage.walk import RELATION_NAMES, Walk
from braid_hpc.snapshots.halves import spread

__all__ = ["BEGIN", "END", "Ahead", "Joined", "leading_to", "parted"]

#: What :class:`Joined` adds to the nodes: no dense id is negative.
BEGIN, END = -1, -2


def parted(
    one: NDArray[np.int64], other: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Part two sets of nodes, each by one look at each node, whatever their order.

    Parameters
    ----------
    one, other : ndarray of int64
        Dense ids, each once.

    Returns
    -------
    only_one, only_other, both : ndarray of int64
        In the order in which they were given; those of both as in `one`.

    Examples
    --------
    >>> parted(np.array([5, 2, 9]), np.array([9, 3, 5]))
    (array([2]), array([3]), array([5, 9]))
    """
    met = np.zeros(int(max(one.max(initial=0), other.max(initial=0))) + 1, np.uint8)
    met[one] = 1
    met[other] |= 2
    mine = met[one]
    return one[mine == 1], other[met[other] == 2], one[mine == 3]


def leading_to(found: Walk, goals: Collection[int]) -> tuple[Walk, NDArray[np.int32]]:
    """Return the part of a walk that leads to some nodes.

    Parameters
    ----------
    found : Walk
        From some nodes to what fed them, with its edges.
    goals : collection of int
        Nodes that it reached.

    Returns
    -------
    part : Walk
        The nodes from which an edge of the walk leads to a goal, directly or over others, and the goals themselves,
        with the distances of the walk; and every edge between these.
    far : ndarray of int32
        How many edges each of them is from the nearest goal.
    """
    place = np.zeros(int(found.nodes.max()) + 1, np.int64)
    place[found.nodes] = np.arange(len(found.nodes))
    child, parent = place[found.children], place[found.parents]
    offsets, order = _grouped(parent, len(found.nodes))
    far = np.full(len(found.nodes), -1, np.int32)
    frontier, level = place[sorted(set(goals))], 0
    while len(frontier):
        far[frontier] = level
        level += 1
        near = child[order[spread(offsets, frontier)[1]]]
        near = np.sort(near[far[near] < 0])
        # Each once: numpy.unique does the same, and imports what takes longer.
        frontier = near[np.flatnonzero(np.diff(near, prepend=-1))]
    inside = far >= 0
    within = inside[child] & inside[parent]
    edges = (found.children[within], found.parents[within], found.relations[within])
    return Walk(found.nodes[inside], found.levels[inside], *edges), far[inside]


def _grouped(keys: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the places of each key begin, and the places in the order of keys."""
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(keys, minlength=count), out=offsets[1:])
    return offsets, np.argsort(keys, kind="stable")


class Ahead(Mapping[int, list[int]]):
    """The next nodes of each node of a walk to what fed it, looked up when they are asked for.

    Parameters
    ----------
    part : Walk
        With its edges.
    """

    def __init__(self, part: Walk) -> None:
        self._part = part
        self._known: dict[int, dict[int, str]] = {}
        self._order: NDArray[Any] = np.argsort(part.children, kind="stable")
        self._children = part.children[self._order]

    def relations(self, node: int) -> dict[int, str]:
        """Return the next nodes of one.

        Parameters
        ----------
        node : int
            Dense id.

        Returns
        -------
        dict of int to str
            By id, with the relation of the edge to each; of several the first by name.
        """
        if node not in self._known:
            first, after = np.searchsorted(self._children, [node, node + 1])
            places = self._order[first:after]
            ends, numbers = self._part.parents[places].tolist(), self._part.relations[places].tolist()
            found: dict[int, str] = {}
            for end, name in sorted(zip(ends, map(RELATION_NAMES.__getitem__, numbers), strict=True)):
                found.setdefault(end, name)
            self._known[node] = found
        return self._known[node]

    def __getitem__(self, node: int) -> list[int]:
        """Return the next nodes of one, by id."""
        return list(self.relations(node))

    def __iter__(self) -> Iterator[int]:
        """Yield the nodes."""
        return iter(self._part.nodes.tolist())

    def __len__(self) -> int:
        """Return how many nodes there are."""
        return len(self._part.nodes)


class Joined(Mapping[int, list[int]]):
    """The next nodes of each node, with one before several that a way may begin at, and one behind those it may end at.

    Parameters
    ----------
    ahead : mapping of int to list of int
        The next nodes of each.
    starts, goals : collection of int
        Where ways begin and end.
    """

    def __init__(self, ahead: Mapping[int, list[int]], starts: Collection[int], goals: Collection[int]) -> None:
        self._ahead, self._starts, self._goals = ahead, sorted(starts), frozenset(goals)

    def __getitem__(self, node: int) -> list[int]:
        """Return the next nodes of one."""
        if node == BEGIN:
            return self._starts
        further = [] if node == END else self._ahead[node]
        return [*further, END] if node in self._goals else further

    def __iter__(self) -> Iterator[int]:
        """Yield the nodes."""
        yield from (BEGIN, *self._ahead, END)

    def __len__(self) -> int:
        """Return how many nodes there are."""
        return len(self._ahead) + 2
