"""The benchmark of tasks runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranks import mpi_of_this_environment

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "tasks.py"


@pytest.mark.slow
def test_it_writes_its_figures(tmp_path: Path) -> None:
    """Every cell belongs to one rank, and one of ten is left."""
    assert mpi_of_this_environment() == "mpich"
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "tasks.json").read_text())
    assert (results["ranks"]["cells"], results["ranks"]["left"], results["ranks"]["ranks"]) == (10_000, 1_000, 2)
    assert all(value > 0 for value in results["calls"].values())
    assert (tmp_path / "tasks.md").read_text().strip() == done.stdout.strip()
