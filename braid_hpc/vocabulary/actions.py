"""What is to be done when a record turns out not to hold: how it is given, and what its placeholders stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.identity import key_digest
from braid_hpc.vocabulary.payloads import Action

__all__ = ["PLACEHOLDERS", "Invalidated", "action_uid", "check_action", "check_actions", "substituted"]

#: What ``{...}`` in a command may name, besides ``tag.KEY``.
PLACEHOLDERS = ("cause", "id", "kind", "name", "statement", "tag", "uri", "version")

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ENTRY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MEMBERS = frozenset({"command", "entry", "name", "timeout"})


@dataclass(frozen=True, slots=True)
class Invalidated:
    """A record that does not hold any more, and the statement that says so: what an action is told.

    Attributes
    ----------
    ref : str
        ``kind:name@version``.
    kind, name : str
        Of the record.
    version : int
        Its number in this store.
    id : str
        Its global id, 32 hexadecimal digits.
    uris : list of str
        Where its bytes are, in order.
    tags : dict
        Its tags: str, int, float or bool by key; a list of these where a key was given several values.
    cause : str
        Why.
    statement : str
        Id of the statement.
    time : int
        When that was made, nanoseconds since 1970 UTC.
    store : str
        Path of the store.
    """

    ref: str
    kind: str
    name: str
    version: int
    id: str
    uris: list[str]
    tags: dict[str, Any]
    cause: str
    statement: str
    time: int
    store: str


def check_actions(given: Any) -> list[Action]:
    """Return the actions that a caller gave.

    Parameters
    ----------
    given : list of str, str, mapping, or list of these
        See :func:`check_action`; a list of texts is one command.

    Returns
    -------
    list of Action
        At least one.

    Raises
    ------
    InvalidInputError
        If one of them is no action.
    """
    if isinstance(given, (list, tuple)) and not all(isinstance(part, str) for part in given):
        return [check_action(each) for each in given]
    return [check_action(given)]


def check_action(given: Any) -> Action:
    """Return the action that a caller gave.

    Parameters
    ----------
    given : list of str, str, or mapping
        A command with its arguments, in which ``{name}`` and others (:data:`PLACEHOLDERS`) stand for what is known of
        the record, and ``{{`` for a brace; or a Python function as ``"package.module:function"``; or a mapping with
        ``command`` or ``entry``, and if wanted ``name`` and ``timeout`` in seconds.

    Returns
    -------
    Action
        As it stands in a log.

    Raises
    ------
    InvalidInputError
        If it is something else, or a placeholder is not known.

    Examples
    --------
    >>> check_action(["mv", "{uri}", "/quarantine/{name}"]).command
    ['mv', '{uri}', '/quarantine/{name}']
    >>> check_action("mylab.cleaning:retract").entry
    'mylab.cleaning:retract'
    """
    if isinstance(given, Mapping):
        return _from_mapping(given)
    if isinstance(given, str):
        return Action(entry=_entry(given))
    return Action(command=_command(given))


def _from_mapping(given: Mapping[Any, Any]) -> Action:
    if unknown := sorted(str(key) for key in given if key not in _MEMBERS):
        raise InvalidInputError(f"an action has no {', '.join(unknown)}; it has {', '.join(sorted(_MEMBERS))}")
    command, entry, name, timeout = (given.get(key) for key in ("command", "entry", "name", "timeout"))
    if (command is None) == (entry is None):
        raise InvalidInputError("an action has either a command or an entry")
    if name is not None and (not isinstance(name, str) or not name):
        raise InvalidInputError(f"the name of an action is a text, not {name!r}")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0):
        raise InvalidInputError(f"the timeout of an action is a number of seconds, not {timeout!r}")
    seconds = None if timeout is None else float(timeout)
    if command is not None:
        return Action(command=_command(command), name=name, timeout=seconds)
    return Action(entry=_entry(entry), name=name, timeout=seconds)


def _entry(given: Any) -> str:
    if not isinstance(given, str) or not _ENTRY.fullmatch(given):
        raise InvalidInputError(
            f"{given!r} is not an action: give a function as 'package.module:function', or a command as a list of "
            "texts (it is never given to a shell)"
        )
    return given


def _command(given: Any) -> list[str]:
    words = list(given) if isinstance(given, (list, tuple)) else []
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
        raise InvalidInputError(f"a command is a list of texts, the program and its arguments, not {given!r}")
    for word in words:
        for literal, name in _pieces(word):
            if name is not None and name not in PLACEHOLDERS and not (name.startswith("tag.") and name != "tag."):
                known = ", ".join(f"{{{each}}}" for each in (*PLACEHOLDERS, "tag.KEY"))
                raise InvalidInputError(
                    f"{literal} in {word!r} is no placeholder; there are {known}, and {{{{ for a brace"
                )
    return words


def _pieces(word: str) -> Iterator[tuple[str, str | None]]:
    """Give the parts of a word: texts as they are, and placeholders with their names."""
    end = 0
    for found in _BRACES.finditer(word):
        yield word[end : found.start()], None
        end = found.end()
        if found[1] is not None:
            yield found[0], found[1]
        elif found[0] in ("{{", "}}"):
            yield found[0][0], None
        else:
            raise InvalidInputError(f"a lone {found[0]!r} in {word!r}: write {found[0] * 2} for a brace")
    yield word[end:], None


def substituted(command: list[str], about: Invalidated) -> list[str]:
    """Return a command with what its placeholders stand for, each element by itself.

    Parameters
    ----------
    command : list of str
        From :func:`check_action`.
    about : Invalidated
        The record.

    Returns
    -------
    list of str
        As many elements.

    Raises
    ------
    NotFoundError
        If the record has no uri, or no tag of that key.

    Examples
    --------
    >>> scan = Invalidated("data:scan@2", "data", "scan", 2, "", ["/a", "/b"], {"keV": 71.7}, "", "", 0, "")
    >>> substituted(["rm", "{uri}", "{tag.keV}", "{{x}}"], scan)
    ['rm', '/a', '71.7', '{x}']
    """
    return ["".join(text if name is None else _value(name, about) for text, name in _pieces(word)) for word in command]


def _value(name: str, about: Invalidated) -> str:
    if name == "uri":
        if not about.uris:
            raise NotFoundError(f"{about.ref} has no uri, and the action wants {{uri}}")
        return about.uris[0]
    if name == "tag":
        return ",".join(f"{key}={_text(value)}" for key, value in sorted(about.tags.items()))
    if name.startswith("tag."):
        key = name.removeprefix("tag.")
        if key not in about.tags:
            raise NotFoundError(f"{about.ref} has no tag {key!r}, and the action wants {{{name}}}")
        return _text(about.tags[key])
    return str(getattr(about, name))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text(each) for each in value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def action_uid(action: Action) -> str:
    """Return the id of an action: equal ones on one record are one.

    Parameters
    ----------
    action : Action
        As it stands in a log.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    parts = ["action", action.name, action.entry, repr(action.timeout), *action.command]
    return key_digest(parts)
