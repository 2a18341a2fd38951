"""A writer: nothing is lost or doubled, whatever happens around a call."""

from __future__ import annotations

import functools
import itertools
import mmap
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.log import writer as writing
from braid_hpc.log.choice import why_python
from braid_hpc.log.tail import FrameTail
from braid_hpc.log.writer import RankLog
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.errors import StorageError
from tests.rank_logs import read_logs, read_only_log, said, small_tails, tmpfs
from tests.ranks import RunRanks, wait_for

# Any code that the writer itself has no use for.
EVENT = Code.ROW


@pytest.fixture(autouse=True, params=["python", "compiled"])
def tail(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test with both tails."""
    if request.param == "python":
        monkeypatch.setenv("BRAID_TAIL", "python")
    elif (reason := why_python()) is not None:
        pytest.skip(f"the compiled tail does not run here: {reason}")
    return str(request.param)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RankLog]:
    made = RankLog(tmp_path / "logs", {"rank": 0}, background=False)
    yield made
    made.close()


def subjects(log: WriterLog) -> list[int]:
    return [row.subject for row in said(log, EVENT)]


def any_file(directory: Path, pattern: str) -> bool:
    return any(directory.glob(pattern))


def in_child(work: Any) -> int:
    """Run `work` in a forked child and give its exit code; a signal is a negative one."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ---------------------------------------------------------------------------------------------- the plain way


def test_what_is_appended_is_read(log: RankLog) -> None:
    """In order, with sequences from 1, before and after the end."""
    assert [log.append(EVENT, 0, step) for step in range(10)] == list(range(1, 11))
    found = read_writer(log.directory)
    assert (subjects(found), found.state, found.faults) == (list(range(10)), WriterState.OPEN, [])
    log.close(outcome=1)
    found = read_writer(log.directory)
    assert (subjects(found), found.state, found.outcome) == (list(range(10)), WriterState.CLOSED, 1)


def test_texts_are_said_once(log: RankLog) -> None:
    """One row for each text, whatever it holds; its number stays."""
    texts = ["a", "", "é\n", "\ud800", "x" * 70_000]
    numbers = [log.intern(text) for text in texts]
    assert [log.intern(text) for text in texts] == numbers
    assert len(set(numbers)) == len(texts)
    found = read_writer(log.directory)
    assert len(said(found, Code.NAME)) == len(texts)
    assert {number: found.names()[number] for number in numbers} == dict(zip(numbers, texts, strict=True))


def test_a_row_that_fits_no_prepared_tail_gets_its_own(log: RankLog) -> None:
    """Payloads of many MiB are stored like any other, and what follows them too."""
    payloads = [b"small", bytes(1 << 20), os.urandom(9 << 20), b"after"]
    log.prepare()
    assert all(log.append(EVENT, payload=payload) for payload in payloads)
    assert [row.payload for row in said(read_writer(log.directory), EVENT)] == payloads


def test_a_tail_behind_one_that_was_soon_full_has_its_next_one_at_once(
    log: RankLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the call that fills it would make the next one; one that fills slowly waits until it is half full."""
    small_tails(monkeypatch)
    now = [1_000.0]
    monkeypatch.setattr("braid_hpc.log.upkeep.time.monotonic", lambda: now[0])
    steps = itertools.count()

    def fill() -> None:
        """Go on to the next tail, and let the background thread look."""
        before = log.tail.header.number
        while log.tail.header.number == before:
            log.append(EVENT, 0, next(steps))
        log.prepare()

    def is_there() -> bool:
        return log.tail.header.number in log._successors

    log.prepare()
    now[0] += 10
    fill()
    assert not is_there()
    now[0] += 1
    fill()
    assert is_there()
    now[0] += 10
    fill()
    assert not is_there()


def test_full_tails_are_sealed_and_removed(log: RankLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed or not, the same rows are read, each once; a spare tail is removed at the end."""
    small_tails(monkeypatch)
    for step in range(5_000):
        log.append(EVENT, 0, step, payload=b"%d" % step)
        log.prepare()
    before = read_writer(log.directory)
    assert before.sealed == 0
    sealed = log.seal()
    # All but the present one and the one that is prepared.
    assert before.tails - sealed in (1, 2)
    after = read_writer(log.directory)
    assert (after.sealed, after.tails) == (sealed, before.tails - sealed)
    for found in (before, after):
        assert (subjects(found), found.faults) == (list(range(5_000)), [])
    assert log.seal() == 0
    log.close()
    closed = read_writer(log.directory)
    assert (subjects(closed), closed.state, closed.tails) == (list(range(5_000)), WriterState.CLOSED, 1)


def test_rows_found_in_a_batch_and_in_a_tail_count_once(
    log: RankLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process may end between sealing a tail and removing it."""
    small_tails(monkeypatch)
    for step in range(3_000):
        log.append(EVENT, 0, step)
    shutil.copytree(log.directory, tmp_path / "before")
    log.seal()
    shutil.copytree(log.directory, tmp_path / "before", dirs_exist_ok=True)
    found = read_writer(tmp_path / "before")
    assert found.sealed > 0
    assert found.tails > found.sealed
    assert (subjects(found), found.faults) == (list(range(3_000)), [])


def test_nothing_is_recorded_after_the_end(log: RankLog) -> None:
    """A late call stores nothing, says so, and raises nothing."""
    log.append(EVENT)
    log.close()
    assert log.append(EVENT) == 0
    assert log.intern("late") > 0
    log.close()
    found = read_writer(log.directory)
    assert (found.state, len(subjects(found)), log.lost) == (WriterState.CLOSED, 1, 2)


def test_a_row_that_cannot_be_stored_is_counted(log: RankLog) -> None:
    """A number that does not fit its column raises nothing into the program, and stops nothing else."""
    assert log.append(EVENT, 0, 1) == 1
    assert log.append(EVENT, 0, -1) == 0
    assert log.append(1 << 20) == 0
    assert log.append(EVENT, 0, 2) > 1
    log.close()
    found = read_writer(log.directory)
    assert (subjects(found), found.state) == ([1, 2], WriterState.LOSSY)
    assert [loss[0] for loss in found.lost] == [2]


def test_descriptors_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of every tail, full or not, and the background thread's."""
    small_tails(monkeypatch)

    def once() -> None:
        log = RankLog(tmp_path / "logs", {})
        for _ in range(500):
            log.append(EVENT)
        log.close()

    once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        once()
    assert len(os.listdir("/proc/self/fd")) <= before


# ---------------------------------------------------------------------------------------------- killed


def test_nothing_is_lost_when_the_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event whose call had returned is in the file, at whatever moment SIGKILL comes: 30 times.

    The child counts in memory that it shares with this process; tails roll over and are sealed meanwhile.
    """
    small_tails(monkeypatch)
    dice = random.Random(2026)
    # Stored as one word: struct.pack_into writes zeros first, and SIGKILL may come in between.
    counted = memoryview(mmap.mmap(-1, 8)).cast("Q")
    ended = []
    for trial in range(30):
        logs = tmp_path / str(trial)
        counted[0] = 0
        child = os.fork()
        if child == 0:
            try:
                log = RankLog(logs, {})
                for step in itertools.count():
                    log.append(EVENT, log.intern(f"name-{step}"), step, payload=b"%d" % step)
                    counted[0] = step + 1
            finally:
                os._exit(1)
        wait_for(lambda: counted[0] > 0, "the first event")
        time.sleep(dice.random() * 0.05)
        if trial % 10 == 9:
            # Sealing waits for the disk, which may be slow: some trials are to be killed after a first batch.
            wait_for(functools.partial(any_file, logs, "*/events.sums"), "a sealed batch")
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        returned = counted[0]
        found = read_only_log(logs)
        rows = said(found, EVENT)
        # One more may be there: its call had stored it, and had not returned.
        assert [(row.subject, row.name, row.payload) for row in rows] == [
            (step, f"name-{step}", b"%d" % step) for step in range(len(rows))
        ]
        assert len(rows) in (returned, returned + 1), f"trial {trial}: {found.faults}, {said(found, Code.LOSS)}"
        assert (found.faults, found.state) == ([], WriterState.OPEN)
        ended.append(found)
    assert sum(found.sealed > 0 for found in ended) >= 3
    assert sum(len(subjects(found)) for found in ended) > 1_000


# ---------------------------------------------------------------------------------------------- at once


@pytest.mark.parametrize("kind", ["mapped", "frames"])
def test_threads_lose_and_double_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """While tails roll over and are sealed, with a switch after every microsecond; each thread's order is kept."""
    small_tails(monkeypatch, rows=100, heap=4096)
    if kind == "frames":
        monkeypatch.setattr(writing, "mapped_tail", lambda: FrameTail)
    log = RankLog(tmp_path / "logs", {}, background=False)
    kept: dict[int, list[int]] = {}
    done = threading.Event()

    def work(me: int) -> None:
        kept[me] = []
        for step in range(3_000):
            kept[me].append(
                log.append(EVENT, log.intern(f"step-{step % 500}"), step, me, payload=b"%d-%d" % (me, step))
            )

    def keep() -> None:
        while not done.is_set():
            log.prepare()
            log.seal()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        keeper = threading.Thread(target=keep)
        keeper.start()
        threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        keeper.join()
    finally:
        sys.setswitchinterval(interval)
    log.close()
    found = read_only_log(tmp_path / "logs")
    assert (found.faults, found.state) == ([], WriterState.CLOSED)
    assert found.sealed > 0 or kind == "frames"
    rows = {row.sequence: row for row in said(found, EVENT)}
    assert len(rows) == 12_000
    for me, sequences in kept.items():
        assert sequences == sorted(sequences)
        for step, sequence in enumerate(sequences):
            row = rows[sequence]
            assert (row.subject, row.object, row.name, row.payload) == (
                step,
                me,
                f"step-{step % 500}",
                b"%d-%d" % (me, step),
            )


def test_a_signal_handler_may_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of any recording call of the same thread, also while a tail is made or a text interned."""
    small_tails(monkeypatch, rows=50, heap=4096)
    log = RankLog(tmp_path / "logs", {})
    handled = itertools.count()
    kept = []

    def handle(number: int, frame: object) -> None:
        step = next(handled)
        kept.append(log.append(EVENT, log.intern(f"step-{step}"), step, 1))
        # Once each, and not by an interval: making a tail may take longer than that.
        signal.setitimer(signal.ITIMER_REAL, 0.0002)

    old = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002)
        program = [log.append(EVENT, log.intern(f"step-{step}"), step, 2) for step in range(5_000)]
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    log.close()
    found = read_only_log(tmp_path / "logs")
    assert (found.faults, found.state) == ([], WriterState.CLOSED)
    assert len(kept) > 20
    for who, sequences in ((1, kept), (2, program)):
        rows = [row for row in said(found, EVENT) if row.object == who]
        assert [(row.subject, row.name) for row in rows] == [(step, f"step-{step}") for step in range(len(sequences))]
        assert [row.sequence for row in rows] == sorted(sequences)


def test_a_text_is_said_before_its_number_is_used(tmp_path: Path) -> None:
    """Whoever finds the number of a text finds the text in the log: another thread may be killed with the process."""
    log = RankLog(tmp_path / "logs", {}, background=False)
    order = []
    plain = log.append

    def watched(code: int, *row: Any, **named: Any) -> int:
        order.append("new" in log._names)
        return plain(code, *row, **named)

    log.append = watched  # type: ignore[method-assign]
    log.intern("new")
    assert order == [False]
    log.close()


# ---------------------------------------------------------------------------------------------- forks


def test_a_forked_child_has_a_log_of_its_own(log: RankLog) -> None:
    """With the parent's id in its header, and the texts again; the parent's log is not touched."""
    log.append(EVENT, log.intern("shared"), 1)
    parent = log.writer
    before = {path: path.read_bytes() for path in log.directory.iterdir()}

    def child() -> int:
        assert log.inherited
        log.append(EVENT, log.intern("shared"), 2)
        log.append(EVENT, log.intern("own"), 3)
        assert not log.inherited
        return int(log.writer == parent)

    assert in_child(child) == 0
    assert {path: path.read_bytes() for path in log.directory.iterdir()} == before
    mine, childs = read_logs(log.directory.parent)
    assert (mine.writer, mine.header["parent"]) == (parent.hex(), None)
    assert childs.header["parent"] == parent.hex()
    assert childs.header["pid"] != mine.header["pid"]
    assert childs.header["rank"] == 0
    assert [(row.name, row.subject) for row in said(childs, EVENT)] == [("shared", 2), ("own", 3)]
    assert [(row.name, row.subject) for row in said(mine, EVENT)] == [("shared", 1)]
    assert (mine.faults, childs.faults) == ([], [])


def test_asking_for_the_writer_is_enough(log: RankLog) -> None:
    """What a child encodes before its first row must not be taken for the parent's."""
    parent, directory = log.writer, log.directory
    assert in_child(lambda: int(log.writer == parent or log.directory == directory)) == 0
    assert len(find_writers(directory.parent)) == 2


def test_a_child_that_records_nothing_leaves_nothing(log: RankLog) -> None:
    """Neither a log, nor an end in the parent's."""
    assert in_child(log.close) == 0
    assert read_writer(log.directory).state == WriterState.OPEN
    assert len(find_writers(log.directory.parent)) == 1


def test_children_of_children(log: RankLog) -> None:
    """Each names the one before it, or the last one that recorded."""
    log.append(EVENT, 0, 1)

    def child() -> int:
        log.append(EVENT, 0, 2)
        # The one in the middle records nothing.
        return in_child(lambda: in_child(lambda: int(not log.append(EVENT, 0, 3))))

    assert in_child(child) == 0
    one, two, three = read_logs(log.directory.parent)
    assert (two.header["parent"], three.header["parent"]) == (one.writer, two.writer)
    assert [subjects(found) for found in (one, two, three)] == [[1], [2], [3]]


def test_parent_and_child_record_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through tails that roll over and are sealed in both, from a process with threads."""
    small_tails(monkeypatch)
    log = RankLog(tmp_path / "logs", {})
    stop = threading.Event()
    others = [
        threading.Thread(target=lambda: [log.append(EVENT, log.intern(f"t{n}"), n, 9) for n in range(2_000)])
        for _ in range(2)
    ]
    for other in others:
        other.start()
    children = []
    for me in range(1, 4):
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = int(not all(log.append(EVENT, log.intern(f"c{n}"), n, me) for n in range(1_000)))
                log.close()
            finally:
                os._exit(code)
        children.append(child)
        for n in range(300):
            log.append(EVENT, 0, n, 10 + me)
    stop.set()
    for other in others:
        other.join()
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    log.close()
    mine, *childs = read_logs(tmp_path / "logs")
    assert [(found.state, found.faults) for found in (mine, *childs)] == [(WriterState.CLOSED, [])] * 4
    assert len(subjects(mine)) == 4_000 + 900
    assert sorted((row.object, len(subjects(found))) for found in childs for row in said(found, EVENT)[:1]) == [
        (1, 1_000),
        (2, 1_000),
        (3, 1_000),
    ]
    for found in childs:
        assert [(row.subject, row.name) for row in said(found, EVENT)] == [(n, f"c{n}") for n in range(1_000)]


def test_a_child_that_finds_no_room_goes_on(tmp_path: Path) -> None:
    """What it loses is counted, and recording resumes when there is room."""
    logs = tmp_path / "logs"
    log = RankLog(logs, {}, background=False)

    def child() -> int:
        os.rename(logs, tmp_path / "aside")
        logs.write_text("in the way")
        if [log.append(EVENT, 0, step) for step in range(3)] != [0, 0, 0]:
            return 1
        logs.unlink()
        os.rename(tmp_path / "aside", logs)
        log._retry_at = 0
        return int(not log.append(EVENT, 0, 3))

    assert in_child(child) == 0
    _, found = read_logs(logs)
    assert (subjects(found), found.state) == ([3], WriterState.LOSSY)
    assert [loss[0] for loss in found.lost] == [3]
    log.close()


# ---------------------------------------------------------------------------------------------- no room


@pytest.mark.parametrize("where", ["below a file", "in /proc"])
def test_no_log_can_be_written_there(tmp_path: Path, where: str) -> None:
    """Not even by root: one sentence that says what to do, with the reason."""
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "logs" if where == "below a file" else Path("/proc/braid")
    with pytest.raises(StorageError, match="log_dir= or BRAID_LOG_DIR") as caught:
        RankLog(place, {})
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_full_disk_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program goes on; the loss is counted with its range, and recording resumes by itself when room is made."""
    monkeypatch.setattr(writing, "RETRY_NS", 50_000_000)
    with tmpfs(tmp_path / "disk", "6m") as disk:
        log = RankLog(disk / "logs", {})
        (disk / "ballast").write_bytes(bytes(3 << 20))
        kept: list[tuple[int, int]] = []
        lost: list[tuple[int, int]] = []
        for step in range(8_000):
            name = log.intern(f"before-{step}") if step % 10 == 0 else 0
            before = time.time_ns()
            (kept if log.append(EVENT, name, step, payload=bytes(1_000)) else lost).append((step, before))
        assert kept
        assert lost
        assert log.lost >= len(lost)
        counted = log.lost
        full = read_only_log(disk / "logs")
        assert full.state == WriterState.LOSSY
        assert sum(loss[0] for loss in full.lost) == counted
        assert abs(full.lost[0][1] - lost[0][1]) < 50_000_000
        (disk / "ballast").unlink()
        time.sleep(0.1)
        assert log.append(EVENT, log.intern(f"before-{lost[-1][0] // 10 * 10}"), 1 << 20, payload=b"again")
        log.close()
        found = read_only_log(disk / "logs")
        assert (found.state, found.faults) == (WriterState.LOSSY, [])
        assert subjects(found) == [step for step, _ in kept] + [1 << 20]
        # What was interned while there was no room is explained all the same.
        assert said(found, EVENT)[-1].name == f"before-{lost[-1][0] // 10 * 10}"
        assert sum(loss[0] for loss in found.lost) == counted
        for loss in found.lost:
            assert lost[0][1] - 50_000_000 < loss[1] <= loss[2] < lost[-1][1] + 50_000_000
        (row,) = said(found, Code.LOSS)
        assert "No space left" in row.value["reason"]


def test_losses_of_threads_are_all_counted(tmp_path: Path) -> None:
    """Four threads that lose events at once."""
    log = RankLog(tmp_path / "logs", {}, background=False)
    log._lose(OSError("no room"))
    log._retry_at = 1 << 62
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: [log.append(EVENT) for _ in range(3_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert log.lost == 12_001
    log.close()
    found = read_only_log(tmp_path / "logs")
    assert [loss[0] for loss in found.lost] == [12_001]


def test_without_threads_and_descriptors_events_are_held_all_the_same(run_ranks: RunRanks) -> None:
    """A limit of the system on either costs sealing in the background, and nothing else."""
    script = """
    import resource, threading, os
    from pathlib import Path
    from braid_hpc.log.writer import RankLog

    def refuse(self):
        raise RuntimeError("can't start new thread")

    start, threading.Thread.start = threading.Thread.start, refuse
    log = RankLog(Path("logs"), {})
    threading.Thread.start = start
    assert log.append(31) == 1
    log.close()
    # Two descriptors are left: enough for a tail and its mapping, and not for the thread's.
    held = [os.dup(0) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.close(held.pop())
    os.close(held.pop())
    other = RankLog(Path("logs"), {})
    assert other.append(31) == 1
    other.close()
    """
    run_ranks(0, script)
