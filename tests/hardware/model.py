"""The zero suppression block in Python, its input, and its simulation.

    python -m tests.hardware.model

simulates it with Icarus and writes `captured.bin`, which the tests decode where there is no simulator.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
SAMPLES, ROOM, FIRMWARE = 64, 16, 0x102
THRESHOLD, MASK = 40, 0x8000_0000_0000_0001
#: The simulation that is committed: short, with overflows and a receiver that makes frames be lost.
CAPTURED = HERE / "captured.bin"
CAPTURED_SAMPLES, CAPTURED_SEED, CAPTURED_STALL = 4096, 7, 40


@dataclass(frozen=True)
class Window:
    """What the block makes of one window of samples."""

    channels: list[int]
    samples: list[int]
    kept: int
    overflow: bool


def make_samples(count: int, seed: int) -> NDArray[np.int16]:
    """Noise below the threshold, pulses above it, here and there a window full of them."""
    chosen = np.random.default_rng(seed)
    samples = chosen.normal(0, 12, count)
    pulses = chosen.random(count) < 0.05
    bursts = np.repeat(chosen.random(-(-count // SAMPLES)) < 0.05, SAMPLES)[:count]
    samples[pulses | bursts] += chosen.integers(20, 900, count)[pulses | bursts]
    samples[:: 8 * SAMPLES + 3] = THRESHOLD
    return samples.astype(np.int16)


def model(samples: NDArray[np.int16], *, threshold: int = THRESHOLD, mask: int = MASK) -> list[Window]:
    """Say what each whole window becomes."""
    open_channels = np.array([not mask >> channel & 1 for channel in range(SAMPLES)])
    windows = []
    for start in range(0, len(samples) - SAMPLES + 1, SAMPLES):
        window = samples[start : start + SAMPLES]
        (kept,) = np.nonzero((window >= threshold) & open_channels)
        sent = kept[:ROOM]
        windows.append(Window(sent.tolist(), window[sent].tolist(), len(kept), len(kept) > ROOM))
    return windows


def simulate(samples: NDArray[np.int16], folder: Path, *, stall: int = 0) -> bytes:
    """Return what the block sends, by Icarus Verilog."""
    program, given, sent = folder / "bench.vvp", folder / "samples.hex", folder / "frames.bin"
    sources = [str(HERE / name) for name in ("zero_suppress.v", "bench.v")]
    subprocess.run(["iverilog", "-g2005", "-o", str(program), *sources], check=True, timeout=60)
    given.write_text("\n".join(f"{value & 0xFFFF:04x}" for value in samples.tolist()))
    arguments = {"samples": given, "count": len(samples), "frames": sent, "threshold": THRESHOLD, "mask": f"{MASK:x}"}
    words = [f"+{name}={value}" for name, value in {**arguments, "stall": stall}.items()]
    subprocess.run(["vvp", str(program), *words], check=True, timeout=100, cwd=folder)
    return sent.read_bytes()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        chosen = make_samples(CAPTURED_SAMPLES, CAPTURED_SEED)
        CAPTURED.write_bytes(simulate(chosen, Path(folder), stall=CAPTURED_STALL))
