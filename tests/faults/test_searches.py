"""Random searches: object, text and a plain reading in Python find the same, and nothing of them stands in the SQL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import braid_hpc as braid
from braid_hpc.queries import Query
from braid_hpc.store.compiling import Compiler
from braid_hpc.store.store import Store
from tests.faults.campaign import many
from tests.queries.made import conditions, queries
from tests.store.oracle import holds, rows_of
from tests.store.searched import likely, searched

Asked = tuple[Store, dict[str, Any]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An open store, and its rows as the public views have them."""
    with braid.open(searched(tmp_path_factory.mktemp("searches"))) as store:
        yield store, rows_of(store)


def found(store: Store, query: Query | str) -> list[str]:
    return sorted(store.find(query)["ref"])


SMALL = settings(max_examples=many(5_000, 25), suppress_health_check=[HealthCheck.too_slow], deadline=None)


@SMALL
@given(queries(likely() | conditions()))
def test_object_and_text_find_what_plain_python_does(asked: Asked, query: Query) -> None:
    store, rows = asked
    expected = sorted(ref for ref, row in rows.items() if holds(query, row))
    assert found(store, query) == expected
    assert found(store, str(query)) == expected


@SMALL
@given(queries(conditions()))
def test_nothing_that_was_asked_stands_in_the_statement(asked: Asked, query: Query) -> None:
    """The statement is the same whatever the values are: they are parameters, all of them."""
    store, _ = asked

    def statement(of: Query) -> str:
        compiler = Compiler(store, store.snapshot)
        return compiler.statement(f"select {compiler.condition(of)}")[0]

    text = statement(query)
    for condition in query.conditions():
        given = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        texts = [each for each in (*given, condition.field.key) if isinstance(each, str) and len(each) > 6]
        assert [each for each in texts if each in text and condition.field.name != "run"] == []
    assert text.count("'") % 2 == 0
