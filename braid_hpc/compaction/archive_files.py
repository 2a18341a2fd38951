"""Files of an archive: Arrow streams with a sum for each batch, and the sum of a whole file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from braid_hpc.log.batch_file import batch_digest
from braid_hpc.log.layout import pack_sum
from braid_hpc.reading.events import COLUMNS, Events

__all__ = ["BATCHES", "EVENTS", "SummedFile", "events_batch", "file_sum", "large_batch"]

EVENTS = pa.schema(
    [
        ("writer", pa.binary(16)),
        ("sequence", pa.uint64()),
        ("time", pa.int64()),
        ("subject", pa.uint64()),
        ("object", pa.uint64()),
        ("name", pa.uint32()),
        ("other", pa.uint32()),
        ("code", pa.uint16()),
        ("flags", pa.uint16()),
        ("thread", pa.uint32()),
        ("word", pa.uint64()),
        ("payload", pa.large_binary()),
    ]
)
BATCHES = pa.schema(
    [("writer", pa.binary(16)), ("stream", pa.uint32()), ("first", pa.uint64()), ("ipc", pa.large_binary())]
)

#: What an Arrow IPC stream ends with.
_END = b"\xff\xff\xff\xff\0\0\0\0"


class SummedFile:
    """An Arrow IPC stream, and beside it the sum of each of its batches, as the log's own batches have them.

    Parameters
    ----------
    path : Path
        ``<name>.arrows``, which must not exist; the sums are in ``<name>.sums``.
    schema : pyarrow.Schema
        Of the batches.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema.serialize()
        self._file = path.open("xb")
        self._file.write(self._schema)
        self._at = self._schema.size
        self._sums: list[bytes] = []

    def __len__(self) -> int:
        """Return how many batches were written."""
        return len(self._sums)

    def write(self, batch: pa.RecordBatch, first: int, after: int) -> bytes:
        """Append a batch.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            Of the schema.
        first, after : int
            The number of its first row, and of the first one behind it.

        Returns
        -------
        bytes
            Its record in the file of sums.
        """
        message = batch.serialize()
        digest = batch_digest(self._schema, message)
        self._sums.append(pack_sum(self._at, message.size, first, after, batch.num_rows, digest))
        self._file.write(message)
        self._at += message.size
        return self._sums[-1]

    def finish(self) -> None:
        """End the stream, and write the sums."""
        self._file.write(_END)
        self._file.close()
        with self._path.with_suffix(".sums").open("xb") as file:
            file.writelines(self._sums)

    def discard(self) -> None:
        """Close the file, which is to be removed."""
        # What refuses this has been told before.
        with contextlib.suppress(OSError):
            self._file.close()


def file_sum(path: Path) -> dict[str, Any]:
    """Return what a file is known by.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Its ``bytes`` and their ``xxh3_128``.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = xxhash.xxh3_128()
    size = 0
    with path.open("rb") as file:
        while part := file.read(4 << 20):
            digest.update(part)
            size += len(part)
    return {"bytes": size, "xxh3_128": digest.hexdigest()}


def events_batch(writer: str, events: Events) -> pa.RecordBatch:
    """Return rows of a writer as they stand in ``events.arrows``.

    Parameters
    ----------
    writer : str
        Its id, 32 hexadecimal digits.
    events : Events
        The rows.

    Returns
    -------
    pyarrow.RecordBatch
        Of :data:`EVENTS`.
    """
    columns = [pa.array(events[name], EVENTS.field(name).type) for name in COLUMNS]
    identity = pa.repeat(pa.scalar(bytes.fromhex(writer), pa.binary(16)), len(events))
    return pa.RecordBatch.from_arrays([identity, *columns, _payloads(events)], schema=EVENTS)


def large_batch(writer: str, number: int, first: int, ipc: bytearray) -> pa.RecordBatch:
    """Return a large batch of a stream as it stands in ``batches.arrows``.

    Parameters
    ----------
    writer : str
        The writer's id, 32 hexadecimal digits.
    number : int
        Its number of the stream.
    first : int
        Number of the first row.
    ipc : bytearray
        Schema message and batch, as they stand in the log.

    Returns
    -------
    pyarrow.RecordBatch
        One row of :data:`BATCHES`.
    """
    arrays = [
        pa.array([bytes.fromhex(writer)], pa.binary(16)),
        pa.array([number], pa.uint32()),
        pa.array([first], pa.uint64()),
        _binary(np.array([0, len(ipc)]), ipc),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=BATCHES)


def _payloads(events: Events) -> Any:
    """Return the payloads as Arrow holds them, by one copy at most: never an index for each byte."""
    # Of a file that was cut, rows without a payload may point behind what is left of it.
    starts = np.minimum(events.start, len(events.heap))
    ends = starts + events.length
    order = None
    if len(events) > 1 and bool((starts[1:] < ends[:-1]).any()):
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
    if bool((starts[1:] == ends[:-1]).all()):
        found = _binary(np.concatenate([starts[:1], ends]), events.heap)
    else:
        offsets = np.stack([starts, ends], 1).ravel()
        found = _binary(offsets, events.heap).take(pa.array(np.arange(0, len(offsets), 2)))
    if order is None:
        return found
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return found.take(pa.array(back))


def _binary(offsets: Any, heap: Any) -> Any:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(heap)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
