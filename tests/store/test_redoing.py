"""What would be made again, and how long that took: by the durations on record, which are the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.vocabulary.errors import NotFoundError
from tests.cli.conftest import Braid, cli
from tests.jobs import rows

__all__ = ["cli"]


@braid.task(version="1", name="redo.first")
def first(n: int) -> dict[str, int]:
    return {"n": n}


@braid.task(version="1", name="redo.second")
def second(n: int, before: Any) -> list[int]:
    return [n]


@braid.task(version="1", name="redo.total")
def total(parts: list[Any]) -> int:
    return len(parts)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a flow, the second one of fewer things: all but the total is taken from the first."""
    from braid_hpc.results import Json, LocalResult

    folder = tmp_path_factory.mktemp("redo")
    place = LocalResult(folder / "results", serializer=Json())
    begun = first.with_options(result=place, target="first-{n}.json")
    gone_on = second.with_options(result=place, target="second-{n}.json")
    for number in range(2):
        with braid.job("flow", log_dir=folder / "logs", store=folder / "prov.duckdb"):
            total([gone_on(n, begun(n)) for n in range(4 - number)])
        braid.compact(folder / "logs", folder / "prov.duckdb")
    return folder / "prov.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[braid.Store]:
    with braid.open(path) as opened:
        yield opened


def seconds(store: braid.Store, condition: str) -> float:
    ((found,),) = rows(store, f"select sum(duration) from tasks where {condition}")
    return float(found)


def test_a_task_costs_its_calls_and_what_came_of_them(store: braid.Store) -> None:
    """Those of the last run that called it, each once, however often it was skipped; of the totals the newest."""
    found = {each.task: each for each in store.redo("redo.first").tasks}
    assert {task: each.calls for task, each in found.items()} == {"redo.first": 3, "redo.second": 3, "redo.total": 1}
    for task in ("first", "second"):
        assert found[f"redo.{task}"].seconds == pytest.approx(
            seconds(store, f"uri like '%{task}-%' and uri not like '%-3.%'")
        )
    newest = "pk = (select max(pk) from tasks where task = 'redo.total')"
    assert found["redo.total"].seconds == pytest.approx(seconds(store, newest))
    assert [(each.task, each.calls) for each in store.redo("redo.total").tasks] == [("redo.total", 1)]
    assert store.redo("redo.first").calls == 7
    assert store.redo("redo.first", at=1).calls == 9


def test_a_thing_costs_what_came_of_it(store: braid.Store) -> None:
    """Of the one that the second run left out there is one total only."""
    for n, totals in ((3, 1), (0, 2)):
        ((ref,),) = rows(
            store, f"select 'id:' || uid from versions join tasks on output_pk = id where uri like '%first-{n}%'"
        )
        found = {each.task: each.calls for each in store.redo(ref).tasks}
        assert found == {"redo.second": 1, "redo.total": totals}


def test_what_is_not_there_costs_nothing_and_says_so(store: braid.Store) -> None:
    with pytest.raises(NotFoundError):
        store.redo("redo.none")


def test_the_command_lists_by_task(cli: Braid, path: Path) -> None:
    answer = cli("tasks", "cost", "redo.first", "--store", path, "--format", "csv")
    assert answer.exit_code == 0, answer.stderr
    lines = answer.stdout.split()
    assert lines[0] == "task,calls,seconds"
    assert {line.rpartition(",")[0] for line in lines[1:]} == {"redo.first,3", "redo.second,3", "redo.total,1"}
    assert cli("tasks", "cost", "redo.none", "--store", path).exit_code == 3
