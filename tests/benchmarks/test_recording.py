"""The benchmark of recording runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "recording.py"


@pytest.mark.slow
def test_it_writes_its_figures_with_their_machine(tmp_path: Path) -> None:
    """Every budget has a ratio, the machine is described, and the table names each row once."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "recording.json").read_text())
    assert results["machine"]["cores"] >= 1
    for variant in ("compiled", "python"):
        for what in ("event", "row of a batch", "decorated function"):
            assert results[variant][what]["wall"] > 0
            assert results[variant][what]["floor"] > 0
        assert results[variant]["event"]["latency_us"]["p50"] <= results[variant]["event"]["latency_us"]["p99.99"]
    table = (tmp_path / "recording.md").read_text()
    assert table.strip() == done.stdout.strip()
    assert table.count("one structured event") == 2
