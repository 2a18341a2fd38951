"""The benchmark of compaction runs, keeps what it measured, and says what it could not; figures are not judged here."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compaction import SPARE, Room, measure, measure_all
from benchmarks.compaction_cases import Case, case_of, default_cases, growing_in_events, growing_in_logs
from benchmarks.compaction_tables import each_log, found_by_compaction, where_others_merge_better, write_table
from benchmarks.rounds import Rounds, machine, read_rounds
from braid_hpc.compaction.runs import absent_ranks, group_runs
from braid_hpc.reading.directories import find_writers, read_header
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import Code

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "compaction.py"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_writes_its_figures_with_their_machine(tmp_path: Path) -> None:
    """Each way has merged the same logs; memory, and bytes of the disk, are those of all of its ranks."""
    cases = "rows=2000:4,rows=6000:4,rows=2000:8,records=300:2"
    command = [sys.executable, str(PROGRAM), "--quick", "--cases", cases, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    measured = read_rounds(tmp_path / "compaction.parquet")
    assert measured.about["cores"] >= 1
    assert measured.not_run == []
    for case in map(case_of, cases.split(",")):
        found = {row.variant for row in measured.rows if row.mode == case.name and row.measure == "wall"}
        assert {"one-thread", "shared", "check"} <= found
        assert ("floor" in found) == (case.kind == "rows")
        of = {"mode": case.name, "round": 0}
        assert measured.values(**of, variant="logs", measure="logs") == {0: case.logs}
        shared = {name: measured.values(**of, variant="shared", measure=name)[0] for name in ("cpu", "peak")}
        own = {name: measured.values(**of, variant="shared", measure=f"{name} of rank 0")[0] for name in shared}
        assert all(shared[name] > own[name] > 0 for name in shared)
    written = measured.values(mode="rows=6000:4", variant="one-thread", measure="written")[0]
    assert written >= measured.values(mode="rows=6000:4", variant="one-thread", measure="store")[0] > 0
    table = (tmp_path / "compaction.md").read_text()
    assert table.strip() == done.stdout.strip()
    assert "### By logs: 2,000 rows in all" in table
    assert (tmp_path / "compaction.svg").read_text().count("ideal: linear") >= 1


def test_a_case_without_room_is_not_begun(tmp_path: Path) -> None:
    """What it would take, and what is free, is said; nothing is left behind."""
    options = argparse.Namespace(cases=[Case("rows", 10**15, 16)], ways=["one-thread"], ranks=[2], rounds=1)
    measured = Rounds("compaction", tmp_path / "out", machine(tmp_path))
    (place := tmp_path / "place").mkdir()
    with measured:
        measure(measured, options, place)
    (note,) = measured.not_run
    assert "of disk" in note.why
    assert "are free: give --dir" in note.why
    assert list(place.iterdir()) == []
    assert "not run: 1,000,000,000,000,000 rows in 16 logs" in write_table(read_rounds(measured.path))


def test_the_logs_are_those_of_the_ranks_of_one_run(tmp_path: Path) -> None:
    """Not of as many runs of one rank each, of which all other ranks are absent; and all events are there."""
    program = PROGRAM.with_name("merging.py")
    command = [sys.executable, str(program), "record", "rows", "8", "3", str(tmp_path / "logs")]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    headers = {path.name: read_header(path)[0] for path in find_writers(tmp_path / "logs")}
    assert len(set(group_runs(headers, {}).run.values())) == 1
    assert absent_ranks(headers, group_runs(headers, {}).run) == []
    rows = [sum(len(events) for events in read_writer(path).each(Code.ROW)) for path in find_writers(tmp_path / "logs")]
    assert sorted(rows) == [2, 3, 3]


def test_cases_that_are_too_large_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What --most leaves out is not run, with that reason."""
    monkeypatch.setattr("benchmarks.compaction.measure", lambda *_: None)
    about = {"cases": "rows=100:4,rows=2000:4", "most": 1e3, "quick": False, "ways": "", "ranks": "2", "rounds": 1}
    measured = measure_all(argparse.Namespace(**about, out=tmp_path, dir=None))
    assert [(note.variant, note.why) for note in measured.not_run] == [
        ("2,000 rows in 4 logs", "more than the 1,000 events of --most")
    ]


def test_room_is_learned_from_the_case_with_most_events_in_a_log(tmp_path: Path) -> None:
    """A log takes some space without any event: many logs of few events say nothing of few logs of many."""
    room = Room(tmp_path, {}, {})
    room.learn_logs(Case("rows", 10**6, 16), 150e6)
    room.learn_logs(Case("rows", 10**6, 4096), 1600e6)
    room.learn_store(Case("rows", 10**6, 16), "shared", 130e6)
    assert room.log_bytes["rows"] == (62_500, 150)
    assert room.store_bytes["rows", "shared"][1] == pytest.approx(143)
    assert not room.missing_for(Case("rows", 1, 1), "shared")
    assert SPARE > 0


def test_cases_are_named_and_put_in_order() -> None:
    """One line of cases differs in events alone, one in logs alone; a case that cannot be is refused."""
    cases = default_cases(quick=False)
    assert [case.events for case in growing_in_events(cases)] == [10**5, 10**6, 10**7, 10**8]
    assert [case.logs for case in growing_in_logs(cases)] == [1, 4, 16, 64, 256, 1024, 4096]
    assert all(case_of(case.name) == case for case in cases)
    assert case_of("rows=1e5") == Case("rows", 100_000, 16)
    for wrong in ("rows", "things=5", "rows=5:9", "rows=5:0"):
        with pytest.raises(ValueError, match="is no case"):
            case_of(wrong)


def test_tables_are_of_the_rounds(tmp_path: Path) -> None:
    """Rates, ratios round by round, slopes, and what a further log costs, against rounds made by hand."""
    measured = Rounds("compaction", tmp_path, machine(tmp_path))
    for events, logs in ((10**6, 16), (10**7, 16), (10**6, 16 + 1000)):
        for turn, late in enumerate((1.0, 1.1, 1.2)):
            # A merge takes a microsecond an event and two milliseconds for each log beyond 16; the floor half of that.
            cost = late * (events * 1e-6 + (logs - 16) * 2e-3)
            for variant, part in (("one-thread", 1.0), ("floor", 0.5)):
                of = {"mode": f"rows={events}:{logs}", "variant": variant, "ranks": 1, "round": turn}
                measured.add(of, {"wall": (cost * part, "s"), "cpu": (cost * part, "s"), "peak": (300, "MiB")})
    measured.save()
    text = write_table(measured)
    assert "| one process, one thread of DuckDB | 909,091 (871,212 to 954,545) | 909,091" in text
    assert "| one process, one thread of DuckDB, wall | 2.00 (2.00 to 2.00) |" in text
    assert "| one process, one thread of DuckDB, CPU | 1.00 (" in text
    cases = [Case("rows", 10**6, 16), Case("rows", 10**6, 1016)]
    assert each_log(measured, cases, ("one-thread", 1), "cpu") == pytest.approx(2.2e-3)
    said = found_by_compaction(measured)
    assert "linear within a tenth" in said
    assert "whatever the size: kept up to 10,000,000." in said
    assert "A further log costs 2.20 ms" in said
    assert "1,500,000 a thread: **not kept here**" in said
    assert "1,000,000 rows in 16 logs: 2.00 times (CPU time: 2.00)" in where_others_merge_better(measured)[0]


def test_growth_is_not_judged_by_small_sizes(tmp_path: Path) -> None:
    """Among them what a merge costs anyhow counts, and the slope says nothing of many events."""
    measured = Rounds("compaction", tmp_path, machine(tmp_path))
    for events in (10**5, 10**6):
        of = {"mode": f"rows={events}:16", "variant": "one-thread", "ranks": 1, "round": 0}
        measured.add(of, {"wall": (1 + events * 1e-6, "s"), "cpu": (1 + events * 1e-6, "s"), "peak": (300, "MiB")})
    said = found_by_compaction(measured)
    assert "from 100,000 to 1,000,000" in said
    assert "**not decided here**" in said
    assert "linear here" not in said
