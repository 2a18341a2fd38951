"""Large batches of a stream as Arrow IPC: framed by what nanoarrow wrote once for the columns, see `framing`."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from braid_hpc.log.framing import Encoded, Framing, Sizes, learn_framing, padded
from braid_hpc.log.seal import encode_batch, spare
from braid_hpc.vocabulary.columns import VARIABLE, item_bytes

if TYPE_CHECKING:
    from braid_hpc.log.batch_file import Bytes

__all__ = ["StreamBatches", "stream_framing"]


class StreamBatches:
    """Encodes the batches of one stream.

    Parameters
    ----------
    columns : list of (str, str)
        Names and types.
    """

    def __init__(self, columns: Sequence[tuple[str, str]]) -> None:
        self._columns = tuple(columns)
        self._variable = [kind in VARIABLE for _, kind in columns]
        self._framing = stream_framing(self._columns)

    def encode(self, buffers: Sequence[Sequence[Any]], rows: int) -> tuple[Bytes, memoryview]:
        """Encode one batch.

        Parameters
        ----------
        buffers : sequence of sequence of bytes-like
            Of each column its values; of text and bytes the offsets (uint32, one more than rows) and the bytes.
        rows : int
            How many.

        Returns
        -------
        schema : bytes
            The encapsulated schema message.
        batch : memoryview
            The encapsulated record batch message, whose memory may be given back
            (:func:`braid_hpc.log.seal.give_back`).
        """
        if any(self._variable):
            # The offsets of Arrow's large types are of 64 bits.
            buffers = [
                (array("q", array("I", bytes(parts[0]))).tobytes(), parts[1]) if variable else parts
                for variable, parts in zip(self._variable, buffers, strict=True)
            ]
        framing = self._framing
        if framing is None:
            return _encode(self._columns, buffers, rows)
        sizes = [tuple(map(len, parts)) for parts in buffers]
        head = framing.head(rows, sizes)
        whole = memoryview(spare(len(head) + sum(padded(size) for column in sizes for size in column)))
        whole[: len(head)] = head
        at = len(head)
        for parts in buffers:
            for data in parts:
                end = at + len(data)
                whole[at:end] = data
                at += padded(len(data))
                # Memory that was used before holds something there.
                whole[end:at] = bytes(at - end)
        return framing.schema, whole[:at]


@functools.lru_cache(maxsize=256)
def stream_framing(columns: tuple[tuple[str, str], ...]) -> Framing | None:
    """Return the framing of the batches of a stream.

    Parameters
    ----------
    columns : tuple of (str, str)
        Names and types.

    Returns
    -------
    Framing or None
        None where each batch has to be encoded by nanoarrow; see :func:`braid_hpc.log.framing.learn_framing`.
    """

    def sizes(rows: int) -> Sizes:
        return [(8 * (rows + 1), 3 * rows) if kind in VARIABLE else (item_bytes(kind) * rows,) for _, kind in columns]

    def encode(rows: int, sizes: Sizes) -> Encoded:
        buffers = [
            (bytes(8 * rows) + column[1].to_bytes(8, "little"), bytes(column[1]))
            if len(column) == 2
            else (bytes(column[0]),)
            for column in sizes
        ]
        return _encode(columns, buffers, rows)

    return learn_framing(encode, sizes)


def _encode(
    columns: Sequence[tuple[str, str]], buffers: Sequence[Sequence[Any]], rows: int
) -> tuple[memoryview, memoryview]:
    """Encode a batch by nanoarrow alone, which decides what is right."""
    import nanoarrow as na

    types: dict[str, Any] = {"text": na.large_string(), "bytes": na.large_binary(), "bool": na.uint8()}
    types["timestamp"] = na.timestamp("ns", "UTC")
    forms = [types.get(kind) or getattr(na, kind)() for _, kind in columns]
    fields = [na.Schema(form, name=name, nullable=False) for (name, _), form in zip(columns, forms, strict=True)]
    children = [
        na.c_array_from_buffers(form, rows, [None, *parts], null_count=0)
        for form, parts in zip(forms, buffers, strict=True)
    ]
    return encode_batch(na.struct(fields, nullable=False), children, rows)
