"""The benchmark of whole programs runs with real ranks; by how much they take longer is not judged here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rounds import read_rounds

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "overhead.py"


def run(out: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env=os.environ | environment)


@pytest.mark.slow
def test_every_program_is_measured_with_recording_and_without(tmp_path: Path) -> None:
    """Segments of one round have the same steps, and those that record came near to the rate that was asked for."""
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "overhead.md").read_text() == done.stdout[:-1]
    found = read_rounds(tmp_path / "overhead.parquet")
    assert found.not_run == []
    for program in ("heat", "k-means", "reader"):
        steps = {row.value for row in found.rows if row.mode == program and row.measure == "steps"}
        assert len(steps) == 1
        for variant, least in (("1000 events/s", 100), ("10000 events/s", 1_000)):
            rates = found.values(mode=program, variant=variant, measure="rate")
            assert len(rates) == 3
            assert max(rates.values()) > least
        assert set(found.values(mode=program, variant="off", measure="rate").values()) == {0.0}
    for variant in ("off", "its own events"):
        assert found.values(mode="braggnn", variant=variant, measure="wall")
    assert (tmp_path / "overhead.svg").read_text().startswith("<?xml")


def test_a_program_that_is_unknown_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "--programs", "heat,chess")
    assert done.returncode == 1
    assert done.stderr.strip() == "overhead: there is no chess"
    assert list(tmp_path.iterdir()) == []
