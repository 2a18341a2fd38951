"""What the links of a commit mean: handles, late-bound handles, references in text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from braid_hpc.compaction.extract import Declared, Facts, Place
from braid_hpc.compaction.known import Known
from braid_hpc.compaction.past import Name
from braid_hpc.compaction.versions import activity_uid, plain_name, unseen_uid
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import parse_reference
from braid_hpc.vocabulary.texts import clean

__all__ = ["Links", "place_of"]


def place_of(writer: str, link: Any) -> Place | None:
    """Return the occurrence that a link names.

    Parameters
    ----------
    writer : str
        Whose link it is.
    link : object
        See :mod:`braid_hpc.vocabulary.payloads`.

    Returns
    -------
    (str, int) or None
        Writer and sequence; None for other forms of links.
    """
    if isinstance(link, int):
        return writer, link
    if isinstance(link, (bytes, bytearray)) and len(link) == 24:
        return bytes(link[:16]).hex(), int.from_bytes(link[16:], "little")
    return None


class Links:
    """Everything that the logs of a commit declare or begin, with what the store knows behind it.

    Parameters
    ----------
    writers : list of Facts
        The logs; their occurrences have ids, which may still change until :meth:`settle`.
    known : Known
        The store.

    Attributes
    ----------
    declared : dict of (str, int) to Declared
        Occurrences by place.
    home : dict of (str, int) to Facts
        The log that each stands in.
    placeholders : dict of str to (str, int)
        Ids and places of what was referred to and is not seen, not even by an earlier commit.
    """

    def __init__(self, writers: list[Facts], known: Known) -> None:
        self.known = known
        self.declared: dict[Place, Declared] = {}
        self.home: dict[Place, Facts] = {}
        self.begun: set[Place] = set()
        self.placeholders: dict[str, Place] = {}
        self._own: dict[tuple[str, Name], list[Declared]] = defaultdict(list)
        self._of_run: dict[tuple[str, Name], list[tuple[int, str]]] = defaultdict(list)
        self._sorted: set[tuple[str, Name]] = set()
        self._steps: dict[tuple[str, str, str, int], set[str]] = defaultdict(set)
        for facts in writers:
            self.begun.update((facts.writer, begun.sequence) for begun in facts.begun)
            for declared in facts.declared:
                place = (facts.writer, declared.sequence)
                self.declared[place], self.home[place] = declared, facts
                for name in ((None, declared.name), (declared.kind, declared.name)):
                    self._own[facts.writer, name].append(declared)

    def settle(self) -> None:
        """Take the ids of all occurrences as they are now."""
        for place, declared in self.declared.items():
            facts = self.home[place]
            for name in ((None, declared.name), (declared.kind, declared.name)):
                self._of_run[facts.run, name].append((declared.time, declared.uid))
            self._steps[facts.run, declared.kind, declared.name, declared.step].add(declared.uid)

    def steps(self) -> list[tuple[str, str, str, int]]:
        """Return run, kind, name and step of what this slice brings."""
        return list(self._steps)

    def runs(self) -> set[str]:
        """Return the runs that this slice brings records of."""
        return {facts.run for facts in self.home.values()}

    # ------------------------------------------------------------------ occurrences and activities

    def seen(self, place: Place) -> str | None:
        """Return the version or activity of a place, None if no log has brought it."""
        declared = self.declared.get(place)
        if declared is not None:
            return declared.uid
        if place in self.begun:
            return activity_uid(*place)
        seen = self.known.past.seen(place)
        return seen.uid if seen is not None else self.known.past.activity(place)

    def version(self, place: Place) -> str:
        """Return the version of an occurrence; a placeholder's where it was not seen."""
        return self.seen(place) or self._placeholder(place)

    def activity(self, place: Place) -> str:
        """Return the id of an activity; a placeholder's where it was not seen."""
        uid = activity_uid(*place)
        known = place in self.begun or self.known.past.activity(place) is not None
        return uid if known else self._placeholder(place)

    def _placeholder(self, place: Place) -> str:
        uid = unseen_uid(place)
        if uid not in self.known.unfilled:
            self.placeholders[uid] = place
        return uid

    def filled(self) -> dict[str, str]:
        """Return the placeholders of earlier commits that this one fills.

        Returns
        -------
        dict of str to str
            Id of the placeholder to id of what it stands for.
        """
        here = ((uid, place) for uid, place in self.known.unfilled.items() if self.brings(place))
        return {uid: self.version(place) for uid, place in here}

    def brings(self, place: Place) -> bool:
        """Return whether this slice brings the occurrence or activity of a place."""
        return place in self.declared or place in self.begun

    def described(self, place: Place) -> tuple[str, str, str, int] | None:
        """Return run, kind, name and step of an occurrence, None if it was not seen."""
        declared = self.declared.get(place)
        if declared is None:
            return self.known.described(place)
        return self.home[place].run, declared.kind, declared.name, declared.step

    def at_step(self, run: str, kind: str, name: str, step: int) -> set[str]:
        """Return the versions that this commit's new occurrences of a record at one step of a run belong to."""
        return self._steps.get((run, kind, name, step), set())

    # ------------------------------------------------------------------ references in text

    def own_earlier(self, facts: Facts, text: str, sequence: int) -> str | None:
        """Return what a reference means among the earlier declarations of the same writer."""
        name = plain_name(text)
        if name is None:
            return None
        candidates = self._own.get((facts.writer, name), [])
        if at := bisect_left(candidates, sequence, key=lambda declared: declared.sequence):
            return candidates[at - 1].uid
        before = self.known.past.last(facts.writer, name[0], clean(name[1]), sequence)
        return before.uid if before is not None else None

    def of_run(self, run: str, text: str, time: int, *, child: str) -> str | None:
        """Return what a reference means among the declarations of a run up to a time, and not `child` itself."""
        name = plain_name(text)
        if name is None:
            return None
        entries = self._of_run[run, name]
        if (run, name) not in self._sorted:
            self._sorted.add((run, name))
            entries.extend(self.known.named(run, *name))
            entries.sort()
        for _, uid in reversed(entries[: bisect_right(entries, (time, "~"))]):
            if uid != child:
                return uid
        return None

    def of_store(self, facts: Facts, text: str) -> tuple[str | None, str]:
        """Return what a reference meant in the store when the run began, and why it means nothing."""
        try:
            reference = parse_reference(text)
        except InvalidInputError as error:
            return None, str(error)
        begin = int((facts.log.header.get("clock") or {}).get("utc_ns", 0))
        return self.known.find(reference, before=begin), "no record of that reference is known"

    # ------------------------------------------------------------------ what is certain

    def certain(self, facts: Facts) -> Iterator[tuple[str, str]]:
        """Yield the new edges that a writer's declarations and beginnings state of things seen before them.

        Yields
        ------
        child, parent : str
            Ids of versions and activities.
        """
        for declared in facts.declared:
            if declared.activity is not None:
                yield declared.uid, activity_uid(*declared.activity)
            yield from self._certain(facts, declared.uid, declared.about.parents, declared.sequence)
        for begun in facts.begun:
            if begun.about.used:
                uid = activity_uid(facts.writer, begun.sequence)
                yield from self._certain(facts, uid, begun.about.used, begun.sequence)

    def _certain(self, facts: Facts, child: str, links: list[Any], sequence: int) -> Iterator[tuple[str, str]]:
        for link in links:
            if isinstance(link, str):
                parent = self.own_earlier(facts, link, sequence)
            else:
                place = place_of(facts.writer, link)
                parent = self.seen(place) if place is not None else None
            if parent is not None:
                yield child, parent
