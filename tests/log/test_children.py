"""Forked children that end by ``os._exit``: their parent says that their logs are complete."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from braid_hpc.log.header import pack_header, unpack_header
from braid_hpc.log.layout import ENDED_NAME
from braid_hpc.log.ship import ship_writer
from braid_hpc.log.writer import RankLog
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, Ending, WriterState
from tests.ranks import RunRanks


def fork(log: RankLog, end: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        try:
            log.append(Code.ROW, 0, 7)
            end()
        finally:
            os._exit(3)
    return child


def log_of_child(log: RankLog) -> WriterLog:
    (found,) = [read_writer(path) for path in find_writers(log.directory.parent) if path != log.directory]
    return found


def wait_without_reaping(child: int) -> None:
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def log(tmp_path: Path) -> RankLog:
    return RankLog(tmp_path / "logs", {}, background=False)


def test_a_child_that_was_seen_to_exit_has_ended(log: RankLog) -> None:
    """With its exit code in the file; the program still gets the exit that it waits for."""
    child = fork(log, lambda: os._exit(3))
    wait_without_reaping(child)
    assert log_of_child(log).state is WriterState.OPEN
    log.see_children()
    found = log_of_child(log)
    assert (found.state, found.faults, len(found.events)) == (WriterState.ENDED, [], 1)
    about = unpack_header((found.directory / ENDED_NAME).read_bytes())
    assert (about["parent"], about["status"]) == (log.writer.hex(), 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    log.close()


def test_the_end_of_the_parent_is_not_too_late(log: RankLog) -> None:
    """Closing looks once more."""
    child = fork(log, lambda: os._exit(0))
    wait_without_reaping(child)
    log.close()
    assert log_of_child(log).state is WriterState.ENDED
    os.waitpid(child, 0)


def test_a_child_that_was_killed_has_not_ended(log: RankLog) -> None:
    """What it was about to record nobody knows."""
    child = fork(log, lambda: os.kill(os.getpid(), signal.SIGKILL))
    wait_without_reaping(child)
    before = time.time_ns()
    log.close()
    found = log_of_child(log)
    assert found.state is WriterState.OPEN
    assert found.process is not None
    assert (found.process.how, found.process.code) == (Ending.KILLED, -signal.SIGKILL)
    assert before < found.process.utc_ns < time.time_ns()
    os.waitpid(child, 0)


def test_a_program_that_waits_first(log: RankLog) -> None:
    """Newer kernels tell how a process ended also after that; on others its log stays open."""
    child = fork(log, lambda: os._exit(0))
    killed = fork(log, lambda: time.sleep(60))
    os.waitpid(child, 0)
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    log.see_children()
    states = [read_writer(path).state for path in find_writers(log.directory.parent)]
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert states.count(WriterState.ENDED) == (1 if release >= (6, 15) else 0)
    log.close()


def test_the_file_is_shipped_and_checked(log: RankLog, tmp_path: Path) -> None:
    """A copy says the same; one that is damaged, or of another writer, says nothing."""
    child = fork(log, lambda: os._exit(0))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    log.see_children()
    directory = log_of_child(log).directory
    ship_writer(directory, tmp_path / "shared")
    assert read_writer(tmp_path / "shared" / directory.name).state is WriterState.ENDED
    path = directory / ENDED_NAME
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"status": 0', b'"status": 1'))
    assert read_writer(directory).state is WriterState.CORRUPT
    path.write_bytes(pack_header({**unpack_header(data), "writer": 32 * "0"}))
    assert read_writer(directory).state is WriterState.OPEN
    os.waitpid(child, 0)
    log.close()


def test_descriptors_are_let_go_of(run_ranks: RunRanks) -> None:
    """When a child has ended, and when the log is closed; in a process where nothing else looks after children."""
    script = """
    import os
    from pathlib import Path
    from braid_hpc.log.writer import RankLog

    log = RankLog(Path("logs"), {}, background=False)
    before = len(os.listdir("/proc/self/fd"))
    children = [os.fork() or os._exit(0) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before + 5
    for child in children:
        os.waitpid(child, 0)
    log.see_children()
    assert len(os.listdir("/proc/self/fd")) == before
    waiting, going = os.pipe()
    if not (child := os.fork()):
        os.close(going)
        os.read(waiting, 1)
        os._exit(0)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    log.close()
    assert len(os.listdir("/proc/self/fd")) < before + 2
    os.close(going)
    os.waitpid(child, 0)
    print("looked")
    """
    done = run_ranks(0, script)
    assert (done.stderr, done.stdout) == ("", "looked\n")
