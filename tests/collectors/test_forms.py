"""Kinds of outputs that were seen before give the columns that a first look would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.collectors import forms
from braid_hpc.collectors.forms import Forms
from braid_hpc.collectors.outputs import columns_of
from braid_hpc.vocabulary.errors import InvalidInputError

DTYPES = ["f4", "f8", "f2", ">f4", "i8", "u1", "?", "U3", "O", "c8", [("x", "f4"), ("y", "i2")]]


def filled(dtype: Any, shape: tuple[int, ...], order: Any) -> Any:
    """Make an array in which no two numbers are the same, where that can be."""
    array = np.zeros(shape, dtype, order=order)
    if array.dtype.kind in "fiu":
        array[...] = np.arange(array.size).reshape(shape)
    return array


ARRAYS = st.builds(
    filled,
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), min_size=0, max_size=3).map(tuple),
    st.sampled_from("CF"),
)
RESULTS = st.one_of(
    ARRAYS,
    st.lists(ARRAYS, max_size=3),
    st.lists(ARRAYS, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["a", "b", "batch"]), ARRAYS, max_size=3),
    st.lists(st.floats(allow_nan=False), max_size=3),
    st.none(),
)


def outcome(work: Any, *given: Any) -> Any:
    """Return columns as plain values, or what was said against them."""
    try:
        columns = work(*given)
    except (InvalidInputError, TypeError, ValueError) as error:
        return type(error), str(error)
    return {
        name: (kind, getattr(values, "dtype", None), getattr(values, "shape", None), list(values))
        for name, (kind, values) in columns.items()
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(RESULTS, min_size=1, max_size=4), st.sampled_from([None, ["p", "q"], "p"]))
def test_what_was_seen_before_gives_what_a_first_look_gives(results: list[Any], names: Any) -> None:
    """In any order, the second time as the first, whatever came between."""
    seen = Forms()
    for result in [*results, *results]:
        assert outcome(seen.columns, result, names) == outcome(columns_of, result, names)


@pytest.mark.parametrize("order", ["C", "F"])
def test_columns_do_not_change_with_the_array(order: Any) -> None:
    """Those of a matrix are copies, which lie in one piece."""
    seen = Forms()
    for step in range(3):
        result = np.array([[1 + step, 2], [3, 4]], "f4", order=order)
        columns = seen.columns([result], ["a", "b"])
        assert [values.tolist() for _, values in columns.values()] == [[1 + step, 3], [2, 4]]
    assert all(values.flags.c_contiguous for _, values in columns.values())


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "FORMS", 3)
    seen = Forms()
    for width in range(1, 9):
        assert len(seen.columns(np.ones((2, width)), None)) == width
    assert len(seen._known) == 3
