"""The frame of a batch: filled in as nanoarrow would have encoded it, or not used at all."""

from __future__ import annotations

from pathlib import Path

import nanoarrow as na
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.log import seal
from braid_hpc.log.framing import Encoded, Framing, Sizes, learn_framing, padded
from braid_hpc.log.seal import encode_batch, encode_rows, encode_tail, event_buffers, event_framing
from braid_hpc.log.tail import MappedTail
from tests.log.contract import WRITER


def encode(rows: int, sizes: Sizes) -> Encoded:
    """Encode a batch of two columns, of int16 and text."""
    (numbers,), (_, texts) = sizes
    schema = na.struct(
        [na.Schema(na.int16(), name="n", nullable=False), na.Schema(na.large_string(), name="t", nullable=False)],
        nullable=False,
    )
    offsets = bytes(8 * rows) + texts.to_bytes(8, "little")
    columns = [
        na.c_array_from_buffers(na.int16(), rows, [None, bytes(numbers)], null_count=0),
        na.c_array_from_buffers(na.large_string(), rows, [None, offsets, b"x" * texts], null_count=0),
    ]
    return encode_batch(schema, columns, rows)


def sizes(rows: int, texts: int = 77) -> Sizes:
    return [(2 * rows,), (8 * (rows + 1), texts)]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3_000), st.integers(0, 3_000))
def test_a_head_is_what_nanoarrow_writes(rows: int, texts: int) -> None:
    """Byte for byte, with every number of rows and bytes."""
    framing = learn_framing(encode, sizes)
    assert framing is not None
    schema, batch = encode(rows, sizes(rows, texts))
    head = framing.head(rows, sizes(rows, texts))
    assert (framing.schema, head) == (schema, batch[: len(head)])
    assert len(batch) - len(head) == padded(2 * rows) + 8 * (rows + 1) + padded(texts)


def test_a_batch_is_read_by_arrow_alone(tmp_path: Path) -> None:
    """What stands in the place that the frame says is what was stored."""
    tail = MappedTail(tmp_path / "tail", WRITER, 1, 5, 64, 8192)
    for step in range(40):
        tail.append(31, step + 1, step * 10, 2**64 - 1 - step, 7, 3, b"%d" % step * (step % 3))
    schema, batch, rows = encode_tail(tail.rows_view(), tail.header)
    for table in (
        pa.ipc.open_stream(b"".join([schema, batch])).read_all(),
        pa.table(na.ArrayStream.from_readable(b"".join([schema, batch]))),
    ):
        table.validate(full=True)
        assert table.num_rows == rows == 40
        assert table["sequence"].to_pylist() == list(range(5, 45))
        assert table["object"].to_pylist() == [2**64 - 1 - step for step in range(40)]
        assert table["payload"].to_pylist() == [b"%d" % step * (step % 3) for step in range(40)]
    tail.close()


def test_the_events_of_this_nanoarrow_are_framed() -> None:
    """Else sealing would take the long way without anybody noticing."""
    assert event_framing() is not None


def test_another_way_to_frame_is_noticed() -> None:
    """A batch whose head has other numbers, has one of them twice, or whose buffers lie further apart."""

    def wider(rows: int, sizes: Sizes) -> Encoded:
        schema, batch = encode(rows, sizes)
        return schema, bytes(batch) + bytes(56)

    def later(rows: int, sizes: Sizes) -> Encoded:
        schema, batch = encode(rows, sizes)
        head = 8 + int.from_bytes(batch[4:8], "little")
        return schema, bytes(batch[:head]).replace(b"\x4d\0\0\0", b"\x50\0\0\0") + bytes(batch[head:])

    def doubled(rows: int, sizes: Sizes) -> Encoded:
        schema, batch = encode(rows, sizes)
        head = 8 + int.from_bytes(batch[4:8], "little")
        longer = b"\xff" * 4 + head.to_bytes(4, "little") + bytes(batch[8:head]) + rows.to_bytes(8, "little")
        return schema, longer + bytes(batch[head:])

    def unsteady(rows: int, sizes: Sizes) -> Encoded:
        schema, batch = encode(rows, sizes)
        return schema, bytes(batch[:16]) + rows.to_bytes(2, "little") + bytes(batch[18:])

    assert learn_framing(encode, sizes) is not None
    for other in (wider, later, doubled, unsteady):
        assert learn_framing(other, sizes) is None
    with pytest.raises(ValueError, match="stand in a head 0 times"):
        Framing(b"", bytes(1_000), 3, sizes(3))


def test_where_the_frame_is_not_known_nanoarrow_encodes_each_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same bytes."""
    tail = MappedTail(tmp_path / "tail", WRITER, 1, 1, 64, 8192)
    for step in range(40):
        tail.append(31, step, 0, 0, 0, 0, b"%d" % step)
    framed = encode_tail(tail.rows_view(), tail.header)
    monkeypatch.setattr(seal, "event_framing", lambda: None)
    assert encode_tail(tail.rows_view(), tail.header) == framed
    columns, offsets, payloads, rows = event_buffers(tail.rows_view(), tail.header)
    assert framed == (*encode_rows(columns, offsets, payloads, rows), 40)
    tail.close()
