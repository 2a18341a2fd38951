"""Submission through PSI/J, where a site has settled on it: the same scripts, handed over by another library.

PSI/J (https://exaworks.org/psij-python) writes a script of its own, which asks the scheduler and starts ours. It has
neither jobs that depend on others nor signals before a time limit: the dependency goes to the scheduler as one of its
own options, and logs are shipped by the clock and at SIGTERM only. Ids are the scheduler's, so everything else that is
asked of a job is asked of the scheduler itself.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from braid_hpc.batch.scheduler import Asked, Scheduler
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError

__all__ = ["EXECUTORS", "submit_through_psij"]

#: The schedulers whose dependencies PSI/J can hand over: its executor, and the option that waits for a job's end.
EXECUTORS = {
    "slurm": ("slurm", "slurm.dependency", "afterany:{job}"),
    "pbs": ("pbs", "pbs.W", "depend=afterany:{job}"),
    "lsf": ("lsf", "lsf.w", "ended({job})"),
}


def submit_through_psij(to: Scheduler, script: Path, asked: Asked, *, after: str | None = None) -> str:
    """Submit a script through PSI/J.

    Parameters
    ----------
    to : Scheduler
        Whose script it is.
    script : Path
        The script; it runs in its own directory, and its output is beside it.
    asked : Asked
        What it needs.
    after : str, optional
        A job that has to be over first, however it ended.

    Returns
    -------
    str
        The scheduler's id of the job.

    Raises
    ------
    InvalidInputError
        If PSI/J cannot ask this scheduler for that.
    NotFoundError
        If PSI/J is not installed.
    StorageError
        If the scheduler refused.
    """
    if to.name not in EXECUTORS:
        raise InvalidInputError(f"jobs for {to.name} are not submitted through PSI/J: {', '.join(EXECUTORS)} are")
    if asked.array:
        raise InvalidInputError("PSI/J has no array jobs: submit without it")
    psij = _psij()
    executor, option, form = EXECUTORS[to.name]
    further: dict[str, object] = {option: form.format(job=after)} if after else {}
    further.update(_further(to, asked))
    spec = psij.JobSpec(
        executable="/bin/bash",
        arguments=[str(script)],
        directory=script.parent,
        name=asked.name,
        stdout_path=script.with_suffix(".out"),
        stderr_path=script.with_suffix(".out"),
        launcher="single",
        resources=psij.ResourceSpecV1(
            node_count=asked.nodes,
            processes_per_node=asked.ranks_per_node,
            cpu_cores_per_process=asked.cpus_per_rank,
        ),
        attributes=psij.JobAttributes(
            duration=timedelta(seconds=asked.time),
            queue_name=asked.queue,
            account=asked.account,
            custom_attributes=further,
        ),
    )
    job = psij.Job(spec)
    try:
        psij.JobExecutor.get_instance(executor).submit(job)
    except (psij.SubmitException, psij.InvalidJobException, ValueError) as error:
        refused = StorageError(f"{to.name} did not take {script.name} through PSI/J: {str(error).splitlines()[0]}")
        for line in str(error).splitlines()[1:]:
            refused.add_note(line)
        raise refused from error
    return str(job.native_id)


def _psij() -> Any:
    try:
        return import_module("psij")
    except ModuleNotFoundError as error:
        if error.name != "psij":
            raise
        raise NotFoundError("submission through PSI/J needs its package: pip install 'braid_hpc[psij]'") from None


def _further(to: Scheduler, asked: Asked) -> dict[str, object]:
    """Return what PSI/J has no name for, as options of the scheduler."""
    found: dict[str, object] = {}
    if asked.gpus_per_node and not asked.whole_nodes:
        if to.name != "slurm":
            raise InvalidInputError(f"PSI/J counts GPUs by rank, {to.name} and we by node: submit without it")
        found["slurm.gpus-per-node"] = str(asked.gpus_per_node)
    if asked.constraint or asked.directives:
        if to.name != "slurm" or any("=" not in each for each in asked.directives):
            raise InvalidInputError(f"PSI/J cannot hand these directives to {to.name}: submit without it")
        found.update(
            {f"slurm.{key.lstrip('-')}": value for key, _, value in (d.partition("=") for d in asked.directives)}
        )
        if asked.constraint:
            found["slurm.constraint"] = asked.constraint
    return found
