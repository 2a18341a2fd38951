"""The benchmark of reading streams back, in small: all of its variants give the rows that were recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "scans.py"


@pytest.mark.slow
def test_all_variants_give_their_rows(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--rows", "70000", "--batch", "1000", "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=110)
    found = json.loads((tmp_path / "scans.json").read_text())["variants"]
    rows = {name: each["rows"] for name, each in found.items()}
    assert rows == {
        "opened": 0,
        "one column": 70_000,
        "all columns": 70_000,
        "where": 700,
        "last rows": 10_000,
        "twice": 70_000,
    }
    assert all(each["MiB"] > 50 for each in found.values())
