"""The frame of an Arrow batch: made by nanoarrow once for a schema, then only its numbers are filled in.

All batches of a schema without nulls have one frame: the same bytes but for the number of rows, the place and length
of each buffer, and the length of them all. nanoarrow encodes two samples; where those numbers stand in the first is
looked up, and the second proves it. A nanoarrow that writes something else is then asked for every batch, which takes
longer and is as good.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeAlias

__all__ = ["Encoded", "Framing", "Sizes", "learn_framing", "padded"]

#: Bytes of the buffers of each column: (values) or (offsets, values). The one of validity is always left out.
Sizes: TypeAlias = Sequence[tuple[int, ...]]
#: The schema message and a batch.
Encoded: TypeAlias = tuple[bytes | memoryview, bytes | memoryview]


def padded(length: int) -> int:
    """Return the bytes that a buffer takes in a batch.

    Parameters
    ----------
    length : int
        Its own bytes.

    Returns
    -------
    int
        The next multiple of 8.
    """
    return -(-length // 8) * 8


class Framing:
    """What stands before the buffers of each batch of one schema.

    Parameters
    ----------
    schema : bytes
        The encapsulated schema message.
    head : bytes
        The metadata of a sample, with the eight bytes before it.
    rows : int
        Rows of the sample.
    sizes : sequence of tuple of int
        Bytes of its buffers.

    Attributes
    ----------
    schema : bytes
        As given.
    sample : bytes
        The head that was given.
    places : tuple of int
        Where in a head stand the number of rows, the bytes of all buffers, the list of columns (two int64 each), and
        the list of buffers (likewise).

    Raises
    ------
    ValueError
        If the numbers do not stand in the sample, or more than once.
    """

    __slots__ = ("places", "sample", "schema")

    def __init__(self, schema: bytes, head: bytes, rows: int, sizes: Sizes) -> None:
        self.schema = schema
        self.sample = head
        nodes, buffers, body = _lists(rows, sizes)
        at = [_place(head, nodes), _place(head, buffers)]
        # Those two lists hold the numbers of the sample too.
        rest = head
        for start, part in zip(at, (nodes, buffers), strict=True):
            rest = rest[:start] + b"\xff" * len(part) + rest[start + len(part) :]
        self.places = (_place(rest, struct.pack("<q", rows)), _place(rest, struct.pack("<q", body)), *at)

    def head(self, rows: int, sizes: Sizes) -> bytes:
        """Return the head of a batch.

        Parameters
        ----------
        rows : int
            How many rows.
        sizes : sequence of tuple of int
            Bytes of the buffers.

        Returns
        -------
        bytes
            As long as the sample's.
        """
        nodes, buffers, body = _lists(rows, sizes)
        head = bytearray(self.sample)
        for at, part in zip(
            self.places, (struct.pack("<q", rows), struct.pack("<q", body), nodes, buffers), strict=True
        ):
            head[at : at + len(part)] = part
        return bytes(head)


def _lists(rows: int, sizes: Sizes) -> tuple[bytes, bytes, int]:
    """Return the lists of columns and of buffers as they stand in a head, and the bytes of all buffers."""
    extents: list[int] = []
    end = 0
    for column in sizes:
        extents += (end, 0)
        for size in column:
            extents += (end, size)
            end += padded(size)
    return struct.pack("<qq", rows, 0) * len(sizes), struct.pack(f"<{len(extents)}q", *extents), end


def _place(head: bytes, part: bytes) -> int:
    places = [at for at in range(0, len(head), 8) if head.startswith(part, at)]
    if len(places) != 1:
        raise ValueError(f"{len(part)} bytes that are looked for stand in a head {len(places)} times")
    return places[0]


def learn_framing(encode: Callable[[int, Sizes], Encoded], sizes: Callable[[int], Sizes]) -> Framing | None:
    """Return the framing of a schema.

    Parameters
    ----------
    encode : callable
        Has nanoarrow encode a batch of so many rows, with buffers of these sizes.
    sizes : callable
        Returns the sizes of the buffers of a sample of so many rows.

    Returns
    -------
    Framing or None
        None if nanoarrow frames batches in another way than is known here.
    """
    heads = {}
    schema: bytes = b""
    for rows in (251, 1_021):
        message, batch = encode(rows, sizes(rows))
        schema = bytes(message)
        heads[rows] = bytes(batch[: 8 + int.from_bytes(batch[4:8], "little")])
        if len(batch) != len(heads[rows]) + sum(padded(size) for column in sizes(rows) for size in column):
            return None
    (rows, head), (others, other) = heads.items()
    try:
        found = Framing(schema, head, rows, sizes(rows))
    except ValueError:
        return None
    return found if found.head(others, sizes(others)) == other else None
