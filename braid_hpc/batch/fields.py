"""What may stand in each field of a specification: one small check for each sort of value.

A check takes what was given and returns what is kept; what it cannot take it refuses with the end of a sentence that
says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "LARGEST",
    "Check",
    "array",
    "choice",
    "command",
    "environment",
    "lines",
    "name",
    "number",
    "place",
    "text",
    "truth",
    "words",
]

Check = Callable[[Any], Any]

#: More of anything is a slip of the keyboard.
LARGEST = 10_000_000

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Variables of the scripts: with another value they would look for logs where there are none.
_TAKEN = frozenset(
    [
        *("job", "attempt", "part", "arrived", "logs", "each_node", "without", "node", "shipper", "interrupted"),
        *("cancelled", "program", "code", "now", "steps", "clock", "BRAID_RUN_ID", "BRAID_LOG_DIR", "BRAID_ATTEMPT"),
    ]
)
_ARRAY = re.compile(r"(\d+(?:-\d+(?::\d+)?)?(?:,\d+(?:-\d+(?::\d+)?)?)*)(?:%(\d+))?")


def number(least: int, *, most: int = LARGEST) -> Check:
    """Return the check of a whole number.

    Parameters
    ----------
    least, most : int
        Its bounds, both allowed.

    Returns
    -------
    callable
        Raises ValueError.
    """
    bounds = f"a whole number of at least {least}" + (f" and at most {most}" if most != LARGEST else "")

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{bounds}, without quotes")
        return value

    return check


def text(value: Any) -> str:
    """Check a text of one line.

    Parameters
    ----------
    value : object
        What was given.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str) or not value.strip() or re.search(r"[\n\r\0]", value):
        raise ValueError("a text of one line, in quotes")
    return value


def word(value: Any) -> str:
    """Check a text without spaces, such as the name of a queue.

    Parameters
    ----------
    value : object
        What was given.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[^\s\"'\\$`;&|<>()*?#\0]+", value):
        raise ValueError("one word in quotes, without spaces and signs of the shell")
    return value


def name(value: Any) -> str:
    """Check the name of a job: it stands in names of files, and every scheduler has to take it.

    Parameters
    ----------
    value : object
        What was given.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("a letter and then letters, digits, '_', '.' and '-', 63 in all at most")
    return value


def place(value: Any) -> str:
    """Check the path of a node-local directory: it is the same on each node, so it is absolute.

    Parameters
    ----------
    value : object
        What was given.

    Returns
    -------
    str
        Without a slash at its end.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str) or not re.fullmatch(r"(?:/|\$\w+|\$\{\w+\})[\w./${}@+:,=-]*", value):
        raise ValueError("an absolute path without spaces, or one that begins with a variable: '/tmp', '$TMPDIR'")
    return value.rstrip("/") or "/"


def truth(value: Any) -> bool:
    """Check a truth value.

    Parameters
    ----------
    value : object
        What was given.

    Returns
    -------
    bool
        The same.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, bool):
        raise ValueError("true or false, without quotes")
    return value


def choice(*allowed: str) -> Check:
    """Return the check of one of several words.

    Parameters
    ----------
    *allowed : str
        The words.

    Returns
    -------
    callable
        Raises ValueError.
    """

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError("one of " + ", ".join(repr(each) for each in allowed))
        return value

    return check


def lines(value: Any) -> tuple[str, ...]:
    """Check several texts of one line each; one of them may stand alone.

    Parameters
    ----------
    value : object
        What was given.

    Returns
    -------
    tuple of str
        The texts.

    Raises
    ------
    ValueError
        If one is none.
    """
    given = [value] if isinstance(value, str) else value
    try:
        if isinstance(given, (list, tuple)):
            return tuple(text(each) for each in given)
    except ValueError:
        pass
    raise ValueError("a list of texts of one line each")


def words(value: Any) -> tuple[str, ...]:
    """Check several words; one of them may stand alone.

    Parameters
    ----------
    value : object
        What was given.

    Returns
    -------
    tuple of str
        The words.

    Raises
    ------
    ValueError
        If one is none.
    """
    given = [value] if isinstance(value, str) else value
    try:
        if isinstance(given, (list, tuple)):
            return tuple(word(each) for each in given)
    except ValueError:
        pass
    raise ValueError("a list of words, without spaces and signs of the shell")


def command(value: Any) -> str | tuple[str, ...]:
    """Check a command.

    Parameters
    ----------
    value : object
        A text, which the shell reads, or a list of the command's own words.

    Returns
    -------
    str or tuple of str
        The same.

    Raises
    ------
    ValueError
        If it is neither, or empty.
    """
    if isinstance(value, str) and value.strip() and not re.search(r"[\n\r\0]|\\$", value):
        return value.strip()
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, str) for each in value) and value[0]:
        if any("\0" in each or "\n" in each for each in value):
            raise ValueError("words without line breaks")
        return tuple(value)
    raise ValueError("a text of one line, which the shell reads, or a list of words")


def environment(value: Any) -> tuple[tuple[str, str], ...]:
    """Check variables of the environment.

    Parameters
    ----------
    value : object
        A table of names and texts or numbers.

    Returns
    -------
    tuple of (str, str)
        In the order in which they stand.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(value, tuple):
        value = dict(value)
    if not isinstance(value, Mapping):
        raise ValueError("a table of variables, as in: environment = { OMP_PLACES = 'cores' }")
    found = []
    for key, each in value.items():
        if not isinstance(key, str) or not _VARIABLE.fullmatch(key):
            raise ValueError(f"a table of variables; {key!r} cannot be the name of one")
        if key in _TAKEN:
            raise ValueError(f"a table of variables; {key} is one that the script needs for itself")
        if isinstance(each, bool) or not isinstance(each, (str, int, float)) or re.search(r"[\n\0]", str(each)):
            raise ValueError(f"a table of variables; {key} must be a text of one line or a number")
        found.append((key, str(each)))
    return tuple(found)


def array(value: Any) -> str:
    """Check the tasks of an array job.

    Parameters
    ----------
    value : object
        ``"0-19"``, ``"1,3,5"``, ``"0-30:5"``; with ``"%4"`` behind it four tasks run at a time.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ValueError
        If it is none of it.
    """
    if not isinstance(value, str) or not (found := _ARRAY.fullmatch(value)) or found[2] == "0":
        raise ValueError(
            "numbers of tasks such as '0-19', '1,3,5' or '0-30:5', and '%4' behind them for four at a time"
        )
    for part in found[1].split(","):
        first, _, last = part.partition(":")[0].partition("-")
        if last and int(last) < int(first):
            raise ValueError(f"numbers of tasks; {part!r} ends before it begins")
    return value
