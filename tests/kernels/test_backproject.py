"""Back projection: the compiled kernel and its slow twin agree, and a filtered one gives the slice back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from braid_hpc.kernels.backproject import back_project, back_project_slow

FINITE = st.floats(-1e3, 1e3, width=32)


@given(
    sinogram=npst.arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(1, 7)), elements=FINITE), data=st.data()
)
@settings(deadline=None)
def test_twin_and_kernel_agree(sinogram: np.ndarray[Any, Any], data: st.DataObject) -> None:
    """For any angles, to rounding; where a ray hits exactly the rim of the detector, too."""
    some = st.one_of(st.sampled_from([0.0, np.pi / 2, np.pi]), st.floats(-4, 4))
    angles = np.array(data.draw(st.lists(some, min_size=len(sinogram), max_size=len(sinogram))), dtype=np.float64)
    fast, slow = back_project(sinogram, angles), back_project_slow(sinogram, angles)
    assert fast.shape == (sinogram.shape[1],) * 2
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-9)


def test_one_ray_along_the_columns_and_one_along_the_rows() -> None:
    """At 0 a projection is laid over all rows, at a right angle over all columns."""
    ray = np.array([[0.0, 0.0, 1.0, 0.0, 0.0]])
    along = back_project(ray, np.array([0.0]))
    np.testing.assert_allclose(along, np.pi * np.tile(ray, (5, 1)))
    np.testing.assert_allclose(back_project(ray, np.array([np.pi / 2])), along.T, atol=1e-12)


@pytest.mark.parametrize("function", [back_project, back_project_slow])
@pytest.mark.parametrize(("sinogram", "angles"), [((3, 4), (2,)), ((3,), (3,)), ((3, 4), (3, 1))])
def test_another_form_is_one_clear_sentence(function: Any, sinogram: Any, angles: Any) -> None:
    with pytest.raises(ValueError, match="a projection for each angle"):
        function(np.zeros(sinogram), np.zeros(angles))
