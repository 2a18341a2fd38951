"""`braid tasks` and `braid why-run`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import braid_hpc as braid
from braid_hpc.cli.app import braid as command
from tests.tasks.functions import RAN, double, draw, fails


@pytest.fixture
def store(tmp_path: Path) -> str:
    with braid.job("job", log_dir=tmp_path / "logs"):
        draw(0)
        double(2)
        with pytest.raises(ValueError, match="no convergence"):
            fails("raise")
    return str(braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb").store)


def said(*words: str) -> str:
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_tasks_are_listed_shown_and_explained(store: str) -> None:
    listed = json.loads(said("tasks", "list", "--store", store, "--format", "json"))
    assert {row["status"] for row in listed} == {"done", "failed"}
    assert "ValueError: no convergence" in said("tasks", "list", "--status", "failed", "--store", store)
    shown = json.loads(said("tasks", "show", "rng.draw", "--store", store, "--format", "json"))
    assert (shown["key"], shown["executions"]) == (draw.key_of(0).hex(), 1)
    assert "seed = 0 (given)" in said("tasks", "show", draw.key_of(0).hex()[:6], "--store", store)
    assert "no done index was there" in said("why-run", "rng.draw", "--store", store)
    assert json.loads(said("why-run", "rng.draw", "--store", store, "--format", "json"))["reason"] == "no-index"


def test_a_task_is_run_again_and_merged(store: str) -> None:
    RAN.clear()
    assert said("tasks", "rerun", double.name, "--dry-run", "--store", store) == f"{double.name}(x=2.0)\n"
    assert RAN == []
    assert said("tasks", "rerun", double.name, "--store", store) == "4.0\n"
    assert RAN == [2.0]
    assert "it was asked to, by rerun=True" in said("why-run", double.name, "--store", store)
    with pytest.raises(ValueError, match="no convergence"):
        CliRunner().invoke(command, ["tasks", "rerun", fails.name, "--store", store], catch_exceptions=False)
    with braid.open(store) as opened:
        assert len(opened.tasks(fails.name)) == 2
