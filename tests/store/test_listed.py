"""Answers that are lists, and the tables that other libraries make of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import braid_hpc as braid
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.times import nanoseconds
from tests.jobs import made, one


@pytest.fixture
def store(tmp_path: Path) -> braid.Store:
    """A model that was tested in two versions, and has an action."""
    with one(tmp_path / "logs") as job:
        net = None
        for step, passed in enumerate((True, False)):
            net = job[0].model("net", digest=f"m:{step}", derived_from=net)
            job[0].statement("rmse", about=net, passed=passed, value={"px": [step, 0.5]})
        job[0].on_invalid(net, ["echo", "{id}"])
    return made(tmp_path / "logs", tmp_path / "prov.duckdb")


def test_tests_are_a_list_and_a_table(store: braid.Store) -> None:
    with store:
        found = store.tests("net", all_versions=True)
        assert found == list(found) == [found[0], found[1]] == found[:] != []
        assert (len(found), found[-1] in found, found == found[:1], found == 3) == (2, True, False, False)
        table = pa.table(found)
        assert table.column("passed").to_pylist() == [each.passed for each in found] == [True, False]
        assert table.column("value").to_pylist() == ['{"px": [0, 0.5]}', '{"px": [1, 0.5]}']
        assert [nanoseconds(each) for each in table.column("time").to_pylist()] == [
            nanoseconds(each.time) for each in found
        ]
        assert found.table().to_pylist() == Table(table).to_pylist()
        assert found._repr_html_().startswith("<table>")


def test_what_changed_names_its_statements(store: braid.Store) -> None:
    with store:
        (row,) = pa.table(store.newly_failing("net@2", against="net@1")).to_pylist()
        assert row == {
            "name": "rmse",
            "before": "passed",
            "now": "failed",
            "newly_failing": True,
            "statements": ["statement:rmse@2"],
        }


def test_actions_are_a_table(store: braid.Store) -> None:
    with store:
        (row,) = pa.table(store.actions()).to_pylist()
        assert (row["state"], row["ref"], row["command"]) == ("idle", "model:net@2", ["echo", "{id}"])


def test_an_empty_list_has_the_same_columns_and_types(store: braid.Store) -> None:
    """So that what is made of the tables of many records fits together."""
    with store:
        for none, some in (
            (store.tests("rmse"), store.tests("net")),
            (store.compare_tests("rmse", against="rmse"), store.compare_tests("net@2", against="net@1")),
            (type(store.actions())(), store.actions()),
        ):
            assert len(none) == 0 < len(some)
            assert pa.table(none).schema == pa.table(some).schema
