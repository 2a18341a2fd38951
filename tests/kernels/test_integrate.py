"""Integration of spots: the compiled kernel and its slow twin say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from braid_hpc.kernels.integrate import integrate, integrate_slow

IMAGES = npst.arrays(np.uint16, npst.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9))


@given(images=IMAGES, half=st.integers(0, 2), border=st.integers(1, 2), data=st.data())
@settings(deadline=None)
def test_twin_and_kernel_agree(images: np.ndarray[Any, Any], half: int, border: int, data: st.DataObject) -> None:
    """Places outside the image and at its rim included."""
    image = st.integers(0, len(images) - 1)
    place = st.tuples(image, st.integers(-2, images.shape[1] + 1), st.integers(-2, images.shape[2] + 1))
    places = np.array(data.draw(st.lists(place, max_size=4)), dtype=np.int64).reshape(-1, 3)
    fast, slow = (function(images, places, half=half, border=border) for function in (integrate, integrate_slow))
    for name in ("intensity", "sigma", "background"):
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=1e-12, err_msg=name)


def test_a_spot_on_a_slope_of_counts() -> None:
    """What is above the median of the frame counts, and a hot pixel in the frame moves that by nothing."""
    image = np.full((1, 11, 11), 7, dtype=np.uint16)
    image[0, 4:7, 4:7] += 20
    image[0, 2, 2] = 60_000
    found = integrate(image, np.array([[0, 5, 5], [0, 3, 5]]), half=1, border=2)
    assert found.intensity[0] == 9 * 20
    assert found.background[0] == 7
    assert found.sigma[0] == pytest.approx(np.sqrt(9 * 27 + 81 * 7 / 40 * np.pi / 2))
    assert not np.isnan(found.intensity[1])


def test_a_spot_at_the_rim_is_not_measured() -> None:
    found = integrate(np.ones((1, 9, 9), dtype=np.uint16), np.array([[0, 3, 4], [0, 4, 4], [0, 4, 5]]))
    assert np.isnan(found.intensity).tolist() == np.isnan(found.sigma).tolist() == [True, False, True]


@pytest.mark.parametrize("function", [integrate, integrate_slow])
@pytest.mark.parametrize(
    ("images", "places", "sizes", "words"),
    [
        (np.zeros((2, 2), dtype=np.uint16), np.zeros((0, 3), dtype=int), {}, "not uint16"),
        (np.zeros((1, 2, 2)), np.zeros((0, 3), dtype=int), {}, "not float64"),
        (np.zeros((1, 2, 2), dtype=np.uint16), np.zeros((1, 2), dtype=int), {}, r"shape \(spots, 3\)"),
        (np.zeros((1, 2, 2), dtype=np.uint16), np.zeros((1, 3)), {}, "whole numbers"),
        (np.zeros((1, 2, 2), dtype=np.uint16), np.array([[1, 0, 0]]), {}, "not among the 1"),
        (np.zeros((1, 2, 2), dtype=np.uint16), np.array([[-1, 0, 0]]), {}, "not among the 1"),
        (np.zeros((1, 2, 2), dtype=np.uint16), np.zeros((1, 3), dtype=int), {"border": 0}, "cannot be"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    function: Any, images: Any, places: Any, sizes: dict[str, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        function(images, places, **sizes)
