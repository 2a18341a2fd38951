"""Sealing: a full tail becomes one batch of an Arrow IPC stream, with the sum of its bytes beside it.

Where the tail is compiled, the rows are cut into columns in one call that needs no interpreter. The twin takes strided
slices of arrays, without a loop over rows and without NumPy, so that a rank imports nothing but nanoarrow.
"""

from __future__ import annotations

import functools
import io
import struct
from array import array
from itertools import chain
from typing import TYPE_CHECKING, Any

from braid_hpc.log.choice import compiled_module
from braid_hpc.log.framing import Framing, Sizes, learn_framing, padded
from braid_hpc.log.layout import PAGE, ROW_BYTES, TailHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from braid_hpc.log.batch_file import BatchFile, Bytes

__all__ = [
    "EVENT_COLUMNS",
    "encode_batch",
    "encode_rows",
    "encode_tail",
    "event_buffers",
    "give_back",
    "seal_tails",
    "spare",
]

#: Name, Arrow type and code of :mod:`array` of each column that is a field of the row.
EVENT_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("time", "int64", "q"),
    ("subject", "uint64", "Q"),
    ("object", "uint64", "Q"),
    ("name", "uint32", "I"),
    ("other", "uint32", "I"),
    ("code", "uint16", "H"),
    ("flags", "uint16", "H"),
    ("thread", "uint32", "I"),
    ("word", "uint64", "Q"),
)
_WIDTHS = {"q": 8, "Q": 8, "I": 4, "H": 2}

#: Where in a row stand the two numbers that say where its payload is.
_PLACE, _PLACE_AT = struct.Struct("<II"), 40

#: How many rows the twin cuts at once.
_AT_ONCE = 1_024

#: Memory that batches are encoded in, kept for the next ones: new memory costs a fault for each of its pages.
_SPARE: list[bytearray] = []
_MOST_SPARE = 4
_MOST_SPARE_BYTES = 8 << 20


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
    columns, starts, lengths = _cut(view, header, 0, header.rows)
    keep = [slot for slot, word in enumerate(columns[-1]) if word]
    names = ["sequence", *(name for name, *_ in EVENT_COLUMNS)]
    dense = {
        name: array(values.typecode, [values[slot] for slot in keep]).tobytes()
        for name, values in zip(names, columns, strict=True)
    }
    payloads, offsets = bytearray(), array("i", [0])
    for slot in keep:
        start = header.heap_offset + starts[slot]
        payloads += view[start : start + lengths[slot]]
        offsets.append(len(payloads))
    return dense, offsets.tobytes(), bytes(payloads), len(keep)


def _cut(view: memoryview, header: TailHeader, begin: int, end: int) -> tuple[list[array[int]], array[int], array[int]]:
    """Return the columns of some slots as they stand in a batch, and where payloads begin and how long they are."""
    # An array takes a slice with a step faster than a view does, and makes no integers meanwhile.
    table = array("Q")
    table.frombytes(view[PAGE + begin * ROW_BYTES : PAGE + end * ROW_BYTES])
    time, subject, object, names, codes, places, _, word = (table[index::8] for index in range(8))
    sequence = array("Q", range(header.first + begin, header.first + end))
    (name, other), (starts, lengths), (_, thread) = (_split("I", words) for words in (names, places, codes))
    code, flags, *_ = _split("H", codes)
    return [sequence, time, subject, object, name, other, code, flags, thread, word], starts, lengths


def _split(form: str, words: array[int]) -> list[array[int]]:
    """Return the numbers that stand side by side in words of 8 bytes."""
    numbers = array(form)
    numbers.frombytes(words.tobytes())
    count = 8 // numbers.itemsize
    return [numbers[index::count] for index in range(count)]


def _encode_in_python(view: memoryview, header: TailHeader, framing: Framing, memory: memoryview) -> tuple[int, int]:
    """Encode the published rows as the compiled half does; return how many rows and bytes these are."""
    words = view.cast("Q")[PAGE // 8 + 7 : PAGE // 8 + header.rows * ROW_BYTES // 8 : ROW_BYTES // 8].tobytes()
    rows = -(-len(words.rstrip(b"\0")) // 8)
    # Where that many zeros follow each other, a word may be one of zeros.
    whole = bytes(8) not in words[: 8 * rows] or 0 not in array("Q", words[: 8 * rows])
    if whole:
        last = PAGE + (rows - 1) * ROW_BYTES
        end = sum(_PLACE.unpack_from(view, last + _PLACE_AT)) if rows else 0
        payloads: Bytes = view[header.heap_offset : header.heap_offset + end]
    else:
        columns, offsets, payloads, rows = event_buffers(view, header)
    sizes = _sizes(rows, len(payloads))
    memory[: len(framing.sample)] = framing.head(rows, sizes)
    places = [len(framing.sample)]
    for size in chain.from_iterable(sizes):
        end = places[-1] + padded(size)
        # What is behind its last value is zero.
        memory[end - 8 : end] = bytes(8)
        places.append(end)
    if whole:
        _fill(view, header, rows, memory, places)
    else:
        for data, at in zip((*columns.values(), offsets), places, strict=False):
            memory[at : at + len(data)] = data
    *_, at, end = places
    memory[at : at + len(payloads)] = payloads
    return rows, end


def _fill(view: memoryview, header: TailHeader, rows: int, memory: memoryview, places: list[int]) -> None:
    """Write the columns of the first rows, none of which is missing, to their places in a batch."""
    end = 0
    # So many at a time that the arrays are small enough for memory that is used again and again: a fault for each
    # page of new memory takes longer than all that is done here.
    for begin in range(0, rows, _AT_ONCE):
        columns, starts, lengths = _cut(view, header, begin, min(rows, begin + _AT_ONCE))
        for column, at in zip((*columns, starts), places, strict=False):
            at += begin * column.itemsize
            memory[at : at + len(column) * column.itemsize] = column.tobytes()
        end = starts[-1] + lengths[-1]
    at = places[-3] + 4 * rows
    memory[at : at + 4] = end.to_bytes(4, "little")


def encode_rows(columns: dict[str, bytes], offsets: bytes, payloads: Bytes, rows: int) -> tuple[memoryview, memoryview]:
    """Encode columns as Arrow IPC by nanoarrow alone, which decides what is right.

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
    types += [(name, getattr(na, arrow)()) for name, arrow, _ in EVENT_COLUMNS]
    children = [na.c_array_from_buffers(kind, rows, [None, columns[name]], null_count=0) for name, kind in types]
    types.append(("payload", na.binary()))
    children.append(na.c_array_from_buffers(na.binary(), rows, [None, offsets, payloads], null_count=0))
    schema = na.struct([na.Schema(kind, name=name, nullable=False) for name, kind in types], nullable=False)
    return encode_batch(schema, children, rows)


def _sizes(rows: int, payloads: int) -> Sizes:
    """Return the bytes of each buffer of a batch of events with so many bytes of payload."""
    widths = [8, *(_WIDTHS[form] for _, _, form in EVENT_COLUMNS)]
    return [*((width * rows,) for width in widths), (4 * (rows + 1), payloads)]


@functools.cache
def event_framing() -> Framing | None:
    """Return the framing of sealed events.

    Returns
    -------
    Framing or None
        None where each batch has to be encoded by nanoarrow; see :func:`braid_hpc.log.framing.learn_framing`.
    """

    def encode(rows: int, sizes: Sizes) -> tuple[Bytes, Bytes]:
        names = ["sequence", *(name for name, *_ in EVENT_COLUMNS)]
        columns = {name: bytes(size) for name, (size,) in zip(names, sizes[:-1], strict=True)}
        payloads = sizes[-1][1]
        return encode_rows(columns, bytes(4 * rows) + payloads.to_bytes(4, "little"), bytes(payloads), rows)

    return learn_framing(encode, lambda rows: _sizes(rows, 3 * rows + 5))


def encode_tail(view: memoryview, header: TailHeader) -> tuple[Bytes, memoryview, int]:
    """Encode the published rows of a mapped tail as Arrow IPC.

    Parameters
    ----------
    view : memoryview
        The whole tail, uint8.
    header : TailHeader
        Its header.

    Returns
    -------
    schema : bytes
        The schema message of the stream.
    batch : memoryview
        The record batch message with its body. Its memory may be given back by :func:`give_back`.
    rows : int
        How many rows.
    """
    framing, compiled = event_framing(), compiled_module()
    if framing is None:
        columns, offsets, payloads, rows = event_buffers(view, header)
        return *encode_rows(columns, offsets, payloads, rows), rows
    most = _sizes(header.rows, header.heap_bytes)
    needed = len(framing.sample) + sum(padded(size) for column in most for size in column)
    memory = spare(needed)
    if compiled is not None:
        rows, length = compiled.encode_rows(
            view, header.first, header.rows, header.heap_offset, framing.sample, framing.places, memory
        )
    else:
        rows, length = _encode_in_python(view, header, framing, memoryview(memory))
    return framing.schema, memoryview(memory)[:length], rows


def spare(needed: int) -> bytearray:
    """Return memory to encode a batch in.

    Parameters
    ----------
    needed : int
        Bytes.

    Returns
    -------
    bytearray
        At least as long, with anything in it.
    """
    try:
        memory = _SPARE.pop()
    except IndexError:
        return bytearray(needed)
    return memory if len(memory) >= needed else bytearray(needed)


def give_back(batch: memoryview) -> None:
    """Take back the memory of a batch that is written.

    Parameters
    ----------
    batch : memoryview
        Encoded in :func:`spare` memory; not to be used any more.
    """
    memory = batch.obj
    batch.release()
    if isinstance(memory, bytearray) and len(memory) <= _MOST_SPARE_BYTES and len(_SPARE) < _MOST_SPARE:
        _SPARE.append(memory)


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

    table = na.c_array_from_buffers(schema, rows, [None], null_count=0, children=children)
    out = io.BytesIO()
    writer = StreamWriter.from_writable(out)
    writer.write_stream(table)
    writer.release()
    # Views of one buffer: a copy of a megabyte or two would hold up the program's threads.
    whole = out.getbuffer()
    # An encapsulated message is ffffffff, the length of its metadata (int32), the metadata; a schema has no body.
    cut = 8 + int.from_bytes(whole[4:8], "little")
    return whole[:cut], whole[cut:]


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
        schema, batch, rows = encode_tail(view, header)
        batches.append((batch, header.first, header.after, rows))
    if batches:
        events.append_all(schema, batches, sync=True)
        for batch, *_ in batches:
            give_back(batch)
    return sum(rows for *_, rows in batches)
