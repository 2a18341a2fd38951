"""What a process can tell of the machine, the scheduler and the software around it, from files and variables."""

from __future__ import annotations

import fnmatch
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braid_hpc.vocabulary.redaction import sounds_secret

__all__ = [
    "ALLOWED",
    "container",
    "gpus",
    "host",
    "installed_packages",
    "interpreter",
    "modules",
    "scheduler",
    "variables",
]

#: Variables that are recorded; patterns of :mod:`fnmatch`.
ALLOWED = (
    *("OMP_*", "KMP_*", "GOMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "NUMBA_*", "VECLIB_*"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"),
    *("NCCL_*", "UCX_*", "FI_*", "MPICH_*", "OMPI_MCA_*", "I_MPI_*", "HDF5_*", "NETCDF_*"),
    *("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "CONDA_DEFAULT_ENV"),
    *("CONDA_PREFIX", "LANG", "LC_*", "TZ", "TMPDIR", "BRAID_LOG_DIR", "BRAID_TAIL"),
)

_SCHEDULERS = {
    "slurm": ("SLURM_JOB_ID", "SLURM_JOB_PARTITION"),
    "pbs": ("PBS_JOBID", "PBS_QUEUE"),
    "lsf": ("LSB_JOBID", "LSB_QUEUE"),
    "flux": ("FLUX_JOB_ID", "FLUX_JOB_QUEUE"),
}
_ABOUT_JOB = (
    *("SLURM_JOB_NAME", "SLURM_JOB_QOS", "SLURM_JOB_ACCOUNT", "SLURM_JOB_NUM_NODES", "SLURM_JOB_NODELIST"),
    *("SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "SLURM_CLUSTER_NAME", "SLURM_JOB_START_TIME", "SLURM_JOB_END_TIME"),
    *("PBS_JOBNAME", "PBS_NUM_NODES", "PBS_O_HOST", "LSB_JOBNAME", "LSB_PROJECT_NAME", "FLUX_JOB_NNODES"),
)


def host() -> dict[str, Any]:
    """Return what the machine is.

    Returns
    -------
    dict
        Name, kernel, distribution, processor, processors there and usable, memory there and allowed (bytes).
    """
    cpu = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    total = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    names = (line for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME="))
    limit = "".join(_lines("/sys/fs/cgroup/memory.max")).strip()
    return {
        "host": platform.node(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "distribution": next(names, "").partition("=")[2].strip('"'),
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": int(total) * 1024 if total.isdigit() else 0,
        "memory_limit_bytes": int(limit) if limit.isdigit() else None,
    }


def gpus() -> list[dict[str, Any]]:
    """Return the GPUs of the machine.

    Returns
    -------
    list of dict
        By NVML if the driver's library is there and answers; else the names that the driver tells in ``/proc``.
    """
    from braid_hpc.collectors.nvml import nvml_gpus

    found = nvml_gpus()
    return _told_by_driver() if found is None else found


def _told_by_driver() -> list[dict[str, Any]]:
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        about = dict(line.split(":", 1) for line in _lines(path) if ":" in line)
        uuid = about.get("GPU UUID", "").strip()
        found.append({"name": about.get("Model", "").strip(), "uuid": uuid})
    return found


def scheduler() -> dict[str, Any]:
    """Return the batch job that the process is part of.

    Returns
    -------
    dict
        Empty outside of one; ``scheduler``, ``job``, ``queue``, and what else its variables tell.
    """
    for name, (job, queue) in _SCHEDULERS.items():
        if os.environ.get(job):
            more = {key: os.environ[key] for key in _ABOUT_JOB if os.environ.get(key)}
            return {"scheduler": name, "job": os.environ[job], "queue": os.environ.get(queue, ""), **more}
    return {}


def modules() -> list[str]:
    """Return the environment modules that are loaded.

    Returns
    -------
    list of str
        ``name/version`` in the order in which they were loaded.
    """
    return [name for name in os.environ.get("LOADEDMODULES", "").split(":") if name]


def container() -> dict[str, str]:
    """Return the container that the process runs in.

    Returns
    -------
    dict
        ``kind`` and ``image``, the latter where it is told; empty outside of one.
    """
    for kind, names in (
        ("apptainer", ("APPTAINER_CONTAINER", "APPTAINER_NAME")),
        ("singularity", ("SINGULARITY_CONTAINER", "SINGULARITY_NAME")),
        ("shifter", ("SHIFTER_IMAGEREQUEST", "SHIFTER_IMAGE")),
        ("charliecloud", ("CH_RUNNING",)),
    ):
        if image := next((os.environ[name] for name in names if os.environ.get(name)), None):
            return {"kind": kind, "image": image}
    for kind, path in (("podman", "/run/.containerenv"), ("docker", "/.dockerenv")):
        if os.path.exists(path):
            image = next((line for line in _lines(path) if line.startswith("image=")), "")
            return {"kind": kind, "image": image.partition("=")[2].strip('"')}
    return {}


def interpreter() -> dict[str, str]:
    """Return which Python runs.

    Returns
    -------
    dict
        Implementation, version, compiler, C library, executable and prefix.
    """
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "compiler": platform.python_compiler(),
        "libc": " ".join(platform.libc_ver()),
        "executable": sys.executable,
        "prefix": sys.prefix,
    }


def installed_packages() -> dict[str, str]:
    """Return the packages that are installed, imported or not.

    Returns
    -------
    dict
        Name to version.
    """
    from importlib import metadata

    found: dict[str, str] = {}
    for package in metadata.distributions():
        # The metadata of a damaged installation has no name.
        if package.metadata is not None and (name := package.metadata["Name"]):
            found.setdefault(str(name), str(package.version))
    return dict(sorted(found.items()))


def variables(allowed: Sequence[str] = ALLOWED) -> dict[str, str]:
    """Return the variables of the environment that may be recorded.

    Parameters
    ----------
    allowed : sequence of str
        Patterns of names.

    Returns
    -------
    dict
        Those that match and do not sound secret; what their values hold is not looked at here.
    """
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if any(fnmatch.fnmatchcase(name, each) for each in allowed) and not sounds_secret(name)
    }


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
