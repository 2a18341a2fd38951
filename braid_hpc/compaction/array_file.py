"""A file for HDF5 to write into that never refuses it anything.

HDF5 cannot let go of a file whose disk is full: it tries again when it is closed and when the process ends, prints
pages of its own diagnosis, and may end the process by a segmentation fault. So the file takes everything, keeps what
the disk said first, and whoever writes asks for that.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

__all__ = ["PatientFile"]


class PatientFile(io.RawIOBase):
    """A new file.

    Parameters
    ----------
    path : Path
        Must not exist.

    Attributes
    ----------
    refused : OSError or None
        What the file system said when it first refused to write; nothing was written since.

    Raises
    ------
    OSError
        If it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.refused: OSError | None = None
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._at = self._end = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place, which may lie behind the end.

        Parameters
        ----------
        offset, whence : int
            As for files.

        Returns
        -------
        int
            The place, from the beginning.
        """
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place.

        Returns
        -------
        int
            From the beginning.
        """
        return self._at

    def write(self, data: Any) -> int:
        """Write, if nothing was refused before.

        Parameters
        ----------
        data : bytes-like
            All of it.

        Returns
        -------
        int
            Its length, always.
        """
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.refused is None and done < len(view):
                done += os.pwrite(self._descriptor, view[done:], self._at + done)
        except OSError as error:
            self.refused = error
        self._at += len(view)
        self._end = max(self._end, self._at)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Read; what was never written is zero.

        Parameters
        ----------
        buffer : writable bytes-like
            Filled.

        Returns
        -------
        int
            Its length, or less at the end.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._end - self._at))
        data = os.pread(self._descriptor, count, self._at)
        view[:count] = data.ljust(count, b"\0")
        self._at += count
        return count

    def truncate(self, size: int | None = None) -> int:
        """Set the length.

        Parameters
        ----------
        size : int, optional
            Bytes; without it the place.

        Returns
        -------
        int
            The length.
        """
        self._end = self._at if size is None else size
        try:
            if self.refused is None:
                os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            self.refused = error
        return self._end

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Let go of the file."""
        if not self.closed:
            super().close()
            os.close(self._descriptor)
