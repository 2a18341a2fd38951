"""A file of sealed batches: an Arrow IPC stream that grows by whole batches, and the file of their sums beside it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from xxhash import xxh3_128

from braid_hpc.log.layout import EVENTS_NAME, pack_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BatchFile", "Bytes", "batch_digest", "events_file", "write_at"]

#: What a message is kept in.
Bytes: TypeAlias = bytes | memoryview


class BatchFile:
    """An Arrow IPC stream that grows by whole batches, and its file of sums.

    Parameters
    ----------
    path : Path
        ``<name>.arrows``; the sums stand in ``<name>.sums``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sums = path.with_suffix(".sums")
        self._end = 0
        self._begun = False
        self._dirty = False

    def append(self, schema: Bytes, batch: Bytes, first: int, after: int, rows: int, *, sync: bool) -> tuple[int, int]:
        """Append one batch and its sum; several threads may do so at once.

        Parameters
        ----------
        schema, batch : bytes or memoryview
            Encapsulated messages; the schema is written only into an empty file.
        first, after : int
            Sequence (or row, for a stream) of the first row, and of the first row of the segment behind this one.
        rows : int
            How many rows.
        sync : bool
            Whether both files are brought to the disk before the call returns.

        Returns
        -------
        offset, length : int
            Where the batch stands.

        Raises
        ------
        OSError
            If it could not be written; what was written of it is cut off again.
        """
        return self.append_all(schema, [(batch, first, after, rows)], sync=sync), len(batch)

    def append_all(self, schema: Bytes, batches: Sequence[tuple[Bytes, int, int, int]], *, sync: bool) -> int:
        """Append batches and their sums, and wait for the disk once for all of them.

        Parameters
        ----------
        schema : bytes
            As for :meth:`append`.
        batches : sequence of (bytes, int, int, int)
            `batch`, `first`, `after` and `rows` of each, as for :meth:`append`.
        sync : bool
            Whether the batches are brought to the disk before their sums are written, and these before the call
            returns.

        Returns
        -------
        int
            Where the first batch stands.

        Raises
        ------
        OSError
            If one could not be written; what was written is cut off again.
        """
        head, length = len(schema), sum(len(batch) for batch, *_ in batches)
        # No call between these two lines, see braid_hpc.log.tail: two threads get two places.
        offset = self._end or head
        self._end = end = offset + length
        records, at = b"", offset
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                if not self._begun:
                    write_at(descriptor, schema, 0)
                    self._begun = True
                for batch, first, after, rows in batches:
                    write_at(descriptor, batch, at)
                    records += pack_sum(at, len(batch), first, after, rows, batch_digest(schema, batch))
                    at += len(batch)
                if sync:
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self._append_sums(records, sync=sync)
            self._dirty = self._dirty or not sync
        except OSError:
            self._give_back(offset, end)
            raise
        return offset

    def sync(self) -> None:
        """Bring the batches and their sums to the disk.

        Raises
        ------
        OSError
            If the kernel could not write them.
        """
        if not self._dirty:
            return
        self._dirty = False
        try:
            for path in (self.path, self.sums):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError:
            self._dirty = True
            raise

    def _give_back(self, offset: int, end: int) -> None:
        """Cut batches off that have no sum, unless another one stands behind them already."""
        if self._end == end:
            self._end = offset
            with contextlib.suppress(OSError):
                os.truncate(self.path, offset)

    def _append_sums(self, records: bytes, *, sync: bool) -> None:
        descriptor = os.open(self.sums, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            written = os.write(descriptor, records)
            if written < len(records):
                # A part of a record would put every later one out of step, and a whole one would name a batch that
                # is cut off again.
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.sums))
            if sync:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def batch_digest(schema: Bytes, batch: Bytes) -> bytes:
    """Return the sum that a batch is believed by.

    Parameters
    ----------
    schema, batch : bytes
        Encapsulated messages. The schema is part of it: a flipped bit there would read every batch as another type.

    Returns
    -------
    bytes
        XXH3-128 of the one followed by the other, 16 bytes.
    """
    digest = xxh3_128(schema)
    digest.update(batch)
    return digest.digest()


def write_at(descriptor: int, data: Bytes, offset: int) -> None:
    """Write all of `data` at `offset`.

    Parameters
    ----------
    descriptor : int
        Open for writing.
    data : bytes or memoryview
        What to write.
    offset : int
        Bytes from the beginning of the file.

    Raises
    ------
    OSError
        If the kernel refuses a part of it.
    """
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def events_file(directory: Path) -> BatchFile:
    """Return the file of sealed events of a writer.

    Parameters
    ----------
    directory : Path
        The writer's directory.

    Returns
    -------
    BatchFile
        Not created before its first batch.
    """
    return BatchFile(directory / EVENTS_NAME)
