"""The tails in Python, by the contract and by what is each one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from braid_hpc.log.layout import PAGE, ROW_BYTES, TailKind
from braid_hpc.log.tail import FrameTail, MappedTail, create_file
from braid_hpc.reading.tails import read_tail
from tests.log.contract import WRITER, TailContract, TailFactory
from tests.rank_logs import tmpfs
from tests.ranks import RunRanks


class TestMappedTail(TailContract):
    """A tail in a shared mapping."""

    @pytest.fixture
    def make_tail(self) -> TailFactory:
        """Give the class under test."""
        return MappedTail

    def test_every_block_is_allocated(self, tmp_path: Path) -> None:
        """A store into a sparse file on a full disk would end the process."""
        tail = MappedTail(tmp_path / "tail", WRITER, 1, 1, 2048, 256 << 10)
        stat = os.stat(tail.path)
        assert stat.st_size == tail.header.total == PAGE + 2048 * ROW_BYTES + (256 << 10)
        assert stat.st_blocks * 512 >= stat.st_size
        assert tail.header.kind == TailKind.MAPPED
        tail.close()

    def test_the_heap_is_whole_pages(self, tmp_path: Path) -> None:
        """And begins on a page, behind the last row."""
        tail = MappedTail(tmp_path / "tail", WRITER, 1, 1, 65, 1)
        assert (tail.header.heap_offset, tail.header.heap_bytes) == (PAGE + 2 * PAGE, PAGE)
        tail.close()

    def test_the_last_row_and_byte_are_used(self, tmp_path: Path) -> None:
        """A payload that fills the heap exactly fits, and an empty one after it."""
        tail = MappedTail(tmp_path / "tail", WRITER, 1, 1, 3, PAGE)
        assert tail.append(1, 0, 0, 0, 0, 0, bytes(PAGE)) == 1
        assert tail.append(1, 0, 0, 0, 0, 0, b"") == 2
        assert tail.append(1, 0, 0, 0, 0, 0, b"x") == 0
        assert len(read_tail(tail.path).events) == 2
        tail.close()

    def test_a_full_file_system_is_an_error_and_no_signal(self, tmp_path: Path) -> None:
        """A tail that has no room is refused when it is made, not by SIGBUS when it is written; nothing is left."""
        with tmpfs(tmp_path / "full", "1m") as full:
            tail = MappedTail(full / "one", WRITER, 1, 1, 64, 512 << 10)
            with pytest.raises(OSError, match="No space"):
                MappedTail(full / "two", WRITER, 2, 65, 64, 512 << 10)
            assert [path.name for path in full.iterdir()] == ["one"]
            while tail.append(1, 0, 0, 0, 0, 0, bytes(8192)):
                pass
            assert len(read_tail(tail.path).events) == 64
            tail.close()


class TestFrameTail(TailContract):
    """A tail that appends by write."""

    @pytest.fixture
    def make_tail(self) -> TailFactory:
        """Give the class under test."""
        return FrameTail

    def test_the_file_grows_by_frames(self, tmp_path: Path) -> None:
        """Nothing is allocated ahead: a parallel file system would have to fill it with zeros."""
        tail = FrameTail(tmp_path / "tail", WRITER, 1, 1, 64, 8192)
        assert os.stat(tail.path).st_size == PAGE
        tail.append(1, 0, 0, 0, 0, 0, b"12345")
        assert os.stat(tail.path).st_size == PAGE + ROW_BYTES + 5
        tail.close()

    def test_a_write_that_is_cut_short_is_no_row(self, run_ranks: RunRanks) -> None:
        """It raises, what is before it is read, nothing is written behind it; a header that is cut is removed."""
        script = """
        import resource
        from pathlib import Path
        from braid_hpc.log.tail import FrameTail
        from braid_hpc.reading.tails import read_tail

        # Really cut: the kernel writes up to the limit, and refuses from there on.
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096 + 3 * 164 + 70, resource.RLIM_INFINITY))
        tail = FrameTail(Path("tail"), bytes(16), 1, 1, 64, 8192)
        for step in range(3):
            assert tail.append(1, 0, step, 0, 0, 0, bytes(100)) == step + 1
        try:
            tail.append(1, 0, 3, 0, 0, 0, bytes(100))
        except OSError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert tail.append(1, 0, 4, 0, 0, 0, b"") == 0
        assert tail.settled
        assert (tail.stored, tail.torn) == (3, [3])
        scan = read_tail(tail.path)
        assert scan.events["subject"].tolist() == [0, 1, 2], scan
        assert (scan.torn, scan.corrupt) == (None, []), scan

        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        try:
            FrameTail(Path("other"), bytes(16), 1, 1, 64, 8192)
        except OSError:
            print(Path("other").exists())
        """
        printed = run_ranks(0, script).stdout
        assert "only 70 of 164 bytes" in printed
        assert printed.endswith("False\n")


def test_a_file_is_created_whole_or_not_at_all(tmp_path: Path) -> None:
    """With every block allocated, and for the owner and the group only."""
    os.close(create_file(tmp_path / "file", 10_000))
    stat = os.stat(tmp_path / "file")
    assert (stat.st_size, stat.st_mode & 0o007) == (10_000, 0)
    with pytest.raises(OSError, match=r"."):
        create_file(tmp_path / "huge", 1 << 60)
    assert not (tmp_path / "huge").exists()
