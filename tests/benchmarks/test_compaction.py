"""The benchmark of compaction runs, and writes what it measured; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "compaction.py"


@pytest.mark.slow
def test_it_writes_its_figures_with_their_machine(tmp_path: Path) -> None:
    """Every sort of log has a rate and a peak of memory, streams a ratio to the floor; the table names each once."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "compaction.json").read_text())
    assert results["machine"]["cores"] >= 1
    assert [each["kind"] for each in results["sizes"]] == ["calls", "records", "batches", "rows"]
    for each in results["sizes"]:
        assert each["per_second"] > 0
        assert each["rss_mib"] > 0
        assert ("floor_wall" in each) == (each["kind"] in ("batches", "rows"))
    assert set(results["check"]) == {"calls", "records", "batches", "rows"}
    table = (tmp_path / "compaction.md").read_text()
    assert table.strip() == done.stdout.strip()
    assert table.count("| rows |") == 1
