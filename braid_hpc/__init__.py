"""Provenance for MPI jobs that costs a rank almost nothing and loses nothing.

Importing the package imports nothing but the standard library; each name below is loaded on first use.

Examples
--------
>>> import braid_hpc as braid
>>> @braid.job("fit")
... def main():
...     run = braid.current_run()
...     config = run.fact("config", {"steps": 3})
"""

from __future__ import annotations

from braid_hpc._version import __version__

# Importing typing would take longer than all the rest; type checkers know this name without it.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from braid_hpc import batch, collectors
    from braid_hpc.compaction.compact import compact
    from braid_hpc.run.activities import activity, carry
    from braid_hpc.run.handles import Record, record_of
    from braid_hpc.run.job import current_run, job, start
    from braid_hpc.run.recorder import Run
    from braid_hpc.run.tables import table
    from braid_hpc.store.store import Store
    from braid_hpc.store.store import open_store as open
    from braid_hpc.tasks.task import task
    from braid_hpc.vocabulary.errors import BraidError, BraidWarning, InvalidInputError, NotFoundError

__all__ = [
    "BraidError",
    "BraidWarning",
    "InvalidInputError",
    "NotFoundError",
    "Record",
    "Run",
    "Store",
    "__version__",
    "activity",
    "batch",
    "carry",
    "collectors",
    "compact",
    "current_run",
    "job",
    "open",
    "record_of",
    "start",
    "table",
    "task",
]

_HOMES = {
    "BraidError": "braid_hpc.vocabulary.errors",
    "BraidWarning": "braid_hpc.vocabulary.errors",
    "InvalidInputError": "braid_hpc.vocabulary.errors",
    "NotFoundError": "braid_hpc.vocabulary.errors",
    "Record": "braid_hpc.run.handles",
    "Run": "braid_hpc.run.recorder",
    "Store": "braid_hpc.store.store",
    "activity": "braid_hpc.run.activities",
    "carry": "braid_hpc.run.activities",
    "compact": "braid_hpc.compaction.compact",
    "current_run": "braid_hpc.run.job",
    "job": "braid_hpc.run.job",
    "open": "braid_hpc.store.store",
    "record_of": "braid_hpc.run.handles",
    "start": "braid_hpc.run.job",
    "table": "braid_hpc.run.tables",
    "task": "braid_hpc.tasks.task",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for.

    Raises
    ------
    AttributeError
        If there is no such name.
    """
    from importlib import import_module

    if name in ("batch", "collectors"):
        return import_module(f"braid_hpc.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'braid_hpc' has no attribute {name!r}")
    value = getattr(import_module(home), "open_store" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return all names, also those that are not loaded yet."""
    return sorted(__all__)
