"""Documents in files: what is written comes back equal, through braid ingest and through others' readers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.cli.document_files import form_of, read_documents
from braid_hpc.cli.ingesting import ingest_documents
from braid_hpc.exports.emitted import Pair
from braid_hpc.exports.replaying import export_documents
from braid_hpc.exports.words import FORMS, write_json, write_jsonl, write_msgpack
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.verbatim import Unkept
from tests.collectors.documents.instrument import descriptor, event, key, same, scan, start, stop, stored

#: What both forms say exactly.
SAYABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def written(form: str, documents: list[Pair]) -> bytes:
    file = io.BytesIO()
    assert FORMS[form](documents, file) == len(documents)
    return file.getvalue()


def read(folder: Path, form: str, documents: list[Pair]) -> list[Any]:
    path = folder / f"x.{form}"
    path.write_bytes(written(form, documents))
    assert form_of(path) == {"documents": "json"}.get(form, form)
    return list(read_documents(path, form_of(path)))


@pytest.mark.parametrize("form", FORMS)
@given(value=SAYABLE)
def test_documents_come_back_equal(tmp_path_factory: pytest.TempPathFactory, form: str, value: Any) -> None:
    """Integers of any size, NaN, infinities, -0.0 and text with lone surrogates among them."""
    documents: list[Pair] = [("start", {"uid": "s", "x": value}), ("stop", {"run_start": "s", "y": [value]})]
    found = read(tmp_path_factory.mktemp("x"), form, documents)
    assert [name for name, _ in found] == ["start", "stop"]
    assert same(documents[0][1], found[0][1])
    assert same(documents[1][1], found[1][1])


def rich() -> list[Pair]:
    first = start(wide=2**60 + 1, wider=-(2**90), nothing=float("nan"), name="Ångström \ud800", nested={"a": [1, {}]})
    of = descriptor(first, {"img": key("array", [2, 3]), "n": key("integer"), "t": key("string"), "x": key()})
    events = [event(of, n, {"img": [[n, 1, 2]] * 2, "n": n, "t": "ü", "x": n / 3}) for n in range(1, 4)]
    return [first, of, *events, stop(first, {"primary": 3})]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pages", [None, 2])
def test_a_store_that_is_made_of_an_export_gives_the_same(tmp_path: Path, form: str, pages: int | None) -> None:
    """Store, file, store, file: the documents are equal, and so are the files."""
    documents = rich()
    with stored(tmp_path / "one", documents) as store:
        there = list(export_documents(store.documents(documents[0][1]["uid"]), pages=pages))
    path = tmp_path / f"out.{form}"
    path.write_bytes(written(form, there))
    ingest_documents([path], StoreFiles(tmp_path / "two.duckdb"))
    with Store(tmp_path / "two.duckdb") as store:
        found = store.documents(documents[0][1]["uid"])
        assert found.whole
        again = list(export_documents(found))
        paged = list(export_documents(found, pages=pages))
    assert [name for name, _ in again] == [name for name, _ in documents]
    assert all(same(old[1], new[1]) for old, new in zip(documents, again, strict=True))
    assert written(form, paged) == path.read_bytes()


def test_other_readers_read_them() -> None:
    """Python's json, and msgpack with msgpack-numpy, give what was written."""
    documents = scan(3)
    documents[0][1]["frame"] = np.arange(6, dtype="<i2").reshape(2, 3)
    lines = [json.loads(line) for line in written("jsonl", documents).splitlines()]
    assert lines == json.loads(written("documents", documents))
    assert lines[0][1].pop("frame") == [[0, 1, 2], [3, 4, 5]]
    found = list(msgpack.Unpacker(io.BytesIO(written("msgpack", documents)), object_hook=msgpack_numpy.decode))
    frame = found[0][1].pop("frame")
    assert frame.dtype == "<i2"
    assert frame.tolist() == [[0, 1, 2], [3, 4, 5]]
    documents[0][1].pop("frame")
    assert lines == found == [list(pair) for pair in documents]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.array([True, False]),
        np.array(["a", "bc"]),
        np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8", (2,))]),
        np.zeros((0, 3), "u1"),
        np.array([1 + 2j]),
        np.array(["2026-11-22"], "M8[D]"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_are_arrays_in_messagepack(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    (found,) = read(tmp_path, "msgpack", [("start", {"uid": "s", "x": array})])
    assert found[1]["x"].dtype == array.dtype
    assert found[1]["x"].shape == array.shape
    assert found[1]["x"].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "value", [b"x", {1, 2}, 1 + 2j, {1: 2}, np.array([1j]), object()], ids=lambda value: str(type(value))
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    """It is not made into something else: the sentence says where it stands, and what to do."""
    for write in (write_jsonl, write_json):
        with pytest.raises(
            InvalidInputError, match=r"JSON cannot say .*, which stands in start\.a.*: export as msgpack"
        ):
            write([("start", {"uid": "s", "a": [value]})], io.BytesIO())


@pytest.mark.parametrize(
    "value", [b"x", {1, 2}, 1 + 2j, {1: 2, "a": 3}, frozenset({"a"})], ids=lambda value: str(type(value))
)
def test_messagepack_says_more(tmp_path: Path, value: Any) -> None:
    """What it has no form for is a type of its own, which braid ingest reads."""
    (found,) = read(tmp_path, "msgpack", [("start", {"uid": "s", "a": [value]})])
    assert found[1] == {"uid": "s", "a": [value]}
    assert type(found[1]["a"][0]) is type(value)


def test_what_could_not_be_recorded_is_said_again(tmp_path: Path) -> None:
    lost = Unkept("ndarray", "too large")
    (found,) = read(tmp_path, "msgpack", [("start", {"uid": "s", "a": lost})])
    assert found[1]["a"] == lost
    (found,) = read(tmp_path, "jsonl", [("start", {"uid": "s", "a": lost})])
    assert found[1]["a"] == {"unkept": "ndarray", "reason": "too large"}


def test_nothing_at_all_is_a_file_too(tmp_path: Path) -> None:
    assert (written("documents", []), written("jsonl", []), written("msgpack", [])) == (b"[]\n", b"", b"")


def test_an_object_without_form_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"MessagePack cannot say object .*stands in start\.a\[0\]"):
        write_msgpack([("start", {"uid": "s", "a": [object()]})], io.BytesIO())
