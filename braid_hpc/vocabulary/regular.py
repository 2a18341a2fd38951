"""Opening a file that somebody named: only a regular one ends, and only of one it is sure that nobody has to wait."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NOT_REGULAR", "open_regular"]

#: What is said of a FIFO, a device, a socket or a directory.
NOT_REGULAR = "not a regular file"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without waiting for whatever else the path may name.

    Parameters
    ----------
    path : Path
        Which; a link to a regular file is one.

    Returns
    -------
    binary file
        Open for reading.

    Raises
    ------
    OSError
        If it is not there, cannot be opened, or is a FIFO, a device, a socket or a directory.

    Examples
    --------
    >>> from pathlib import Path
    >>> open_regular(Path("/dev/zero"))
    Traceback (most recent call last):
    OSError: [Errno 22] not a regular file: '/dev/zero'
    """
    # Looked at before, because to open a device may do something; and after, because it may be another one by now,
    # which is why nothing is waited for.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
        return cast(BinaryIO, open(descriptor, "rb"))
    except BaseException:
        os.close(descriptor)
        raise
