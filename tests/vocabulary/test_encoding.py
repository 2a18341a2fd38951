"""Values become bytes and come back; what cannot be kept is refused."""

from __future__ import annotations

import datetime
import enum
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from braid_hpc.vocabulary.encoding import (
    MAX_DEPTH,
    check_tags,
    decode,
    decoder,
    encode,
    encode_canonical,
    to_jsonable,
)
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.payloads import Declaration

SCALARS = st.none() | st.booleans() | st.integers(-(1 << 200), 1 << 200) | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


def same(one: Any, two: Any) -> bool:
    """Compare with types, the sign of zero, and NaN equal to itself."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(two)) or (one == two and math.copysign(1, one) == math.copysign(1, two))
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    return bool(one == two)


@given(VALUES)
@example(1 << 64)
@example(-(1 << 63) - 1)
@example([{"a": [float("nan"), float("-inf"), -0.0]}])
@example({"deep": {"big": [1 << 127, -(1 << 127), 255 << 56, 1 << 63]}})
def test_values_come_back(value: Any) -> None:
    """Integers of any size, NaN, infinities, text, bytes, and lists and mappings of these."""
    assert same(decode(encode(value)), value)
    assert same(decode(encode_canonical(value)), value)


@given(VALUES)
def test_values_within_a_structure_come_back(value: Any) -> None:
    """Also in a payload, which has a value among its fields."""
    found = decoder(Declaration).decode(encode(Declaration(value=value, uris=["file:///x"])))
    assert same(found.value, value)
    assert found.uris == ["file:///x"]


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.randoms())
def test_equal_mappings_have_one_canonical_encoding(value: dict[str, Any], random: Any) -> None:
    """The order in which keys were given does not count, on no level."""

    def shuffled(item: Any) -> Any:
        if isinstance(item, dict):
            keys = list(item)
            random.shuffle(keys)
            return {key: shuffled(item[key]) for key in keys}
        return [shuffled(each) for each in item] if isinstance(item, list) else item

    assert encode_canonical(shuffled(value)) == encode_canonical(value)


@pytest.mark.parametrize(
    ("one", "two"), [(1, 1.0), (1, True), ("1", 1), (b"1", "1"), ([], {}), (0.0, -0.0), (None, False)]
)
def test_different_values_have_different_encodings(one: Any, two: Any) -> None:
    """Python calls some of these equal; as content of a fact they are not."""
    assert encode_canonical(one) != encode_canonical(two)


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.int32(-5), -5),
        (np.uint64(1 << 63), 1 << 63),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        (np.array(3.5), 3.5),
        ((1, 2), [1, 2]),
        (Path("/a/b"), "/a/b"),
        (Colour.RED, "red"),
        (1 + 2j, {"real": 1.0, "imag": 2.0}),
        ({1: "one"}, {1: "one"}),
        ("\ud800", "\\ud800"),
        ([1 << 70, (2,)], [1 << 70, [2]]),
    ],
)
def test_what_is_kept_of_other_values(value: Any, kept: Any) -> None:
    """NumPy's scalars, small arrays, paths, enumerations, complex numbers: the plain values they stand for."""
    assert same(decode(encode(value)), kept)


def test_a_time_comes_back_as_a_time() -> None:
    """With its zone."""
    now = datetime.datetime(2026, 3, 1, 12, 30, 5, 123456, tzinfo=datetime.UTC)
    assert decode(encode(now)) == now


@pytest.mark.parametrize(
    "value", [object(), [object()], {"a": object()}, np.zeros(100), len, {"a": [1 << 70, object()]}]
)
def test_what_cannot_be_kept_is_refused(value: Any) -> None:
    """With a sentence, not with whatever the encoder raised."""
    with pytest.raises(InvalidInputError, match="keep it as text"):
        encode(value)


def test_endless_nesting_is_refused() -> None:
    """A list that holds itself ends in an error, and so does one that no reader could follow."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidInputError):
        encode(endless)
    deep: Any = 0
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert decode(encode(deep)) == deep


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_by_the_decoder(data: bytes) -> None:
    """Bytes that are no encoding raise the one documented error."""
    refused: Exception | None = None
    try:
        decode(data)
    except Exception as error:
        refused = error
    assert refused is None or isinstance(refused, msgspec.DecodeError)


def test_tags_become_flat() -> None:
    """Nested mappings become dotted keys, at every depth; what is no scalar becomes text."""
    tags = {"a": {"b": {"c": 1}, "d": np.float64(0.5)}, "e": True, "f": None, "g": Path("/x"), "h": [1, Path("y")]}
    assert check_tags(tags) == {"a.b.c": 1, "a.d": 0.5, "e": True, "f": None, "g": "/x", "h": [1, "y"]}
    assert check_tags(None) is None
    assert check_tags({}) is None


@pytest.mark.parametrize(
    ("tags", "reason"), [("a=1", "mapping"), ([1], "mapping"), ({1: 2}, "not text"), ({"a": {2: 3}}, "not text")]
)
def test_wrong_tags_are_refused(tags: Any, reason: str) -> None:
    """Tags are a mapping whose keys are text."""
    with pytest.raises(InvalidInputError, match=reason):
        check_tags(tags)


def test_no_tag_hides_another_one() -> None:
    """A dotted key and a nested one that mean the same are refused: one of them would be dropped."""
    with pytest.raises(InvalidInputError, match="twice"):
        check_tags({"a.b": 1, "a": {"b": 2}})


def test_tags_that_hold_themselves_are_refused() -> None:
    """Instead of recursing for ever."""
    tags: dict[str, Any] = {}
    tags["a"] = tags
    with pytest.raises(InvalidInputError, match="nested deeper"):
        check_tags(tags)


@given(VALUES)
def test_json_takes_every_value(value: Any) -> None:
    """Strictly: without NaN and infinities, which JSON has not."""
    assert json.dumps(to_jsonable(decode(encode(value))), allow_nan=False)


def test_json_says_what_has_no_number_there() -> None:
    """NaN and infinities as text, bytes as hexadecimal digits."""
    value = [float("nan"), float("-inf"), b"\x00\xff", {"t": 1}]
    assert to_jsonable(value) == ["nan", "-inf", "00ff", {"t": 1}]
