"""Copies of one log: whatever one of them holds counts, and the state is that of the one that has it all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.log.layout import PAGE, ROW_BYTES
from braid_hpc.reading.copies import join_copies
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.tails import read_tail
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import WriterState
from tests.jobs import count, digests, one
from tests.rank_logs import overwrite, small_tails


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory of a closed log with sealed batches, beside a copy of an earlier time."""
    small_tails(monkeypatch)
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("s", {"n": "int64"})
        for number in range(100):
            stream.append(number)
        job[0]._log.seal()
        shutil.copytree(job.folder(0), tmp_path / "logs" / "early")
        stream.extend({"n": list(range(100, 6_000))})
    return job.folder(0)


def joined(*folders: Path) -> WriterLog:
    (log,) = join_copies(map(read_writer, folders)).values()
    return log


@pytest.mark.parametrize("turned", [False, True])
def test_a_batch_is_read_from_the_copy_that_has_it(folder: Path, tmp_path: Path, turned: bool) -> None:
    """Whichever of the two is found first: rows of a stream that came after the copy are not lost."""
    early, later = folder.parent / "early", folder.parent / "late"
    if turned:
        early.rename(folder.parent / ("0" * 32))
        folder.rename(later)
    else:
        folder.rename(folder.parent / ("0" * 32))
    compact(folder.parent, tmp_path / "both.duckdb")
    assert count(tmp_path / "both.duckdb", "stream.s") == 6_000
    assert count(tmp_path / "both.duckdb", "problems") == 0
    for path in folder.parent.iterdir():
        if read_writer(path).state is not WriterState.CLOSED:
            shutil.rmtree(path)
    compact(folder.parent, tmp_path / "one.duckdb")
    assert digests(tmp_path / "both.duckdb") == digests(tmp_path / "one.duckdb")


@pytest.mark.parametrize("turned", [False, True])
def test_half_a_copy_takes_nothing_away(folder: Path, turned: bool) -> None:
    """An open log that is whole stays open, though a copy of it lacks a file."""
    shutil.rmtree(folder)
    whole = folder.parent / "early"
    half = folder.parent / "half"
    shutil.copytree(whole, half)
    (half / "events.arrows").unlink()
    log = joined(*([half, whole] if turned else [whole, half]))
    assert (log.state, log.faults, log.unread) == (WriterState.OPEN, [], [])
    assert len(log.events) == len(read_writer(whole).events)
    assert set(log.copies) | {log.directory} == {whole, half}


@pytest.mark.parametrize("turned", [False, True])
def test_an_early_copy_does_not_hide_damage(folder: Path, turned: bool) -> None:
    """A copy without damage holds less: what is missing later is still told, and the end of the log is known."""
    early = folder.parent / "early"
    tail = sorted(folder.glob("tail-*"))[-1]
    log = read_writer(folder)
    late = int(log.events["sequence"][-2])
    first = read_tail(tail).header.first  # type: ignore[union-attr]
    assert late > read_writer(early).events["sequence"][-1]
    overwrite(tail, PAGE + ROW_BYTES * (late - first), b"\xff")
    before = read_writer(folder)
    log = joined(*([early, folder] if turned else [folder, early]))
    assert log.state is before.state is WriterState.CORRUPT
    assert (log.faults, log.unread, log.close) == (before.faults, before.unread, before.close)


def test_two_halves_make_a_whole_of_events_and_say_both_faults(folder: Path) -> None:
    """Each has what the other lacks; what neither has cannot be known, so the state is not a good one."""
    other = folder.parent / "other"
    shutil.copytree(folder, other)
    whole = read_writer(folder)
    (folder / "events.sums").unlink()
    tail = sorted(other.glob("tail-*"))[-1]
    os.truncate(tail, 4096)
    log = joined(folder, other)
    assert log.events["sequence"].tolist() == whole.events["sequence"].tolist()
    assert log.state in (WriterState.TORN, WriterState.CORRUPT)
    assert log.unread == []
    assert any("events.sums" in fault or "is missing" in fault for fault in log.faults)
    assert any(tail.name in fault for fault in log.faults)
