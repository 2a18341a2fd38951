"""What recording costs, asked of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from braid_hpc.cli.bench import bench
from tests.ranks import RunRanks

WRITE = """
import sys
from braid_hpc.cli import main
main(["bench", "write", "--seconds", "0.2", *sys.argv[1:]])
"""


@pytest.mark.mpi_matrix
def test_ranks_that_write_at_once(run_ranks: RunRanks, tmp_path: Path) -> None:
    """A row for each, for their node, and for the job; their logs are gone afterwards."""
    logs = tmp_path / "local"
    done = run_ranks(2, WRITE, "--log-dir", logs, "--shared", tmp_path / "shared", "--format", "json")
    first, second, node, job = json.loads(done.stdout)
    assert [row["what"] for row in (first, second, job)] == ["rank 0", "rank 1", "job"]
    assert node["what"].startswith("node ")
    for row in (node, job):
        assert row["ranks"] == 2
        assert row["events"] == first["events"] + second["events"]
        assert row["events_per_s"] == pytest.approx(first["events_per_s"] + second["events_per_s"], abs=2)
        assert row["max"] == max(first["max"], second["max"])
        assert row["lost"] == 0
    assert 0 < job["p50"] <= job["p99"] <= job["p99.99"] <= job["max"]
    assert list(logs.iterdir()) == []


def test_a_rank_alone_prints_its_row(run_ranks: RunRanks, tmp_path: Path) -> None:
    (row,) = json.loads(run_ranks(0, WRITE, "--log-dir", tmp_path / "local", "--format", "json").stdout)
    assert (row["what"], row["ranks"]) == ("rank 0", 1)
    assert row["events"] >= 1_000


def test_where_nothing_can_be_recorded_it_says_so(run_ranks: RunRanks, tmp_path: Path) -> None:
    done = run_ranks(0, WRITE, "--log-dir", tmp_path, env={"BRAID_DISABLE": "1"}, check=False)
    assert done.returncode == 4
    assert done.stdout == ""
    assert "nothing can be recorded" in done.stderr


def test_an_interruption_ends_all_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And not only the one that runs; those that were not come to are named."""
    begun: list[str] = []

    def run(name: str, arguments: object) -> int:
        begun.append(name)
        if name == "scaling":
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr("braid_hpc.cli.bench.run_program", run)
    done = CliRunner().invoke(bench, ["all", "--out", str(tmp_path)])
    assert done.exit_code == 130
    assert begun == ["recording", "scaling"]
    assert "scaling ended with code 130" in done.stderr
    assert "lineage was not run: interrupted" in done.stderr
