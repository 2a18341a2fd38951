"""The bytes of a log, field by field."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from braid_hpc.log.layout import (
    MAJOR,
    ROW,
    ROW_BYTES,
    SUM,
    SUM_BYTES,
    TAIL_HEADER,
    TAIL_LOSS,
    TAIL_LOSS_OFFSET,
    TailHeader,
    TailKind,
    check_word,
    pack_sum,
)
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
HEADERS = st.builds(
    TailHeader,
    writer=st.binary(min_size=16, max_size=16),
    number=U64,
    first=U64,
    rows=U32,
    heap_offset=U64,
    heap_bytes=U64,
    kind=st.sampled_from([TailKind.MAPPED, TailKind.FRAMES]),
)
HEADER = TailHeader(bytes(16), 1, 1, 64, 8192, 4096)


def repacked(**changes: int | bytes) -> bytes:
    """Give a header with some fields changed, and a check sum that holds."""
    names = [
        "magic",
        "major",
        "minor",
        "page",
        "writer",
        "number",
        "first",
        "rows",
        "row_bytes",
        "offset",
        "heap",
        "kind",
        "zero",
    ]
    fields = dict(zip(names, TAIL_HEADER.unpack(HEADER.pack()[:80]), strict=True)) | changes
    body = TAIL_HEADER.pack(*fields.values())
    return body + struct.pack("<Q", xxh3_64_intdigest(body))


def test_sizes_are_those_of_the_format() -> None:
    """They never change within a major version."""
    assert [layout.size for layout in (ROW, TAIL_HEADER, SUM, TAIL_LOSS)] == [56, 80, 64, 32]
    assert {ROW_BYTES, SUM_BYTES} == {64}
    assert TAIL_HEADER.size + 8 <= TAIL_LOSS_OFFSET


@given(HEADERS)
def test_a_header_comes_back(header: TailHeader) -> None:
    """In 88 bytes, whatever follows them."""
    assert len(header.pack()) == 88
    assert TailHeader.unpack(header.pack() + b"rows") == header
    assert header.after == header.first + header.rows
    assert header.total == header.heap_offset + header.heap_bytes


def test_every_flipped_bit_of_a_header_is_noticed() -> None:
    """All 704 of them."""
    packed = HEADER.pack()
    for bit in range(len(packed) * 8):
        damaged = bytearray(packed)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(CorruptLogError):
            TailHeader.unpack(bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 79, 80, 87])
def test_a_header_that_is_cut_is_corrupt(length: int) -> None:
    """Instead of an error of struct."""
    with pytest.raises(CorruptLogError, match="ends within its header"):
        TailHeader.unpack(HEADER.pack()[:length])


def test_a_newer_major_version_is_refused() -> None:
    """With what to do about it."""
    with pytest.raises(FormatTooNewError, match="update braid_hpc"):
        TailHeader.unpack(repacked(major=MAJOR + 1))


def test_a_newer_minor_version_is_read() -> None:
    """Minor versions add what an older reader may pass over."""
    assert TailHeader.unpack(repacked(minor=99)) == HEADER


def test_other_files_and_rows_are_refused() -> None:
    """A file of somebody else, and rows of a length that is not ours."""
    with pytest.raises(CorruptLogError, match="not the tail of a rank log"):
        TailHeader.unpack(repacked(magic=b"SQLite f"))
    with pytest.raises(CorruptLogError, match="32 bytes, not 64"):
        TailHeader.unpack(repacked(row_bytes=32))


@given(sequence=st.integers(1, 2**64 - 1), digest=U64)
def test_a_word_is_never_zero(sequence: int, digest: int) -> None:
    """Zero means unpublished; the low half is the sequence, the high half the digest's."""
    word = check_word(sequence, digest)
    assert 0 < word < 1 << 64
    assert word & 0xFFFFFFFF == sequence & 0xFFFFFFFF
    assert word >> 32 == (digest >> 32 or 1)


def test_a_word_is_not_zero_where_everything_else_is() -> None:
    """Sequence 2**32 with a digest whose high half is zero."""
    assert check_word(1 << 32, 0xFFFFFFFF) == 1 << 32


@given(offset=U64, length=U64, first=U64, after=U64, rows=U64, digest=st.binary(min_size=16, max_size=16))
def test_a_sum_comes_back(offset: int, length: int, first: int, after: int, rows: int, digest: bytes) -> None:
    """In 64 bytes, the last eight of which check the others."""
    record = pack_sum(offset, length, first, after, rows, digest)
    assert len(record) == SUM_BYTES
    assert SUM.unpack(record) == (offset, length, first, after, rows, digest, xxh3_64_intdigest(record[:56]))
