"""What can be an array of a state, and what of files and bytes is kept."""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.run import states
from braid_hpc.run.states import KeptState, keep_state
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_bytes
from tests.rank_logs import log_of
from tests.recorded_arrays import read_arrays, same

Keep = Callable[..., KeptState]


class Exported:
    """An array that has nothing but DLPack, as tensors of other libraries may."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __dlpack__(self, **about: Any) -> Any:
        return self._values.__dlpack__(**about)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


class Tracked:
    """As a tensor that gradients are computed for: its numbers are had from what `detach` returns."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise RuntimeError("call detach() first")

    def detach(self) -> Any:
        return self._values


@pytest.fixture
def keep(run: braid.Run) -> Keep:
    """Keep a state in a run of its own."""
    return lambda state, how=None: keep_state(run._arrays, "model", "net", state, how)


VALUES: dict[str, tuple[Any, Any]] = {
    "dlpack": (Exported(np.arange(7.0)), np.arange(7.0)),
    "tracked": (Tracked(np.arange(3)), np.arange(3)),
    "buffer": (array.array("d", [1, 2]), np.array([1.0, 2.0])),
    "scalar": (np.float32(2.5), np.array(2.5, "f4")),
    "bfloat16": (np.arange(6).astype(ml_dtypes.bfloat16), np.arange(6).astype(ml_dtypes.bfloat16)),
    "float8": (np.arange(6).astype(ml_dtypes.float8_e5m2), np.arange(6).astype(ml_dtypes.float8_e5m2)),
}


@pytest.mark.parametrize("sort", VALUES)
def test_anything_that_gives_an_array_is_one(keep: Keep, run: braid.Run, sort: str) -> None:
    given, expected = VALUES[sort]
    kept = keep({"x": given})
    assert kept.tensors is not None
    (tensor,) = kept.tensors
    assert (tensor.name, tensor.shape, tensor.size) == ("x", list(expected.shape), expected.nbytes)
    assert same(read_arrays(log_of(run))["net/x"], expected)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.5, "is no array but a float"),
        ([1, 2], "is no array but a list"),
        ("text", "is no array but a str"),
        (None, "is no array but a NoneType"),
        (np.array([object()]), "holds Python objects"),
        (np.ma.masked_array([1, 2], [False, True]), "give its data and its mask"),
    ],
    ids=["float", "list", "text", "none", "objects", "masked"],
)
def test_what_is_no_array_is_refused_and_named(keep: Keep, value: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^'a\.b' in state= .*{said}"):
        keep({"a": {"b": value}})


def test_nothing_is_stored_of_a_state_that_is_refused(keep: Keep, run: braid.Run) -> None:
    with pytest.raises(InvalidInputError, match="'b' in state="):
        keep({"a": np.arange(9), "b": 1})
    assert read_arrays(log_of(run)) == {}


@pytest.mark.parametrize("state", [5, object(), [np.arange(3)], np.arange(3)])
def test_a_state_is_a_mapping_a_path_or_bytes(keep: Keep, state: Any) -> None:
    with pytest.raises(InvalidInputError, match="state= is a mapping of arrays, a file's path, or bytes"):
        keep(state)


def test_keep_is_for_files_and_bytes(keep: Keep) -> None:
    with pytest.raises(InvalidInputError, match="always stored"):
        keep({"a": np.arange(3)}, False)
    with pytest.raises(InvalidInputError, match="keep= is True or False"):
        keep(b"abc", 7)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_have_their_own_digest_and_are_kept_up_to_a_limit(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(states, "KEEP_BYTES", 100)
    small, large = bytes(range(100)), bytes(101)
    assert keep(kind(small)).content == keep(small, False).content == content_of_bytes(small)
    assert [keep(kind(data)).kept is not None for data in (b"", small, large)] == [True, True, False]
    assert keep(kind(large), True).kept is not None
    assert keep(kind(small), False).kept is None


def test_a_file_is_hashed_whole_and_kept_if_asked(keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit up to which other files are read, too; its uri is absolute."""
    monkeypatch.setattr("braid_hpc.run.contents.HASH_LIMIT", 10)
    path = tmp_path / "weights é.pt"
    path.write_bytes(b"weights" * 1000)
    monkeypatch.chdir(tmp_path)
    for given in (path, str(path), path.name):
        kept = keep(given)
        assert (kept.content, kept.kept, kept.uris) == (content_of_bytes(path.read_bytes()), None, [path.as_uri()])
    assert keep(path, True).kept == keep(path.read_bytes()).kept is not None
    with pytest.raises(FileNotFoundError):
        keep(tmp_path / "nothing")
