"""The benchmark of FPGA frames runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "fpga.py"


@pytest.mark.slow
def test_it_writes_its_figures_with_their_machine(tmp_path: Path) -> None:
    """Each size of frames, compiled and in Python, the floors, and hostile input have a rate."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "fpga.json").read_text())
    assert results["machine"]["cores"] >= 1
    assert len(results["rows"]) == 13
    for found in results["rows"].values():
        assert 0 < found["median"] <= found["best"]
    assert (tmp_path / "fpga.md").read_text() == done.stdout
