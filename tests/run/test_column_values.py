"""Columns of values as bytes, beside each value as bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from braid_hpc.run.column_values import column_buffers
from braid_hpc.vocabulary.errors import InvalidInputError


class Odd(str):
    """A text that says of itself what it is not."""

    __slots__ = ()

    def __len__(self) -> int:
        return 7


ASCII = st.text(st.characters(codec="ascii"), max_size=5)


@example(["\ud83d", "\ude00"])
@given(st.lists(ASCII) | st.lists(ASCII | st.text(st.characters(), max_size=3) | ASCII.map(Odd)))
def test_texts_are_encoded_as_each_of_them_is(values: list[str]) -> None:
    """Of ASCII alone, of others, of halves of characters that stand side by side, and of other classes of text."""
    (offsets, data), count = column_buffers(values, "text", "x")
    each = [value.encode("utf-8", "surrogatepass") for value in values]
    ends = [sum(map(len, each[:at])) for at in range(len(each) + 1)]
    assert (bytes(data), count) == (b"".join(each), len(values))
    assert list(struct.unpack(f"={len(ends)}I", offsets)) == ends


@pytest.mark.parametrize("wrong", [["a", b"b"], ["a", None], [1]])
def test_what_is_no_text_is_refused(wrong: list[Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"column 'x' does not fit its type text: .* is not text"):
        column_buffers(wrong, "text", "x")
