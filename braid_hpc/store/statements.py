"""Statements made after a run: through a log of their own beside the store, and a compaction, like everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from braid_hpc.compaction.compact import compact_statements
from braid_hpc.vocabulary.errors import StorageError

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run
    from braid_hpc.snapshots.files import StoreFiles

__all__ = ["state"]


def state(files: StoreFiles, say: Callable[[Run], list[str]]) -> list[str]:
    """Record statements into a log beside a store, and take them into it.

    Parameters
    ----------
    files : StoreFiles
        The store's.
    say : callable
        Makes the statements with the run that it is given, and returns their ids.

    Returns
    -------
    list of str
        The ids. When the call returns, the newest snapshot holds the statements.

    Raises
    ------
    StorageError
        If they cannot be written; where they are written and cannot be taken, the next compaction takes them.
    ConflictError
        If other compactions were faster each time; the next one takes the statements.
    """
    from braid_hpc.run.recorder import Run

    run = Run("statements", log_dir=files.archive, store=files.path, alone=True)
    try:
        made = say(run)
        kept = run.flush("held")
    finally:
        run.close()
    if not kept or not all(made):
        raise StorageError(
            f"a statement could not be written beside {files.path}: see that there is room, and repeat it"
        )
    compact_statements(files.path)
    return made
