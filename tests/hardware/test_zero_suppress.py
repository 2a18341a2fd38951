"""A block of Verilog, simulated, sends frames; decoded and recorded, they are word by word what its model says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.collectors.decisions import decided
from braid_hpc.collectors.fpga import Firmware, FPGACollector
from tests.hardware.model import (
    CAPTURED,
    CAPTURED_SAMPLES,
    CAPTURED_SEED,
    CAPTURED_STALL,
    FIRMWARE,
    HERE,
    MASK,
    SAMPLES,
    THRESHOLD,
    make_samples,
    model,
    simulate,
)

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="needs Icarus Verilog: apt-get install iverilog"
)


def record(data: bytes, folder: Path) -> dict[str, int]:
    """Record what the block sent, and give what was lost of it."""
    (folder / "sent.bin").write_bytes(data)
    registers = {"threshold": THRESHOLD, "mask": f"{MASK:#x}"}
    with braid.job("zs", log_dir=folder / "logs") as run:
        training = run.data("calibration", digest="sha256:01")
        chosen = run.model("thresholds", digest="sha256:02", derived_from=training)
        firmware = Firmware(FIRMWARE, "zs", path=HERE / "zero_suppress.v", model=chosen, registers=registers)
        with FPGACollector(run, "zs", firmware=firmware) as fpga:
            fpga.collect(folder / "sent.bin")
    braid.compact(folder / "logs", folder / "prov.duckdb")
    return fpga.losses.counts


def check_words(store: Any, samples: NDArray[np.int16]) -> list[int]:
    """Compare every frame with the model, and give the numbers of those that are not there."""
    expected = model(samples)
    words = store.table("zs_words")
    channels, values = words["channel"], words["sample"]
    seen = set()
    for row in store.table("zs_frames"):
        window = expected[row["frame"]]
        at = slice(row["row"], row["row"] + row["words"]) if row["words"] else slice(0)
        assert (channels[at], values[at]) == (window.channels, window.samples), row["frame"]
        assert (row["kept"], row["dropped"]) == (window.kept, SAMPLES - window.kept)
        assert bool(row["flags"] & 1) == window.overflow
        assert bool(row["flags"] & 2) == (row["frame"] > 0 and row["frame"] - 1 not in seen)
        assert row["first"] == row["frame"] * SAMPLES
        seen.add(row["frame"])
    return sorted(set(range(len(expected))) - seen)


def check(data: bytes, samples: NDArray[np.int16], folder: Path) -> list[int]:
    """Record, compare, and hold the losses to be those that the model expects."""
    lost = record(data, folder)
    expected = model(samples)
    with braid.open(folder / "prov.duckdb") as store:
        missing = check_words(store, samples)
        there = [number for number in range(len(expected)) if number not in missing]
        flagged = [n for n in there if expected[n].overflow or n - 1 in missing]
        inside = [number for number in missing if number < there[-1]]
        assert lost == {
            reason: count
            for reason, count in {
                "overflow": len(flagged),
                "kept words not sent": sum(expected[n].kept - len(expected[n].channels) for n in there),
                "frames lost": len(inside),
            }.items()
            if count
        }
        for number in there[:3]:
            window = expected[number]
            dropped = next(c for c in range(SAMPLES) if c not in window.channels and not window.overflow)
            (answer,) = decided(store, "zs", number * SAMPLES + dropped)
            assert (answer.frame, answer.kept, answer.firmware) == (number, False, "firmware:zs@1")
            assert answer.registers["threshold"] == THRESHOLD
            assert (answer.models, answer.training) == (["model:thresholds@1"], ["data:calibration@1"])
            if window.channels:
                (answer,) = decided(store, "zs", number * SAMPLES + window.channels[0])
                assert answer.values == [{"channel": window.channels[0], "sample": window.samples[0]}]
    return missing


def test_what_was_captured_is_what_the_model_says(tmp_path: Path) -> None:
    """A committed simulation, for machines without a simulator."""
    samples = make_samples(CAPTURED_SAMPLES, CAPTURED_SEED)
    assert check(CAPTURED.read_bytes(), samples, tmp_path)


@needs_icarus
def test_what_is_simulated_is_what_the_model_says(tmp_path: Path) -> None:
    samples = make_samples(32_000, 1)
    assert check(simulate(samples, tmp_path), samples, tmp_path) == []


@needs_icarus
def test_a_slow_receiver_loses_frames_and_nothing_else(tmp_path: Path) -> None:
    samples = make_samples(16_000, 2)
    missing = check(simulate(samples, tmp_path, stall=40), samples, tmp_path)
    assert len(missing) > 5


@needs_icarus
def test_the_capture_is_of_this_block(tmp_path: Path) -> None:
    """Whoever changes the block renews it: `python -m tests.hardware.model`."""
    samples = make_samples(CAPTURED_SAMPLES, CAPTURED_SEED)
    assert simulate(samples, tmp_path, stall=CAPTURED_STALL) == CAPTURED.read_bytes()
