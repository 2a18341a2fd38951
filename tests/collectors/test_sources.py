"""Files, FIFOs, datagrams and rings: all their bytes arrive, or what is missing is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.collectors.fpga import Firmware, FPGACollector
from braid_hpc.collectors.frames import DEFAULT
from braid_hpc.collectors.sources import (
    CHUNK,
    FifoSource,
    FileSource,
    Gap,
    RingSource,
    RingWriter,
    Source,
    UdpSource,
    source_of,
)
from braid_hpc.vocabulary.errors import InvalidInputError


def frames(count: int) -> list[bytes]:
    return [
        DEFAULT.encode({"channel": range(50), "sample": range(50)}, frame=number, firmware=7) for number in range(count)
    ]


def joined(source: Any) -> bytes:
    return b"".join(bytes(part) for part in source)


def test_a_file_is_given_whole(tmp_path: Path) -> None:
    data = os.urandom(CHUNK + 12345)
    (tmp_path / "raw").write_bytes(data)
    source = source_of(tmp_path / "raw")
    assert isinstance(source, FileSource)
    assert isinstance(source, Source)
    assert joined(source) == joined(source) == data
    assert source.uri == (tmp_path / "raw").as_uri()


def test_a_fifo_makes_its_writer_wait(tmp_path: Path) -> None:
    """Another process writes much more than a pipe holds, faster than it is taken: nothing is lost."""
    os.mkfifo(tmp_path / "fifo")
    data = frames(2000)
    (tmp_path / "raw").write_bytes(b"".join(data))
    program = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), open(sys.argv[2], 'wb'))"
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "raw"), str(tmp_path / "fifo")])
    try:
        with braid.job("fifo") as run, FPGACollector(run, "adc", firmware=Firmware(7)) as fpga:
            source = source_of(tmp_path / "fifo")
            assert isinstance(source, FifoSource)
            fpga.collect(source)
    finally:
        assert writer.wait(60) == 0
    assert source.uri == f"fifo:{tmp_path / 'fifo'}"
    assert fpga.counts["frames"] == 2000
    assert not fpga.losses


def test_datagrams_arrive() -> None:
    data = frames(100)
    with UdpSource(idle=30) as source, braid.job("udp") as run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            for one in data:
                device.sendto(one, source.address)
            device.sendto(b"noise", source.address)
        source.stop()
        with FPGACollector(run, "adc", firmware=Firmware(7)) as fpga:
            fpga.collect(source)
    assert source.uri == f"udp://127.0.0.1:{source.address[1]}"
    assert fpga.counts["frames"] == 100
    assert fpga.losses.counts == {"no frame": 5}
    source.close()


def test_datagrams_that_the_kernel_drops_are_told() -> None:
    """A device that is faster than the program: what is missing are frame numbers, and the kernel's own count."""
    data = frames(3000)
    with UdpSource(idle=30, buffer_bytes=1) as source, braid.job("udp") as run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            for one in data:
                device.sendto(one, source.address)
            source_parts = iter(source)
            early = bytes(next(source_parts))  # type: ignore[arg-type]
            device.sendto(data[-1], source.address)
            source.stop()

        class Rest:
            uri = source.uri

            def __iter__(self) -> Any:
                yield early
                yield from source_parts

        with FPGACollector(run, "adc", firmware=Firmware(7)) as fpga:
            fpga.collect(Rest())
    counts = fpga.losses.counts
    got = fpga.counts["frames"]
    assert 0 < got < 3000
    assert counts["frames lost"] == 3000 - got
    assert counts["datagrams dropped by the kernel"] >= counts["frames lost"]


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    return tmp_path / "ring"


def test_a_ring_gives_what_was_written(ring: Path) -> None:
    """Around its end many times, in another thread than the one that writes."""
    data = frames(500)
    with RingWriter(ring, 100_000) as writer, RingSource(ring, idle=30) as source:
        taken = threading.Semaphore(50)

        def write() -> None:
            for one in data:
                taken.acquire()
                writer.write(one)
            writer.close()

        thread = threading.Thread(target=write)
        thread.start()
        got = b""
        for part in source:
            assert not isinstance(part, Gap)
            got += part
            for _ in range(len(got) // len(data[0]) - (len(got) - len(part)) // len(data[0])):
                taken.release()
        thread.join()
        assert got == b"".join(data)
        assert source.uri == f"shm:{ring}"


def test_what_a_ring_overwrote_is_a_gap(ring: Path) -> None:
    data = frames(100)
    size = len(data[0])
    with RingWriter(ring, 10 * size + 7) as writer, RingSource(ring) as source:
        for one in data:
            writer.write(one)
        writer.close()
        first, rest = source
        assert first == Gap("overwritten before it was read", 90 * size - 7)
        assert isinstance(rest, bytes)
        assert rest[7:] == b"".join(data[90:])


def test_a_slow_reader_of_a_ring_loses_frames_and_knows_which(ring: Path) -> None:
    data = frames(1000)
    with RingWriter(ring, 100 * len(data[0])) as writer, RingSource(ring) as source, braid.job("ring") as run:

        class Slow:
            uri = source.uri

            def __iter__(self) -> Any:
                parts = iter(source)
                for start in range(0, 1000, 250):
                    for one in data[start : start + 250]:
                        writer.write(one)
                    yield next(parts)
                    yield next(parts)
                writer.close()
                yield from parts

        with FPGACollector(run, "adc", firmware=Firmware(7)) as fpga:
            fpga.collect(Slow())
        assert fpga.counts["frames"] == 400
        # The first gap was before any frame, so nobody knows the numbers of the 150 in it.
        assert fpga.losses.counts["frames lost"] == 450
        assert fpga.losses.counts["overwritten before it was read"] == 600 * len(data[0])


def test_what_the_writer_was_about_to_overwrite_is_not_believed(ring: Path) -> None:
    """The writer had announced bytes, and was interrupted before they were there."""
    with RingWriter(ring, 100) as writer, RingSource(ring, idle=0) as source:
        writer.write(bytes(range(100)))
        writer._words[3] = 130
        gap, data = source
        assert gap == Gap("overwritten before it was read", 30)
        assert data == bytes(range(30, 100))


def test_what_is_no_ring_is_refused(tmp_path: Path, ring: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    with pytest.raises(InvalidInputError, match="is no ring"):
        RingSource(tmp_path / "file")
    with RingWriter(ring, 10) as writer:
        with pytest.raises(InvalidInputError, match="do not go into a ring of 10"):
            writer.write(bytes(11))
        with pytest.raises(FileExistsError):
            RingWriter(ring, 10)
        writer.close()


def test_a_ring_that_nobody_fills_ends(ring: Path) -> None:
    with RingWriter(ring, 10), RingSource(ring, idle=0) as source:
        assert list(source) == []
