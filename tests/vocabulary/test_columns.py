"""Column types, and the bytes of rows."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary.columns import BATCH_PLACE, FIXED, VARIABLE, check_columns, item_bytes, row_struct
from braid_hpc.vocabulary.errors import InvalidInputError


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        *((kind, kind) for kind in (*FIXED, *VARIABLE)),
        (int, "int64"),
        (float, "float64"),
        (bool, "bool"),
        (str, "text"),
        (bytes, "bytes"),
        (np.int16, "int16"),
        (np.dtype("float32"), "float32"),
        (pa.float64(), "float64"),
        (pa.uint8(), "uint8"),
        (pa.string(), "text"),
        (pa.large_string(), "text"),
        (pa.binary(), "bytes"),
        ("double", "float64"),
    ],
)
def test_types_and_their_other_names(given_type: Any, kept: str) -> None:
    """Types of Python, NumPy and Arrow mean the type of the format that they equal."""
    assert check_columns({"x": given_type}) == [("x", kept)]


def test_order_is_kept() -> None:
    """Rows are given by position, so columns stay as they were named."""
    assert check_columns([("b", int), ("a", "text")]) == [("b", "int64"), ("a", "text")]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "at least one column"),
        ([], "at least one column"),
        (5, "mapping of name to type"),
        (["ab", "cde"], "mapping of name to type"),
        ({"": "int32"}, "cannot be a column"),
        ({1: "int32"}, "cannot be a column"),
        ({"_run": "int32"}, "cannot be a column"),
        ({"a": "int32", "A": "int32"}, "there twice"),
        ([("a", "int32"), ("a", "int32")], "there twice"),
        ({"a": "int128"}, "not a column type"),
        ({"a": None}, "not a column type"),
        ({"a": list}, "not a column type"),
    ],
)
def test_wrong_columns_are_refused(columns: Any, reason: str) -> None:
    """With the column that is wrong, and what would be right."""
    with pytest.raises(InvalidInputError, match=reason):
        check_columns(columns)


@given(st.lists(st.sampled_from([*FIXED, *VARIABLE]), min_size=1, max_size=8))
def test_a_row_has_no_padding(kinds: list[str]) -> None:
    """Its fixed part is as long as its columns together, of which text and bytes take their length."""
    layout = row_struct([(f"c{index}", kind) for index, kind in enumerate(kinds)])
    assert layout.size == sum(item_bytes(kind) if kind in FIXED else 4 for kind in kinds)
    assert layout.format.startswith("<")


@pytest.mark.parametrize(("kind", "dtype"), [(kind, "int64" if kind == "timestamp" else kind) for kind in FIXED])
def test_widths_are_those_of_numpy(kind: str, dtype: str) -> None:
    """A batch's column can be taken for a NumPy array without a loop."""
    assert item_bytes(kind) == np.dtype(dtype).itemsize


def test_the_place_of_a_batch_comes_back() -> None:
    """Offset, length, sum and number of the file, 36 bytes."""
    place = (1 << 40, 12345, bytes(range(16)), 2)
    assert BATCH_PLACE.unpack(BATCH_PLACE.pack(*place)) == place
    assert BATCH_PLACE.size == struct.calcsize("<QQ16sI") == 36
