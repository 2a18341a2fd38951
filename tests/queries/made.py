"""Random searches, over the fields of the language and some tags."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as some

from braid_hpc.queries.fields import FIELDS, FUNCTIONS, RUN_FIELDS, STATUSES, Field, Holds
from braid_hpc.queries.operators import ALLOWED, Operator
from braid_hpc.queries.tree import And, Condition, Not, Or, Query

KINDS = some.sampled_from(["data", "model", "fact", "activity", "test"])
TEXTS = some.one_of(
    some.text(max_size=8), some.sampled_from(["scan-*", "true", "71.7", 'a "b"\n🧵', "and", "é[a", "\\"])
)
NUMBERS = some.one_of(
    some.integers(-4, 4),
    some.integers(),
    some.floats(),
    some.sampled_from([2**53, 2**53 + 1, 2.5, float(2**53), 2**127, -(2**127), 2**200, 71.7, 10**400]),
)
TIMES = some.one_of(
    some.datetimes().map(lambda time: time.isoformat()), some.integers(10**9, 10**19), some.just("2026-11-21")
)
KEYS = some.one_of(
    some.sampled_from(["k", "site.name", "a=b", "and", "kind", "", "x.", "valid", "tag.x", "a@b", "@", "motor"]),
    some.text(),
)


def values(holds: Holds, operator: Operator) -> some.SearchStrategy[Any]:
    """Give values that fit a field and an operator."""
    if operator is Operator.EXISTS:
        return some.none()
    if operator is Operator.IN:
        return some.lists(values(holds, Operator.EQ), min_size=1, max_size=3).map(tuple)
    if operator in (Operator.LIKE, Operator.MATCHES, Operator.CONTAINS, Operator.SIMILAR):
        return some.sampled_from(["a", "scan-[0-9]", "Nickel"]) if operator is Operator.MATCHES else TEXTS
    ordered = operator in (Operator.LT, Operator.LE, Operator.GT, Operator.GE)
    numbers = NUMBERS.filter(lambda number: not (ordered and number != number))
    by_type = {
        Holds.TEXT: TEXTS,
        Holds.KIND: KINDS,
        Holds.STATUS: some.sampled_from(STATUSES),
        Holds.NUMBER: numbers,
        Holds.TIME: TIMES,
        Holds.FLAG: some.booleans(),
        Holds.ID: some.text("0123456789abcdef", min_size=4, max_size=8),
        Holds.RUN: TEXTS,
        Holds.URI: TEXTS,
        Holds.TYPED: some.one_of(TEXTS, numbers, *([] if ordered else [some.booleans()])),
    }
    return by_type[holds]


@some.composite
def conditions(draw: some.DrawFn, fields: some.SearchStrategy[Field] | None = None) -> Condition:
    """Give a condition on any field."""
    field = draw(fields if fields is not None else FIELD)
    operator = draw(some.sampled_from(ALLOWED[field.holds]))
    least = draw(some.none() | some.floats(0, 1)) if operator is Operator.SIMILAR else None
    return Condition(field, operator, draw(values(field.holds, operator)), least)


FIELD = some.one_of(
    some.sampled_from([Field(name) for name in FIELDS] + [Field("value")]),
    some.builds(Field, some.sampled_from(["tag", "param", "value"]), KEYS),
    some.builds(Field, some.sampled_from(["start", "stop", "config"]), KEYS),
    some.builds(Field, some.just("nexus"), KEYS.map(lambda key: f"/{key}")),
    some.builds(Field, some.just("data"), KEYS, some.none() | some.sampled_from(FUNCTIONS), some.none() | KEYS),
    some.builds(Field, some.just("run"), some.sampled_from(list(RUN_FIELDS))),
)


def queries(leaves: some.SearchStrategy[Condition] | None = None) -> some.SearchStrategy[Query]:
    """Give trees of conditions."""

    def joined(parts: some.SearchStrategy[Query]) -> some.SearchStrategy[Query]:
        several = some.lists(parts, min_size=2, max_size=3).map(tuple)
        return some.one_of(some.builds(And, several), some.builds(Or, several), some.builds(Not, parts))

    return some.recursive(leaves if leaves is not None else conditions(), joined, max_leaves=6)
