"""``braid doctor``: what is here, and what it can promise."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Any

import click

from braid_hpc._version import __version__
from braid_hpc.cli.demo import find_mpirun
from braid_hpc.cli.output import Command, emit, format_option
from braid_hpc.collectors.registry import installed
from braid_hpc.log.choice import tail_kind, why_python
from braid_hpc.log.layout import MAJOR, MINOR
from braid_hpc.log.places import SITE_VARIABLES, default_log_dir, file_system_of
from braid_hpc.run.launcher import find_launch
from braid_hpc.snapshots import schema

__all__ = ["doctor"]


@click.command(cls=Command, examples=["braid doctor", "braid doctor --format json"])
@format_option
def doctor(form: str) -> None:
    """Say which versions are here, where logs would lie, and what their file system can promise."""
    emit(("what", "finding"), list(_findings()), form)


def _findings() -> Any:
    yield "braid_hpc", f"{__version__} (log format {MAJOR}.{MINOR}, store format {schema.MAJOR}.{schema.MINOR})"
    yield "python", f"{sys.version.split()[0]} {sys.executable}"
    for name in ("msgspec", "xxhash", "blake3", "nanoarrow", "pyarrow", "duckdb", "numpy", "h5py", "numba", "mpi4py"):
        yield name, _version(name)
    yield "mpirun", find_mpirun() or "none: programs run without MPI, or with the site's own launcher"
    launch = find_launch()
    place = f"rank {launch.rank} of {launch.size} ({launch.kind})" if launch.kind else "not under a launcher"
    yield "this process", place
    yield from _log_directory()
    yield "store", os.environ.get("BRAID_STORE") or "BRAID_STORE is not set"
    yield "collectors", ", ".join(found.name for found in installed()) or "none is installed"
    for variable in ("BRAID_DISABLE", "BRAID_STRICT"):
        if value := os.environ.get(variable):
            yield variable, value


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _log_directory() -> Any:
    directory = default_log_dir()
    if os.environ.get("BRAID_LOG_DIR"):
        reason = "BRAID_LOG_DIR"
    else:
        reason = next((name for name in SITE_VARIABLES if os.environ.get(name)), "the temporary directory")
    yield "log directory", f"{directory} (by {reason})"
    there = directory
    while not there.exists():
        there = there.parent
    system = file_system_of(there)
    space = os.statvfs(there)
    yield "its file system", f"{system.type} on {system.mount}, {space.f_bavail * space.f_frsize / 2**30:.1f} GiB free"
    yield "writable", "yes" if os.access(there, os.W_OK) else "no: name another with BRAID_LOG_DIR"
    if system.mappable:
        why = why_python()
        yield "tail", f"mapped, {tail_kind()}" + (f" ({why})" if why else "")
    else:
        yield "tail", "frames appended by write (this file system is not mapped)"
    held = "buffered on this node until it is synced" if system.network else "survives the process"
    synced = "not available: nothing here survives the node" if system.volatile else "survives the node"
    yield "level held", held
    yield "level synced", synced
