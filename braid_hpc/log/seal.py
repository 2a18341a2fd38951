"""Sealing: a full tail becomes one batch of an Arrow IPC stream, with the sum of its bytes beside it.

Columns are cut out of the table of rows by strided views, without a loop over rows and without NumPy, so that a
rank pays about a millisecond for 16,384 rows and imports nothing but nanoarrow.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xxhash import xxh3_128

from braid_hpc.log.choice import compiled_module
from braid_hpc.log.layout import EVENTS_NAME, PAGE, ROW_BYTES, TailHeader, pack_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EVENT_COLUMNS", "BatchFile", "batch_digest", "encode_rows", "event_buffers", "seal_tails"]

#: Name, Arrow type, memoryview format and index of each column within a row.
EVENT_COLUMNS: tuple[tuple[str, str, Literal["q", "Q", "I", "H"], int], ...] = (
    ("time", "int64", "q", 0),
    ("subject", "uint64", "Q", 1),
    ("object", "uint64", "Q", 2),
    ("name", "uint32", "I", 6),
    ("other", "uint32", "I", 7),
    ("code", "uint16", "H", 16),
    ("flags", "uint16", "H", 17),
    ("thread", "uint32", "I", 9),
    ("word", "uint64", "Q", 7),
)
#: What a message is kept in.
Bytes = bytes | memoryview

_WIDTHS = {"q": 8, "Q": 8, "I": 4, "H": 2}
_HEAP_INDEX = 10
_LENGTH_INDEX = 11


def event_buffers(view: memoryview, header: TailHeader) -> tuple[dict[str, bytes], bytes, bytes, int]:
    """Cut the published rows of a mapped tail into columns.

    Parameters
    ----------
    view : memoryview
        The whole tail, uint8.
    header : TailHeader
        Its header.

    Returns
    -------
    columns : dict of str to bytes
        ``sequence`` and those of :data:`EVENT_COLUMNS`, each as the bytes of its Arrow buffer.
    offsets : bytes
        int32, one more than rows: where each payload begins.
    payloads : bytes
        The payloads, one behind the other.
    rows : int
        How many rows.
    """
    if (compiled := compiled_module()) is not None:
        cut, offsets, payloads, used = compiled.cut_rows(view, header.first, header.rows, header.heap_offset)
        return dict(zip([*(name for name, *_ in EVENT_COLUMNS), "sequence"], cut, strict=True)), offsets, payloads, used
    table = view[PAGE : PAGE + header.rows * ROW_BYTES]
    words = table.cast("Q")[7::8].tolist()
    used = len(words)
    while used and not words[used - 1]:
        used -= 1
    table = table[: used * ROW_BYTES]
    starts = array("I", table.cast("I")[_HEAP_INDEX::16].tobytes())
    lengths = array("I", table.cast("I")[_LENGTH_INDEX::16].tobytes())
    columns = {
        name: table.cast(form)[index :: ROW_BYTES // _WIDTHS[form]].tobytes() for name, _, form, index in EVENT_COLUMNS
    }
    columns["sequence"] = array("Q", range(header.first, header.first + used)).tobytes()
    heap = view[header.heap_offset :]
    if 0 not in words[:used]:
        end = starts[-1] + lengths[-1] if used else 0
        starts.append(end)
        return columns, starts.tobytes(), bytes(heap[:end]), used
    return _without_holes(columns, words, starts, lengths, heap)


def _without_holes(
    columns: dict[str, bytes], words: Sequence[int], starts: array[int], lengths: array[int], heap: memoryview
) -> tuple[dict[str, bytes], bytes, bytes, int]:
    """Leave out slots that were reserved and never published (a thread or process ended in between)."""
    keep = [slot for slot in range(len(starts)) if words[slot]]
    forms = {name: form for name, _, form, _ in EVENT_COLUMNS} | {"sequence": "Q"}
    dense = {}
    for name, data in columns.items():
        values = array(forms[name], data)
        dense[name] = array(forms[name], [values[slot] for slot in keep]).tobytes()
    payloads = bytearray()
    offsets = array("i", [0])
    for slot in keep:
        payloads += heap[starts[slot] : starts[slot] + lengths[slot]]
        offsets.append(len(payloads))
    return dense, offsets.tobytes(), bytes(payloads), len(keep)


def encode_rows(columns: dict[str, bytes], offsets: bytes, payloads: bytes, rows: int) -> tuple[memoryview, memoryview]:
    """Encode columns as Arrow IPC.

    Parameters
    ----------
    columns, offsets, payloads, rows
        From :func:`event_buffers`.

    Returns
    -------
    schema : memoryview
        The schema message of the stream.
    batch : memoryview
        The record batch message with its body.
    """
    import nanoarrow as na

    types: list[tuple[str, Any]] = [("sequence", na.uint64())]
    types += [(name, getattr(na, arrow)()) for name, arrow, _, _ in EVENT_COLUMNS]
    children = [na.c_array_from_buffers(kind, rows, [None, columns[name]], null_count=0) for name, kind in types]
    types.append(("payload", na.binary()))
    children.append(na.c_array_from_buffers(na.binary(), rows, [None, offsets, payloads], null_count=0))
    schema = na.struct([na.Schema(kind, name=name, nullable=False) for name, kind in types], nullable=False)
    return encode_batch(schema, children, rows)


def encode_batch(schema: Any, children: list[Any], rows: int) -> tuple[memoryview, memoryview]:
    """Encode one record batch with nanoarrow.

    Parameters
    ----------
    schema : nanoarrow.Schema
        A struct of the columns.
    children : list of nanoarrow.c_array.CArray
        The columns.
    rows : int
        Their length.

    Returns
    -------
    schema : memoryview
        The encapsulated schema message.
    batch : memoryview
        The encapsulated record batch message.
    """
    import nanoarrow as na
    from nanoarrow.ipc import StreamWriter

    struct = na.c_array_from_buffers(schema, rows, [None], null_count=0, children=children)
    out = io.BytesIO()
    writer = StreamWriter.from_writable(out)
    writer.write_stream(struct)
    writer.release()
    # Views of one buffer: a copy of a megabyte or two would hold up the program's threads.
    whole = out.getbuffer()
    # An encapsulated message is ffffffff, the length of its metadata (int32), the metadata; a schema has no body.
    cut = 8 + int.from_bytes(whole[4:8], "little")
    return whole[:cut], whole[cut:]


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


def seal_tails(tails: Sequence[tuple[memoryview, TailHeader]], events: BatchFile) -> int:
    """Append the rows of mapped tails to the sealed events, on disk, one batch for each tail.

    Parameters
    ----------
    tails : sequence of (memoryview, TailHeader)
        The whole of each tail, and its header.
    events : BatchFile
        The writer's ``events.arrows``.

    Returns
    -------
    int
        Rows sealed.

    Raises
    ------
    OSError
        If a batch or its sum could not be written or synced; the tails must then stay.
    """
    schema: Bytes = b""
    batches = []
    for view, header in tails:
        columns, offsets, payloads, rows = event_buffers(view, header)
        schema, batch = encode_rows(columns, offsets, payloads, rows)
        batches.append((batch, header.first, header.after, rows))
    if batches:
        events.append_all(schema, batches, sync=True)
    return sum(rows for *_, rows in batches)


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
