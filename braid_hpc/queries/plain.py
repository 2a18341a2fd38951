"""Searches as JSON, for a page or a file."""

from __future__ import annotations

import json
import math
from typing import Any

from braid_hpc.queries.fields import find_field
from braid_hpc.queries.operators import Operator, Scalar
from braid_hpc.queries.tree import And, Condition, Not, Or, Query
from braid_hpc.queries.values import DIGITS, LONGEST
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["from_json", "to_json"]

_JOINED: dict[str, type[And | Or]] = {"and": And, "or": Or}


def to_json(query: Query) -> str:
    """Write a search as JSON.

    Parameters
    ----------
    query : Query
        Any.

    Returns
    -------
    str
        ``{"and": [...]}``, ``{"or": [...]}``, ``{"not": {...}}`` or ``{"field": "tag", "key": "energy_keV", "operator":
        ">", "value": 70}``; of data also ``"of": "max"`` and ``"stream": "primary"``. What JSON has no number for is
        ``{"float": "nan"}``, ``"inf"`` or ``"-inf"``.

    See Also
    --------
    from_json : the way back.
    """
    return json.dumps(_written(query), ensure_ascii=False)


def _written(query: Query) -> dict[str, Any]:
    if isinstance(query, Condition):
        found: dict[str, Any] = {"field": query.field.name}
        if query.field.key is not None:
            found["key"] = query.field.key
        if query.field.of is not None:
            found["of"] = query.field.of
        if query.field.stream is not None:
            found["stream"] = query.field.stream
        found["operator"] = str(query.operator)
        if isinstance(query.value, tuple):
            found["value"] = [_value(each) for each in query.value]
        elif query.value is not None:
            found["value"] = _value(query.value)
        return found if query.least is None else {**found, "at": query.least}
    parts = [_written(part) for part in query.parts]
    return {"not": parts[0]} if isinstance(query, Not) else {"and" if isinstance(query, And) else "or": parts}


def _value(value: Scalar) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def from_json(text: str) -> Query:
    """Read a search from JSON.

    Parameters
    ----------
    text : str
        As :func:`to_json` writes it.

    Returns
    -------
    Query
        Equal to the one that was written.

    Raises
    ------
    InvalidInputError
        If it is not JSON, or no search.
    """
    # Of each character six may be made.
    if not isinstance(text, (str, bytes)) or len(text) > 6 * LONGEST:
        raise InvalidInputError(f"a search in JSON is a text of {6 * LONGEST:,} characters at most")
    try:
        return _read(json.loads(text, parse_int=_integer))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the search is not JSON: {error}") from error
    except _TooLong:
        raise InvalidInputError(f"a number of more than {DIGITS} digits is too long to compare with") from None
    except RecursionError:
        raise InvalidInputError("the search in JSON is nested too deep: write it flatter") from None


class _TooLong(Exception):
    """A number of more digits than Python converts."""


def _integer(text: str) -> int:
    if len(text) > DIGITS + 1:
        raise _TooLong
    return int(text)


def _read(found: Any) -> Query:
    if isinstance(found, dict) and len(found) == 1:
        ((word, parts),) = found.items()
        if word in _JOINED and isinstance(parts, list):
            return _JOINED[word](tuple(_read(part) for part in parts))
        if word == "not":
            return Not(_read(parts))
    if not isinstance(found, dict) or not {"field", "operator"} <= found.keys() <= _MEMBERS:
        raise InvalidInputError(f"{json.dumps(found):.80} is no search: it has field and operator, or and, or, not")
    if not isinstance(found["field"], str):
        raise InvalidInputError(f"{json.dumps(found['field']):.40} is no field: that is a text")
    if found["operator"] not in list(Operator):
        raise InvalidInputError(f"{found['operator']!r:.40} is no operator: there are {', '.join(Operator)}")
    value = found.get("value")
    given = tuple(_given(each) for each in value) if isinstance(value, list) else _given(value)
    field = find_field(found["field"], found.get("key"), of=found.get("of"), stream=found.get("stream"))
    return Condition(field, Operator(found["operator"]), given, found.get("at"))


_MEMBERS = {"field", "key", "of", "stream", "operator", "value", "at"}


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"} and value["float"] in ("nan", "inf", "-inf"):
            return float(value["float"])
        raise InvalidInputError(f"{json.dumps(value):.80} is no value to compare with")
    return value
