"""Walking the edges of a store: over the mapped index of its newest snapshot, or over its tables where it has none."""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels.closure import Stated, When
from braid_hpc.snapshots.adjacency import Adjacency
from braid_hpc.snapshots.halves import RELATIONS, Edges, Half, each_once
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
        Their relations, by number (:data:`braid_hpc.snapshots.halves.RELATIONS`). Each edge of a relation is there
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
    at, as_of = moment
    half = index.half(down=down, timed=as_of is not None)
    allowed, when = half.allowed(relations, at), moment_of(half, at=at, as_of=as_of)
    # Compiled only where somebody has loaded the compiler already: loading it takes longer than any walk.
    compiled = "numba" in sys.modules
    seen = np.zeros((index.nodes + 8) // 8, np.uint8)
    begin = np.array(list(dict.fromkeys(starts)), np.int64)
    if closed:
        barred = np.fromiter(closed, np.int64, len(closed))
        mark_seen(seen, barred[barred <= index.nodes])
    known = begin[begin <= index.nodes]
    if when is not None and half.timed is not None:
        # What was not there had no edges either.
        known = known[half.timed.times.of(known) <= when.as_of]
        if len(later := index.later(when.at, when.as_of)):
            mark_seen(seen, later)
            known = known[~np.isin(known, later)]
    deepest = index.nodes + 1 if depth is None else min(depth, index.nodes + 1)
    if compiled:
        nodes, levels = _compiled_closure()(half.rows, allowed, known, depth=deepest, seen=seen, when=when)
    else:
        nodes, levels = closure_by_level(half, allowed, known, depth=deepest, seen=seen, when=when)
    between = _edges_between(index, half, nodes, allowed, down, when) if edges else _no_edges()
    if len(known) < len(begin):
        nodes = np.concatenate([begin, nodes[len(known) :]])
        levels = np.concatenate([np.zeros(len(begin), np.int32), levels[len(known) :]])
    return Walk(nodes, levels, *between)


def moment_of(half: Half, *, at: int, as_of: int | None) -> When | None:
    """Return what a walk over an index must know of a time.

    Parameters
    ----------
    half : Half
        The edges, with their times if one is asked for.
    at : int
        Snapshot number.
    as_of : int or None
        Nanoseconds since 1970 UTC.

    Returns
    -------
    When or None
        None for no time.
    """
    timed = half.timed
    if as_of is None or timed is None:
        return None
    return When(at, as_of, timed.times.first, timed.times.more, timed.stated, timed.over)


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
    half: Half,
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
    half : Half
        The edges.
    allowed, starts, depth, seen, when
        As there; `seen` stays as it is.

    Returns
    -------
    nodes : ndarray of int64
        By distance, then in ascending order.
    distance : ndarray of int32
        As there.
    """
    # Bits of one byte would come in each other's way here.
    seen = np.unpackbits(seen, bitorder="little")
    found, seen[starts] = [starts], 1
    while len(frontier := found[-1]) and len(found) <= depth:
        edges = half.edges_of(frontier)
        edges = edges.only(np.flatnonzero(seen[edges.far] == 0))
        ahead = each_once(edges.far[followed(half, edges, allowed, when)])
        seen[ahead] = 1
        found.append(ahead)
    levels = np.repeat(np.arange(len(found), dtype=np.int32), [len(level) for level in found])
    return np.concatenate(found), levels


def followed(half: Half, edges: Edges, allowed: NDArray[np.uint8], when: When | None) -> NDArray[np.bool_]:
    """Return which of some edges are followed.

    Parameters
    ----------
    half : Half
        What they are of.
    edges : Edges
        The edges.
    allowed : ndarray of uint8
        From :meth:`Half.allowed`.
    when : When or None
        From :func:`moment_of`.

    Returns
    -------
    ndarray of bool
        For each of them.
    """
    says = allowed[edges.mark]
    keep: NDArray[np.bool_] = says != 0
    if when is None or half.timed is None:
        return keep
    keep &= half.timed.times.of(edges.far) <= when.as_of
    lowest = len(half.rows.far)
    for about, ours, first in (
        (when.stated, edges.place < lowest, 0),
        (when.over, edges.place >= lowest, lowest),
    ):
        asked = np.flatnonzero(keep & ours & (says == 2))
        if len(asked):
            keep[asked] = _held(about, edges.place[asked] - first, when)
    return keep


def _held(about: Stated, places: NDArray[np.int64], when: When) -> NDArray[np.bool_]:
    """Return which edges one statement holds of: made by the time that is asked for, and not retracted by then."""
    first, after = (np.searchsorted(about.places, places, side=side) for side in ("left", "right"))
    counts = after - first
    ends = np.cumsum(counts)
    rows = about.rows[np.repeat(first - ends + counts, counts) + np.arange(ends[-1])]
    edge = np.repeat(np.arange(len(places)), counts)
    stated, snapshot = about.stated[rows], about.snapshot[rows]
    gone = (snapshot > 0) & (snapshot <= when.at) & (about.retracted[rows] <= when.as_of)
    # Each statement, with all its retractions; then each edge, with all its statements.
    begin = np.flatnonzero(np.concatenate([[True], (edge[1:] != edge[:-1]) | (stated[1:] != stated[:-1])]))
    holds = ~np.logical_or.reduceat(gone, begin) & (stated[begin] <= when.as_of)
    return np.bincount(edge[begin][holds], minlength=len(places)) > 0


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
    edges = half.edges_of(nodes)
    edges = edges.only(np.flatnonzero(reached[edges.far]))
    edges = edges.only(np.flatnonzero(followed(half, edges, allowed, when)))
    near, end = edges.near, edges.far.astype(np.int64)
    relation: NDArray[np.uint32] = half.marks[edges.mark, 1]
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
