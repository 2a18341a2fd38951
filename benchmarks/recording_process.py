"""The process in which one way to record is measured, or is recording when it is killed, or is read back.

    python benchmarks/recording_process.py time|empty|survive|close|read NAME FOLDER NUMBER

A figure is a ratio to REF, the least that a Python program can do to remember an event: a ``time.time_ns()``, an
8-field tuple and a ``list.append``. REF is timed in the same process before a recorder is opened and after it is
closed, so that no tracer sees it. What it finds goes to ``found.json`` in the folder.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from peers import PEERS, TEXT

REFERENCES = 200_000
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}


def timed(work: Callable[..., None], *arguments: int, count: int) -> tuple[float, float]:
    """Return wall and CPU seconds for one of `count` repetitions; Python's collector waits meanwhile."""
    gc.collect()
    gc.disable()
    wall, cpu = time.perf_counter(), time.process_time()
    work(*arguments, count)
    result = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
    gc.enable()
    return result


def reference(count: int) -> None:
    """Remember `count` events in a list."""
    kept: list[tuple[Any, ...]] = []
    append, now, text = kept.append, time.time_ns, TEXT
    for number in range(count):
        append((now(), number, 1.5, 2.5, 3, 4, 5.5, text))


def chosen_count(recorder: Any, seconds: float) -> tuple[int, int]:
    """Warm up; return how many events take so many seconds, and how many have been recorded."""
    done, count = 0, 1
    while True:
        begin = time.perf_counter()
        recorder.record(done, count)
        took = time.perf_counter() - begin
        done += count
        if took > seconds / 20 or done * 20 >= recorder.most:
            return max(1, min(int(seconds * count / took), int(recorder.most * 0.6))), done
        count *= 2


def percentiles(recorder: Any, first: int, count: int) -> dict[str, float]:
    """Time single calls; return percentiles in microseconds, the clock's own cost and that of a loop included."""
    now, record = time.perf_counter_ns, recorder.record
    taken = [0] * count
    for index in range(count):
        begin = now()
        record(first + index, 1)
        taken[index] = now() - begin
    taken.sort()
    return {name: taken[int(count * part)] / 1e3 for name, part in PERCENTILES.items()} | {"max": taken[-1] / 1e3}


def size() -> int:
    """Return the bytes of all files in the recorder's folder."""
    return sum(file.stat().st_size for file in Path().rglob("*") if file.is_file())


def time_it(recorder: Any, seconds: float) -> dict[str, Any]:
    """Return what one round comes to."""
    before = timed(reference, count=REFERENCES)
    begin = time.perf_counter()
    recorder.open()
    found: dict[str, Any] = {"open": [time.perf_counter() - begin, "s"]}
    tail = recorder.tail() if hasattr(recorder, "tail") else ""
    count, first = chosen_count(recorder, seconds)
    wall, cpu = timed(recorder.record, first, count=count)
    floor = timed(recorder.floor, count=count)[1] if getattr(recorder, "floor", None) else None
    first += count
    unit = getattr(recorder, "unit", 1)
    single = max(1, min(count, recorder.most // 3))
    calls = percentiles(recorder, first, single) if unit == 1 else {}
    total = (first + single * (unit == 1)) * unit
    begin, used = time.perf_counter(), time.process_time()
    recorder.close()
    closing, closing_cpu = time.perf_counter() - begin, time.process_time() - used
    after = timed(reference, count=REFERENCES)
    ref_wall, ref_cpu = (before[0] + after[0]) / 2, (before[1] + after[1]) / 2
    found |= {
        "wall": [wall / unit / ref_wall, "REF"],
        "CPU": [cpu / unit / ref_cpu, "REF"],
        "time": [wall / unit * 1e9, "ns"],
        "reference": [ref_wall * 1e9, "ns"],
        "reference CPU": [ref_cpu * 1e9, "ns"],
        "closing": [closing, "s"],
        "closing CPU": [closing_cpu, "s"],
        "events": [total, "events"],
        "size": [size(), "bytes"],
    }
    found |= {name: [value, "us"] for name, value in calls.items()}
    if floor is not None:
        found["floor"] = [floor / unit / ref_cpu, "REF"]
    return {"values": found, "tail": tail}


def empty(recorder: Any, _: int) -> dict[str, Any]:
    """Return what a recorder takes that records one event: what is paid once."""
    begin = time.perf_counter()
    recorder.open()
    recorder.record(0, 1)
    found: dict[str, Any] = {"open": [time.perf_counter() - begin, "s"]}
    begin, used = time.perf_counter(), time.process_time()
    recorder.close()
    found["closing"] = [time.perf_counter() - begin, "s"]
    found["closing CPU"] = [time.process_time() - used, "s"]
    found["size"] = [size(), "bytes"]
    return {"values": found}


def survive(recorder: Any, most: int) -> dict[str, Any]:
    """Record one event after the other, with a byte into the pipe after each, until killed."""
    recorder.open()
    acknowledge, record = os.write, recorder.record
    pipe = int(os.environ["ACKNOWLEDGED"])
    for number in range(most):
        record(number, 1)
        acknowledge(pipe, b".")
    while True:
        time.sleep(1)


def close(recorder: Any, most: int) -> dict[str, Any]:
    """Record so many events in a burst, or what two seconds take, and close as one should."""
    recorder.open()
    end, done, count = time.monotonic() + 2, 0, 1
    while done < most and time.monotonic() < end:
        recorder.record(done, count)
        done += count
        # Ever more at once, so that slow ones stop in time, too.
        count = min(2 * count, most - done)
    recorder.close()
    return {"recorded": done}


def read(recorder: Any, _: int) -> dict[str, Any]:
    """Read back what is there."""
    try:
        return {"numbers": recorder.read()}
    # Whatever its own reader raises is the answer: this file cannot be read.
    except Exception as error:
        return {"numbers": [], "unreadable": _named(error, recorder.place)}


def _named(error: Exception, folder: Path) -> str:
    """Return an error in one line, without the folder, which is another in each run."""
    return f"{type(error).__name__}: {error}".splitlines()[0].replace(f"{folder}/", "")


def main() -> None:
    """Do what the command line says, and write what was found."""
    what, name, place, number = sys.argv[1:]
    peer, folder = PEERS[name], Path(place).resolve()
    os.chdir(folder)
    try:
        recorder = peer.make(folder)
        work: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
            "time": time_it,
            "empty": empty,
            "survive": survive,
            "close": close,
            "read": read,
        }
        found = work[what](recorder, float(number) if what == "time" else int(number))
        if peer.package:
            found["version"] = metadata.version(peer.package)
    except ImportError as error:
        found = {"why": f"{error.name or peer.package} is not installed: pip install {peer.package}"}
        if not peer.package:
            raise
    # Half an hour of other figures must not be lost for one that fails: it is listed with its reason.
    except Exception as error:
        found = {"why": _named(error, folder)}
    (folder.parent / f"{folder.name}.found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # A tracer that was not ended, and what it does at exit, is no part of what was measured.
    os._exit(0)
