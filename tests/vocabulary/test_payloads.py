"""Payloads come back, stay small, and may come from another minor version."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary.encoding import decode, decoder, encode
from braid_hpc.vocabulary.payloads import (
    Begin,
    Close,
    Declaration,
    End,
    Links,
    Loss,
    Rejected,
    StreamSchema,
)

LINK = st.integers(1, (1 << 64) - 1) | st.binary(min_size=24, max_size=24) | st.text()
LINKS = st.lists(LINK | LINK.map(lambda link: [link]), max_size=4)
EXAMPLES: list[msgspec.Struct] = [
    Declaration(parents=[1, bytes(24), "model:a", [7]], digest="blake3:00", size=5, shape=[2, 3], tags={"a": 1.5}),
    Links(links=[1]),
    Begin(used=[2], params={"threshold": 40}, function="m.f"),
    End(error="ValueError: x", result=float("inf"), generated=[3]),
    Close(error=None, rejected=2, lost=3),
    Loss(4, -5, 6, "OSError"),
    Rejected("append", "wrong", "a.py:1", "1, 2"),
    StreamSchema(columns=[("x", "int32")], units={"x": "px"}, parents=[1], tags={"a": True}),
]


@pytest.mark.parametrize("payload", EXAMPLES, ids=lambda payload: type(payload).__name__)
def test_payloads_come_back(payload: msgspec.Struct) -> None:
    """Every structure, with something in each of its fields."""
    assert decoder(type(payload)).decode(encode(payload)) == payload


@given(LINKS)
def test_links_keep_their_sort(links: list[Any]) -> None:
    """A sequence, a handle, a text and a late link are told apart by their type."""
    found = decoder(Links).decode(encode(Links(links=links))).links
    assert found == links
    assert [type(link) for link in found] == [type(link) for link in links]


@pytest.mark.parametrize("kind", [Declaration, Links, Begin, End, Close, StreamSchema])
def test_defaults_take_no_room(kind: type[msgspec.Struct]) -> None:
    """What says nothing is one byte, so that an event stays small."""
    assert encode(kind()) == b"\x80"


@pytest.mark.parametrize("payload", EXAMPLES, ids=lambda payload: type(payload).__name__)
def test_fields_of_a_later_minor_version_are_passed_over(payload: msgspec.Struct) -> None:
    """A reader of this version reads what it knows of a newer log."""
    newer = encode(decode(encode(payload)) | {"of_a_later_version": [1, 2]})
    assert decoder(type(payload)).decode(newer) == payload
