"""Logs that stayed on a node come home, by a job that is pinned there and another merge."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from braid_hpc.batch.fetching import fetch, left_behind
from braid_hpc.batch.local import SCHEDULER
from braid_hpc.batch.scheduler import Asked, scheduler
from braid_hpc.batch.specification import SCHEDULERS
from braid_hpc.batch.submission import submit
from tests.cli.conftest import Braid
from tests.jobs import Job, count


def status(logs: Path, node: str, place: Path, state: str = "watching") -> None:
    logs.mkdir(parents=True, exist_ok=True)
    about = {"format": "braid status", "node": node, "state": state, "directory": str(place), "time": 10**18}
    (logs / f"{node}.status.json").write_text(json.dumps(about))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_job_is_pinned_to_its_node(name: str) -> None:
    """But on this machine, which is all the nodes there are."""
    lines = "\n".join(scheduler(name).directives(Asked(name="fit", time=60, node="n7")))
    assert ("n7" in lines) == (name != "local")


def test_what_is_left_is_known_from_the_last_status(tmp_path: Path) -> None:
    status(tmp_path / "logs" / "attempt-0", "n1", tmp_path / "a", state="final")
    status(tmp_path / "logs" / "attempt-0", "n2", tmp_path / "b")
    (tmp_path / "logs" / "attempt-0" / "n3.status.json").write_text("{")
    assert [(each.node, each.directory) for each in left_behind(tmp_path)] == [("n2", str(tmp_path / "b"))]


@pytest.mark.slow
def test_logs_come_home_and_are_merged(cli: Braid, tmp_path: Path) -> None:
    """One node's logs are there still, another one's are not: both are told."""
    given = {"name": "fit", "command": "true", "time": 5, "directory": str(tmp_path), "launcher": "none"}
    done = submit(given | {"node_local": str(tmp_path / "node")}, scheduler="local")
    over(done.job, done.compaction)
    place = tmp_path / "n2-disk"
    with Job(place, 2, env={"BRAID_RUN_ID": f"local-{done.job}-attempt-0"}) as job:
        job[0].data("d")
    status(done.directory / "logs" / "attempt-0", "n2", place)
    status(done.directory / "logs" / "attempt-0", "n3", tmp_path / "gone")
    answer = cli("ship", "--job", done.job, tmp_path, "--format", "json")
    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert [(each["node"], each["part"], each["fault"]) for each in found] == [
        *(("n2", "attempt-0", None), ("n3", "attempt-0", None)),
    ]
    over(*(each[key] for each in found for key in ("job", "compaction")))
    assert count(done.store, "writers") == 2
    assert not place.exists()
    summary = json.loads((done.directory / "summary.json").read_bytes())
    (part,) = summary["parts"]
    assert part["runs"][0]["ranks"]["complete"] == [0, 1]
    assert any("n3" in line and "gone" in line for line in part["trouble"])
    assert [each.node for each in left_behind(done.directory)] == ["n3"]
    again = fetch(str(done.job), tmp_path)
    over(*(job for each in again for job in (each.job, each.compaction)))
    assert [each.node for each in again] == ["n3"]


def over(*jobs: str | None) -> None:
    end = time.monotonic() + 60
    for each in jobs:
        while SCHEDULER.states([str(each)])[str(each)] != "ended":
            assert time.monotonic() < end
            time.sleep(0.05)


def test_nothing_is_left(cli: Braid, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    about = {"format": "braid job", "name": "fit", "scheduler": "local", "job": "1-1", "specification": {}}
    about["specification"] = {"command": "true", "time": "60 s"}
    (tmp_path / "job" / "job.json").write_text(json.dumps(about))
    answer = cli("ship", "--job", "1-1", tmp_path)
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert "no node has logs of job 1-1 left" in answer.stderr


def test_a_call_that_says_neither_where_nor_whose(cli: Braid, tmp_path: Path) -> None:
    answer = cli("ship", tmp_path)
    assert answer.exit_code == 2
    assert "--to DIR" in answer.stderr
