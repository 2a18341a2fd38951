"""Walking the edges of a store, level by level, in DuckDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from braid_hpc.vocabulary.codes import Relation

__all__ = ["CASCADED", "FOLLOWED", "Walk", "walk"]

#: The relations that carry provenance from one thing to another; others are followed only when named.
FOLLOWED = (Relation.DERIVED, Relation.USED, Relation.GENERATED, Relation.SAME_CONTENT)

#: The relations along which an invalidation reaches what came of something.
CASCADED = (Relation.DERIVED, Relation.USED, Relation.GENERATED)


@dataclass(frozen=True, slots=True)
class Walk:
    """What was reached.

    Attributes
    ----------
    distance : dict of int to int
        Edges on the shortest way from the start, by dense id; the start itself has 0.
    edges : list of (int, int, str)
        Child, parent, relation: every followed edge between nodes that were reached.
    """

    distance: dict[int, int]
    edges: list[tuple[int, int, str]]


def walk(
    connection: Any,
    starts: list[int],
    *,
    down: bool,
    depth: int | None,
    at: int,
    relations: tuple[Relation, ...] = FOLLOWED,
) -> Walk:
    """Follow edges from some nodes.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    starts : list of int
        Dense ids.
    down : bool
        From parents to children; else from children to parents.
    depth : int or None
        How many edges at most.
    at : int
        Edges of later snapshots are not followed.
    relations : tuple of Relation
        Which edges are followed.

    Returns
    -------
    Walk
        Every node once, though the graph may hold cycles.
    """
    near, far = ("parent", "child") if down else ("child", "parent")
    filled = [
        identity for (identity,) in connection.execute("select id from filled where snapshot <= ?", [at]).fetchall()
    ]
    names = [str(relation) for relation in relations]
    query = (
        f"select distinct {near}, {far}, relation from (select child, parent, relation, snapshot from edge_rows "
        f"union all select child, parent, 'same-content', snapshot from content_rows) where snapshot <= $at "
        f"and list_contains($relations, relation) and {near} in (select unnest($here::bigint[])) "
        f"and not list_contains($filled::bigint[], {far})"
    )
    given = {"at": at, "relations": names, "filled": filled}
    distance = dict.fromkeys(starts, 0)
    frontier, level = list(starts), 0
    edges: list[tuple[int, int, str]] = []
    while frontier:
        level += 1
        fresh = []
        # Beyond the last level only the edges between what was reached count.
        deeper = depth is None or level <= depth
        for here, there, relation in connection.execute(query, {**given, "here": frontier}).fetchall():
            if there not in distance and deeper:
                distance[there] = level
                fresh.append(there)
            if there in distance:
                edges.append((there, here, relation) if down else (here, there, relation))
        frontier = fresh
    return Walk(distance, edges)
