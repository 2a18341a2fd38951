"""What of a tail is sealed: the rows that verify, whatever kind of tail it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from braid_hpc.log import writer as writing
from braid_hpc.log.layout import PAGE, ROW_BYTES
from braid_hpc.log.sealable import frames_as_table, remove, verified
from braid_hpc.log.tail import FrameTail, MappedTail
from braid_hpc.log.writer import RankLog
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, WriterState
from tests.log.contract import WRITER
from tests.rank_logs import overwrite, small_tails


def subjects(log: WriterLog) -> list[int]:
    return [int(log.events["subject"][row]) for row in log.events.positions(Code.ROW)]


@pytest.mark.parametrize("kind", ["", "python"])
def test_a_row_that_does_not_verify_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Its neighbours are not; the tail itself is not touched."""
    monkeypatch.setenv("BRAID_TAIL", kind)
    tail = MappedTail(tmp_path / "tail", WRITER, 1, 101, 64, 8192)
    for step in range(10):
        tail.append(31, 0, step, 0, 0, 0, b"payload")
    view, failing = verified(tail.rows_view(), tail.header, thorough=True)
    assert view is tail.rows_view()
    assert failing == []
    overwrite(tail.path, PAGE + 4 * ROW_BYTES + 8, b"\xff")
    view, failing = verified(tail.rows_view(), tail.header, thorough=True)
    assert failing == [105]
    words = [int.from_bytes(view[PAGE + slot * ROW_BYTES + 56 :][:8], "little") for slot in range(10)]
    assert [slot for slot, word in enumerate(words) if not word] == [4]
    tail.close()


def test_a_tail_with_a_damaged_row_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the damage shows, in the row and in the log's own words; all other rows are sealed."""
    small_tails(monkeypatch, rows=32, heap=4096)
    monkeypatch.setattr("braid_hpc.log.sealable.compiled_module", lambda: None)
    log = RankLog(tmp_path / "logs", {}, background=False)
    for step in range(40):
        log.append(Code.ROW, 0, step)
    damaged = log._full[1]
    overwrite(damaged.path, PAGE + 7 * ROW_BYTES + 8, b"\xff")
    log._suspect.add(1)
    assert log.seal() == 1
    log.close()
    found = read_writer(log.directory)
    assert subjects(found) == [step for step in range(40) if step != 7]
    assert found.state is WriterState.CORRUPT
    assert found.faults == ["tail-000001: a row does not carry its check sum"]
    assert "1 rows from 8 on of tail-000001 do not verify" in " ".join(found.troubles)


def test_frames_become_a_table(tmp_path: Path) -> None:
    """Row for row, as far as they verify."""
    tail = FrameTail(tmp_path / "tail", WRITER, 1, 101, 64, 8192)
    for step in range(5):
        tail.append(31, 0, step, 0, 0, 0, b"x" * step)
    view, header = frames_as_table(tail.path, tail.header)
    assert (header.first, header.rows) == (101, 64)
    lengths = [int.from_bytes(view[PAGE + slot * ROW_BYTES + 44 :][:4], "little") for slot in range(6)]
    assert lengths == [0, 1, 2, 3, 4, 0]
    assert bytes(view[header.heap_offset :]) == b"x" * 10
    tail.close()


def test_a_tail_of_frames_whose_sync_failed_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more goes into it; synced waits until its rows are in another file."""
    monkeypatch.setattr(writing, "mapped_tail", lambda: FrameTail)
    log = RankLog(tmp_path / "logs", {}, background=False)
    for step in range(10):
        log.append(Code.ROW, 0, step)
    failing = log.tail
    plain = FrameTail.sync

    def refuse(tail: FrameTail) -> None:
        if tail is failing:
            raise OSError(errno.EIO, "Input/output error")
        plain(tail)

    monkeypatch.setattr(FrameTail, "sync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        log.sync()
    held = log.held
    log.append(Code.ROW, 0, 10)
    assert log.tail is not failing
    log.sync()
    assert log.synced == 0
    assert log.seal() == 1
    log.sync()
    assert log.synced >= held
    log.close()
    found = read_writer(log.directory)
    assert (subjects(found), found.state, found.sealed) == (list(range(11)), WriterState.CLOSED, 1)


def test_a_tail_of_frames_that_is_cut_between_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks whole, but a later row says how many there were."""
    small_tails(monkeypatch, rows=32, heap=4096)
    monkeypatch.setattr(writing, "mapped_tail", lambda: FrameTail)
    log = RankLog(tmp_path / "logs", {}, background=False)
    for step in range(40):
        log.append(Code.ROW, 0, step)
    log.seal()
    log.close()
    whole = read_writer(log.directory)
    assert (whole.state, whole.faults) == (WriterState.CLOSED, [])
    os.truncate(log.directory / "tail-000001", PAGE + 20 * ROW_BYTES)
    cut = read_writer(log.directory)
    assert cut.state is WriterState.TORN
    assert cut.faults == ["tail-000001: it ends within its rows, it has 20 of 32"]


def test_removing(tmp_path: Path) -> None:
    """A file that is gone is gone; one that cannot be removed is tried again by somebody else."""
    (tmp_path / "file").touch()
    assert remove(tmp_path / "file")
    assert remove(tmp_path / "file")
    (tmp_path / "directory").mkdir()
    assert not remove(tmp_path / "directory")
