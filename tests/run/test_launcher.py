"""Rank, size and evidence, from the variables of each launcher."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from braid_hpc.log.header import process_start
from braid_hpc.run.launcher import find_launch
from tests.ranks import RunRanks

SLURM = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_RESTART_COUNT": "2"}
SLURM_STEP = SLURM | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3"}


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, (None, None, None)),
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, ("mpich", 1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, ("openmpi", 0, 2)),
        ({"MV2_COMM_WORLD_RANK": "5", "MV2_COMM_WORLD_SIZE": "8"}, ("mvapich", 5, 8)),
        ({"PALS_RANKID": "7", "PALS_SIZE": "8"}, ("pals", 7, 8)),
        ({"FLUX_TASK_RANK": "2", "FLUX_JOB_SIZE": "3", "FLUX_JOB_ID": "f1"}, ("flux", 2, 3)),
        ({"JSM_NAMESPACE_RANK": "0", "JSM_NAMESPACE_SIZE": "1"}, ("jsrun", 0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, ("torchrun", 1, 2)),
        (SLURM_STEP, ("slurm", 3, 4)),
        # The shell of a batch script has a PROCID, and is no rank.
        (SLURM, (None, None, None)),
        # mpirun within a step of Slurm leaves both; its own ranks are the ranks.
        (SLURM_STEP | {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, ("openmpi", 1, 2)),
        (SLURM_STEP | {"PMI_RANK": "0", "PMI_SIZE": "2"}, ("mpich", 0, 2)),
        # What is no rank of that size is none.
        ({"PMI_RANK": "4", "PMI_SIZE": "4"}, (None, None, None)),
        ({"PMI_RANK": "-1", "PMI_SIZE": "4"}, (None, None, None)),
        ({"PMI_RANK": "x", "PMI_SIZE": "4"}, (None, None, None)),
        ({"PMI_RANK": "", "PMI_SIZE": ""}, (None, None, None)),
        ({"RANK": "1"}, (None, None, None)),
        ({"RANK": "general", "WORLD_SIZE": "2", "PMI_RANK": "1", "PMI_SIZE": "2"}, ("mpich", 1, 2)),
    ],
)
def test_rank_and_size(environ: dict[str, str], found: tuple[str | None, int | None, int | None]) -> None:
    """Of the first launcher whose two variables hold together."""
    launch = find_launch(environ)
    assert (launch.kind, launch.rank, launch.size) == found
    assert ("launcher" in launch.evidence) == (found[0] is not None)


@pytest.mark.parametrize(
    ("environ", "scheduler"),
    [
        (SLURM, {"name": "slurm", "job": "77", "restart": 2, "array": None, "step": None}),
        (SLURM_STEP, {"name": "slurm", "job": "77", "restart": 2, "array": None, "step": "0"}),
        (
            {"SLURM_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "5"},
            {"name": "slurm", "job": "8", "restart": 0, "array": "5", "step": None},
        ),
        (
            {"PBS_JOBID": "12.host", "PBS_RUNCOUNT": "1"},
            {"name": "pbs", "job": "12.host", "restart": 1, "array": None, "step": None},
        ),
        ({"FLUX_JOB_ID": "fab"}, {"name": "flux", "job": "fab", "restart": 0, "array": None, "step": None}),
        (
            {"LSB_JOBID": "9", "LSB_JOBINDEX": "3", "LSB_RESTART": "Y"},
            {"name": "lsf", "job": "9", "restart": 0, "array": "3", "step": None},
        ),
    ],
)
def test_the_scheduler_is_evidence(environ: dict[str, str], scheduler: dict[str, object]) -> None:
    """Job, restart, element of an array, and step: a requeue is another run of the same job."""
    assert find_launch(environ).evidence["scheduler"] == scheduler


def test_a_run_id_is_evidence() -> None:
    """Set by our own launcher and job scripts, for all ranks alike."""
    assert find_launch({"BRAID_RUN_ID": "abc"}).evidence == {"run_id": "abc"}


def test_a_pmix_namespace_is_evidence_with_its_server() -> None:
    """The server's name is of the launch; its rank and addresses, or its pid in Slurm's, are of the node."""
    one = {"PMIX_NAMESPACE": "prterun-n1-77@1", "PMIX_SERVER_URI41": "prterun-n1-77@0.0;tcp4://10.0.0.1:5000"}
    two = one | {"PMIX_SERVER_URI41": "prterun-n1-77@0.1;tcp4://10.0.0.2:6000"}
    assert find_launch(one).evidence == find_launch(two).evidence == {"pmix": "prterun-n1-77@1|prterun-n1-77@0"}
    step = {"PMIX_NAMESPACE": "slurm.pmix.7.0", "PMIX_SERVER_URI41": "pmix-server.116;tcp4://10.0.0.1:5000"}
    assert find_launch(step).evidence == {"pmix": "slurm.pmix.7.0|pmix-server"}


def test_torchrun_is_evidence() -> None:
    """With its restart: an elastic job that begins anew is another run."""
    environ = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "1", "MASTER_PORT": "29500"}
    assert find_launch(environ).evidence["torchrun"] == "x|1|29500"


def test_without_a_known_launcher_the_parent_is_evidence() -> None:
    """With its start, because pids come again."""
    launcher = find_launch({"PMI_RANK": "0", "PMI_SIZE": "1"}).evidence["launcher"]
    assert isinstance(launcher, dict)
    assert launcher["start"] == process_start(launcher["pid"]) > 0
    assert Path(f"/proc/{launcher['pid']}").exists()
    if not launcher["command"]:
        assert launcher["pid"] == os.getppid()


@pytest.mark.mpi_matrix
def test_real_ranks_know_themselves_and_each_other(run_ranks: RunRanks) -> None:
    """Each has its number, all have the size, and their evidence is one; a second run has another."""
    script = """
    import json, sys
    from braid_hpc.run.launcher import find_launch
    launch = find_launch()
    sys.stdout.write(json.dumps([launch.rank, launch.size, launch.evidence], sort_keys=True) + "\\n")
    """
    import json

    runs = []
    for _ in range(2):
        found = [json.loads(line) for line in run_ranks(3, script).stdout.splitlines() if line.startswith("[")]
        assert sorted(rank for rank, _, _ in found) == [0, 1, 2]
        assert {size for _, size, _ in found} == {3}
        evidences = {json.dumps(evidence, sort_keys=True) for _, _, evidence in found}
        assert len(evidences) == 1
        runs.append(evidences.pop())
    assert runs[0] != runs[1]
