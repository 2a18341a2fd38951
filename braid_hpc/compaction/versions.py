"""Which occurrences are one version (``docs/identity.md``).

Identity is settled by the declaration alone, within its writer's log: nothing that arrives later, from this
writer or another one, changes it.
"""

from __future__ import annotations

from typing import Any

from xxhash import xxh3_64_intdigest

from braid_hpc.compaction.extract import Declared, Facts, Place
from braid_hpc.compaction.past import Name, Past, Seen
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import key_digest
from braid_hpc.vocabulary.references import parse_reference
from braid_hpc.vocabulary.texts import clean

__all__ = ["activity_uid", "assign_versions", "occurrence_uid", "plain_name", "seen_of", "unseen_uid"]


def occurrence_uid(writer: str, sequence: int) -> str:
    """Return the id of a version that is one occurrence's own.

    Parameters
    ----------
    writer : str
        The writer's id.
    sequence : int
        The occurrence's sequence.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return key_digest(["occurrence", writer, sequence])


def unseen_uid(place: Place) -> str:
    """Return the id of a placeholder: never that of what it stands for, which will have a row of its own.

    Parameters
    ----------
    place : (str, int)
        Writer and sequence that a handle names.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return key_digest(["unseen", *place])


def activity_uid(writer: str, sequence: int) -> str:
    """Return the id of an activity.

    Parameters
    ----------
    writer : str
        The writer's id.
    sequence : int
        Sequence of its BEGIN row.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return key_digest(["activity", writer, sequence])


def assign_versions(facts: Facts, past: Past) -> None:
    """Give every occurrence of a slice its step and the id of its version.

    Parameters
    ----------
    facts : Facts
        A writer's occurrences in order; `step`, `state` and `uid` of each are set.
    past : Past
        What the writer declared before.
    """
    own = _Own(facts.writer, past)
    for declared in facts.declared:
        about = declared.about
        before = own.last(declared.kind, clean(declared.name), declared.sequence)
        parents = tuple(own.canonical(link, declared.sequence) for link in about.parents)
        # Where nothing else tells two declarations apart, another uri says that something else is meant.
        state = repr((about.digest or tuple(about.uris), parents, declared.activity))
        declared.state = xxh3_64_intdigest(state.encode("utf-8", "surrogatepass"))
        if before is not None:
            # Without content, and without a word that all ranks mean the same, every declaration is a version.
            again = before.state == declared.state and (about.digest is not None or about.shared)
            declared.step = before.step if again else before.step + 1
        declared.uid = _uid(facts, declared, made=bool(about.parents) or declared.activity is not None)
        own.add(declared)


def seen_of(declared: Declared) -> Seen:
    """Return what later slices may ask about an occurrence.

    Parameters
    ----------
    declared : Declared
        With its step and the id of its version.

    Returns
    -------
    Seen
        Texts are as they stand in the store.
    """
    digest = declared.about.digest
    about = (declared.step, clean(digest) if digest is not None else None, declared.state)
    return Seen(declared.sequence, declared.uid, declared.kind, clean(declared.name), *about)


class _Own:
    """What a writer has declared up to now, in a slice and before it."""

    def __init__(self, writer: str, past: Past) -> None:
        self._writer, self._past = writer, past
        self._last: dict[Name, Seen] = {}
        self._at: dict[int, Seen] = {}

    def add(self, declared: Declared) -> None:
        seen = seen_of(declared)
        self._last[None, seen.name] = self._last[seen.kind, seen.name] = self._at[declared.sequence] = seen

    def last(self, kind: str | None, name: str, sequence: int) -> Seen | None:
        return self._last.get((kind, name)) or self._past.last(self._writer, kind, name, sequence)

    def canonical(self, link: Any, sequence: int) -> Any:
        """Return what a link means within this writer, so that two links can be compared."""
        if isinstance(link, int):
            seen = self._at.get(link) or self._past.seen((self._writer, link))
            # A link to what comes later means no more than its number.
            return seen.meaning if seen is not None and link < sequence else link
        if isinstance(link, str):
            name = plain_name(link)
            local = self.last(name[0], clean(name[1]), sequence) if name is not None else None
            return local.meaning if local is not None else ("text", link)
        if isinstance(link, (list, tuple)):
            return ("all", self.canonical(link[0], sequence)) if link else None
        return link


def _uid(facts: Facts, declared: Declared, *, made: bool) -> str:
    about = declared.about
    if about.digest is not None:
        if not made:
            return key_digest(["source", declared.kind, declared.name, about.digest])
        return key_digest(["made", declared.kind, declared.name, facts.run, declared.step, about.digest])
    if about.shared:
        return key_digest(["shared", declared.kind, declared.name, facts.run, declared.step])
    return occurrence_uid(facts.writer, declared.sequence)


def plain_name(text: str) -> Name | None:
    """Return what a reference without a version names.

    Parameters
    ----------
    text : str
        A reference.

    Returns
    -------
    (str or None, str) or None
        Kind, where it is named, and name; None if the text names a version or an id, or is not a reference.
    """
    try:
        reference = parse_reference(text)
    except InvalidInputError:
        return None
    if reference.version is not None or reference.name is None:
        return None
    return reference.kind, reference.name
