"""Lock files that say whether a compaction lives: the kernel ends a lock with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["dead_lock", "locked_directory", "new_lock"]

#: What a file system says that has no locks; nothing is taken for a dead one's there.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def new_lock(path: Path) -> int:
    """Make a file that is locked as long as this process lives.

    Parameters
    ----------
    path : Path
        A name that nobody else uses.

    Returns
    -------
    int
        Descriptor; closing it ends the lock. Where the file system has no locks, the file is there all the same.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            # Between the two lines above somebody may have taken it for a dead one's, and removed it.
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def dead_lock(path: Path) -> int | None:
    """Take over the lock of a process that has ended.

    Parameters
    ----------
    path : Path
        From :func:`new_lock` of that process.

    Returns
    -------
    int or None
        Descriptor that holds it now; None where its owner lives, or where the file system cannot tell.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, path):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


@contextlib.contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Keep others who do so out of a directory; for what is done in a moment.

    Parameters
    ----------
    path : Path
        The directory. Where its file system has no locks, nobody is kept out.

    Yields
    ------
    None
        When the others are out.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            # NFS takes such a lock on what is open for writing only, as a directory never is.
            if error.errno not in (*_NO_LOCKS, errno.EBADF):
                raise
        yield
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
