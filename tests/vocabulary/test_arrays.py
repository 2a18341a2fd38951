"""The bytes of arrays."""

from __future__ import annotations

import array
import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays_of

from braid_hpc.reading.arrays import dtype_of
from braid_hpc.vocabulary.arrays import array_bytes, array_digest, dtype_text
from braid_hpc.vocabulary.errors import CorruptLogError, InvalidInputError
from braid_hpc.vocabulary.identity import content_of_bytes
from tests.recorded_arrays import arrays_of_every_sort, same

SORTS = arrays_of_every_sort(80)


@pytest.mark.parametrize("sort", SORTS)
def test_dtype_shape_and_bytes_make_the_array_again(sort: str) -> None:
    given_array = np.asarray(SORTS[sort])
    laid = array_bytes(given_array)
    again = np.frombuffer(bytes(laid.data), "u1").view(dtype_of(laid.dtype)) if laid.data.nbytes else None
    if again is None:
        again = np.zeros(laid.shape, dtype_of(laid.dtype))
    assert same(again.reshape(laid.shape), given_array)


@given(arrays_of.arrays(arrays_of.scalar_dtypes(), arrays_of.array_shapes(min_dims=0, min_side=0, max_side=5)))
def test_any_array_of_scalars_comes_back(values: Any) -> None:
    laid = array_bytes(values)
    dtype = dtype_of(laid.dtype)
    assert laid.data.nbytes == values.nbytes
    if values.nbytes:
        assert same(np.frombuffer(laid.data, dtype).reshape(laid.shape), values)


def test_bytes_are_not_copied_where_they_lie_in_order() -> None:
    values = np.arange(10.0)
    laid = array_bytes(values)
    values[0] = 7
    assert bytes(laid.data[:8]) == np.float64(7).tobytes()


def test_layout_in_memory_is_no_part_of_the_content() -> None:
    rows = np.arange(12.0).reshape(3, 4)
    assert array_bytes(np.asfortranarray(rows)).content() == array_bytes(rows).content()


def test_dtype_and_shape_are_part_of_the_content() -> None:
    digests = {
        array_bytes(each).content().digest
        for each in (np.zeros(4, "i8"), np.zeros(4, "f8"), np.zeros((2, 2), "f8"), np.zeros(4, ">f8"))
    }
    assert len(digests) == 4


def test_field_names_are_part_of_the_content() -> None:
    one, other = np.zeros(3, [("a", "i4"), ("b", "i4")]), np.zeros(3, [("x", "i4"), ("y", "i4")])
    assert array_bytes(one).content() != array_bytes(other).content()


def test_a_digest_made_in_parts_is_the_same() -> None:
    laid = array_bytes(np.arange(100.0))
    digest = array_digest(laid.dtype, laid.shape)
    digest.update(laid.data[:320])
    digest.update(laid.data[320:])
    assert f"blake3:{digest.hexdigest()}" == laid.content().digest
    assert laid.content() == content_of_bytes(laid.data, prefix=b"array\0<f8\0[100]\0")


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        (b"abc", ("B", [3], b"abc")),
        (bytearray(), ("B", [0], b"")),
        (array.array("d", [1.0, 2.0]), ("d", [2], np.array([1.0, 2.0]).tobytes())),
        (memoryview(b"abcdef")[::2], ("B", [3], b"ace")),
        ((ctypes.c_int16 * 2)(1, 2), ("<h", [2], b"\1\0\2\0")),
    ],
)
def test_other_buffers_are_arrays_too(buffer: Any, expected: tuple[str, list[int], bytes]) -> None:
    laid = array_bytes(buffer)
    assert (laid.dtype, laid.shape, bytes(laid.data)) == expected


@pytest.mark.parametrize(
    "thing",
    [
        np.array([object()]),
        np.zeros(2, [("a", "O")]),
        np.ma.masked_array([1, 2], [False, True]),
        [1, 2],
        "text",
        None,
        object(),
        3.5,
    ],
)
def test_what_has_no_bytes_of_its_own_is_refused_in_one_sentence(thing: Any) -> None:
    with pytest.raises(InvalidInputError, match="array=") as refused:
        array_bytes(thing)
    assert "\n" not in str(refused.value)


def test_fields_that_overlap_come_back_as_bytes() -> None:
    dtype = np.dtype({"names": ["a", "b"], "formats": ["<i4", "<i2"], "offsets": [0, 2], "itemsize": 4})
    assert dtype_text(dtype) == "|V4"


@pytest.mark.parametrize("text", ["nonsense", "[('a',", "[('a', 'nonsense')]", "[__import__('os')]"])
def test_a_text_that_is_no_dtype_is_an_error_and_never_run(text: str) -> None:
    with pytest.raises(CorruptLogError, match="not a dtype"):
        dtype_of(text)
