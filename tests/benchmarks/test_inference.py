"""The benchmark of inference runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "inference.py"


@pytest.mark.slow
def test_it_writes_its_figures(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "inference.json").read_text())
    assert len(rows) >= 3
    assert all(row["bare"] > 0 and row["blake3"] > 0 for row in rows.values())
    assert (tmp_path / "inference.md").read_text() == done.stdout
