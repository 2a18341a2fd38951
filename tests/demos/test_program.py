"""The frame of every demo: how it ends when something is wrong, and what it reports of runs that ended early."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.cli.demo import DEMOS
from braid_hpc.demos.answers import answered, spoken
from tests.jobs import made
from tests.ranks import RunRanks

EARLY = {
    "braggnn": None,
    "cells": "no image of cell 0 was made",
    "ctsegnet": "no round was finished: the job did not get that far",
    "scattering": "there is no fit: the job did not get that far",
    "slac": "shift 1: no shot was decided on, the job did not get that far",
    "ssx": "there is no structure: the job did not get that far",
}

FAILING = """
import sys
from braid_hpc.demos.program import perform

def job(stage):
    stage.run.data("before")
    if stage.ranks.rank == 1:
        raise OSError("no space left for rank 1")
    stage.ranks.all_well(True)

sys.exit(perform("failing", lambda directory, seed: {"seed": seed}, job))
"""


def test_every_demo_of_the_command_has_its_parts() -> None:
    """A report, and a question to go on with; and this module knows all of them."""
    assert set(EARLY) == set(DEMOS)
    for name in DEMOS:
        module = import_module(f"braid_hpc.demos.{name}")
        assert callable(module.report)
        assert module.FURTHER.startswith("lineage ")


@pytest.mark.parametrize("name", [name for name, said in EARLY.items() if said])
def test_the_report_of_a_run_that_ended_early(name: str, tmp_path: Path) -> None:
    """It says what is not there, instead of failing on it."""
    with braid.job(name, log_dir=tmp_path / "logs") as run:
        run.fact("config", 1)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        text = import_module(f"braid_hpc.demos.{name}").report(store)
        assert EARLY[name] in text
        assert "events from 1 rank\n" in text


@pytest.mark.parametrize("name", DEMOS)
def test_the_report_of_another_store(name: str, tmp_path: Path) -> None:
    with braid.job("other", log_dir=tmp_path / "logs") as run:
        run.fact("config", 1)
    with (
        made(tmp_path / "logs", tmp_path / "prov.duckdb") as store,
        pytest.raises(LookupError, match=f"no run of {name} in this store"),
    ):
        import_module(f"braid_hpc.demos.{name}").report(store)


def test_a_seed_that_contradicts_the_file_stops_the_job(run_ranks: RunRanks, tmp_path: Path) -> None:
    """One sentence, exit code 2, and no log."""
    from braid_hpc.demos.slac.settings import prepare

    prepare(tmp_path, 5)
    done = run_ranks(2, "-m", "braid_hpc.demos.slac", "--dir", tmp_path, "--seed", 6, check=False)
    assert done.returncode != 0
    assert "says seed 5, not 6" in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in tmp_path.iterdir() if entry.name == "logs"] == []


@pytest.mark.mpi_matrix
def test_a_rank_that_fails_takes_the_others_along(run_ranks: RunRanks, tmp_path: Path) -> None:
    """The others would wait in a collective for ever; what all of them recorded until then is there."""
    logs = tmp_path / "node-local"
    done = run_ranks(3, FAILING, "--dir", tmp_path, "--logs", logs, check=False)
    assert done.returncode != 0
    assert "no space left for rank 1" in done.stderr
    with made(logs, tmp_path / "prov.duckdb") as store:
        states = {row["rank"]: row["outcome"] for row in store.sql("select rank, outcome from ranks")}
        assert states[1] == "failed"
        assert store.sql("select status from runs")["status"][0] != "ok"


def test_answers_are_set_below_their_questions() -> None:
    assert answered("why?", ["because"]) == ["", "why?", "  because"]
    assert answered("why?", ["because"], missing=[1, 2])[-1] == "  not complete: 2 logs without all that was recorded"
    assert spoken(1, "log") == "1 log"
