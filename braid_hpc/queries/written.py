"""The text of fields and values."""

from __future__ import annotations

import re

from braid_hpc.queries.fields import FAMILIES, FIELDS, Field
from braid_hpc.queries.operators import Scalar

__all__ = ["KEYWORDS", "NUMBER", "WORD", "noun", "written"]

KEYWORDS = frozenset(
    ("and", "or", "not", "in", "exists", "contains", "matches", "similar", "at", "valid", "invalid", "weak")
)

#: What stands without quotes.
WORD = re.compile(r'[^\s()=<>!~&|,"]+')

NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)", re.ASCII)


def noun(field: Field) -> str:
    """Return a field as it is written.

    Parameters
    ----------
    field : Field
        A field, or a key of a family.

    Returns
    -------
    str
        A tag stands alone where nothing else is called so, or nearly so.
    """
    if field.key is None:
        return field.name
    if field.name == "data":
        return _of_data(field)
    key = field.key
    plain = WORD.fullmatch(key) is not None
    head = key.partition(".")[0]
    if field.name == "nexus" and plain:
        # Nothing else begins so.
        return key
    known = head in FAMILIES or key.startswith("/") or key.lower() in (*FIELDS, *KEYWORDS)
    if field.name == "tag" and plain and not known:
        # What could be a misspelt field is said to be a tag.
        return f"tag.{key}" if field.meant else key
    return f"{field.name}.{key if plain else _quoted(key)}"


def _of_data(field: Field) -> str:
    key = field.key or ""
    text = f"data.{key if WORD.fullmatch(key) and '@' not in key else _quoted(key)}"
    if field.stream is not None:
        text += f"@{field.stream if WORD.fullmatch(field.stream) else _quoted(field.stream)}"
    return text if field.of is None else f"{field.of}({text})"


def written(value: Scalar) -> str:
    """Return a value as it is written.

    Parameters
    ----------
    value : str, int, float or bool
        Any.

    Returns
    -------
    str
        A text stands in quotes unless it is a word of letters, digits and a few marks that reads as nothing else.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    # Fewer words than the parser takes without quotes: a reader should not have to guess.
    plain = re.fullmatch(r"[^\W\d][\w.:/+@-]*", value) is not None
    reads_otherwise = value in ("true", "false") or value.lower() in KEYWORDS or NUMBER.fullmatch(value)
    return value if plain and not reads_otherwise else _quoted(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
