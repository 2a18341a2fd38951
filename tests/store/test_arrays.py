"""Arrays of a store: what was recorded comes back bit for bit, once per content, read when it is asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import braid_hpc as braid
from braid_hpc.compaction import array_copies
from braid_hpc.compaction import commit as committing
from braid_hpc.compaction.array_forms import boxes, stored_form
from braid_hpc.compaction.compact import compact
from braid_hpc.reading.arrays import LoggedArray
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.arrays import StoredArray
from braid_hpc.store.store import Store, open_store
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import (
    ConflictError,
    CorruptLogError,
    InvalidInputError,
    MissingExtraError,
    NotFoundError,
)
from tests.recorded_arrays import arrays_of_every_sort, same

LARGE_SORTS, SMALL_SORTS = arrays_of_every_sort(), arrays_of_every_sort(80)


def keep(log_dir: Path, arrays: dict[str, Any], **about: Any) -> None:
    """Record arrays in a run of their own."""
    with braid.job("arrays", log_dir=log_dir) as run:
        for name, array in arrays.items():
            run.array(name, array, **about)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with arrays of every sort, small and large."""
    root = tmp_path_factory.mktemp("store")
    keep(root / "logs", {f"large/{name}": array for name, array in LARGE_SORTS.items()}, unit="m")
    keep(root / "logs", {f"small/{name}": array for name, array in SMALL_SORTS.items()})
    compact(root / "logs", root / "prov.duckdb")
    return root / "prov.duckdb"


def side_files(store: Path) -> list[Path]:
    """Give the files of arrays beside a store."""
    return sorted((store.parent / f"{store.name}.d" / "arrays").glob("*"))


# ------------------------------------------------------------------ what comes back


@pytest.mark.parametrize("name", [*(f"large/{n}" for n in LARGE_SORTS), *(f"small/{n}" for n in SMALL_SORTS)])
def test_an_array_comes_back_bit_for_bit(made: Path, name: str) -> None:
    size, _, sort = name.partition("/")
    expected = np.asarray({"large": LARGE_SORTS, "small": SMALL_SORTS}[size][sort])
    with open_store(made) as store:
        array = store.array(f"data:{name}")
        assert (array.shape, array.dtype, array.nbytes) == (expected.shape, expected.dtype, expected.nbytes)
        assert (array.ndim, array.size) == (expected.ndim, expected.size)
        assert same(np.asarray(array), expected)
        assert same(array.read(), expected)
        assert same(array[...], expected)


INDICES: list[Any] = [
    np.s_[2:5],
    np.s_[-3:],
    np.s_[0],
    np.s_[-1],
    np.s_[1:9:3],
    np.s_[::-1],
    np.s_[5:2],
    np.s_[..., 0],
    np.s_[[1, 3]],
    np.s_[None, 2:4],
]


@pytest.mark.parametrize("index", INDICES, ids=map(str, INDICES))
@pytest.mark.parametrize("sort", ["f8", "big-endian", "bool", "datetime", "structured", "text", "fortran"])
def test_a_part_is_what_numpy_would_give(made: Path, sort: str, index: Any) -> None:
    expected = LARGE_SORTS[sort][index]
    with open_store(made) as store:
        part = store.array(f"large/{sort}")[index]
    assert same(part, expected)
    assert np.ndim(part) == np.ndim(expected)


def test_parts_of_several_dimensions(made: Path) -> None:
    expected = LARGE_SORTS["four-dimensions"]
    with open_store(made) as store:
        array = store.array("large/four-dimensions")
        for index in (np.s_[1, 2:4], np.s_[..., 1:3], np.s_[0, ..., 2], np.s_[1, 4, 7, 3], np.s_[:, 1, ..., :]):
            assert same(array[index], expected[index])
        for wrong in (np.s_[2], np.s_[0, 0, 0, 0, 0], np.s_[..., 0, ...]):
            with pytest.raises(IndexError):
                array[wrong]


def test_nothing_is_read_before_it_is_used(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(made) as store:
        monkeypatch.setattr(h5py, "File", None)
        array = store.array("large/f8")
        assert repr(array) == "<StoredArray data:large/f8@1, float64 40000 in m>"
        assert (array.unit, len(array), array.digest.partition(":")[0]) == ("m", 40_000, "blake3")


def test_numpy_takes_it_as_an_array(made: Path) -> None:
    with open_store(made) as store:
        array = store.array("small/i4")
        assert np.asarray(array, "f8").dtype == np.float64
        assert float(np.sum(array)) == float(SMALL_SORTS["i4"].sum())
        with pytest.raises(ValueError, match="always a copy"):
            np.array(array, copy=False)
        with pytest.raises(TypeError, match="no length"):
            len(store.array("small/scalar"))


def test_the_table_of_arrays_can_be_asked(made: Path) -> None:
    with open_store(made) as store:
        (row,) = store.sql("select * exclude (id, file, digest, dataset) from arrays where name = 'large/fortran'")
    assert row == {
        "kind": "data",
        "name": "large/fortran",
        "version": 1,
        "dtype": "<f8",
        "shape": [5_000, 8],
        "unit": "m",
        "bytes": 320_000,
        "snapshot": 1,
    }


def test_the_file_is_read_with_h5py_alone(made: Path) -> None:
    """Named datasets of the true type and shape, with checksums, names and unit; bytes where HDF5 has no such type."""
    with open_store(made) as store:
        about = {row["name"]: row for row in store.sql("select name, file, dataset from arrays")}
    (path,) = side_files(made)
    with h5py.File(path, "r") as file:
        for name, sort in LARGE_SORTS.items():
            dataset, expected = file[about[f"large/{name}"]["dataset"]], np.asarray(sort)
            form, shape = stored_form(expected.dtype, expected.shape)
            assert (dataset.dtype, dataset.shape) == (form, shape)
            assert dataset.fletcher32 or not dataset.size or not dataset.shape
            # An empty or scalar one is the same in both runs: the names are those of the log it was copied from.
            assert {f"data:large/{name}", f"data:small/{name}"} & set(dataset.attrs["names"])
            assert dataset[...].tobytes() == expected.tobytes()
        assert file[about["large/f8"]["dataset"]].attrs["unit"] == "m"
        assert file[about["large/datetime"]["dataset"]].attrs["dtype"] == "<M8[ms]"


# ------------------------------------------------------------------ once


def test_equal_content_is_copied_once_in_one_commit_and_over_several(tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    values = {"large": np.arange(50_000), "small": np.arange(50)}
    keep(tmp_path / "first", values)
    keep(tmp_path / "first", {f"other {name}": array for name, array in values.items()})
    assert compact(tmp_path / "first", store).arrays == 2
    keep(tmp_path / "second", {f"third {name}": array for name, array in values.items()})
    assert compact(tmp_path / "second", store).arrays == 0
    assert len(side_files(store)) == 1
    with open_store(store) as opened:
        for name in ("large", "other large", "third large"):
            assert same(opened.array(name), values["large"])


def test_nothing_new_leaves_no_file(tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    keep(tmp_path / "logs", {"large": np.arange(50_000)})
    compact(tmp_path / "logs", store)
    assert not compact(tmp_path / "logs", store).new
    assert len(side_files(store)) == 1


def test_an_array_that_is_still_being_recorded_comes_with_the_next_commit(tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    with braid.job("arrays", log_dir=tmp_path / "logs") as run:
        for number in range(3):
            run.array(f"a{number}", np.full(40_000, number))
            assert compact(tmp_path / "logs", store).arrays == 1
    compact(tmp_path / "logs", store)
    with open_store(store) as opened:
        assert [int(opened.array(f"a{number}")[7]) for number in range(3)] == [0, 1, 2]


def test_large_arrays_pass_through_memory_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[int] = []
    read = LoggedArray.read

    def note(self: Any, *arguments: Any) -> bytes:
        parts.append(len(data := read(self, *arguments)))
        return data

    monkeypatch.setattr(array_copies, "BLOCK", 10_000)
    monkeypatch.setattr(LoggedArray, "read", note)
    values = {"rows": np.random.default_rng(1).random((300, 7, 11)), "dates": np.arange(20_000).astype("M8[s]")}
    keep(tmp_path / "logs", values)
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    assert max(parts) <= 10_000
    with open_store(tmp_path / "prov.duckdb") as store:
        assert all(same(store.array(name), array) for name, array in values.items())


@given(st.lists(st.integers(1, 9), max_size=4), st.sampled_from([1, 4, 8]), st.integers(1, 300))
def test_parts_follow_each_other_in_memory(shape: list[int], item: int, most: int) -> None:
    numbers = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
    parts = [numbers[box] for box in boxes(tuple(shape), item, most)]
    assert np.concatenate([part.reshape(-1) for part in parts]).tolist() == list(range(numbers.size))
    assert all(part.size * item <= max(most, item) for part in parts)


# ------------------------------------------------------------------ what is damaged


def damage(log_dir: Path) -> Path:
    """Overwrite the bytes of the first array; return the file."""
    (path,) = log_dir.glob("*/arrays-1.h5")
    data = bytearray(path.read_bytes())
    at = data.index(np.full(30, 1.0).tobytes())
    data[at : at + 4] = b"\xff\0\xff\0"
    path.write_bytes(data)
    return path


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A log of three arrays, the first of which is damaged, and its store; a whole copy lies in ``whole``."""
    keep(tmp_path / "logs", {"bad": np.full(30_000, 1.0), "good": np.full(30_000, 2.0), "small": np.arange(3)})
    shutil.copytree(tmp_path / "logs", tmp_path / "whole")
    damage(tmp_path / "logs")
    done = compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    assert list(done.states.values()) == [WriterState.CORRUPT]
    assert done.arrays == 2
    return tmp_path


def test_a_damaged_array_is_named_and_everything_else_is_there(damaged: Path) -> None:
    with open_store(damaged / "prov.duckdb") as store:
        (problem,) = store.sql("select message from problems where code = 'array'")
        (rank,) = store.sql("select state, faults from ranks")
        assert problem["message"].startswith("array data:bad (blake3:")
        assert rank == {"state": "corrupt", "faults": [problem["message"]]}
        assert store.get("data:bad").version == 1
        with pytest.raises(NotFoundError, match="the bytes of data:bad@1 are not in this store"):
            store.array("bad")
        assert same(store.array("good"), np.full(30_000, 2.0))
        assert same(store.array("small"), np.arange(3))


def test_damage_that_is_known_makes_no_snapshot(damaged: Path) -> None:
    assert not compact(damaged / "logs", damaged / "prov.duckdb").new
    keep(damaged / "more", {"later": np.arange(9)})
    shutil.copytree(damaged / "logs", damaged / "more", dirs_exist_ok=True)
    assert compact(damaged / "more", damaged / "prov.duckdb").new
    with open_store(damaged / "prov.duckdb") as store:
        assert len(store.sql("select message from problems where code = 'array'")) == 1


def test_a_whole_copy_of_the_log_heals_it(damaged: Path) -> None:
    done = compact(damaged / "whole", damaged / "prov.duckdb")
    assert (done.new, done.arrays) == (True, 1)
    with open_store(damaged / "prov.duckdb") as store:
        assert same(store.array("bad"), np.full(30_000, 1.0))
        assert store.sql("select state from ranks")["state"] == ["closed"]


def test_of_two_copies_of_a_log_the_whole_one_counts(damaged: Path) -> None:
    both = damaged / "both"
    both.mkdir()
    shutil.copytree(damaged / "whole", both / "a")
    shutil.copytree(damaged / "logs", both / "b")
    assert compact(both, damaged / "fresh.duckdb").arrays == 3


# ------------------------------------------------------------------ commits that come to nothing


def test_a_commit_that_is_not_published_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "prov.duckdb"
    keep(tmp_path / "logs", {"large": np.arange(50_000)})
    publish = StoreFiles.publish
    tries: list[list[Path]] = []

    def lose_once(self: StoreFiles, aside: Path, number: int) -> None:
        tries.append(side_files(store))
        if len(tries) == 1:
            raise ConflictError("another compaction was faster")
        publish(self, aside, number)

    monkeypatch.setattr(StoreFiles, "publish", lose_once)
    compact(tmp_path / "logs", store)
    assert [len(files) for files in tries] == [1, 1]
    assert side_files(store) == tries[1] != tries[0]


def test_arrays_are_on_disk_before_the_snapshot_has_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "prov.duckdb"
    keep(tmp_path / "logs", {"large": np.arange(50_000)})
    steps: list[str] = []
    sync, close = os.fsync, committing._close_commit

    def note_sync(descriptor: int) -> None:
        steps.append("fsync")
        sync(descriptor)

    def note_commit(*arguments: Any) -> None:
        steps.append("commit")
        close(*arguments)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(committing, "_close_commit", note_commit)
    compact(tmp_path / "logs", store)
    assert steps[:2] == ["fsync", "fsync"]
    assert steps.index("commit") >= 2


def test_what_a_killed_commit_left_behind_does_no_harm(tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    keep(tmp_path / "logs", {"large": np.arange(50_000)})
    left = StoreFiles(store).arrays / "1-00000000.h5"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a file")
    compact(tmp_path / "logs", store)
    with open_store(store) as opened:
        assert same(opened.array("large"), np.arange(50_000))


def test_stores_of_the_same_logs_are_digest_equal(tmp_path: Path) -> None:
    keep(tmp_path / "logs", {"large": np.arange(50_000), "small": np.arange(3)})
    digests = []
    for name in ("one.duckdb", "other.duckdb"):
        compact(tmp_path / "logs", tmp_path / name)
        with open_store(tmp_path / name) as store:
            digests.append(store.digests())
    assert digests[0] == digests[1]
    assert digests[0]["arrays"].startswith("2:")


# ------------------------------------------------------------------ errors


def opened_array(store: Store, name: str = "large") -> StoredArray:
    """Give an array that was not read yet."""
    return store.array(name)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A store with one array and one record without."""
    with braid.job("arrays", log_dir=tmp_path / "logs") as run:
        run.array("large", np.full(50_000, 1.5))
        run.data("described", array=np.arange(7))
        with run.activity("reduce"):
            pass
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


def test_a_record_without_bytes_and_an_activity_have_no_array(one: Path) -> None:
    with open_store(one) as store:
        with pytest.raises(NotFoundError, match="the bytes of data:described@1 are not in this store"):
            store.array("described")
        with pytest.raises(NotFoundError, match="is not a record"):
            store.array("activity:reduce")
        with pytest.raises(NotFoundError, match="not in this store"):
            store.array("nothing")


def test_an_array_of_a_closed_store_is_not_read(one: Path) -> None:
    with open_store(one) as store:
        array = opened_array(store)
        array[0]
    with pytest.raises(InvalidInputError, match="the store was closed"):
        array.read()


def test_a_store_that_was_copied_alone_says_what_is_missing(one: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "prov.duckdb"
    alone.parent.mkdir()
    shutil.copy(one, alone)
    with open_store(alone) as store, pytest.raises(NotFoundError, match=r"prov.duckdb.d belongs to the store"):
        opened_array(store).read()


@pytest.mark.parametrize("damage_at", [1_000, "array", "cut"])
def test_a_damaged_file_beside_the_store_is_told_and_never_read_wrong(one: Path, damage_at: Any) -> None:
    (path,) = side_files(one)
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    if damage_at == "cut":
        data = data[: len(data) // 2]
    else:
        at = data.index(np.full(9, 1.5).tobytes()) if damage_at == "array" else 48
        data[at : at + 8] = b"\xa5" * 8
    path.write_bytes(data)
    with open_store(one) as store, pytest.raises(CorruptLogError) as told:
        opened_array(store).read()
    assert "\n" not in str(told.value)


def test_without_h5py_one_sentence_says_what_to_install(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with open_store(one) as store, pytest.raises(MissingExtraError, match=r"pip install 'braid_hpc\[arrays\]'"):
        opened_array(store).read()
    with pytest.raises(MissingExtraError, match=r"pip install 'braid_hpc\[arrays\]'"):
        compact(one.parent / "logs", one.with_name("other.duckdb"))
    assert not one.with_name("other.duckdb").exists()
