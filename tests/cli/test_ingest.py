"""``braid ingest bluesky``: files of documents become a store, once."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgpack
import msgpack_numpy
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from suitcase import jsonl
from suitcase import msgpack as suitcase_msgpack

from braid_hpc.cli import document_files
from braid_hpc.cli.msgpack_stream import Messages, arrays_of
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.store.store import Store
from tests.cli.conftest import Braid
from tests.collectors.documents.instrument import Pair, check, descriptor, event, folded, key, scan, start, stop
from tests.jobs import count, digests


def values() -> st.SearchStrategy[object]:
    """Whatever msgpack writes."""
    scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary())
    long = st.integers(14, 70_000).map(lambda size: [None] * size)
    return st.one_of(
        st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner)),
        st.binary(min_size=250, max_size=260),
        st.integers(30, 70_000).map(lambda size: "x" * size),
        long,
        long.map(lambda items: dict.fromkeys(range(len(items)))),
        st.binary(max_size=20).map(lambda data: msgpack.ExtType(5, data)),
    )


def written(folder: Path, documents: list[Pair]) -> Path:
    """Write the documents of a run as suitcase does."""
    with jsonl.Serializer(folder, file_prefix="{start[uid]}") as serializer:
        for name, document in documents:
            serializer(name, document)
    (path,) = serializer.artifacts["all"]
    return Path(path)


def test_what_suitcase_wrote_comes_back_and_a_second_time_changes_nothing(cli: Braid, tmp_path: Path) -> None:
    """Files in one command, then one of them again under another name: no new snapshot; the store can be rebuilt."""
    runs_of = [scan(3), scan(2, streams=("primary", "dark"))]
    paths = [written(tmp_path, documents) for documents in runs_of]
    store = tmp_path / "prov.duckdb"
    done = cli("ingest", "bluesky", *paths, "--store", store)
    assert done.exit_code == 0, done.output
    assert "snapshot 1" in done.output
    assert "14 documents of 2 files" in done.output
    with Store(store) as opened:
        for documents in runs_of:
            check(opened.documents(documents[0][1]["uid"]), folded(documents, documents[0][1]["uid"]))
    before = digests(store)
    shutil.copy(paths[0], tmp_path / "copy.jsonl")
    again = cli("ingest", "bluesky", paths[1], tmp_path / "copy.jsonl", "--store", store)
    assert again.exit_code == 0
    assert "2 of 2 files are known" in again.output
    assert digests(store) == before
    assert count(store, "snapshots") == 1
    store.unlink()
    rebuild(store)
    assert digests(store) == before


def test_files_that_overlap_and_bad_lines(cli: Braid, tmp_path: Path) -> None:
    """A file that has grown is taken again, and each document is there once; what is no document is counted."""
    documents = scan(4)
    path = tmp_path / "grows.jsonl"
    lines = [json.dumps(pair) for pair in documents]
    store = tmp_path / "prov.duckdb"
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])
    first = cli("ingest", "bluesky", path, "--store", store)
    assert "1 no document" in first.output
    odd = ["", "{", "[1, 2]", '["start"]', json.dumps({"name": "stop", "doc": documents[-1][1]}), "[" * 100_000]
    path.write_text("\n".join([*lines[:-1], *odd]) + "\n")
    second = cli("ingest", "bluesky", path, "--store", store)
    assert second.exit_code == 0, second.output
    assert "4 no document" in second.output
    with Store(store) as opened:
        found = opened.documents(documents[0][1]["uid"])
        check(found, folded(documents, documents[0][1]["uid"]))
        assert found.whole
        lost = opened.sql(
            "select unit, first, last, count from stream.collector_losses where _snapshot = 2 order by first"
        )
        assert [tuple(row.values())[:3] for row in lost] == [("line", 8, 10), ("line", 12, 12)]


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Braid) -> None:
    """It is not held in memory as a whole, and the next one is read."""
    monkeypatch.setattr(document_files, "LONGEST", 1000)
    documents = scan(1)
    path = tmp_path / "long.jsonl"
    path.write_text("x" * 5500 + "\n" + "".join(json.dumps(pair) + "\n" for pair in documents))
    done = cli("ingest", "bluesky", path, "--store", tmp_path / "s.duckdb")
    assert "1 no document" in done.output
    with Store(tmp_path / "s.duckdb") as opened:
        assert opened.documents(documents[0][1]["uid"]).whole


def packed(folder: Path, documents: list[Pair]) -> Path:
    """Write the documents of a run as suitcase-msgpack does."""
    with suitcase_msgpack.Serializer(folder, file_prefix="{start[uid]}") as serializer:
        for name, document in documents:
            serializer(name, document)
    (path,) = serializer.artifacts["all"]
    return Path(path)


def with_arrays() -> list[Pair]:
    """A run with arrays and scalars of NumPy, as a program hands them over."""
    first = start(positions=np.arange(6, dtype="<u2").reshape(2, 3), energy=np.float32(1.5))
    of = descriptor(first, {"img": key("array", [2, 2]), "n": key("integer")})
    taken = [event(of, n, {"img": np.full((2, 2), n, ">f4"), "n": np.int64(n)}) for n in (1, 2)]
    return [first, of, *taken, stop(first, {"primary": 2})]


def test_messagepack_of_suitcase_comes_back(cli: Braid, tmp_path: Path) -> None:
    """With its arrays; events were made pages of by its writer, and are given one by one."""
    runs_of = [scan(3), with_arrays()]
    for documents in runs_of:
        packed(tmp_path, documents)
    done = cli("ingest", "bluesky", tmp_path, "--store", tmp_path / "s.duckdb")
    assert done.exit_code == 0, done.output
    assert "of 2 files" in done.output
    with Store(tmp_path / "s.duckdb") as opened:
        for documents in runs_of:
            check(opened.documents(documents[0][1]["uid"]), folded(documents, documents[0][1]["uid"]))


def test_a_directory_stands_for_its_files(cli: Braid, tmp_path: Path) -> None:
    """Of both forms, compressed or not, of several runs and the parts of one, in folders below; others are not read."""
    runs_of = [scan(3) for _ in range(3)]
    folder = tmp_path / "scans" / "more"
    folder.mkdir(parents=True)
    packed(folder, runs_of[0])
    written(tmp_path / "scans", runs_of[1])
    for part, documents in (("a", runs_of[2][:3]), ("b", runs_of[2][3:])):
        lines = "".join(json.dumps({"name": name, "doc": document}) + "\n" for name, document in documents)
        (folder / f"{part}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "notes.txt").write_text("not of interest")
    done = cli("ingest", "bluesky", tmp_path / "scans", "--store", tmp_path / "s.duckdb")
    assert done.exit_code == 0, done.output
    assert "of 4 files" in done.output
    with Store(tmp_path / "s.duckdb") as opened:
        for documents in runs_of:
            assert opened.documents(documents[0][1]["uid"]).whole
    assert (
        "4 of 4 files are known"
        in cli("ingest", "bluesky", tmp_path / "scans", "--store", tmp_path / "s.duckdb").output
    )


def test_what_is_cut_off_is_said(cli: Braid, tmp_path: Path) -> None:
    """A stream that ends within a document, one that goes on as something else, and a compressed file that was cut."""
    documents = scan(1)
    stream = b"".join(msgspec.msgpack.encode(pair) for pair in documents)
    lines = "".join(json.dumps(pair) + "\n" for pair in documents).encode()
    damaged = {
        "cut.msgpack": stream[:-3],
        "odd.msgpack": stream + b"\xc1" + stream,
        "pairs.msgpack": stream + b"\x93\x01\x02\x03",
        "cut.jsonl.gz": gzip.compress(lines)[:-12],
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
    done = cli("ingest", "bluesky", tmp_path, "--store", tmp_path / "s.duckdb")
    assert done.exit_code == 0, done.output
    assert "4 no document" in done.output
    with Store(tmp_path / "s.duckdb") as opened:
        assert opened.documents(documents[0][1]["uid"]).whole
        units = opened.sql("select unit, count(*) as n from stream.collector_losses group by unit").to_pylist()
        assert units == [{"unit": "byte", "n": 4}]


@pytest.mark.parametrize(
    "data", [b"motor,det\n1,2\n", b"\x89HDF\r\n\x1a\n", b"\x1f\x8bnothing", bytes(100), b"PK\x03\x04"]
)
def test_a_file_of_something_else_is_refused(cli: Braid, tmp_path: Path, data: bytes) -> None:
    """In one sentence, before anything is taken."""
    path = written(tmp_path, scan(1))
    (tmp_path / "other").write_bytes(data)
    done = cli("ingest", "bluesky", path, tmp_path / "other", "--store", tmp_path / "s.duckdb")
    assert done.exit_code == 2
    (line,) = done.output.strip().splitlines()
    assert "holds no documents" in line or "cannot be read" in line
    assert not (tmp_path / "s.duckdb").exists()


@given(st.lists(values(), max_size=4), st.integers(1, 9))
def test_objects_of_a_stream_end_where_msgpack_says(objects: list[object], chunk: int) -> None:
    """However the stream is cut into pieces, also at its very end."""
    whole = [msgpack.packb(each) for each in objects]
    stream = io.BytesIO(b"".join(whole))
    stream.read = partial(_read, stream.read, chunk)  # type: ignore[method-assign]
    found = list(Messages(stream, 1 << 20))
    assert [data for _, data in found] == whole
    assert [at for at, _ in found] == [sum(map(len, whole[:n])) for n in range(len(whole))]
    for data in whole[:1]:
        cut = Messages(io.BytesIO(data[:-1]), 1 << 20)
        assert list(cut) == []
        assert bool(cut.fault) == (len(data) > 1)


def _read(read: Callable[[int], bytes], chunk: int, size: int) -> bytes:
    return read(min(chunk, size))


def test_an_object_that_claims_much_is_not_read() -> None:
    """Of 2^32 items or bytes: memory stays what it was."""
    for head in (b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"):
        hostile = Messages(io.BytesIO(head + bytes(100)), 1000)
        assert list(hostile) == []
        assert hostile.fault == "an object of more than 1000 bytes"


def test_nothing_is_unpickled() -> None:
    """What msgpack-numpy pickled stays bytes."""
    made = msgpack.packb({"a": np.array([{}], object)}, default=msgpack_numpy.encode)
    assert arrays_of(msgspec.msgpack.decode(made))["a"][b"kind"] == b"O"


def test_a_file_that_is_not_there_takes_nothing(cli: Braid, tmp_path: Path) -> None:
    path = written(tmp_path, scan(1))
    done = cli("ingest", "bluesky", path, tmp_path / "none.jsonl", "--store", tmp_path / "s.duckdb")
    assert done.exit_code == 3
    assert not (tmp_path / "s.duckdb").exists()
    (tmp_path / "empty").mkdir()
    assert cli("ingest", "bluesky", tmp_path / "empty", "--store", tmp_path / "s.duckdb").exit_code == 3


def test_a_fifo_is_refused_and_not_waited_for(cli: Braid, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jsonl")
    done = cli("ingest", "bluesky", tmp_path / "fifo.jsonl", "--store", tmp_path / "prov.duckdb")
    assert done.exit_code == 2
    assert "not a regular file" in done.output


@pytest.mark.parametrize("laid", ["mark", "array", "indented", "by lines"])
def test_other_layouts_of_json_are_taken(cli: Braid, tmp_path: Path, laid: str) -> None:
    """A mark of UTF-8 at the beginning, and one array of documents."""
    documents = scan(2)
    lines = [json.dumps(pair) for pair in documents]
    text = {
        "mark": "\ufeff" + "\n".join(lines),
        "array": json.dumps(documents),
        "indented": json.dumps([{"name": name, "doc": document} for name, document in documents] + [3], indent=2),
        "by lines": "[\n" + ",\n".join(lines) + "\n]\n",
    }[laid]
    (tmp_path / "run.jsonl").write_text(text)
    done = cli("ingest", "bluesky", tmp_path / "run.jsonl", "--store", tmp_path / "prov.duckdb")
    assert done.exit_code == 0, done.output
    assert ("1 no document" in done.output) == (laid == "indented")
    with Store(tmp_path / "prov.duckdb") as opened:
        found = opened.documents(documents[0][1]["uid"])
        check(found, folded(documents, documents[0][1]["uid"]))


def test_indented_json_that_is_no_array_is_refused(cli: Braid, tmp_path: Path) -> None:
    """Several documents one below the other, each over many lines: none of them would be found."""
    (tmp_path / "run.json").write_text("\n".join(json.dumps(pair, indent=2) for pair in scan(2)))
    done = cli("ingest", "bluesky", tmp_path / "run.json", "--store", tmp_path / "prov.duckdb")
    assert (done.exit_code, "holds no documents" in done.output) == (2, True)
    assert not (tmp_path / "prov.duckdb").exists()
