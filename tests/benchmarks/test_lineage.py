"""The benchmark of lineage runs, and every engine finds as much; what it measured is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "lineage.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_writes_its_figures_with_their_machine(tmp_path: Path) -> None:
    """Engines that are not installed are named as such."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "lineage.json").read_text())
    assert results["machine"]["cores"] >= 1
    (size,) = results["sizes"]
    assert size["generate"]["bytes_per_edge"] > 0
    asked = [found for found in size.values() if "closure" in found]
    assert len(asked) >= 4
    assert len({found["closure"]["nodes"] for found in asked}) == 1
    assert len({found["impact of the hub"]["nodes"] for found in asked if "impact of the hub" in found}) == 1
    assert (
        size["braid_hpc, compiled"]["why, 3 ways"]["nodes"] > size["braid_hpc, NumPy"]["why, edges of the way"]["nodes"]
    )
    assert size["cold"]["braid why"]["cpu_ms"] > size["cold"]["python -c pass"]["cpu_ms"]
    table = (tmp_path / "lineage.md").read_text()
    assert table.strip() == done.stdout.strip()
    assert table.count("| SQLite | closure |") == 1
