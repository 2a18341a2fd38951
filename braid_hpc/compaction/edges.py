"""The edges of one commit: what its rows say, and what they answer of earlier commits' open links."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from braid_hpc.compaction.extract import Facts
from braid_hpc.compaction.links import Links, place_of
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.statements import Edge, Late, Unresolved
from braid_hpc.compaction.versions import activity_uid
from braid_hpc.vocabulary.codes import Relation

__all__ = ["Edges"]


class Edges:
    """Collects edges.

    Parameters
    ----------
    links : Links
        Settled.

    Attributes
    ----------
    firm : list of Edge
        Stated by handles, or of relations that no version can be its own ancestor by.
    offered : list of Edge
        Derivations that are left out where they would close a cycle.
    late, unresolved, tags, moved_tags, problems
        See :class:`braid_hpc.compaction.graph.Graph`.
    """

    def __init__(self, links: Links) -> None:
        self.links = links
        self.firm: list[Edge] = []
        self.offered: list[Edge] = []
        self.late: list[Late] = []
        self.unresolved: list[Unresolved] = []
        self.tags: list[tuple[str, dict[str, Any], str, int, int]] = []
        self.moved_tags: list[tuple[Any, ...]] = []
        self.problems: list[Problem] = []

    def add(self, facts: Facts) -> None:
        """Take the new rows of a writer.

        Parameters
        ----------
        facts : Facts
            One of those that the links were made of.
        """
        links, writer = self.links, facts.writer
        for declared in facts.declared:
            row = (declared.sequence, declared.time)
            if declared.activity is not None:
                parent = links.activity(declared.activity)
                self.firm.append(Edge(declared.uid, parent, Relation.GENERATED, writer, *row))
            self._links(facts, declared.uid, declared.about.parents, Relation.DERIVED, row, firm=True)
        for begun in facts.begun:
            if begun.outer is None and not begun.about.used:
                continue
            uid = activity_uid(writer, begun.sequence)
            if begun.outer is not None:
                parent = links.activity(begun.outer)
                self.firm.append(Edge(uid, parent, Relation.CALLED, writer, begun.sequence, begun.time))
            self._links(facts, uid, begun.about.used, Relation.USED, (begun.sequence, begun.time))
        for ended in facts.ended:
            self._generated(facts, ended.activity, ended.about.generated, (ended.sequence, ended.time))
        for linked in facts.linked:
            row = (linked.sequence, linked.time)
            if linked.relation is Relation.GENERATED:
                self._generated(facts, linked.subject, linked.links, row)
            elif linked.relation is Relation.USED:
                self._links(facts, links.activity(linked.subject), linked.links, Relation.USED, row)
            else:
                self._links(facts, links.version(linked.subject), linked.links, Relation.DERIVED, row)
        for sequence, place, tags, time in facts.tagged:
            self.tags.append((links.version(place), tags, writer, sequence, time))

    def look_again(self) -> None:
        """Answer what earlier commits and slices left open: placeholders, late-bound links, names of nothing."""
        links, known = self.links, self.links.known
        filled = links.filled()
        if filled:
            for edge in known.touching(filled):
                child, parent = filled.get(edge.child, edge.child), filled.get(edge.parent, edge.parent)
                self.firm.append(replace(edge, child=child, parent=parent))
            self.moved_tags = [(filled[uid], *rest) for uid, *rest in known.tags(filled)]
        for late in known.late(links.steps(), links.declared):
            child = filled.get(late.child, late.child)
            if late.place is not None:
                # Answered by the commit that brought its record; until then it says nothing.
                if late.place in links.declared:
                    self._bind(child, late.place, late.relation, late.writer, (late.sequence, late.time))
            elif late.means is not None:
                self._answer_late(replace(late, child=child), late.means, first=False)
        for open_link in known.unresolved(links.runs()):
            child = filled.get(open_link.child, open_link.child)
            found = links.of_run(open_link.run, open_link.said, open_link.time, child=child)
            if found is not None:
                rest = (open_link.relation, open_link.writer, open_link.sequence, open_link.time, open_link.said)
                self._offer(Edge(child, found, *rest))

    # ------------------------------------------------------------------ links

    def _links(
        self,
        facts: Facts,
        child: str,
        links: list[Any],
        relation: Relation,
        row: tuple[int, int],
        *,
        firm: bool = False,
    ) -> None:
        for link in links:
            if isinstance(link, (list, tuple)) and len(link) == 1:
                self._late(facts, link[0], child, relation, row)
            elif isinstance(link, str):
                self._text(facts, link, child, relation, row, firm=firm)
            elif (place := place_of(facts.writer, link)) is not None:
                edge = Edge(child, self.links.version(place), relation, facts.writer, *row)
                self._take(edge) if firm else self._offer(edge)
            else:
                message = f"a link of an unknown form ({link!r})"
                self.problems.append(Problem("link", message, facts.run, facts.writer, row[0]))

    def _generated(self, facts: Facts, activity: tuple[str, int], links: list[Any], row: tuple[int, int]) -> None:
        if not links:
            return
        parent, used = self.links.activity(activity), self._used(facts, activity)
        for link in links:
            if isinstance(link, str):
                child = self.links.own_earlier(facts, link, row[0])
                child = child or self.links.of_run(facts.run, link, row[1], child=parent)
            else:
                place = place_of(facts.writer, link[0] if isinstance(link, (list, tuple)) and link else link)
                child = self.links.version(place) if place is not None else None
            if child is not None and child in used:
                # It returned what it was given. As a generation that would make the record its own ancestor.
                continue
            if child is not None:
                said = link if isinstance(link, str) else None
                self.firm.append(Edge(child, parent, Relation.GENERATED, facts.writer, *row, said))
            else:
                message = f"{link!r} was named as generated: no record of that reference is known in this run"
                self.problems.append(Problem("link", message, facts.run, facts.writer, row[0], str(link)))

    def _used(self, facts: Facts, activity: tuple[str, int]) -> set[str]:
        """Return what an activity of this writer used, where handles say so."""
        if activity[0] != facts.writer:
            return set()
        places = (place_of(facts.writer, link) for link in facts.speaker.used(activity[1]))
        return {self.links.version(place) for place in places if place is not None}

    def _text(
        self, facts: Facts, text: str, child: str, relation: Relation, row: tuple[int, int], *, firm: bool
    ) -> None:
        """Resolve a reference: this writer's last earlier declaration, else this run's, else the store's."""
        sequence, time = row
        if (own := self.links.own_earlier(facts, text, sequence)) is not None:
            edge = Edge(child, own, relation, facts.writer, sequence, time, text)
            self._take(edge) if firm else self._offer(edge)
            return
        found, why = self.links.of_run(facts.run, text, time, child=child), ""
        if found is None:
            found, why = self.links.of_store(facts, text)
        if found is not None:
            self._offer(Edge(child, found, relation, facts.writer, sequence, time, text))
            return
        about = (facts.run, facts.writer, sequence, text)
        self.problems.append(Problem("unresolved", f"{text!r} was named as a record: {why}", *about))
        self.unresolved.append(Unresolved(child, facts.run, text, time, relation, facts.writer, sequence))

    def _late(self, facts: Facts, link: Any, child: str, relation: Relation, row: tuple[int, int]) -> None:
        place = place_of(facts.writer, link)
        if place is None:
            message = f"a late-bound link of an unknown form ({link!r})"
            self.problems.append(Problem("link", message, facts.run, facts.writer, row[0]))
            return
        self._bind(child, place, relation, facts.writer, row)

    def _bind(self, child: str, place: tuple[str, int], relation: Relation, writer: str, row: tuple[int, int]) -> None:
        """Bind a late link to that kind, name and step of the run, as far as that is known."""
        means = self.links.described(place)
        if means is None:
            # Its own edge leads to a placeholder, so that the answer is known to be incomplete.
            self._offer(Edge(child, self.links.version(place), relation, writer, *row))
            self.late.append(Late(child, relation, writer, *row, place=place))
            return
        late = Late(child, relation, writer, *row, means)
        self.late.append(late)
        self._answer_late(late, means, first=True)

    def _answer_late(self, late: Late, means: tuple[str, str, str, int], *, first: bool) -> None:
        """Add an edge to each version that a late link means: all at `first`, later those that this commit brings."""
        links = self.links
        found = links.at_step(*means)
        if not found and not first:
            return
        before = set(links.known.at_step(*means))
        for parent in sorted((found | before if first else found - before) - {late.child}):
            self._offer(Edge(late.child, parent, late.relation, late.writer, late.sequence, late.time))

    def _take(self, edge: Edge) -> None:
        self.firm.append(edge)

    def _offer(self, edge: Edge) -> None:
        (self.offered if edge.relation is Relation.DERIVED else self.firm).append(edge)
