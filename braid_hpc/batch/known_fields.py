"""The fields of a specification: the check of each, those that have to be there, and what others call them."""

from __future__ import annotations

import difflib

from braid_hpc.batch import fields
from braid_hpc.batch.durations import duration
from braid_hpc.batch.sites import SITES

__all__ = ["CHECKS", "LAUNCHERS", "NEEDED", "SCHEDULERS", "nearest"]

SCHEDULERS = ("slurm", "pbs", "lsf", "flux", "local")
LAUNCHERS = ("srun", "mpirun", "mpiexec", "openmpi", "jsrun", "flux", "none")

CHECKS: dict[str, fields.Check] = {
    "name": fields.name,
    "command": fields.command,
    "nodes": fields.number(1),
    "ranks_per_node": fields.number(1, most=100_000),
    "cpus_per_rank": fields.number(1, most=100_000),
    "threads": fields.number(1, most=100_000),
    "gpus_per_node": fields.number(0, most=1000),
    "time": duration,
    "queue": fields.word,
    "account": fields.word,
    "constraint": fields.text,
    "directives": fields.lines,
    "modules": fields.words,
    "environment": fields.environment,
    "setup": fields.lines,
    "site": fields.choice(*sorted(SITES)),
    "scheduler": fields.choice(*SCHEDULERS),
    "launcher": fields.choice(*LAUNCHERS),
    "launcher_flags": fields.lines,
    "node_local": fields.place,
    "directory": fields.text,
    "store": fields.text,
    "array": fields.array,
    "requeue": fields.truth,
    "warning": fields.number(0, most=86_400),
    "ship_every": fields.number(1, most=86_400),
    "compact_ranks": fields.number(1, most=100_000),
    "compact_time": duration,
    "compact_queue": fields.word,
    "source": fields.text,
}

#: What another word may have been meant for.
_ALSO = {
    "partition": "queue",
    "project": "account",
    "walltime": "time",
    "time_limit": "time",
    "env": "environment",
    "ntasks_per_node": "ranks_per_node",
    "tasks_per_node": "ranks_per_node",
    "cpus_per_task": "cpus_per_rank",
    "gpus": "gpus_per_node",
    "logs": "node_local",
    "tmpdir": "node_local",
    "job_name": "name",
    "cmd": "command",
}

NEEDED = {
    "command": "say what each rank runs, as in: command = 'python fit.py'",
    "time": "say how long the job may run, as in: time = '00:30:00'",
}


def nearest(key: str) -> str:
    """Say what a field may have been meant for that there is not.

    Parameters
    ----------
    key : str
        Its name.

    Returns
    -------
    str
        The end of a sentence.
    """
    if key in _ALSO:
        return f"; it is called {_ALSO[key]!r} here"
    near = difflib.get_close_matches(key, [name for name in CHECKS if name != "source"], 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(CHECKS.keys() - {'source'}))}"
