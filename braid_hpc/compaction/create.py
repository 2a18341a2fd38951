"""An empty store."""

from __future__ import annotations

import os

from braid_hpc.compaction.compact import Compacted, create_empty
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.errors import ConflictError

__all__ = ["create"]


def create(store: str | os.PathLike[str]) -> Compacted:
    """Make an empty store, which later compactions add to.

    Nobody needs to: the first compaction makes a store that is not there.

    Parameters
    ----------
    store : path-like
        Its name.

    Returns
    -------
    Compacted
        Of snapshot 1, with nothing in it.

    Raises
    ------
    ConflictError
        If there is something of that name already, or somebody else was faster; it stays as it is.
    StorageError
        If it cannot be written.
    """
    files = StoreFiles(store)
    if files.exists() or os.path.lexists(files.path):
        raise ConflictError(f"{files.path} is there already: it stays as it is")
    return create_empty(files)
