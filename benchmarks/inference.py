"""What it costs to record a batch of a model, in microseconds of the caller and as a part of the model's own time.

    python benchmarks/inference.py [--quick] [--out DIR]

A model is called bare and recorded in turn, call by call, with batches of 1,024 samples of 16 float32 each and two
columns of outputs. Two models take a fixed time (they spin for 0.15 ms, or for 10 ms), one is a product of matrices,
and where ONNX Runtime is installed (``make test-models`` makes such an environment) one is a session of it.

A round has so many calls of each kind. Of these are taken the median of what passed, and the mean of the CPU time of
the caller's thread, in which what is done once in a while (a new tail of the log) has its part, and what else the
machine does has none. The models of fixed time spin for so much CPU time. What recording adds, and its ratio to the
bare call, is of the CPU time of one round. Every figure is the median over the rounds, ``best`` is the lowest one.
Recorded are: as it comes (inputs digested by blake3, as records are), with ``digest_inputs="xxh3"``, and with
``digest_inputs=False``. Written are ``inference.json`` and ``inference.md``.
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
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import braid_hpc as braid
from braid_hpc.collectors.inference import record_inference

ROWS = 1024
#: Ways to record, and what they are given.
WAYS: dict[str, dict[str, Any]] = {"blake3": {}, "xxh3": {"digest_inputs": "xxh3"}, "none": {"digest_inputs": False}}


def spinning(nanoseconds: int) -> Callable[[Any], Any]:
    """Make a model that takes so long."""
    weights = np.random.default_rng(1).random((16, 2), "f4")

    def predict(batch: Any) -> Any:
        end = time.thread_time_ns() + nanoseconds
        result = batch @ weights
        while time.thread_time_ns() < end:
            pass
        return result

    return predict


def network(hidden: int) -> Callable[[Any], Any]:
    """Make a session of ONNX Runtime, of one hidden layer and one thread."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    chosen = np.random.default_rng(1)
    weights = {"a": chosen.random((16, hidden), "f4"), "b": chosen.random((hidden, 2), "f4")}
    nodes = [("MatMul", ["x", "a"], ["h"]), ("Relu", ["h"], ["r"]), ("MatMul", ["r", "b"], ["y"])]
    graph = helper.make_graph(
        [helper.make_node(*node) for node in nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"x": batch})


def round_of(predictions: dict[str, Callable[[Any], Any]], batch: Any, calls: int) -> dict[str, float]:
    """Call all of them in turn; return microseconds of each: the median, and the mean of the CPU time."""
    taken: dict[str, list[int]] = {kind: [] for kind in predictions}
    used = dict.fromkeys(predictions, 0)
    for _ in range(calls):
        for kind, predict in predictions.items():
            cpu, begin = time.thread_time_ns(), time.perf_counter_ns()
            predict(batch)
            taken[kind].append(time.perf_counter_ns() - begin)
            used[kind] += time.thread_time_ns() - cpu
    medians = {kind: statistics.median(each) / 1e3 for kind, each in taken.items()}
    return medians | {f"{kind} cpu": each / calls / 1e3 for kind, each in used.items()}


def measure(rounds: int, calls: int, folder: Path) -> dict[str, dict[str, float]]:
    """Measure all models in turn, round by round."""
    batch = np.random.default_rng(2).random((ROWS, 16), "f4")
    models = {"a linear layer": spinning(0), "0.15 ms": spinning(150_000), "10 ms": spinning(10_000_000)}
    if find_spec("onnxruntime") is not None and find_spec("onnx") is not None:
        models["ONNX, 16 x 48 x 2"] = network(48)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    with braid.job("bench", log_dir=folder) as run:
        model = run.model("net", digest="blake3:00")
        kinds = {
            name: {
                "bare": predict,
                **{
                    way: record_inference(run, predict, model=model, name="net", **about) for way, about in WAYS.items()
                },
            }
            for name, predict in models.items()
        }
        for predictions in kinds.values():
            round_of(predictions, batch, 3)
        for _ in range(rounds):
            for name, predictions in kinds.items():
                found[name].append(round_of(predictions, batch, max(3, calls // (20 if name == "10 ms" else 1))))
    return {name: figures(each) for name, each in found.items()}


def figures(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the medians of the rounds: of what it takes, and of what recording adds to it."""
    row = {kind: statistics.median(each[kind] for each in rounds) for kind in rounds[0]}
    for way in WAYS:
        row[f"{way} ratio"] = statistics.median(each[f"{way} cpu"] / each["bare cpu"] - 1 for each in rounds)
        more = [each[f"{way} cpu"] - each["bare cpu"] for each in rounds]
        row |= {f"{way} more": statistics.median(more), f"{way} best": min(more)}
    return row


def main() -> None:
    """Measure, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a second, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(1 if options.quick else 15, 20 if options.quick else 200, Path(folder))
    lines = [f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; microseconds", ""]
    lines += [f"| a batch of 1,024 | bare | {' | '.join(f'{way}: all, added CPU (best)' for way in WAYS)} |"]
    lines += ["|---|---|---|---|---|"]
    for name, row in rows.items():
        cells = [
            f"{row[way]:,.0f}, +{row[f'{way} more']:.0f} ({row[f'{way} best']:.0f}), {row[f'{way} ratio']:+.2%}"
            for way in WAYS
        ]
        lines.append(f"| {name} | {row['bare']:,.0f} | {' | '.join(cells)} |")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "inference.json").write_text(json.dumps(rows, indent=1) + "\n")
    text = "\n".join(lines) + "\n"
    (options.out / "inference.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
