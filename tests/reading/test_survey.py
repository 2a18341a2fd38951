"""A writer's whole log: put together, and judged."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.log.header import write_header
from braid_hpc.log.layout import PAGE, ROW_BYTES
from braid_hpc.log.writer import RankLog
from braid_hpc.reading.directories import find_writers, read_header
from braid_hpc.reading.sealed import read_stream_batch
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.columns import BATCH_IN_FILE
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError
from tests.faults.campaign import many
from tests.rank_logs import overwrite, said, small_tails
from tests.ranks import wait_for


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a closed log with every sort of file: header, sealed batches, two tails, a stream's file."""
    small_tails(monkeypatch, rows=24, heap=4096)
    with braid.job("damage", log_dir=tmp_path / "logs") as run:
        config = run.fact("config", {"threshold": 40})
        frames = run.data("frames", array=np.arange(12), derived_from=config)
        positions = run.stream("positions", {"frame": "int32", "x": "float64", "label": "text"})
        for frame in range(60):
            positions.append(frame, frame / 3, f"label {frame}")
        positions.extend({"frame": range(2_000), "x": np.arange(2_000.0), "label": ["long enough"] * 2_000})
        wait_for(lambda: (run._log.directory / "events.sums").exists(), "a sealed batch")
        with run.activity("find", used=frames):
            run.model("peaks", digest="blake3:00", derived_from=[frames])
        made = run._log.directory
    assert {path.name.partition("-")[0] for path in made.iterdir()} >= {
        "header.json",
        "events.arrows",
        "events.sums",
        "tail",
        "stream",
    }
    return made


def content(log: WriterLog) -> dict[str, Any]:
    """Give all that a log says."""
    rows = [
        (*(int(log.events[name][row]) for name in sorted(log.events.columns)), log.events.payload(row))
        for row in range(len(log.events))
    ]
    return {
        "rows": rows,
        "header": log.header,
        "writer": log.writer,
        "lost": log.lost,
        "close": log.close,
        "outcome": log.outcome,
    }


def batches(log: WriterLog) -> list[Any]:
    """Give the batches that stand in the files of streams."""
    found = []
    for row in said(log, Code.BATCH):
        if row.flags & BATCH_IN_FILE:
            found.append(read_stream_batch(log.directory, row.other, row.payload).to_pydict())
    return found


def test_a_closed_log_is_complete(directory: Path) -> None:
    """Nothing to complain of, and a header that says whose it is."""
    log = read_writer(directory)
    assert (log.state, log.faults, log.lost, log.unread) == (WriterState.CLOSED, [], [], [])
    assert log.state.complete
    assert log.writer == directory.name == log.header["writer"]
    assert log.sealed > 0
    assert log.close is not None
    assert log.events["sequence"].tolist() == list(range(1, len(log.events) + 1))


def test_no_flipped_bit_is_silent(directory: Path) -> None:
    """Over all files: what is read is what was written, or the log says that it is damaged.

    Nothing but a refusal is raised, and a damaged log is never called complete.
    """
    whole = read_writer(directory)
    before, rows = content(whole), batches(whole)
    assert rows
    dice = random.Random(20260301)
    noticed = 0
    files = sorted(directory.iterdir())
    trials = many(3_000, 500)
    for trial in range(trials):
        path = files[trial % len(files)]
        data = path.read_bytes()
        # Most of a tail is empty: half of the flips go to where the rows are.
        reach = len(data) if trial % 2 else min(len(data), PAGE + 24 * ROW_BYTES)
        at = dice.randrange(reach)
        burst = data[at : at + 16]
        overwrite(path, at, bytes([data[at] ^ 1 << dice.randrange(8)]) if trial % 7 else dice.randbytes(len(burst)))
        try:
            log = read_writer(directory)
            after, found = content(log), batches(log)
        except (CorruptLogError, FormatTooNewError):
            noticed += 1
        else:
            told = log.state in (WriterState.TORN, WriterState.CORRUPT)
            assert told == bool(log.faults)
            assert told or (after == before and found == rows), f"trial {trial}: {path.name}"
            assert set(after["rows"]) <= set(before["rows"])
            noticed += told
        finally:
            overwrite(path, at, burst)
    assert noticed > trials // 3
    assert content(read_writer(directory)) == before


def test_no_cut_is_taken_for_an_end(directory: Path) -> None:
    """Any file cut anywhere, or gone: rows are whole, none is invented, and the log is not complete."""
    before = content(read_writer(directory))
    dice = random.Random(8)
    for path in sorted(directory.iterdir()):
        if path.name.startswith("stream"):
            continue
        data = path.read_bytes()
        cuts = {0, 1, 63, 64, 65, 87, 88, len(data) - 1, *(dice.randrange(len(data)) for _ in range(60))}
        for length in sorted(cut for cut in cuts if cut < len(data)):
            path.write_bytes(data[:length])
            log = read_writer(directory)
            assert set(content(log)["rows"]) <= set(before["rows"])
            complete = log.state.complete
            assert not complete or content(log) == before, f"{path.name} cut to {length} bytes"
            # The line break at the end of a header says nothing.
            assert not complete or (path.name == "header.json" and length == len(data) - 1)
        path.unlink()
        log = read_writer(directory)
        assert not log.state.complete, path.name
        path.write_bytes(data)


def test_a_missing_segment_is_named(directory: Path) -> None:
    """With the range of events that went with it, whether it was a batch or a tail."""
    sums = directory / "events.sums"
    data = sums.read_bytes()
    sums.write_bytes(data[64:])
    log = read_writer(directory)
    assert log.state == WriterState.TORN
    assert log.faults == ["the segment with events 1 to 24 is missing"]
    assert log.unread == [(1, 24)]
    sums.write_bytes(data)
    shutil.copytree(directory, directory.with_name("0" * 32))
    (directory.with_name("0" * 32) / "events.arrows").unlink()
    log = read_writer(directory.with_name("0" * 32))
    assert log.state == WriterState.TORN
    assert (1, 24) in log.unread


def test_a_missing_tail_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in the middle, not yet sealed."""
    small_tails(monkeypatch, rows=10)
    log = RankLog(tmp_path / "logs", {}, background=False)
    for _ in range(35):
        log.append(Code.ROW)
    log.close()
    (log.directory / "tail-000002").unlink()
    found = read_writer(log.directory)
    assert (found.state, found.unread) == (WriterState.TORN, [(11, 20)])


def test_a_missing_header(directory: Path) -> None:
    """The directory's name says whose log it is, and all events are read, in their own time."""
    (directory / "header.json").unlink()
    log = read_writer(directory)
    assert (log.state, log.header, log.writer) == (WriterState.TORN, {}, directory.name)
    assert log.faults == ["header.json is missing"]
    assert len(log.events) > 60
    # The clock pairs among the events are enough.
    assert abs(int(log.utc(log.events["time"])[-1]) - time.time_ns()) < 60e9
    assert find_writers(directory.parent) == [directory]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda data: data.replace(b'"job": "damage"', b'"job": "damaged"'), WriterState.CORRUPT),
        (lambda data: data[: len(data) // 2], WriterState.TORN),
        (lambda data: b"", WriterState.TORN),
        (lambda data: b"\xff" + data, WriterState.CORRUPT),
        (lambda data: b"[1, 2]\n", WriterState.CORRUPT),
    ],
)
def test_a_damaged_header(directory: Path, change: Callable[[bytes], bytes], state: WriterState) -> None:
    """Is not believed in any part: a rank that may be another one is none; its events are read all the same."""
    path = directory / "header.json"
    path.write_bytes(change(path.read_bytes()))
    log = read_writer(directory)
    assert (log.state, log.header, log.writer) == (state, {}, directory.name)
    assert len(log.faults) == 1
    assert find_writers(directory.parent) == [directory]


def test_a_newer_major_version_is_refused_untouched(directory: Path) -> None:
    """Not one byte of it is changed, and no event is read."""
    header, _ = read_header(directory)
    write_header(directory, header | {"major": 99})
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}
    for read in (read_header, read_writer):
        with pytest.raises(FormatTooNewError, match="update braid_hpc") as caught:
            read(directory)
        assert str(directory) in caught.value.__notes__
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()} == before


def test_a_newer_minor_version_is_read(directory: Path) -> None:
    """With what it adds to the header."""
    header, _ = read_header(directory)
    write_header(directory, header | {"minor": 7, "colour": "red"})
    log = read_writer(directory)
    assert (log.state, log.header["colour"]) == (WriterState.CLOSED, "red")


def test_a_copied_and_renamed_log_is_the_same_writer(directory: Path) -> None:
    """The header counts, not the name."""
    copy = directory.with_name("copy of it")
    shutil.copytree(directory, copy)
    assert content(read_writer(copy)) == content(read_writer(directory))
    assert find_writers(directory.parent) == sorted([directory, copy])


# ---------------------------------------------------------------------------------------------- states and times


def test_states(tmp_path: Path) -> None:
    """Open until it is closed; an empty one is torn."""
    log = RankLog(tmp_path / "logs", {}, background=False)
    assert read_writer(log.directory).state == WriterState.OPEN
    log.append(Code.ROW)
    assert read_writer(log.directory).state == WriterState.OPEN
    log.close()
    assert read_writer(log.directory).state == WriterState.CLOSED
    (log.directory / "tail-000001").unlink()
    found = read_writer(log.directory)
    assert (found.state, found.faults) == (WriterState.TORN, ["it holds no events at all"])


def test_a_loss_makes_a_closed_log_lossy(tmp_path: Path) -> None:
    """Also where the process ended before it could say so in an event."""
    log = RankLog(tmp_path / "logs", {}, background=False)
    before = time.time_ns()
    log._lose(OSError("no room"))
    after = time.time_ns()
    found = read_writer(log.directory)
    assert found.state == WriterState.LOSSY
    ((count, first, last),) = found.lost
    assert (count, first) == (1, last)
    assert before - 1_000_000 <= first <= after + 1_000_000
    log.close()
    found = read_writer(log.directory)
    assert (found.state, [loss[0] for loss in found.lost]) == (WriterState.LOSSY, [1])


def test_a_loss_that_two_tails_have_begun_to_count_counts_once(tmp_path: Path) -> None:
    """A new tail was there, and no room in it to tell of the loss: its count goes on from the other one's."""
    log = RankLog(tmp_path / "logs", {}, background=False)
    log._lose(OSError("no room"))
    log._last = log._successor(log._last)
    for _ in range(3):
        log._lose(OSError("no room"))
    assert (log.lost, [loss[0] for loss in read_writer(log.directory).lost]) == (4, [4])
    log.close()
    assert [loss[0] for loss in read_writer(log.directory).lost] == [4]


def test_times_are_in_utc_and_in_order(directory: Path) -> None:
    """By the clock pairs of the log: near the clock of this test, and never backwards where the events are not."""
    log = read_writer(directory)
    utc = log.utc(log.events["time"])
    assert (np.diff(utc) >= 0).all()
    assert abs(int(utc[-1]) - time.time_ns()) < 60e9


def test_a_clock_that_is_set_moves_only_what_comes_after(tmp_path: Path) -> None:
    """Each event takes the last clock pair before it; order within the log stays that of its sequences."""
    log = RankLog(tmp_path / "logs", {}, background=False)
    log.append(Code.ROW)
    log.append(Code.CLOCK, subject=time.time_ns() - 3_600_000_000_000)
    log.append(Code.ROW)
    found = read_writer(log.directory)
    utc = found.utc(found.events["time"])
    assert abs(int(utc[0] - utc[2]) - 3_600e9) < 1e9
    assert found.events["sequence"].tolist() == [1, 2, 3]
    log.close()


def test_a_log_that_is_written_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read again and again while another process records, rolls over and seals: whole events from the first on."""
    small_tails(monkeypatch)
    child = os.fork()
    if child == 0:
        try:
            log = RankLog(tmp_path / "logs", {})
            for step in range(4_000):
                log.append(Code.ROW, 0, step, payload=b"%d" % step)
                if step % 20 == 0:
                    time.sleep(0.002)
            time.sleep(60)
        finally:
            os._exit(1)
    try:
        wait_for(lambda: list((tmp_path / "logs").glob("*/tail-*")), "a log")
        (directory,) = find_writers(tmp_path / "logs")
        seen = [0]
        while seen[-1] < 4_000:
            found = read_writer(directory)
            rows = [(row.subject, row.payload) for row in said(found, Code.ROW)]
            assert (found.faults, found.state) == ([], WriterState.OPEN)
            assert rows == [(step, b"%d" % step) for step in range(len(rows))]
            seen.append(len(rows))
        assert seen == sorted(seen)
        # How often depends on the machine.
        assert len(set(seen)) > 2
        assert found.sealed > 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_reading_changes_nothing(directory: Path) -> None:
    """Files that may only be read are enough."""
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}
    for path in before:
        path.chmod(0o440)
    read_writer(directory)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()} == before


def test_the_header_is_plain_json(directory: Path) -> None:
    """For other tools."""
    assert json.loads((directory / "header.json").read_text())["format"] == "braid rank log"
