"""Plans: every cell of a grid against what is done, and only what is left."""

from __future__ import annotations

import itertools
import json
import math
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.campaigns import Campaign
from braid_hpc.campaigns.grid import Grid, as_grid
from braid_hpc.campaigns.plan import Plan, make_plan
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.done_index import write_entries
from braid_hpc.store.store import Store
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.task_payloads import Done
from tests.jobs import one
from tests.tasks.functions import anything

RAN: list[tuple[str, int]] = []


@braid.task(version="1")
def fit(ensemble: str, number: int, factor: float = 1.0) -> float:
    if number == 7:
        raise ValueError("seven")
    RAN.append((ensemble, number))
    return number * factor


GRID = {"ensemble": ["a", "b"], "number": range(50)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store in which some of the cells are done, two failed, and one is not to be relied on."""
    folder = tmp_path_factory.mktemp("plan")
    with one(folder / "logs"):
        pass
    with braid.job("fits", log_dir=folder / "logs"):
        for ensemble, number in itertools.product("ab", range(30)):
            if number == 7:
                with pytest.raises(ValueError, match="seven"):
                    fit(ensemble, number)
            elif ensemble == "a" or number % 2:
                fit(ensemble, number)
    compact(folder / "logs", folder / "prov.duckdb")
    return folder / "prov.duckdb"


@pytest.mark.parametrize("unit", ["ns", "us", "Y"])
def test_a_call_of_a_plan_has_the_key_it_was_planned_with(path: Path, unit: str) -> None:
    """Of times too, which a list makes numbers of."""
    plan = make_plan(anything, {"x": np.array([5, 7], f"M8[{unit}]")}, path)
    called = [anything.key_of(**call.keywords) for call in plan.calls()]  # type: ignore[attr-defined]
    assert called == [each.tobytes() for each in plan._keys(np.arange(2))]


def test_only_what_is_left_is_planned(path: Path) -> None:
    """As Arrow, as calls, and for ranks: each cell once."""
    done = set(RAN)
    plan = make_plan(fit, GRID, path)
    left = [cell for cell in itertools.product("ab", range(50)) if cell not in done]
    found = plan.missing()
    assert list(zip(found["ensemble"], found["number"], strict=True)) == left
    assert plan.counts()["done"] == len(done)
    assert plan.counts()["failed"] == 2
    assert [(row["ensemble"], row["number"]) for row in plan.cells("failed")] == [("a", 7), ("b", 7)]
    assert sum(plan.counts().values()) == len(plan) == 100
    assert [(call.keywords["ensemble"], call.keywords["number"]) for call in plan.calls()] == left  # type: ignore[attr-defined]
    shares = [plan.share(rank, 3).to_pylist() for rank in range(3)]
    assert sorted((row["ensemble"], row["number"]) for share in shares for row in share) == sorted(left)
    assert all(shares)


def test_what_is_invalid_is_left_again(path: Path, tmp_path: Path) -> None:
    """And the cells of a plan are those of any table of them."""
    with Store(path) as store:
        (number,) = store.sql("select min(version) as n from activities where params like '%\"a\"%' and status = 'ok'")[
            "n"
        ]
        before = Campaign(store).plan(fit, GRID).counts()
        name = store.sql("select name from activities limit 1")["name"][0]
        store.invalidate(f"activity:{name}@{number}", cause="wrong")
        plan = Campaign(store).plan(fit, GRID)
        assert plan.counts()["invalid"] == 1
        assert plan.counts()["done"] == before["done"] - 1
        again = Campaign(store).plan(fit, plan.cells("invalid", "failed").to_arrow().drop_columns(["state"]))
        assert len(again.missing()) == len(again) == 3


def test_an_array_job_has_every_cell_once(path: Path, tmp_path: Path) -> None:
    """In files of JSON lines, and a specification that a job script can be made of."""
    plan = make_plan(fit, GRID, path)
    given = plan.array_job(
        "python fit.py {cells}", into=tmp_path / "cells", scheduler="slurm", per_task=10, time="1 h", name="fit"
    )
    files = sorted((tmp_path / "cells").iterdir(), key=lambda file: int(file.stem.partition("-")[2]))
    cells = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert cells == [{"ensemble": row["ensemble"], "number": row["number"]} for row in plan.missing()]
    assert given["array"] == f"0-{len(files) - 1}"
    shown = braid.batch.submit(given, dry_run=True)
    assert f"python fit.py {tmp_path}/cells/cells-" in shown.scripts["job"]
    for command, most in (("python fit.py", 10), ("python fit.py {cells}", 0)):
        with pytest.raises(InvalidInputError, match="there is no array job to make"):
            plan.array_job(command, into=tmp_path, scheduler="slurm", per_task=most)


@braid.task(version="1")
def reads(file: Path, limit: float) -> None: ...


@pytest.mark.parametrize(
    "values",
    [[(1, 2)], [b"a"], [datetime(2020, 1, 1, tzinfo=UTC)], np.array([5], "M8[us]"), np.array([5], "M8[ns]"), [{1: 2}]],
)
def test_an_array_job_of_what_is_not_json_is_refused(path: Path, tmp_path: Path, values: Any) -> None:
    """Its cells would be other calls than those that were planned, and stay missing for ever."""
    plan = make_plan(anything, {"x": values}, path)
    with pytest.raises(InvalidInputError, match="values of 'x' are no values of JSON"):
        plan.array_job("python fit.py {cells}", into=tmp_path / "cells", scheduler="slurm")
    assert not (tmp_path / "cells").exists()


def test_an_array_job_of_what_comes_back_is_made(path: Path, tmp_path: Path) -> None:
    """Lists, paths where they are declared, and infinities."""
    (tmp_path / "a").write_text("x")
    cases: list[tuple[Any, dict[str, Any]]] = [
        (anything, {"x": [[1, 2], {"a": None}, 2**70]}),
        (reads, {"file": [tmp_path / "a"], "limit": [math.inf, 5]}),
    ]
    for task, grid in cases:
        plan = make_plan(task, grid, path)
        plan.array_job("python fit.py {cells}", into=tmp_path / "cells", scheduler="slurm")
        cells = [json.loads(line) for line in (tmp_path / "cells/cells-0.ndjson").read_text().splitlines()]
        assert [task.key_of(**cell) for cell in cells] == [key.tobytes() for key in plan._keys(np.arange(len(plan)))]


def test_a_grid_is_lazy() -> None:
    """Ten million million cells take no memory, and any of them can be asked for."""
    grid = Grid({"a": range(0, 10**7, 2), "b": range(10**6), "c": ["x", "y"]})
    assert len(grid) == 10**13
    found = grid.columns([10**13 - 1, 0])
    assert {name: values.tolist() for name, values in found.items()} == {
        "a": [10**7 - 2, 0],
        "b": [10**6 - 1, 0],
        "c": ["y", "x"],
    }
    every = Grid({"a": np.array([1.5, 2.5]), "b": ["x", "y", None]}).columns(range(6))
    assert list(zip(*(values.tolist() for values in every.values()), strict=True)) == list(
        itertools.product([1.5, 2.5], ["x", "y", None])
    )


@pytest.mark.parametrize("wrong", [{}, [1, 2], 3, {"a": "text"}, {"a": 3}, {"a": (n for n in range(3))}, {"a": {1, 2}}])
def test_what_is_no_grid_is_refused(wrong: object) -> None:
    """In one sentence, before anything is worked out."""
    with pytest.raises(InvalidInputError):
        as_grid(wrong)


def test_what_is_wrong_with_a_plan_is_said_at_once(path: Path) -> None:
    """A parameter that the task does not have, a value of another kind, no task, and columns of several lengths."""
    for grid in ({"ensemble": ["a"], "nothing": [1]}, {"ensemble": ["a"]}, {"ensemble": ["a"], "number": [lambda: 1]}):
        with pytest.raises(InvalidInputError):
            make_plan(fit, grid, path)
    with pytest.raises(InvalidInputError, match="is no task"):
        make_plan(print, GRID, path)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="not of one length"):
        Grid({"a": [1, 2], "b": [1]}, together=True)
    plan = make_plan(fit, GRID, path)
    with pytest.raises(InvalidInputError, match="'gone' is no state of a task"):
        plan.cells("gone")
    with pytest.raises(InvalidInputError, match="no rank 3 among 3"):
        plan.share(3, 3)


def test_without_a_store_all_is_left(tmp_path: Path) -> None:
    """Nothing is known to be done; an empty grid has nothing to do."""
    assert len(make_plan(fit, GRID, tmp_path / "none.duckdb").missing()) == 100
    plan = make_plan(fit, {"ensemble": [], "number": range(3)}, tmp_path / "none.duckdb")
    assert (len(plan), len(plan.missing()), list(plan.calls())) == (0, 0, [])
    assert isinstance(plan, Plan)


def test_the_list_of_what_is_left_of_many_is_exact(tmp_path: Path) -> None:
    """Of cells dealt at random, three of a hundred are not on record, and some did not end well."""
    chosen = random.Random(3)
    cells = 20_000
    keys = fit.keys_of({"ensemble": ["a"] * cells, "number": range(cells)})
    states = chosen.choices([State.DONE, State.UNKNOWN, State.FAILED, State.RUNNING], [96, 3, 0.5, 0.5], k=cells)
    value = msgspec.msgpack.encode(0.5)
    entry = msgspec.msgpack.encode(Done(fit.name, "1", bytes(24), bytes(24), fit.identity.code, 0, "", value, None))
    known = sorted((keys[at].tobytes(), state.value, entry) for at, state in enumerate(states) if state)
    (tmp_path / "prov.duckdb.d").mkdir()
    (tmp_path / "prov.duckdb").touch()
    write_entries(tmp_path / "prov.duckdb.d" / "1.done", 1, len(known), [known[:7000], known[7000:]])
    plan = make_plan(fit, {"ensemble": ["a"], "number": range(cells)}, tmp_path / "prov.duckdb")
    left = [(at, state.name.lower()) for at, state in enumerate(states) if state in (State.UNKNOWN, State.FAILED)]
    assert [(row["number"], row["state"]) for row in plan.missing().to_pylist()] == left
    assert 400 < len(left) < 1000
    assert plan.counts() == dict.fromkeys(plan.counts(), 0) | {
        state.name.lower(): states.count(state) for state in State
    }
