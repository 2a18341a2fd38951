"""Files of sealed batches: an Arrow IPC stream that grows by whole batches, and the file of their sums beside it.

After the kernel has failed to bring something to the disk, or to cut off what it wrote only in part, nothing more goes
into that file: it may have dropped what it could not write, and does not say so again. The next batch goes into a file
with the next number, and batches that were not yet known to be on the disk are written there again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from xxhash import xxh3_128

from braid_hpc.log.layout import EVENTS_NAME, pack_sum, part_name

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BatchFile", "BatchPlace", "Bytes", "batch_digest", "events_file", "write_at"]

#: What a message is kept in.
Bytes: TypeAlias = bytes | memoryview
#: A batch, `first`, `after` and `rows` of it, and its digest where it is known; see :meth:`BatchFile.append`.
_Given: TypeAlias = tuple[Bytes, int, int, int] | tuple[Bytes, int, int, int, bytes]


class BatchPlace(NamedTuple):
    """Where a batch stands.

    Attributes
    ----------
    part : int
        Number of the file, from 1.
    offset, length : int
        Bytes.
    """

    part: int
    offset: int
    length: int


class _Batch(NamedTuple):
    """One batch that is written and perhaps not on the disk yet; numbers as in its sum."""

    offset: int
    length: int
    first: int
    after: int
    rows: int
    digest: bytes


class _Part:
    """One file and its sums.

    Attributes
    ----------
    refused : bool
        Whether nothing more may go into it.
    records : int
        How many batches have their sum in it.
    unsure : dict of int to _Batch
        Those that are not known to be on the disk.
    """

    __slots__ = ("_begun", "_end", "number", "path", "records", "refused", "schema", "sums", "unsure")

    def __init__(self, path: Path, number: int) -> None:
        self.number = number
        self.path = path.with_name(part_name(path.stem, number) + path.suffix)
        self.sums = self.path.with_suffix(".sums")
        self.schema = b""
        self.refused = False
        self.records = 0
        # By their offsets, so that two threads may sync at once.
        self.unsure: dict[int, _Batch] = {}
        self._end = 0
        self._begun = False

    def append(self, schema: Bytes, batches: Sequence[_Given], *, sync: bool) -> int:
        """Write batches and their sums; see :meth:`BatchFile.append_all`."""
        head, length = len(schema), sum(len(batch) for batch, *_ in batches)
        # No call between these two lines, see braid_hpc.log.tail: two threads get two places.
        offset = self._end or head
        self._end = end = offset + length
        try:
            written = self._write(schema, batches, offset, sync=sync)
        except OSError:
            self._give_back(offset, end)
            raise
        self._append_sums(b"".join(pack_sum(*batch) for batch in written), (offset, end), sync=sync)
        self.records += len(written)
        if not sync:
            self.unsure.update((batch.offset, batch) for batch in written)
        return offset

    def _write(self, schema: Bytes, batches: Sequence[_Given], at: int, *, sync: bool) -> list[_Batch]:
        written = []
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            if not self._begun:
                self.schema = bytes(schema)
                write_at(descriptor, schema, 0)
                self._begun = True
            for batch, first, after, rows, *digest in batches:
                write_at(descriptor, batch, at)
                digested = digest[0] if digest else batch_digest(schema, batch)
                written.append(_Batch(at, len(batch), first, after, rows, digested))
                at += len(batch)
            if sync:
                self._to_disk(descriptor)
        finally:
            os.close(descriptor)
        return written

    def _to_disk(self, descriptor: int) -> None:
        try:
            os.fdatasync(descriptor)
        except OSError:
            self.refused = True
            raise

    def _give_back(self, offset: int, end: int) -> None:
        """Cut batches off that have no sum, unless another one stands behind them already."""
        if self._end != end:
            return
        self._end = offset
        try:
            os.truncate(self.path, offset if self._begun else 0)
        except FileNotFoundError:
            pass
        except OSError:
            # Any Arrow reader would stumble over what is left there.
            self.refused = True

    def _append_sums(self, records: bytes, place: tuple[int, int], *, sync: bool) -> None:
        try:
            descriptor = os.open(self.sums, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError:
            self._give_back(*place)
            raise
        try:
            self._write_sums(descriptor, records, place)
            if sync:
                # Where this fails, the batches and their sums may be there or not; those who wrote them write them
                # again, and what is there twice counts once.
                self._to_disk(descriptor)
        finally:
            os.close(descriptor)

    def _write_sums(self, descriptor: int, records: bytes, place: tuple[int, int]) -> None:
        try:
            written = os.write(descriptor, records)
        except OSError:
            self._give_back(*place)
            raise
        if written == len(records):
            return
        try:
            # A part of a record would put every later one out of step, and a whole one would name a batch that is
            # cut off again.
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        except OSError:
            self.refused = True
        else:
            self._give_back(*place)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.sums))

    def sync(self) -> None:
        """Bring everything to the disk; raises :class:`OSError` where the kernel could not."""
        known = list(self.unsure)
        if not known:
            return
        for path in (self.path, self.sums):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._to_disk(descriptor)
            finally:
                os.close(descriptor)
        self.forget(known)

    def forget(self, known: list[int]) -> None:
        """Take note that the batches at these offsets are on the disk, here or elsewhere, or nowhere any more."""
        for offset in known:
            self.unsure.pop(offset, None)

    def read(self, batch: _Batch) -> bytes | None:
        """Read a batch again; None if what is there is something else."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(descriptor, batch.length, batch.offset)
        finally:
            os.close(descriptor)
        return data if batch_digest(self.schema, data) == batch.digest else None

    def remove(self) -> None:
        """Remove both files, which nobody needs."""
        for path in (self.sums, self.path):
            with contextlib.suppress(OSError):
                os.unlink(path)


class BatchFile:
    """An Arrow IPC stream that grows by whole batches, and its file of sums; several, where the kernel refused one.

    Parameters
    ----------
    path : Path
        ``<name>.arrows``; the sums stand in ``<name>.sums``, later files are called ``<name>-<number>.arrows``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = itertools.count(2)
        self._part = _Part(path, 1)
        self._left: list[_Part] = []

    @property
    def path(self) -> Path:
        """The file that the next batch goes into."""
        return self._part.path

    @property
    def sums(self) -> Path:
        """The file that its sum goes into."""
        return self._part.sums

    def append(
        self, schema: Bytes, batch: Bytes, first: int, after: int, rows: int, *, sync: bool, digest: bytes | None = None
    ) -> BatchPlace:
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
        digest : bytes, optional
            Their :func:`batch_digest`, where it is known.

        Returns
        -------
        BatchPlace
            Where the batch stands.

        Raises
        ------
        OSError
            If it could not be written; what was written of it is cut off again.
        """
        given: _Given = (batch, first, after, rows) if digest is None else (batch, first, after, rows, digest)
        part, offset = self._append(schema, [given], sync=sync)
        return BatchPlace(part, offset, len(batch))

    def append_all(self, schema: Bytes, batches: Sequence[tuple[Bytes, int, int, int]], *, sync: bool) -> None:
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

        Raises
        ------
        OSError
            If one could not be written; what was written is cut off again. The next attempt goes into another file
            where this one is not to be trusted any more.
        """
        self._append(schema, batches, sync=sync)

    def _append(self, schema: Bytes, batches: Sequence[_Given], *, sync: bool) -> tuple[int, int]:
        part = self._part
        try:
            return part.number, part.append(schema, batches, sync=sync)
        except OSError:
            if part.refused:
                self._leave(part)
                if sync and not part.records:
                    # Attempt after attempt on a broken disk must not fill it. (Without `sync` other threads may be
                    # writing here.)
                    part.remove()
            raise

    def _leave(self, part: _Part) -> None:
        following = _Part(self._path, next(self._numbers))
        # No call in these lines, see braid_hpc.log.tail: of several threads one moves on.
        if self._part is part:
            self._part = following
            self._left = [*self._left, part]

    def sync(self) -> list[str]:
        """Bring the batches and their sums to the disk.

        Returns
        -------
        list of str
            Sentences on batches that cannot be brought there any more: what was written of them is gone.

        Raises
        ------
        OSError
            If the kernel could not write them; they are tried again by the next call, in another file.
        """
        part = self._part
        given_up: list[str] = []
        for left in self._left:
            if left.unsure:
                given_up += self._write_again(left)
        try:
            part.sync()
        except OSError:
            if part.refused:
                self._leave(part)
            raise
        return given_up

    def _write_again(self, left: _Part) -> list[str]:
        """Write the batches of a file that was left into one of their own, all of them or none."""
        given_up = []
        unsure = list(left.unsure.values())
        copy = _Part(self._path, next(self._numbers))
        try:
            for batch in unsure:
                data = left.read(batch)
                if data is None:
                    given_up.append(
                        f"{batch.rows} rows from {batch.first} on could not be brought to the disk: the kernel dropped "
                        f"them after it could not write {left.path.name}"
                    )
                else:
                    copy.append(left.schema, [(data, batch.first, batch.after, batch.rows)], sync=False)
            copy.sync()
        except OSError:
            # It holds nothing that is not there once more.
            copy.remove()
            raise
        left.forget([batch.offset for batch in unsure])
        return given_up


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
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
