"""What a recording process was told had been recorded, kept where SIGKILL cannot reach it.

The process under trial stores the number of calls that have returned into a shared anonymous mapping, one aligned
8-byte store after each call. The parent, which is never killed, compares that with what is in the log.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.events import Events
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import row_struct

__all__ = ["Counter", "check_rows", "fork_and_kill", "rows_of", "text_of"]

COLUMNS = [("number", "int64"), ("half", "float64"), ("text", "text")]


class Counter:
    """A number that a child process stores and its parent reads."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("Q")

    def set(self, value: int) -> None:
        """Store a value; it survives the process."""
        self._words[0] = value

    @property
    def value(self) -> int:
        """What was stored last."""
        return self._words[0]

    def close(self) -> None:
        """Let go of the mapping."""
        self._words.release()
        self._map.close()


def text_of(number: int) -> str:
    """Return the text that row `number` carries; its length varies, so that heaps fill unevenly."""
    return f"row {number} " + "é" * (number * 7919 % 61)


def fork_and_kill(child: Callable[[Counter], None], after: float, how: int = signal.SIGKILL) -> int:
    """Run `child` in a forked process, end it by a signal, and return how many calls it had counted.

    The signal is sent `after` seconds after the first call was counted, so that no trial ends before it began.
    """
    counter = Counter()
    pid = os.fork()
    if not pid:
        try:
            child(counter)
        finally:
            os._exit(0)
    deadline = time.monotonic() + 20
    try:
        while not counter.value and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(after)
    finally:
        # Also where this test runs out of time: a child that was left would fill the disk.
        os.kill(pid, how)
        _, status = os.waitpid(pid, 0)
    counted = counter.value
    counter.close()
    assert counted, f"the child recorded nothing (status {status})"
    return counted


def rows_of(log: WriterLog) -> list[tuple[int, float, str]]:
    """Return the rows of the one stream in a log, as they stand."""
    layout = row_struct(COLUMNS)
    events: Events = log.events
    rows = []
    for position in events.positions(Code.ROW):
        payload = events.payload(position)
        number, half, length = layout.unpack(payload[: layout.size])
        text = payload[layout.size :]
        assert len(text) == length
        rows.append((number, half, text.decode()))
    return rows


def check_rows(log_dir: Path, counted: int, first: int = 0) -> WriterLog:
    """Hold a log against the oracle: nothing lost, invented, doubled or reordered."""
    (directory,) = find_writers(log_dir)
    log = read_writer(directory)
    assert not log.faults, log.faults
    rows = rows_of(log)
    # The call under way when the process ended may be there or not; nothing else is open.
    assert counted <= len(rows) <= counted + 1, f"{counted} calls had returned, the log has {len(rows)} rows"
    assert rows == [(number, number / 2, text_of(number)) for number in range(first, first + len(rows))]
    return log
