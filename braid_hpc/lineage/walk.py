"""Walking the edges of a store: over the mapped index of its newest snapshot, or over its tables where it has none."""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels.closure import When
from braid_hpc.snapshots.adjacency import RELATIONS, Adjacency, Half
from braid_hpc.store.holding import FOREVER, HOLDING, absent_nodes, filled_nodes
from braid_hpc.vocabulary.codes import Relation

__all__ = ["CASCADED", "FOLLOWED", "RELATION_NAMES", "Walk", "walk"]

#: The relations that carry provenance from one thing to another; others are followed only when named.
FOLLOWED = (Relation.DERIVED, Relation.USED, Relation.GENERATED, Relation.SAME_CONTENT)

#: The relations along which an invalidation reaches what came of something.
CASCADED = (Relation.DERIVED, Relation.USED, Relation.GENERATED)

RELATION_NAMES = {number: str(relation) for relation, number in RELATIONS.items()}


@dataclass(frozen=True)
class Walk:
    """What was reached, as arrays; :attr:`distance` and :attr:`edges` are made of them when they are asked for.

    Attributes
    ----------
    nodes : ndarray of int64, shape (n,)
        Dense ids, each once; those that the walk began with are the first.
    levels : ndarray of int32, shape (n,)
        Edges on the shortest way from the start; the start itself has 0. Ascending.
    children, parents : ndarray of int64, shape (edges,)
        The ends of every followed edge between nodes that were reached; none where they were not asked for.
    relations : ndarray of uint32, shape (edges,)
        Their relations, by number (:data:`braid_hpc.snapshots.adjacency.RELATIONS`). Each edge of a relation is there
        once.
    """

    nodes: NDArray[np.int64]
    levels: NDArray[np.int32]
    children: NDArray[np.int64]
    parents: NDArray[np.int64]
    relations: NDArray[np.uint32]

    @classmethod
    def of(cls, distance: dict[int, int], edges: list[tuple[int, int, str]]) -> Walk:
        """Return a walk that is known node by node.

        Parameters
        ----------
        distance : dict of int to int
            Edges from the start, by dense id.
        edges : list of (int, int, str)
            Child, parent, relation.

        Returns
        -------
        Walk
            The same as arrays.
        """
        order = sorted(distance, key=distance.__getitem__)
        ends = np.array([edge[:2] for edge in edges], np.int64).reshape(-1, 2)
        numbers = np.array([RELATIONS[Relation(relation)] for *_, relation in edges], np.uint32)
        levels = np.array([distance[node] for node in order], np.int32)
        return cls(np.array(order, np.int64), levels, ends[:, 0], ends[:, 1], numbers)

    @functools.cached_property
    def distance(self) -> dict[int, int]:
        """Edges on the shortest way from the start, by dense id."""
        return dict(zip(self.nodes.tolist(), self.levels.tolist(), strict=True))

    @functools.cached_property
    def edges(self) -> list[tuple[int, int, str]]:
        """Child, parent and relation of the edges."""
        names = [RELATION_NAMES[number] for number in self.relations.tolist()]
        return list(zip(self.children.tolist(), self.parents.tolist(), names, strict=True))


def walk(
    connection: Any,
    starts: Collection[int],
    *,
    down: bool,
    at: int,
    as_of: int | None = None,
    depth: int | None = None,
    relations: tuple[Relation, ...] = FOLLOWED,
    index: Adjacency | None = None,
    barred: Collection[int] | None = None,
    edges: bool = True,
) -> Walk:
    """Follow edges from some nodes.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    starts : collection of int
        Dense ids.
    down : bool
        From parents to children; else from children to parents.
    at : int
        Edges of later snapshots are not followed.
    as_of : int, optional
        Nanoseconds since 1970 UTC: edges that were stated later are not followed, and nodes that were declared or
        begun later are not entered.
    depth : int, optional
        How many edges at most.
    relations : tuple of Relation
        Which edges are followed.
    index : Adjacency, optional
        Of the snapshot that the connection is open on; without it, each level is a query.
    barred : collection of int, optional
        Nodes that are not entered; without it those of :func:`filled_nodes`, which must be among them.
    edges : bool
        Whether the edges are wanted, or the nodes alone.

    Returns
    -------
    Walk
        Every node once, though the graph may hold cycles.
    """
    closed = {*(filled_nodes(connection, at) if barred is None else barred)}.difference(starts)
    if index is not None:
        return _over_index(index, list(starts), down, depth, (at, as_of), relations, closed, edges)
    return _over_tables(connection, list(starts), down, depth, (at, as_of), relations, closed, edges)


# ---------------------------------------------------------------------------------------------------- by the index


def _over_index(
    index: Adjacency,
    starts: list[int],
    down: bool,
    depth: int | None,
    moment: tuple[int, int | None],
    relations: tuple[Relation, ...],
    closed: Collection[int],
    edges: bool,
) -> Walk:
    half, when = index.half(down=down), moment_of(index, down=down, at=moment[0], as_of=moment[1])
    allowed = index.allowed(relations, moment[0], as_of=when is not None)
    # Compiled only where somebody has loaded the compiler already: loading it takes longer than any walk.
    compiled = "numba" in sys.modules
    seen = np.zeros((index.nodes + 8) // 8, np.uint8)
    begin = np.array(list(dict.fromkeys(starts)), np.int64)
    if closed:
        barred = np.fromiter(closed, np.int64, len(closed))
        mark_seen(seen, barred[barred <= index.nodes])
    if when is not None:
        later = index.later(when.at, when.as_of)
        mark_seen(seen, later)
    known = begin[begin <= index.nodes]
    if when is not None:
        # What was not there had no edges either.
        known = known[(when.times[known] <= when.as_of) & ~np.isin(known, later)]
    deepest = index.nodes + 1 if depth is None else min(depth, index.nodes + 1)
    reach = _compiled_closure() if compiled else closure_by_level
    nodes, levels = reach((half.offsets, half.far, half.mark), allowed, known, depth=deepest, seen=seen, when=when)
    between = _edges_between(index, half, nodes, allowed, down, when) if edges else _no_edges()
    if len(known) < len(begin):
        nodes = np.concatenate([begin, nodes[len(known) :]])
        levels = np.concatenate([np.zeros(len(begin), np.int32), levels[len(known) :]])
    return Walk(nodes, levels, *between)


def moment_of(index: Adjacency, *, down: bool, at: int, as_of: int | None) -> When | None:
    """Return what a walk over an index must know of a time.

    Parameters
    ----------
    index : Adjacency
        Open.
    down : bool
        From parents to children.
    at : int
        Snapshot number.
    as_of : int or None
        Nanoseconds since 1970 UTC.

    Returns
    -------
    When or None
        None for no time.

    Raises
    ------
    CorruptLogError
        If the index is damaged and cannot be made again.
    """
    if as_of is None:
        return None
    rows = index.exceptions(down=down)
    return When(at, as_of, index.times, rows.places, rows.rows, rows.stated, rows.retracted, rows.snapshot)


def _compiled_closure() -> Any:
    from braid_hpc.kernels.closure import closure

    return closure


def mark_seen(seen: NDArray[np.uint8], nodes: NDArray[np.int64]) -> None:
    """Set the bits of some nodes.

    Parameters
    ----------
    seen : ndarray of uint8
        As for :func:`braid_hpc.kernels.closure.closure`; changed.
    nodes : ndarray of int64
        Which nodes.
    """
    np.bitwise_or.at(seen, nodes >> 3, (1 << (nodes & 7)).astype(np.uint8))


def closure_by_level(
    rows: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    allowed: NDArray[np.uint8],
    starts: NDArray[np.int64],
    *,
    depth: int,
    seen: NDArray[np.uint8],
    when: When | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Do what :func:`braid_hpc.kernels.closure.closure` does, with NumPy and a level at a time.

    Parameters
    ----------
    rows, allowed, starts, depth, seen, when
        As there; `seen` stays as it is.

    Returns
    -------
    nodes : ndarray of int64
        By distance, then in ascending order.
    distance : ndarray of int32
        As there.
    """
    offsets, far, mark = rows
    # Bits of one byte would come in each other's way here.
    seen = np.unpackbits(seen, bitorder="little")
    found, seen[starts] = [starts], 1
    while len(frontier := found[-1]) and len(found) <= depth:
        _, places = edges_of(offsets, frontier)
        ahead = far[places]
        keep = seen[ahead] == 0
        ahead, places = ahead[keep], places[keep]
        ahead = np.unique(ahead[followed(places, ahead, mark, allowed, when)]).astype(np.int64)
        seen[ahead] = 1
        found.append(ahead)
    levels = np.repeat(np.arange(len(found), dtype=np.int32), [len(level) for level in found])
    return np.concatenate(found), levels


def followed(
    places: NDArray[np.int64],
    far: NDArray[Any],
    mark: NDArray[Any],
    allowed: NDArray[np.uint8],
    when: When | None,
) -> NDArray[np.bool_]:
    """Return which of some edges are followed.

    Parameters
    ----------
    places : ndarray of int64
        Where they stand.
    far : ndarray
        The node at the other end of each.
    mark, allowed, when
        As for :func:`closure_by_level`.

    Returns
    -------
    ndarray of bool
        For each of them.
    """
    says = allowed[mark[places]]
    keep: NDArray[np.bool_] = says != 0
    if when is None:
        return keep
    keep = (says != 0) & (when.times[far] <= when.as_of)
    asked = np.flatnonzero(keep & (says == 2))
    if len(asked):
        first, after = (np.searchsorted(when.places, places[asked], side=side) for side in ("left", "right"))
        counts = after - first
        ends = np.cumsum(counts)
        rows = when.rows[np.repeat(first - ends + counts, counts) + np.arange(ends[-1])]
        edge = np.repeat(np.arange(len(asked)), counts)
        stated, snapshot = when.stated[rows], when.snapshot[rows]
        gone = (snapshot > 0) & (snapshot <= when.at) & (when.retracted[rows] <= when.as_of)
        # Each statement, with all its retractions; then each edge, with all its statements.
        begin = np.flatnonzero(np.concatenate([[True], (edge[1:] != edge[:-1]) | (stated[1:] != stated[:-1])]))
        holds = ~np.logical_or.reduceat(gone, begin) & (stated[begin] <= when.as_of)
        keep[asked] = np.bincount(edge[begin][holds], minlength=len(asked)) > 0
    return keep


def edges_of(offsets: NDArray[Any], nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the edges of some nodes.

    Parameters
    ----------
    offsets : ndarray of uint32, shape (nodes + 1,)
        Where the edges of each node begin.
    nodes : ndarray of int64
        Which nodes.

    Returns
    -------
    near : ndarray of int64
        The node of each edge.
    places : ndarray of int64
        The place of each edge.
    """
    first = offsets[nodes].astype(np.int64)
    counts = offsets[nodes + 1].astype(np.int64) - first
    ends = np.cumsum(counts)
    places = np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
    return np.repeat(nodes, counts), places


def _no_edges() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint32)


def _edges_between(
    index: Adjacency,
    half: Half,
    nodes: NDArray[np.int64],
    allowed: NDArray[np.uint8],
    down: bool,
    when: When | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Return the followed edges between nodes that were reached, each once."""
    reached = np.zeros(index.nodes + 1, np.bool_)
    reached[nodes] = True
    near, places = edges_of(half.offsets, nodes)
    far = half.far[places]
    keep = reached[far]
    near, places, far = near[keep], places[keep], far[keep]
    keep = followed(places, far, half.mark, allowed, when)
    near, end = near[keep], far[keep].astype(np.int64)
    relation: NDArray[np.uint32] = index.marks[half.mark[places[keep]], 1]
    # Edges of one node are by the other end, so those that several snapshots brought are neighbours, but for relations.
    twice = np.flatnonzero((near[1:] == near[:-1]) & (end[1:] == end[:-1]))
    if len(twice):
        order = np.lexsort((relation, end, near))
        near, end, relation = near[order], end[order], relation[order]
        same = (near[1:] == near[:-1]) & (end[1:] == end[:-1]) & (relation[1:] == relation[:-1])
        fresh = np.concatenate([[True], ~same])
        near, end, relation = near[fresh], end[fresh], relation[fresh]
    if not down:
        near, end = end, near
    return end, near, relation


# ---------------------------------------------------------------------------------------------------- by the tables


def _over_tables(
    connection: Any,
    starts: list[int],
    down: bool,
    depth: int | None,
    moment: tuple[int, int | None],
    relations: tuple[Relation, ...],
    closed: Collection[int],
    wanted: bool,
) -> Walk:
    near, far = ("parent", "child") if down else ("child", "parent")
    query = (
        f"select distinct {near}, {far}, relation from {HOLDING} "
        f"where list_contains($relations, relation) and {near} in (select unnest($here::bigint[])) "
        f"and not list_contains($closed::bigint[], {far})"
    )
    at, as_of = moment
    given = {
        "at": at,
        "as_of": FOREVER if as_of is None else as_of,
        "relations": [str(relation) for relation in relations],
        "closed": sorted(closed),
    }
    distance = dict.fromkeys(starts, 0)
    # What was not there had no edges either.
    gone = set() if as_of is None else absent_nodes(connection, starts, at=at, as_of=as_of)
    frontier, level = [node for node in distance if node not in gone], 0
    edges: list[tuple[int, int, str]] = []
    while frontier:
        level += 1
        fresh = []
        # Beyond the last level only the edges between what was reached count.
        deeper = depth is None or level <= depth
        found = connection.execute(query, {**given, "here": frontier}).fetchall()
        ahead = {there for _, there, _ in found if there not in distance}
        absent = set() if as_of is None else absent_nodes(connection, ahead, at=at, as_of=as_of)
        for here, there, relation in found:
            if there in absent or there in gone:
                continue
            if there not in distance and deeper:
                distance[there] = level
                fresh.append(there)
            if there in distance:
                edges.append((there, here, relation) if down else (here, there, relation))
        frontier = fresh
    return Walk.of(distance, edges if wanted else [])
