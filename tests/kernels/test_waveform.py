"""Gating of waveforms: the compiled kernel and its slow twin say the same, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from braid_hpc.kernels.waveform import gate, gate_slow

STACKS = npst.arrays(np.uint16, npst.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=5))


@given(
    waveforms=STACKS,
    base=st.integers(-500, 70_000),
    threshold=st.integers(1, 70_000),
    window=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    shift=st.integers(0, 31),
)
@settings(deadline=None)
def test_twin_and_kernel_agree(
    waveforms: np.ndarray[Any, Any], base: int, threshold: int, window: tuple[int, int], shift: int
) -> None:
    """For all levels, windows and shifts; sums that do not fit eight bits are 255 in both."""
    begin, end = sorted(min(side, waveforms.shape[2]) for side in window)
    pedestal = np.arange(waveforms.shape[1], dtype=np.int32) + base
    fast = gate(waveforms, pedestal, threshold, (begin, end), shift)
    slow = gate_slow(waveforms, pedestal, threshold, (begin, end), shift)
    assert fast.dtype == slow.dtype == np.uint8
    assert fast.shape == slow.shape == (waveforms.shape[0], 2 * waveforms.shape[1])
    assert fast.tobytes() == slow.tobytes()


def test_a_sum_by_hand() -> None:
    """Two channels: what reaches the threshold counts, inside and outside apart."""
    shots = np.array([[[10, 30, 60, 10], [0, 0, 29, 31]]], dtype=np.uint16)
    assert gate(shots, np.array([10, 0], dtype=np.int32), 20, (1, 3), 0).tolist() == [[70, 29, 0, 31]]


@pytest.mark.parametrize("function", [gate, gate_slow])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"waveforms": np.zeros((1, 2, 3))}, "uint16 of shape"),
        ({"waveforms": np.zeros((2, 3), dtype=np.uint16)}, r"not uint16 of shape \(2, 3\)"),
        ({"pedestal": np.zeros(3, dtype=np.int32)}, "2 channels have as many pedestals"),
        ({"threshold": 0}, "at least 1 count"),
        ({"window": (2, 4)}, "not within the 3 samples"),
        ({"window": (2, 1)}, "not within the 3 samples"),
        ({"shift": 32}, "from 0 to 31 bits"),
    ],
)
def test_bad_input_is_one_clear_sentence(function: Any, change: dict[str, Any], words: str) -> None:
    """The kernel and its twin refuse alike what the compiled loop could not take."""
    good = {
        "waveforms": np.zeros((1, 2, 3), dtype=np.uint16),
        "pedestal": np.zeros(2, dtype=np.int32),
        "threshold": 1,
        "window": (0, 3),
        "shift": 0,
    }
    with pytest.raises(ValueError, match=words):
        function(**good | change)
