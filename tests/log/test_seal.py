"""Sealing: rows of a tail as Arrow, with sums that hold."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from braid_hpc.log.layout import PAGE, ROW_BYTES, SUM_BYTES
from braid_hpc.log.seal import (
    EVENT_COLUMNS,
    BatchFile,
    batch_digest,
    encode_rows,
    event_buffers,
    events_file,
    seal_tails,
)
from braid_hpc.log.tail import MappedTail
from braid_hpc.reading.sealed import read_batch, read_sealed, read_sums
from braid_hpc.reading.tails import read_tail
from tests.log.contract import WRITER
from tests.ranks import RunRanks


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
    wanted = {"sequence": "uint64", **{name: kind for name, kind, _, _ in EVENT_COLUMNS}, "payload": "binary"}
    assert {field.name: str(field.type) for field in table.schema} == wanted
    assert not any(field.nullable for field in table.schema)


def small_batch(number: int) -> tuple[bytes, bytes]:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"x": pa.array([number] * 100, pa.int32())})
    with pa.ipc.new_stream(sink, batch.schema) as out:
        out.write_batch(batch)
    data = sink.getvalue().to_pybytes()
    cut = 8 + int.from_bytes(data[4:8], "little")
    return data[:cut], data[cut:-8]


def test_sums_say_where_each_batch_stands(tmp_path: Path) -> None:
    """Offset, length, range and digest, in the order of the batches."""
    file = BatchFile(tmp_path / "x.arrows")
    places = [file.append(*small_batch(n), n * 100, (n + 1) * 100, 100, sync=n % 2 == 0) for n in range(3)]
    segments, corrupt, torn = read_sums(tmp_path / "x.sums")
    assert (corrupt, torn) == ([], None)
    assert [(s.offset, s.length) for s in segments] == places
    assert [(s.first, s.after, s.rows) for s in segments] == [(0, 100, 100), (100, 200, 100), (200, 300, 100)]
    assert [s.digest for s in segments] == [batch_digest(*small_batch(n)) for n in range(3)]
    assert (tmp_path / "x.arrows").stat().st_size == places[-1][0] + places[-1][1]
    for n, segment in enumerate(segments):
        table = read_batch(file.path, segment.offset, segment.length, segment.digest)
        assert table["x"].to_pylist() == [n] * 100


def test_the_schema_is_part_of_every_sum() -> None:
    """A bit of it that flips would read every batch as another type."""
    schema, batch = small_batch(1)
    assert batch_digest(schema, batch) != batch_digest(schema[:-1] + b"\x01", batch)
    assert len(batch_digest(schema, batch)) == 16


def test_threads_may_append_to_one_file(tmp_path: Path) -> None:
    """Each batch gets a place of its own, and is found there by its sum."""
    file = BatchFile(tmp_path / "x.arrows")
    batches = [small_batch(number) for number in range(4)]

    def work(me: int) -> None:
        for _ in range(400):
            file.append(*batches[me], me, 0, 100, sync=False)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    segments, corrupt, torn = read_sums(tmp_path / "x.sums")
    assert (len(segments), corrupt, torn) == (1_600, [], None)
    for segment in segments:
        table = read_batch(file.path, segment.offset, segment.length, segment.digest)
        assert table["x"].to_pylist() == [segment.first] * 100
    ends = sorted((segment.offset, segment.offset + segment.length) for segment in segments)
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(ends))


# Room for one batch of 648 bytes and its sum, and for a part of the next one; then for all.
CUT = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.log.test_seal import small_batch
from braid_hpc.log.seal import BatchFile
from braid_hpc.reading.sealed import read_batch, read_sums

file = BatchFile(Path("x.arrows"))
file.append(*small_batch(1), 1, 2, 100, sync=True)
sizes = os.stat("x.arrows").st_size, os.stat("x.sums").st_size
forever = resource.RLIM_INFINITY
if {which!r} == "sums":
    # The kernel cuts writes to the sums file alone if that is the longer one.
    with open("x.sums", "ab") as sums:
        sums.write(Path("x.sums").read_bytes() * 63)
    limit = os.stat("x.sums").st_size + 30
else:
    limit = sizes[0] + 100
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, forever))
before = os.stat("x.arrows").st_size, os.stat("x.sums").st_size
for _ in range(3):
    try:
        file.append(*small_batch(2), 2, 3, 100, sync=True)
    except OSError as error:
        print("refused", error.errno)
    assert (os.stat("x.arrows").st_size, os.stat("x.sums").st_size) == before
resource.setrlimit(resource.RLIMIT_FSIZE, (forever, forever))
file.append(*small_batch(3), 3, 4, 100, sync=True)
segments, corrupt, torn = read_sums(file.sums)
assert (corrupt, torn) == ([], None), (corrupt, torn)
assert [s.first for s in segments[-2:]] == [1, 3], segments[-2:]
last = segments[-1]
assert read_batch(file.path, last.offset, last.length, last.digest)["x"].to_pylist() == [3] * 100
import pyarrow as pa
assert pa.ipc.open_stream(file.path.read_bytes()).read_all()["x"].to_pylist() == [1] * 100 + [3] * 100
"""


@pytest.mark.parametrize("which", ["batch", "sums"])
def test_a_write_that_is_cut_short_leaves_nothing(run_ranks: RunRanks, which: str) -> None:
    """Neither a part of a batch nor of its sum, which would put every later one out of step."""
    root = str(Path(__file__).resolve().parents[2])
    assert run_ranks(0, CUT.format(tests=root, which=which)).stdout.count("refused") == 3


def test_the_files_are_for_owner_and_group(tmp_path: Path) -> None:
    """Logs may name what others must not see."""
    BatchFile(tmp_path / "x.arrows").append(*small_batch(1), 0, 1, 100, sync=False)
    for name in ("x.arrows", "x.sums"):
        assert os.stat(tmp_path / name).st_mode & 0o007 == 0
    assert (tmp_path / "x.sums").stat().st_size == SUM_BYTES
