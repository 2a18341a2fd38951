"""The benchmark of plans runs, and writes what it measured; which is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "campaign_plan.py"


@pytest.mark.slow
def test_it_writes_its_figures(tmp_path: Path) -> None:
    """Of a plan and of a tenth of it; nine of ten cells are done."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "campaign_plan.json").read_text())
    assert [plan["cells"] for plan in found["plans"]] == [2_000, 20_000]
    for plan in found["plans"]:
        left = plan["answers"]["left, as one table"]
        assert plan["answers"]["states of all cells"] == plan["cells"] - left == plan["cells"] * 9 // 10
        assert left == plan["answers"]["left, in parts"] == plan["answers"]["left, as calls"]
        assert 0 < plan["answers"]["share of one of eight"] < left
    assert (tmp_path / "campaign_plan.md").read_text().strip() == done.stdout.strip()
