"""The benchmark of whole programs runs with real ranks; by how much they take longer is not judged here."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rounds import Rounds, machine, read_rounds

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "overhead.py"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of benchmarks/ are found as they are by each other."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))


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


def test_segments_of_a_job_that_is_interrupted_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: None
) -> None:
    """With the reason of those that are missing; half a line is no segment."""
    overhead = import_module("overhead")
    segment = {"rate": 1_000, "round": 0, "steps": 8, "wall": 2.0, "cpu": 3.0, "events": 4_000}

    def interrupted(*_: Any, **__: Any) -> None:
        line = json.dumps(segment | {"later": 0.1, "later cpu": 0.05})
        (tmp_path / "segments.jsonl").write_text(f"{line}\n{line[:20]}")
        raise KeyboardInterrupt

    monkeypatch.setattr(overhead, "run_ranks", interrupted)
    found = Rounds("overhead", tmp_path, {})
    with pytest.raises(KeyboardInterrupt):
        overhead.measure_segments(found, argparse.Namespace(rounds=2, seconds=1.0, ranks=2), tmp_path, "heat")
    assert found.values(mode="heat", variant="1000 events/s", measure="rate") == {0: 1_000.0}
    assert [(note.mode, note.why) for note in found.not_run] == [("heat", "interrupted")]


def test_what_is_brought_to_the_disk_later_counts_as_cpu_time(tmp_path: Path, programs: None) -> None:
    """That of a segment that records, beside one that does not; a file without it is read as it is."""
    overhead, found = import_module("overhead"), Rounds("overhead", tmp_path, {})
    for turn, later in enumerate((0.5, 0.0)):
        for variant, cpu in (("off", 2.0), ("1000 events/s", 2.0 + later)):
            of = {"mode": "heat", "variant": variant, "ranks": 2, "round": turn}
            found.add(of, {"cpu": (2.0, "s"), "wall": (1.0, "s")})
            if later:
                found.add(of, {"later cpu": (cpu - 2.0, "s")})
    assert overhead.more(found, "heat", "1000 events/s", "cpu") == [0.25, 0.0]
    assert overhead.more(found, "heat", "1000 events/s", "wall") == [0.0, 0.0]


@pytest.mark.parametrize(("cpu", "said"), [(1.0, ""), (1.1, " CPU time is **more than without**: +10.00% ")])
def test_cpu_time_that_is_more_is_said(tmp_path: Path, programs: None, cpu: float, said: str) -> None:
    """Where wall time is not: another core may have done the work."""
    overhead, found = import_module("overhead"), Rounds("overhead", tmp_path, {})
    for turn in range(4):
        for variant, value in (("off", 1.0), ("1000 events/s", cpu)):
            of = {"mode": "heat", "variant": variant, "ranks": 2, "round": turn}
            found.add(of, {"wall": (1.0, "s"), "cpu": (value, "s")})
    (line,) = overhead.judged(found).splitlines()
    assert "not distinguishable from zero" in line
    assert line.partition(").")[2].startswith(said)
    assert bool(said) == ("CPU" in line)


@pytest.mark.skipif(not find_spec("matplotlib"), reason="matplotlib is not installed: pip install 'braid_hpc[bench]'")
def test_rounds_beyond_the_edge_of_the_picture_are_counted(tmp_path: Path, programs: None) -> None:
    found = Rounds("overhead", tmp_path, machine(tmp_path))
    for turn, wall in enumerate([1.0] * 8 + [9.0]):
        for variant, value in (("off", 1.0), ("1000 events/s", wall)):
            found.add({"mode": "heat", "variant": variant, "ranks": 2, "round": turn}, {"wall": (value, "s")})
    assert import_module("plots").overhead_plot(found, tmp_path / "overhead.svg") == ""
    assert "rounds beyond the edges: 1" in (tmp_path / "overhead.svg").read_text()


def test_a_program_that_is_unknown_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "--programs", "heat,chess")
    assert done.returncode == 1
    assert done.stderr.strip() == "overhead: there is no chess"
    assert list(tmp_path.iterdir()) == []
