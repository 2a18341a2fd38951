"""Running a task again from the command line: in a run of its own, whose log is merged."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.compact import Compacted, compact
from braid_hpc.run.job import job

if TYPE_CHECKING:
    from braid_hpc.store.recreating import Call

__all__ = ["run_again"]


def run_again(call: Call, store: Path) -> tuple[Any, Compacted]:
    """Run a call, and merge what it did into a store.

    Parameters
    ----------
    call : Call
        From a store.
    store : Path
        Which one.

    Returns
    -------
    value : object
        What the task returned.
    merged : Compacted
        As from :func:`braid_hpc.compact`.

    Raises
    ------
    BaseException
        What the task raised; that is merged too.
    """
    logs = Path(tempfile.mkdtemp(prefix="braid-rerun-"))
    try:
        with job(f"rerun of {call.task.name}", log_dir=logs, store=store):
            value = call.run()
    finally:
        # Also what failed is on record then.
        merged = compact(logs, store)
    shutil.rmtree(logs)
    return value, merged
