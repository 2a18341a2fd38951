"""Searches as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from braid_hpc.queries import Query, from_json, parse_query, to_json
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.queries.made import queries


@given(queries())
def test_what_is_written_is_read_back(query: Query) -> None:
    text = to_json(query)
    assert repr(from_json(text)) == repr(query)
    json.loads(text, parse_constant=pytest.fail)


def test_it_is_as_the_page_says() -> None:
    query = parse_query(
        "energy_keV > 70 and not (rank = 3 or x similar y at 0.5 or n = -inf or k in (1, a) or z exists)"
    )
    tag = {"field": "tag", "operator": "="}
    assert json.loads(to_json(query)) == {
        "and": [
            {**tag, "key": "energy_keV", "operator": ">", "value": 70},
            {
                "not": {
                    "or": [
                        {"field": "rank", "operator": "=", "value": 3},
                        {**tag, "key": "x", "operator": "similar", "value": "y", "at": 0.5},
                        {**tag, "key": "n", "value": {"float": "-inf"}},
                        {**tag, "key": "k", "operator": "in", "value": [1, "a"]},
                        {**tag, "key": "z", "operator": "exists"},
                    ]
                }
            },
        ]
    }


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "{",
        "3",
        "[]",
        "{}",
        '{"and": []}',
        '{"and": 3}',
        '{"not": []}',
        '{"field": "kind"}',
        '{"field": "kind", "operator": "=="}',
        '{"field": 3, "operator": "=", "value": 3}',
        '{"field": "tag", "key": 3, "operator": "=", "value": 3}',
        '{"field": "kind", "operator": "=", "value": "data", "sql": "drop"}',
        '{"field": "tag", "key": "k", "operator": "=", "value": {"float": "3"}}',
        '{"field": "tag", "key": "k", "operator": "=", "value": null}',
        '{"field": "tag", "key": "k", "operator": ["="], "value": 1}',
        '{"field": "tag", "key": "k", "operator": "similar", "value": "a", "at": "x"}',
        '{"not": ' * 5_000 + "1" + "}" * 5_000,
        "[" * 300_000,
        " " * 500_000,
        b"\xff",
    ],
)
def test_what_is_no_search_is_refused_in_one_sentence(wrong: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        from_json(wrong)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('{"field": "version", "operator": "=", "value": ' + "9" * 5_000 + "}", "a number of more than 4000 digits"),
        ('{"field": "tag", "operator": "=", "value": 1}', "^tag has keys: name one"),
        ('{"field": ["a"], "operator": "="}', "is no field: that is a text"),
    ],
)
def test_a_mistake_is_named(wrong: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        from_json(wrong)
