"""Documents word for word: what can be kept comes back equal and of its type, and the rest is said."""

from __future__ import annotations

import datetime
import enum
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from braid_hpc.vocabulary import verbatim
from braid_hpc.vocabulary.verbatim import MAX_DEPTH, Unkept, decode_words, encode_words

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(exclude_categories=[])),
    st.binary(max_size=9),
    st.datetimes(timezones=st.one_of(st.none(), st.just(datetime.UTC))),
    st.dates(),
    st.times(),
)
HASHABLE = st.one_of(st.text(max_size=3), st.integers(), st.booleans(), st.none(), st.tuples(st.integers()))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


@settings(max_examples=150)
@given(VALUES)
def test_values_come_back_equal_and_of_their_type(value: Any) -> None:
    data, unkept = encode_words(value)
    assert unkept == []
    assert same(decode_words(data), value)


@given(
    st_numpy.arrays(st_numpy.array_dtypes() | st_numpy.scalar_dtypes(), st_numpy.array_shapes(min_dims=1, max_side=3))
)
def test_arrays_come_back_bit_for_bit(array: Any) -> None:
    data, unkept = encode_words([array])
    (back,) = decode_words(data)
    assert unkept == []
    assert (back.dtype.fields or {}).keys() == (array.dtype.fields or {}).keys()
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_arrays_that_are_not_laid_out_in_order() -> None:
    for array in (
        np.arange(6).reshape(2, 3).T,
        np.arange(9)[::2],
        np.zeros((0, 3)),
        np.array([{}, 2**70, None], object),
    ):
        (back,) = decode_words(encode_words([array])[0])
        assert back.dtype == array.dtype
        assert (back == array).all()


class Plan(enum.StrEnum):
    SCAN = "scan"


def test_what_equals_a_plain_value_is_that_value() -> None:
    """Scalars of NumPy, enumerations, mappings and texts of classes of their own."""

    class Text(str):
        pass

    class Own(dict[str, int]):
        pass

    given_values = [np.float32(0.1), np.int8(3), np.bool_(True), Plan.SCAN, Text("ü"), Own(a=1), np.array(5.0)]
    back = decode_words(encode_words(given_values)[0])
    assert back == [float(np.float32(0.1)), 3, True, "scan", "ü", {"a": 1}, 5.0]
    assert [type(each) for each in back] == [float, int, bool, str, str, dict, float]


def test_what_cannot_be_kept_says_what_it_was() -> None:
    class Liar:
        def __repr__(self) -> str:
            raise ValueError

        def __getattr__(self, name: str) -> Any:
            raise ValueError

    endless: list[Any] = [1]
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value, reason in (
        (endless, "contains itself"),
        (deep, "nested deeper"),
        ({"x": object()}, "of no type"),
        ([Liar()], "ValueError"),
        ("x" * (20 << 20), "a text of 20971520 characters; 'xxx"),
        ({"k" * (20 << 20): 1}, "a text of"),
        (b"x" * (20 << 20), "too large"),
        (np.zeros(3 << 20), "an array of 25165824 bytes"),
        (1 << (30 << 23), "an integer of"),
        ([None] * (2 << 20), "too large, 2097152 items"),
    ):
        data, unkept = encode_words(value)
        assert any(reason in each.reason for each in unkept), (reason, unkept)
        assert len(data) < 2 << 20
        assert "Unkept" in repr(decode_words(data))


def test_a_value_that_refers_to_one_part_again_and_again_stays_small() -> None:
    """Sixty lists, of which each holds the next one twice, would be 2**60 items."""
    value: list[Any] = [1]
    for _ in range(60):
        value = [value, value]
    data, unkept = encode_words(value, 100_000)
    assert 0 < len(unkept) <= 100
    assert len(data) < 400_000


def test_bytes_that_are_none_of_a_document_are_an_error() -> None:
    for data in (b"\xc1", msgspec.msgpack.encode(msgspec.msgpack.Ext(77, b"")), b"\x93\x01", b"\xc7\x01\x05\xc0"):
        with pytest.raises(msgspec.DecodeError):
            decode_words(data)


def test_types_are_those_of_the_page() -> None:
    """The numbers never change their meaning."""
    names = ("BIG_INTEGER", "TUPLE", "PAIRS", "SURROGATES", "ARRAY", "SET", "COMPLEX", "TIME", "UNKEPT")
    assert [getattr(verbatim, name) for name in names] == list(range(1, 10))
    found = Unkept("object", "why")
    assert (
        decode_words(msgspec.msgpack.encode(msgspec.msgpack.Ext(9, msgspec.msgpack.encode(["object", "why"])))) == found
    )
