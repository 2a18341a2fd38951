"""The lock of those who run actions of a store: one at a time, and the kernel ends it with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from braid_hpc.vocabulary.errors import ConflictError, StorageError

if TYPE_CHECKING:
    from braid_hpc.snapshots.files import StoreFiles

__all__ = ["hold", "is_held"]

_NAME = "actions.lock"


@contextmanager
def hold(files: StoreFiles) -> Iterator[None]:
    """Hold the lock while a block runs.

    Parameters
    ----------
    files : StoreFiles
        The store's.

    Yields
    ------
    None
        While it is held.

    Raises
    ------
    ConflictError
        If another process holds it.
    StorageError
        If there can be none here.
    """
    try:
        files.directory.mkdir(exist_ok=True)
        descriptor = os.open(files.directory / _NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"nothing can be written beside {files.path} ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"another process runs actions of {files.path}: wait until it has ended") from None
        except OSError as error:
            raise StorageError(
                f"{files.directory} has no locks ({error.strerror}), and without one an action might be run twice"
            ) from error
        yield
    finally:
        os.close(descriptor)


def is_held(files: StoreFiles) -> bool:
    """Return whether somebody runs actions of a store at this moment.

    Parameters
    ----------
    files : StoreFiles
        The store's.

    Returns
    -------
    bool
        Whether the lock is held.
    """
    try:
        descriptor = os.open(files.directory / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
