"""What a search of scans means, in plain Python over their documents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from braid_hpc.queries.fields import Field
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.tree import And, Condition, Not, Or, Query
from tests.store.oracle import compares

Pair = tuple[str, dict[str, Any]]


def found_by(query: Query, scans: dict[str, list[Pair]]) -> list[str]:
    """Give the uids of the scans of which a search holds; each scan is the list of its documents, each once."""
    return sorted(uid for uid, documents in scans.items() if holds(query, documents))


def holds(query: Query, documents: list[Pair]) -> bool:
    if isinstance(query, And):
        return all(holds(part, documents) for part in query.parts)
    if isinstance(query, Or):
        return any(holds(part, documents) for part in query.parts)
    if isinstance(query, Not):
        return not holds(query.part, documents)
    assert isinstance(query, Condition)
    if query.operator is Operator.NE:
        return not holds(Condition(query.field, Operator.EQ, query.value), documents)
    values = [value for value in values_of(query.field, documents) if value is not None]
    if query.field.of == "all":
        return bool(values) and all(_one(query, value) for value in values)
    if query.field.of is not None:
        values = reduced(query.field.of, values)
    return any(_one(query, value) for value in values)


def _one(query: Condition, value: Any) -> bool:
    if query.operator is Operator.EXISTS:
        return True
    if query.operator is Operator.IN:
        assert isinstance(query.value, tuple)
        return any(compares(query, Operator.EQ, value, given) for given in query.value)
    return compares(query, query.operator, value, query.value)


def reduced(of: str, values: list[Any]) -> list[Any]:
    if of == "count":
        return [len(values)] if values else []
    if not values or any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return []
    numbers = [value for value in values if value == value]
    if of in ("min", "max"):
        return [{"min": min, "max": max}[of](numbers)] if numbers else []
    try:
        total = sum(values) if all(isinstance(value, int) for value in values) else math.fsum(values)
    except ValueError:
        total = math.nan
    return [total if of == "sum" else total / len(values)]


def values_of(field: Field, documents: list[Pair]) -> Iterator[Any]:
    """Give every value of a field, those in lists one by one."""
    if field.name == "data":
        streams = {document["uid"]: document["name"] for name, document in documents if name == "descriptor"}
        for name, document in documents:
            if name == "event" and field.stream in (None, streams[document["descriptor"]]):
                yield from items(document["data"].get(field.key))
        return
    for name, document in documents:
        if name in ("start", "stop"):
            if name == field.name:
                yield from (value for path, value in leaves(document) if path == field.key)
        elif name == "descriptor":
            if field.name == "stream":
                yield document["name"]
            if field.name == "device":
                yield from [*document["object_keys"], *document["configuration"]]
            if field.name == "data_key":
                yield from document["data_keys"]
            if field.name == "config":
                for device, about in document["configuration"].items():
                    yield from (value for path, value in leaves(about["data"]) if path == field.key)
                    yield from (v for path, v in leaves(about["data"]) if f"{device}.{path}" == field.key)


def leaves(value: Any, path: str | None = None) -> Iterator[tuple[str, Any]]:
    """Give everything in a document with its dotted path."""
    if path is not None:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, key if path is None else f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item, path)


def items(value: Any) -> Iterable[Any]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from items(each)
    else:
        yield value
