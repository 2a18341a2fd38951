"""Reading a tail that is whole, cut, damaged, or being written."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from braid_hpc.log.layout import PAGE, ROW_BYTES, TAIL_LOSS_OFFSET, TailKind
from braid_hpc.log.tail import FrameTail, MappedTail, Tail
from braid_hpc.reading.tails import TailScan, read_tail
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError
from tests.log.test_layout import repacked
from tests.rank_logs import overwrite

PAYLOADS = [b"", b"one", b"two" * 30, b"", b"four", bytes(200), b"6"]


@pytest.fixture(params=[MappedTail, FrameTail])
def tail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tail]:
    """Give a small tail with some rows, of either kind."""
    made: Tail = request.param(tmp_path / "tail-000001", bytes(16), 1, 101, 8, 4096)
    for step, payload in enumerate(PAYLOADS):
        made.append(31, 1, step, 2, 3, 4, payload)
    yield made
    made.close()


def rows(scan: TailScan) -> list[tuple[int, int, bytes]]:
    events = scan.events
    return [(int(events["sequence"][n]), int(events["subject"][n]), events.payload(n)) for n in range(len(events))]


WHOLE = [(101 + step, step, payload) for step, payload in enumerate(PAYLOADS)]


def ends(tail: Tail) -> list[int]:
    """Give for each row how long the file must be for it to be whole."""
    found, frame, heap = [], PAGE, tail.header.heap_offset
    for slot, payload in enumerate(PAYLOADS):
        frame += ROW_BYTES + len(payload)
        heap += len(payload)
        in_table = PAGE + (slot + 1) * ROW_BYTES
        found.append(frame if tail.header.kind == TailKind.FRAMES else max(in_table, heap if payload else 0))
    return found


def test_a_whole_tail(tail: Tail) -> None:
    """All rows, and nothing to complain of."""
    scan = read_tail(tail.path)
    assert rows(scan) == WHOLE
    assert (scan.corrupt, scan.torn, scan.loss, scan.damaged) == ([], None, None, None)


def test_a_tail_cut_at_any_byte(tail: Tail) -> None:
    """Reading raises nothing, and gives exactly the rows that are whole; a cut is told, unless no byte says of it."""
    data = tail.path.read_bytes()
    needed = ends(tail)
    told = 0
    path = tail.path.with_name("cut")
    path.write_bytes(data)
    for length in reversed(range(len(data))):
        os.truncate(path, length)
        scan = read_tail(path)
        if length < 88:
            assert len(scan.events) == 0
            assert scan.torn is not None or length == 0
            continue
        assert rows(scan) == [row for row, end in zip(WHOLE, needed, strict=True) if end <= length]
        # Between two frames nothing says that there was a third.
        told += scan.torn is not None or bool(scan.corrupt)
        assert (
            scan.torn
            or scan.corrupt
            or (tail.header.kind == TailKind.FRAMES and length in (PAGE, *needed))
            or length < PAGE
        )
    assert told > len(data) - PAGE - len(PAYLOADS) - 2


def test_every_row_that_verifies_counts(tail: Tail) -> None:
    """A damaged row is named, and takes none of its neighbours along, in a table nor among frames."""
    data = tail.path.read_bytes()
    at = data.index(b"twotwo")
    damaged = bytearray(data)
    damaged[at] ^= 4
    tail.path.with_name("damaged").write_bytes(damaged)
    scan = read_tail(tail.path.with_name("damaged"))
    assert scan.corrupt[0] == 103
    assert rows(scan) == [row for row in WHOLE if row[0] != 103]


def test_no_flipped_bit_is_silent(tail: Tail) -> None:
    """Wherever one bit flips, the rows are what they were, or something is said."""
    data = tail.path.read_bytes()
    dice = random.Random(3)
    used = [*range(88), *range(TAIL_LOSS_OFFSET, TAIL_LOSS_OFFSET + 32), *range(PAGE, PAGE + 8 * ROW_BYTES)]
    used += range(tail.header.heap_offset, min(len(data), tail.header.heap_offset + 700))
    path = tail.path.with_name("flipped")
    path.write_bytes(data)
    for at in used:
        overwrite(path, at, bytes([data[at] ^ 1 << dice.randrange(8)]))
        try:
            scan = read_tail(path)
        except CorruptLogError:
            continue
        finally:
            overwrite(path, at, data[at : at + 1])
        said = bool(scan.corrupt or scan.torn or scan.damaged)
        assert said or (rows(scan) == WHOLE and scan.loss is None), f"byte {at}"


def test_a_damaged_frame_is_not_asked_which_one_it_is(tmp_path: Path) -> None:
    """The number stands in the damaged bytes: what is named as lost is the one that is not there."""
    tail = FrameTail(tmp_path / "tail-000001", bytes(16), 1, 101, 8, 4096)
    for step in range(5):
        tail.append(31, 1, step, 2, 3, 4, b"")
    tail.close()
    overwrite(tail.path, PAGE + 2 * ROW_BYTES + 40, b"\xff\xff\xff\x7f")
    scan = read_tail(tail.path)
    assert scan.corrupt == [103]
    assert [sequence for sequence, _, _ in rows(scan)] == [101, 102, 104, 105]


def test_garbage_raises_nothing_else(tail: Tail) -> None:
    """Behind a header that holds, whatever follows is read as rows that verify, or not."""
    data = tail.path.read_bytes()
    dice = random.Random(4)
    path = tail.path.with_name("garbage")
    for _ in range(100):
        path.write_bytes(data[:PAGE] + dice.randbytes(dice.randrange(3 * PAGE)))
        scan = read_tail(path)
        assert rows(scan) == []
        assert scan.corrupt or scan.torn


@pytest.mark.parametrize("size", [0, 1, 87, PAGE - 1, PAGE, 3 * PAGE])
def test_a_tail_that_was_never_begun(tmp_path: Path, size: int) -> None:
    """Zeros are what a process leaves that ended while it made the next tail."""
    (tmp_path / "tail").write_bytes(bytes(size))
    scan = read_tail(tmp_path / "tail")
    assert (scan.header, len(scan.events), scan.torn) == (None, 0, None)


@pytest.mark.parametrize("stored", [0, 8, 40, 79, 80, 87])
def test_a_tail_whose_process_was_killed_within_the_header(tmp_path: Path, stored: int) -> None:
    """The first eight bytes are stored last: until then the tail is passed over, whatever else is there."""
    whole = repacked(major=1)
    data = bytes(8) + whole[8:88][-stored or 88 :].rjust(80, b"\0")
    (tmp_path / "tail").write_bytes(data.ljust(3 * PAGE, b"\0"))
    scan = read_tail(tmp_path / "tail")
    assert (scan.header, len(scan.events), scan.torn) == (None, 0, None)
    # Rows behind such a header are not: somebody overwrote it.
    (tmp_path / "tail").write_bytes(data.ljust(PAGE, b"\0") + b"1" * PAGE)
    with pytest.raises(CorruptLogError):
        read_tail(tmp_path / "tail")


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file that is not ours, one of a newer major version, and one that is gone."""
    path = tmp_path / "tail"
    path.write_bytes(b"SQLite format 3\0" * 300)
    with pytest.raises(CorruptLogError, match="not the tail of a rank log"):
        read_tail(path)
    path.write_bytes(repacked(major=9).ljust(PAGE, b"\0"))
    with pytest.raises(FormatTooNewError):
        read_tail(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_tail(path)


def test_a_loss_is_read(tmp_path: Path) -> None:
    """Count, and the first and last time."""
    tail = MappedTail(tmp_path / "tail", bytes(16), 1, 1, 8, 4096)
    tail.note_loss(3, -10, 20)
    assert read_tail(tail.path).loss == (3, -10, 20)
    tail.close()


def test_no_flipped_bit_of_a_loss_is_silent(tmp_path: Path) -> None:
    """A loss that is not believed is damage: else it would be no loss."""
    tail = MappedTail(tmp_path / "tail", bytes(16), 1, 1, 8, 4096)
    tail.note_loss(3, -10, 20)
    data = tail.path.read_bytes()
    for bit in range(TAIL_LOSS_OFFSET * 8, (TAIL_LOSS_OFFSET + 32) * 8):
        overwrite(tail.path, bit >> 3, bytes([data[bit >> 3] ^ 1 << (bit & 7)]))
        scan = read_tail(tail.path)
        assert (scan.loss, scan.damaged) == (None, "its count of lost events does not carry its check sum")
        overwrite(tail.path, bit >> 3, data[bit >> 3 : (bit >> 3) + 1])
    assert read_tail(tail.path).loss == (3, -10, 20)
    tail.close()


def while_it_is_written(tail: Tail, work: Callable[[], None]) -> Iterator[TailScan]:
    writer = threading.Thread(target=work)
    writer.start()
    try:
        while writer.is_alive():
            yield read_tail(tail.path)
    finally:
        writer.join()
    yield read_tail(tail.path)


@pytest.mark.parametrize("kind", [MappedTail, FrameTail])
def test_a_tail_that_is_written_meanwhile(tmp_path: Path, kind: type[MappedTail] | type[FrameTail]) -> None:
    """A reader sees whole rows, from the first on, more each time, and takes nothing half-written for damage."""
    tail = kind(tmp_path / "tail", bytes(16), 1, 1, 20_000, 4 << 20)

    def work() -> None:
        for step in range(20_000):
            tail.append(31, 0, step, 0, 0, 0, b"%d" % step)
            tail.note_loss(step + 1, step, step)

    seen = 0
    for scan in while_it_is_written(tail, work):
        assert (scan.corrupt, scan.damaged) == ([], None)
        found = rows(scan)
        assert len(found) >= seen
        seen = len(found)
        assert found == [(step + 1, step, b"%d" % step) for step in range(seen)]
        assert scan.loss is None or scan.loss[0] == scan.loss[1] + 1
    assert seen == 20_000
    tail.close()


def test_nothing_is_written_by_reading(tail: Tail) -> None:
    """Not even a time."""
    before = tail.path.read_bytes(), os.stat(tail.path).st_mtime_ns
    os.chmod(tail.path, 0o440)
    read_tail(tail.path)
    assert (tail.path.read_bytes(), os.stat(tail.path).st_mtime_ns) == before
