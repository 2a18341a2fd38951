"""Records as steps are given them: checked as a whole before anything of it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from braid_hpc.remote.ids import find_ids
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.codes import check_kind
from braid_hpc.vocabulary.encoding import check_tags
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Defined", "check_name", "check_texts", "defined", "plain_tags"]

_MEMBERS = frozenset({"name", "kind", "uris", "tags", "derivations", "derived_from_record_id"})


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise InvalidInputError(f"{value!r} is not a whole number")
    return int(value)


_TYPES: dict[str, Any] = {"STRING": str, "INT": _whole, "FLOAT": float, "NONE": lambda value: value}
#: How deep records may come of records within one definition.
DEPTH = 64


@dataclass(slots=True)
class Defined:
    """A record that is to be written: its kind, name, uris and tags, its parents, and what came of it."""

    kind: str
    name: str
    uris: list[str]
    tags: dict[str, Any] | None
    parents: list[Record] = field(default_factory=list)
    derivations: list[Defined] = field(default_factory=list)


def defined(what: str, given: Any, *, nested: bool = False, made: bool = False, depth: int = 0) -> list[Defined]:
    """Return the records that a caller defines.

    Parameters
    ----------
    what : str
        Name of the argument, for messages.
    given : mapping, list of mappings, or None
        ``name``, ``uris`` (one or many), ``tags``, ``kind`` (``data`` if nothing is said).
    nested : bool
        Whether ``derived_from_record_id`` and ``derivations`` are taken too.
    made : bool
        Whether they come of something, as facts do not.
    depth : int
        How many records it came of.

    Returns
    -------
    list of Defined
        In order.

    Raises
    ------
    InvalidInputError
        If one of them is no definition.
    """
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        given = [given]
    if depth > DEPTH:
        raise InvalidInputError(f"{what}: more than {DEPTH} records come of each other; give the others by their ids")
    return [_one(f"{what}[{at}]", each, nested=nested, made=made, depth=depth) for at, each in enumerate(given)]


def _one(what: str, given: Any, *, nested: bool, made: bool, depth: int) -> Defined:
    if not isinstance(given, dict):
        raise InvalidInputError(f"{what}: {given!r} is not a record: give a mapping with a name")
    taken = _MEMBERS if nested else _MEMBERS - {"derivations", "derived_from_record_id"}
    if unknown := sorted(str(key) for key in given.keys() - taken):
        raise InvalidInputError(f"{what}: a record has no {', '.join(unknown)}; it has {', '.join(sorted(taken))}")
    kind = check_kind(given.get("kind", "data"))
    parents = find_ids(f"derived_from_record_id of {what}", given.get("derived_from_record_id"), "flow_state_record_id")
    if kind == "fact" and (parents or made or depth):
        raise InvalidInputError(f"{what}: a fact takes no parents inside the workflow: declare it as data")
    return Defined(
        kind,
        check_name(what, given.get("name")),
        check_texts(f"uris of {what}", given.get("uris")),
        plain_tags(f"tags of {what}", given.get("tags")),
        parents,
        defined(f"derivations of {what}", given.get("derivations"), nested=nested, depth=depth + 1),
    )


def check_name(what: str, name: Any) -> str:
    """Return a record's name.

    Parameters
    ----------
    what : str
        What it is the name of.
    name : object
        What was given.

    Returns
    -------
    str
        The same.

    Raises
    ------
    InvalidInputError
        If it is no text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"the name of {what} is a text, not {name!r}")
    return name


def check_texts(what: str, given: Any) -> list[str]:
    """Return one text or many as a list.

    Parameters
    ----------
    what : str
        What they are, for messages.
    given : str, list of str, or None
        As a caller gave it.

    Returns
    -------
    list of str
        In order.

    Raises
    ------
    InvalidInputError
        If one of them is no text, or empty.
    """
    texts = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text for text in texts):
        raise InvalidInputError(f"{what}: a text or a list of texts is wanted, not {given!r}")
    return list(texts)


def plain_tags(what: str, given: Any) -> dict[str, Any] | None:
    """Return tags as a flat mapping; nested mappings become dotted keys at every depth.

    Parameters
    ----------
    what : str
        Whose, for messages.
    given : mapping or None
        Values, or for each a mapping of ``value`` and ``type`` (``STRING``, ``INT``, ``FLOAT``, ``NONE``).

    Returns
    -------
    dict or None
        None where there are none.

    Raises
    ------
    InvalidInputError
        If it is something else.
    """
    if given is not None and not isinstance(given, dict):
        raise InvalidInputError(f"{what}: a mapping is wanted, not {given!r}")
    try:
        return check_tags({key: _typed(value) for key, value in (given or {}).items()})
    except (InvalidInputError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{what}: {error}") from None


def _typed(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"value", "type"} and value["type"] in _TYPES:
        return _TYPES[value["type"]](value["value"])
    return value
