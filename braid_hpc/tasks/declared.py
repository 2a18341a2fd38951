"""What an annotation says of an argument: whether it fits, and as which value it counts."""

from __future__ import annotations

import enum
import os
import types
import typing
from pathlib import Path, PurePath
from typing import Any

from braid_hpc.vocabulary.arrays import is_masked
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["declared_types", "unify"]

_UNIONS = (typing.Union, types.UnionType)


def declared_types(function: Any) -> dict[str, Any]:
    """Return the annotations of a function's parameters.

    Parameters
    ----------
    function : callable
        A function.

    Returns
    -------
    dict of str to type
        Empty where they cannot be evaluated, as with names that only a type checker imports.
    """
    try:
        return typing.get_type_hints(function)
    except Exception:
        # Whatever stands in an annotation is the program's own; without it arguments are taken as they are.
        return {}


def unify(value: Any, declared: Any, what: str) -> Any:
    """Return an argument as a value of the type that is declared for it.

    Parameters
    ----------
    value : object
        What was given.
    declared : type
        The annotation: bool, int, float, str, bytes, a path, an enumeration, ``Literal``, and unions of these are
        looked at; others are not.
    what : str
        What the argument is called in a message.

    Returns
    -------
    object
        The value; an integer for float as a float, a text for a path as a path, a scalar of NumPy as a Python number.

    Raises
    ------
    InvalidInputError
        If it is of another type.
    """
    choices = _choices(declared)
    if choices is None:
        return value
    plain = _plain(value)
    for choice in choices:
        if _is_one(plain, choice):
            return plain
    for choice in choices:
        if (found := _converted(plain, choice)) is not None:
            return found
    names = " or ".join(_name(choice) for choice in choices)
    raise InvalidInputError(f"{what} is {_shown(value)}, a {type(value).__name__}, and is declared {names}")


def _choices(declared: Any) -> list[Any] | None:
    """Return the types that an annotation allows; None if there is one among them that is not looked at."""
    if typing.get_origin(declared) in _UNIONS:
        found = [_choices(part) for part in typing.get_args(declared)]
        return None if any(part is None for part in found) else [each for part in found if part for each in part]
    if typing.get_origin(declared) is typing.Literal:
        return [declared]
    if declared is None:
        return [type(None)]
    known = (bool, int, float, str, bytes, type(None), Path, PurePath, os.PathLike)
    if declared in known or (isinstance(declared, type) and issubclass(declared, enum.Enum)):
        return [declared]
    return None


def _plain(value: Any) -> Any:
    scalar = getattr(type(value), "dtype", None) is not None and getattr(value, "shape", None) == ()
    if scalar and not is_masked(value):
        item = value.item()
        return item if type(item) in (bool, int, float, str, bytes) else value
    return value


def _is_one(value: Any, choice: Any) -> bool:
    if typing.get_origin(choice) is typing.Literal:
        return any(type(value) is type(each) and value == each for each in typing.get_args(choice))
    if choice in (bool, int, float, str, bytes):
        # Exactly: True is an integer to Python, and another parameter than 1.
        return isinstance(value, choice) and (choice is bool or not isinstance(value, bool))
    return isinstance(value, choice)


def _converted(value: Any, choice: Any) -> Any:
    if choice is float and type(value) is int:
        try:
            return float(value) if int(float(value)) == value else None
        except OverflowError:
            return None
    if choice in (Path, PurePath, os.PathLike) and isinstance(value, str):
        return Path(value)
    return None


def _name(choice: Any) -> str:
    return "None" if choice is type(None) else getattr(choice, "__name__", None) or str(choice)


def _shown(value: Any) -> str:
    try:
        return repr(value)[:60]
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
