"""What an array into the log costs, as ratios to h5py timed in the same process just before.

    python benchmarks/arrays.py [--quick] [--out DIR]

Three ways to keep an array take turns, on the same file system:

- ours: ``run.array``, with everything (digest, bytes, two events);
- same: h5py into one extensible dataset with the same chunks, Fletcher32, SWMR, a flush and a BLAKE3 digest for each
  array, which is what a program would write that wanted the same promise;
- plain: ``create_dataset`` for each array in an ordinary file, without checksums, flushes or digests.

Throughput ratios are medians over the rounds: above 1 we are faster. Written are ``arrays.json`` and ``arrays.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from blake3 import blake3

import braid_hpc as braid
from braid_hpc.log import array_pools as pools
from braid_hpc.run import arrays as inline

SIZES = (4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20)


class Same:
    """h5py with the same chunks, filter, flushes and digest."""

    def __init__(self, path: Path, size: int) -> None:
        chunk = pools.LARGE_CHUNK if size >= pools.LARGE else pools.CHUNK
        self.file = h5py.File(path, "w", libver=("v110", "v110"), locking=False)
        about: dict[str, Any] = {"shape": (0,), "maxshape": (None,), "chunks": (chunk // 8,), "fletcher32": True}
        self.pool = self.file.create_dataset("float64", dtype="f8", **about)
        self.file.swmr_mode = True

    def __call__(self, array: Any) -> None:
        blake3(array.data.cast("B")).digest()
        end = self.pool.shape[0]
        self.pool.resize((end + array.size,))
        self.pool[end:] = array
        self.pool.flush()

    def close(self) -> None:
        self.file.close()


class Plain:
    """h5py as most programs use it."""

    def __init__(self, path: Path, size: int) -> None:
        self.file = h5py.File(path, "w")
        self.count = 0

    def __call__(self, array: Any) -> None:
        self.count += 1
        self.file.create_dataset(str(self.count), data=array)

    def close(self) -> None:
        self.file.close()


def timed(keep: Callable[[Any], object], array: Any, count: int) -> float:
    """Return seconds for one of `count` arrays, each of other content."""
    total = 0.0
    for _ in range(count):
        array[0] += 1
        begin = time.perf_counter()
        keep(array)
        total += time.perf_counter() - begin
    return total / count


def measure(size: int, repeat: int, most: int) -> dict[str, Any]:
    """Measure one size; `most` bounds the bytes of a round."""
    array = np.random.default_rng(1).random(size // 8)
    count = max(2, min(100, most // size))
    seconds: dict[str, list[float]] = {"ours": [], "same": [], "plain": []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        directory = Path(name)
        with braid.job("arrays", log_dir=directory) as run:
            ways: dict[str, Any] = {
                "ours": lambda each: run.array("frame", each),
                "same": Same(directory / "same.h5", size),
                "plain": Plain(directory / "plain.h5", size),
            }
            for keep in ways.values():
                timed(keep, array, 2)
            for _ in range(repeat):
                for way, keep in ways.items():
                    seconds[way].append(timed(keep, array, count))
            ways["same"].close()
            ways["plain"].close()
    result: dict[str, Any] = {"bytes": size, "us": {way: statistics.median(s) * 1e6 for way, s in seconds.items()}}
    for way in ("same", "plain"):
        result[f"to_{way}"] = statistics.median(b / a for a, b in zip(seconds["ours"], seconds[way], strict=True))
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = ["| array | ours, us | same promise, us | plain, us | ours to same | ours to plain |", "|---" * 6 + "|"]
    for each in results:
        us = each["us"]
        size = f"{each['bytes'] >> 10} KiB" if each["bytes"] < 1 << 20 else f"{each['bytes'] >> 20} MiB"
        lines.append(
            f"| {size} | {us['ours']:.0f} | {us['same']:.0f} | {us['plain']:.0f} | {each['to_same']:.2f} | "
            f"{each['to_plain']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--inline", type=int, default=None, help="bytes up to which arrays go among the events")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.inline is not None:
        inline.INLINE_BYTES = options.inline
    results = [measure(size, 3 if options.quick else 9, 64 << 20) for size in SIZES]
    print(table(results), end="")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "arrays.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.out / "arrays.md").write_text(table(results))


if __name__ == "__main__":
    main()
