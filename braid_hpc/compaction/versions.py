"""Which occurrences are one version (``docs/identity.md``).

Identity is settled by the declaration alone, within its writer's log: nothing that arrives later, from this
writer or another one, changes it.
"""

from __future__ import annotations

from typing import Any

from braid_hpc.compaction.extract import Declared, Facts, Place
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import key_digest
from braid_hpc.vocabulary.references import parse_reference

__all__ = ["Name", "activity_uid", "assign_versions", "occurrence_uid", "plain_name", "unseen_uid"]

#: Kind, where it is known, and name.
Name = tuple[str | None, str]


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


def assign_versions(facts: Facts) -> None:
    """Give every occurrence of a writer its step and the id of its version.

    Parameters
    ----------
    facts : Facts
        All of the writer's occurrences in order; `step` and `uid` of each are set.
    """
    last: dict[Name, tuple[int, Any]] = {}
    canonical: dict[int, Any] = {}
    latest: dict[Name, int] = {}
    for declared in facts.declared:
        about = declared.about
        parents = tuple(_canonical(link, canonical, latest) for link in about.parents)
        # Where nothing else tells two declarations apart, another uri says that something else is meant.
        state = (about.digest or tuple(about.uris), parents, declared.activity)
        key = (declared.kind, declared.name)
        if key in last:
            step, before = last[key]
            # Without content, and without a word that all ranks mean the same, every declaration is a version.
            again = before == state and (about.digest is not None or about.shared)
            declared.step = step if again else step + 1
        last[key] = (declared.step, state)
        declared.uid = _uid(facts, declared, made=bool(about.parents) or declared.activity is not None)
        canonical[declared.sequence] = (*key, declared.step, about.digest)
        latest[None, declared.name] = latest[key] = declared.sequence


def _uid(facts: Facts, declared: Declared, *, made: bool) -> str:
    about = declared.about
    if about.digest is not None:
        if not made:
            return key_digest(["source", declared.kind, declared.name, about.digest])
        return key_digest(["made", declared.kind, declared.name, facts.run, declared.step, about.digest])
    if about.shared:
        return key_digest(["shared", declared.kind, declared.name, facts.run, declared.step])
    return occurrence_uid(facts.writer, declared.sequence)


def _canonical(link: Any, canonical: dict[int, Any], latest: dict[Name, int]) -> Any:
    """Return what a link means within this writer, so that two links can be compared."""
    if isinstance(link, int):
        return canonical.get(link, link)
    if isinstance(link, str):
        name = plain_name(link)
        local = latest.get(name) if name is not None else None
        return canonical[local] if local is not None else ("text", link)
    if isinstance(link, (list, tuple)):
        return ("all", _canonical(link[0], canonical, latest)) if link else None
    return link


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
