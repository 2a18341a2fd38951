"""From the packed rows and batches of a writer's streams to Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from braid_hpc.compaction.extract import Facts
from braid_hpc.reading.events import Array, Events
from braid_hpc.reading.sealed import read_stream_batch
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

__all__ = ["ARROW_TYPES", "stream_tables"]

Columns = list[tuple[str, str]]

ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "text": pa.large_string(),
    "bytes": pa.large_binary(),
    "timestamp": pa.timestamp("ns"),
    **{kind: pa.type_for_alias(kind) for kind in FIXED if kind not in ("bool", "timestamp")},
}


def stream_tables(facts: Facts, fresh: Array, faults: list[str]) -> Iterator[tuple[int, pa.Table]]:
    """Yield the new rows of a writer's streams.

    Parameters
    ----------
    facts : Facts
        What the writer said.
    fresh : numpy.ndarray
        bool, which of its events are new.
    faults : list of str
        Takes a sentence for each batch that cannot be read.

    Yields
    ------
    number : int
        The writer's number of the stream.
    table : pyarrow.Table
        ``_row`` (int64), ``_time`` (timestamp[ns], UTC) and the stream's columns.
    """
    events = facts.log.events
    rows = np.flatnonzero(fresh & np.isin(events["code"], (Code.ROW, Code.BATCH)))
    if not len(rows):
        return
    mine = events.take(rows)
    times = facts.log.utc(mine["time"])
    for number in np.unique(mine["other"]).tolist():
        if number not in facts.streams:
            faults.append(f"rows of stream {number} have no declaration in this log")
            continue
        columns = facts.streams[number][1].columns
        where = mine["other"] == number
        for table in _tables(facts, mine.take(where), times[where], number, columns, faults):
            if table.num_rows:
                yield number, table


def _tables(
    facts: Facts, events: Events, times: Array, number: int, columns: Columns, faults: list[str]
) -> Iterator[pa.Table]:
    is_row, flags = events["code"] == Code.ROW, events["flags"]
    packed = is_row & (flags != ROW_AS_LIST)
    if packed.any():
        yield _packed_rows(events.take(packed), times[packed], columns)
    listed = is_row & (flags == ROW_AS_LIST)
    if listed.any():
        yield _listed_rows(events.take(listed), times[listed], columns)
    for row in np.flatnonzero(~is_row).tolist():
        first, count = int(events["subject"][row]), int(events["object"][row])
        try:
            if flags[row] == BATCH_IN_FILE:
                table = read_stream_batch(facts.log.directory, number, events.payload(row))
                arrays = [_cast(table.column(name), kind) for name, kind in columns]
            else:
                arrays = _inline_batch(events.payload(row), count, columns)
        except (CorruptLogError, ValueError, KeyError) as error:
            faults.append(f"rows {first} to {first + count - 1} of stream {number} cannot be read: {error}")
            continue
        yield _table(np.arange(first, first + count), np.full(count, times[row]), columns, arrays)


def _table(numbers: Array, times: Array, columns: Columns, arrays: list[Any]) -> pa.Table:
    names = ["_row", "_time", *(name for name, _ in columns)]
    head = [pa.array(numbers.astype(np.int64)), pa.array(times.astype(np.int64)).cast(pa.timestamp("ns"))]
    return pa.table([*head, *arrays], names=names)


def _cast(column: Any, kind: str) -> Any:
    wanted = ARROW_TYPES[kind]
    if kind == "bool":
        return column.cast(pa.bool_())
    if kind == "timestamp":
        return column.cast(pa.int64()).cast(wanted)
    return column.cast(wanted)


def _packed_rows(events: Events, times: Array, columns: Columns) -> pa.Table:
    """Decode rows of one layout all at once: the fixed parts by one gather, each column of text by another."""
    layout = row_struct(columns)
    heap = np.frombuffer(events.heap, np.uint8)
    fixed = heap[events.start[:, None] + np.arange(layout.size)]
    dtype = np.dtype(
        {
            "names": [name for name, _ in columns],
            "formats": ["<" + _numpy_code(kind) for _, kind in columns],
        }
    )
    assert dtype.itemsize == layout.size
    table = np.ascontiguousarray(fixed).view(dtype)[:, 0]
    ends = events.start + layout.size
    arrays: list[Any] = []
    for name, kind in columns:
        if kind in VARIABLE:
            lengths = table[name].astype(np.int64)
            arrays.append(_gather(heap, ends, lengths, kind))
            ends = ends + lengths
        else:
            arrays.append(_fixed_array(np.ascontiguousarray(table[name]), kind))
    return _table(events["subject"], times, columns, arrays)


def _numpy_code(kind: str) -> str:
    return {"bool": "u1", "text": "u4", "bytes": "u4", "timestamp": "i8"}.get(kind) or np.dtype(kind).str[1:]


def _fixed_array(values: Array, kind: str) -> Any:
    if kind == "bool":
        return pa.array(values.astype(bool))
    if kind == "timestamp":
        return pa.array(values.astype(np.int64)).cast(pa.timestamp("ns"))
    return pa.array(values)


def _gather(heap: Array, starts: Array, lengths: Array, kind: str) -> Any:
    """Return an Arrow array of the byte ranges of a heap."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return _text_array(offsets, heap[index].tobytes(), kind)


def _text_array(offsets: Array, data: bytes, kind: str) -> Any:
    buffers = [None, pa.py_buffer(offsets.astype(np.int64).tobytes()), pa.py_buffer(data)]
    found = pa.Array.from_buffers(ARROW_TYPES[kind], len(offsets) - 1, buffers)
    if kind == "text":
        try:
            found.validate(full=True)
        except pa.ArrowInvalid:
            # Lone surrogates, which Python has and UTF-8 has not, become question marks; the log keeps the bytes.
            parts = [data[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(offsets)]
            found = pa.array([part.encode("utf-8", "replace").decode() for part in parts], pa.large_string())
    return found


def _listed_rows(events: Events, times: Array, columns: Columns) -> pa.Table:
    rows = []
    for row in range(len(events)):
        try:
            rows.append(decode(events.payload(row)))
        except msgspec.DecodeError:
            rows.append([None] * len(columns))
    arrays = [
        pa.array([row[index] for row in rows], pa.int64() if kind == "timestamp" else ARROW_TYPES[kind])
        for index, (_, kind) in enumerate(columns)
    ]
    arrays = [
        each.cast(pa.timestamp("ns")) if kind == "timestamp" else each
        for each, (_, kind) in zip(arrays, columns, strict=True)
    ]
    return _table(events["subject"], times, columns, arrays)


def _inline_batch(payload: bytes, count: int, columns: Columns) -> list[Any]:
    arrays: list[Any] = []
    at = 0
    for _, kind in columns:
        if kind in VARIABLE:
            offsets = np.frombuffer(payload, "<u4", count + 1, at).astype(np.int64)
            at += 4 * (count + 1)
            arrays.append(_text_array(offsets, payload[at : at + int(offsets[-1])], kind))
            at += int(offsets[-1])
        else:
            values = np.frombuffer(payload, "<" + _numpy_code(kind), count, at)
            arrays.append(_fixed_array(values, kind))
            at += item_bytes(kind) * count
    return arrays
