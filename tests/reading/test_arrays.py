"""Reading arrays: a damaged file costs the arrays it held, by name, and never an event, a wrong value or a hang."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.log.array_pools import CHUNK
from braid_hpc.reading import h5child
from braid_hpc.reading.arrays import check_arrays, logged_arrays
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.dump import dump
from braid_hpc.reading.h5child import QuietFile, lookup3
from braid_hpc.reading.h5reader import PATIENCE, ArrayReader
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import CorruptLogError, MissingExtraError
from tests.recorded_arrays import read_array, same

KEPT: dict[str, Any] = {
    "counts": np.arange(9_000, dtype="u4"),
    "image": np.random.default_rng(3).random((60, 70)),
    "mask": np.random.default_rng(4).random(20_000) > 0.5,
    "angles": np.arange(5_000, dtype=">f4"),
    "volume": np.random.default_rng(5).random((4, 100, 100)).astype("f4"),
    "small": np.arange(5),
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log whose writer was killed (so that SWMR was never ended), and the same one closed."""
    root = tmp_path_factory.mktemp("arrays")
    child = os.fork()
    if child == 0:
        try:
            record(root / "killed")
        finally:
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    with braid.job("arrays", log_dir=root / "closed") as run:
        for name, array in KEPT.items():
            run.array(name, array)
    return root


def record(log_dir: Path) -> None:
    """Record all arrays, and leave the log open."""
    run = braid.job("arrays", log_dir=log_dir).__enter__()
    for name, array in KEPT.items():
        run.array(name, array)


@pytest.fixture
def log_dir(logs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a writer's directory that may be damaged."""
    (source,) = find_writers(logs / getattr(request, "param", "killed"))
    return Path(shutil.copytree(source, tmp_path / source.name))


def check(directory: Path, reader: ArrayReader) -> tuple[WriterLog, dict[str, str]]:
    """Give a log, and the faults of its arrays by name; every array without one was compared with what was recorded."""
    log = read_writer(directory)
    events = len(log.events)
    check_arrays(log, reader)
    assert len(log.events) == events
    lost = {fault.split()[1].partition(":")[2]: fault for fault in log.faults}
    found = {array.names[0].partition(":")[2]: array for array in logged_arrays(log)}
    assert found.keys() == KEPT.keys()
    for name in found.keys() - lost.keys():
        assert same(read_array(reader, directory, found[name]), KEPT[name]), name
    return log, lost


both = pytest.mark.parametrize("log_dir", ["killed", "closed"], indirect=True)


@both
def test_an_undamaged_file_gives_every_array(log_dir: Path) -> None:
    with ArrayReader() as reader:
        log, lost = check(log_dir, reader)
    assert lost == {}
    assert log.state in (WriterState.OPEN, WriterState.CLOSED)


@both
def test_a_file_that_was_cut_gives_the_arrays_before_the_cut_and_names_the_others(log_dir: Path) -> None:
    """HDF5 itself waits for ever in many of these cuts; in none is an array wrong, an event lost, or nothing said."""
    path = log_dir / "arrays-1.h5"
    data = path.read_bytes()
    draw = random.Random(11)
    lengths = {0, 1, 8, 11, 47, 48, 49, 95, 96, 4_096, len(data) - 1} | {draw.randrange(len(data)) for _ in range(80)}
    counts = []
    with ArrayReader(limit=5) as reader:
        for length in sorted(lengths, reverse=True):
            path.write_bytes(data[:length])
            log, lost = check(log_dir, reader)
            assert "small" not in lost
            assert log.state is (WriterState.TORN if lost else log.state)
            counts.append(len(lost))
    assert counts[0] <= 1
    assert counts[-1] == 5
    assert counts == sorted(counts)
    assert sum(0 < count < 5 for count in counts) > 0


@both
def test_flipped_bits_lose_arrays_by_name_and_change_none(log_dir: Path) -> None:
    path = log_dir / "arrays-1.h5"
    data = path.read_bytes()
    draw = random.Random(5)
    # HDF5's own structures are a small part of the file, at its beginning for the most part.
    places = [draw.randrange(16_000) for _ in range(120)] + [draw.randrange(len(data)) for _ in range(60)]
    damaged = 0
    with ArrayReader(limit=5) as reader:
        for number, place in enumerate(places):
            flipped = bytearray(data)
            for distance in range((1, 2, 16)[number % 3]):
                flipped[(place + distance) % len(data)] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            log, lost = check(log_dir, reader)
            assert log.state is WriterState.CORRUPT if lost else log.faults == []
            damaged += bool(lost)
    assert damaged > 30


def test_a_missing_file_loses_its_arrays_by_name(log_dir: Path) -> None:
    (log_dir / "arrays-1.h5").unlink()
    with ArrayReader() as reader:
        log, lost = check(log_dir, reader)
    assert lost.keys() == KEPT.keys() - {"small"}
    assert log.state is WriterState.TORN
    assert lost["counts"].endswith("is lost: arrays-1.h5 is missing")
    assert "data:counts (blake3:" in lost["counts"]


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n\x00" + bytes(200), bytes(10_000)])
def test_another_file_in_its_place_is_no_arrays_file(log_dir: Path, content: bytes) -> None:
    (log_dir / "arrays-1.h5").write_bytes(content)
    with ArrayReader() as reader:
        _, lost = check(log_dir, reader)
    assert all("superblock" in fault for fault in lost.values())


def test_a_pool_of_zeros_carries_hdf5s_checksum_and_not_the_digest(log_dir: Path) -> None:
    """Fletcher-32 of zeros is zero: a hole in the file passes HDF5's check, and only the digest tells."""
    path = log_dir / "arrays-1.h5"
    data = path.read_bytes()
    at = data.index(KEPT["counts"][:100].tobytes())
    path.write_bytes(data[:at] + bytes(2 * CHUNK + 8) + data[at + 2 * CHUNK + 8 :])
    with ArrayReader() as reader:
        _, lost = check(log_dir, reader)
    assert "do not carry its digest" in lost["counts"]


# ------------------------------------------------------------------ the process that reads


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let another program be started in place of the one that reads."""
    path = tmp_path / "stand_in.py"
    path.write_text(f"import os, signal, struct, sys, time\n{script}\n")
    monkeypatch.setattr(h5child, "__file__", str(path))


READY = "os.write(1, b'R' + struct.pack('<Q', 0))\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (READY + "sys.stdin.readline(); time.sleep(60)", "did not answer within 0.2 s"),
        (READY + "sys.stdin.readline(); os.kill(os.getpid(), signal.SIGSEGV)", r"ended the process .*\(signal 11\)"),
        (READY + "sys.stdin.readline(); os.write(1, b'D' + struct.pack('<Q', 99) + b'part')", r"exit code 0"),
        ("sys.exit(3)", "did not begin"),
    ],
)
def test_a_reader_that_hangs_or_dies_is_a_fault_of_the_file(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    with ArrayReader(limit=0.2) as reader, pytest.raises(CorruptLogError, match=reason):
        reader.read(log_dir / "arrays-1.h5", "uint32", 0, 10)


def test_after_a_few_such_failures_nothing_more_is_asked_of_that_file(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, READY + "sys.stdin.readline(); os._exit(1)")
    with ArrayReader() as reader:
        for number in range(PATIENCE + 2):
            with pytest.raises(CorruptLogError) as refused:
                reader.read(log_dir / "arrays-1.h5", "uint32", 0, 10)
            assert ("times in ways" in str(refused.value)) is (number >= PATIENCE)
        assert reader._child is None


def test_a_request_that_takes_too_long_ends_the_process_also_without_its_parent(log_dir: Path) -> None:
    """The process has a timer of its own: a parent that was killed leaves nothing behind that hangs."""
    with ArrayReader(limit=1e-6) as reader, pytest.raises(CorruptLogError):
        reader.read(log_dir / "arrays-1.h5", "uint32", 0, 10)


def test_without_h5py_one_sentence_says_what_to_install(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "os.write(1, b'M' + struct.pack('<Q', 0))")
    with ArrayReader() as reader, pytest.raises(MissingExtraError, match=r"pip install 'braid_hpc\[arrays\]'"):
        reader.extents(log_dir / "arrays-1.h5")


def test_no_process_is_started_for_arrays_among_the_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with braid.job("arrays", log_dir=tmp_path) as run:
        run.array("small", np.arange(10))
    monkeypatch.setattr(subprocess, "Popen", None)
    (directory,) = find_writers(tmp_path)
    log = read_writer(directory)
    with ArrayReader() as reader:
        check_arrays(log, reader)
    assert log.faults == []


def test_a_file_that_grows_is_opened_anew(tmp_path: Path) -> None:
    """Compaction may meet a log that is still written."""
    with braid.job("arrays", log_dir=tmp_path) as run, ArrayReader() as reader:
        for number in range(4):
            run.array(f"a{number}", np.full(9_000, number, "f8"))
            (directory,) = find_writers(tmp_path)
            log = read_writer(directory)
            check_arrays(log, reader)
            assert (log.faults, len(logged_arrays(log))) == ([], number + 1)


# ------------------------------------------------------------------ the view that HDF5 gets


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],
)
def test_the_checksum_is_lookup3(data: bytes, expected: int) -> None:
    """The values stand in the driver of lookup3.c."""
    assert lookup3(data) == expected


def test_the_view_names_no_writer_and_the_true_length(log_dir: Path) -> None:
    path = log_dir / "arrays-1.h5"
    data = path.read_bytes()
    assert data[11] != 0
    view = QuietFile(str(path))
    buffer = bytearray(200)
    assert view.readinto(buffer) == 200
    assert (buffer[11], int.from_bytes(buffer[28:36], "little")) == (0, len(data))
    assert lookup3(bytes(buffer[:44])) == int.from_bytes(buffer[44:48], "little")
    assert buffer[48:] == data[48:200]
    assert view.seek(-10, 2) == len(data) - 10
    assert (view.readinto(buffer), bytes(buffer[:12])) == (200, data[-10:] + b"\0\0")
    view.close()
    assert path.read_bytes() == data


# ------------------------------------------------------------------ braid log parse


def test_parse_shows_pools_and_index(logs: Path) -> None:
    (directory,) = find_writers(logs / "closed")
    first, *rows = dump(directory / "arrays-1.h5")
    assert first["pools"]["float64"] == KEPT["image"].size
    assert first["pools"]["index"] == len(rows) == 5
    found = {array.entry.digest: array.entry for array in logged_arrays(read_writer(directory))}
    for row in rows:
        entry = found[row["array"]["digest"]]
        assert row["array"] == {
            name: getattr(entry, name) for name in ("pool", "offset", "length", "digest", "dtype", "shape")
        }
    json.dumps([first, *rows])


def test_parse_shows_what_is_left_of_a_damaged_file(log_dir: Path) -> None:
    path = log_dir / "arrays-1.h5"
    data = path.read_bytes()
    for length in (0, 40, 3_000, len(data) // 2):
        path.write_bytes(data[:length])
        lines = list(dump(path))
        assert lines
        assert all(line.keys() <= {"pools", "array", "fault"} for line in lines)
