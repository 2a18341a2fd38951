"""What row edges cost: to state them on a rank, to merge them, to keep them, and to ask for one row among them.

    python benchmarks/row_edges.py [--quick] [--edges N] [--out DIR]

Ten million rows of peaks came from frames: one to one (a range, one call), in the order of the frames (three peaks
from each, listed by 2**18 a call), and at random (likewise). For each are measured edges a second on the rank and in
merging (CPU time of the process), bytes an edge in log and store, and the median time of a question: up from a peak,
down from a frame, and the first question of an opened store. Written are ``row_edges.json`` and ``row_edges.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import braid_hpc as braid

#: Pairs that one call lists.
AT_ONCE = 1 << 18


def record(folder: Path, edges: int, parents: Callable[[int, int], Any] | None) -> tuple[float, float]:
    """Record the rows, and their edges; return seconds of CPU and bytes in the log that the edges took."""
    with braid.job("bench", log_dir=folder) as run:
        frames, peaks = (run.stream(name, {"n": "uint8"}) for name in ("frames", "peaks"))
        for stream in (frames, peaks):
            for first in range(0, edges, AT_ONCE):
                rows = stream.extend({"n": np.zeros(min(AT_ONCE, edges - first), np.uint8)})
        above, below = (type(rows)(run.writer, name, 0, edges) for name in ("frames", "peaks"))
        given = [
            None if parents is None else (np.arange(first, end), parents(first, end))
            for first in range(0, edges, AT_ONCE)
            for end in [min(first + AT_ONCE, edges)]
        ]
        run.derive_rows(peaks, frames, child_index=[5, 3], parent_index=[7, 7])
        before = _size(folder)
        begin = time.process_time()
        if parents is None:
            run.derive_rows(below, above)
        else:
            for child, parent in given:
                run.derive_rows(below, above, child_index=child, parent_index=parent)
        return time.process_time() - begin, _size(folder) - before


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def merge(logs: Path, store: Path) -> float:
    """Merge logs; return seconds of CPU."""
    begin = time.process_time()
    braid.compact(logs, store)
    return time.process_time() - begin


def ask(store: Path, edges: int, *, often: int) -> dict[str, float]:
    """Return milliseconds of questions."""
    random = np.random.default_rng(7)
    found: dict[str, Any] = {"up": [], "down": []}
    firsts = []
    for turn in range(3):
        with braid.open(store) as opened:
            begin = time.perf_counter()
            opened.row_lineage(f"peaks#{edges // 2 + turn}")
            firsts.append(1e3 * (time.perf_counter() - begin))
            for row in random.integers(0, edges, often).tolist():
                for way, reference in (("up", f"peaks#{row}"), ("down", f"frames#{row // 3}")):
                    begin = time.perf_counter()
                    opened.row_lineage(reference, down=way == "down")
                    found[way].append(1e3 * (time.perf_counter() - begin))
    return {"first": statistics.median(firsts), **{way: statistics.median(times) for way, times in found.items()}}


def measure(folder: Path, edges: int, often: int) -> dict[str, dict[str, float]]:
    """Measure each sort of edges."""
    random = np.random.default_rng(1)
    sorts: dict[str, Callable[[int, int], Any] | None] = {
        "one to one": None,
        "three of each frame": lambda first, end: np.arange(first, end) // 3,
        "at random": lambda first, end: random.integers(0, edges, end - first),
    }
    # The rows alone, merged twice, since the first time imports what it needs.
    bare = []
    for name in ("warm", "bare"):
        record(folder / name, edges, None)
        bare.append(merge(folder / name, folder / f"{name}.duckdb"))
    size = (folder / "bare.duckdb").stat().st_size
    found = {}
    for name, parents in sorts.items():
        logs, store = folder / f"logs {name}", folder / f"{name}.duckdb"
        taken, held = record(logs, edges, parents)
        merging = merge(logs, store) - min(bare)
        found[name] = {
            "recorded_per_second": edges / taken,
            "log_bytes": held / edges,
            "merged_per_second": edges / merging if parents is not None and merging > 0 else float("nan"),
            "store_bytes": max(0, store.stat().st_size - size) / edges,
            **ask(store, edges, often=often),
        }
    return found


def main() -> None:
    """Measure, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests: noisy")
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    edges = 300_000 if options.quick else options.edges
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), edges, 3 if options.quick else 20)
    lines = [
        f"| {edges:,} edges | recorded, 1e6/s | log, B | merged, 1e6/s | store, B | first, ms | up, ms | down, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['recorded_per_second'] / 1e6:,.1f} | {row['log_bytes']:.2f} | "
            f"{row['merged_per_second'] / 1e6:,.2f} | {row['store_bytes']:.2f} | {row['first']:,.1f} | "
            f"{row['up']:,.1f} | {row['down']:,.1f} |"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    about = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "edges": edges}
    (options.out / "row_edges.json").write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    text = "\n".join(lines) + "\n"
    (options.out / "row_edges.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
