"""The benchmark of traced communicators runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ranks import RunRanks

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "mpi.py"


def test_it_writes_its_figures(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Each kind of call has a figure without tracing, and what it costs more."""
    done = run_ranks(1, PROGRAM, "--quick", "--out", tmp_path)
    results = json.loads((tmp_path / "mpi.json").read_text())
    assert len(results["us_per_call"]) == 15
    assert all(found["least"] <= found["median"] for found in results["us_per_call"].values())
    assert (tmp_path / "mpi.md").read_text() in done.stdout
