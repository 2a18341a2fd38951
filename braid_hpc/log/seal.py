"""Sealing: a full tail becomes one batch of an Arrow IPC stream, with the sum of its bytes beside it.

Columns are cut out of the table of rows by strided views, without a loop over rows and without NumPy, so that a
rank pays about a millisecond for 16,384 rows and imports nothing but nanoarrow.
"""

from __future__ import annotations

import io
from array import array
from typing import TYPE_CHECKING, Any, Literal

from braid_hpc.log.choice import compiled_module
from braid_hpc.log.layout import PAGE, ROW_BYTES, TailHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from braid_hpc.log.batch_file import BatchFile, Bytes

__all__ = ["EVENT_COLUMNS", "encode_batch", "encode_rows", "event_buffers", "seal_tails"]

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
