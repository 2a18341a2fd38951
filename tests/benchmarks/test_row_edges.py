"""The benchmark of row edges runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "row_edges.py"


@pytest.mark.slow
def test_it_writes_its_figures(tmp_path: Path) -> None:
    """Each sort of edges has its rates and times; the table names each once."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "row_edges.json").read_text())
    assert list(results["rows"]) == ["one to one", "three of each frame", "at random"]
    for row in results["rows"].values():
        assert row["recorded_per_second"] > 0
        assert row["up"] > 0
        assert row["down"] > 0
    assert (tmp_path / "row_edges.md").read_text().strip() == done.stdout.strip()
