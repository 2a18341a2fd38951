"""The summary says of every rank of every attempt what became of its log, also where nothing was merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.batch.summary import write_summary
from braid_hpc.compaction.compact import compact
from braid_hpc.vocabulary.errors import NotFoundError, StorageError
from tests.cli.conftest import Braid
from tests.jobs import Job
from tests.rank_logs import overwrite


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A job's directory of two ranks."""
    (tmp_path / "logs").mkdir()
    about = {"format": "braid job", "name": "fit", "scheduler": "slurm", "job": "77", "compaction": "78", "ranks": 2}
    (tmp_path / "job.json").write_text(json.dumps(about))
    return tmp_path


def attempt(place: Path, part: str = "attempt-0", *, size: int = 2, own: str = "77") -> Job:
    """Open the ranks of an attempt."""
    return Job(place / "logs" / part, size, env={"BRAID_RUN_ID": f"slurm-{own}-{part}"})


def merged(place: Path) -> tuple[dict[str, Any], str]:
    done = compact(place / "logs", place / "prov.duckdb")
    found = write_summary(place / "summary.json", place / "logs", store=None, done=done)
    assert found == json.loads((place / "summary.json").read_bytes())
    return found, (place / "summary.txt").read_text()


def end(place: Path, part: str, code: int) -> None:
    (place / "logs" / part / "ended.json").write_text(json.dumps({"exit_code": code, "time": 10**18}))


def test_a_good_job(place: Path) -> None:
    with attempt(place):
        pass
    end(place, "attempt-0", 0)
    found, told = merged(place)
    assert found["counts"] | {"complete": 2} == found["counts"] | {"expected": 2, "complete": 2}
    assert (found["parts"][0]["exit_code"], found["compaction"]["error"]) == (0, None)
    assert told.startswith(
        "fit, slurm job 77: 2 of 2 ranks' logs are complete\nattempt 0: ended with exit code 0, 2001-"
    )
    assert "complete 0-1\n" in told
    assert f"merged into {place}/prov.duckdb, snapshot 1: 2 writers" in told


@pytest.mark.parametrize(
    ("near", "cancelled", "said"),
    [
        (False, False, "000Z\n"),
        (False, True, "000Z: it was cancelled, or ended by the scheduler\n"),
        (True, True, "000Z: its time was over\n"),
        (True, False, "000Z, after the warning that its time would be over\n"),
    ],
)
def test_who_ended_it(place: Path, near: bool, cancelled: bool, said: str) -> None:
    """143 alone says little: a time limit, a user, or another job that had to begin."""
    with attempt(place):
        pass
    about = {"exit_code": 143, "time": 10**18, "near_limit": near, "cancelled": cancelled}
    (place / "logs" / "attempt-0" / "ended.json").write_text(json.dumps(about))
    found, told = merged(place)
    assert (found["parts"][0]["near_limit"], found["parts"][0]["cancelled"]) == (near, cancelled)
    assert f"ended with exit code 143, 2001-09-09T01:46:40.000000{said}" in told


def test_a_rank_that_was_killed_and_one_that_is_missing(place: Path) -> None:
    """The first one's log is open; the other one's never came."""
    job = attempt(place, size=3)
    job[0].close()
    job[2].close()
    for path in job.folder(2).iterdir():
        path.unlink()
    job.folder(2).rmdir()
    found, told = merged(place)
    for run in job.runs[1:2]:
        run.close()
    ranks = found["parts"][0]["runs"][0]["ranks"]
    assert (ranks["complete"], ranks["open"], ranks["missing"]) == ([0], [1], [2])
    assert "its script did not come to its end" in told
    assert "open 1 (killed); missing 2" in told


def test_attempts_are_told_apart(place: Path) -> None:
    first = attempt(place, "attempt-0")
    with attempt(place, "attempt-1"):
        pass
    end(place, "attempt-1", 0)
    found, told = merged(place)
    first.close()
    assert [(part["attempt"], part["exit_code"]) for part in found["parts"]] == [(0, None), (1, 0)]
    assert [part["runs"][0]["ranks"]["complete"] for part in found["parts"]] == [[], [0, 1]]
    assert len({part["runs"][0]["run"] for part in found["parts"]}) == 2
    assert told.index("attempt 0:") < told.index("attempt 1: ended with exit code 0")


def test_tasks_of_an_array_are_told_apart(place: Path) -> None:
    """Also where the number of one ends like that of another one."""
    for task in (1, 11):
        with attempt(place, f"task-{task}-attempt-0", own=str(100 + task)):
            pass
    found, told = merged(place)
    assert [(part["task"], len(part["runs"])) for part in found["parts"]] == [(1, 1), (11, 1)]
    assert "task 11, attempt 0: " in told


def test_nodes_and_trouble(place: Path) -> None:
    with attempt(place):
        pass
    logs = place / "logs" / "attempt-0"
    status = {"node": "n2", "state": "watching", "directory": "/tmp/braid-77-attempt-0", "time": 10**18}
    (logs / "n2.status.json").write_text(json.dumps(status))
    (logs / "n1.status.json").write_text(json.dumps(status | {"node": "n1", "state": "final", "faults": ["disk full"]}))
    (logs / "n3.status.json").write_text("{")
    (logs / "trouble.txt").write_text("node n3: /tmp/x cannot be made there\n\x1b[31m\n")
    found, told = merged(place)
    assert [(node["node"], node["state"]) for node in found["parts"][0]["nodes"]] == [
        *(("n1", "final"), ("n2", "watching"), ("n3", None)),
    ]
    assert "node n2, last heard of 2001-09-09T01:46:40.000000000Z: logs may be left there in /tmp/braid-77-" in told
    assert "braid ship --job 77 fetches them" in told
    assert "node n1: disk full" in told
    assert "node n3: n3.status.json cannot be read" in told
    assert "node n3: /tmp/x cannot be made there" in told
    assert "\x1b" not in told


def test_a_job_without_logs(cli: Braid, place: Path) -> None:
    """It was cancelled while it waited: the summary says so, and the exit code stays 3."""
    done = cli("compact", place / "logs", "--store", place / "prov.duckdb", "--summary", place / "summary.json")
    assert done.exit_code == NotFoundError.exit_code
    found = json.loads((place / "summary.json").read_bytes())
    assert (found["parts"], found["counts"]["expected"], found["counts"]["complete"]) == ([], 2, 0)
    told = (place / "summary.txt").read_text()
    assert (
        told.splitlines()[1] == "  there is no log: the job was cancelled before it began, or ended before its command"
    )
    assert "the logs are not merged: there are no rank logs in" in told


def test_a_command_that_was_never_started(place: Path) -> None:
    """No log of an attempt that has a directory: all of its ranks are missing."""
    logs = place / "logs" / "attempt-0"
    logs.mkdir()
    (logs / "trouble.txt").write_text("module gcc could not be loaded: the command was not started\n")
    end(place, "attempt-0", 1)
    found = write_summary(place / "summary.json", place / "logs", store=None, done=None, error=NotFoundError("none"))
    assert found["parts"][0]["runs"][0]["ranks"]["missing"] == [0, 1]
    assert "module gcc could not be loaded" in (place / "summary.txt").read_text()


def test_a_merge_that_fails_has_a_summary(cli: Braid, place: Path) -> None:
    with attempt(place):
        pass
    (place / "prov.duckdb").write_text("not a database")
    done = cli("compact", place / "logs", "--store", place / "prov.duckdb", "--summary", place / "summary.json")
    assert done.exit_code == StorageError.exit_code
    found = json.loads((place / "summary.json").read_bytes())
    assert found["compaction"]["error"]
    assert found["counts"]["complete"] == 2


def test_a_damaged_log_is_told(place: Path) -> None:
    with attempt(place) as job:
        job[0].fact("x", {"a": 1})
    tail = next(job.folder(0).glob("tail-*"))
    overwrite(tail, 4096, b"\xff" * 256)
    found, _ = merged(place)
    assert found["counts"]["complete"] == 1
    assert sum(found["counts"][state] for state in ("torn", "corrupt", "open")) == 1


def test_logs_of_no_job(place: Path) -> None:
    """Any directory of logs may have a summary: what is not known is left out."""
    (place / "job.json").unlink()
    with Job(place / "logs", 2):
        pass
    found, told = merged(place)
    assert (found["job"]["job"], found["parts"][0]["part"]) == (None, "")
    assert told.startswith(f"{place}/logs: 2 of 2 ranks' logs are complete\nlogs of no attempt\n")


def test_statements_of_others_do_not_count(place: Path) -> None:
    """What was stated of the store, and is merged with the logs, is no rank of the job."""
    from braid_hpc.store.store import Store

    with attempt(place) as job:
        job[0].data("d")
    merged(place)
    with Store(place / "prov.duckdb") as store:
        store.invalidate("data:d", cause="wrong")
    with attempt(place, "attempt-1"):
        pass
    found, _ = merged(place)
    assert found["counts"]["expected"] == 4
