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
from braid_hpc.reading.sealed import read_batch, read_sums, sealed_files, stream_batch
from braid_hpc.vocabulary.columns import BATCH_PLACE
from tests.rank_logs import overwrite
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


def refusing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the kernel bring no file of these names to the disk."""
    real = os.fdatasync

    def refuse(descriptor: int) -> None:
        if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")) in names:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", refuse)


@pytest.mark.parametrize("refused", ["x.arrows", "x.sums"])
def test_after_a_refused_sync_batches_go_into_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """The one that was refused is tried there again, and later ones follow it."""
    file = BatchFile(tmp_path / "x.arrows")
    file.append(*small_batch(1), 1, 2, 100, sync=True)
    refusing(monkeypatch, refused)
    with pytest.raises(OSError, match="Input/output"):
        file.append(*small_batch(2), 2, 3, 100, sync=True)
    assert file.append(*small_batch(2), 2, 3, 100, sync=True).part == 2
    assert file.path == tmp_path / "x-000002.arrows"
    found = [
        segment.first for path in sealed_files(tmp_path, "x") for segment in read_sums(path.with_suffix(".sums"))[0]
    ]
    assert found == ([1, 2] if refused == "x.arrows" else [1, 2, 2])
    table = pa.ipc.open_stream(file.path.read_bytes()).read_all()
    assert table["x"].to_pylist() == [2] * 100


def test_batches_that_were_not_synced_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a file of their own, on disk when the call returns; those that were on the disk before are not."""
    file = BatchFile(tmp_path / "stream-0001.arrows")
    file.append(*small_batch(1), 1, 2, 100, sync=False)
    file.sync()
    file.append(*small_batch(2), 2, 3, 100, sync=False)
    refusing(monkeypatch, "stream-0001.arrows")
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    assert file.append(*small_batch(3), 3, 4, 100, sync=False).part == 2
    assert file.sync() == []
    (again,) = read_sums(tmp_path / "stream-0001-000003.sums")[0]
    assert (again.first, again.digest) == (2, batch_digest(*small_batch(2)))
    # The event points at the first file, which may be gone with the disk's own copy.
    payload = BATCH_PLACE.pack(*file_place(tmp_path / "stream-0001.sums", 1), 1)
    (tmp_path / "stream-0001.arrows").unlink()
    ipc, path, _ = stream_batch(tmp_path, 1, payload)
    assert path.name == "stream-0001-000003.arrows"
    assert pa.ipc.open_stream(ipc).read_all()["x"].to_pylist() == [2] * 100


def file_place(sums: Path, which: int) -> tuple[int, int, bytes]:
    segment = read_sums(sums)[0][which]
    return segment.offset, segment.length, segment.digest


def test_attempts_on_a_broken_disk_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be a file; what was written before is there all the same."""
    file = BatchFile(tmp_path / "x.arrows")
    file.append(*small_batch(1), 1, 2, 100, sync=False)
    refusing(monkeypatch, "x.arrows", *(f"x-{number:06d}.arrows" for number in range(2, 50)))
    for _ in range(10):
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        with pytest.raises(OSError, match="Input/output"):
            file.append(*small_batch(2), 2, 3, 100, sync=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.arrows", "x.sums"]


def test_what_the_kernel_dropped_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is not what it was cannot be written again; that is said once."""
    file = BatchFile(tmp_path / "x.arrows")
    place = file.append(*small_batch(1), 1, 2, 100, sync=False)
    refusing(monkeypatch, "x.arrows")
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    overwrite(tmp_path / "x.arrows", place.offset + place.length - 20, bytes(16) + b"\x01")
    (said,) = file.sync()
    assert said.startswith("100 rows from 1 on could not be brought to the disk")
    assert file.sync() == []
