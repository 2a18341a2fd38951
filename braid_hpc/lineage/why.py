"""Why something is there: a way from what came of a thing to that thing, and what lies between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.answered import plain
from braid_hpc.lineage.completeness import said
from braid_hpc.lineage.component import Graph
from braid_hpc.lineage.ground import Ground, edges_by_refs
from braid_hpc.lineage.missing import Missing
from braid_hpc.lineage.parts import BEGIN, END, Ahead, Joined, leading_to
from braid_hpc.lineage.pictured import Pictured, Source
from braid_hpc.lineage.witness import Witness, shortest_way, simple_ways, witness
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from braid_hpc.lineage.walk import Walk
    from braid_hpc.store.resolve import Node
    from braid_hpc.store.store import Store

__all__ = ["DOWN", "MOST_WAYS", "SAME", "UP", "Why", "why"]

#: What `direction` says: the second fed the first, the first fed the second, they are one thing.
UP, DOWN, SAME = "up", "down", "same"

#: More ways than these are not asked for: of all simple ways there may be more than atoms.
MOST_WAYS = 1000


@dataclass(frozen=True, slots=True)
class Why(Pictured):
    """How two things hang together.

    Attributes
    ----------
    a, b : str
        What was asked for. Where ranks made several versions of a name at one step, and none was named, the ways may
        begin or end at any of these.
    direction : str or None
        ``up`` if `b` fed `a`, ``down`` if `a` fed `b`, ``same`` if they are one thing; None if neither fed the other,
        as far as is known.
    ways : list of Witness
        From what came of it to what fed it, shortest first; empty if `direction` is None.
    whole : bool
        Whether there are no further ways that meet no node twice. Not known where no more were asked for than there
        are here, and false then.
    nodes : list of LineageNode
        Those on the ways and, if it was asked for, between the two; what the ways begin with is the first.
    between : Graph or None
        The part of the graph between the two, if it was asked for: all that came of the one and fed the other.
    missing : list of Missing
        Logs that may hide a way, or a further one.
    """

    a: str
    b: str
    direction: str | None
    ways: list[Witness]
    whole: bool
    nodes: list[LineageNode]
    between: Graph | None
    missing: list[Missing]
    source: Source

    @property
    def complete(self) -> bool:
        """Whether every log that could hold a way is complete."""
        return not self.missing

    @property
    def edges(self) -> list[LineageEdge]:
        """Those between the two if they were asked for, else those of the ways."""
        if self.between is not None:
            return self.between.edges
        return list(dict.fromkeys(edge for way in self.ways for edge in way.edges))

    def __bool__(self) -> bool:
        """Whether the one fed the other."""
        return self.direction is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            ``a``, ``b``, ``direction``, ``ways`` (each a list of edges), ``whole``, ``complete``, ``missing``; and
            ``between`` if it was asked for.
        """
        answer: dict[str, Any] = {
            "a": self.a,
            "b": self.b,
            "direction": self.direction,
            "ways": [plain(way.edges) for way in self.ways],
            "whole": self.whole,
            "complete": self.complete,
            "missing": plain(self.missing),
        }
        if self.between is not None:
            answer["between"] = self.between.to_dict()
        return answer

    def __str__(self) -> str:
        """Return it as lines of text."""
        ends = [_said(dict.fromkeys(way.nodes[place] for way in self.ways)) for place in (-1, 0) if self.ways]
        fed = " fed ".join(ends)
        heads = {
            UP: fed,
            DOWN: fed,
            SAME: f"{self.a} and {self.b} are one thing",
            None: f"nothing leads from {self.a} to {self.b}, or back, as far as is known",
        }
        lines = [heads[self.direction].replace("\n", "⏎")]
        for way in self.ways if self.direction != SAME else ():
            edges = "1 edge" if len(way) == 1 else f"{len(way)} edges"
            lines.append(f"over {edges}:")
            lines.extend(f"  {line}" for line in str(way).splitlines())
        if self.whole and self.direction in (UP, DOWN):
            lines.append("there is no other way")
        if self.between is not None:
            lines.append(f"between the two: {len(self.between.nodes):,} nodes, {len(self.between.edges):,} edges")
        lines.extend(f"incomplete: {said(each)}" for each in self.missing)
        return "\n".join(lines)


#: Versions of one step that the first line names.
_NAMED = 3


def _said(refs: Iterable[str]) -> str:
    found = list(refs)
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def why(
    store: Store,
    a: str,
    b: str,
    *,
    paths: int,
    between: bool,
    relations: str | Iterable[str] | None,
    at: int | None,
    as_of: Any,
) -> Why:
    """Find how two things hang together; see :meth:`braid_hpc.Store.why`.

    Parameters
    ----------
    store : Store
        Open.
    a, b, paths, between, relations, at, as_of
        As there.

    Returns
    -------
    Why
        The answer.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    if isinstance(paths, bool) or not isinstance(paths, int) or not 1 <= paths <= MOST_WAYS:
        raise InvalidInputError(f"paths is how many ways to return, from 1 to {MOST_WAYS}: not {paths!r:.80}")
    ground = Ground.of(store, at=at, as_of=as_of, relations=relations)
    (one, ones), (other, others) = ground.resolve(a), ground.resolve(b)
    first, second = ground.starts(one, ones), ground.starts(other, others)
    if one.id == other.id:
        return _same(ground, one)
    first, second = _apart(first, second)
    walked = ground.walk(first)
    goals = _met(walked, second)
    if goals:
        return _found(ground, (one, other), UP, one, first, walked, goals, paths, between)
    before = walked
    walked = ground.walk(second)
    goals = _met(walked, first)
    if goals:
        return _found(ground, (one, other), DOWN, other, second, walked, goals, paths, between)
    return _none(ground, one, other, np.concatenate([before.nodes, walked.nodes]))


def _apart(first: list[int], second: list[int]) -> tuple[list[int], list[int]]:
    """Take what is in both out of the larger one: it is asked for by itself, beside those that were made with it."""
    both = set(first) & set(second)
    if not both:
        return first, second
    if len(first) > len(second):
        return [node for node in first if node not in both], second
    return first, [node for node in second if node not in both]


def _met(walked: Walk, ends: list[int]) -> list[int]:
    """Return those of some nodes that a walk met, the nearest first."""
    found: list[int] = walked.nodes[np.isin(walked.nodes, ends)].tolist()
    return found


def _same(ground: Ground, node: Node) -> Why:
    listed = ground.listed({node.id: 0})
    ways = [witness([(node.id, "")], listed)]
    missing = ground.missing([node.id], node)
    return Why(node.ref, node.ref, SAME, ways, True, list(listed.values()), None, missing, ground.source)


def _none(ground: Ground, one: Node, other: Node, reached: NDArray[np.int64]) -> Why:
    """Say that there is no way, and what may hide one."""
    listed = ground.listed({one.id: 0, other.id: 0})
    return Why(
        *(one.ref, other.ref, None, [], True, list(listed.values()), None),
        missing=ground.missing(reached, one),
        source=ground.source,
    )


def _found(
    ground: Ground,
    asked: tuple[Node, Node],
    direction: str,
    begin: Node,
    starts: list[int],
    walked: Walk,
    goals: list[int],
    paths: int,
    between: bool,
) -> Why:
    shortest = shortest_way(ground, walked, goals[0])
    ways, whole = [shortest], False
    region = {node: place for place, (node, _) in enumerate(shortest)}
    part, edges = None, []
    if between or paths > 1:
        inside, far = region_between(ground, starts, goals)
        region, edges = inside.distance, inside.edges if between else []
    if paths > 1:
        ways, whole = _further(inside, far, shortest, (starts, goals), paths)
    shown = sorted(region) if between else dict.fromkeys((node for way in ways for node, _ in way), 0)
    head = shortest[0][0]
    listed = ground.listed(
        {node: region[node] for node in sorted(shown, key=lambda node: (region[node], node != head))}
    )
    missing = ground.missing(region, begin)
    if between:
        root = listed[head].ref
        part = Graph(root, list(listed.values()), edges_by_refs(edges, listed), 0, missing, ground.source)
    return Why(
        *(asked[0].ref, asked[1].ref, direction, [witness(way, listed) for way in ways], whole),
        nodes=list(listed.values()),
        between=part,
        missing=missing,
        source=ground.source,
    )


def region_between(ground: Ground, starts: Collection[int], goals: Collection[int]) -> tuple[Walk, NDArray[np.int32]]:
    """Return all that came of some nodes and fed others.

    Parameters
    ----------
    ground : Ground
        The graph.
    starts : collection of int
        What came of it; any of these.
    goals : collection of int
        What fed it; any of these. Each fed a start.

    Returns
    -------
    part : Walk
        The nodes, those of both ends among them, with their distances from the nearest start, and every edge between
        these.
    far : ndarray of int32
        How many edges each of the nodes is from the nearest goal.
    """
    return leading_to(ground.walk(starts, edges=True), goals)


def _further(
    part: Walk,
    far: NDArray[np.int32],
    shortest: list[tuple[int, str]],
    ends: tuple[list[int], list[int]],
    paths: int,
) -> tuple[list[list[tuple[int, str]]], bool]:
    ahead = Ahead(part)
    starts, goals = ([node for node in each if node in part.distance] for each in ends)
    left = {node: edges + 1 for node, edges in zip(part.nodes.tolist(), far.tolist(), strict=True)}
    left |= {END: 0, BEGIN: 1 + min(left[node] for node in starts)}
    # One more than was asked for tells whether these are all.
    found, whole = simple_ways(Joined(ahead, starts, goals), BEGIN, END, count=paths + 1, far=left)
    ways = [way[1:-1] for way in found]
    # The first is the one that is given without further ones.
    first = [node for node, _ in shortest]
    ordered = [first, *(way for way in ways if way != first)][: max(paths, 1)]
    related = [
        [(node, "" if place == 0 else ahead.relations(way[place - 1])[node]) for place, node in enumerate(way)]
        for way in ordered
    ]
    return related, whole and len(ways) <= paths
