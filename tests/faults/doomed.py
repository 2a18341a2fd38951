"""A process whose machine will crash: it tells, where the crash cannot reach it, what it was promised."""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import braid_hpc as braid
from tests.faults.oracle import COLUMNS, text_of

__all__ = ["compact_for_ever", "end", "freeze", "record_for_ever", "start"]

ROOT = Path(__file__).parents[2]


class Told:
    """A number in a file that a process stores and another one reads."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("Q")

    def __getitem__(self, which: int) -> int:
        return self._words[which]

    def __setitem__(self, which: int, value: int) -> None:
        self._words[which] = value


def record_for_ever(place: Path, told: Told, seed: int) -> None:
    """Record rows, batches and arrays; tell how far `synced` has come."""
    chance = random.Random(seed)
    run = braid.start("doomed", log_dir=place / "logs")
    rows, columns = run.stream("rows", COLUMNS), run.stream("columns", {"n": "int64"})
    waits = chance.choice([0, 20, 400])
    number = 0
    while True:
        rows.append(number, number / 2, text_of(number))
        number += 1
        if number % 500 == 0:
            columns.extend({"n": np.arange(number, number + 5000)})
        if number % 300 == 0:
            # In the tail, and in the arrays file.
            run.array(f"small/{number}", np.full(50, number))
            run.array(f"large/{number}", np.arange(number, number + 5000))
        if waits and number % waits == 0 and chance.random() < 0.2:
            run.flush("synced")
        # The background thread brings it on as well.
        told[0] = run.levels["synced"] or 0
        told[1] = number


def compact_for_ever(place: Path, told: Told, seed: int) -> None:
    """Compact what lies in one directory after another; tell how many of them are in the store."""
    from braid_hpc.compaction.compact import compact

    for number in range(1, 1 << 30):
        logs = place.parent.parent / f"logs-{number}"
        if logs.exists():
            compact(logs, place / "prov.duckdb")
            told[0] = number
        told[1] = number
        if not logs.exists():
            time.sleep(3600)


def start(what: str, place: Path, told: Path, seed: int, library: Path | None = None) -> int:
    """Start one of the two, by a fork, or, with a library for LD_PRELOAD that lets no sync through, anew."""
    told.touch()
    if library is not None:
        about = {"LD_PRELOAD": str(library), "INTERRUPT_NO_SYNC": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.faults.doomed", what, str(place), str(told), str(seed)]
        return os.posix_spawn(sys.executable, command, {**os.environ, **about})
    pid = os.fork()
    if not pid:
        try:
            DOOMED[what](place, Told(told), seed)
        finally:
            os._exit(1)
    return pid


def freeze(pid: int, told: Path, until: int, after: float, *, promised: bool = False) -> Told:
    """Stop a process `after` seconds after it has told its first number, so that it promises nothing more.

    Where it has to have `promised` something, it has as long as it needs for that.
    """
    words = Told(told)
    deadline = time.monotonic() + 60
    while (words[1] < until or (promised and not words[0])) and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(after)
    os.kill(pid, signal.SIGSTOP)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it ended with status {status}"
    return words


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


DOOMED = {"record": record_for_ever, "compact": compact_for_ever}

if __name__ == "__main__":
    DOOMED[sys.argv[1]](Path(sys.argv[2]), Told(Path(sys.argv[3])), int(sys.argv[4]))
