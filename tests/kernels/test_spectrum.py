"""Spectra: the compiled kernel and its slow twin agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from braid_hpc.kernels.spectrum import spectrum, spectrum_slow

FINITE = st.floats(-50, 50)
LINES = st.integers(0, 6).flatmap(lambda n: npst.arrays(np.float64, (2, n), elements=FINITE))


@given(
    lines=LINES,
    axis=npst.arrays(np.float64, st.integers(0, 8), elements=FINITE),
    width=st.tuples(st.floats(0.05, 5), st.floats(0, 0.2)),
)
@settings(deadline=None)
def test_twin_and_kernel_agree(
    lines: np.ndarray[Any, Any], axis: np.ndarray[Any, Any], width: tuple[float, float]
) -> None:
    fast, slow = (function(lines[0], lines[1], axis, width) for function in (spectrum, spectrum_slow))
    assert fast.shape == (lines.shape[1], axis.size)
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-12)


def test_the_integral_is_the_weight() -> None:
    axis = np.linspace(-20, 40, 6001)
    found = spectrum(np.array([3.0, 10.0]), np.array([2.0, 0.5]), axis, (0.4, 0.05))
    np.testing.assert_allclose(found.sum(axis=1) * 0.01, [2.0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(axis[found.argmax(axis=1)], [3.0, 10.0], atol=0.01)


@pytest.mark.parametrize("function", [spectrum, spectrum_slow])
@pytest.mark.parametrize(
    ("energy", "weight", "axis", "width", "words"),
    [
        (2, 3, (4,), (1.0, 0.0), "are of one length"),
        (2, 2, (4, 1), (1.0, 0.0), "the axis is a line"),
        (2, 2, (4,), (0.0, 0.0), "the resolution is positive"),
        (2, 2, (4,), (1.0, -0.1), "does not shrink"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    function: Any, energy: int, weight: int, axis: Any, width: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        function(np.zeros(energy), np.zeros(weight), np.zeros(axis), width)
