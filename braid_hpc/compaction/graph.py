"""Nodes and edges of one commit: ids for what is new, ids of what is known, cycles kept out."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.compaction.cycles import closing, components
from braid_hpc.compaction.edges import Edges
from braid_hpc.compaction.extract import Begun, Declared, Facts
from braid_hpc.compaction.known import FED_BY, Known
from braid_hpc.compaction.links import Links
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.statements import Edge, Late, Unresolved
from braid_hpc.compaction.versions import assign_versions, occurrence_uid
from braid_hpc.vocabulary.codes import Relation

__all__ = ["Graph", "build_graph"]


@dataclass(slots=True)
class Graph:
    """What a commit adds.

    Attributes
    ----------
    versions : list of str
        uids of new versions, in causal order.
    about : dict
        Kind, name, run (None for a source), step, digest, size, weak of each new version.
    occurrences : list of (Facts, Declared)
        New occurrences.
    activities : list of (Facts, Begun)
        New activities in order of their beginning.
    placeholders : dict of str to (str, int)
        uid to writer and sequence of records and activities that are referred to and not seen.
    edges : list of Edge
        New statements.
    late : list of Late
        Late-bound links, which later commits look at again.
    unresolved : list of Unresolved
        References in text that named nothing, which later commits try again.
    tags : list of (str, dict, str, int)
        uid, tags, writer and sequence of tags that were added after the declaration.
    moved_tags : list of tuple
        Rows of tags that hung on placeholders, with the uid of what these stand for.
    problems : list of Problem
        What a person should know of.
    """

    versions: list[str] = field(default_factory=list)
    about: dict[str, tuple[str, str, str | None, int | None, str | None, int | None, bool]] = field(
        default_factory=dict
    )
    occurrences: list[tuple[Facts, Declared]] = field(default_factory=list)
    activities: list[tuple[Facts, Begun]] = field(default_factory=list)
    placeholders: dict[str, tuple[str, int]] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    unresolved: list[Unresolved] = field(default_factory=list)
    tags: list[tuple[str, dict[str, Any], str, int]] = field(default_factory=list)
    moved_tags: list[tuple[Any, ...]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def build_graph(writers: list[Facts], known: Known) -> Graph:
    """Find the nodes and edges that a commit adds.

    Parameters
    ----------
    writers : list of Facts
        What the writers with something new said, all of it.
    known : Known
        What the store holds.

    Returns
    -------
    Graph
        Between global ids; dense ids and numbers are given when it is written.
    """
    graph = Graph()
    for facts in writers:
        assign_versions(facts)
    links = Links(writers, known)
    for place, declared in links.declared.items():
        # What an earlier commit decided stays, also where it kept occurrences apart.
        declared.uid = known.occurrences.get(place, declared.uid)
    _keep_apart(graph, writers, links)
    links.settle()
    _add_nodes(graph, writers, known)
    edges = Edges(links)
    for facts in writers:
        edges.add(facts)
    edges.look_again({facts.run for facts in writers})
    graph.placeholders = links.placeholders
    graph.late, graph.unresolved = edges.late, edges.unresolved
    graph.tags, graph.moved_tags = edges.tags, edges.moved_tags
    graph.problems.extend(edges.problems)
    _add_edges(graph, edges, known)
    graph.problems.extend(problem for facts in writers for problem in _told(facts))
    _order_versions(graph)
    return graph


def _keep_apart(graph: Graph, writers: list[Facts], links: Links) -> None:
    """Let occurrences be versions of their own where being one version would close a cycle."""
    stated = [edge for facts in writers for edge in links.certain(facts)]
    filled = links.filled()
    for edge in links.known.touching(filled) if filled else ():
        if edge.relation in FED_BY:
            stated.append((filled.get(edge.child, edge.child), filled.get(edge.parent, edge.parent)))
    if any(child in links.known.uids for child, _ in stated):
        stated.extend(links.known.above(parent for _, parent in stated))
    cyclic = components(stated)
    for place, declared in links.declared.items():
        own = occurrence_uid(*place)
        if declared.uid in cyclic and declared.uid != own and declared.sequence in links.home[place].fresh:
            declared.uid = own
            graph.problems.append(
                Problem(
                    "cycle",
                    f"{declared.kind}:{declared.name} would be its own ancestor if it were one version on all "
                    f"ranks: its occurrences stay apart",
                    links.home[place].run,
                    *place,
                )
            )


def _add_nodes(graph: Graph, writers: list[Facts], known: Known) -> None:
    for facts in writers:
        for declared in facts.declared:
            if declared.sequence not in facts.fresh:
                continue
            graph.occurrences.append((facts, declared))
            if declared.uid not in graph.about and declared.uid not in known.uids:
                about = declared.about
                source = not about.parents and declared.activity is None and about.digest is not None
                run, step = (None, None) if source else (facts.run, declared.step)
                described = (declared.kind, declared.name, run, step, about.digest, about.size, about.weak)
                graph.about[declared.uid] = described
        graph.activities.extend((facts, begun) for begun in facts.begun if begun.sequence in facts.fresh)
    graph.activities.sort(key=lambda each: (each[1].time, each[0].writer, each[1].sequence))


def _add_edges(graph: Graph, edges: Edges, known: Known) -> None:
    """Take the edges; of derivations that were stated afterwards, in text or late-bound, only what closes no cycle."""
    firm = [(edge.child, edge.parent) for edge in edges.firm if edge.relation is Relation.DERIVED]
    offered = [(edge.child, edge.parent, edge) for edge in edges.offered]
    if any(child in known.uids for child, *_ in (*firm, *offered)):
        parents = {parent for _, parent in firm} | {parent for _, parent, _ in offered}
        firm.extend(known.above(parents, [Relation.DERIVED, Relation.SAME_CONTENT]))
    refused = set(closing(firm, offered))
    # Handles of what was declared before cannot close a cycle; a log that says so all the same is not believed.
    for child in components(edge for edge in firm if edge[0] in graph.about):
        refused.update(e for e in edges.firm if e.relation is Relation.DERIVED and e.child == child)
    for edge in dict.fromkeys((*edges.firm, *edges.offered)):
        if edge in refused or edge.child == edge.parent:
            graph.problems.append(_refusal(graph, edge))
        else:
            graph.edges.append(edge)


def _refusal(graph: Graph, edge: Edge) -> Problem:
    child, parent = (_name(graph, uid) for uid in (edge.child, edge.parent))
    why = "itself" if edge.child == edge.parent else f"{parent}, which descends from it"
    message = f"{child} was said to be derived from {why}: this edge is left out"
    return Problem("cycle", message, None, edge.writer, edge.sequence, edge.said)


def _name(graph: Graph, uid: str) -> str:
    about = graph.about.get(uid)
    return f"{about[0]}:{about[1]}" if about else f"id:{uid}"


def _told(facts: Facts) -> list[Problem]:
    """Return what a writer itself refused, and what of it cannot be read."""
    about = (facts.run, facts.writer)
    found = [
        Problem("rejected", f"{note.call}: {note.message}", *about, sequence, note.given or None, note.where or None)
        for sequence, note in facts.rejected
        if sequence in facts.fresh
    ]
    found.extend(
        Problem("undecodable", f"an event cannot be read: {message}", *about, sequence)
        for sequence, message in facts.undecodable
        if sequence in facts.fresh
    )
    # Once for each code and writer, at its first row, so that it does not matter in how many merges a log came.
    found.extend(
        Problem(
            "unknown",
            f"events of code {code} are of a newer log format: they are kept and not understood",
            *about,
            sequence,
        )
        for sequence, code in facts.unknown
        if sequence in facts.fresh
    )
    return found


def _order_versions(graph: Graph) -> None:
    """Put new versions in causal order: by time, but never before a parent."""
    about = graph.about
    first: dict[str, int] = {}
    for _, declared in graph.occurrences:
        if declared.uid in about:
            first[declared.uid] = min(declared.time, first.get(declared.uid, declared.time))
    waiting = dict.fromkeys(about, 0)
    children: dict[str, set[str]] = defaultdict(set)
    for edge in graph.edges:
        if edge.relation is Relation.DERIVED and edge.child in about and edge.parent in about:
            children[edge.parent].add(edge.child)
    for below in children.values():
        for child in below:
            waiting[child] += 1
    ready = [(first[uid], uid) for uid, count in waiting.items() if not count]
    heapq.heapify(ready)
    while ready:
        _, uid = heapq.heappop(ready)
        graph.versions.append(uid)
        for child in children[uid]:
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (first[child], child))
    assert len(graph.versions) == len(about), "the derivations of a commit have a cycle"
