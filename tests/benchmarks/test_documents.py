"""The benchmark of documents runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "documents.py"


@pytest.mark.slow
def test_it_writes_its_figures_with_their_machine(tmp_path: Path) -> None:
    """Every kind of document has a rate with both tails, and all that was given is held by a process that is killed."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "documents.json").read_text())
    assert results["machine"]["cores"] >= 1
    for tail in ("compiled", "python"):
        assert {"events", "integers", "arrays", "mixed", "unknown", "pages", "scans"} == results[tail].keys()
        for found in results[tail].values():
            assert found["cpu_us"] > 0
            assert found["lost"] == 0
    assert results["peers"]["suitcase flushed"]["lost"] == 0
    table = (tmp_path / "documents.md").read_text()
    assert table.strip() == done.stdout.strip()
    assert table.count("ten float64") == 2
