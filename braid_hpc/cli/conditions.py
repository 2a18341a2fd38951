"""Conditions on tags as they stand in a command line: ``KEY=VALUE``, and the way back."""

from __future__ import annotations

import re
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["format_condition", "parse_condition"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)")
_INTEGER = re.compile(r"[+-]?\d+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def parse_condition(text: str, *, as_text: bool = False) -> tuple[str, Any]:
    r"""Read a condition.

    Parameters
    ----------
    text : str
        ``KEY=VALUE``. The first ``=`` separates; a key that holds one stands in double quotes. A value in double
        quotes is text; any other is a number or a truth value if it reads as one, and else text. Within quotes,
        ``\"`` and ``\\`` stand for the quote and the backslash.
    as_text : bool
        Whether a value is text however it reads; quotes are then a part of it.

    Returns
    -------
    key : str
        The tag's key.
    value : str, int, float or bool
        Its value.

    Raises
    ------
    InvalidInputError
        If it is not a condition.

    Examples
    --------
    >>> parse_condition("energy_keV=71.7"), parse_condition('energy_keV="71.7"')
    (('energy_keV', 71.7), ('energy_keV', '71.7'))
    >>> parse_condition('"a=b"=true'), parse_condition("n=3", as_text=True)
    (('a=b', True), ('n', '3'))
    """
    if quoted := _QUOTED.match(text):
        key, rest = _unquoted(quoted[1]), text[quoted.end() :]
        equals, value = rest[:1], rest[1:]
    else:
        key, equals, value = text.partition("=")
    if equals != "=" or not key:
        raise InvalidInputError(f"{text!r} is not a condition: write KEY=VALUE")
    return key, value if as_text else _value(value)


def _value(text: str) -> Any:
    if quoted := _QUOTED.fullmatch(text):
        return _unquoted(quoted[1])
    if text in ("true", "false"):
        return text == "true"
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
    except ValueError as error:
        # More digits than Python converts at once.
        raise InvalidInputError(f"a number of {len(text)} digits is too long") from error
    return float(text) if _NUMBER.fullmatch(text) else text


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def format_condition(key: str, value: Any) -> str:
    """Write the condition that finds a tag.

    Parameters
    ----------
    key : str
        Its key.
    value : str, int, float or bool
        Its value.

    Returns
    -------
    str
        What :func:`parse_condition` reads back; a value of another type is written as Python shows it.

    Examples
    --------
    >>> format_condition("energy_keV", 71.7), format_condition("n", "3"), format_condition("a=b", "c")
    ('energy_keV=71.7', 'n="3"', '"a=b"=c')
    """
    if "=" in key or key.startswith('"'):
        key = _quoted(key)
    if isinstance(value, bool):
        return f"{key}={'true' if value else 'false'}"
    if isinstance(value, str):
        return f"{key}={value if _value_is_text(value) else _quoted(value)}"
    return f"{key}={value!r}"


def _value_is_text(text: str) -> bool:
    return text not in ("true", "false") and not _NUMBER.fullmatch(text) and not text.startswith('"')


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
