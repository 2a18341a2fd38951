"""What was taken of a log, and which part of a log that is still written may be taken."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from braid_hpc.compaction import ledger as room
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.ledger import Ledger, settle
from braid_hpc.log.layout import PAGE, ROW_BYTES
from braid_hpc.reading.process import find_end
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from tests.jobs import Job, one, rows
from tests.rank_logs import overwrite


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[WriterLog]:
    """A log of this process, ten declarations long, without its row 6, as a thread would leave it for a moment."""
    job = one(tmp_path / "logs")
    for n in range(10):
        job[0].data("d", digest=f"x:{n}")
    (tail,) = job.folder(0).glob("tail-*")
    overwrite(tail, PAGE + 5 * ROW_BYTES, bytes(ROW_BYTES))
    log = read_writer(job.folder(0))
    yield log
    job.close()


def test_rows_behind_one_that_is_being_stored_wait(open_log: WriterLog) -> None:
    """The process lives and the row is young: only what lies before it is taken."""
    settle(open_log)
    assert open_log.events["sequence"].tolist() == [1, 2, 3, 4, 5]


def test_rows_behind_one_that_never_came_do_not_wait(open_log: WriterLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time later the place is taken for a hole, which may still be filled."""
    later = time.time_ns() + 2 * room.STORING_NS
    monkeypatch.setattr("braid_hpc.compaction.ledger.time.time_ns", lambda: later)
    before = open_log.count()
    settle(open_log)
    assert open_log.count() == before


def test_rows_of_a_process_that_is_gone_do_not_wait(open_log: WriterLog) -> None:
    """Nobody is left who could store the row: neither is a pid that another process has by now."""
    before = open_log.count()
    open_log.header["process_start"] = -1
    open_log.process = find_end(open_log.header)
    settle(open_log)
    assert open_log.count() == before


def test_rows_of_another_machine_wait(open_log: WriterLog) -> None:
    """Whether its process lives cannot be seen from here."""
    open_log.header.update(boot_id="elsewhere", process_start=-1)
    open_log.process = find_end(open_log.header)
    settle(open_log)
    assert open_log.count() == 5


def test_a_log_without_holes_is_taken_whole(tmp_path: Path) -> None:
    job = one(tmp_path / "logs")
    job[0].data("d", digest="x:0")
    log = read_writer(job.folder(0))
    before = log.count()
    settle(log)
    assert log.count() == before
    job.close()


def test_each_row_is_fresh_once(tmp_path: Path) -> None:
    """The ledger knows the last row taken, and those before it that were not there."""
    with one(tmp_path / "logs") as job:
        job[0].data("d", digest="x:0")
        log = read_writer(job.folder(0))
    sequences = log.events["sequence"].tolist()
    assert Ledger().fresh(log).numbers().tolist() == sequences
    taken = Ledger(last={log.writer: 3}, holes={log.writer: Ranges.span(2, 3)})
    assert taken.fresh(log).numbers().tolist() == [2, *(n for n in sequences if n > 3)]


def test_a_log_is_news_if_its_state_has_changed_and_nothing_is_gone(tmp_path: Path) -> None:
    """A copy of a log with less in it than was taken says nothing new."""
    with one(tmp_path / "logs") as job:
        log = read_writer(job.folder(0))
    events = log.count()
    assert Ledger().is_news(log)
    assert Ledger(states={log.writer: ("closed", events)}).is_news(log)
    assert not Ledger(states={log.writer: (str(log.state), events)}).is_news(log)
    assert not Ledger(states={log.writer: ("closed", events + 1)}).is_news(log)
    log.cut(0)
    assert not Ledger(states={log.writer: ("closed", 1)}).is_news(log)


def test_the_ledger_says_what_was_taken_of_whom(tmp_path: Path) -> None:
    """One row for each writer and commit that took something, in order, with a digest of what was taken."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with Job(logs, 2) as job:
        compact(logs, store)
        job[0].data("d", digest="x:0")
        compact(logs, store)
    compact(logs, store)
    found = rows(store, "select snapshot, writer, first, last, events, len(holes) from ledger order by snapshot, first")
    assert [row[0] for row in found] == sorted(row[0] for row in found)
    for writer in (run.writer.hex() for run in job.runs):
        mine = [row for row in found if row[1] == writer]
        assert mine[0][2] == 1
        assert all(later[2] == before[3] + 1 for before, later in pairwise(mine))
        assert sum(row[4] for row in mine) == len(read_writer(logs / writer).events)
    assert len(set(rows(store, "select digest from ledger"))) == len(found)


def test_states_follow_a_writer(tmp_path: Path) -> None:
    """Open while it runs, closed when it ended; the earlier state stays where it was."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with one(logs):
        compact(logs, store)
    compact(logs, store)
    assert rows(store, "select state, outcome from writer_states order by snapshot") == [
        ("open", None),
        ("closed", "ok"),
    ]
    assert rows(store, "select status from runs") == [("ok",)]


def test_a_command_line_that_is_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the header; no view of the store stumbles over it."""
    odd = os.fsdecode(b"caf\xe9")
    monkeypatch.setattr("sys.orig_argv", ["python", odd])
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with one(logs, name=odd):
        pass
    compact(logs, store)
    ((job, argv),) = rows(store, "select job, argv from runs")
    assert job.startswith("caf")
    assert "caf" in argv
