"""What it costs to know which of many calls are done: on real ranks, by the done index alone.

    python benchmarks/tasks.py [--quick] [--cells N] [--ranks N] [--out DIR]

A million cells of a grid, nine of ten done. Each of eight ranks makes the keys of all of them, takes its share, and
looks that up in one mapped file; measured is the time until the last rank knows what is left. Beside it, on one
process: how long one key takes to look up, and what a call costs that is skipped, and one that runs, beside the bare
function. Written are ``tasks.json`` and ``tasks.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import braid_hpc as braid
from braid_hpc.compaction.done_index import write_entries
from braid_hpc.tasks.done_index import DoneIndex
from braid_hpc.tasks.mapping import share_of
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.task_payloads import Done

if __package__:
    from benchmarks.launching import run_ranks
else:
    from launching import run_ranks

#: Of so many cells one is left.
LEFT = 10

#: Seconds after which the ranks are ended.
LIMIT = 600


@braid.task(version="1", name="benchmark.measure")
def measure(configuration: int, source: int, separation: float = 0.5) -> float:
    """Stand for a measurement."""
    return configuration * separation + source


def grid(cells: int) -> dict[str, Any]:
    """Return the cells, as columns."""
    at = np.arange(cells)
    return {"configuration": at // 8, "source": at % 8}


def write_index(path: Path, cells: int) -> None:
    """Write an index in which all cells but one of ten are done."""
    keys = measure.keys_of(grid(cells))[np.arange(cells) % LEFT != 0]
    ordered = sorted(keys[at].tobytes() for at in range(len(keys)))
    entry = msgspec.msgpack.encode(
        Done(measure.name, "1", bytes(24), bytes(24), measure.identity.code, 0, "", msgspec.msgpack.encode(0.5), None)
    )

    def batches() -> Iterator[list[tuple[bytes, int, bytes]]]:
        for first in range(0, len(ordered), 20_000):
            yield [(key, State.DONE.value, entry) for key in ordered[first : first + 20_000]]

    write_entries(path, 1, len(ordered), batches())


def rank_of(path: Path, cells: int, rank: int, size: int) -> dict[str, float]:
    """Find out what is left of one rank's share."""
    begin = time.perf_counter()
    keys = measure.keys_of(grid(cells))
    made = time.perf_counter()
    own = share_of(keys, rank, size)
    states = DoneIndex(path).lookup(keys[own])
    found = time.perf_counter()
    left = int((states != State.DONE).sum())
    return {"keys": made - begin, "lookup": found - made, "left": left, "own": len(own)}


def calls(folder: Path, often: int) -> dict[str, float]:
    """Measure single calls in this process, microseconds; the median of five rounds."""
    store = folder / "prov.duckdb"
    (folder / "prov.duckdb.d").mkdir()
    write_index(folder / "prov.duckdb.d" / "1.done", often * LEFT)
    index = DoneIndex(folder / "prov.duckdb.d" / "1.done")
    done = [at for at in range(often * LEFT) if at % LEFT][:often]
    keys = [measure.key_of(at // 8, at % 8) for at in done]
    found: dict[str, list[float]] = {}

    def timed(name: str, call: Any) -> None:
        begin = time.perf_counter()
        for at in range(often):
            call(at)
        found.setdefault(name, []).append(1e6 * (time.perf_counter() - begin) / often)

    with braid.job("bench", log_dir=folder / "logs", store=store):
        for _ in range(5):
            timed("bare", lambda at: measure.function(at, 1))
            timed("lookup", lambda at: index.find(keys[at]))
            timed("key", lambda at: measure.key_of(done[at] // 8, done[at] % 8))
            timed("skipped", lambda at: measure(done[at] // 8, done[at] % 8))
            timed("runs", lambda at: measure(at * LEFT // 8, at * LEFT % 8, 0.25))
    return {name: statistics.median(values) for name, values in found.items()}


def on_ranks(folder: Path, cells: int, ranks: int) -> dict[str, Any]:
    """Measure a job of ranks."""
    index = folder / "1.done"
    write_index(index, cells)
    begin = time.perf_counter()
    arguments = ["--rank", str(index), "--cells", str(cells)]
    printed, why = run_ranks("tasks.py", arguments, ranks=ranks, limit=LIMIT)
    wall = time.perf_counter() - begin
    if why:
        return {"not_run": why}
    told = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    about = {name: max(each[name] for each in told) for name in ("keys", "lookup")}
    left, own = (sum(each[name] for each in told) for name in ("left", "own"))
    return {**about, "job": wall, "left": left, "cells": own, "ranks": len(told), "bytes": index.stat().st_size}


def main() -> None:
    """Measure, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests: noisy")
    parser.add_argument("--cells", type=int)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cells = options.cells or (10_000 if options.quick else 1_000_000)
    if options.rank is not None:
        rank, size = (int(os.environ[f"PMI_{name}"]) for name in ("RANK", "SIZE"))
        sys.stdout.write(json.dumps(rank_of(options.rank, cells, rank, size)) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        jobs = on_ranks(Path(folder), cells, 2 if options.quick else options.ranks)
    with tempfile.TemporaryDirectory() as folder:
        single = calls(Path(folder), 200 if options.quick else 5_000)
    lines = ["| what | |", "|---|---|"]
    if "not_run" in jobs:
        lines.append(f"| ranks | not run: {jobs['not_run']} |")
    else:
        lines += [
            f"| {jobs['cells']:,} cells on {jobs['ranks']} ranks: the job, start of Python included | "
            f"{jobs['job']:.1f} s |",
            f"| making all keys, the slowest rank | {jobs['keys']:.1f} s |",
            f"| looking up its share, the slowest rank | {1e3 * jobs['lookup']:,.0f} ms |",
            f"| left to do | {jobs['left']:,} |",
            f"| the index | {jobs['bytes'] / 1e6:,.1f} MB |",
        ]
    names = {
        "lookup": "looking up one key",
        "key": "the key of one call",
        "skipped": "a call that is skipped, and recorded so",
        "runs": "a call that runs, recorded with parameters and result",
        "bare": "the bare function",
    }
    lines += [f"| {said} | {single[name]:,.1f} us |" for name, said in names.items()]
    options.out.mkdir(parents=True, exist_ok=True)
    about = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    (options.out / "tasks.json").write_text(
        json.dumps({"machine": about, "ranks": jobs, "calls": single}, indent=1) + "\n"
    )
    text = "\n".join(lines) + "\n"
    (options.out / "tasks.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
