"""What every tail must do, whatever it is written in: :class:`TailContract`.

A test module derives from it and gives the fixture ``make_tail``, which returns the class, or anything that is called
as it is: with path, writer, number, first sequence, rows and heap bytes.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braid_hpc.log.layout import MAJOR, TailHeader
from braid_hpc.log.tail import Tail
from braid_hpc.reading.events import Events
from braid_hpc.reading.tails import read_tail

TailFactory: TypeAlias = Callable[[Path, bytes, int, int, int, int], Tail]
#: A tail as a test asks for it, with what does not matter to it left out.
Make: TypeAlias = Callable[..., Tail]

WRITER = bytes(range(16))


def fill(tail: Tail, payload: bytes = b"") -> list[int]:
    """Append until the tail refuses, and give the sequences."""
    return list(iter(lambda: tail.append(1, 0, 0, 0, 0, 0, payload), 0))


def read(tail: Tail) -> Events:
    """Read a tail as another process does, and see that nothing in it is damaged."""
    scan = read_tail(tail.path)
    assert (scan.corrupt, scan.torn, scan.damaged) == ([], None, None)
    return scan.events


class TailContract:
    """The behaviour that :class:`braid_hpc.log.tail.Tail` describes."""

    @pytest.fixture
    def make_tail(self) -> TailFactory:
        """Give the class under test."""
        raise NotImplementedError

    @pytest.fixture
    def make(self, make_tail: TailFactory, tmp_path: Path) -> Iterator[Make]:
        """Make tails in a folder of the test, and close them at its end."""
        made: list[Tail] = []
        numbers = itertools.count(1)

        def make(rows: int = 64, heap: int = 8192, first: int = 1) -> Tail:
            number = next(numbers)
            made.append(make_tail(tmp_path / f"tail-{number:06d}", WRITER, number, first, rows, heap))
            return made[-1]

        yield make
        for tail in made:
            tail.close()

    # ---- what is read back

    def test_an_empty_tail_can_be_read(self, make: Make) -> None:
        """It says whose it is, which one, and where it begins, before its first row."""
        tail = make(rows=10, heap=100, first=77)
        scan = read_tail(tail.path)
        assert scan.header == tail.header
        assert scan.header is not None
        assert (scan.header.writer, scan.header.number, scan.header.first, scan.header.rows) == (WRITER, 1, 77, 10)
        assert len(read(tail)) == 0
        assert (tail.fill, tail.settled) == (0.0, True)

    @pytest.mark.parametrize(
        "row",
        [
            (0, 0, 0, 0, 0, 0, b""),
            (65535, 2**32 - 1, 2**64 - 1, 2**64 - 1, 2**32 - 1, 65535, b"\xff"),
            (1, 2, 3, 4, 5, 6, b"seven"),
            (1, 0, 1, 0, 1, 0, bytes(8)),
        ],
    )
    def test_every_field_comes_back(self, make: Make, row: tuple[Any, ...]) -> None:
        """At both ends of its range, with the thread and the monotonic time of the call."""
        tail = make()
        before = time.monotonic_ns()
        assert tail.append(*row) == 1
        after = time.monotonic_ns()
        events = read(tail)
        found = tuple(int(events[name][0]) for name in ("code", "name", "subject", "object", "other", "flags"))
        assert (*found, events.payload(0)) == row
        assert before <= int(events["time"][0]) <= after
        assert int(events["thread"][0]) == threading.get_ident() & 0xFFFFFFFF

    def test_many_rows_come_back_in_order(self, make: Make) -> None:
        """Payloads of every length up to some pages, empty ones between them."""
        tail = make(rows=500, heap=4 << 20)
        dice = random.Random(7)
        payloads = [
            dice.randbytes(dice.choice([0, 1, 7, 8, 9, 63, 64, 65, 4096, dice.randrange(20_000)])) for _ in range(400)
        ]
        assert [tail.append(1, 0, 0, 0, 0, 0, payload) for payload in payloads] == list(range(1, 401))
        events = read(tail)
        assert events["sequence"].tolist() == list(range(1, 401))
        assert [events.payload(row) for row in range(len(events))] == payloads

    def test_a_row_is_there_when_the_call_has_returned(self, make: Make) -> None:
        """Without sync or close, one by one."""
        tail = make()
        for count in range(1, 65):
            tail.append(1, 0, count, 0, 0, 0, b"x" * count)
            assert read(tail)["subject"].tolist() == list(range(1, count + 1))

    @pytest.mark.parametrize("first", [1, 2**32 - 3, 2**32, 2**40 + 5])
    def test_sequences_go_on_from_the_first(self, make: Make, first: int) -> None:
        """Also where the low 32 bits, which stand in the row, begin anew."""
        tail = make(rows=8, first=first)
        wanted = list(range(first, first + 8))
        assert fill(tail, b"p") == wanted
        assert read(tail)["sequence"].tolist() == wanted

    def test_a_payload_may_be_any_buffer_of_bytes(self, make: Make) -> None:
        """What is stored is a copy."""
        tail = make()
        payload = bytearray(b"before")
        tail.append(1, 0, 0, 0, 0, 0, bytes(payload))
        payload[:] = b"after!"
        assert read(tail).payload(0) == b"before"

    # ---- where it ends

    def test_a_full_tail_refuses_for_ever(self, make: Make) -> None:
        """So that no later row overtakes the first one of the next tail."""
        tail = make(rows=5)
        assert fill(tail) == [1, 2, 3, 4, 5]
        assert [tail.append(1, 0, 0, 0, 0, 0, payload) for payload in (b"", b"x", b"")] == [0, 0, 0]
        assert len(read(tail)) == 5
        assert tail.settled
        assert tail.fill == 1.0
        assert tail.header.after == 6

    def test_a_payload_that_does_not_fit_fills_the_tail(self, make: Make) -> None:
        """A smaller one would fit, and is refused too; what was stored before stays."""
        tail = make(rows=64, heap=8192)
        assert tail.append(1, 0, 0, 0, 0, 0, b"small") == 1
        assert tail.append(1, 0, 0, 0, 0, 0, bytes(1 << 20)) == 0
        assert [tail.append(1, 0, 0, 0, 0, 0, payload) for payload in (b"x", b"", bytes(100))] == [0, 0, 0]
        assert read(tail).payload(0) == b"small"
        assert len(read(tail)) == 1
        assert tail.settled

    def test_fill_grows_to_one(self, make: Make) -> None:
        """It is what the next tail is prepared by."""
        tail = make(rows=16)
        seen = []
        while tail.append(1, 0, 0, 0, 0, 0, b""):
            seen.append(tail.fill)
        assert seen == sorted(seen)
        assert 0 < seen[0] < 0.5 < seen[-1] <= 1.0

    def test_a_value_that_does_not_fit_takes_no_other_row_along(self, make: Make) -> None:
        """It raises, or stores nothing; rows before and after it are whole."""
        tail = make()
        tail.append(1, 0, 1, 0, 0, 0, b"one")
        for row in [(1 << 16, 0, 0, 0, 0, 0, b""), (1, 0, -1, 0, 0, 0, b""), (1, 0, 0, 1 << 64, 0, 0, b"abc")]:
            with pytest.raises(struct.error):
                tail.append(*row)
        tail.append(1, 0, 2, 0, 0, 0, b"two")
        events = read(tail)
        assert events["subject"].tolist() == [1, 2]
        assert [events.payload(0), events.payload(1)] == [b"one", b"two"]

    # ---- at once

    def test_threads_lose_and_double_nothing(self, make: Make) -> None:
        """With a switch after every microsecond; each thread's rows stay in its own order."""
        rows = 4000
        tail = make(rows=rows, heap=1 << 20)
        stored: dict[int, list[tuple[int, int]]] = {}

        def work(me: int) -> None:
            mine = stored[me] = []
            for step in range(rows):
                sequence = tail.append(1, me, step, 0, 0, 0, b"%d-%d" % (me, step))
                if not sequence:
                    return
                mine.append((sequence, step))

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
        events = read(tail)
        assert events["sequence"].tolist() == list(range(1, rows + 1))
        assert tail.settled
        found: dict[int, list[tuple[int, int]]] = {me: [] for me in range(4)}
        for row in range(rows):
            me, step = int(events["name"][row]), int(events["subject"][row])
            assert events.payload(row) == b"%d-%d" % (me, step)
            found[me].append((int(events["sequence"][row]), step))
        assert found == stored
        assert all([step for _, step in mine] == list(range(len(mine))) for mine in found.values())

    def test_a_signal_handler_may_append(self, make: Make) -> None:
        """In the midst of another call of the same thread."""
        tail = make(rows=20_000, heap=1 << 20)
        kept: list[tuple[int, int]] = []
        handled = itertools.count(1)

        def handle(number: int, frame: object) -> None:
            subject = next(handled)
            kept.append((tail.append(2, 0, subject, 0, 0, 0, b"handler %d" % subject), subject))

        old = signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
            for step in range(8_000):
                assert tail.append(1, 0, step, 0, 0, 0, b"program %d" % step)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        assert kept
        events = read(tail)
        assert len(events) == 8_000 + len(kept)
        by_sequence = {int(events["sequence"][row]): row for row in range(len(events))}
        assert [events.payload(by_sequence[sequence]) for sequence, _ in kept] == [b"handler %d" % n for _, n in kept]
        program = [int(events["subject"][row]) for row in events.positions(1)]
        assert program == list(range(8_000))

    # ---- what is left by others

    def test_rows_survive_the_process(self, make_tail: TailFactory, tmp_path: Path) -> None:
        """A process that is killed right after a call leaves that row to its reader."""
        path = tmp_path / "tail-000001"
        child = os.fork()
        if child == 0:
            try:
                tail = make_tail(path, WRITER, 1, 1, 64, 8192)
                for step in range(30):
                    tail.append(1, 0, step, 0, 0, 0, b"%d" % step)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        events = read_tail(path).events
        assert events["subject"].tolist() == list(range(30))
        assert [events.payload(row) for row in range(30)] == [b"%d" % step for step in range(30)]

    def test_a_file_that_is_there_is_not_touched(self, make_tail: TailFactory, tmp_path: Path) -> None:
        """A tail is always a new file."""
        path = tmp_path / "tail-000001"
        path.write_bytes(b"mine")
        with pytest.raises(FileExistsError):
            make_tail(path, WRITER, 1, 1, 64, 8192)
        assert path.read_bytes() == b"mine"

    def test_no_room_leaves_nothing_behind(self, make_tail: TailFactory, tmp_path: Path) -> None:
        """Neither a file nor a descriptor."""
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="No such file"):
            make_tail(tmp_path / "missing" / "tail-000001", WRITER, 1, 1, 64, 8192)
        assert len(os.listdir("/proc/self/fd")) == before
        assert list(tmp_path.iterdir()) == []

    # ---- the rest of the protocol

    def test_a_loss_is_noted_without_harm(self, make: Make) -> None:
        """Its header keeps count and range, also that of a tail of frames."""
        tail = make()
        tail.append(1, 0, 1, 0, 0, 0, b"one")
        tail.note_loss(3, -5, 9)
        tail.note_loss(4, -5, 11)
        tail.append(1, 0, 2, 0, 0, 0, b"two")
        assert read(tail)["subject"].tolist() == [1, 2]
        assert read_tail(tail.path).loss == (4, -5, 11)

    def test_sync_changes_nothing(self, make: Make) -> None:
        """It may be called at any time."""
        tail = make()
        tail.sync()
        fill(tail, b"x")
        tail.sync()
        assert len(read(tail)) == 64

    def test_nothing_is_stored_after_close(self, make: Make) -> None:
        """A thread that comes late is refused; closing twice is harmless, and no descriptor is left open."""
        before = len(os.listdir("/proc/self/fd"))
        tail = make()
        tail.append(1, 0, 1, 0, 0, 0, b"one")
        tail.close()
        tail.close()
        assert len(os.listdir("/proc/self/fd")) == before
        assert tail.append(1, 0, 2, 0, 0, 0, b"two") == 0
        assert read(tail)["subject"].tolist() == [1]

    def test_the_header_names_the_format(self, make: Make) -> None:
        """With its check sum, where every implementation puts it."""
        tail = make()
        data = tail.path.read_bytes()
        assert data[:8] == b"BRAIDTL\x01"
        assert int.from_bytes(data[8:10], "little") == MAJOR
        assert TailHeader.unpack(data) == tail.header
        assert data[:88] == tail.header.pack()
