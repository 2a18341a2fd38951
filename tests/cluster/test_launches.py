"""Launches over two nodes: which ranks are one run there, with each MPI and each way of starting it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cluster.launching import TWO_BY_TWO, by_step, environment, merged, program
from tests.cluster.slurm import Cluster
from tests.jobs import made, rows
from tests.ranks import mpirun, wait_for
from tests.scenarios.test_runs import SPMD

pytestmark = [pytest.mark.cluster, pytest.mark.mpi_matrix, pytest.mark.timeout(600)]


@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_ranks_on_two_nodes_are_one_run(cluster: Cluster, tmp_path: Path, launcher: str) -> None:
    """Four ranks, two on each node: one run, complete, each version once with an occurrence from every rank."""
    start = f"{mpirun()} -n 4" if launcher == "mpirun" else by_step()
    script = f"{start} {sys.executable} {program(cluster, SPMD)}"
    cluster.wait(cluster.sbatch(script, *TWO_BY_TWO, env=environment(cluster)), "COMPLETED")
    with made(*merged(cluster, tmp_path)) as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(4, 4, "ok")]
        assert rows(opened, "select host, count(*) from ranks group by all order by all") == [("n1", 2), ("n2", 2)]
        assert rows(opened, "select version, occurrences from versions where name = 'net' order by all") == [
            (version, 4) for version in (1, 2, 3, 4)
        ]
        assert rows(opened, "select code, message from problems") == []
        assert opened.lineage("model:net").complete


def test_launches_of_one_job_script_are_runs_of_their_own(cluster: Cluster, tmp_path: Path) -> None:
    """One after the other under one BRAID_RUN_ID, as a job script sets it; two programs of a step are one run."""
    path = program(cluster, SPMD)
    several = program(cluster, f"0-1 {sys.executable} {path}\n2-3 {sys.executable} {path} more\n", "several.conf")
    script = f"""
    {mpirun()} -n 4 {sys.executable} {path}
    {by_step()} {sys.executable} {path}
    {by_step()} --multi-prog {several}
    """
    env = environment(cluster, BRAID_RUN_ID="slurm-1-attempt-0")
    cluster.wait(cluster.sbatch(script, *TWO_BY_TWO, env=env), "COMPLETED")
    with made(*merged(cluster, tmp_path)) as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(4, 4, "ok")] * 3
        assert rows(opened, "select count(distinct host) from ranks group by run") == [(2,)] * 3
        assert rows(opened, "select code, message from problems") == []


def test_tasks_of_an_array_are_runs_of_their_own(cluster: Cluster, tmp_path: Path) -> None:
    script = f"{by_step()} {sys.executable} {program(cluster, SPMD)}"
    job = cluster.sbatch(script, "--nodes=1", "--ntasks=2", "--array=0-2", env=environment(cluster))
    for task in range(3):
        cluster.wait(f"{job}_{task}", "COMPLETED")
    with made(*merged(cluster, tmp_path)) as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(2, 2, "ok")] * 3
        assert rows(opened, "select code, message from problems") == []


@pytest.mark.slow
def test_a_requeued_job_is_another_run(cluster: Cluster, tmp_path: Path) -> None:
    """The first attempt's ranks are killed, those of the second one end well; their logs lie side by side."""
    waiting = SPMD + "\n    if 'SLURM_RESTART_COUNT' not in __import__('os').environ: __import__('time').sleep(1000)\n"
    script = f"{by_step()} {sys.executable} {program(cluster, waiting)}"
    job = cluster.sbatch(script, *TWO_BY_TWO, "--requeue", env=environment(cluster))
    listing = ["sh", "-c", f"ls {cluster.local}/logs 2>/dev/null | wc -l"]
    wait_for(lambda: all(int(cluster.on(node, listing)) == 2 for node in cluster.nodes), "a log of each rank")
    cluster.run(["scontrol", "requeue", job])
    cluster.wait(job, "COMPLETED")
    with made(*merged(cluster, tmp_path)) as opened:
        query = "select ranks, status from runs order by begin_time"
        assert rows(opened, query) == [(4, "incomplete"), (4, "ok")]
        assert rows(opened, "select code, message from problems") == []
