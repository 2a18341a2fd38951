"""Sealing: a full tail becomes one batch of an Arrow IPC stream, with the sum of its bytes beside it.

Where the tail is compiled, the rows are cut into columns in one call that needs no interpreter. The twin takes strided
slices of arrays, without a loop over rows and without NumPy, so that a rank imports nothing but nanoarrow.
"""

from __future__ import annotations

import functools
import io
from array import array
from itertools import chain
from typing import TYPE_CHECKING, Any

from braid_hpc.log.choice import compiled_module
from braid_hpc.log.framing import Framing, Sizes, learn_framing, padded
from braid_hpc.log.layout import PAGE, ROW_BYTES, TailHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from braid_hpc.log.batch_file import BatchFile, Bytes

__all__ = ["EVENT_COLUMNS", "encode_batch", "encode_rows", "encode_tail", "event_buffers", "seal_tails"]

#: Name, Arrow type, code of :mod:`array` and index of each column within a row.
EVENT_COLUMNS: tuple[tuple[str, str, str, int], ...] = (
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
_WIDTHS = {"q": 8, "Q": 8, "I": 4, "H": 2}
_HEAP_INDEX = 10
_LENGTH_INDEX = 11

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
    table = view[PAGE : PAGE + header.rows * ROW_BYTES]
    # An array takes a slice with a step several times faster than a view does.
    tables = {form: array(form, bytes(table)) for form in "QqIH"}
    words = tables["Q"][7::8]
    used = len(words)
    while used and not words[used - 1]:
        used -= 1
    ends = {form: used * ROW_BYTES // width for form, width in _WIDTHS.items()}
    starts, lengths = (tables["I"][index : ends["I"] : 16] for index in (_HEAP_INDEX, _LENGTH_INDEX))
    columns = {"sequence": array("Q", range(header.first, header.first + used)).tobytes()}
    for name, _, form, index in EVENT_COLUMNS:
        columns[name] = tables[form][index : ends[form] : ROW_BYTES // _WIDTHS[form]].tobytes()
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
    types += [(name, getattr(na, arrow)()) for name, arrow, _, _ in EVENT_COLUMNS]
    children = [na.c_array_from_buffers(kind, rows, [None, columns[name]], null_count=0) for name, kind in types]
    types.append(("payload", na.binary()))
    children.append(na.c_array_from_buffers(na.binary(), rows, [None, offsets, payloads], null_count=0))
    schema = na.struct([na.Schema(kind, name=name, nullable=False) for name, kind in types], nullable=False)
    return encode_batch(schema, children, rows)


def _sizes(rows: int, payloads: int) -> Sizes:
    """Return the bytes of each buffer of a batch of events with so many bytes of payload."""
    widths = [8, *(_WIDTHS[form] for _, _, form, _ in EVENT_COLUMNS)]
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
    if compiled is None:
        columns, offsets, payloads, rows = event_buffers(view, header)
        buffers = [*columns.values(), offsets, payloads]
        parts = chain.from_iterable((data, bytes(-len(data) % 8)) for data in buffers)
        return framing.schema, memoryview(b"".join([framing.head(rows, _sizes(rows, len(payloads))), *parts])), rows
    most = len(framing.sample) + sum(
        padded(size) for column in _sizes(header.rows, header.heap_bytes) for size in column
    )
    memory = _SPARE.pop() if _SPARE else bytearray()
    if len(memory) < most:
        memory = bytearray(most)
    rows, length = compiled.encode_rows(
        view, header.first, header.rows, header.heap_offset, framing.sample, framing.places, memory
    )
    return framing.schema, memoryview(memory)[:length], rows


def give_back(batch: memoryview) -> None:
    """Take back the memory of a batch that is written.

    Parameters
    ----------
    batch : memoryview
        From :func:`encode_tail`; not to be used any more.
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
