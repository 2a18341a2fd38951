"""Jobs from `braid submit` on Slurm, from the specification to the answer."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.store.store import Store
from tests.cluster.slurm import Cluster
from tests.cluster.submitting import SAID, braid, specify, submit
from tests.jobs import count, rows

# Slurm waits by itself: for nodes that do not answer, and for processes to end.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_braggnn_on_two_nodes(cluster: Cluster) -> None:
    """Submitted, run, shipped, merged by the dependent job; the lineage is asked of the shared directory."""
    job = submit(
        cluster,
        name="braggnn",
        command='python -m braid_hpc.demos.braggnn --dir "$job/work" --logs "$BRAID_LOG_DIR"',
        launcher_flags=["--mpi=pmi2"],
    )
    found = job.merged()
    assert found["counts"] == {"expected": 4, "complete": 4, **dict.fromkeys(_OTHERS, 0)}
    answer = braid(cluster, "lineage", "model:braggnn", "--store", job.store, "--format", "json").stdout
    names = {node["name"] for node in json.loads(answer)["nodes"]}
    assert {f"peaks/scan-7/rank-{rank}" for rank in range(4)} <= names
    with Store(job.store) as opened:
        assert rows(opened, "select host, count(*) from ranks group by all order by all") == [("n1", 2), ("n2", 2)]
        assert rows(opened, "select size, ranks, status from runs") == [(4, 4, "ok")]


_OTHERS = ("open", "lossy", "torn", "corrupt", "missing")


@pytest.mark.parametrize("tasks", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_an_array_of_tasks_into_one_store(cluster: Cluster, tasks: int) -> None:
    """Each task is a run, with a directory of its own; one merge after all of them."""
    job = submit(cluster, nodes=1, ranks_per_node=1, array=f"0-{tasks - 1}")
    job.go()
    found = job.merged(timeout=600)
    assert [(part["task"], part["attempt"], part["exit_code"]) for part in found["parts"]] == [
        (task, 0, 0) for task in range(tasks)
    ]
    assert found["counts"]["complete"] == tasks
    with Store(job.store) as opened:
        assert rows(opened, "select ranks, status, count(*) from runs group by all") == [(1, "ok", tasks)]
        assert rows(opened, "select count(*) from versions where name like 'said/%'") == [(SAID,)]
        assert rows(opened, "select distinct occurrences from versions where name like 'said/%'") == [(tasks,)]


def test_two_merges_at_once(cluster: Cluster) -> None:
    """Started by mistake: one wins, and nothing is there twice."""
    job = submit(cluster)
    cluster.run(["scancel", job.compaction])
    job.go()
    cluster.wait(job.job, "COMPLETED", 120)
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: cluster.sbatch(job.directory / "compact.sh"), range(2)))
    for number in both:
        cluster.wait(number, "COMPLETED", 120)
    with Store(job.store) as opened:
        assert opened.snapshot == 1
        assert (count(opened, "runs"), count(opened, "ranks"), count(opened, "versions")) == (1, 4, 4 * SAID)
    assert "4 of 4 ranks' logs are complete" in job.told()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"queue": "nightly"}, "Slurm has no partition 'nightly': there are debug"),
        ({"time": None}, "time"),
        ({"nodes": -2}, "nodes"),
        ({"time": "3 h", "queue": "debug"}, "partition debug allows 01:00:00"),
    ],
)
def test_what_is_refused_before_submission(cluster: Cluster, fields: dict[str, Any], sentence: str) -> None:
    """In one sentence that names the field, and no job and no file is there afterwards."""
    path = specify(cluster, fields)
    before = sorted(path.parent.iterdir())
    refused = braid(cluster, "submit", path.name, cwd=path.parent, check=False)
    assert refused.returncode != 0
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert sorted(path.parent.iterdir()) == before
    assert cluster.run(["squeue", "--noheader"]).stdout == ""


@pytest.mark.parametrize("elsewhere", [True, False], ids=["braid is there", "braid came by it"])
def test_a_module_that_does_not_exist(cluster: Cluster, elsewhere: bool) -> None:
    """Nobody can tell before there is a node: the command is not started, and the summary says why."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}" if elsewhere else "/usr/bin:/bin"
    job = submit(cluster, modules=["no-such-module/1"], setup=[f"PATH={path}"])
    sentence = "module no-such-module/1 could not be loaded on n1: the command was not started"
    (part,) = job.merged("FAILED")["parts"]
    assert (part["exit_code"], part["trouble"]) == (1, [sentence])
    assert sentence in job.told()


def test_a_node_local_directory_that_is_missing_on_one_node(cluster: Cluster) -> None:
    """All ranks log to the shared directory, nothing is lost, and the summary names the node."""
    cluster.on("n2", ["touch", cluster.local / "disk"])
    job = submit(cluster, node_local=str(cluster.local / "disk"))
    job.go()
    found = job.merged()
    assert found["counts"]["complete"] == 4
    (part,) = found["parts"]
    (trouble,) = part["trouble"]
    assert trouble.startswith(f"node n2: {cluster.local}/disk/braid-{job.job}-attempt-0 cannot be made there")
    assert trouble in job.told()
