"""The views of attempts: every run of a batch job, and the newest ones."""

from __future__ import annotations

from pathlib import Path

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.cli.conftest import Braid, cli
from tests.jobs import Job

__all__ = ["cli"]


def made(tmp_path: Path) -> Path:
    """A store of a job that was started again, of two tasks of an array, of one by other means, and of no job."""
    logs = tmp_path / "logs"
    slurm = {"SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": "1"}
    for run_id, env in (
        ("slurm-77-attempt-0", {"SLURM_JOB_ID": "77"}),
        ("slurm-77-attempt-1", slurm),
        ("slurm-81-task-3-attempt-0", {"SLURM_JOB_ID": "81", "SLURM_ARRAY_TASK_ID": "3"}),
        ("flux-90-attempt-2", {"FLUX_JOB_ID": "\u0192inner"}),
        ("one of mine", {"LSB_JOBID": "5", "BRAID_ATTEMPT": "4"}),
        ("another", {}),
    ):
        with Job(logs, 2, env={"BRAID_RUN_ID": run_id, **env}):
            pass
    compact(logs, tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


def test_attempts_are_those_of_batch_jobs(tmp_path: Path) -> None:
    with Store(made(tmp_path)) as store:
        query = "select scheduler, scheduler_job, task, attempt, size, ranks, states from {} order by all"
        every = [tuple(row.values()) for row in store.sql(query.format("attempts"))]
        latest = [tuple(row.values()) for row in store.sql(query.format("latest_attempts"))]
        assert len(store.sql("from runs")) == 6
    whole = (2, 2, ["closed", "closed"])
    assert every == [
        ("flux", "90", None, 2, *whole),
        ("lsf", "5", None, 4, *whole),
        ("slurm", "77", None, 0, *whole),
        ("slurm", "77", None, 1, *whole),
        ("slurm", "81", "3", 0, *whole),
    ]
    assert latest == [row for row in every if row[1:4] != ("77", None, 0)]


def test_status_tells_attempts_apart(cli: Braid, tmp_path: Path) -> None:
    answer = cli("status", "--store", made(tmp_path), "--format", "csv")
    lines = [line.split(",") for line in answer.stdout.splitlines()]
    at = {name: index for index, name in enumerate(lines[0])}
    found = sorted((line[at["scheduler_job"]], line[at["restart"]]) for line in lines[1:])
    assert ("77", "0") in found
    assert ("77", "1") in found
