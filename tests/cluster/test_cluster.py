"""The ground that the tests in this folder stand on: two nodes that cannot see what is the other one's."""

from __future__ import annotations

import pytest

from tests.cluster.slurm import Cluster
from tests.ranks import wait_for

# Slurm waits by itself: for nodes that do not answer, and for processes to end.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_the_nodes_have_names_of_their_own(cluster: Cluster) -> None:
    assert sorted(cluster.run(["srun", "--nodes=2", "hostname"]).stdout.split()) == ["n1", "n2"]


def test_a_node_cannot_see_the_logs_of_another_one(cluster: Cluster) -> None:
    """Nor can the machine where people log in; what is shared is seen by all."""
    for folder in (cluster.local, cluster.shared):
        cluster.run(["srun", "--nodes=2", "sh", "-c", 'mkdir "$0/logs-of-$(hostname)"', folder])
    listed = {name: cluster.on(name, ["ls", cluster.local]).split() for name in cluster.nodes}
    assert listed == {"n1": ["logs-of-n1"], "n2": ["logs-of-n2"]}
    assert not list(cluster.local.iterdir())
    for name in cluster.nodes:
        assert {"logs-of-n1", "logs-of-n2"} <= set(cluster.on(name, ["ls", cluster.shared]).split())


def test_a_node_sees_its_own_processes_and_memory_only(cluster: Cluster) -> None:
    cluster.on("n1", ["touch", "/dev/shm/of-n1"])
    assert cluster.on("n2", ["ls", "/dev/shm"]) == ""
    cluster.sbatch("#!/bin/sh\nexec sleep 1234", "--nodelist=n1")
    wait_for(lambda: "sleep 1234" in _processes(cluster, "n1"), "the job")
    assert "sleep 1234" not in _processes(cluster, "n2")


def test_the_nodes_reach_each_other_by_name(cluster: Cluster) -> None:
    script = "import socket; print(*sorted(socket.gethostbyname(name) for name in ('head', 'n1', 'n2')))"
    said = cluster.run(["srun", "--nodes=2", "python3", "-c", script]).stdout.splitlines()
    assert said == ["10.77.0.1 10.77.0.11 10.77.0.12"] * 2


@pytest.mark.slow
def test_a_job_on_a_killed_node_is_requeued(cluster: Cluster) -> None:
    """Slurm notices by itself, as after a power failure; what lay on the node's disk is there when it comes back."""
    (cluster.shared / "step.sh").write_text(
        'attempt=${SLURM_RESTART_COUNT:-0}; touch "$1/attempt-$attempt"; [ $attempt = 1 ] || sleep 1000\n'
    )
    job = cluster.sbatch(f"srun sh step.sh {cluster.local}", "--nodes=2", "--requeue")
    wait_for(lambda: "attempt-0" in cluster.on("n2", ["ls", cluster.local]), "the first attempt")
    cluster.kill_node("n2")
    assert _processes(cluster, "n2").count("\n") == 1
    wait_for(lambda: cluster.job(job)["Restarts"] == "1", "the job to be requeued", timeout=60)
    assert cluster.on("n2", ["ls", cluster.local]).split() == ["attempt-0"]
    cluster.restore_node("n2")
    assert cluster.wait(job)["JobState"] == "COMPLETED"
    assert cluster.on("n2", ["ls", cluster.local]).split() == ["attempt-0", "attempt-1"]


def test_a_job_that_fails_says_so(cluster: Cluster) -> None:
    job = cluster.sbatch("exit 3")
    assert cluster.wait(job, "FAILED")["ExitCode"] == "3:0"
    with pytest.raises(AssertionError, match="is FAILED, and will not be"):
        cluster.wait(job, "RUNNING")


def _processes(cluster: Cluster, node: str) -> str:
    """Return the command lines of a node's processes, but for those that look, one on a line."""
    look = "for d in /proc/[0-9]*; do [ ${d#/proc/} = $$ ] || { tr '\\0' ' ' <$d/cmdline; echo; }; done 2>/dev/null"
    return cluster.on(node, ["sh", "-c", f"{look}; true"])
