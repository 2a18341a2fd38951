"""Which column holds a value: one that takes it gives it back equal and of its type, and the others refuse it."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from braid_hpc.collectors.documents.kinds import fits_column, natural_kind, wider_kind
from braid_hpc.vocabulary.columns import FIXED
from tests.collectors.documents.instrument import same

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(st.characters(exclude_categories=[]), max_size=3),
    st.binary(max_size=2),
    st.sampled_from([np.float32(0.1), np.float64(2.5), np.int8(-3), np.uint64(2**63), np.bool_(True), np.str_("a")]),
    st.sampled_from([np.timedelta64(3, "s"), np.datetime64("2020-01-01"), np.longdouble(1), [1.0], {}, ()]),
)


@given(VALUES, st.sampled_from(["float64", "int64", "bool", "text"]))
@example(2**53 + 1, "float64")
@example(2**63, "int64")
@example(True, "int64")
@example(-0.0, "float64")
def test_what_fits_comes_back(value: Any, column: str) -> None:
    fits, stored, whole = fits_column(column, value)
    if not fits:
        return
    if column == "text":
        back: Any = stored.encode().decode()
    else:
        (back,) = struct.unpack("<" + FIXED[column], struct.pack("<" + FIXED[column], stored))
    plain = value.item() if isinstance(value, np.generic) and not isinstance(value, str) else value
    assert same(int(back) if whole else back, str(plain) if column == "text" else plain)
    assert whole == (column == "float64" and isinstance(plain, int))


@pytest.mark.parametrize(
    ("value", "column"),
    [(2**53 + 1, "float64"), (2**63, "int64"), (True, "int64"), (1, "bool"), ("\udcff", "text"), (None, "float64")],
)
def test_what_would_change_does_not_fit(value: Any, column: str) -> None:
    assert not fits_column(column, value)[0]


def test_types_that_values_ask_for() -> None:
    """A column of integers gives way to floats, and any to what is packed; a stray value changes nothing."""
    values: list[Any] = [1, 1.0, True, "a", None, [], np.float16(1), np.longdouble(1)]
    found = ["int64", "float64", "bool", "text", None, "bytes", "float64", "bytes"]
    assert [natural_kind(type(value)) for value in values] == found
    assert wider_kind("int64", "float64") == "float64"
    assert wider_kind("float64", "int64") == "float64"
    assert wider_kind("float64", "text") == "float64"
    assert wider_kind("text", "bytes") == "bytes"
    assert wider_kind("bool", None) == "bool"
