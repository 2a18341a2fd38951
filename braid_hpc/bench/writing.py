"""How fast one rank records events on the file system that it would record on."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from braid_hpc.bench.latency import classes_of
from braid_hpc.log.choice import tail_kind
from braid_hpc.log.places import file_system_of
from braid_hpc.run.job import start
from braid_hpc.vocabulary.errors import StorageError

__all__ = ["FIELDS", "measure_writing"]

#: The event: seven fields, one of them a text of 40 characters.
FIELDS = {
    "number": "int64",
    "a": "float64",
    "b": "float64",
    "c": "int32",
    "d": "int64",
    "e": "float32",
    "text": "text",
}
_TEXT = "x" * 40
#: Calls between two looks at the clock where nothing but the rate is wanted.
_AT_ONCE = 1_000
#: Single calls of which the time is kept: at 8 bytes each.
_MOST_SINGLE = 2_000_000


def measure_writing(log_dir: str | os.PathLike[str], *, seconds: float, ready: Callable[[], None]) -> dict[str, Any]:
    """Record events for a while, and say how fast that was.

    For half of the time nothing is looked at but the rate; for the other half each call is timed, which takes two
    looks at the clock itself.

    Parameters
    ----------
    log_dir : path-like
        Where the log is written; it is removed afterwards.
    seconds : float
        How long.
    ready : callable
        Is called when the log is open and warm, and returns when all others are ready.

    Returns
    -------
    dict
        ``host``, ``file_system``, ``tail`` (``compiled`` or ``python``), ``events`` (that were recorded), ``seconds``,
        ``bytes`` (of the files of the log) of the first half, ``lost`` of both halves, and ``classes`` of the times of
        single calls of the other half (:func:`braid_hpc.bench.latency.classes_of`), by their numbers as text.

    Raises
    ------
    StorageError
        If no log could be opened there, or recording is switched off.
    """
    run = start("bench-write", log_dir=log_dir)
    if not run:
        raise StorageError(
            f"nothing can be recorded in {os.fspath(log_dir)}: see what was said above, and braid doctor"
        )
    place = run.log_dir / run.writer.hex()
    try:
        append = run.stream("event", FIELDS).append
        for number in range(20_000):
            append(number, 1.5, 2.5, 3, number, 5.5, _TEXT)
        ready()
        before, gone = _bytes(place), run._log.lost
        events, begin = 0, time.perf_counter()
        while (took := time.perf_counter() - begin) < seconds / 2:
            for number in range(_AT_ONCE):
                append(number, 1.5, 2.5, 3, number, 5.5, _TEXT)
            events += _AT_ONCE
        written = _bytes(place) - before
        # What a full disk refuses takes no time, and would look like the fastest disk of all.
        events -= run._log.lost - gone
        single = _time_calls(append, seconds / 2)
        lost = run._log.lost
    finally:
        run.close()
        shutil.rmtree(place, ignore_errors=True)
    return {
        "host": socket.gethostname(),
        "file_system": file_system_of(log_dir).type,
        "tail": tail_kind(),
        "events": events,
        "seconds": took,
        "bytes": written,
        "lost": lost,
        "classes": {str(number): count for number, count in classes_of(single).items()},
    }


def _time_calls(append: Callable[..., Any], seconds: float) -> array[int]:
    now = time.perf_counter_ns
    single = array("q")
    keep = single.append
    end = now() + int(seconds * 1e9)
    for number in range(_MOST_SINGLE):
        begin = now()
        append(number, 1.5, 2.5, 3, number, 5.5, _TEXT)
        keep((after := now()) - begin)
        if after > end:
            break
    return single


def _bytes(directory: Path) -> int:
    total = 0
    for path in directory.iterdir():
        # A tail is removed when it has been sealed.
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total
