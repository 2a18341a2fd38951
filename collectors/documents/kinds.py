"""Which column holds a value of an event exactly."""

from __future__ import annotations

import sys
from typing import Any

from braid_hpc.vocabulary.verbatim import LARGEST

__all__ = ["DECLARED", "WHOLE", "fits_column", "is_text", "natural_kind", "wider_kind"]

#: Types of columns by what a descriptor declares.
DECLARED = {"number": "float64", "integer": "int64", "boolean": "bool", "string": "text", "array": "bytes"}

#: Integers up to this are what they were when they come out of float64.
WHOLE = 1 << 53

_EXACT = {float: "float64", int: "int64", bool: "bool", str: "text"}


def natural_kind(kind: type) -> str | None:
    """Return the type of column for values of a class.

    Parameters
    ----------
    kind : type
        Of a value.

    Returns
    -------
    str or None
        ``float64``, ``int64``, ``bool``, ``text``; ``bytes`` for what is packed; None for None.
    """
    if kind in _EXACT:
        return _EXACT[kind]
    if kind is type(None):
        return None
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.generic):
        if issubclass(kind, numpy.bool_):
            return "bool"
        if issubclass(kind, numpy.integer):
            # Times and durations are integers to NumPy, and not equal to theirs.
            return "bytes" if issubclass(kind, numpy.timedelta64) else "int64"
        if issubclass(kind, numpy.floating):
            return "float64" if numpy.dtype(kind).itemsize <= 8 else "bytes"
    if issubclass(kind, str):
        return "text"
    return "bytes"


def wider_kind(column: str, natural: str | None) -> str:
    """Return the type that a column should have from a value on that it may not hold.

    Parameters
    ----------
    column : str
        Its present type.
    natural : str or None
        That of the value.

    Returns
    -------
    str
        The present one if it holds such values, or if they are exceptions that go into the rest of a row.
    """
    if column == "int64" and natural == "float64":
        return "float64"
    return "bytes" if natural == "bytes" else column


def fits_column(column: str, value: Any) -> tuple[bool, Any, bool]:
    """Say whether a column holds a value so that it comes back equal, and of its type.

    Parameters
    ----------
    column : str
        ``float64``, ``int64``, ``bool`` or ``text``.
    value : object
        Anything.

    Returns
    -------
    fits : bool
        Whether it does.
    stored : object
        What is put into the column.
    whole : bool
        Whether it was an integer and the column holds floats.
    """
    natural = natural_kind(type(value))
    if natural == "text" == column:
        text = str.__str__(value)
        return len(text) <= LARGEST and is_text(text), text, False
    if natural == "bool" == column:
        return True, bool(value), False
    if natural == "int64" and column in ("int64", "float64"):
        number = int(value)
        if column == "int64":
            return -(1 << 63) <= number < 1 << 63, number, False
        return abs(number) <= WHOLE, float(number) if abs(number) <= WHOLE else None, True
    if natural == "float64" == column:
        return True, float(value), False
    return False, None, False


def is_text(text: str) -> bool:
    """Say whether a store's text is equal to this one.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    bool
        False with lone surrogates in it, which UTF-8 has not.
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
