"""Searches as text: what each text means, and what is said of a text that means nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given

from braid_hpc.queries import And, Condition, Not, Or, Query, parse_query
from braid_hpc.queries.fields import Field
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.tree import DEEPEST
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.queries.made import queries


@given(queries())
def test_what_is_written_is_read_back(query: Query) -> None:
    """From object to text to the same object: its parts too, and the types of its values."""
    again = parse_query(str(query))
    assert again == query
    assert hash(again) == hash(query)
    assert repr(again) == repr(query)


def tag(key: str, operator: str, value: Any = None) -> Condition:
    return Condition(Field("tag", key), Operator(operator), value)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("energy_keV=71.7", tag("energy_keV", "=", 71.7)),
        ('energy_keV="71.7"', tag("energy_keV", "=", "71.7")),
        ("n = -3", tag("n", "=", -3)),
        ("n>+3", tag("n", ">", 3)),
        ("n=1e3", tag("n", "=", 1000.0)),
        ("n=-inf", tag("n", "=", -math.inf)),
        ("n=1_000", tag("n", "=", "1_000")),
        ("moving=true", tag("moving", "=", True)),
        ("moving=True", tag("moving", "=", "True")),
        ('"a=b"=3', tag("a=b", "=", 3)),
        ('tag."a=b"=3', tag("a=b", "=", 3)),
        ('"kind"=x', tag("kind", "=", "x")),
        ("tag.kind = x", tag("kind", "=", "x")),
        (r'"q\"=\\"=x', tag('q"=\\', "=", "x")),
        ("site.ring.mA <= 102", tag("site.ring.mA", "<=", 102)),
        ("x contains 71", tag("x", "contains", "71")),
        ("x IN (a, 1, 1.0, true)", tag("x", "in", ("a", 1, 1.0, True))),
        ("x not in (a)", Not(tag("x", "in", ("a",)))),
        ("x exists", tag("x", "exists")),
        ("x not exists", Not(tag("x", "exists"))),
        ("x similar y at 0.5", Condition(Field("tag", "x"), Operator.SIMILAR, "y", 0.5)),
        ("name = 2026", Condition(Field("name"), Operator.EQ, "2026")),
        ("time >= 20261121", Condition(Field("time"), Operator.GE, "20261121")),
        ("time >= 1795257000500000000", Condition(Field("time"), Operator.GE, 1795257000500000000)),
        ("run.status != ok", Condition(Field("run", "status"), Operator.NE, "ok")),
        ("valid", Condition(Field("valid"), Operator.EQ, True)),
        ("invalid", Condition(Field("valid"), Operator.EQ, False)),
        ("invalid = 3", tag("invalid", "=", 3)),
        ("not valid", Not(Condition(Field("valid"), Operator.EQ, True))),
        ("a=1 and b=2 and c=3", And((tag("a", "=", 1), tag("b", "=", 2), tag("c", "=", 3)))),
        ("a=1 & (b=2 & c=3)", And((tag("a", "=", 1), tag("b", "=", 2), tag("c", "=", 3)))),
        ("a=1 or b=2 and not c=3", Or((tag("a", "=", 1), And((tag("b", "=", 2), Not(tag("c", "=", 3))))))),
        ("(a=1 OR b=2)\nAND\tc=3", And((Or((tag("a", "=", 1), tag("b", "=", 2))), tag("c", "=", 3)))),
    ],
)
def test_a_search_has_one_meaning(text: str, meaning: Query) -> None:
    assert repr(parse_query(text)) == repr(meaning)


@pytest.mark.parametrize(
    ("text", "says", "below"),
    [
        ("kind = model and", "a condition was expected here", 16),
        ("kind == x", "== is written = here", 5),
        ("knid model", "near it is kind", 5),
        ("a = two words", "a text with spaces stands in double quotes", 8),
        ("(a=1", "this parenthesis is not closed", 0),
        ("a=1)", "this parenthesis was never opened", 3),
        ("x in 3", r"a list in parentheses after 'in', such as \(a, b\), was expected here, and not 3", 5),
        ("x in (1", "this parenthesis is not closed", 5),
        ("x in (1 2)", r"',' or '\)' was expected .*: a text with spaces", 8),
        ("kind = Bad", "cannot be a kind", 7),
        ("run.satus = ok", "near it is status", 0),
        ("status = done", "there are ok, failed", 9),
        ("rank = x", "rank is a number", 7),
        ("rank ~ 3", "rank is not compared with ~", 5),
        ("time > yesterday", "is not a time", 7),
        ("valid > true", "its ways are =, !=", 6),
        ("moving > true", "true and false have no order", 9),
        ("n < nan", "nothing is more or less than nan", 4),
        ("uid = xyz", "is no id", 6),
        ('x = "a', "quotes that begin here are not closed", 4),
        ("x similar y at 7", "a number from 0 to 1", 15),
        ("Kind = x", "small letters: kind, or tag.Kind", 0),
        ("x is 3", "'is' is written = here", 2),
        ("x is null", "is null is written not exists here", 2),
        ("x IS NOT NULL", "is not null is written exists here", 2),
        ("x like y", "'like' is written ~ here", 2),
        ("x not like y", "like is written ~ here, with not before it all: not x ~", 6),
        ("x = 1 && y = 2", "^&& is written and here", 6),
        ("x = 1 || y = 2", r"^\|\| is written or here", 6),
        ("x && y", "expected after x, .* and not &&", 2),
        ("x <> 3", "<> is written != here", 2),
        ("x not 3", "after 'not' was expected here", 6),
        ("tag. = 3", "a key was expected", 5),
        ("", "the search is empty", 0),
        ("  ", "the search is empty", 2),
        (f"n = {'9' * 5000}", "5000 digits is too long", 4),
    ],
)
def test_a_mistake_is_explained_and_pointed_at(text: str, says: str, below: int) -> None:
    """One sentence; the caret in the last note stands below the place."""
    with pytest.raises(InvalidInputError, match=says) as raised:
        parse_query(text)
    assert "\n" not in str(raised.value)
    assert ("with spaces" in str(raised.value)) == ("with spaces" in says)
    _, caret = raised.value.__notes__
    assert caret == " " * below + "^"


@pytest.mark.parametrize(
    ("text", "line", "caret"),
    [
        ("🧵🧵 = 1 and rank = x", "🧵🧵 = 1 and rank = x", " " * 20 + "^"),
        ("e\u0301 = 1 and rank = x", "e\u0301 = 1 and rank = x", " " * 17 + "^"),
        ("日本 = 1 and rank = x", "日本 = 1 and rank = x", " " * 20 + "^"),
        ("a = 1\nand\trank = x", "line 2: and rank = x", " " * 19 + "^"),
        (f"{'a' * 90} = 1 and rank = x", f"…{'a' * 34} = 1 and rank = x", " " * 51 + "^"),
    ],
)
def test_the_caret_stands_below_wide_letters_and_in_the_right_line(text: str, line: str, caret: str) -> None:
    """Wide letters take two cells, such as are put on others take none; a long line is shown around the place."""
    with pytest.raises(InvalidInputError) as raised:
        parse_query(text)
    assert raised.value.__notes__ == [line, caret]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "a=1" + ")" * 10_000,
        "not " * 10_000 + "a=1",
        "(" * 30_000,
        "a=1 and " * 10_000 + "a=1",
        "x" * 65_537,
    ],
)
def test_what_is_too_deep_or_too_long_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"nested more than 100 levels|is too long: 65,536 at most") as raised:
        parse_query(text)
    assert len(str(raised.value)) < 100


def test_what_is_as_deep_and_as_long_as_allowed_is_read() -> None:
    assert parse_query("(" * DEEPEST + "a=1" + ")" * DEEPEST) == parse_query("a=1")
    assert len(parse_query("a=1 and " * 8_000 + "a=1").parts) == 8_001
    assert parse_query(f"a={'x' * 65_000}").depth == 0


@pytest.mark.parametrize("wrong", [None, 3, b"a=1", ["a=1"]])
def test_what_is_no_text_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="is no search"):
        parse_query(wrong)


@pytest.mark.parametrize("key", ["Time", "KIND", "Valid", "time", "Tag.x", "Value", "AND", "Run.job"])
def test_a_tag_that_is_called_like_a_word_of_the_language_is_read_back(key: str) -> None:
    assert repr(parse_query(str(tag(key, ">", 3)))) == repr(tag(key, ">", 3))


def test_functions_and_streams_of_data() -> None:
    """A key or a stream that is no word, or has an @ in it, stands in quotes."""
    for text in (
        "data.motor > 3",
        "all(data.motor@primary) <= 5",
        'max(data."a@b"@"base line") = 1',
        'data.""@"" exists',
        "sum(data.x) in (1, 2.5)",
        "/entry/sample/name similar Nickel",
        'nexus."/a b" exists',
        "tag./entry = 1",
        "all = 3 and max exists",
    ):
        assert str(parse_query(text)) == text
    assert str(parse_query("MAX ( data.x ) > 1")) == "max(data.x) > 1"


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("max(motor) > 3", "a data key was expected after max(", 4),
        ("max(data.x > 3", "')' was expected here", 11),
        ("max(data.x", "this parenthesis is not closed", 3),
        ("data. > 3", "a key was expected after data.", 6),
        ("data.@primary > 3", "a key was expected after data.", 0),
        ("data.x@ > 3", "the name of a stream was expected after @", 8),
        ("sum(data.x) = a", "sum(data.x) is a number", 14),
        ("sum(data.x) ~ a", "is not compared with ~", 12),
    ],
)
def test_mistakes_in_functions_have_their_place(text: str, message: str, at: int) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_query(text)
    assert message in str(refused.value)
    assert refused.value.__notes__[1].index("^") == at
