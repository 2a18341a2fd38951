"""States of models: their names, and their one digest."""

from __future__ import annotations

from typing import Any

import pytest
from blake3 import blake3

from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.payloads import Tensor
from braid_hpc.vocabulary.states import content_of_state, flat_state

TENSORS = [Tensor("a", "blake3:01", "<f4", [2, 3], 24), Tensor("b", "blake3:02", "|b1", [], 1)]


def test_nested_mappings_become_dotted_names_in_order() -> None:
    assert list(flat_state({"z": 1, "conv": {"w": 2, "": {"b": 3}}, "none": {}}).items()) == [
        ("conv..b", 3),
        ("conv.w", 2),
        ("z", 1),
    ]


def deep() -> dict[str, Any]:
    state: dict[str, Any] = {}
    for _ in range(100):
        state = {"a": state}
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({1: 0}, "the name 1 in state= is not text"),
        ({"a": {b"b": 0}}, "the name b'b'"),
        ({"a.b": 0, "a": {"b": 1}}, "twice"),
        ({"\udc80": 0}, "UTF-8"),
        (deep(), "nested deeper"),
    ],
    ids=["number", "bytes", "twice", "surrogate", "deep"],
)
def test_names_that_cannot_be_kept_are_refused(state: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        flat_state(state)


def test_the_digest_is_that_of_the_page() -> None:
    """BLAKE3 over ``state``, a zero byte, and the MessagePack list; the size is that of the arrays."""
    content = content_of_state(TENSORS)
    listed = encode([["a", "<f4", [2, 3], "blake3:01"], ["b", "|b1", [], "blake3:02"]])
    assert content.digest == f"blake3:{blake3(b'state' + bytes(1) + listed).hexdigest()}"
    assert (content.size, content.weak) == (25, False)


@pytest.mark.parametrize(
    "other",
    [
        [],
        TENSORS[:1],
        [Tensor("c", "blake3:01", "<f4", [2, 3], 24), TENSORS[1]],
        [Tensor("a", "blake3:03", "<f4", [2, 3], 24), TENSORS[1]],
        [Tensor("a", "blake3:01", "<i4", [2, 3], 24), TENSORS[1]],
        [Tensor("a", "blake3:01", "<f4", [3, 2], 24), TENSORS[1]],
    ],
    ids=["none", "fewer", "name", "digest", "dtype", "shape"],
)
def test_whatever_differs_makes_another_content(other: list[Tensor]) -> None:
    assert content_of_state(other).digest != content_of_state(TENSORS).digest
