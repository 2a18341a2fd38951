"""What the status of a task says of a process that did not write how it ended: only what is certain."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.campaigns.plan import make_plan
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.tasks.done_index import DoneIndex, newest_done
from braid_hpc.tasks.states import State
from tests.rank_logs import elsewhere, overwrite
from tests.ranks import RunRanks
from tests.tasks.functions import fails

#: A rank of a batch job: it fits cells, and is killed within one that is negative.
PROGRAM = """
import os, signal, sys
import braid_hpc as braid

@braid.task(version="1", name="cell")
def cell(x: int) -> int:
    if x < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

with braid.job("fit"):
    for each in sys.argv[1:]:
        cell(int(each))
"""


@braid.task(version="1", name="cell", code="keep")
def cell(x: int) -> int:
    """Stand for the task of the program above, whose source is another one."""
    return x


Attempt = Callable[..., None]


@pytest.fixture
def attempt(run_ranks: RunRanks, tmp_path: Path) -> Attempt:
    """Run an attempt of a batch job, or what there is of it until it is killed, and merge its logs elsewhere."""

    def run(number: int, *cells: int, job: str = "77", user: str = "me") -> None:
        logs = tmp_path / f"{user}-{job}-{number}"
        done = run_ranks(
            0,
            PROGRAM,
            *map(str, cells),
            env={
                "BRAID_LOG_DIR": str(logs),
                "BRAID_RUN_ID": f"slurm-{job}-attempt-{number}",
                "LOGNAME": user,
                "USER": user,
            },
            check=False,
        )
        elsewhere(logs)
        assert done.returncode == (-signal.SIGKILL if min(cells, default=0) < 0 else 0), done.stderr
        braid.compact(logs, tmp_path / "prov.duckdb")

    return run


def index(path: Path) -> DoneIndex:
    found = newest_done(path)
    assert found is not None
    return DoneIndex(found)


def state(path: Path, x: int) -> State:
    found = index(path).find(cell.key_of(x))
    assert found is not None
    return found[0]


def shown(path: Path) -> list[str]:
    """The statuses of all executions, in the order in which they began."""
    with braid.open(path) as store:
        told = [row["status"] for row in store.sql("select status from tasks order by created")]
        assert told == [row["status"] for row in store.tasks()][::-1]
    return told


def test_a_task_of_a_job_that_is_at_work_is_running_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "prov.duckdb"
    during: list[str] = []

    @braid.task(version="1", name="merges")
    def merges() -> None:
        braid.compact(tmp_path / "logs", path)
        during.extend(shown(path))

    with braid.job("fit", log_dir=tmp_path / "logs"):
        merges()
    assert during == ["running"]
    assert index(path).find(merges.key_of())[0] is State.RUNNING  # type: ignore[index]
    braid.compact(tmp_path / "logs", path)
    assert shown(path) == ["done"]


def test_a_task_of_a_killed_rank_is_interrupted_once_its_job_was_started_again(
    attempt: Attempt, tmp_path: Path
) -> None:
    """That a log is open says nothing: its process may be at work. That a scheduler has begun anew says it."""
    path = tmp_path / "prov.duckdb"
    attempt(0, 1, -1)
    assert shown(path) == ["done", "running"]
    assert make_plan(cell, {"x": [1, -1, 2]}, path).counts()["running"] == 1
    # Neither another job's later attempt says anything, nor somebody else's of the same number, as on another cluster.
    attempt(1, job="78")
    attempt(1, user="you")
    assert shown(path) == ["done", "running"]
    # The new attempt has run no task, and tells of those of the earlier one all the same.
    attempt(1)
    assert shown(path) == ["done", "interrupted"]
    assert state(path, -1) is State.INTERRUPTED
    plan = make_plan(cell, {"x": [1, -1, 2]}, path)
    assert plan.missing().to_pylist() == [{"x": -1, "state": "interrupted"}, {"x": 2, "state": "unknown"}]
    with braid.open(path) as store:
        assert len(store.tasks(status="interrupted")) == 1


def test_the_attempt_that_is_newest_is_running(attempt: Attempt, tmp_path: Path) -> None:
    path = tmp_path / "prov.duckdb"
    attempt(0, -1)
    attempt(1, -2)
    assert shown(path) == ["interrupted", "running"]
    assert (state(path, -1), state(path, -2)) == (State.INTERRUPTED, State.RUNNING)
    before = index(path).path.read_bytes()
    rebuild(path)
    assert index(path).path.read_bytes() == before
    assert shown(path) == ["interrupted", "running"]


def test_what_an_earlier_attempt_writes_after_all_counts(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status is worked out and not stored: a node that nobody could reach may bring the end of its log."""
    path = tmp_path / "prov.duckdb"
    during: list[list[str]] = []

    @braid.task(version="1", name="slow")
    def slow() -> None:
        braid.compact(tmp_path / "logs", path)
        attempt(1)
        during.append(shown(path))
        braid.current_run().data("late")
        braid.compact(tmp_path / "logs", path)
        during.append(shown(path))

    monkeypatch.setenv("BRAID_RUN_ID", "slurm-77-attempt-0")
    monkeypatch.setenv("LOGNAME", "me")
    monkeypatch.setenv("USER", "me")
    with braid.job("fit", log_dir=tmp_path / "logs"):
        slow()
    # It has written since the other one began: whatever the scheduler meant, it is at work.
    assert during == [["interrupted"], ["running"]]
    braid.compact(tmp_path / "logs", path)
    assert shown(path) == ["done"]


def test_a_log_that_was_closed_is_of_nobody_who_is_running(tmp_path: Path) -> None:
    """A damaged log may have lost the end of a task; its process is over all the same."""
    path = tmp_path / "prov.duckdb"
    with braid.job("fit", log_dir=tmp_path / "logs"), pytest.raises(ValueError, match="no convergence"):
        fails("raise")
    (tail,) = (tmp_path / "logs").glob("*/tail-*")
    overwrite(tail, tail.read_bytes().rindex(b"no convergence"), b"?")
    braid.compact(tmp_path / "logs", path)
    with braid.open(path) as store:
        (rank,) = store.sql("select state, outcome from ranks").to_pylist()
    assert rank == {"state": "corrupt", "outcome": "ok"}
    assert shown(path) == ["interrupted"]
