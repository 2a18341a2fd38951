"""A file of batches: each stands where its sum says, and one that could not be written leaves nothing."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from braid_hpc.log.batch_file import BatchFile, batch_digest
from braid_hpc.log.layout import SUM_BYTES
from braid_hpc.reading.sealed import read_batch, read_sums
from tests.ranks import RunRanks


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
    assert [(1, s.offset, s.length) for s in segments] == places
    assert [(s.first, s.after, s.rows) for s in segments] == [(0, 100, 100), (100, 200, 100), (200, 300, 100)]
    assert [s.digest for s in segments] == [batch_digest(*small_batch(n)) for n in range(3)]
    assert (tmp_path / "x.arrows").stat().st_size == places[-1].offset + places[-1].length
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
from tests.log.test_batch_file import small_batch
from braid_hpc.log.batch_file import BatchFile
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
