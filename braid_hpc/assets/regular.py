"""Regular files, and one sentence for what is none."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from braid_hpc.vocabulary.errors import NotFoundError, StorageError

__all__ = ["check_regular", "open_file"]


def check_regular(path: str) -> os.stat_result:
    """Look whether there is a file.

    Parameters
    ----------
    path : str
        Of a file.

    Returns
    -------
    os.stat_result
        Of it.

    Raises
    ------
    NotFoundError
        If nothing is there.
    StorageError
        If it is no regular file, or cannot be looked at.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{path} is not there: if files were moved, say where they are with root_map=") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(found.st_mode):
        # Opening a pipe would wait for ever.
        raise StorageError(f"{path} is no regular file")
    return found


def open_file(path: str) -> BinaryIO:
    """Open a file for reading.

    Parameters
    ----------
    path : str
        Of a regular file.

    Returns
    -------
    binary file
        At its beginning.

    Raises
    ------
    NotFoundError, StorageError
        As :func:`check_regular`.
    """
    check_regular(path)
    try:
        return open(path, "rb")
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error
