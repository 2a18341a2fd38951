"""Labelling: the compiled kernel and its slow twin find the same peaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from braid_hpc.kernels.label import Labelled, label, label_slow
from braid_hpc.kernels.threshold import Kept, suppress

# few levels, so that about half the pixels are kept and groups of many forms arise
STACKS = npst.arrays(
    np.uint16, npst.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=8), elements=st.integers(0, 4)
)


def assert_same(one: Labelled, other: Labelled) -> None:
    """Hold two results to be equal: labels and counts exactly, centres to rounding."""
    for name in ("label", "frame", "size"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype == np.int32, name
        assert np.array_equal(a, b), name
    for name in ("row", "column", "mass"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype == np.float64, name
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=name)


@given(frames=STACKS, pedestal=st.sampled_from([0.0, 1.5, 2.0, 9.0]))
@settings(deadline=None)
def test_twin_and_kernel_agree(frames: np.ndarray[Any, Any], pedestal: float) -> None:
    """Union-find and flood fill number the same groups the same way and weigh them alike."""
    kept = suppress(frames, 2)
    assert_same(label(kept, pedestal), label_slow(kept, pedestal))


@given(frames=STACKS)
@settings(deadline=None)
def test_labels_part_the_pixels(frames: np.ndarray[Any, Any]) -> None:
    """Two pixels that touch share a label, every label has a pixel, and sizes add up to the pixels kept."""
    kept = suppress(frames, 2)
    peaks = label(kept)
    assert peaks.size.sum() == kept.kept
    assert np.array_equal(np.unique(peaks.label), np.arange(peaks.size.size))
    for axis in (1, 2):
        numbers = np.full(kept.shape, -1)
        numbers[kept.frame, kept.row, kept.column] = peaks.label
        here, there = np.moveaxis(numbers, axis, 0)[:-1], np.moveaxis(numbers, axis, 0)[1:]
        both = (here >= 0) & (there >= 0)
        assert np.array_equal(here[both], there[both])


@pytest.mark.parametrize("function", [label, label_slow])
def test_forms_that_need_a_late_union(function: Any) -> None:
    """A W, whose arms meet only at the bottom, is one peak; the same place in the next frame is another."""
    w = np.array([[1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [0, 1, 0, 1, 0]], dtype=np.uint16)
    peaks = function(suppress(np.stack([w, w]), 1))
    assert peaks.size.tolist() == [7, 7]
    assert peaks.frame.tolist() == [0, 1]
    assert peaks.column.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("function", [label, label_slow])
def test_a_peak_under_its_pedestal_has_no_centre(function: Any) -> None:
    """Where nothing is above the pedestal the mass is 0 and the centre is NaN, not an invented place."""
    peaks = function(suppress(np.full((1, 1, 2), 5, dtype=np.uint16), 5), pedestal=9)
    assert peaks.mass.tolist() == [0.0]
    assert np.isnan(peaks.row).all()
    assert np.isnan(peaks.column).all()


@pytest.mark.parametrize("function", [label, label_slow])
@pytest.mark.parametrize(
    ("rows", "words"),
    [([1, 0], "raster order"), ([0, 0], "raster order"), ([0, 7], "outside the 2 rows"), ([-1, 0], "outside")],
)
def test_pixels_out_of_place_are_refused(function: Any, rows: list[int], words: str) -> None:
    """Unsorted, doubled or outlying pixels are an error before any loop trusts them."""
    zero = np.zeros(2, dtype=np.int32)
    kept = Kept(zero, np.array(rows, dtype=np.int32), zero, np.ones(2), (1, 2, 1))
    with pytest.raises(ValueError, match=words):
        function(kept)
