"""Ranks that share a merge and do not live to see its end: nothing is merged by halves, and nobody waits for ever."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.snapshots.files import StoreFiles
from tests.faults.campaign import seeds, trial
from tests.faults.stores import check_leftovers, say
from tests.jobs import Job, digests
from tests.ranks import RunRanks, kill_rank, mpi_of_this_environment, wait_for

pytestmark = [pytest.mark.mpi_matrix, pytest.mark.timeout(40_000)]

#: The command, with something wrong in one of the ranks; each writes its pid down.
PROGRAM = """
import os, resource, sys, time
from functools import partial
from pathlib import Path
from mpi4py import MPI
from braid_hpc.cli import main
from braid_hpc.compaction.conversion import Conversion
from braid_hpc.compaction.crew import Crew
from braid_hpc.compaction.portion import Portion
from braid_hpc.compaction.spoken import SpokenFile

folder, how, who = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rank = MPI.COMM_WORLD.rank
convert = Portion.convert

def fill(*given):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    yield from convert(*given)

def fail(*given):
    raise MemoryError if how == "memory" else ZeroDivisionError("division by zero")

if rank == who and how == "disk":
    Portion.convert = fill
if rank == who and how == "memory":
    Conversion.rows = fail
if rank == who and how == "mistake":
    SpokenFile.read = fail
def tell(*given):
    (folder / f"{rank}.pid").write_text(f"{os.getpid()}\\n")

def wait(*given):
    tell()
    time.sleep(3600)

if rank == who and how == "waits":
    Portion.convert = Crew.order = wait
else:
    tell()
main(["compact", sys.argv[4], "--store", str(folder / "prov.duckdb")])
"""


class Logs:
    """Logs of six ranks, and what a merge makes of them."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "logs"
        with Job(self.directory, 6) as job:
            say(job, 0)
        compact(self.directory, folder / "alone.duckdb")
        self.whole = digests(folder / "alone.duckdb")

    def check(self, folder: Path) -> None:
        """The store is whole, or there is none; a merge by one process makes it whole and removes what was left."""
        store = folder / "prov.duckdb"
        if StoreFiles(store).exists():
            assert digests(store) == self.whole
        compact(self.directory, store)
        assert digests(store) == self.whole
        check_leftovers(store)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    return Logs(tmp_path_factory.mktemp("shared"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("disk", "could not do its part of the merge: File too large"),
        ("memory", "could not do its part of the merge: there is not enough memory"),
        ("mistake", "could not do its part of the merge: ZeroDivisionError: division by zero"),
    ],
)
def test_a_rank_that_cannot_do_its_part(how: str, told: str, logs: Logs, run_ranks: RunRanks, tmp_path: Path) -> None:
    """One sentence, the code of a store that cannot be written, no store, and nothing beside it."""
    done = run_ranks(3, PROGRAM, tmp_path, how, 2, logs.directory, timeout=120, check=False)
    assert done.returncode == 4
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("braid:")]
    assert sentence.startswith("braid: rank 2 on ")
    assert sentence.endswith(told)
    directory = StoreFiles(tmp_path / "prov.duckdb").directory
    assert {str(path.relative_to(directory)) for path in directory.rglob("*")} <= {"logs", "arrays"}
    logs.check(tmp_path)


def test_a_rank_that_is_killed(run_ranks: RunRanks, logs: Logs, tmp_path: Path) -> None:
    """The launcher ends the others; old or new is whole, and the next merge removes what was left."""
    for seed in seeds(60, 1):
        with trial(seed) as random:
            folder = tmp_path / str(seed)
            folder.mkdir()
            pid_file = folder / f"{random.randrange(3)}.pid"
            with run_ranks.start(3, PROGRAM, folder, "well", -1, logs.directory) as job:
                wait_for(partial(written, pid_file), "a pid", timeout=120)
                time.sleep(random.uniform(0, 2))
                killed = kill_if_it_lives(pid_file)
                done = job.wait(120, check=False)
            assert done.returncode != 0 or not killed
            logs.check(folder)


@pytest.mark.parametrize("rank", [2, 0])
def test_the_others_do_not_wait(rank: int, run_ranks: RunRanks, logs: Logs, tmp_path: Path) -> None:
    """Where the launcher lets them live: rank 0 sees that one has ended, the others see it of rank 0; one sentence."""
    if mpi_of_this_environment() != "openmpi":
        pytest.skip("only Open MPI lets the other ranks live")
    arguments = (tmp_path, "waits", rank, logs.directory)
    with run_ranks.start(3, PROGRAM, *arguments, options=("--enable-recovery",)) as job:
        kill_rank(tmp_path / f"{rank}.pid", timeout=120)
        done = job.wait(60, check=False)
    assert done.returncode != 0
    assert f"braid: rank {rank}" in done.stderr
    assert "has ended before its time" in done.stderr
    logs.check(tmp_path)


def written(pid_file: Path) -> bool:
    return pid_file.exists() and pid_file.read_text().endswith("\n")


def kill_if_it_lives(pid_file: Path) -> bool:
    """Send SIGKILL; False where the process has come to its end before."""
    try:
        os.kill(int(pid_file.read_text()), 9)
    except ProcessLookupError:
        return False
    return True
