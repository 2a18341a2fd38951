"""Nodes and edges of one commit: ids for what is new, ids of what is known, links resolved."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.extract import Begun, Declared, Facts, Place
from braid_hpc.compaction.versions import activity_uid, assign_versions, occurrence_uid, split_cycles
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.compaction.known import Known

__all__ = ["Edge", "Graph", "Late", "Problem", "build_graph"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A statement of an edge, between global ids (uids)."""

    child: str
    parent: str
    relation: Relation
    writer: str
    sequence: int
    said: str | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """A late-bound link: an edge to that kind, name and step of every writer of the run."""

    child: str
    run: str
    kind: str
    name: str
    step: int
    relation: Relation
    writer: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should know of."""

    code: str
    message: str
    run: str | None = None
    writer: str | None = None
    sequence: int | None = None
    given: str | None = None
    place: str | None = None


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
    placeholders : dict of str to str
        uid to ``writer:sequence`` of records that are referred to and not seen.
    tags : list of (str, dict, str, int)
        uid, tags, writer and sequence of tags that were added after the declaration.
    """

    versions: list[str] = field(default_factory=list)
    about: dict[str, tuple[str, str, str | None, int | None, str | None, int | None, bool]] = field(
        default_factory=dict
    )
    occurrences: list[tuple[Facts, Declared]] = field(default_factory=list)
    activities: list[tuple[Facts, Begun]] = field(default_factory=list)
    placeholders: dict[str, str] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    tags: list[tuple[str, dict[str, Any], str, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Builder:
    def __init__(self, writers: list[Facts], known: Known) -> None:
        self.writers = writers
        self.known = known
        self.graph = Graph()
        self.places: dict[Place, Declared] = {}
        self.home: dict[Place, Facts] = {}
        # (run, name or kind:name) to uids in order of time, for references in text.
        self.by_name: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)

    def build(self) -> Graph:
        for facts in self.writers:
            assign_versions(facts)
            for declared in facts.declared:
                place = (facts.writer, declared.sequence)
                self.places[place], self.home[place] = declared, facts
        self._restore_known_identities()
        self._keep_cycles_apart()
        self._add_nodes()
        for facts in self.writers:
            self._add_edges(facts)
            self._add_problems(facts)
        self._order_versions()
        return self.graph

    def _restore_known_identities(self) -> None:
        """What an earlier commit decided stays, also where it kept occurrences apart."""
        for place, uid in self.known.occurrences.items():
            if place in self.places:
                self.places[place].uid = uid

    def _keep_cycles_apart(self) -> None:
        fresh = {
            place: declared
            for place, declared in self.places.items()
            if declared.sequence in self.home[place].fresh
        }
        edges = []
        ordered = True
        for place, declared in fresh.items():
            for link in declared.about.parents:
                for parent in self._parents_for_order(place[0], link):
                    edges.append((declared.uid, parent.uid))
                    ordered = ordered and parent.time < declared.time
        # A version is as old as its first occurrence, so merged versions may be out of order though occurrences are
        # not; only then can there be a cycle.
        if not ordered or self._merged_out_of_order(edges):
            for writer, sequence in split_cycles(fresh, edges):
                declared = self.places[writer, sequence]
                self.graph.problems.append(
                    Problem(
                        "cycle",
                        f"{declared.kind}:{declared.name} would be its own ancestor if it were one version on all "
                        f"ranks: its occurrences stay apart",
                        self.home[writer, sequence].run,
                        writer,
                        sequence,
                    )
                )

    def _parents_for_order(self, writer: str, link: Any) -> list[Declared]:
        if isinstance(link, (list, tuple)) and link:
            link = link[0]
        place = self._place(writer, link)
        found = self.places.get(place) if place is not None else None
        return [found] if found is not None else []

    def _merged_out_of_order(self, edges: list[tuple[str, str]]) -> bool:
        first: dict[str, int] = {}
        for declared in self.places.values():
            first[declared.uid] = min(declared.time, first.get(declared.uid, declared.time))
        return any(first[parent] >= first[child] for child, parent in edges)

    # ------------------------------------------------------------------ nodes

    def _add_nodes(self) -> None:
        graph, known = self.graph, self.known
        for facts in self.writers:
            for declared in facts.declared:
                names = (declared.name, f"{declared.kind}:{declared.name}")
                for name in names:
                    self.by_name[facts.run, name].append((declared.time, declared.uid))
                if declared.sequence not in facts.fresh:
                    continue
                graph.occurrences.append((facts, declared))
                if declared.uid not in graph.about and declared.uid not in known.uids:
                    about = declared.about
                    source = not about.parents and declared.activity is None and about.digest is not None
                    graph.about[declared.uid] = (
                        declared.kind,
                        declared.name,
                        None if source else facts.run,
                        None if source else declared.step,
                        about.digest,
                        about.size,
                        about.weak,
                    )
            graph.activities.extend((facts, begun) for begun in facts.begun if begun.sequence in facts.fresh)
        graph.activities.sort(key=lambda each: (each[1].time, each[0].writer, each[1].sequence))
        for entries in self.by_name.values():
            entries.sort()

    def _order_versions(self) -> None:
        """Put new versions in causal order: by time, but never before a parent."""
        first: dict[str, int] = {}
        for _, declared in self.graph.occurrences:
            if declared.uid in self.graph.about:
                first[declared.uid] = min(declared.time, first.get(declared.uid, declared.time))
        ordered = self._sort(first)
        if len(ordered) < len(self.graph.about):
            # References in text were resolved by time after versions were merged; together that can close a cycle.
            left = self.graph.about.keys() - set(ordered)
            self._leave_out(lambda edge: edge.said is not None, left)
            if len(ordered := self._sort(first)) < len(self.graph.about):
                self._leave_out(lambda e: (first[e.parent], e.parent) >= (first[e.child], e.child), left)
                ordered = self._sort(first)
        self.graph.versions = ordered

    def _sort(self, first: dict[str, int]) -> list[str]:
        about = self.graph.about
        waiting = dict.fromkeys(about, 0)
        children: dict[str, set[str]] = defaultdict(set)
        for edge in self.graph.edges:
            if edge.relation is Relation.DERIVED and edge.child in about and edge.parent in about:
                children[edge.parent].add(edge.child)
        for below in children.values():
            for child in below:
                waiting[child] += 1
        ready = [(first[uid], uid) for uid, count in waiting.items() if not count]
        heapq.heapify(ready)
        ordered = []
        while ready:
            _, uid = heapq.heappop(ready)
            ordered.append(uid)
            for child in children[uid]:
                waiting[child] -= 1
                if not waiting[child]:
                    heapq.heappush(ready, (first[child], child))
        return ordered

    def _leave_out(self, closing: Callable[[Edge], bool], among: set[str]) -> None:
        kept = []
        for edge in self.graph.edges:
            inside = edge.relation is Relation.DERIVED and edge.child in among and edge.parent in among
            if inside and closing(edge):
                self._refuse_edge(edge)
            else:
                kept.append(edge)
        self.graph.edges = kept

    def _refuse_edge(self, edge: Edge) -> None:
        self.graph.problems.append(
            Problem(
                "cycle",
                f"{self._name(edge.child)} was said to be derived from {self._name(edge.parent)}, which descends "
                f"from it: this edge is left out",
                None,
                edge.writer,
                edge.sequence,
                edge.said,
            )
        )

    # ------------------------------------------------------------------ edges

    def _add_edges(self, facts: Facts) -> None:
        writer = facts.writer
        for declared in facts.declared:
            if declared.sequence not in facts.fresh:
                continue
            if declared.activity is not None:
                parent = self._activity(declared.activity)
                self._edge(Edge(declared.uid, parent, Relation.GENERATED, writer, declared.sequence))
            self._links(facts, declared.uid, declared.about.parents, Relation.DERIVED, declared.sequence)
        for begun in facts.begun:
            if begun.sequence not in facts.fresh:
                continue
            uid = activity_uid(writer, begun.sequence)
            if begun.outer is not None:
                self._edge(Edge(uid, self._activity(begun.outer), Relation.CALLED, writer, begun.sequence))
            self._links(facts, uid, begun.about.used, Relation.USED, begun.sequence)
        for ended in facts.ended:
            if ended.sequence in facts.fresh:
                self._generated(facts, ended.activity, ended.about.generated, ended.sequence)
        for linked in facts.linked:
            if linked.sequence not in facts.fresh:
                continue
            if linked.relation is Relation.GENERATED:
                self._generated(facts, linked.subject, linked.links, linked.sequence)
            elif linked.relation is Relation.USED:
                uid = self._activity(linked.subject)
                self._links(facts, uid, linked.links, Relation.USED, linked.sequence)
            else:
                self._derived(facts, linked.subject, linked.links, linked.sequence)

        for sequence, place, tags in facts.tagged:
            if sequence in facts.fresh:
                self.graph.tags.append((self._uid(place), tags, writer, sequence))

    def _edge(self, edge: Edge) -> None:
        if edge.child == edge.parent:
            self._refuse_edge(edge)
        else:
            self.graph.edges.append(edge)

    def _activity(self, place: Place) -> str:
        return activity_uid(*place)

    def _links(self, facts: Facts, child: str, links: list[Any], relation: Relation, sequence: int) -> None:
        for link in links:
            for parent, said in self._resolve(facts, link, child, relation, sequence):
                self._edge(Edge(child, parent, relation, facts.writer, sequence, said))

    def _generated(self, facts: Facts, activity: Place, links: list[Any], sequence: int) -> None:
        for link in links:
            for child, said in self._resolve(facts, link, self._activity(activity), Relation.GENERATED, sequence):
                parent = self._activity(activity)
                self._edge(Edge(child, parent, Relation.GENERATED, facts.writer, sequence, said))

    def _derived(self, facts: Facts, subject: Place, links: list[Any], sequence: int) -> None:
        """Add parents that were named after the declaration, unless one of them descends from the child."""
        child = self._uid(subject)
        for link in links:
            for parent, said in self._resolve(facts, link, child, Relation.DERIVED, sequence):
                edge = Edge(child, parent, Relation.DERIVED, facts.writer, sequence, said)
                if self._reaches(parent, child):
                    self._refuse_edge(edge)
                else:
                    self._edge(edge)

    def _name(self, uid: str) -> str:
        about = self.graph.about.get(uid)
        return f"{about[0]}:{about[1]}" if about else f"id:{uid}"

    def _reaches(self, start: str, goal: str) -> bool:
        """Whether `goal` is `start` or an ancestor of it."""
        above: dict[str, list[str]] = defaultdict(list)
        for edge in self.graph.edges:
            if edge.relation is Relation.DERIVED:
                above[edge.child].append(edge.parent)
        seen, work = {start}, [start]
        while work:
            node = work.pop()
            if node == goal:
                return True
            for parent in (*above.get(node, ()), *self.known.parents(node)):
                if parent not in seen:
                    seen.add(parent)
                    work.append(parent)
        return False

    # ------------------------------------------------------------------ links

    def _place(self, writer: str, link: Any) -> Place | None:
        if isinstance(link, int):
            return writer, link
        if isinstance(link, (bytes, bytearray)) and len(link) == 24:
            return bytes(link[:16]).hex(), int.from_bytes(link[16:], "little")
        return None

    def _uid(self, place: Place) -> str:
        """Return the version of an occurrence; a placeholder's where the occurrence was not seen."""
        declared = self.places.get(place)
        if declared is not None:
            return declared.uid
        if (uid := self.known.occurrences.get(place)) is not None:
            return uid
        uid = occurrence_uid(*place)
        if uid not in self.known.uids:
            self.graph.placeholders[uid] = f"{place[0]}:{place[1]}"
        return uid

    def _resolve(
        self, facts: Facts, link: Any, child: str, relation: Relation, sequence: int
    ) -> list[tuple[str, str | None]]:
        if isinstance(link, (list, tuple)) and len(link) == 1:
            self._late(facts, link[0], child, relation, sequence)
            return []
        if isinstance(link, str):
            return self._resolve_text(facts, link, child, sequence)
        place = self._place(facts.writer, link)
        if place is None:
            self.graph.problems.append(
                Problem("link", f"a link of an unknown form ({link!r})", facts.run, facts.writer, sequence)
            )
            return []
        return [(self._uid(place), None)]

    def _late(self, facts: Facts, link: Any, child: str, relation: Relation, sequence: int) -> None:
        place = self._place(facts.writer, link)
        declared = self.places.get(place) if place is not None else None
        if place is None or declared is None:
            self.graph.problems.append(
                Problem("link", "a late-bound link to a record that was not seen", facts.run, facts.writer, sequence)
            )
            return
        run = self.home[place].run
        self.graph.late.append(
            Late(child, run, declared.kind, declared.name, declared.step, relation, facts.writer, sequence)
        )

    def _resolve_text(self, facts: Facts, text: str, child: str, sequence: int) -> list[tuple[str, str | None]]:
        """Resolve a reference: this writer's last earlier declaration, else this run's, else the store's."""
        try:
            reference = parse_reference(text)
        except InvalidInputError as error:
            return self._unresolved(facts, text, sequence, str(error))
        if reference.version is None and reference.name is not None:
            name = f"{reference.kind}:{reference.name}" if reference.kind else reference.name
            own = [
                declared.uid
                for declared in facts.declared
                if declared.sequence < sequence and name in (declared.name, f"{declared.kind}:{declared.name}")
            ]
            if own:
                return [(own[-1], text)]
            time = next((d.time for d in facts.declared if d.sequence == sequence), None)
            others = [
                uid
                for when, uid in self.by_name.get((facts.run, name), ())
                if (time is None or when <= time) and uid != child
            ]
            if others:
                return [(others[-1], text)]
        return self._resolve_in_store(facts, reference, text, sequence)

    def _resolve_in_store(
        self, facts: Facts, reference: Reference, text: str, sequence: int
    ) -> list[tuple[str, str | None]]:
        begin = int((facts.log.header.get("clock") or {}).get("utc_ns", 0))
        found = self.known.find(reference, before=begin)
        if found is None:
            return self._unresolved(facts, text, sequence, "no record of that reference is known")
        return [(found, text)]

    def _unresolved(self, facts: Facts, text: str, sequence: int, why: str) -> list[tuple[str, str | None]]:
        self.graph.problems.append(
            Problem("unresolved", f"{text!r} was named as a record: {why}", facts.run, facts.writer, sequence, text)
        )
        return []

    def _add_problems(self, facts: Facts) -> None:
        for sequence, note in facts.rejected:
            if sequence in facts.fresh:
                self.graph.problems.append(
                    Problem(
                        "rejected",
                        f"{note.call}: {note.message}",
                        facts.run,
                        facts.writer,
                        sequence,
                        note.given or None,
                        note.where or None,
                    )
                )
        for sequence, message in facts.undecodable:
            if sequence in facts.fresh:
                self.graph.problems.append(
                    Problem("undecodable", f"an event cannot be read: {message}", facts.run, facts.writer, sequence)
                )


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
    return _Builder(writers, known).build()
