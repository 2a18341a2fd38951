"""The column types of streams, and how a row or a batch of them becomes bytes.

A row's payload is its fixed-width values in column order, little-endian and without padding, where a column of
text or bytes stands as the uint32 length of its value; the values of those columns follow in column order.
A row that does not fit that (it holds None) is a MessagePack list instead, marked by flag :data:`ROW_AS_LIST`.

A batch's payload is column after column: fixed-width values as they are; text and bytes as ``rows + 1`` uint32
offsets and the bytes. A large batch stands in the stream's own Arrow file instead, marked by
:data:`BATCH_IN_FILE`; its payload then says where (:data:`BATCH_PLACE`).
"""

from __future__ import annotations

import struct
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = [
    "BATCH_IN_FILE",
    "BATCH_PLACE",
    "EDGES_FILE",
    "FIXED",
    "ROW_AS_LIST",
    "VARIABLE",
    "check_columns",
    "item_bytes",
    "row_struct",
]

#: struct codes of the fixed-width types; ``timestamp`` is int64 nanoseconds since 1970 UTC.
FIXED = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
    "timestamp": "q",
}
VARIABLE = ("text", "bytes")

ROW_AS_LIST = 1
BATCH_IN_FILE = 1
#: offset and length in the stream's Arrow file, bytes; XXH3-128 of the file's schema message and the batch; number of
#: the file, 1 unless the file system refused an earlier one.
BATCH_PLACE = struct.Struct("<QQ16sI")

#: Number of the file that long lists of row edges stand in, among those of the streams, which count from 1.
EDGES_FILE = 0

_ALIASES = {
    "int": "int64",
    "float": "float64",
    "double": "float64",
    "str": "text",
    "string": "text",
    "utf8": "text",
    "large_string": "text",
    "binary": "bytes",
    "boolean": "bool",
}


def check_columns(columns: Any) -> list[tuple[str, str]]:
    """Return the columns of a stream in their canonical form.

    Parameters
    ----------
    columns : mapping or iterable of pairs
        Column name to type: one of :data:`FIXED` or :data:`VARIABLE`, a Python type (bool, int, float, str,
        bytes), or anything whose text is such a name, as a NumPy or Arrow dtype is.

    Returns
    -------
    list of (str, str)
        Names and types, in the order given.

    Raises
    ------
    InvalidInputError
        If there are none, a name is empty, doubled or begins with ``_``, or a type is not known.
    """
    try:
        pairs = list(columns.items() if hasattr(columns, "items") else columns)
        pairs = [(name, kind) for name, kind in pairs]
    except (TypeError, ValueError):
        raise InvalidInputError("the columns of a stream are a mapping of name to type") from None
    if not pairs:
        raise InvalidInputError("a stream needs at least one column: name them as a mapping of name to type")
    checked: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, kind in pairs:
        if not isinstance(name, str) or not name or name.startswith("_") or "\0" in name:
            raise InvalidInputError(
                f"{str(name)[:80]!r} cannot be a column: a name is text without NUL and does not begin with '_'"
            )
        if name.lower() in seen:
            raise InvalidInputError(f"the column {name!r} is there twice (upper and lower case are one name)")
        seen.add(name.lower())
        text = kind.__name__ if isinstance(kind, type) else str(kind)
        text = _ALIASES.get(text, text)
        if text not in FIXED and text not in VARIABLE:
            raise InvalidInputError(
                f"{text!r} is not a column type (column {name!r}): use one of {', '.join((*FIXED, *VARIABLE))}"
            )
        checked.append((name, text))
    return checked


def row_struct(columns: list[tuple[str, str]]) -> struct.Struct:
    """Return the layout of the fixed part of a row.

    Parameters
    ----------
    columns : list of (str, str)
        From :func:`check_columns`.

    Returns
    -------
    struct.Struct
        One item for each column.
    """
    return struct.Struct("<" + "".join(FIXED.get(kind, "I") for _, kind in columns))


def item_bytes(kind: str) -> int:
    """Return the bytes of one value of a fixed-width type.

    Parameters
    ----------
    kind : str
        A key of :data:`FIXED`.

    Returns
    -------
    int
        1, 2, 4 or 8.
    """
    return struct.calcsize("<" + FIXED[kind])
