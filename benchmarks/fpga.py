"""What it costs to bring the frames of an FPGA from bytes into a rank's log, in megabytes for each second of a core.

    python benchmarks/fpga.py [--quick] [--out DIR]

For frames of several sizes, each input (4 MiB at a time, as a source gives it) is taken by a collector, compiled and
in plain Python, until its words and frames are in the log: found, checked, turned into columns, written. The CPU time
is that of all threads of the process, so syncing counts; the first 8 MiB of each input do not. In the same rounds
stand three floors: the check sums alone (zlib's CRC-32), a copy in memory, and writing the same bytes to a file. Every
figure is the median of the rounds, with the best beside it: on a machine that does other things meanwhile the best is
nearer to the truth.

The last rows are what hostile input costs: bytes without a frame, and bytes of which every eighth claims to begin a
frame of the greatest length. Written are ``fpga.json`` and ``fpga.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import braid_hpc as braid
from braid_hpc.collectors.fpga import Firmware, FPGACollector
from braid_hpc.collectors.frames import DEFAULT
from braid_hpc.collectors.sources import CHUNK
from braid_hpc.run.null import NullRun

#: Words of a frame; a frame covers 4,096 input samples.
WORDS = (32, 256, 1024, 4096)


def make_frames(words: int, size: int) -> bytes:
    """Make about `size` bytes of frames with random content."""
    chosen = np.random.default_rng(words)
    count = size // (words * 4 + 52)
    contents = [
        {"channel": chosen.permutation(4096)[:words], "sample": chosen.integers(-2000, 2000, words)} for _ in range(16)
    ]
    frames = []
    for number in range(count):
        columns = contents[number % len(contents)]
        frames.append(DEFAULT.encode(columns, frame=number, first=4096 * number, firmware=7, dropped=4096 - words))
    return b"".join(frames)


def rate(work: Callable[[memoryview], Any], data: bytes) -> float:
    """Return megabytes for each second of CPU time of this process."""
    view = memoryview(data)
    # Memory is found, files are created and modules imported before the clock starts: a device sends for hours.
    warm = min(2 * CHUNK, len(data) // 4)
    work(view[:warm])
    begin = time.process_time()
    for start in range(warm, len(data), CHUNK):
        work(view[start : start + CHUNK])
    return (len(data) - warm) / (time.process_time() - begin) / 1e6


def collected(data: bytes, folder: Path, *, compiled: bool) -> float:
    """Take all of it in a run of its own."""
    with (
        braid.job("bench", log_dir=folder) as run,
        FPGACollector(run, "adc", firmware=Firmware(7), compiled=compiled) as fpga,
    ):
        found = rate(fpga.take, data)
        assert fpga.counts["aside"] == 0
        assert not fpga.losses
    return found


def dropped(data: bytes, *, compiled: bool) -> float:
    """Take it where nothing is recorded: what the search alone costs."""
    with FPGACollector(NullRun(), "adc", compiled=compiled) as fpga:
        return rate(fpga.take, data)


def measure(size: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Measure all rows in turn, round by round."""
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    inputs = {words: make_frames(words, size) for words in WORDS}
    noise = np.random.default_rng(1).bytes(size // 8)
    claims = (DEFAULT.magic + struct.pack("<I", DEFAULT.max_words)) * (size // 64)
    for compiled in (True, False):
        collected(inputs[1024][: 50 * (1024 * 4 + 52)], folder, compiled=compiled)
    for _ in range(rounds):
        for words, data in inputs.items():
            note(f"compiled, {words} words", collected(data, folder, compiled=True))
            note(f"Python, {words} words", collected(data, folder, compiled=False))
        data = inputs[1024]
        note("floor: CRC-32 by zlib", rate(zlib.crc32, data))
        note("floor: a copy in memory", rate(bytearray, data))
        with (folder / "floor").open("wb", buffering=0) as file:
            note("floor: written to a file", rate(file.write, data))
        note("compiled, no frame in it", dropped(noise, compiled=True))
        note("compiled, long frames claimed", dropped(claims, compiled=True))
    return {name: {"median": statistics.median(found), "best": max(found)} for name, found in rows.items()}


def table(results: dict[str, Any]) -> str:
    """Return the figures as a page."""
    about = results["machine"]
    lines = [
        f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, load {about['load']:.1f}; "
        f"{results['megabytes']:.0f} MB each, {results['rounds']} rounds; MB for each second of a core",
        "",
        "| bytes to log | median | best |",
        "|---|---|---|",
    ]
    for name, found in results["rows"].items():
        lines.append(f"| {name} | {found['median']:,.0f} | {found['best']:,.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    size, rounds = (1 << 20, 2) if options.quick else (48 << 20, 7)
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(size, rounds, Path(folder))
    results = {
        "rows": rows,
        "megabytes": size / 1e6,
        "rounds": rounds,
        "machine": {
            "cpu": names[0] if names else platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg()[0],
        },
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "fpga.json").write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    (options.out / "fpga.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
