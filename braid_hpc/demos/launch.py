"""How ``python -m braid_hpc.demos.NAME`` begins, alone or under ``mpirun``."""

from __future__ import annotations

import importlib
import os

__all__ = ["launch"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def launch(name: str) -> int:
    """Run a demo as this process's rank of it.

    One thread per rank, as a batch script would ask for: the matrices are small, and ranks share the cores. It has to
    be said before NumPy is imported, which is why this module imports nothing of the demos.

    Parameters
    ----------
    name : str
        Of the demo.

    Returns
    -------
    int
        The exit code of its ``main``.

    Raises
    ------
    ModuleNotFoundError
        There is no such demo, or a package that it needs is missing.
    SystemExit
        For ``--help`` and bad arguments.
    """
    for variable in THREADS:
        os.environ.setdefault(variable, "1")
    code: int = importlib.import_module(f"braid_hpc.demos.{name}.workflow").main()
    return code
