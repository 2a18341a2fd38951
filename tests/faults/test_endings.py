"""Every way a process can end in the middle of recording: nothing that was held is lost, the user's own code runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, Outcome, WriterState
from tests.faults.campaign import seeds, trial
from tests.faults.oracle import rows_of, text_of
from tests.ranks import RunRanks, mpi_of_this_environment, wait_for

PROGRAM = """
import os, signal, sys, threading, time
import braid_hpc as braid
from tests.faults.oracle import COLUMNS, text_of

how, log_dir, until = sys.argv[1], sys.argv[2], int(sys.argv[3])

def told(number):
    # One write of one line: what was acknowledged is in the pipe before anything ends the process.
    os.write(1, f"{number}\\n".encode())

def own_handler(signum, frame):
    os.write(1, b"handler\\n")
    sys.exit(7)

@braid.job("ending", log_dir=log_dir)
def main():
    run = braid.current_run()
    stream = run.stream("rows", COLUMNS)
    for number in range(1 << 40):
        stream.append(number, number / 2, text_of(number))
        told(number)
        if number == until:
            end(stream)

def end(stream):
    if how == "exception":
        raise ValueError("in the middle")
    if how == "sys.exit":
        sys.exit(3)
    if how == "os._exit":
        os._exit(4)
    if how == "segmentation fault":
        import ctypes, faulthandler
        ctypes.string_at(0)
    if how == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    if how == "SIGTERM handled":
        signal.signal(signal.SIGTERM, own_handler)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    if how == "exec":
        os.execv(sys.executable, [sys.executable, "-c", "print('replaced')"])
    if how == "fork":
        child = os.fork()
        if not child:
            for number in range(1000, 1100):
                stream.append(number, number / 2, text_of(number))
            os._exit(0)
        os.waitpid(child, 0)
        os._exit(5)

main()
"""

#: How a process ends, the codes it may end with, the state of its log, and how its run ended there.
ENDINGS = {
    "exception": (1, WriterState.CLOSED, Outcome.FAILED),
    "sys.exit": (3, WriterState.CLOSED, Outcome.EXITED),
    "os._exit": (4, WriterState.OPEN, None),
    "segmentation fault": (-11, WriterState.OPEN, None),
    "SIGTERM": (-15, WriterState.OPEN, None),
    "SIGTERM handled": (7, WriterState.CLOSED, Outcome.EXITED),
    "exec": (0, WriterState.OPEN, None),
    "fork": (5, WriterState.OPEN, None),
}


@pytest.mark.parametrize("how", list(ENDINGS))
@pytest.mark.timeout(1500)
def test_an_ending_loses_nothing_that_was_held(how: str, tmp_path: Path) -> None:
    """All rows up to the last acknowledged one are there, the exit code is the program's own, its handler ran."""
    code, state, outcome = ENDINGS[how]
    for seed in seeds(100, 1):
        with trial(seed) as random:
            log_dir = tmp_path / str(seed)
            until = random.choice([random.randrange(5), random.randrange(3000), random.randrange(30_000)])
            command = [sys.executable, "-c", PROGRAM, how, str(log_dir), str(until)]
            root = Path(__file__).parents[2]
            environment = {key: value for key, value in os.environ.items() if key != "BRAID_STRICT"}
            environment["PYTHONPATH"] = os.fspath(root)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
            assert done.returncode == code, done.stderr
            lines = done.stdout.split("\n")
            numbers = [int(line) for line in lines if line.isdecimal()]
            assert numbers[-1] == until
            assert ("handler" in lines) == (how == "SIGTERM handled")
            assert ("replaced" in lines) == (how == "exec")
            logs = {log.header["parent"]: log for log in map(read_writer, find_writers(log_dir))}
            log = logs[None]
            assert rows_of(log) == [(number, number / 2, text_of(number)) for number in range(until + 1)]
            assert log.state is state
            assert not log.faults
            if outcome is not None:
                assert log.outcome == outcome
            if how == "fork":
                child = logs[log.writer]
                assert rows_of(child) == [(number, number / 2, text_of(number)) for number in range(1000, 1100)]
                assert child.header["pid"] != log.header["pid"]
            else:
                assert len(logs) == 1


JOB = """
import os, signal, sys
import braid_hpc as braid
from mpi4py import MPI
from tests.faults.oracle import COLUMNS, text_of

how, log_dir, until = sys.argv[1], sys.argv[2], int(sys.argv[3])

@braid.job("job", log_dir=log_dir)
def main():
    comm = MPI.COMM_WORLD
    run = braid.current_run()
    stream = run.stream("rows", COLUMNS)
    told = os.open(os.path.join(log_dir, f"told-{comm.rank}"), os.O_WRONLY | os.O_CREAT)
    comm.Barrier()
    for number in range(1 << 40):
        stream.append(number, number / 2, text_of(number))
        os.pwrite(told, b"%020d" % number, 0)
        if number == until and comm.rank == 1:
            if how == "abort":
                comm.Abort(9)
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "recovery" and number == until + 500:
            break

main()
if how == "recovery":
    # MPI's own end would wait for the rank that is no more.
    os._exit(0)
"""


@pytest.mark.mpi_matrix
@pytest.mark.parametrize("how", ["kill", "abort"])
@pytest.mark.timeout(40_000)
def test_a_rank_that_ends_the_job_takes_no_events_with_it(how: str, run_ranks: RunRanks, tmp_path: Path) -> None:
    """One rank is killed, or calls MPI_Abort: all four logs hold every row whose append had returned."""
    for seed in seeds(100, 1):
        with trial(seed) as random:
            log_dir = tmp_path / str(seed)
            log_dir.mkdir()
            until = random.choice([0, random.randrange(200), random.randrange(20_000)])
            done = run_ranks(4, JOB, how, log_dir, until, env=ENVIRONMENT, check=False)
            assert done.returncode != 0
            check_ranks(log_dir)


@pytest.mark.mpi_matrix
@pytest.mark.timeout(40_000)
def test_a_job_that_is_killed_takes_no_events_with_it(run_ranks: RunRanks, tmp_path: Path) -> None:
    """SIGKILL of the launcher and all ranks, one after the other as fast as it goes, at a random moment."""
    for seed in seeds(100, 1):
        with trial(seed) as random:
            log_dir = tmp_path / str(seed)
            log_dir.mkdir()
            job = run_ranks.start(4, JOB, "job", log_dir, 1 << 40, env=ENVIRONMENT)
            with job:
                wait_for(partial(all_tell, log_dir), "all four ranks", timeout=60)
                time.sleep(random.choice([0.0, random.uniform(0, 0.05), random.uniform(0, 0.4)]))
                for pid in random.sample(pids := job.pids(), len(pids)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            check_ranks(log_dir)


@pytest.mark.mpi_matrix
@pytest.mark.timeout(40_000)
def test_the_other_ranks_live_on(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Open MPI lets them with --enable-recovery: their logs are closed, the killed one's is whole up to its end."""
    if mpi_of_this_environment() != "openmpi":
        pytest.skip("only Open MPI lets the other ranks live")
    for seed in seeds(100, 1):
        with trial(seed) as random:
            log_dir = tmp_path / str(seed)
            log_dir.mkdir()
            until = random.choice([0, random.randrange(200), random.randrange(20_000)])
            arguments = (4, JOB, "recovery", log_dir, until)
            job = run_ranks.start(*arguments, env=ENVIRONMENT, options=("--enable-recovery",))
            job.wait(60, check=False)
            states = {log.header["rank"]: log.state for log in check_ranks(log_dir, closed=True)}
            assert states == dict.fromkeys((0, 2, 3), WriterState.CLOSED) | {1: WriterState.OPEN}


def all_tell(log_dir: Path) -> bool:
    return len(list(log_dir.glob("told-*"))) == 4


ENVIRONMENT = {"PYTHONPATH": os.fspath(Path(__file__).parents[2]), "BRAID_STRICT": None}


def check_ranks(log_dir: Path, *, closed: bool = False) -> list[WriterLog]:
    """Hold the logs of four ranks against what they told; none of them was closed, unless that may be."""
    logs = [read_writer(directory) for directory in find_writers(log_dir)]
    assert len(logs) == 4
    for log in logs:
        told = (log_dir / f"told-{log.header['rank']}").read_text()
        counted = int(told) + 1 if told else 0
        rows = rows_of(log)
        assert counted <= len(rows) <= counted + 1, (log.header["rank"], counted, len(rows))
        assert rows == [(number, number / 2, text_of(number)) for number in range(len(rows))]
        assert not log.faults
        assert closed or not list(log.events.positions(Code.CLOSE))
    return logs
