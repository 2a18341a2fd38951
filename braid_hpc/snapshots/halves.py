"""One direction of the edges of a graph, and their times, put together from the files of an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels.closure import NOTHING_OVER, NOTHING_STATED, Over, Rows, Stated
from braid_hpc.snapshots.segment import PAGE, Segment
from braid_hpc.vocabulary.codes import Relation

__all__ = [
    "ALWAYS",
    "NEVER",
    "RELATIONS",
    "Edges",
    "Half",
    "Timed",
    "Times",
    "each_once",
    "half_of",
    "spread",
    "timed_of",
    "times_of",
]

#: Numbers of the relations in the file.
RELATIONS: dict[Relation, int] = {
    Relation.DERIVED: 1,
    Relation.USED: 2,
    Relation.GENERATED: 3,
    Relation.SAME_CONTENT: 4,
    Relation.CALLED: 5,
    Relation.INFORMED: 6,
}

#: The time of what is there always, and that of what was never retracted.
ALWAYS, NEVER = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Times:
    """When each node was first declared or begun.

    Attributes
    ----------
    first : ndarray of int64, shape (n,)
        Of the nodes 0 to `n` - 1, in nanoseconds since 1970 UTC; :data:`ALWAYS` where nothing of it was seen.
    more : ndarray of int64
        Of the nodes behind those.
    """

    first: NDArray[np.int64]
    more: NDArray[np.int64]

    def of(self, nodes: NDArray[Any]) -> NDArray[np.int64]:
        """Return the times of some nodes.

        Parameters
        ----------
        nodes : ndarray of integers
            Dense ids.

        Returns
        -------
        ndarray of int64
            One for each.
        """
        known = len(self.first)
        beyond = np.flatnonzero(nodes >= known) if len(self.more) else nodes[:0]
        times: NDArray[np.int64] = self.first[nodes if not len(beyond) else np.minimum(nodes, known - 1)]
        times[beyond] = self.more[nodes[beyond] - known]
        return times

    def over(self, tail: NDArray[np.int64], changed: tuple[NDArray[Any], NDArray[np.int64]]) -> Times:
        """Return what they become with those of further nodes, and others for some of these.

        Parameters
        ----------
        tail : ndarray of int64
            Of the nodes behind these.
        changed : tuple of (ndarray of integers, ndarray of int64)
            Nodes, and their times.

        Returns
        -------
        Times
            New ones.
        """
        node, time = changed
        first, more = self.first, np.concatenate([self.more, tail])
        below = node < len(first)
        if below.any():
            first = first.copy()
            first[node[below]] = time[below]
        more[node[~below] - len(first)] = time[~below]
        for values in (first, more):
            values.flags.writeable = False
        return Times(first, more)


@dataclass(frozen=True, slots=True)
class Timed:
    """What there is to know of times for the edges in one direction.

    Attributes
    ----------
    times : Times
        Of the nodes.
    stated, over : Stated
        Of the edges of the lowest file, and of those laid over it, that do not simply hold as soon as both their ends
        are there.
    """

    times: Times
    stated: Stated
    over: Stated


@dataclass(frozen=True, slots=True)
class Edges:
    """Some edges; those of one node are neighbours, by the other end.

    Attributes
    ----------
    near : ndarray of int64
        The node they were asked of.
    far : ndarray of uint32
        The other end.
    mark : ndarray of unsigned
        A row of :attr:`Half.marks`.
    place : ndarray of int64
        Where they stand: what is laid over the lowest file is counted on behind its edges.
    """

    near: NDArray[np.int64]
    far: NDArray[np.uint32]
    mark: NDArray[Any]
    place: NDArray[np.int64]

    def only(self, which: NDArray[Any]) -> Edges:
        """Return some of them.

        Parameters
        ----------
        which : ndarray of int64
            Their indices.

        Returns
        -------
        Edges
            In the order given.
        """
        return Edges(*(getattr(self, name)[which] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Half:
    """The edges in one direction, by the node they are met at.

    Attributes
    ----------
    rows : Rows
        As the kernel takes them; ids begin with 1.
    marks : ndarray of uint32, shape (marks, 4)
        Snapshot, number of the relation (:data:`RELATIONS`), snapshot from which on such an edge is retracted (0 for
        none), and whether it is among those of which :attr:`timed` tells when they hold.
    timed : Timed or None
        None where it was not asked for.
    """

    rows: Rows
    marks: NDArray[np.uint32]
    timed: Timed | None

    def edges_of(self, nodes: NDArray[np.int64]) -> Edges:
        """Return the edges of some nodes.

        Parameters
        ----------
        nodes : ndarray of int64
            Which nodes.

        Returns
        -------
        Edges
            All of them; nodes that have none are left out, and the others need not be in the order given.
        """
        over = self.rows.over
        if not len(over.pages):
            return self._lowest(nodes)
        found = []
        lower = nodes
        for rows in over.pages[::-1]:
            begin, end = int(rows[0]), int(rows[-1])
            near = over.near[begin:end]
            row = np.minimum(np.searchsorted(near, lower), max(len(near) - 1, 0))
            hit = near[row] == lower if len(near) else np.zeros(len(lower), np.bool_)
            at, place = spread(over.offsets, row[hit] + begin)
            edges = Edges(lower[hit][at], over.far[place], over.mark[place], place + len(self.rows.far))
            found.append((lower[hit], edges))
            gone = hit.copy()
            gone[hit] = over.instead[row[hit] + begin] != 0
            lower = lower[~gone]
        touched = each_once(np.concatenate([hit for hit, _ in found]))
        if not len(touched):
            return self._lowest(nodes)
        # Only what has rows in several files needs to be put in order.
        plain = touched[np.minimum(np.searchsorted(touched, lower), len(touched) - 1)] != lower
        pieces = [*(edges for _, edges in found), self._lowest(lower[~plain])]
        mixed = Edges(*(np.concatenate([getattr(each, name) for each in pieces]) for name in Edges.__slots__))
        mixed = mixed.only(np.lexsort((mixed.place, mixed.far, mixed.near)))
        rest = self._lowest(lower[plain])
        return Edges(*(np.concatenate([getattr(rest, name), getattr(mixed, name)]) for name in Edges.__slots__))

    def _lowest(self, nodes: NDArray[np.int64]) -> Edges:
        offsets = self.rows.offsets
        known = nodes[nodes < len(offsets) - 1]
        at, place = spread(offsets, known)
        return Edges(known[at], self.rows.far[place], self.rows.mark[place], place)

    def allowed(self, relations: tuple[Relation, ...], at: int) -> NDArray[np.uint8]:
        """Return which marks a walk may follow.

        Parameters
        ----------
        relations : tuple of Relation
            The relations to follow.
        at : int
            Edges of later snapshots are not followed, nor those that were retracted up to this one.

        Returns
        -------
        ndarray of uint8, shape (marks,)
            By mark: 0 for no, 1 for yes, 2 for what :attr:`timed` says, if that was asked for.
        """
        wanted = np.zeros(8, np.bool_)
        wanted[[RELATIONS[relation] for relation in relations if relation in RELATIONS]] = True
        snapshot, relation, dead, exception = self.marks.T
        # The format has three bits for the relation.
        known = (snapshot <= at) & wanted[relation]
        says: NDArray[np.uint8] = known.astype(np.uint8)
        if self.timed is not None:
            says[known & (exception != 0)] = 2
        else:
            says[(dead > 0) & (dead <= at)] = 0
        return says


def each_once(nodes: NDArray[Any]) -> NDArray[np.int64]:
    """Return each of some nodes once, in ascending order.

    :func:`numpy.unique` does the same, and imports what takes longer than most walks.

    Parameters
    ----------
    nodes : ndarray of integers
        Dense ids.

    Returns
    -------
    ndarray of int64
        Dense ids.
    """
    ordered = np.sort(nodes).astype(np.int64)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=-1))]


def spread(offsets: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of what some rows hold.

    Parameters
    ----------
    offsets : ndarray of integers, shape (rows + 1,)
        Row `i` holds what stands at ``offsets[i]:offsets[i + 1]``.
    rows : ndarray of integers
        Which rows.

    Returns
    -------
    at : ndarray of int64
        For each place, which of the rows given it belongs to.
    places : ndarray of int64
        In the order of the rows given.
    """
    first = offsets[rows].astype(np.int64)
    counts = offsets[rows + 1].astype(np.int64) - first
    ends = np.cumsum(counts)
    places = np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
    return np.repeat(np.arange(len(counts)), counts), places


def half_of(segments: list[Segment], way: str) -> Half:
    """Return one direction of the edges of files that lie over each other.

    Parameters
    ----------
    segments : list of Segment
        The lowest first.
    way : str
        What the names of its sections begin with.

    Returns
    -------
    Half
        Without times.
    """
    lowest, *layers = segments
    marks = [segment.section("marks").reshape(-1, 4) for segment in segments]
    offsets, far, mark = lowest.sections(f"{way}_offsets", f"{way}_far", f"{way}_mark")
    rows = Rows(offsets, far, mark, NOTHING_OVER)
    if not layers:
        return Half(rows, marks[0], None)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in Over._fields}
    row, edge, first = 0, 0, len(marks[0])
    pages = segments[-1].nodes // PAGE + 2
    for segment, its in zip(layers, marks[1:], strict=True):
        begin, near, instead, ranges, ahead, what = segment.sections(
            *(f"{way}_{name}" for name in ("pages", "near", "instead", "offsets", "far", "mark"))
        )
        # A lower one knows fewer nodes: it has no rows of the others.
        parts["pages"].append(np.pad(begin, (0, pages - len(begin)), mode="edge") + np.uint32(row))
        parts["near"].append(near)
        parts["instead"].append(instead)
        parts["offsets"].append(ranges[:-1] + np.uint32(edge))
        parts["far"].append(ahead)
        parts["mark"].append(what.astype(np.uint32) + np.uint32(first))
        row, edge, first = row + len(near), edge + len(ahead), first + len(its)
    parts["offsets"].append(np.array([edge], np.uint32))
    over = Over(np.stack(parts.pop("pages")), *(_joined(parts[name]) for name in Over._fields[1:]))
    over.pages.flags.writeable = False
    return Half(rows._replace(over=over), np.concatenate(marks), None)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    whole.flags.writeable = False
    return whole


def _stated(segment: Segment, way: str) -> Stated:
    names = ("places", "rows", "stated", "retracted", "retracted_snapshot")
    places, rows, *columns = segment.sections(*(f"{way}_{name}" for name in names[:2]), *names[2:])
    # The rows are in the order of one direction, for which their numbers need not be said.
    return Stated(places, rows if len(rows) else _joined([np.arange(len(places), dtype=np.uint32)]), *columns)


def timed_of(segments: list[Segment], way: str, times: Times) -> Timed:
    """Return when the edges of one direction held.

    Parameters
    ----------
    segments : list of Segment
        The lowest first.
    way : str
        What the names of its sections begin with.
    times : Times
        Of their nodes.

    Returns
    -------
    Timed
        Of the same edges, in the same order.
    """
    stated = [_stated(segment, way) for segment in segments]
    if len(segments) == 1:
        return Timed(times, stated[0], NOTHING_STATED)
    edge = row = 0
    places, rows = [], []
    for segment, its in zip(segments[1:], stated[1:], strict=True):
        places.append(its.places + np.uint32(edge))
        rows.append(its.rows + np.uint32(row))
        edge, row = edge + len(segment.section(f"{way}_far")), row + len(its.stated)
    columns = ([getattr(each, name) for each in stated[1:]] for name in Stated._fields[2:])
    return Timed(times, stated[0], Stated(_joined(places), _joined(rows), *(_joined(each) for each in columns)))


def times_of(segments: list[Segment]) -> Times:
    """Return when the nodes of files that lie over each other were first declared or begun.

    Parameters
    ----------
    segments : list of Segment
        The lowest first.

    Returns
    -------
    Times
        Of all of them.
    """
    lowest, *layers = segments
    times = Times(lowest.section("times"), NOTHING_STATED.stated)
    for segment in layers:
        node, time = segment.sections("changed_node", "changed_time")
        times = times.over(segment.section("times"), (node.astype(np.int64), time))
    return times
