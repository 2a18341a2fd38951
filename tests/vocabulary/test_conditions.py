"""Conditions: one text has one meaning, in Python for a row and in SQL for all of them."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from braid_hpc.vocabulary.conditions import Condition
from braid_hpc.vocabulary.errors import InvalidInputError

TYPES = {"i": "int64", "j": "int64", "x": "float64", "t": "text", "b": "bool", "c.n": "int32"}
SQL_TYPES = {"i": "bigint", "j": "bigint", "x": "double", "t": "varchar", "b": "boolean", "c.n": "integer"}

INTEGERS = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(1 << 63), (1 << 63) - 1))
FLOATS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.5, -2.0, math.nan, math.inf, -math.inf, 1e300]))
TEXTS = st.one_of(st.none(), st.text(alphabet="ab'ä ", max_size=4))
ROWS = st.fixed_dictionaries(
    {"i": INTEGERS, "j": INTEGERS, "x": FLOATS, "t": TEXTS, "b": st.one_of(st.none(), st.booleans())}
    | {"c.n": st.one_of(st.none(), st.integers(-5, 5))}
)


def combined(words: Any) -> Any:
    """Give conditions made of others."""
    pairs = st.tuples(words, st.sampled_from(["and", "or"]), words).map(" ".join).map("({})".format)
    return st.one_of(pairs, words.map("(not {})".format))


NUMBERS = st.recursive(
    st.sampled_from(["i", "j", "c.n", "2", "-3", "0", "abs(i)", "-j", "len(t)"]),
    lambda inner: st.tuples(inner, st.sampled_from("+-*%") | st.just("//"), inner).map(" ".join).map("({})".format),
    max_leaves=4,
)
SIMPLE = st.one_of(
    st.tuples(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS).map(" ".join),
    st.tuples(NUMBERS, st.sampled_from(["< x <", "<= x !="]), NUMBERS).map(" ".join),
    st.tuples(NUMBERS, st.sampled_from(["in (1, 2, j)", "not in (0, i)", "in (x, 1)"])).map(" ".join),
    st.sampled_from(["t == 'a'", "t < 'ä'", "t.startswith('a')", 't.endswith("\'")', "t in ('a', 'b')", "t is None"]),
    st.sampled_from(["b", "b == True", "x == x", "x != 1.5", "x is not None", "i is None", "t not in ('a',)"]),
).map("({})".format)


@pytest.fixture(scope="module")
def connection() -> Any:
    with duckdb.connect() as found:
        yield found


def understood(text: str, types: dict[str, str]) -> Condition:
    """Return a condition; examples that are too involved to be one are left out."""
    try:
        return Condition(text, types)
    except InvalidInputError as error:
        assume("too involved" not in str(error))
        raise


@settings(max_examples=150, deadline=None)
@given(text=st.recursive(SIMPLE, combined, max_leaves=4), row=ROWS)
def test_python_and_sql_agree(connection: Any, text: str, row: dict[str, Any]) -> None:
    """Whatever the condition and the values: true, false, and not known; but where 128 bits do not hold a number."""
    condition = understood(text, TYPES)
    names = {name: f"v{at}" for at, name in enumerate(row)}
    columns = ", ".join(f"${names[name]}::{SQL_TYPES[name]} as {names[name]}" for name in row)
    bound = {names[name]: value for name, value in row.items()}
    sql = condition.sql(names.__getitem__)
    ((found,),) = connection.execute(f"select try({sql}) from (select {columns})", bound).fetchall()
    assert found is condition.holds(row.get) or (found is None and large(text, row)), sql


EXTREMES: dict[str, tuple[str, list[Any]]] = {
    **{
        f"{sign}int{bits}": (name, [low, low + 1, 0, 1, high - 1, high])
        for bits, names in {8: "tinyint", 16: "smallint", 32: "integer", 64: "bigint"}.items()
        for sign, name, low, high in (
            ("", names, -(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            ("u", f"u{names}", 0, (1 << bits) - 1),
        )
    },
    "float32": ("float", [0.0, -1.5, math.nan, math.inf, -math.inf, 1.0]),
    "float64": ("double", [-0.0, 7.5, -math.inf, math.nan, 1e300, math.inf]),
    "timestamp": ("timestamp_ns", [-(1 << 63) + 2, -1, 0, 1, 10**18, (1 << 63) - 2]),
}


@pytest.fixture(scope="module")
def extremes(connection: Any) -> list[dict[str, Any]]:
    """A table with the least, the largest, and what is near them of each type; in the last row nothing is known."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in EXTREMES.items())
    connection.execute(f"create or replace table extremes ({columns})")
    values = [{name: each[at] for name, (_, each) in EXTREMES.items()} for at in range(6)]
    for row in [*values, dict.fromkeys(EXTREMES)]:
        marks = ", ".join("make_timestamp_ns(?::bigint)" if name == "timestamp" else "?" for name in row)
        connection.execute(f"insert into extremes values ({marks})", list(row.values()))
    return [*values, dict.fromkeys(EXTREMES)]


EXTREME_NUMBERS = st.recursive(
    st.sampled_from(
        [*EXTREMES, "9223372036854775807", "-9223372036854775808", "18446744073709551615", "2", "0", "0.5"]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%") | st.just("//"), inner).map(" ".join).map("({})".format),
        inner.map("abs({})".format),
        inner.map("(-{})".format),
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(
    one=EXTREME_NUMBERS, other=EXTREME_NUMBERS, sign=st.sampled_from(["<", "<=", "==", "!="]), form=st.integers(0, 2)
)
def test_no_value_of_any_type_ends_the_query(
    connection: Any, extremes: list[dict[str, Any]], one: str, other: str, sign: str, form: int
) -> None:
    """Of a check that does, no log of its table could be merged; a `try` around it does not help where DuckDB
    takes what stands in it twice out of it. Of what needs more than 128 bits nothing is known."""
    text = (f"{one} {sign} {other}", f"{one} in ({other}, {one})", f"not ({one} {sign} {other} {sign} {one})")[form]
    condition = understood(text, {name: name for name in EXTREMES})
    found = connection.execute(f"select {condition.sql(str)} from extremes").fetchall()
    if any(name in text for name in ("float", "/", ".")):
        # Python compares an integer with a float to the last digit, SQL as two floats.
        return
    for (said,), row in zip(found, extremes, strict=True):
        assert said is None or said is condition.holds(row.get), condition.sql(str)


def large(text: str, row: dict[str, Any]) -> bool:
    """Whether a product of numbers may be beyond 128 bits."""
    return "*" in text and any(isinstance(row[name], int) and abs(row[name]) > 1 << 40 for name in "ij")


def test_floats_are_calculated_as_in_python(connection: Any) -> None:
    """A float makes the whole of it a float, and by zero nothing is divided."""
    for text, row in (
        ("x / 2 == 0.75", {"x": 1.5}),
        ("i / 2 == 1.5", {"i": 3}),
        ("i / j == 1.0", {"i": 3, "j": 0}),
        ("-7 // 2 == -4 and -7 % 2 == 1 and 7 % -2 == -1", {}),
        ("x // 1 == -2.0", {"x": -1.5}),
    ):
        condition = Condition(text, TYPES)
        expected = None if "j" in row else True
        assert condition.holds({"x": None, "i": None, "j": None, **row}.get) is expected
        sql = condition.sql(lambda name, row=row: repr(row[name]))  # type: ignore[misc]
        assert connection.execute(f"select {sql}").fetchall() == [(expected,)], text


@pytest.mark.parametrize(
    "text",
    [
        *("", "i <", "i + 1", "t", "k > 1", "c.m > 1", "i == 't'", "b > 1", "t + t == t", "i is j", "i in 3"),
        *("__import__('os')", "i.real > 1", "len(i) > 1", "[x for x in i]", "t.upper() == 'A'", "i if b else j"),
        *("i > " + "1" * 40, "(" * 300 + "i" + ")" * 300, "abs(i, j) > 0", "lambda: b", "t.startswith(1)"),
        *("i and j", "t == '\ud800'", "not " * 60 + "b", "i" + " + 1" * 60 + " > 0", "1" + " % i" * 6 + " > 0"),
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    """In one sentence that quotes it, when it is declared."""
    with pytest.raises(InvalidInputError, match="condition") as caught:
        Condition(text, TYPES)
    assert "\n" not in str(caught.value)


def test_the_most_involved_ones_are_understood(connection: Any) -> None:
    """By Python and by DuckDB: none that was taken ends a merge later."""
    for text in (
        "not " * 48 + "b",
        "i" + " + 1" * 47 + " > x",
        "-" * 47 + "i < 0",
        "1" + " % i" * 2 + " // j > 0",
        f"i in ({', '.join(map(str, range(28)))})",
        " and ".join(["i < x"] * 180),
    ):
        row = {"i": 5, "j": 2, "x": 3.0, "b": True}
        condition = Condition(text, TYPES)
        select = f"select {condition.sql(str)} from (select 5::bigint i, 2::bigint j, 3.0::double x, true b)"
        assert connection.execute(select).fetchall() == [(condition.holds(row.get),)], text


def test_what_no_float_holds_is_not_known() -> None:
    assert Condition("*".join("i" * 40) + " * x > 0", TYPES).holds({"i": 1 << 62, "x": 1.0}.get) is None
