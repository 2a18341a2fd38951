"""Zero suppression: the compiled kernel and its slow twin say the same, for every dtype and threshold."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from braid_hpc.kernels import compiled
from braid_hpc.kernels.threshold import Kept, suppress, suppress_slow

DTYPES = ["uint8", "int16", "uint16", "uint64", "float32", "float64"]
STACKS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=5))
)
THRESHOLDS = st.one_of(
    st.integers(-300, 70_000), st.floats(-300, 300), st.sampled_from([2**53 + 1, 2**64, 1e300, float("inf"), -1e300])
)


def assert_same(one: Kept, other: Kept) -> None:
    """Hold two results to be equal in every column, dtype and byte."""
    assert one.shape == other.shape
    for name in ("frame", "row", "column", "value"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert a.tobytes() == b.tobytes(), name


@given(frames=STACKS, threshold=THRESHOLDS)
@settings(deadline=None)
def test_twin_and_kernel_agree(frames: np.ndarray[Any, Any], threshold: float) -> None:
    """The kernel keeps the same pixels in the same order as its twin, NaN and extreme thresholds included."""
    assert_same(suppress(frames, threshold), suppress_slow(frames, threshold))


@given(frames=npst.arrays(np.uint16, (2, 4, 6)), threshold=st.integers(0, 70_000))
@settings(deadline=None)
def test_nothing_is_lost_or_invented(frames: np.ndarray[Any, Any], threshold: int) -> None:
    """The dense stack is the input with everything under the threshold zero, and the counts add up."""
    kept = suppress(frames, threshold)
    assert np.array_equal(kept.dense(), np.where(frames >= threshold, frames, 0))
    assert kept.kept == np.count_nonzero(frames >= threshold)
    assert kept.kept + kept.dropped == frames.size


def test_big_endian_and_strided_frames() -> None:
    """Frames as HDF5 hands them over, big-endian or every second row, are taken, and come back native."""
    frames = np.arange(48, dtype=">u2").reshape(2, 4, 6)[:, ::2]
    kept = suppress(frames, 20)
    assert kept.value.dtype == np.dtype("uint16")
    assert_same(kept, suppress_slow(frames, 20))


def test_large_integers_are_compared_exactly() -> None:
    """A threshold beyond 2**53 is not rounded to a float on the way."""
    frames = np.array([[[2**53, 2**53 + 1]]], dtype=np.uint64)
    assert suppress(frames, 2**53 + 1).column.tolist() == [1]


@pytest.mark.parametrize("function", [suppress, suppress_slow])
@pytest.mark.parametrize(
    ("frames", "threshold", "error", "words"),
    [
        (np.zeros((2, 2)), 1, ValueError, r"shape \(frames, rows, columns\), not \(2, 2\)"),
        (np.zeros((1, 2, 2), dtype=complex), 1, TypeError, "not complex128"),
        (np.zeros((1, 2, 2), dtype=bool), 1, TypeError, "not bool"),
        (np.zeros((1, 2, 2), dtype=np.float16), 1, TypeError, "not float16"),
        (np.zeros((1, 2, 2)), float("nan"), ValueError, "threshold is NaN"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    function: Any, frames: np.ndarray[Any, Any], threshold: float, error: type[Exception], words: str
) -> None:
    """What cannot be suppressed is refused by the kernel and by its twin alike."""
    with pytest.raises(error, match=words):
        function(frames, threshold)


def test_numba_is_imported_by_the_first_call_only() -> None:
    """Importing the kernels, and calling a slow twin, leaves numba alone."""
    program = (
        "import sys; from braid_hpc.kernels import label, threshold;"
        "label.label_slow(threshold.suppress_slow([[[1, 2]]], 2));"
        "assert 'numba' not in sys.modules; assert 'kernels' not in sys.modules;"
        "threshold.suppress([[[1, 2]]], 2); assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_without_numba_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is one sentence at the first use, with the command that brings it."""
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'braid_hpc\[kernels\]'"):
        compiled(abs)(-1)
