"""Sealing: rows of a tail as Arrow, with sums that hold."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from braid_hpc.log.batch_file import events_file
from braid_hpc.log.layout import PAGE, ROW_BYTES
from braid_hpc.log.seal import EVENT_COLUMNS, encode_rows, event_buffers, seal_tails
from braid_hpc.log.tail import MappedTail
from braid_hpc.reading.sealed import read_sealed
from braid_hpc.reading.tails import read_tail
from tests.log.contract import WRITER


def filled(path: Path, rows: int, *, first: int = 1, number: int = 1, capacity: int = 64) -> MappedTail:
    tail = MappedTail(path, WRITER, number, first, capacity, 8192)
    for step in range(rows):
        tail.append(31, step + 1, step * 10, 2**64 - 1 - step, 7, 3, b"%d" % step * (step % 3))
    return tail


@pytest.mark.parametrize("rows", [0, 1, 2, 63, 64])
def test_a_sealed_tail_holds_the_rows_of_the_tail(tmp_path: Path, rows: int) -> None:
    """Column by column, and payload by payload."""
    tail = filled(tmp_path / "tail-000001", rows)
    before = read_tail(tail.path).events
    assert seal_tails([(tail.rows_view(), tail.header)], events_file(tmp_path)) == rows
    ((segment, after, fault),) = read_sealed(tmp_path, "events.arrows")
    assert fault is None
    assert after is not None
    assert (segment.first, segment.after, segment.rows) == (1, 65, rows)
    assert len(after) == rows
    for name in before.columns:
        assert after[name].tolist() == before[name].tolist()
    assert [after.payload(row) for row in range(rows)] == [before.payload(row) for row in range(rows)]
    tail.close()


def test_places_that_were_never_published_are_left_out(tmp_path: Path) -> None:
    """A thread that ended between reserving and publishing leaves a hole; its neighbours keep their sequences."""
    tail = filled(tmp_path / "tail-000001", 6)
    for slot in (0, 3):
        tail.rows_view()[PAGE + slot * ROW_BYTES + 56 : PAGE + (slot + 1) * ROW_BYTES] = bytes(8)
    before = read_tail(tail.path).events
    assert before["sequence"].tolist() == [2, 3, 5, 6]
    assert not tail.settled
    columns, offsets, payloads, rows = event_buffers(tail.rows_view(), tail.header)
    schema, batch = encode_rows(columns, offsets, payloads, rows)
    table = pa.ipc.open_stream(b"".join([schema, batch])).read_all()
    assert table["sequence"].to_pylist() == [2, 3, 5, 6]
    assert table["subject"].to_pylist() == before["subject"].tolist()
    assert table["payload"].to_pylist() == [before.payload(row) for row in range(4)]
    tail.close()


def test_pyarrow_alone_reads_the_file(tmp_path: Path) -> None:
    """All batches, one behind the other, under one schema without nulls."""
    events = events_file(tmp_path)
    for number in (1, 2, 3):
        tail = filled(tmp_path / f"tail-{number}", 64, first=1 + 64 * (number - 1), number=number)
        seal_tails([(tail.rows_view(), tail.header)], events)
        tail.close()
    with pa.ipc.open_stream((tmp_path / "events.arrows").read_bytes()) as stream:
        table = stream.read_all()
    assert table["sequence"].to_pylist() == list(range(1, 193))
    wanted = {"sequence": "uint64", **{name: kind for name, kind, _ in EVENT_COLUMNS}, "payload": "binary"}
    assert {field.name: str(field.type) for field in table.schema} == wanted
    assert not any(field.nullable for field in table.schema)
