"""The benchmark of campaigns runs, agrees with SQLite, and writes what it measured; which is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "campaign.py"


@pytest.mark.slow
def test_it_writes_its_figures(tmp_path: Path) -> None:
    """Two ensembles of 20 configurations: the files and edges that the pipeline has, and the same counts as SQLite."""
    command = [sys.executable, str(PROGRAM), "--quick", "--ensembles", "2", "--rounds", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "campaign.json").read_text())
    # Per configuration 594 files, and ten of an ensemble; 302 files come of each of the eight sources.
    assert (found["files"], found["edges"]) == (2 * (20 * 594 + 10), 2 * 20 * 1266)
    assert 0 < found["stale"] <= 594 + 10
    assert all(each["first"] > 0 for each in found["store"].values())
    assert (tmp_path / "campaign.md").read_text().strip() == done.stdout.strip()
