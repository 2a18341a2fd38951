"""The bytes of a rank log: versions, file names, the row, the header of a tail, the record of a sum.

Everything is little-endian. ``docs/log-format.md`` says the same in words; a test holds the two together.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = [
    "FORMAT",
    "HEADER_NAME",
    "MAJOR",
    "MINOR",
    "PAGE",
    "ROW",
    "ROW_BYTES",
    "SUM",
    "SUM_BYTES",
    "TAIL_HEADER",
    "TailHeader",
    "TailKind",
    "check_word",
    "pack_sum",
    "part_name",
]

FORMAT = "braid rank log"
MAJOR = 1
MINOR = 0

HEADER_NAME = "header.json"
ENDED_NAME = "ended.json"
GONE_NAME = "gone.json"
EVENTS_NAME = "events.arrows"
TAIL_PREFIX = "tail-"

PAGE = 4096
MAGIC = b"BRAIDTL\x01"

#: The 56 bytes before the last word of a row: time (int64, CLOCK_MONOTONIC ns), subject (uint64), object (uint64),
#: name (uint32), other (uint32), code (uint16), flags (uint16), thread (uint32), heap (uint32), length (uint32),
#: reserved (uint64, zero).
ROW = struct.Struct("<qQQIIHHIIIQ")
ROW_BYTES = 64

#: magic, major, minor, header bytes, writer, number, first sequence, rows, row bytes, heap offset, heap bytes, kind,
#: reserved; followed by XXH3-64 of these 80 bytes.
TAIL_HEADER = struct.Struct("<8sHHI16sQQIIQQII")
TAIL_HEADER_CHECK = struct.Struct("<Q")

#: Where a tail keeps its losses: count, first and last monotonic time, XXH3-64 of these 24 bytes.
TAIL_LOSS_OFFSET = 128
TAIL_LOSS = struct.Struct("<QqqQ")

#: offset, length, first number, number after the segment, rows, XXH3-128 of the file's schema message followed by
#: the batch, XXH3-64 of these 56 bytes. Numbers are sequences (or rows, for a stream); a segment's second number is
#: the first one of the next segment, so that a missing segment shows.
SUM = struct.Struct("<QQQQQ16sQ")
SUM_BYTES = 64


class TailKind:
    """How a tail keeps its rows."""

    MAPPED = 0
    """A table of rows, then a heap of payloads, written through a shared mapping."""
    FRAMES = 1
    """Row after row, each followed by its payload, appended by ``write`` (file systems that must not be mapped)."""


def check_word(sequence: int, digest: int) -> int:
    """Return the last word of a row.

    Parameters
    ----------
    sequence : int
        The row's sequence number, from 1.
    digest : int
        XXH3-64 of the row's first 56 bytes followed by its payload.

    Returns
    -------
    int
        Low 32 bits: the sequence; high 32 bits: the high half of the digest, or 1 where that is 0, so that a
        published word is never 0.
    """
    return ((digest & 0xFFFFFFFF00000000) or (1 << 32)) | (sequence & 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class TailHeader:
    """The first 88 bytes of a tail.

    Attributes
    ----------
    writer : bytes
        The writer's 16-byte id.
    number : int
        Tails of a writer are numbered from 1.
    first : int
        Sequence of the row in slot 0.
    rows : int
        Slots in the table; in a tail of frames, which has none, how many rows it may take.
    heap_offset, heap_bytes : int
        Where payloads lie, in bytes from the file's beginning.
    kind : int
        One of :class:`TailKind`.
    """

    writer: bytes
    number: int
    first: int
    rows: int
    heap_offset: int
    heap_bytes: int
    kind: int = TailKind.MAPPED

    @property
    def after(self) -> int:
        """Sequence of the first row of the next tail."""
        return self.first + self.rows

    @property
    def total(self) -> int:
        """Bytes of the whole file."""
        return self.heap_offset + self.heap_bytes

    def pack(self) -> bytes:
        """Return the header's bytes with their check sum.

        Returns
        -------
        bytes
            88 bytes.
        """
        from xxhash import xxh3_64_intdigest

        body = TAIL_HEADER.pack(
            MAGIC,
            MAJOR,
            MINOR,
            PAGE,
            self.writer,
            self.number,
            self.first,
            self.rows,
            ROW_BYTES,
            self.heap_offset,
            self.heap_bytes,
            self.kind,
            0,
        )
        return body + TAIL_HEADER_CHECK.pack(xxh3_64_intdigest(body))

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> TailHeader:
        """Read a header.

        Parameters
        ----------
        data : bytes-like
            At least the first 88 bytes of the file.

        Returns
        -------
        TailHeader
            Its fields.

        Raises
        ------
        CorruptLogError
            If this is not a tail, or its header does not carry its check sum.
        FormatTooNewError
            If its major version is newer than this package's.
        """
        from xxhash import xxh3_64_intdigest

        size = TAIL_HEADER.size
        if len(data) < size + 8:
            raise CorruptLogError(f"a tail of {len(data)} bytes ends within its header")
        body = bytes(data[:size])
        magic, major, _minor, _page, writer, number, first, rows, row_bytes, offset, heap, kind, _ = TAIL_HEADER.unpack(
            body
        )
        (check,) = TAIL_HEADER_CHECK.unpack(data[size : size + 8])
        if magic != MAGIC:
            raise CorruptLogError("this file is not the tail of a rank log (its first eight bytes are others)")
        if check != xxh3_64_intdigest(body):
            raise CorruptLogError("the header of this tail does not carry its check sum")
        if major > MAJOR:
            raise FormatTooNewError(
                f"this tail is of log format {major}, this braid_hpc reads up to {MAJOR}: update braid_hpc"
            )
        if row_bytes != ROW_BYTES:
            raise CorruptLogError(f"the rows of this tail are said to be {row_bytes} bytes, not {ROW_BYTES}")
        return cls(writer, number, first, rows, offset, heap, kind)


def pack_sum(offset: int, length: int, first: int, after: int, rows: int, digest: bytes) -> bytes:
    """Return the record of one sealed batch.

    Parameters
    ----------
    offset, length : int
        Where the batch stands in its file, in bytes.
    first, after : int
        Sequence (or row, for a stream) of its first row, and of the first row of the segment behind it.
    rows : int
        How many rows it has.
    digest : bytes
        XXH3-128 of the schema message and the batch (:func:`braid_hpc.log.batch_file.batch_digest`), 16 bytes.

    Returns
    -------
    bytes
        64 bytes, the last eight of which are XXH3-64 of the first 56.
    """
    from xxhash import xxh3_64_intdigest

    body = SUM.pack(offset, length, first, after, rows, digest, 0)[:-8]
    return body + struct.pack("<Q", xxh3_64_intdigest(body))


def part_name(name: str, part: int) -> str:
    """Return the name of a file of batches, without its ending.

    Parameters
    ----------
    name : str
        ``events`` or ``stream-<number>``.
    part : int
        From 1; a later one is begun after the file system refused the one before.

    Returns
    -------
    str
        The first one has the plain name.

    Examples
    --------
    >>> part_name("events", 1), part_name("stream-0001", 2)
    ('events', 'stream-0001-000002')
    """
    return name if part == 1 else f"{name}-{part:06d}"
