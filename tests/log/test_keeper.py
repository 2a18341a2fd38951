"""The background thread: it seals what is full, leaves signals and descriptors alone, and ends."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from braid_hpc.log.keeper import Keeper
from braid_hpc.log.writer import RankLog
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import Code
from tests.rank_logs import small_tails
from tests.ranks import RunRanks, wait_for


def keepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, Keeper)]


def test_full_tails_are_sealed_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after they are full, without any call for it, and the next one is prepared."""
    small_tails(monkeypatch)
    log = RankLog(tmp_path / "logs", {})
    for step in range(1_000):
        log.append(Code.ROW, 0, step)
    wait_for(lambda: read_writer(log.directory).sealed >= 10, "sealed batches", timeout=10)
    assert not any(log._keeper.failures.values()) if log._keeper else False
    log.close()


def test_it_ends_with_its_log(tmp_path: Path) -> None:
    """Closed, or forgotten."""
    before = len(keepers())
    log = RankLog(tmp_path / "logs", {})
    assert len(keepers()) == before + 1
    log.close()
    assert len(keepers()) == before
    forgotten = RankLog(tmp_path / "logs", {})
    del forgotten
    gc.collect()
    wait_for(lambda: len(keepers()) == before, "the end of the thread", timeout=10)


def test_signals_reach_the_program(tmp_path: Path) -> None:
    """The thread blocks them all, so that a signal interrupts what the program waits for."""
    log = RankLog(tmp_path / "logs", {})
    thread = wait_for(lambda: keepers()[-1].native_id, "the thread")

    def blocked() -> int:
        status = Path(f"/proc/self/task/{thread}/status").read_text()
        return int(status.partition("SigBlk:")[2].split()[0], 16)

    assert wait_for(lambda: blocked() >> (signal.SIGTERM - 1) & 1, "blocked signals", timeout=5)
    log.close()


def test_a_step_that_fails_is_kept_and_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealing into a directory that is in the way fails, and loses nothing; the same tails are sealed elsewhere."""
    small_tails(monkeypatch)
    log = RankLog(tmp_path / "logs", {})
    keeper = log._keeper
    assert keeper is not None

    def rows() -> list[int]:
        found = read_writer(log.directory)
        assert found.faults == []
        return [int(found.events["subject"][row]) for row in found.events.positions(Code.ROW)]

    (log.directory / "events.arrows").mkdir()
    for step in range(500):
        log.append(Code.ROW, 0, step)
    wait_for(lambda: "Is a directory" in keeper.failures.get("seal", ""), "the failure", timeout=10)
    # Whether the thread has come to the next attempt or not.
    assert rows() == list(range(500))
    wait_for(lambda: read_writer(log.directory).sealed > 5, "sealed batches", timeout=10)
    log.close()
    (log.directory / "events.arrows").rmdir()
    assert rows() == list(range(500))


def test_a_program_may_close_all_descriptors(run_ranks: RunRanks) -> None:
    """As daemons do: the file that gets the thread's number is neither written nor read, and no error is printed."""
    script = """
    import os, time
    from pathlib import Path
    from braid_hpc.log import writer
    from braid_hpc.log.writer import RankLog
    from braid_hpc.reading.survey import read_writer

    log = RankLog(Path("logs"), {})
    log.append(31)
    os.closerange(3, 256)
    Path("mine").write_bytes(b"0123456789" * 10)
    mine = [open("mine", "r+b", buffering=0) for _ in range(20)]
    for step in range(300):
        log.append(31)
        log._keeper.wake()
    time.sleep(1.5)
    assert Path("mine").read_bytes() == b"0123456789" * 10
    assert [file.tell() for file in mine] == [0] * 20
    assert len([1 for _ in read_writer(log.directory).events.positions(31)]) == 301
    os._exit(0)
    """
    done = run_ranks(0, script)
    assert done.stderr == ""


def test_descriptors_beyond_those_of_select(run_ranks: RunRanks) -> None:
    """A program with more than 1,024 open files has its tails sealed too."""
    script = """
    import os, resource, time
    from pathlib import Path
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    files = [os.dup(0) for _ in range(1100)]
    from braid_hpc.log import writer
    from braid_hpc.log.writer import RankLog
    from braid_hpc.reading.survey import read_writer
    writer.FIRST_TAIL = writer.LATER_TAILS = (64, 8192)
    log = RankLog(Path("logs"), {})
    for step in range(300):
        log.append(31)
    deadline = time.monotonic() + 10
    while not read_writer(log.directory).sealed and time.monotonic() < deadline:
        time.sleep(0.05)
    assert read_writer(log.directory).sealed
    log.close()
    """
    assert run_ranks(0, script).stderr == ""


def test_waking_costs_nothing_after_the_end(tmp_path: Path) -> None:
    """The descriptor lives as long as somebody may wake the thread, so its number is nobody else's."""
    log = RankLog(tmp_path / "logs", {})
    keeper = log._keeper
    assert keeper is not None
    log.close()
    files = [os.open(tmp_path / "mine", os.O_RDWR | os.O_CREAT) for _ in range(20)]
    for _ in range(3):
        keeper.wake()
        time.sleep(0.001)
    assert os.fstat(files[0]).st_size == 0
    for file in files:
        os.close(file)
