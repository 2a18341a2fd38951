"""The benchmark of recording runs, kills, and writes what it measured; how fast that was is not judged here."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rounds import Rounds, read_rounds

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "recording.py"
IN_SCRIPTS = str(PROGRAM.parent)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of benchmarks/ are found as they are by each other."""
    monkeypatch.syspath_prepend(IN_SCRIPTS)


def measured(out: Path, *arguments: str, seconds: int = 280) -> Rounds:
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    assert (out / "recording.md").read_text() == done.stdout[:-1]
    return read_rounds(out / "recording.parquet")


def one(found: Rounds, **wanted: Any) -> float:
    (value,) = found.values(**wanted).values()
    return value


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_budget_has_a_ratio_and_its_floor(tmp_path: Path) -> None:
    own = "braid,braid-python,tags,batch,call-braid,call-braid-python,call-off"
    found = measured(tmp_path, "--variants", own)
    assert found.about["cores"] >= 1
    for name in own.split(","):
        assert one(found, variant=name, measure="wall") > 0
        assert name == "tags" or one(found, variant=name, measure="floor") > 0
    assert one(found, variant="import", measure="wall") > 0
    assert one(found, variant="braid", measure="p50") <= one(found, variant="braid", measure="p99.99")
    table = (tmp_path / "recording.md").read_text()
    assert table.count("one structured event") == 2
    assert found.not_run == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_kill_leaves_is_counted(tmp_path: Path) -> None:
    """Nothing is lost here, nor by a line that is written at once; of a transaction that gathers, its last events."""
    found = measured(tmp_path, "--variants", "braid,braid-python,logging,sqlite,sqlite-batch,hdf5")
    for name in ("braid", "braid-python", "logging", "sqlite"):
        assert one(found, mode="survival", variant=name, measure="acknowledged") > 0
        assert one(found, mode="survival", variant=name, measure="lost") == 0
    assert one(found, mode="survival", variant="sqlite-batch", measure="lost") < 100
    if find_spec("h5py"):
        assert one(found, mode="survival", variant="hdf5", measure="readable") == 0
        assert "not run" not in (tmp_path / "recording.md").read_text()
    for name in ("braid", "logging", "sqlite", "sqlite-batch"):
        assert one(found, mode="survival", variant=name, measure="lost closed") == 0
    assert (tmp_path / "recording.svg").read_text().startswith("<?xml") or not find_spec("matplotlib")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not find_spec("flowcept"), reason="the peers are not installed here: make test-peers")
def test_every_peer_records_and_is_read_back(tmp_path: Path, programs: None) -> None:
    peers = import_module("peers").PEERS
    found = measured(tmp_path, seconds=1150)
    assert found.not_run == []
    for name, peer in peers.items():
        assert one(found, mode=peer.mode, variant=name, measure="wall") > 0
        if peer.mode == "event":
            assert one(found, mode="survival", variant=name, measure="acknowledged") > 0
            # Their queues drop spans when they are full.
            lost = one(found, mode="survival", variant=name, measure="lost closed")
            assert lost == 0 or name in {"opentelemetry-batch", "mlflow-trace"}
            assert peer.package in {"", *found.about["packages"]}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_peer_that_is_not_there_is_not_run_with_its_reason(tmp_path: Path) -> None:
    """As one whose Python is not there; the others are measured in all rounds."""
    nowhere = str(tmp_path / "nowhere")
    why = f"{nowhere} cannot be run: No such file or directory"
    found = measured(tmp_path, "--variants", "logging,sqlite", "--python", f"sqlite={nowhere}", "--rounds", "2")
    assert {(note.variant, note.why) for note in found.not_run} == {("sqlite", why)}
    assert len(found.values(variant="logging", measure="wall")) == 2
    assert f"- not run: sqlite (event, 1 ranks): {why}" in (tmp_path / "recording.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_was_measured_stays_when_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path), "--rounds", "1000"]
    process = subprocess.Popen([*command, "--variants", "logging"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not (tmp_path / "recording.parquet").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said.decode()
    found = read_rounds(tmp_path / "recording.parquet")
    assert found.values(variant="logging", measure="wall")
    assert found.ended_early == "interrupted"
    assert "interrupted" in (tmp_path / "recording.md").read_text()


def test_an_import_is_measured_finer_than_by_hundredths(monkeypatch: pytest.MonkeyPatch, programs: None) -> None:
    """Of a second: a process that does nothing takes two of them; and neither kind is always the first."""
    recording = import_module("recording")
    codes: list[str] = []
    used = iter([0.0, 0.020, 0.020, 0.045, 0.045, 0.070, 0.070, 0.090])
    monkeypatch.setattr(recording, "children_seconds", lambda: next(used))
    monkeypatch.setattr(subprocess, "run", lambda command, **_: codes.append(command[-1]))
    assert recording.import_ratio()["CPU"] == (pytest.approx(1.25), "ratio")
    assert codes == ["pass", "import braid_hpc", "import braid_hpc", "pass"]


def test_the_worst_kill_is_what_is_said(tmp_path: Path, programs: None) -> None:
    """And whether it was the last events that were lost."""
    found = Rounds("recording", tmp_path, {})
    kills = [(100, 0, 1, 1), (100, 40, 1, 1), (100, 30, 0, 1)]
    for turn, (acknowledged, lost, last, readable) in enumerate(kills):
        values = {"acknowledged": acknowledged, "lost": lost, "lost last": last, "readable": readable}
        of = {"mode": "survival", "variant": "orjson", "ranks": 1, "round": turn}
        found.add(of, {name: (float(value), "events") for name, value in values.items()})
    kill = import_module("survival").worst(found, "orjson")
    assert (kill.kind, kill.text()) == ("part", "60 of 100 (last 40 lost)")


def test_peers_that_are_better_are_all_named(tmp_path: Path, programs: None) -> None:
    """By any of the figures; one that is worse in all of them is not."""
    found = Rounds("recording", tmp_path, {})
    for name, wall, size in (("braid", 2.0, 80), ("orjson", 1.0, 90), ("logging", 3.0, 70), ("prov", 9.0, 90)):
        of = {"mode": "event", "variant": name, "ranks": 1, "round": 0}
        found.add(of, {"wall": (wall, "REF"), "size": (1_000 + 10 * size, "bytes"), "events": (10, "events")})
        found.add(of | {"mode": "empty"}, {"size": (1_000, "bytes")})
    orjson, logging = import_module("recording_tables").where_peers_are_better(found)
    assert orjson == "- An event, orjson, a line in a buffered file: a call 1.00 x REF against 2.00."
    assert "on disk 70.0 bytes an event against 80.0" in logging


def test_what_all_is_measured_by_is_said(tmp_path: Path, programs: None) -> None:
    found = Rounds("recording", tmp_path, {})
    for turn, nanoseconds in enumerate((300, 400, 900)):
        of = {"mode": "event", "variant": "braid", "ranks": 1, "round": turn}
        found.add(of, {"wall": (1.0, "REF"), "reference": (nanoseconds, "ns")})
    assert "closed it: 400 (350 to 650) ns in 3 processes" in import_module("recording_tables").reference(found)


def test_what_is_paid_once_speaks_for_a_peer_too(tmp_path: Path, programs: None) -> None:
    found = Rounds("recording", tmp_path, {})
    for name, wall, once in (("braid", 1.0, 0.4), ("logging", 9.0, 0.1), ("prov", 9.0, 0.5)):
        of = {"mode": "event", "variant": name, "ranks": 1, "round": 0}
        found.add(of, {"wall": (wall, "REF")})
        found.add(of | {"mode": "empty"}, {"open": (once, "s"), "closing": (0.05, "s")})
    (line,) = import_module("recording_tables").where_peers_are_better(found)
    assert line == "- An event, `logging`, a line in a file: paid once 0.15 s against 0.45."


@pytest.mark.parametrize(("wall", "kept"), [(0.85, "yes"), (1.59, "**not here**")])
def test_a_budget_that_is_not_kept_is_said(tmp_path: Path, programs: None, wall: float, kept: str) -> None:
    found = Rounds("recording", tmp_path, {})
    found.add({"mode": "event", "variant": "braid", "ranks": 1, "round": 0}, {"wall": (wall, "REF")})
    said = import_module("recording_tables").own_table(found)
    assert f"| one structured event, compiled | 0.9 | {wall} | {kept} |" in said


def test_a_file_that_has_not_grown_says_nothing_of_an_event(tmp_path: Path, programs: None) -> None:
    """A chunk or a block that was made for the first event is not free for the others."""
    found = Rounds("recording", tmp_path, {})
    sizes = {"braid": (9_000, 9_000, 9_000), "hdf5": (5_000, 5_000, 9_900), "sqlite": (5_000, 6_000, 7_000)}
    for name, each in sizes.items():
        for turn, size in enumerate(each):
            of = {"mode": "event", "variant": name, "ranks": 1, "round": turn}
            wall = 1.0 if name == "braid" else 9.0
            found.add(of, {"wall": (wall, "REF"), "size": (size, "bytes"), "events": (10, "events")})
            found.add(of | {"mode": "empty"}, {"size": (5_000, "bytes")})
    tables = import_module("recording_tables")
    assert tables.above_one(found, "event", "hdf5", "size") == {}
    assert tables.above_one(found, "event", "sqlite", "size") == {0: 0.0, 1: 100.0, 2: 200.0}
    (better,) = (line for line in tables.where_peers_are_better(found) if "bytes" in line)
    assert "a transaction an event: on disk 100 bytes an event against 400" in better
