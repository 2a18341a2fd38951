"""``braid demo``: a whole workflow on real ranks, from the launcher to the answer."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import click

from braid_hpc.cli.output import Command, messages
from braid_hpc.vocabulary.errors import NotFoundError

__all__ = ["demo", "find_mpirun"]

DEMOS = ("braggnn", "cells", "ctsegnet", "scattering", "slac", "ssx")


def find_mpirun() -> str | None:
    """Return the launcher that belongs to this Python.

    Returns
    -------
    str or None
        ``mpirun`` or ``mpiexec`` beside the interpreter, else on the PATH.
    """
    import shutil

    beside = sysconfig.get_path("scripts")
    for path in (beside, None):
        for name in ("mpirun", "mpiexec"):
            if found := shutil.which(name, path=path):
                return found
    return None


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": False},
    examples=["braid demo braggnn", "braid demo braggnn -n 8 --dir work"],
)
@click.argument("name", type=click.Choice(DEMOS))
@click.option("-n", "ranks", type=click.IntRange(min=1), default=4, show_default=True, help="How many ranks.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Where to work.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Of all random numbers; the default is the demo's own.")
@click.pass_context
def demo(context: click.Context, name: str, ranks: int, directory: Path, seed: int | None) -> None:
    """Run a workflow on real MPI ranks, merge what they recorded, and print the answer of the store."""
    from importlib import import_module

    from braid_hpc.compaction.compact import compact
    from braid_hpc.store.store import Store

    launcher = _mpirun()
    package = f"braid_hpc.demos.{name}"
    module = import_module(package)
    logs, store = directory / "logs", directory / "prov.duckdb"
    command = [launcher, "-n", str(ranks), sys.executable, "-m", package, "--dir", str(directory)]
    if seed is not None:
        command += ["--seed", str(seed)]
    began = time.monotonic()
    if getattr(module, "MERGE_FIRST", False) and logs.exists():
        # What it did before, killed or not, is what it need not do again.
        messages.print(f"$ braid compact {logs} --store {store}", soft_wrap=True)
        compact(logs, store)
    messages.print(f"$ {' '.join(command)}", soft_wrap=True)
    code = subprocess.run(command, env=launch_environment(launcher)).returncode
    if code:
        messages.print(f"braid: the job ended with code {code}; what its ranks recorded is merged all the same")
    messages.print(f"$ braid compact {logs} --store {store}", soft_wrap=True)
    done = compact(logs, store)
    messages.print(
        f"{done.events:,} events, {time.monotonic() - began:.1f} s in all; the store is {store}\n", soft_wrap=True
    )
    with Store(store) as opened:
        click.echo(module.report(opened))
    messages.print(f"\nask further: braid {module.FURTHER} --store {store} --format json", soft_wrap=True)
    context.exit(code)


def _mpirun() -> str:
    launcher = find_mpirun()
    if launcher is None:
        raise NotFoundError("there is no mpirun: install an MPI, such as 'pip install mpich mpi4py'")
    return launcher


def launch_environment(launcher: str) -> dict[str, str]:
    """Return the environment for a launcher: Open MPI is told that root and more ranks than cores are meant.

    Parameters
    ----------
    launcher : str
        Path of ``mpirun``.

    Returns
    -------
    dict
        A copy of this process's environment.
    """
    environment = dict(os.environ)
    version = subprocess.run([launcher, "--version"], capture_output=True, text=True, env=environment).stdout
    if "Open MPI" in version or "OpenRTE" in version or "PRRTE" in version:
        environment.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        environment.setdefault("OMPI_MCA_osc", "^ucx")
        if os.getuid() == 0:
            environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
            environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    return environment
