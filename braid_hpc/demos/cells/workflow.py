"""The job: the flow on one process, or with ranks as a pool."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import braid_hpc as braid
from braid_hpc.demos.ranks import Ranks, join

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job as this process's rank of it.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments of the command line; by default those of the process.

    Returns
    -------
    int
        0 when the job is done, 1 when a rank failed, 2 for bad arguments.

    Raises
    ------
    SystemExit
        For ``--help`` and bad arguments.
    """
    options = _arguments(argv)
    try:
        ranks = join()
        options.dir.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError) as error:
        print(f"cells: {error}", file=sys.stderr)
        return 2
    # Results lie below the working directory, as the tasks say.
    os.chdir(options.dir)
    logs, store = options.logs or Path("logs"), Path("prov.duckdb")
    try:
        with braid.job("cells", log_dir=logs.absolute(), store=store.absolute()):
            _work(ranks, options)
    except Exception:
        traceback.print_exc()
        ranks.abort()
        return 1
    if ranks.rank == 0:
        print(f"recorded; next: braid compact {shlex.quote(str(logs.absolute()))} --store {store.absolute()}")
    return 0


def _work(ranks: Ranks, options: argparse.Namespace) -> None:
    # Imported where the working directory is the one that results lie below.
    from braid_hpc.demos.cells.flow import flow

    if ranks.comm is None:
        flow(options.cells, options.seed)
        return
    import importlib

    # Rank 0 says what is to be done, the others do it.
    with importlib.import_module("mpi4py.futures").MPICommExecutor(ranks.comm, root=0) as pool:
        if pool is not None:
            flow(options.cells, options.seed, pool.map)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m braid_hpc.demos.cells", description="Run the demo on this rank.")
    parser.add_argument("--dir", type=Path, default=Path("demo"), help="where the images are")
    parser.add_argument("--logs", type=Path, help="where the logs of the ranks are; by default DIR/logs")
    parser.add_argument("--seed", type=int, default=7, help="of all random numbers")
    parser.add_argument("--cells", type=int, default=100, help="how many cells")
    options = parser.parse_args(argv)
    if options.cells < 1:
        parser.error("--cells is at least 1")
    options.dir, options.logs = options.dir.absolute(), options.logs and options.logs.absolute()
    return options
