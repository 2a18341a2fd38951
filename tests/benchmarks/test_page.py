"""The page of figures is what the files of measured rounds say."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rounds import machine, read_rounds

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docs" / "benchmarks").glob("*.parquet"))


@pytest.mark.slow
def test_page_and_readme_are_made_of_the_files() -> None:
    """So that no figure is written by hand, and none stays from an older file."""
    command = [sys.executable, "-m", "benchmarks.page", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, which finds the others as they are found by each other."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("page")


def scaled(folder: Path, page: Any, values: dict[str, dict[str, float]]) -> None:
    """Write a file of one round on two ranks: what was measured of each variant."""
    found = page.Rounds("scaling", folder, machine(folder) | {"events": {"weak": 10}, "seconds": 1.0})
    for variant, each in values.items():
        of = {"mode": "weak", "variant": variant, "ranks": 2, "round": 0}
        found.add(of, {measure: (value, "") for measure, value in each.items()})
    found.save()


def test_the_readme_says_what_peers_reach_at_best_and_what_was_not_run(tmp_path: Path, page: Any) -> None:
    """A server that is not there, and no figures at all, are said and end nothing."""
    assert page.readme_part(tmp_path) == "Not run: `braid bench scaling`.\n"
    logs, one = {"rate": 1_000.0, "p50": 0.3, "p99.99": 9_000.0}, {"rate": 10.0, "p50": 20.0, "p99.99": 80_000.0}
    scaled(tmp_path, page, {"rank-logs": logs, "sqlite": one, "sqlite-batch": {"rate": 500.0}})
    said = page.readme_part(tmp_path)
    assert "1,000 events a second arrive in rank logs, 10 in one SQLite file, (not run) in one PostgreSQL" in said
    assert "up to 99 of them are lost with their rank: 500 in SQLite, (not run) in PostgreSQL" in said
    assert "0.3 µs, 20.0 µs and (not run) µs, and one in ten thousand takes longer than 9 ms, 80 ms" in said


@pytest.mark.parametrize(
    ("events", "said"), [(20_000, "10,000 on 2, less than it seals at a time."), (80_000, "40,000 on 2.")]
)
def test_how_many_events_a_rank_had_is_said(tmp_path: Path, page: Any, events: int, said: str) -> None:
    """A rank that seals nothing is cheap for that."""
    found = page.Rounds("scaling", tmp_path, {})
    for ranks, tried in ((1, 100_000), (2, events)):
        for variant, cost in (("off", 1.0), ("rank-logs", 3.0)):
            of = {"mode": "strong", "variant": variant, "ranks": ranks, "round": 0}
            found.add(of, dict.fromkeys(("core time", "CPU time", "rate"), (cost, "us/event")))
            found.add(of, {"tried": (tried, "events")})
    assert f"A rank has 100,000 events on 1 and {said}\n" in page.found_by_scaling(found)


def test_all_figures_of_calls_speak_for_a_peer(tmp_path: Path, page: Any) -> None:
    """Also the half that is fast of a call that only gathers."""
    one = {"rate": 100.0, "core time": 3.0, "CPU time": 2.0, "p50": 0.3, "p99": 0.5, "p99.99": 9_000.0}
    other = {"rate": 10.0, "core time": 30.0, "CPU time": 20.0, "p50": 0.2, "p99": 0.4, "p99.99": 9_500.0}
    scaled(tmp_path, page, {"rank-logs": one, "sqlite-batch": other})
    said = page.where_others_are_better(page.read_rounds(tmp_path / "scaling.parquet"))
    assert "2 ranks, p50 of a call: 0.200 µs against 0.300; 2 ranks, p99 of a call: 0.40 µs against 0.50." in said


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_says_what_it_is_of(path: Path) -> None:
    """The machine, its load, and the command; pictures lie beside it, and no folder of somebody's is named."""
    about = read_rounds(path).about
    assert about["cores"] >= 1
    assert about["load_before"]
    assert about["load_after"]
    assert about["command"].startswith(f"python benchmarks/{path.stem}.py")
    assert "/" not in about["command"].removeprefix("python benchmarks/")
    assert path.with_suffix(".svg").exists()
