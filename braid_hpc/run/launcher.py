"""Which rank this is, of how many, and by what evidence ranks of one run are recognised later.

All of it is read from the environment and ``/proc``; no rank asks another one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from braid_hpc.log.header import process_start

__all__ = ["Launch", "find_launch"]

#: Launcher, rank variable, size variable: the first that is there counts. Those set by the MPI library's own
#: launcher come before those of the scheduler, because ``mpirun`` inside a Slurm step leaves both.
_RANKS = (
    ("openmpi", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("mvapich", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("mpich", "PMI_RANK", "PMI_SIZE"),
    ("pals", "PALS_RANKID", "PALS_SIZE"),
    ("flux", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),
    ("torchrun", "RANK", "WORLD_SIZE"),
    # SLURM_STEP_NUM_TASKS and not SLURM_NTASKS: the batch shell has the latter, and is no rank.
    ("slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)

_JOBS = (
    ("slurm", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_ARRAY_TASK_ID"),
    ("pbs", "PBS_JOBID", "PBS_RUNCOUNT", "PBS_ARRAY_INDEX"),
    ("flux", "FLUX_JOB_ID", "", ""),
    ("lsf", "LSB_JOBID", "LSB_RESTART", "LSB_JOBINDEX"),
    ("local", "BRAID_JOB_ID", "", ""),
)

#: Commands (as ``/proc/<pid>/comm`` has them, cut to 15 characters) that start ranks on a node.
_LAUNCHERS = (
    "hydra_pmi_proxy",
    "mpiexec",
    "mpirun",
    "prterun",
    "prted",
    "orted",
    "orterun",
    "slurmstepd",
    "pmi_proxy",
    "palsd",
    "flux-shell",
    "jsmd",
    "torchrun",
)


@dataclass(frozen=True, slots=True)
class Launch:
    """What the environment says of this process's place in a run.

    Attributes
    ----------
    kind : str or None
        The launcher, None without one.
    rank, size : int or None
        None without a launcher.
    evidence : dict
        What groups writers into runs: ``run_id``, ``pmix``, ``scheduler``, ``launcher``, each only where there is one.
    """

    kind: str | None = None
    rank: int | None = None
    size: int | None = None
    evidence: dict[str, object] = field(default_factory=dict)


def find_launch(environ: dict[str, str] | None = None) -> Launch:
    """Read the launcher's variables.

    Parameters
    ----------
    environ : dict, optional
        Instead of :data:`os.environ`.

    Returns
    -------
    Launch
        Without rank and size where nothing launched this process.
    """
    env = os.environ if environ is None else environ
    kind = rank = size = None
    for name, rank_name, size_name in _RANKS:
        rank, size = _number(env.get(rank_name)), _number(env.get(size_name))
        if rank is not None and size is not None and 0 <= rank < size:
            kind = name
            break
        rank = size = None
    return Launch(kind, rank, size, _evidence(env, kind))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _evidence(env: dict[str, str] | os._Environ[str], kind: str | None) -> dict[str, object]:
    evidence: dict[str, object] = {}
    if run_id := env.get("BRAID_RUN_ID"):
        evidence["run_id"] = run_id
    if space := env.get("PMIX_NAMESPACE"):
        server = next((env[key] for key in sorted(env) if key.startswith("PMIX_SERVER_URI")), "")
        # A server's contact begins with its name, and its rank or pid; these and what follows are this node's own.
        evidence["pmix"] = f"{space}|{server.partition(';')[0].rpartition('.')[0]}"
    for scheduler, job, restart, array in _JOBS:
        if number := env.get(job):
            evidence["scheduler"] = {
                "name": scheduler,
                "job": number,
                # Our scripts count where the scheduler does not.
                "restart": _number(env.get("BRAID_ATTEMPT") or env.get(restart)) or 0,
                "array": env.get(array),
                "step": env.get("SLURM_STEP_ID") if scheduler == "slurm" else None,
            }
            break
    if elastic := env.get("TORCHELASTIC_RUN_ID"):
        evidence["torchrun"] = f"{elastic}|{env.get('TORCHELASTIC_RESTART_COUNT', '0')}|{env.get('MASTER_PORT', '')}"
    if kind is not None:
        evidence["launcher"] = _launcher_process()
    return evidence


def _launcher_process() -> dict[str, object]:
    """Return pid, start and command of the process on this node that started the ranks."""
    pid = first = os.getppid()
    for _ in range(8):
        try:
            command = Path(f"/proc/{pid}/comm").read_text().strip()
            above = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
        if command.startswith(_LAUNCHERS):
            return {"pid": pid, "start": process_start(pid), "command": command}
        if above <= 1:
            break
        pid = above
    return {"pid": first, "start": process_start(first), "command": ""}
