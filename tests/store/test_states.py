"""Model states come back bit for bit: through the log, compaction and the store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import open_store
from braid_hpc.vocabulary.errors import CorruptLogError, InvalidInputError, NotFoundError
from tests.faults.campaign import many
from tests.jobs import one
from tests.recorded_arrays import NAN_WITH_PAYLOAD, arrays_of_every_sort, same

EVERY_SORT: dict[str, Any] = {
    **{f"large/{name}": array for name, array in arrays_of_every_sort().items()},
    **{f"small.{name}": array for name, array in arrays_of_every_sort(80).items()},
    "bfloat16": np.arange(30_000).astype(ml_dtypes.bfloat16),
    "float8": np.arange(30).astype(ml_dtypes.float8_e5m2),
    "extended-fields": np.zeros(4, [("a", ml_dtypes.float8_e5m2), ("b", "i1")]),
    "odd-bool": np.array([0, 1, 2, 255], "u1").view("?"),
    "": np.array([NAN_WITH_PAYLOAD], "u8").view("f8"),
    "naïve 🧵\0\n/..": np.array(3),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with states of every kind."""
    root = tmp_path_factory.mktemp("states")
    with braid.job("states", log_dir=root / "logs") as run:
        run.model("every", state=EVERY_SORT)
        run.model("none", state={})
        run.model("bytes", state=b"\0\1\2" * 20_000)
        run.model("described", digest="x:1")
        with run.activity("train"):
            pass
    compact(root / "logs", root / "prov.duckdb")
    return root / "prov.duckdb"


def expected_of(name: str) -> Any:
    """Give what comes back: fields that NumPy does not have by itself come back as bytes."""
    array = np.asarray(EVERY_SORT[name])
    return array.view("V2") if name == "extended-fields" else array


def test_a_state_comes_back_bit_for_bit(made: Path) -> None:
    with open_store(made) as store:
        model = store.model("model:every")
        back = model.state()
        assert list(back) == sorted(EVERY_SORT)
        assert [name for name in EVERY_SORT if not same(back[name], expected_of(name))] == []
        assert model.size == sum(np.asarray(array).nbytes for array in EVERY_SORT.values())
        assert store.model("none").state() == {}
        assert store.model("none").has_state


def test_a_part_of_a_state_is_read_alone(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By names; without reading, the arrays are there with shape and dtype, and slices."""
    with open_store(made) as store:
        model = store.model("every")
        assert list(model.state(["small.i4", "large/f8"])) == ["large/f8", "small.i4"]
        assert list(model.state("small.i4")) == ["small.i4"]
        part = model.tensor("large/f8")
        assert same(part[5:9], EVERY_SORT["large/f8"][5:9])
    with open_store(made) as store:
        monkeypatch.setattr(h5py, "File", None)
        arrays = store.model("every").arrays()
        assert {name: array.shape for name, array in arrays.items()} == {
            name: np.shape(array) for name, array in EVERY_SORT.items()
        }


def test_bytes_come_back(made: Path) -> None:
    with open_store(made) as store:
        model = store.model("bytes")
        assert model.data() == b"\0\1\2" * 20_000
        assert (model.has_bytes, model.has_state, model.size, model.tensors) == (True, False, 60_000, {})


def test_what_is_not_there_is_said_in_one_sentence(made: Path) -> None:
    with open_store(made) as store:
        asked: list[tuple[Callable[[], object], str]] = [
            (lambda: store.model("bytes").state(), "it has bytes: ask for data"),
            (lambda: store.model("described").state(), "it was not declared with state="),
            (lambda: store.model("described").data(), "they were not recorded"),
            (lambda: store.model("every").data(), r"ask for state\(\)"),
            (lambda: store.model("every").state(["conv"]), "there is no array 'conv' in the state of model:every@1"),
            (lambda: store.model("activity:train"), "is not a record"),
            (lambda: store.model("nothing"), "not in this store"),
        ]
        for ask, said in asked:
            with pytest.raises(NotFoundError, match=said) as told:
                ask()
            assert "\n" not in str(told.value)
        model = store.model("every")
    assert model.tensor("large/f8").shape == (40_000,)
    with pytest.raises(InvalidInputError, match="closed"):
        model.state(["large/f8"])


def test_the_view_says_which_arrays_versions_share(tmp_path: Path) -> None:
    frozen, heads = np.arange(9_000.0), [np.full(5_000, n) for n in range(3)]
    with one(tmp_path / "logs") as job:
        for head in heads:
            job[0].model("net", state={"frozen": frozen, "head": head})
    done = compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    assert done.arrays == 4
    with open_store(tmp_path / "prov.duckdb") as store:
        shared = store.sql("select tensor, count(distinct digest) as n from tensors group by tensor order by tensor")
        assert shared.to_pylist() == [{"tensor": "frozen", "n": 1}, {"tensor": "head", "n": 3}]
        (row,) = store.sql("select * exclude (id, digest) from tensors where version = 2 and tensor = 'head'")
    assert row == {
        "kind": "model",
        "name": "net",
        "version": 2,
        "tensor": "head",
        "dtype": "<i8",
        "shape": [5_000],
        "bytes": 40_000,
        "stored": True,
        "snapshot": 1,
    }


def test_restored_weights_are_a_new_version_of_one_content(tmp_path: Path) -> None:
    """By ruling of identity: what a rank goes back to is a step on; its arrays are stored once."""
    first, second = ({"a": np.full(9, n)} for n in range(2))
    with one(tmp_path / "logs") as job:
        model = None
        for state in (first, second, first):
            model = job[0].model("net", state=state, derived_from=model or "fact:seed")
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with open_store(tmp_path / "prov.duckdb") as store:
        assert store.sql("select version, step from versions where name = 'net' order by version")["step"] == [0, 1, 2]
        assert same(store.model("net@3").state()["a"], first["a"])
        assert store.model("net@1").digest == store.model("net@3").digest != store.model("net@2").digest


# ------------------------------------------------------------------ any mapping

DTYPES = st.one_of(
    arrays_of.scalar_dtypes(),
    arrays_of.array_dtypes(max_size=3),
    st.sampled_from([np.dtype(ml_dtypes.bfloat16), np.dtype("c8"), np.dtype(">f2"), np.dtype("V3")]),
)


@st.composite
def any_array(draw: Any) -> Any:
    """Give an array of any bits, in any layout."""
    dtype = np.dtype(draw(DTYPES))
    shape = draw(arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    count = int(np.prod(shape, dtype=int))
    raw = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    array = np.frombuffer(raw, dtype).reshape(shape) if raw else np.zeros(shape, dtype)
    # Of text any four bytes are not text.
    if dtype.kind == "U" or dtype.fields:
        array = np.zeros(shape, dtype)
    return draw(st.sampled_from([lambda x: x, np.asfortranarray, lambda x: x[::-1] if x.ndim else x]))(array)


@settings(
    max_examples=many(100, 3),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    # A store for each attempt at a smaller example would take minutes.
    phases=[Phase.explicit, Phase.generate],
)
@given(
    st.lists(st.dictionaries(st.text(max_size=8), any_array(), max_size=4), min_size=8, max_size=16),
    st.binary(max_size=50),
)
def test_any_mapping_comes_back_through_log_compaction_and_store(states: list[dict[str, Any]], raw: bytes) -> None:
    """A store for many states, because making one takes the time."""
    folder = Path(tempfile.mkdtemp())
    try:
        with one(folder / "logs") as job:
            for number, state in enumerate(states):
                assert job[0].model(f"net/{number}", state=state)
            assert job[0].model("raw", state=raw)
        compact(folder / "logs", folder / "prov.duckdb")
        with open_store(folder / "prov.duckdb") as store:
            for number, state in enumerate(states):
                back = store.model(f"net/{number}").state()
                assert back.keys() == state.keys()
                assert all(same(back[name], state[name]) for name in state)
            assert store.model("raw").data() == raw
    finally:
        shutil.rmtree(folder)


# ------------------------------------------------------------------ what is damaged or missing


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with one(tmp_path / "logs") as job:
        job[0].model("net", state={"good": np.full(9_000, 2.0), "bad": np.full(9_000, 1.0)})
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


def change(store: Path, statement: str) -> None:
    """Change what a snapshot says, as damage would."""
    path = store.with_name("prov.duckdb.d") / "1.duckdb"
    path.chmod(0o644)
    with duckdb.connect(path) as connection:
        connection.execute(statement)


def test_bytes_that_do_not_carry_their_digest_are_never_given(store: Path) -> None:
    (path,) = (store.parent / "prov.duckdb.d" / "arrays").glob("*.h5")
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        for dataset in file.values():
            if dataset[0] == 1.0:
                dataset[3] = 7.0
    with open_store(store) as opened:
        assert same(opened.model("net").state(["good"])["good"], np.full(9_000, 2.0))
        with pytest.raises(CorruptLogError, match="the bytes of array 'bad' of model:net@1 do not carry their digest"):
            opened.model("net").state()


def test_a_list_that_does_not_carry_its_digest_is_not_believed(store: Path) -> None:
    """Two layers that changed places, each whole by itself, are another model."""
    change(store, "update state_rows set tensor = case tensor when 'good' then 'bad' else 'good' end")
    with open_store(store) as opened, pytest.raises(CorruptLogError, match="the list of arrays of model:net@1"):
        opened.model("net").state()


def test_a_lost_array_is_named(store: Path) -> None:
    change(store, "delete from array_rows where digest in (select digest from state_rows where tensor = 'bad')")
    with open_store(store) as opened:
        assert opened.sql("select tensor from tensors where not stored")["tensor"] == ["bad"]
        assert list(opened.model("net").state(["good"])) == ["good"]
        with pytest.raises(NotFoundError, match="the bytes of array 'bad' of model:net@1 are not in this store"):
            opened.model("net").state()
