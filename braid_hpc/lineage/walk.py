"""Walking the edges of a store: over the mapped index of its newest snapshot, or over its tables where it has none."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.snapshots.adjacency import RELATIONS, Adjacency, Half
from braid_hpc.store.holding import FOREVER, HOLDING, absent_nodes, filled_nodes
from braid_hpc.vocabulary.codes import Relation

__all__ = ["CASCADED", "FOLLOWED", "Walk", "walk"]

#: The relations that carry provenance from one thing to another; others are followed only when named.
FOLLOWED = (Relation.DERIVED, Relation.USED, Relation.GENERATED, Relation.SAME_CONTENT)

#: The relations along which an invalidation reaches what came of something.
CASCADED = (Relation.DERIVED, Relation.USED, Relation.GENERATED)

_NAMES = {number: str(relation) for relation, number in RELATIONS.items()}


@dataclass(frozen=True, slots=True)
class Walk:
    """What was reached.

    Attributes
    ----------
    distance : dict of int to int
        Edges on the shortest way from the start, by dense id; the start itself has 0.
    edges : list of (int, int, str)
        Child, parent, relation: every followed edge between nodes that were reached; none where they were not asked
        for.
    """

    distance: dict[int, int]
    edges: list[tuple[int, int, str]]


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
    if index is not None and as_of is None:
        return _over_index(index, list(starts), down, depth, index.allowed(relations, at), closed, edges)
    return _over_tables(connection, list(starts), down, depth, (at, as_of), relations, closed, edges)


# ---------------------------------------------------------------------------------------------------- by the index


def _over_index(
    index: Adjacency,
    starts: list[int],
    down: bool,
    depth: int | None,
    allowed: NDArray[np.bool_],
    closed: Collection[int],
    edges: bool,
) -> Walk:
    half = index.down if down else index.up
    seen = np.zeros(index.nodes + 1, np.uint8)
    seen[[node for node in closed if node <= index.nodes]] = 1
    known = np.array([node for node in dict.fromkeys(starts) if node <= index.nodes], np.int64)
    deepest = index.nodes + 1 if depth is None else min(depth, index.nodes + 1)
    # Compiled only where somebody has loaded the compiler already: loading it takes longer than any walk.
    reach = _compiled_closure() if "numba" in sys.modules else closure_by_level
    nodes, levels = reach((half.offsets, half.far, half.mark), allowed, known, depth=deepest, seen=seen)
    distance = dict(zip(nodes.tolist(), levels.tolist(), strict=True)) | dict.fromkeys(starts, 0)
    return Walk(distance, _edges_between(index, half, nodes, allowed, down) if edges else [])


def _compiled_closure() -> Any:
    from braid_hpc.kernels.closure import closure

    return closure


def closure_by_level(
    rows: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    allowed: NDArray[np.bool_],
    starts: NDArray[np.int64],
    *,
    depth: int,
    seen: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Do what :func:`braid_hpc.kernels.closure.closure` does, with NumPy and a level at a time.

    Parameters
    ----------
    rows, allowed, starts, depth, seen
        As there; `seen` is used up.

    Returns
    -------
    nodes : ndarray of int64
        By distance, then in ascending order.
    distance : ndarray of int32
        As there.
    """
    offsets, far, mark = rows
    found, seen[starts] = [starts], 1
    while len(frontier := found[-1]) and len(found) <= depth:
        _, places = edges_of(offsets, frontier)
        ahead = far[places][allowed[mark[places]]]
        ahead = np.unique(ahead[seen[ahead] == 0]).astype(np.int64)
        seen[ahead] = 1
        found.append(ahead)
    levels = np.repeat(np.arange(len(found), dtype=np.int32), [len(level) for level in found])
    return np.concatenate(found), levels


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


def _edges_between(
    index: Adjacency, half: Half, nodes: NDArray[np.int64], allowed: NDArray[np.bool_], down: bool
) -> list[tuple[int, int, str]]:
    """Return the followed edges between nodes that were reached, each once."""
    reached = np.zeros(index.nodes + 1, np.bool_)
    reached[nodes] = True
    near, places = edges_of(half.offsets, nodes)
    far, mark = half.far[places], half.mark[places]
    keep = reached[far] & allowed[mark]
    near, far, relation = near[keep], far[keep].astype(np.int64), index.marks[mark[keep], 1]
    child, parent = (far, near) if down else (near, far)
    stated = zip(child.tolist(), parent.tolist(), relation.tolist(), strict=True)
    return [(one, other, _NAMES[number]) for one, other, number in dict.fromkeys(stated)]


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
    frontier, level = list(distance), 0
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
            if there in absent:
                continue
            if there not in distance and deeper:
                distance[there] = level
                fresh.append(there)
            if there in distance:
                edges.append((there, here, relation) if down else (here, there, relation))
        frontier = fresh
    return Walk(distance, edges if wanted else [])
