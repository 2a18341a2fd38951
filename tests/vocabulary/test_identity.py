"""Digests of keys and of content."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary.identity import Content, content_of_bytes, content_of_file, content_of_value, key_digest

PARTS = st.lists(st.none() | st.text() | st.binary() | st.integers(), max_size=4)


@given(PARTS, PARTS)
def test_different_parts_have_different_digests(
    one: list[str | bytes | int | None], two: list[str | bytes | int | None]
) -> None:
    """No two lists of parts read alike, and equal ones always do."""
    same = [(type(part), part) for part in one] == [(type(part), part) for part in two]
    assert (key_digest(one) == key_digest(two)) == same


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["a"], ["a", ""]),
        ([1], ["1"]),
        (["1"], [b"1"]),
        ([None], [""]),
        ([], [None]),
        ([-1], [1]),
    ],
)
def test_parts_are_told_apart(one: list[str | bytes | int | None], two: list[str | bytes | int | None]) -> None:
    """Borders, types and None count."""
    assert key_digest(one) != key_digest(two)


def test_a_key_is_the_digest_that_the_format_says() -> None:
    """Recomputed by hand: tag, 8 bytes of length, bytes, for each part."""
    digest = hashlib.blake2b(b"s" + (4).to_bytes(8, "little") + b"fact", digest_size=16, person=b"braid_hpc key 1")
    assert key_digest(["fact"]) == digest.hexdigest()
    assert len(key_digest([])) == 32


def test_content_of_bytes_is_blake3() -> None:
    """Against the published digest of no bytes, so that other tools can verify ours."""
    empty = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert content_of_bytes(b"") == Content(empty, 0)
    assert content_of_file(io.BytesIO()) == Content(empty, 0)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_file_has_the_content_of_its_bytes(size: int) -> None:
    """Reading in chunks changes nothing, and what was read before does not count."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    file = io.BytesIO(b"head" + data)
    file.seek(4)
    assert content_of_file(file) == content_of_bytes(data)
    assert content_of_bytes(memoryview(data)) == content_of_bytes(data)


def test_what_else_belongs_to_a_content_is_digested_with_it() -> None:
    """Equal bytes of another dtype or shape are other content; the size is that of the bytes."""
    one, two = content_of_bytes(b"1234", prefix=b"i4"), content_of_bytes(b"1234", prefix=b"f4")
    assert one.digest != two.digest
    assert one.size == two.size == 4


def test_a_value_is_not_the_bytes_of_its_encoding() -> None:
    """A file that happens to hold the encoding of a value is not that value."""
    assert content_of_value(b"\x07").digest != content_of_bytes(b"\x07").digest
    assert content_of_value(b"\x07").size is None
