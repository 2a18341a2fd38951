"""A file that takes the digest of what is written into it, while it is written."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from braid_hpc.vocabulary.identity import content_of_file

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["DigestingFile"]


class DigestingFile(io.RawIOBase):
    """A file around another one.

    Formats that are written from the beginning to the end cost no reading; of those that go back (HDF5, TIFF) the
    bytes are read again at the end. It has no ``fileno``: what writes past it would be missed.

    Parameters
    ----------
    under : binary file
        Empty, open for writing and reading; it stays open when this one is closed.

    Attributes
    ----------
    failure : OSError or None
        What the file system answered, if it refused a write: libraries hide it in errors of their own.
    """

    def __init__(self, under: BinaryIO) -> None:
        from blake3 import blake3

        self._under = under
        self._digest = blake3()
        self._length = 0
        self._in_order = True
        self.failure: OSError | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place in the file.

        Parameters
        ----------
        offset : int
            Bytes.
        whence : int
            As for any file.

        Returns
        -------
        int
            Bytes from the beginning.
        """
        return self._under.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file, bytes from its beginning."""
        return self._under.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into a buffer.

        Parameters
        ----------
        buffer : writable buffer
            Filled from its beginning.

        Returns
        -------
        int
            How many bytes were read; 0 at the end.
        """
        view = memoryview(buffer).cast("B")
        found = self._under.read(len(view))
        view[: len(found)] = found
        return len(found)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes where the file stands.

        Parameters
        ----------
        data : buffer
            Of any type.

        Returns
        -------
        int
            How many bytes, which are all.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        view = memoryview(data)
        view = view.cast("B") if view.c_contiguous and view.ndim else memoryview(view.tobytes())
        if self._under.tell() == self._length and self._in_order:
            self._digest.update(view)
            self._length += len(view)
        else:
            self._in_order = False
        self._kept(self._under.write, view)
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or extend the file.

        Parameters
        ----------
        size : int, optional
            Bytes; by default up to where the file stands.

        Returns
        -------
        int
            The size.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        wanted = self._under.tell() if size is None else size
        self._in_order = self._in_order and wanted == self._length
        self._kept(self._under.truncate, wanted)
        # In memory that does not extend, as it does on a disk.
        place = self._under.tell()
        if (there := self._under.seek(0, os.SEEK_END)) < wanted:
            self._kept(self._under.write, bytes(wanted - there))
        self._under.seek(place)
        return wanted

    def flush(self) -> None:
        """Hand everything to the operating system.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        if not self._under.closed:
            self._kept(self._under.flush)

    def finish(self) -> tuple[str, int]:
        """Give digest and size of all bytes.

        Returns
        -------
        str
            ``"blake3:<hex>"``.
        int
            Bytes.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        self.flush()
        size = self._under.seek(0, os.SEEK_END)
        if self._in_order and size == self._length:
            return f"blake3:{self._digest.hexdigest()}", size
        self._under.seek(0)
        content = content_of_file(self._under)
        return content.digest, size

    def _kept(self, call: Any, *given: Any) -> Any:
        """Call, and keep what the file system answered."""
        try:
            return call(*given)
        except OSError as error:
            self.failure = error
            raise
