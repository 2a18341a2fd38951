"""What it costs to record a batch of a model, in microseconds of the caller.

    python benchmarks/inference.py [--quick] [--out DIR]

A model of fixed duration (it spins for 0.15 ms, or for 10 ms) is called bare and recorded in turn, with batches of
1,024 samples of 16 float32 each and two columns of outputs; the row ``a linear layer`` is a product of matrices.
Every figure is the median over the calls of the rounds. Written are ``inference.json`` and ``inference.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import braid_hpc as braid
from braid_hpc.collectors.inference import record_inference

ROWS = 1024


def spinning(nanoseconds: int) -> Callable[[Any], Any]:
    """Make a model that takes so long."""
    weights = np.random.default_rng(1).random((16, 2), "f4")

    def predict(batch: Any) -> Any:
        end = time.perf_counter_ns() + nanoseconds
        result = batch @ weights
        while time.perf_counter_ns() < end:
            pass
        return result

    return predict


def median(predict: Callable[[Any], Any], batch: Any, calls: int) -> float:
    """Return microseconds."""
    taken = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        predict(batch)
        taken.append(time.perf_counter_ns() - begin)
    return statistics.median(taken) / 1e3


def measure(rounds: int, calls: int, folder: Path) -> dict[str, dict[str, float]]:
    """Measure all rows in turn, round by round."""
    batch = np.random.default_rng(2).random((ROWS, 16), "f4")
    found: dict[str, dict[str, list[float]]] = {}
    with braid.job("bench", log_dir=folder) as run:
        model = run.model("net", digest="blake3:00")
        for _ in range(rounds):
            for name, duration in (("a linear layer", 0), ("0.15 ms", 150_000), ("10 ms", 10_000_000)):
                predict = spinning(duration)
                row = found.setdefault(name, {"bare": [], "recorded": [], "without digests": []})
                often = max(5, calls // (20 if duration > 1_000_000 else 1))
                for kind, given in (("recorded", True), ("without digests", False)):
                    recorded = record_inference(run, predict, model=model, name="net", digest_inputs=given)
                    row[kind].append(median(recorded, batch, often))
                row["bare"].append(median(predict, batch, often))
    return {name: {kind: statistics.median(each) for kind, each in row.items()} for name, row in found.items()}


def main() -> None:
    """Measure, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a second, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(1 if options.quick else 5, 20 if options.quick else 400, Path(folder))
    lines = ["| a batch of 1,024 | bare, µs | recorded, µs | more | without digests, µs |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        more = row["recorded"] / row["bare"] - 1
        lines.append(
            f"| {name} | {row['bare']:,.1f} | {row['recorded']:,.1f} | {more:.1%} | {row['without digests']:,.1f} |"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "inference.json").write_text(json.dumps(rows, indent=1) + "\n")
    text = "\n".join(lines) + "\n"
    (options.out / "inference.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
