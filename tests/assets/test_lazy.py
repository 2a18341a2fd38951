"""Lazy arrays index as NumPy does, and read only what they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from braid_hpc.assets import LazyArray
from braid_hpc.assets import lazy as module
from braid_hpc.vocabulary.errors import InvalidInputError


class Counted:
    """Rows in memory; it notes how much of them was read."""

    def __init__(self, values: Any) -> None:
        self.values, self.read_elements = values, 0

    def read(self, rows: Any, inner: tuple[slice, ...]) -> Any:
        assert list(rows) == sorted(set(rows))
        found = self.values[rows][(slice(None), *inner)]
        self.read_elements += found.size
        return found


def lazy(values: Any, **options: Any) -> tuple[LazyArray, Counted]:
    source = Counted(values)
    numbers = np.arange(1, len(values) + 1)
    return LazyArray(source, shape=values.shape, dtype=values.dtype, seq_nums=numbers, **options), source


@st.composite
def arrays_and_indices(draw: Any) -> tuple[Any, Any]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    basic = hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
    rows = st.lists(st.integers(-shape[0], shape[0] - 1), max_size=8) if shape[0] else st.just([])
    masks = st.lists(st.booleans(), min_size=shape[0], max_size=shape[0]).map(lambda mask: np.array(mask, bool))
    chosen = st.one_of(rows.map(lambda each: np.array(each, int)), masks)
    return values, draw(st.one_of(basic, chosen))


@given(arrays_and_indices())
def test_indexing_is_that_of_numpy(case: tuple[Any, Any]) -> None:
    values, index = case
    array, source = lazy(values)
    expected, found = values[index], array[index]
    np.testing.assert_array_equal(found, expected)
    assert np.shape(found) == np.shape(expected)
    if not isinstance(index, np.ndarray) and np.size(expected):
        # Of an axis that is indexed with a step all between is read, but for rows.
        steps = [each.step for each in (index if isinstance(index, tuple) else (index,)) if isinstance(each, slice)]
        if all(abs(step or 1) == 1 for step in steps):
            assert source.read_elements == np.size(expected)


@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=9), st.integers(1, 12), st.integers(1, 400))
def test_blocks_are_the_whole_in_order_and_never_larger(shape: tuple[int, ...], chunk_rows: int, block: int) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    array, _ = lazy(values, chunk_rows=chunk_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        blocks = list(array.blocks())
        assert tuple(len(each) for _, each in blocks) == array.chunks[0]
        np.testing.assert_array_equal(np.concatenate([each for _, each in blocks]), values)
        assert all(each.nbytes <= block or len(each) == 1 for _, each in blocks)
        np.testing.assert_array_equal(array.to_dask().compute(scheduler="sync"), values)


def test_what_numpy_refuses_is_refused_and_what_is_not_offered_is_said() -> None:
    array, _ = lazy(np.arange(24).reshape(2, 3, 4))
    index: Any
    for index in (2, -3, (0, 3), (0, 0, 0, 0), (..., ...), np.array([2]), np.array([True])):
        with pytest.raises(IndexError):
            array[index]
    for index in ((0, [1, 2]), (slice(None), np.array([0])), np.array([[0, 1]])):
        with pytest.raises(InvalidInputError, match=r"ask numpy.asarray"):
            array[index]
    assert np.asarray(array, "float32").dtype == np.float32
    assert (array.ndim, array.size, array.nbytes, len(array)) == (3, 24, 192, 2)
    assert repr(array) == "<LazyArray  (2, 3, 4) int64>"
    with pytest.raises(ValueError, match="makes a copy"):
        np.array(array, copy=False)
    assert [row.sum() for row in array] == [66, 210]
