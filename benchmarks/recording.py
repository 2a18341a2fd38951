"""What recording costs a rank, as ratios to a reference timed in the same process just before.

    python benchmarks/recording.py [--quick] [--out DIR]

REF is one ``time.time_ns()``, an 8-field tuple and a ``list.append``: the least that a Python program can do to
remember an event. Beside it stands a floor, the least that something of its kind could cost, timed in the same rounds:

- an event, compiled: one call that stores a ready row of 84 bytes and its check into a mapping; nothing is made,
  sealed or synced;
- an event in Python: ``struct.pack_into`` a mapping, without text and without a check;
- a decorated function: two clocks and a ``list.append`` around the call; with recording off, the call alone;
- a row of a batch: its bytes written to a file.

Every figure is the median of interleaved rounds, once by wall time and once by the CPU time of
all threads of the process (the background thread's syncing and sealing is part of what an event costs). Each
variant runs in a process of its own. Written are ``recording.json`` and ``recording.md``.
"""

from __future__ import annotations

import argparse
import gc
import json
import mmap
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "x" * 40
Timed = tuple[float, float]


def timed(work: Callable[[int], None], count: int) -> Timed:
    """Return wall and CPU seconds for one of `count` repetitions."""
    gc.collect()
    gc.disable()
    wall, cpu = time.perf_counter(), time.process_time()
    work(count)
    result = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
    gc.enable()
    return result


def reference(count: int) -> None:
    """Remember `count` events in a list."""
    kept: list[tuple[Any, ...]] = []
    append, now, text = kept.append, time.time_ns, TEXT
    for number in range(count):
        append((now(), number, 1.5, 2.5, 3, 4, 5.5, text))


def rounds(
    work: Callable[[int], None], count: int, repeat: int, *, unit: int = 1, floor: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Time the reference, `work` and its floor in turn; return ratios of one unit of work to one REF."""
    walls, cpus, refs, own, floors = [], [], [], [], []
    work(max(1, count // 10))
    for _ in range(repeat):
        ref = timed(reference, 200_000)
        got = timed(work, count)
        walls.append(got[0] / unit / ref[0])
        cpus.append(got[1] / unit / ref[1])
        refs.append(ref[0] * 1e9)
        own.append(got[0] / unit * 1e9)
        if floor is not None:
            floors.append(timed(floor, count)[1] / unit / ref[1])
    quarter = statistics.quantiles(walls, n=4) if len(walls) > 1 else [walls[0]] * 3
    return {
        "wall": statistics.median(walls),
        "cpu": statistics.median(cpus),
        "wall_quartiles": [quarter[0], quarter[2]],
        "floor": statistics.median(floors) if floors else None,
        "ns": statistics.median(own),
        "ref_ns": statistics.median(refs),
        "rounds": repeat,
    }


def percentiles(call: Callable[[], object], count: int) -> dict[str, float]:
    """Time single calls; return percentiles in microseconds, the clock's own cost included."""
    now = time.perf_counter_ns
    taken = [0] * count
    for index in range(count):
        begin = now()
        call()
        taken[index] = now() - begin
    taken.sort()
    at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
    return {name: taken[int(count * part)] / 1e3 for name, part in at.items()} | {"max": taken[-1] / 1e3}


def directory_bytes(path: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


# ------------------------------------------------------------------------------------------------------ the floors


def event_floor() -> Callable[[int], None]:
    """Return what stores events into a mapping and does nothing else, by the compiled half if that runs."""
    from braid_hpc.log.choice import compiled_module

    rows = 16_384
    if (compiled := compiled_module()) is not None:
        payload, heap = bytes(84), 4096 + rows * 64
        mapped = mmap.mmap(-1, heap + rows * 84)

        def store(count: int) -> None:
            while count > 0:
                put = compiled.Table(mapped, bytes(16), 1, rows, heap, rows * 84).append
                for number in range(min(count, rows)):
                    put(31, 0, number, 1, 1, 0, payload)
                count -= rows

        return store
    mapped, form = mmap.mmap(-1, rows * 64), struct.Struct("<qqddiqf")

    def pack(count: int) -> None:
        put, now = form.pack_into, time.time_ns
        for number in range(count):
            put(mapped, number % rows * 64, now(), number, 1.5, 2.5, 3, 4, 5.5)

    return pack


def call_floor(function: Callable[[], None], *, off: bool) -> Callable[[int], None]:
    """Return what calls a function between two clocks and remembers them; with recording off, what only calls it."""
    kept: list[tuple[int, int]] = []

    def alone(count: int) -> None:
        for _ in range(count):
            function()

    def clocked(count: int) -> None:
        kept.clear()
        append, now = kept.append, time.monotonic_ns
        for _ in range(count):
            begin = now()
            function()
            append((begin, now()))

    return alone if off else clocked


def batch_floor(directory: Path, values: dict[str, Any]) -> Callable[[int], None]:
    """Return what writes columns to a file."""

    def write(count: int) -> None:
        with (directory / "floor").open("wb", buffering=0) as file:
            for _ in range(count):
                for column in values.values():
                    file.write(column)

    return write


# ---------------------------------------------------------------------------------------------------- the variants


def measure_events(directory: Path, scale: int, repeat: int) -> dict[str, Any]:
    """Measure one structured event, one with three attributes, and a column batch."""
    import numpy as np

    import braid_hpc as braid

    run = braid.start("bench", log_dir=directory)
    fields = {"i": "int64", "a": "float64", "b": "float64", "c": "int32", "d": "int64", "e": "float32", "t": "text"}
    stream = run.stream("event", fields)

    def append(count: int) -> None:
        put, text = stream.append, TEXT
        for number in range(count):
            put(number, 1.5, 2.5, 3, 4, 5.5, text)

    def with_tags(count: int) -> None:
        data = run.data
        for _ in range(count):
            data("thing", tags={"energy_keV": 71.7, "scan": 7, "sample": "Nickel"})

    columns = {name: kind for name, kind in fields.items() if kind != "text"}
    batch = run.stream("batch", columns)
    rows = 100_000 * scale
    values = {name: np.arange(rows).astype(kind) for name, kind in columns.items()}

    def extend(count: int) -> None:
        for _ in range(count):
            batch.extend(values)

    before = directory_bytes(directory)
    found: dict[str, Any] = {"event": rounds(append, 100_000 * scale, repeat, floor=event_floor())}
    written = 100_000 * scale * repeat + 10_000 * scale
    time.sleep(1.5)
    found["event"]["bytes"] = (directory_bytes(directory) - before) / written
    found["event"]["latency_us"] = percentiles(lambda: stream.append(1, 1.5, 2.5, 3, 4, 5.5, TEXT), 200_000 * scale)
    found["event with three attributes"] = rounds(with_tags, 10_000 * scale, repeat)
    found["row of a batch"] = rounds(extend, 3, repeat, unit=rows, floor=batch_floor(directory.parent, values))
    found["row of a batch"]["rows"] = rows
    found["tail"] = type(run._log.tail).__name__
    return found


def measure_decorator(directory: Path, scale: int, repeat: int) -> dict[str, Any]:
    """Measure a decorated function that does nothing."""
    import braid_hpc as braid

    def nothing() -> None:
        return None

    off = os.environ.get("BRAID_DISABLE") == "1"
    if not off:
        braid.start("bench", log_dir=directory)
    decorated = braid.activity(nothing)

    def call(count: int) -> None:
        for _ in range(count):
            decorated()

    return {"decorated function": rounds(call, 50_000 * scale, repeat, floor=call_floor(nothing, off=off))}


def measure_import(repeat: int) -> dict[str, Any]:
    """Measure a process that imports the package against one that does nothing."""
    walls, cpus = [], []
    for _ in range(3 * repeat):
        took = []
        for code in ("pass", "import braid_hpc"):
            before, begin = os.times(), time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            wall, after = time.perf_counter() - begin, os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            took.append((wall, max(used, 0.01)))
        walls.append(took[1][0] / took[0][0])
        cpus.append(took[1][1] / took[0][1])
    return {"import": {"wall": statistics.median(walls), "cpu": statistics.mean(cpus), "rounds": len(walls)}}


# ---------------------------------------------------------------------------------------------------- the program

BUDGETS = [
    ("event", "compiled", "one structured event, compiled tail", 0.9),
    ("event", "python", "one structured event, Python tail", 5.5),
    ("event with three attributes", "compiled", "one record with three tags, compiled tail", None),
    ("row of a batch", "compiled", "a row of a batch of six numeric columns", 0.35),
    ("decorated function", "compiled", "a decorated function that does nothing, compiled tail", 2.0),
    ("decorated function", "python", "a decorated function that does nothing, Python tail", 6.0),
    ("decorated function", "off", "a decorated function that does nothing, recording off", 0.7),
]

VARIANTS = {
    "compiled": {"BRAID_TAIL": ""},
    "python": {"BRAID_TAIL": "python"},
    "off": {"BRAID_DISABLE": "1"},
}


def run_variant(what: str, variant: str, quick: bool) -> dict[str, Any]:
    """Run one variant in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BRAID_")}
    environment.update({key: value for key, value in VARIANTS[variant].items() if value})
    with tempfile.TemporaryDirectory(prefix="braid-bench-") as directory:
        command = [sys.executable, __file__, "--inside", what, "--dir", directory, *(["--quick"] if quick else [])]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def machine() -> dict[str, Any]:
    """Describe this machine."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| what | budget (x REF) | wall (x REF) | CPU (x REF) | quartiles of wall | floor (x REF) | ns |",
        "|---" * 7 + "|",
    ]
    for key, variant, title, budget in BUDGETS:
        found = results[variant].get(key)
        if found is None:
            continue
        if variant == "compiled" and results[variant].get("tail") == "MappedTail":
            title += " (not built here: this is the Python tail)"
        low, high = found["wall_quartiles"]
        limit = "-" if budget is None else f"{budget}"
        spread = f"{low:.2f} to {high:.2f}"
        least = "-" if found["floor"] is None else f"{found['floor']:.2f}"
        figures = f"{found['wall']:.2f} | {found['cpu']:.2f} | {spread} | {least} | {found['ns']:.0f}"
        lines.append(f"| {title} | {limit} | {figures} |")
    imported = results["import"]["import"]
    lines.append(
        f"| import braid_hpc / python -c pass | 1.5 | {imported['wall']:.2f} | {imported['cpu']:.2f} | - | - | - |"
    )
    lines += ["", "One call of `append`, microseconds (p99.99 has a budget of 10,000):", ""]
    lines += ["| tail | p50 | p99 | p99.9 | p99.99 | max | bytes an event on disk |", "|---|---|---|---|---|---|---|"]
    for variant in ("compiled", "python"):
        found = results[variant]["event"]
        cells = " | ".join(f"{found['latency_us'][name]:.1f}" for name in ("p50", "p99", "p99.9", "p99.99", "max"))
        lines.append(f"| {results[variant]['tail']} | {cells} | {found['bytes']:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all variants, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--inside", choices=["events", "decorator"], help=argparse.SUPPRESS)
    parser.add_argument("--dir", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    scale, repeat = (1, 3) if options.quick else (5, 9)
    if options.inside:
        measure = {"events": measure_events, "decorator": measure_decorator}[options.inside]
        print(json.dumps(measure(options.dir, scale, repeat)))
        return
    results: dict[str, dict[str, Any]] = {name: {} for name in VARIANTS}
    for variant in VARIANTS:
        for what in ("events", "decorator"):
            if variant != "off" or what == "decorator":
                sys.stderr.write(f"measuring {what}, {variant}\n")
                results[variant].update(run_variant(what, variant, options.quick))
    results["import"] = measure_import(repeat)
    results["machine"] = machine()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "recording.json").write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    (options.out / "recording.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
