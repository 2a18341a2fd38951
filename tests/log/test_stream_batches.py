"""Large batches of streams: framed as nanoarrow would have encoded them, in memory that is used again."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.log import stream_batches
from braid_hpc.log.seal import give_back
from braid_hpc.log.stream_batches import StreamBatches, stream_framing
from braid_hpc.vocabulary.columns import FIXED, item_bytes

KINDS = [*FIXED, "text", "bytes"]


def buffers_of(columns: list[tuple[str, str]], rows: int, fill: bytes) -> list[list[bytes]]:
    """Make columns of values that are all bytes of `fill`, over and over."""
    found = []
    for _, kind in columns:
        if kind in FIXED:
            size = rows * item_bytes(kind)
            found.append([(b"\1" if kind == "bool" else fill) * size if kind == "bool" else (fill * size)[:size]])
        else:
            lengths = [row % 3 for row in range(rows)]
            offsets = array("I", [0, *accumulate(lengths)])
            found.append([offsets.tobytes(), b"t" * offsets[-1]])
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), st.integers(1, 700), st.binary(min_size=1, max_size=9))
def test_a_batch_is_what_nanoarrow_writes(kinds: list[str], rows: int, fill: bytes) -> None:
    """Byte for byte, also in memory that another batch was in."""
    columns = [(f"c{at}", kind) for at, kind in enumerate(kinds)]
    assert stream_framing(tuple(columns)) is not None
    buffers = buffers_of(columns, rows, fill)
    schema, batch = StreamBatches(columns).encode(buffers, rows)
    alone = StreamBatches(columns)
    alone._framing = None
    other_schema, other = alone.encode(buffers, rows)
    assert schema == other_schema
    assert batch == other
    table = pa.ipc.open_stream(b"".join([schema, batch])).read_all()
    table.validate(full=True)
    assert table.num_rows == rows
    give_back(batch)


def test_columns_that_cannot_be_framed_are_left_to_nanoarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*given: Any) -> None:
        return None

    monkeypatch.setattr(stream_batches, "stream_framing", none)
    schema, batch = StreamBatches([("x", "int16")]).encode([[b"\1\0\2\0"]], 2)
    assert pa.ipc.open_stream(b"".join([schema, batch])).read_all()["x"].to_pylist() == [1, 2]
