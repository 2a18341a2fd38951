"""From the packed rows and batches of a writer's streams to Arrow tables."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from braid_hpc.reading.copies import batch_of
from braid_hpc.reading.events import Array, Events
from braid_hpc.reading.sealed import open_batch
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import (
    BATCH_IN_FILE,
    FIXED,
    ROW_AS_LIST,
    VARIABLE,
    item_bytes,
    row_struct,
)
from braid_hpc.vocabulary.encoding import decode
from braid_hpc.vocabulary.errors import CorruptLogError
from braid_hpc.vocabulary.texts import clean

__all__ = ["ARROW_TYPES", "Columns", "StreamReader"]

Columns = list[tuple[str, str]]

ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "text": pa.large_string(),
    "bytes": pa.large_binary(),
    "timestamp": pa.timestamp("ns"),
    **{kind: pa.type_for_alias(kind) for kind in FIXED if kind not in ("bool", "timestamp")},
}


class StreamReader:
    """Decodes the rows of one writer's streams, a part of its log at a time.

    Parameters
    ----------
    log : WriterLog
        The writer's, beside which the files of large batches lie.
    columns : dict of int to list of (str, str)
        Columns as declared, by the writer's number of the stream.
    faults : list of str
        Takes a sentence for what cannot be read.
    keep : callable, optional
        Called with the stream's number, the number of the first row and the bytes of each large batch.
    """

    def __init__(
        self,
        log: WriterLog,
        columns: dict[int, Columns],
        faults: list[str],
        keep: Callable[[int, int, bytearray], None] | None = None,
    ) -> None:
        self._log = log
        self._columns = columns
        self._faults = faults
        self._keep = keep

    def tables(self, events: Events, utc: Callable[[Array], Array]) -> Iterator[tuple[int, pa.Table]]:
        """Yield rows of streams.

        Parameters
        ----------
        events : Events
            Any rows of the log.
        utc : callable
            Turns their times into UTC ns.

        Yields
        ------
        number : int
            The writer's number of the stream.
        table : pyarrow.Table
            ``_row`` (int64), ``_time`` (timestamp[ns], UTC) and the stream's columns; rows in any order.
        """
        codes = events["code"]
        mine = (codes == Code.ROW) | (codes == Code.BATCH)
        if not mine.all():
            if not mine.any():
                return
            events = events.take(mine)
        numbers = events["other"]
        low, high = int(numbers.min()), int(numbers.max())
        for number in [low] if low == high else np.unique(numbers).tolist():
            if number not in self._columns:
                fault = f"rows of stream {number} have no declaration in this log"
                if fault not in self._faults:
                    self._faults.append(fault)
                continue
            part = events if low == high else events.take(numbers == number)
            for table in self._tables(part, utc, number, self._columns[number]):
                if table.num_rows:
                    yield number, table

    def _tables(
        self, events: Events, utc: Callable[[Array], Array], number: int, columns: Columns
    ) -> Iterator[pa.Table]:
        is_row, flags = events["code"] == Code.ROW, events["flags"]
        packed = is_row & (flags != ROW_AS_LIST)
        if packed.all():
            yield self._packed_rows(events, utc, number, columns)
            return
        if packed.any():
            yield self._packed_rows(events.take(packed), utc, number, columns)
        listed = is_row & (flags == ROW_AS_LIST)
        if listed.any():
            yield _listed_rows(events.take(listed), utc, columns)
        if not is_row.all():
            yield from self._batches(events.take(~is_row), utc, number, columns)

    def _batches(
        self, events: Events, utc: Callable[[Array], Array], number: int, columns: Columns
    ) -> Iterator[pa.Table]:
        times = utc(events["time"])
        for row in range(len(events)):
            first, count = int(events["subject"][row]), int(events["object"][row])
            try:
                if events["flags"][row] == BATCH_IN_FILE:
                    arrays = self._large_batch(number, first, events.payload(row), columns)
                else:
                    arrays = _inline_batch(events.payload(row), count, columns)
            except (CorruptLogError, ValueError, KeyError) as error:
                self._faults.append(f"rows {first} to {first + count - 1} of stream {number} cannot be read: {error}")
                continue
            yield _table(np.arange(first, first + count), np.full(count, times[row]), columns, arrays)

    def _large_batch(self, number: int, first: int, payload: bytes, columns: Columns) -> list[Any]:
        ipc, path = batch_of(self._log, number, payload)
        if self._keep is not None:
            self._keep(number, first, ipc)
        table = open_batch(ipc, path)
        return [_cast(table.column(name), kind) for name, kind in columns]

    def _packed_rows(self, events: Events, utc: Callable[[Array], Array], number: int, columns: Columns) -> pa.Table:
        """Decode rows of one layout all at once: one gather of the fixed parts, one for each column of text."""
        layout = row_struct(columns)
        heap = np.frombuffer(events.heap, np.uint8)
        if len(events) > 1 and bool((events.start[1:] < events.start[:-1] + events.length[:-1]).any()):
            # Threads stored them in another order than they stand in the heap.
            events = events.take(np.argsort(events.start, kind="stable"))
        if not self._is_whole(events.length >= layout.size, events, number):
            events = events.take(events.length >= layout.size)
        table = _records(heap, events.start, _numpy_dtype(columns))
        variable = [name for name, kind in columns if kind in VARIABLE]
        size = layout.size + sum((table[name].astype(np.int64) for name in variable), np.int64(0))
        if not self._is_whole(events.length == size, events, number):
            whole = events.length == size
            events, table = events.take(whole), table[whole]
        ends = events.start + layout.size
        arrays: list[Any] = []
        for name, kind in columns:
            if kind in VARIABLE:
                starts, ends = ends, ends + table[name]
                arrays.append(_gather(heap, starts, ends, kind))
            else:
                arrays.append(_fixed_array(np.ascontiguousarray(table[name]), kind))
        return _table(events["subject"], utc(events["time"]), columns, arrays)

    def _is_whole(self, fits: Array, events: Events, number: int) -> bool:
        if fits.all():
            return True
        rows = events["subject"][~fits]
        self._faults.append(
            f"{len(rows)} of the rows {rows.min()} to {rows.max()} of stream {number} are not of its columns' length"
        )
        return False


def _table(numbers: Array, times: Array, columns: Columns, arrays: list[Any]) -> pa.Table:
    names = ["_row", "_time", *(name for name, _ in columns)]
    head = [pa.array(numbers.astype(np.int64, copy=False)), pa.array(times.astype("datetime64[ns]", copy=False))]
    return pa.table([*head, *arrays], names=names)


def _cast(column: Any, kind: str) -> Any:
    wanted = ARROW_TYPES[kind]
    if kind == "bool":
        return column.cast(pa.bool_())
    if kind == "timestamp":
        return column.cast(pa.int64()).cast(wanted)
    return column.cast(wanted)


def _records(heap: Array, starts: Array, dtype: np.dtype[Any]) -> Array:
    """Return the records that begin at some bytes of a heap: one copy for each, whatever their distance."""
    size = dtype.itemsize
    if len(heap) < size or not len(starts):
        return np.zeros(len(starts), dtype)
    everywhere = np.ndarray((len(heap) - size + 1,), np.dtype((np.void, size)), heap, strides=(1,))
    return everywhere[starts].view(dtype)


def _numpy_dtype(columns: Columns) -> np.dtype[Any]:
    return np.dtype([(name, "<" + _numpy_code(kind)) for name, kind in columns])


def _numpy_code(kind: str) -> str:
    return {"bool": "u1", "text": "u4", "bytes": "u4", "timestamp": "i8"}.get(kind) or np.dtype(kind).str[1:]


def _fixed_array(values: Array, kind: str) -> Any:
    if kind == "bool":
        return pa.array(values.astype(bool))
    if kind == "timestamp":
        return pa.array(values.astype("datetime64[ns]"))
    return pa.array(values)


def _gather(heap: Array, starts: Array, ends: Array, kind: str) -> Any:
    """Return an Arrow array of the byte ranges of a heap, which are in order.

    Arrow takes every second one of the values that begin and end there: what it passes over is what lies between.
    """
    offsets = np.empty(2 * len(starts), np.int64)
    offsets[::2], offsets[1::2] = starts, ends
    between = pa.Array.from_buffers(
        pa.large_binary(), max(len(offsets) - 1, 0), [None, pa.py_buffer(offsets), pa.py_buffer(heap)]
    )
    # Arrow's own pool gives memory back to the system while these rows wait, and fetches it anew for the next ones.
    found = pc.take(between, np.arange(0, len(offsets), 2), boundscheck=False, memory_pool=pa.system_memory_pool())
    return _as_text(found) if kind == "text" else found


def _as_text(values: Any) -> Any:
    try:
        return values.cast(pa.large_string())
    except pa.ArrowInvalid:
        # Lone surrogates, which Python has and UTF-8 has not, are shown as escapes, as everywhere: two texts stay two.
        return pa.array([_readable(value) for value in values.to_pylist()], pa.large_string())


def _readable(value: bytes) -> str:
    try:
        return clean(value.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        # Of a writer that is not ours.
        return value.decode("utf-8", "backslashreplace")


def _listed_rows(events: Events, utc: Callable[[Array], Array], columns: Columns) -> pa.Table:
    rows = []
    for row in range(len(events)):
        try:
            values = decode(events.payload(row))
        except msgspec.DecodeError:
            values = None
        rows.append(values if isinstance(values, list) and len(values) == len(columns) else [None] * len(columns))
    arrays = [_listed_column([row[index] for row in rows], kind) for index, (_, kind) in enumerate(columns)]
    arrays = [
        each.cast(pa.timestamp("ns")) if kind == "timestamp" else each
        for each, (_, kind) in zip(arrays, columns, strict=True)
    ]
    return _table(events["subject"], utc(events["time"]), columns, arrays)


def _listed_column(values: list[Any], kind: str) -> Any:
    wanted = pa.int64() if kind == "timestamp" else ARROW_TYPES[kind]
    try:
        return pa.array(values, wanted)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        # Earlier writers left these as they were given: a truth value among integers, a number that a float rounds.
        return pa.array([_fitted(value, kind) for value in values], wanted)


def _fitted(value: Any, kind: str) -> Any:
    """Return a value as its column's type has it; None for what cannot be one."""
    try:
        if kind in VARIABLE:
            return value if isinstance(value, str if kind == "text" else bytes) else None
        layout = struct.Struct("<" + FIXED[kind])
        return layout.unpack(layout.pack(float(value) if kind in ("float32", "float64") else value))[0]
    except (struct.error, TypeError, ValueError, OverflowError):
        return None


def _inline_batch(payload: bytes, count: int, columns: Columns) -> list[Any]:
    arrays: list[Any] = []
    at = 0
    for _, kind in columns:
        if kind in VARIABLE:
            offsets = np.frombuffer(payload, "<u4", count + 1, at).astype(np.int64)
            at += 4 * (count + 1)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(payload[at : at + int(offsets[-1])])]
            values = pa.Array.from_buffers(pa.large_binary(), count, buffers)
            arrays.append(_as_text(values) if kind == "text" else values)
            at += int(offsets[-1])
        else:
            arrays.append(_fixed_array(np.frombuffer(payload, "<" + _numpy_code(kind), count, at), kind))
            at += item_bytes(kind) * count
    return arrays
