"""Values on their way into the tables."""

from __future__ import annotations

import json
import math
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.compaction.rows import as_json, typed


@pytest.mark.parametrize(
    ("value", "row"),
    [
        (True, ("bool", "true", None, None, True)),
        (False, ("bool", "false", None, None, False)),
        (7, ("int", "7", "7", 7.0, None)),
        (2**100, ("int", str(2**100), str(2**100), float(2**100), None)),
        (2**200, ("int", str(2**200), None, float(2**200), None)),
        (10**400, ("int", str(10**400), None, None, None)),
        (71.7, ("float", "71.7", None, 71.7, None)),
        (math.inf, ("float", "inf", None, math.inf, None)),
        ("text", ("str", "text", None, None, None)),
        ([1, "a"], ("json", '[1, "a"]', None, None, None)),
        (None, ("json", "null", None, None, None)),
    ],
)
def test_tags_have_types(value: Any, row: tuple[Any, ...]) -> None:
    """The type is kept beside the text, a number of any size as exactly as a column can."""
    assert typed(value) == row


def test_nan_is_a_float() -> None:
    kind, text, integer, real, _ = typed(math.nan)
    assert (kind, text, integer) == ("float", "nan", None)
    assert real is not None
    assert math.isnan(real)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@given(VALUES)
def test_json_is_json_that_duckdb_reads(value: Any) -> None:
    """Whatever a program gave as a value, numbers that JSON lacks and text that UTF-8 lacks among it."""
    text = as_json({"value": value})
    assert text is not None
    json.loads(text)
    with duckdb.connect() as connection:
        connection.execute("select ?::varchar ->> '$.value'", [text]).fetchall()


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_lacks_are_not_the_texts_of_that_name(value: float, text: str) -> None:
    stored = as_json({"number": value, "text": str(value)})
    assert stored == f'{{"number": {text}, "text": "{value}"}}'
    assert repr(json.loads(stored)["number"]) == repr(value)
    with duckdb.connect() as connection:
        query = "select json_type($1, '/number'), json_type($1, '/text'), ($1 ->> '/number')::double"
        kinds = connection.execute(query, [stored]).fetchone()
    assert kinds is not None
    assert (kinds[:2], repr(kinds[2])) == (("DOUBLE", "VARCHAR"), repr(value))
