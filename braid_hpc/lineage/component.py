"""Everything that hangs together with a node, in whatever direction, for drawing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.completeness import said
from braid_hpc.lineage.ground import Ground, edges_by_refs
from braid_hpc.lineage.missing import Missing
from braid_hpc.lineage.pictured import Pictured, Source
from braid_hpc.lineage.render import dot, mermaid, on_one_line
from braid_hpc.lineage.walk import FOLLOWED, followed, moment_of
from braid_hpc.snapshots.adjacency import Adjacency
from braid_hpc.snapshots.halves import each_once
from braid_hpc.store.holding import FOREVER, HOLDING, LATER, absent_nodes
from braid_hpc.store.resolve import Node
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["LIMIT", "Graph", "draw"]

#: Nodes that are drawn unless another limit is given: more cannot be looked at, and Mermaid draws no more.
LIMIT = 500

_RELATIONS = [str(relation) for relation in FOLLOWED]


@dataclass(frozen=True, slots=True)
class Graph(Pictured):
    """A part of a store for drawing.

    Attributes
    ----------
    root : str or None
        What was asked for; None for the whole store.
    nodes : list of LineageNode
        Those nearest to the root first, by edges in whatever direction; of a whole store in the order of commits.
    edges : list of LineageEdge
        All that a lineage follows, among these nodes.
    left_out : int
        How many further nodes hang together with these, and are beyond the limit.
    missing : list of Missing
        Logs of the runs involved that are not complete.
    source : Source or None
        The store and the moment that it is of.
    """

    root: str | None
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    left_out: int = 0
    missing: list[Missing] = field(default_factory=list)
    source: Source | None = field(default=None, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether every log that could add to the graph is complete."""
        return not self.missing

    @property
    def note(self) -> str | None:
        """What a drawing says of nodes that are left out; None if there are none."""
        return f"{self.left_out:,} more are not drawn" if self.left_out else None

    @property
    def _beyond(self) -> int:
        return self.left_out

    def __str__(self) -> str:
        """Return it as lines of text: how many nodes and edges, of which kinds, and what is not whole."""
        kinds = Counter(node.kind for node in self.nodes)
        counts = ", ".join(
            f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda each: (-each[1], each))
        )
        head = "the whole store" if self.root is None else on_one_line(self.root)
        edges = f"{len(self.edges):,} edge{'' if len(self.edges) == 1 else 's'}"
        nodes = f"{len(self.nodes):,} node{'' if len(self.nodes) == 1 else 's'}"
        lines = [f"{head}: {nodes}{f' ({counts})' if counts else ''}, {edges}"]
        lines.extend([self.note] if self.note else [])
        invalid = sum(not node.valid for node in self.nodes)
        lines.extend([f"{invalid:,} not valid"] if invalid else [])
        lines.extend(f"incomplete: {said(each)}" for each in self.missing)
        return "\n".join(lines)

    def mermaid(self) -> str:
        """Return the graph as a Mermaid flow chart.

        Returns
        -------
        str
            Arrows go from parent to child; invalid nodes are of a class of their own, and what is left out is a node.
        """
        return mermaid(self, note=self.note)

    def dot(self) -> str:
        """Return the graph in Graphviz' language.

        Returns
        -------
        str
            A ``digraph``, as :meth:`mermaid`.
        """
        return dot(self, note=self.note)

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain values.

        Returns
        -------
        dict
            ``root``, ``nodes``, ``edges``, ``left_out``, ``complete``, ``missing``; references are strings.
        """
        return {
            "root": self.root,
            "nodes": [{name: getattr(node, name) for name in LineageNode.__slots__} for node in self.nodes],
            "edges": [{name: getattr(edge, name) for name in LineageEdge.__slots__} for edge in self.edges],
            "left_out": self.left_out,
            "complete": self.complete,
            "missing": [{name: getattr(each, name) for name in Missing.__slots__} for each in self.missing],
        }


def draw(store: Store, reference: str | None, *, limit: int | None, at: int | None, as_of: Any) -> Graph:
    """Collect what hangs together with a node, or all there is; see :meth:`braid_hpc.Store.graph`.

    Parameters
    ----------
    store : Store
        Open.
    reference, limit, at, as_of
        As there.

    Returns
    -------
    Graph
        With the number of nodes that are beyond the limit.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidInputError(f"a limit is a number from 1, or nothing for all: not {limit!r}")
    ground = Ground.of(store, at=at, as_of=as_of)
    connection, index = store._connected, store.adjacency
    moment = ground.at, ground.as_of
    root = None
    if reference is None:
        rows = connection.execute("select id from nodes where snapshot <= ? order by id", [ground.at]).fetchall()
        absent = ground.closed | _later(connection, moment)
        distance = {identity: 0 for (identity,) in rows if identity not in absent}
    else:
        root = ground.resolve(reference)[0]
        closed = set(ground.closed) - {root.id}
        if index is not None:
            distance = _over_index(index, root.id, moment, closed)
        else:
            distance = _over_tables(connection, root.id, moment, closed)
    every = list(distance)
    shown = every if limit is None else every[:limit]
    edges = connection.execute(
        f"with shown as (select unnest($shown::bigint[]) as id) select distinct child, parent, relation from {HOLDING} "
        "where list_contains($relations, relation) and child in (from shown) and parent in (from shown)",
        {"shown": shown, **_given(moment), "relations": _RELATIONS},
    ).fetchall()
    nodes = ground.listed({identity: distance[identity] for identity in shown})
    return Graph(
        None if root is None else root.ref,
        list(nodes.values()),
        edges_by_refs(edges, nodes),
        len(distance) - len(shown),
        _missing(ground, every, root),
        ground.source,
    )


def _missing(ground: Ground, ids: list[int], root: Node | None) -> list[Missing]:
    """Return the logs that may hide ancestors or descendants."""
    anyone = root or Node(0, "", "", "", 0)
    found = ground.missing(ids, anyone)
    return list(dict.fromkeys([*found, *(ground.missing(ids, root, down=True) if root else ())]))


def _over_index(index: Adjacency, start: int, moment: tuple[int, int | None], closed: set[int]) -> dict[int, int]:
    """Follow edges in both directions, a level at a time."""
    at, as_of = moment
    halves = [index.half(down=down, timed=as_of is not None) for down in (False, True)]
    ways = [(half, half.allowed(FOLLOWED, at), moment_of(half, at=at, as_of=as_of)) for half in halves]
    seen = np.zeros(index.nodes + 1, np.bool_)
    seen[[node for node in closed if node <= index.nodes]] = True
    if as_of is not None:
        seen[index.later(at, as_of)] = True
    distance = {start: 0}
    frontier: NDArray[np.int64] = np.array([start] if start <= index.nodes else [], np.int64)
    seen[frontier] = True
    level = 0
    while len(frontier):
        level += 1
        ahead = []
        for half, allowed, when in ways:
            edges = half.edges_of(frontier)
            ahead.append(edges.far[followed(half, edges, allowed, when)])
        found = each_once(np.concatenate(ahead))
        frontier = found[~seen[found]]
        seen[frontier] = True
        distance.update(dict.fromkeys(frontier.tolist(), level))
    return distance


def _given(moment: tuple[int, int | None]) -> dict[str, int]:
    at, as_of = moment
    return {"at": at, "as_of": FOREVER if as_of is None else as_of}


def _later(connection: Any, moment: tuple[int, int | None]) -> set[int]:
    """Return every node that was not there yet."""
    if moment[1] is None:
        return set()
    return {node for (node,) in connection.execute(LATER, _given(moment)).fetchall()}


def _over_tables(connection: Any, start: int, moment: tuple[int, int | None], closed: set[int]) -> dict[int, int]:
    query = (
        f"with near as (select unnest($here::bigint[]) as id), "
        f"followed as (from {HOLDING} where list_contains($which, relation)) "
        "select parent from followed where child in (from near) "
        "union select child from followed where parent in (from near) order by 1"
    )
    distance, frontier, level = {start: 0}, [start], 0
    while frontier:
        level += 1
        rows = connection.execute(query, {"here": frontier, **_given(moment), "which": _RELATIONS}).fetchall()
        ahead = [node for (node,) in rows if node not in distance and node not in closed]
        at, as_of = moment
        absent = set() if as_of is None else absent_nodes(connection, ahead, at=at, as_of=as_of)
        frontier = [node for node in ahead if node not in absent]
        distance.update(dict.fromkeys(frontier, level))
    return distance
