"""``braid history``, ``braid diff`` and ``braid checkout``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.jobs import one

Braid = Callable[..., Result]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("versions")
    with one(folder / "logs", "fit") as job:
        model = None
        for number in range(3):
            with job[0].activity("train"):
                state = {"frozen": np.ones(5), "head": np.full(4, number, "f4")}
                model = job[0].model("net", state=state, derived_from=model, tags={"epoch": number})
        job[0].data("described", digest="x:1")
    compact(folder / "logs", folder / "prov.duckdb")
    return str(folder / "prov.duckdb")


def test_history_lists_versions_with_what_made_them(cli: Braid, store: str) -> None:
    rows = json.loads(cli("history", "net", "--store", store, "--format", "json").stdout)
    assert [(row["ref"], row["step"], row["made by"], row["revises"], row["valid"]) for row in rows] == [
        (f"model:net@{n}", n - 1, [f"activity:train@{n}"], [f"model:net@{n - 1}"] if n > 1 else [], True)
        for n in (1, 2, 3)
    ]
    assert {row["job"] for row in rows} == {"fit"}
    table = cli("history", "model:net@2", "--store", store)
    assert table.exit_code == 0
    assert "activity:train@3" in table.stdout


def test_diff_prints_text_and_json(cli: Braid, store: str) -> None:
    text = cli("diff", "net@1", "net@3", "--store", store)
    assert text.exit_code == 0
    lines = text.stdout.splitlines()
    assert lines[:3] == [
        "model:net@1 -> model:net@3: other content",
        "arrays: 1 changed, 0 added, 0 removed, 1 unchanged",
        "  changed head, <f4 4, norm 4, relative inf, 4 of 4 elements differ",
    ]
    assert "  tag epoch: 0 -> 2" in lines
    found = json.loads(cli("diff", "net@1", "net@3", "--store", store, "--format", "json").stdout)
    assert (found["a"], found["unchanged"], found["arrays"][0]["norm"]) == ("model:net@1", 1, 4.0)
    assert found["arrays"][0]["relative"] == "inf"


def test_checkout_writes_files_and_says_which(cli: Braid, store: str, tmp_path: Path) -> None:
    words = ("checkout", "net@1", "net@2", "--into", tmp_path / "new", "--store", store, "--format", "json")
    rows = json.loads(cli(*words).stdout)
    assert [(row["ref"], row["path"], row["source"], row["already"]) for row in rows] == [
        (f"model:net@{n}", str(tmp_path / "new" / f"net@{n}.npz"), "store", False) for n in (1, 2)
    ]
    with np.load(rows[1]["path"]) as back:
        assert back["head"].tolist() == [1] * 4
    assert [row["already"] for row in json.loads(cli(*words).stdout)] == [True, True]


def test_wrong_calls(cli: Braid, store: str, tmp_path: Path) -> None:
    """One sentence, and the exit code of its kind."""
    (tmp_path / "net@1.npz").write_bytes(b"mine")
    for words, code, said in [
        (("history", "nothing"), 3, "not in this store"),
        (("history", "activity:train"), 2, "is an activity"),
        (("diff", "net@1", "activity:train"), 2, "are an activity and a version"),
        (("diff", "net@1"), 2, "two things are compared: name A and B"),
        (("diff", "net@1", "net@2", *(("--at", "1") * 3)), 2, "a pair of one for each: not 3"),
        (("diff", "net@1", "--snapshots", "1", "1"), 2, "nothing else is compared with it"),
        (("diff", "--snapshots", "1", "7"), 2, "there is no snapshot 7"),
        (("diff", "run:beef", "run:beef"), 3, "there is no run 'beef'"),
        (("checkout", "net@1"), 2, "--into"),
        (("checkout", "described", "--into", tmp_path), 3, "the bytes of data:described@1 are not there"),
        (("checkout", "net@1", "--into", tmp_path), 5, "is another file"),
    ]:
        done = cli(*words, "--store", store)
        assert (done.exit_code, said in done.stderr) == (code, True), done.output
    assert (tmp_path / "net@1.npz").read_bytes() == b"mine"


def test_runs_activities_and_snapshots_are_compared(cli: Braid, store: str) -> None:
    """By the forms that their listings show; JSON is what Python gives."""
    with Store(store) as opened:
        (run, *_) = opened.sql("select run from runs order by begin_time")["run"]
        for words, found in (
            (("activity:train@1", "activity:train@2"), opened.diff("activity:train@1", "activity:train@2")),
            ((run[:8], f"run:{run}"), opened.diff(run, run)),
            (("--snapshots", "1", "1"), opened.diff_snapshots(1, 1)),
            (("net@1", "net@1", "--at", "1", "--at", "1"), opened.diff("net@1", "net@1")),
        ):
            assert cli("diff", *words, "--store", store).stdout == f"{found}\n"
            plain = json.loads(cli("diff", *words, "--store", store, "--format", "json").stdout)
            assert plain == json.loads(json.dumps(found.to_dict()))
