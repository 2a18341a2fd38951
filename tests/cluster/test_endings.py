"""How jobs end: nothing that the kernel held is lost where a disk lives, and the summary says what became of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.store.store import Store
from tests.cluster.slurm import Cluster
from tests.cluster.submitting import SAID, braid, submit
from tests.jobs import rows
from tests.ranks import wait_for

# Slurm waits by itself: for nodes that do not answer, and for processes to end.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def said(store: Path) -> list[tuple[int, int, int]]:
    """Return attempt, rank, and how many of the records of that rank are in the store."""
    query = "select split_part(split_part(digest, ':', 2), '-', 1)::int as attempt, "
    query += "split_part(split_part(digest, ':', 2), '-', 2)::int as rank, count(*) from versions "
    with Store(store) as opened:
        return rows(opened, f"{query} where name like 'said/%' group by all order by all")


def everything(*attempts: int) -> list[tuple[int, int, int]]:
    return [(attempt, rank, SAID) for attempt in attempts for rank in range(4)]


def ranks_of(part: dict[str, Any]) -> dict[str, list[int]]:
    (run,) = part["runs"]
    return {state: ranks for state, ranks in run["ranks"].items() if ranks}


def test_a_job_that_ends_well(cluster: Cluster) -> None:
    """All has arrived, nothing is left on the nodes, and two files are what came of each node."""
    job = submit(cluster)
    job.ready()
    job.go()
    found = job.merged()
    assert said(job.store) == everything(0)
    (part,) = found["parts"]
    assert (part["attempt"], part["exit_code"], ranks_of(part)) == (0, 0, {"complete": [0, 1, 2, 3]})
    assert "4 of 4 ranks' logs are complete" in job.told()
    for node in cluster.nodes:
        assert cluster.on(node, ["find", cluster.local, "-type", "f"]) == ""
    arrived = sorted(path.name for path in (job.directory / "logs" / "attempt-0").iterdir())
    assert [re.sub("-[0-9a-f]{8}", "", name) for name in arrived] == [
        *("ended.json", "n1.braid.tar", "n1.status.json", "n2.braid.tar", "n2.status.json")
    ]


def test_the_warning_ships_while_the_ranks_go_on(cluster: Cluster) -> None:
    """The signal that comes before the time limit: what was said until then is in the shared directory."""
    job = submit(cluster)
    job.ready()
    cluster.run(["scancel", "--batch", "--signal=USR1", job.job])
    wait_for(lambda: "logs are shipped" in (job.directory / "job.out").read_text(), "the warning")
    logs = job.directory / "logs"
    early = job.directory / "early.duckdb"

    def all_there() -> bool:
        if len(list(logs.glob("*/*.braid.tar"))) < 2:
            return False
        braid(cluster, "compact", logs, "--store", early)
        return said(early) == everything(0)

    wait_for(all_there, "all that was said", timeout=60)
    assert cluster.job(job.job)["JobState"] == "RUNNING"
    job.go()
    (part,) = job.merged()["parts"]
    assert ranks_of(part) == {"complete": [0, 1, 2, 3]}
    assert (part["near_limit"], part["cancelled"]) == (True, False)
    assert said(job.store) == everything(0)


def test_a_rank_that_is_killed(cluster: Cluster) -> None:
    """Its log is open, with all that it has said; those of the others are complete."""
    job = submit(cluster)
    job.ready()
    job.kill(3)
    job.go()
    found = job.merged()
    assert said(job.store) == everything(0)
    (part,) = found["parts"]
    assert ranks_of(part) == {"complete": [0, 1, 2], "open": [3]}
    assert part["exit_code"] == 137
    assert "3 of 4 ranks' logs are complete" in job.told()
    assert cluster.job(job.job)["JobState"] == "FAILED"


def test_a_job_that_is_cancelled(cluster: Cluster) -> None:
    """All processes of the job are ended at once: those beside the ranks bring home what was said before they end."""
    job = submit(cluster)
    job.ready()
    braid(cluster, "cancel", job.job, cwd=job.directory.parent)
    found = job.merged()
    assert cluster.job(job.job)["JobState"] == "CANCELLED"
    assert said(job.store) == everything(0)
    assert found["counts"]["open"] == 4
    assert (found["parts"][0]["near_limit"], found["parts"][0]["cancelled"]) == (False, True)
    assert "it was cancelled, or ended by the scheduler" in job.told()


def test_a_job_that_is_cancelled_while_it_waits(cluster: Cluster) -> None:
    """There is no log; the compaction runs and says so."""
    other = cluster.sbatch("sleep 1000", "--nodes=2", "--exclusive")
    cluster.wait(other, "RUNNING")
    job = submit(cluster)
    assert cluster.job(job.job)["JobState"] == "PENDING"
    braid(cluster, "cancel", job.job, cwd=job.directory.parent)
    cluster.run(["scancel", other])
    # There was nothing to merge: that is what the compaction ends with, after it has said so.
    found = job.merged("FAILED")
    assert found["parts"] == []
    assert "there is no log: the job was cancelled before it began" in job.told()


def test_a_node_that_dies(cluster: Cluster) -> None:
    """The job runs again: two attempts, told apart, and the logs on the dead node are named, and fetched later."""
    job = submit(cluster)
    job.ready()
    status = job.directory / "logs" / "attempt-0" / "n2.status.json"
    wait_for(status.exists, "the first status of n2", timeout=60)
    cluster.kill_node("n2")
    wait_for(lambda: cluster.job(job.job)["Restarts"] == "1", "the job to be requeued", timeout=60)
    cluster.restore_node("n2")
    job.ready(1)
    job.go(1)
    found = job.merged()
    first, second = found["parts"]
    assert (first["attempt"], second["attempt"], second["exit_code"]) == (0, 1, 0)
    # The first round of the node that died came before its ranks said something, or after it.
    arrived, missing = (ranks_of(first).get(state, []) for state in ("open", "missing"))
    assert (arrived[:2], sorted(arrived + missing)) == ([0, 1], [0, 1, 2, 3])
    assert ranks_of(second) == {"complete": [0, 1, 2, 3]}
    assert {(0, 0, SAID), (0, 1, SAID), *everything(1)} <= {*said(job.store)}
    left = rf"node n2, last heard of \S+: logs may be left there in {cluster.local}/braid-{job.job}-attempt-0"
    assert re.search(left, job.told()), job.told()
    with Store(job.store) as opened:
        query = "select ranks, status from runs order by begin_time"
        assert rows(opened, query) == [(len(arrived), "incomplete"), (4, "ok")]
    said_of = braid(cluster, "ship", "--job", job.job, "--format", "json", cwd=job.directory.parent)
    (fetched,) = json.loads(said_of.stdout)
    assert fetched["node"] == "n2"
    cluster.wait(str(fetched["compaction"]), "COMPLETED", timeout=180)
    assert said(job.store) == everything(0, 1)


@pytest.mark.slow
def test_a_job_that_runs_into_its_time_limit(cluster: Cluster) -> None:
    """The shortest limit is a minute."""
    job = submit(cluster, time="00:01:00", warning=20)
    job.ready()
    found = job.merged(timeout=180)
    assert cluster.job(job.job)["JobState"] == "TIMEOUT"
    assert "the time limit is near, logs are shipped" in (job.directory / "job.out").read_text()
    assert said(job.store) == everything(0)
    assert ranks_of(found["parts"][0]) == {"open": [0, 1, 2, 3]}
    assert "its time was over" in job.told()
