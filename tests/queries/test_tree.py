"""Searches as objects: frozen, hashable, joined with &, | and ~, and never of what cannot be asked."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from braid_hpc.queries import And, Condition, Not, Or, parse_query
from braid_hpc.queries.fields import Field
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.tree import DEEPEST
from braid_hpc.vocabulary.errors import InvalidInputError

ONE = parse_query("a = 1")
TWO = parse_query("b = 2")


def condition(value: Any, operator: Operator = Operator.EQ, field: str = "k") -> Condition:
    return Condition(Field("tag", field), operator, value)


def test_they_are_joined_with_signs() -> None:
    assert str((ONE & TWO) | ~ONE) == "a = 1 and b = 2 or not a = 1"
    assert str(ONE & (TWO | ~(ONE & TWO))) == "a = 1 and (b = 2 or not (a = 1 and b = 2))"
    assert (ONE & TWO & ONE).parts == (ONE & (TWO & ONE)).parts == (ONE, TWO, ONE)


def test_truth_and_other_things_are_not_joined() -> None:
    """`a and b` of Python would quietly be b."""
    with pytest.raises(InvalidInputError, match="join searches with &"):
        _ = ONE and TWO
    with pytest.raises(TypeError):
        _ = ONE & "b = 2"  # type: ignore[operator]
    for wrong in ((ONE,), (ONE, "x"), 3):
        with pytest.raises(InvalidInputError):
            And(wrong)  # type: ignore[arg-type]


def test_values_of_different_types_are_different_searches() -> None:
    """Where Python would say that they are equal."""
    assert len({condition(1), condition(1.0), condition(True), condition("1")}) == 4
    assert condition(math.nan) == condition(math.nan)
    assert condition(1) != "k = 1"


def test_they_are_frozen_and_can_be_kept() -> None:
    for query, name in ((ONE, "value"), (~ONE, "part"), (ONE & TWO, "_parts"), (ONE | TWO, "_parts")):
        with pytest.raises(AttributeError):
            setattr(query, name, TWO)
        assert pickle.loads(pickle.dumps(query)) == query
        assert {query: 1}[parse_query(str(query))] == 1


def test_what_is_nested_too_deep_is_refused_when_it_is_made() -> None:
    query: Any = ONE
    for _ in range(DEEPEST):
        query = ~query
    assert parse_query(str(query)) == query
    with pytest.raises(InvalidInputError, match="nested more than 100"):
        _ = ~query
    with pytest.raises(InvalidInputError, match="nested more than 100"):
        Or((query, ONE))
    with pytest.raises(InvalidInputError, match="only searches"):
        Not("a = 1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        (Field("nmae"), Operator.EQ, "x"),
        (Field("run", "x"), Operator.EQ, "x"),
        (Field("kind", "x"), Operator.EQ, "x"),
        (Field("tag"), Operator.EQ, "x"),
        (Field("tag", 3), Operator.EQ, "x"),  # type: ignore[arg-type]
        (Field("name"), Operator.EQ, 3),
        (Field("rank"), Operator.EQ, "3"),
        (Field("rank"), Operator.EQ, True),
        (Field("kind"), Operator.EQ, "Bad"),
        (Field("valid"), Operator.EQ, 1),
        (Field("time"), Operator.EQ, 1.5),
        (Field("uid"), Operator.EQ, "0f"),
        (Field("tag", "k"), Operator.EQ, None),
        (Field("tag", "k"), Operator.EQ, [1]),
        (Field("tag", "k"), Operator.IN, ()),
        (Field("tag", "k"), Operator.IN, "ab"),
        (Field("tag", "k"), Operator.LIKE, 3),
        (Field("tag", "k"), Operator.GT, True),
        (Field("tag", "k"), Operator.EQ, 10**4000),
        (Field("tag", "k"), Operator.EQ, "x" * 65_537),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(field: Field, operator: Operator, value: Any) -> None:
    with pytest.raises(InvalidInputError) as raised:
        Condition(field, operator, value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
