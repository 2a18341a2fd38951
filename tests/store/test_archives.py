"""npy and npz: what NumPy reads back, and the names that it could not tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import made, one
from tests.recorded_arrays import arrays_of_every_sort, same


def npz_of(tmp_path: Path, state: dict[str, Any]) -> Path:
    """Record a state, and check it out."""
    with one(tmp_path / "logs") as job:
        job[0].model("net", state=state)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        return store.checkout("net", into=tmp_path / "out").files[0].path


def test_numpy_reads_every_sort_back_without_pickles(tmp_path: Path) -> None:
    sorts = arrays_of_every_sort(80)
    with np.load(npz_of(tmp_path, sorts), allow_pickle=False) as back:
        assert sorted(back) == sorted(sorts)
        # What lies between fields, NumPy leaves as it happens to be.
        assert np.array_equal(back["aligned"], sorts.pop("aligned"))
        assert [name for name, array in sorts.items() if not same(back[name], array)] == []


def test_types_that_numpy_does_not_have_are_bytes(tmp_path: Path) -> None:
    array = np.arange(5).astype(ml_dtypes.bfloat16)
    with np.load(npz_of(tmp_path, {"a": array, "b": np.array(2, ml_dtypes.float8_e5m2)})) as back:
        assert back["a"].dtype == "V2"
        assert same(back["a"].view("bfloat16"), array)
        assert back["b"].tobytes() == np.array(2, ml_dtypes.float8_e5m2).tobytes()


def test_names_of_any_kind(tmp_path: Path) -> None:
    state = {
        name: np.array(number) for number, name in enumerate(["", "é 🧵", "../up", "/root", "a\\b", "x.npy", "file"])
    }
    with np.load(npz_of(tmp_path, state)) as back:
        assert {name: int(back[name]) for name in back} == {name: int(array) for name, array in state.items()}


@pytest.mark.parametrize("names", [["a\0b"], ["a", "a.npy"], ["x" * 60_001]], ids=["zero", "twice", "long"])
def test_names_that_an_npz_cannot_hold_are_refused(tmp_path: Path, names: list[str]) -> None:
    """With a sentence that says what to do; nothing is left behind."""
    with pytest.raises(InvalidInputError, match=r"cannot stand in an npz file: use state\(\)"):
        npz_of(tmp_path, {name: np.arange(3) for name in names})
    assert list((tmp_path / "out").iterdir()) == []
