"""Random searches: object, text and a plain reading in Python find the same, and nothing of them stands in the SQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings

import braid_hpc as braid
from braid_hpc.queries import Query
from braid_hpc.store.compiling import Compiler
from braid_hpc.store.store import Store
from tests.faults.campaign import many, seeds, trial
from tests.queries.made import conditions, queries
from tests.snapshots.test_macros import compare, record
from tests.store.oracle import holds, rows_of
from tests.store.searched import likely, searched

pytestmark = pytest.mark.timeout(40_000)


class Asked(NamedTuple):
    """An open store and its rows."""

    store: Store
    rows: dict[str, Any]

    def __repr__(self) -> str:
        """Be short: hypothesis shows it with each example."""
        return "Asked(...)"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An open store, and its rows as the public views have them."""
    with braid.open(searched(tmp_path_factory.mktemp("searches"))) as store:
        yield Asked(store, rows_of(store))


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
        texts = {each for each in (*given, condition.field.key) if isinstance(each, str) and len(each) > 6}
        # A word of the language such as activity, or a column of runs, may stand there all the same.
        assert [each for each in texts if each in text and not re.fullmatch("[a-z_]+", each)] == []
    assert text.count("'") % 2 == 0


def test_macros_are_what_random_stores_answer(tmp_path: Path) -> None:
    """For every node by its reference, its name and its id, at every snapshot."""
    for seed in seeds(100, 1):
        with trial(seed) as dice:
            path = record(tmp_path / str(seed), dice)
            few = 4 if many(100, 1) == 1 else 10_000
            assert sum(compare(path, at, dice, few) for at in (None, 1, 2)) >= 24
