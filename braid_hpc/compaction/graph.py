"""Nodes and edges of one commit: ids for what is new, ids of what is known, cycles kept out."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.compaction.cycles import closing, components
from braid_hpc.compaction.edges import Edges
from braid_hpc.compaction.extract import Begun, Declared, Facts, Place
from braid_hpc.compaction.known import FED_BY, Known
from braid_hpc.compaction.links import Links, place_of
from braid_hpc.compaction.past import Name
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.statements import Edge, Late, Unresolved
from braid_hpc.compaction.versions import assign_versions, occurrence_uid, plain_name
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.texts import clean

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
    tags : list of (str, dict, str, int, int)
        uid, tags, writer, sequence and time of tags that were added after the declaration.
    moved_tags : list of tuple
        Rows of tags that hung on placeholders, with the uid of what these stand for.
    filled : set of str
        Ids of the placeholders whose record or activity has come.
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
    tags: list[tuple[str, dict[str, Any], str, int, int]] = field(default_factory=list)
    moved_tags: list[tuple[Any, ...]] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def build_graph(writers: list[Facts], known: Known) -> Graph:
    """Find the nodes and edges that a commit, or a slice of one, adds.

    Parameters
    ----------
    writers : list of Facts
        What the writers said: all that is new, or a slice of it.
    known : Known
        What the store holds.

    Returns
    -------
    Graph
        Between global ids; dense ids and numbers are given when it is written.
    """
    graph = Graph()
    known.past.learn(*_asked(writers))
    for facts in writers:
        assign_versions(facts, known.past)
    known.past.learn_ids({d.uid: None if _is_source(d) else facts.run for facts in writers for d in facts.declared})
    links = Links(writers, known)
    _keep_apart(graph, writers, links)
    links.settle()
    _add_nodes(graph, writers, known)
    edges = Edges(links)
    for facts in writers:
        edges.add(facts)
    edges.look_again()
    graph.placeholders, graph.filled = links.placeholders, set(links.filled())
    graph.late, graph.unresolved = edges.late, edges.unresolved
    graph.tags, graph.moved_tags = edges.tags, edges.moved_tags
    graph.problems.extend(edges.problems)
    _add_edges(graph, edges, known)
    graph.problems.extend(problem for facts in writers for problem in _told(facts))
    _order_versions(graph)
    return graph


def _asked(writers: list[Facts]) -> tuple[set[Place], set[tuple[str, Name]]]:
    """Return the places and the names that a slice refers to."""
    places: set[Place] = set()
    names: set[tuple[str, Name]] = set()
    for facts in writers:
        links: list[Any] = []
        for declared in facts.declared:
            links.extend(declared.about.parents)
            names.update((facts.writer, (kind, clean(declared.name))) for kind in (None, declared.kind))
            if declared.activity is not None:
                places.add(declared.activity)
        for begun in facts.begun:
            links.extend(begun.about.used)
            if begun.outer is not None:
                places.add(begun.outer)
        for ended in facts.ended:
            if ended.about.generated:
                places.add(ended.activity)
                links.extend(ended.about.generated)
                links.extend(facts.speaker.used(ended.activity[1]) if ended.activity[0] == facts.writer else ())
        for linked in facts.linked:
            places.add(linked.subject)
            links.extend(linked.links)
            if linked.relation is Relation.GENERATED and linked.subject[0] == facts.writer:
                links.extend(facts.speaker.used(linked.subject[1]))
        places.update(place for _, place, _, _ in facts.tagged)
        for link in links:
            one = link[0] if isinstance(link, (list, tuple)) and len(link) == 1 else link
            if isinstance(one, str):
                if (name := plain_name(one)) is not None:
                    names.add((facts.writer, (name[0], clean(name[1]))))
            elif (place := place_of(facts.writer, one)) is not None:
                places.add(place)
    return places, names


def _is_source(declared: Declared) -> bool:
    about = declared.about
    return not about.parents and declared.activity is None and about.digest is not None


def _keep_apart(graph: Graph, writers: list[Facts], links: Links) -> None:
    """Let occurrences be versions of their own where being one version would close a cycle."""
    stated = [edge for facts in writers for edge in links.certain(facts)]
    filled = links.filled()
    for edge in links.known.touching(filled) if filled else ():
        if edge.relation in FED_BY:
            stated.append((filled.get(edge.child, edge.child), filled.get(edge.parent, edge.parent)))
    if joined := {child for child, _ in stated if child in links.known}:
        stated.extend(links.known.around(joined, {parent for _, parent in stated}))
    cyclic = components(stated)
    for place, declared in links.declared.items():
        own = occurrence_uid(*place)
        if declared.uid in cyclic and declared.uid != own:
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
            graph.occurrences.append((facts, declared))
            if declared.uid not in graph.about and declared.uid not in known:
                about = declared.about
                run, step = (None, None) if _is_source(declared) else (facts.run, declared.step)
                described = (declared.kind, declared.name, run, step, about.digest, about.size, about.weak)
                graph.about[declared.uid] = described
        graph.activities.extend((facts, begun) for begun in facts.begun)
    graph.activities.sort(key=lambda each: (each[1].time, each[0].writer, each[1].sequence))


def _add_edges(graph: Graph, edges: Edges, known: Known) -> None:
    """Take the edges; of derivations that were stated afterwards, in text or late-bound, only what closes no cycle."""
    firm = [(edge.child, edge.parent) for edge in edges.firm if edge.relation is Relation.DERIVED]
    offered = [(edge.child, edge.parent, edge) for edge in edges.offered]
    children = {child for child, _ in firm} | {child for child, *_ in offered}
    if joined := {child for child in children if child in known}:
        parents = {parent for _, parent in firm} | {parent for _, parent, _ in offered}
        firm.extend(known.around(joined, parents, [Relation.DERIVED, Relation.SAME_CONTENT]))
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
    ]
    found.extend(
        Problem("undecodable", f"an event cannot be read: {message}", *about, sequence)
        for sequence, message in facts.undecodable
    )
    found.extend(_other_worlds(facts))
    # Once for each code and writer, at its first row, so that it does not matter in how many merges a log came.
    found.extend(
        Problem(
            "unknown",
            f"events of code {code} are of a newer log format: they are kept and not understood",
            *about,
            sequence,
        )
        for sequence, code in facts.unknown
    )
    return found


def _other_worlds(facts: Facts) -> list[Problem]:
    """Say where launcher and MPI library disagree: separate worlds of one rank end well, and look like a run."""
    size = facts.log.header.get("size")
    worlds = [(sequence, said[1]) for sequence, name, said in facts.info if name == "world"]
    return [
        Problem(
            "world",
            f"the launcher started {size} ranks, MPI's world has {world}: start the program with the launcher of its "
            f"own MPI",
            facts.run,
            facts.writer,
            sequence,
        )
        for sequence, world in worlds
        if size is not None and world != size
    ]


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
