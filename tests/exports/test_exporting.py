"""Tables and documents of scans, streams of any run, and whole stores, as others read them; and the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from braid_hpc.exports.exporting import export, export_stream
from braid_hpc.exports.store_tables import export_store
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from tests.cli.conftest import Braid, cli
from tests.collectors.documents.instrument import Pair, descriptor, event, key, record, scan, start, stop, stored
from tests.jobs import made, one

__all__ = ["cli"]


def two() -> list[Pair]:
    first = start(scan_id=7)
    of = descriptor(first, {"x": key(units="mm"), "n": key("integer"), "t": key("string"), "a": key("array", [2])})
    dark = descriptor(first, {"det": key()}, "dark/1")
    events = [event(of, n, {"x": n / 3, "n": 2**60 + n, "t": f"a,{n}", "a": [n, 0.5]}) for n in (1, 2, 3)]
    return [first, of, dark, *events, event(dark, 1, {"det": 1.0}), stop(first, {"primary": 3, "dark/1": 1})]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A scan of two streams, and a run with a stream of its own."""
    record(tmp_path / "logs", two())
    with one(tmp_path / "logs") as job:
        job[0].stream("hits", {"x": "float64", "n": "int64"}, units={"x": "px"}).extend(
            {"x": [0.5, float("nan")], "n": [1, -(2**62)]}
        )
    return made(tmp_path / "logs", tmp_path / "prov.duckdb")


def test_streams_as_parquet(store: Store, tmp_path: Path) -> None:
    """A file for each, with types, units, and what it is of; read by pyarrow alone."""
    with store:
        done = export(store, 7, to=tmp_path / "out", format="parquet")
        expected = store.scan(7).table("primary").to_arrow()
    assert done.counts == {"primary": 3, "dark/1": 1}
    manifest = json.loads((tmp_path / "out" / "export.json").read_text())
    assert {name: about["rows"] for name, about in manifest["files"].items()} == {
        "primary.parquet": 3,
        "dark_1.parquet": 1,
    }
    found = pq.read_table(tmp_path / "out" / "primary.parquet")
    assert found.to_pydict() == expected.to_pydict()
    assert found["n"].to_pylist() == [2**60 + n for n in (1, 2, 3)]
    assert [str(found.schema.field(name).type) for name in ("x", "n", "t")] == ["double", "int64", "string"]
    assert pa.types.is_large_list(found.schema.field("a").type)
    assert found.schema.field("x").metadata[b"unit"] == b"mm"
    about = json.loads(found.schema.metadata[b"braid"])
    assert about["stream"] == "primary"
    assert about["scan"] == manifest["scan"]


def test_streams_as_csv(store: Store, tmp_path: Path) -> None:
    with store:
        export(store, 7, to=tmp_path / "one.csv", streams=["primary"])
        export(store, 7, to=tmp_path / "all", format="csv")
        with pytest.raises(InvalidInputError, match=r"two\.csv holds one stream: name one of primary, dark/1, or give"):
            export(store, 7, to=tmp_path / "two.csv")
    with open(tmp_path / "one.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["x"]), int(row["n"]), row["t"], json.loads(row["a"])) for row in rows] == [
        (n / 3, 2**60 + n, f"a,{n}", [n, 0.5]) for n in (1, 2, 3)
    ]
    about = json.loads((tmp_path / "one.csv-metadata.json").read_text())
    assert {each["name"]: each.get("schema:unitText") for each in about["tableSchema"]["columns"]}["x"] == "mm"
    assert (tmp_path / "all" / "primary.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "dark_1.csv",
        "dark_1.csv-metadata.json",
        "export.json",
        "primary.csv",
        "primary.csv-metadata.json",
    ]


def test_a_stream_that_is_no_instruments(store: Store, tmp_path: Path) -> None:
    with store:
        done = export_stream(store, "hits", to=tmp_path / "hits.parquet")
        expected = store.table("hits").to_arrow()
        with pytest.raises(NotFoundError, match=r"there is no stream 'hit' in prov\.duckdb; there are: bluesky"):
            export_stream(store, "hit", to=tmp_path / "x.parquet")
        with pytest.raises(InvalidInputError, match="as parquet or csv, and not as nexus"):
            export_stream(store, "hits", to=tmp_path / "hits.nxs")
    assert done.counts == {"hits": 2}
    found = pq.read_table(tmp_path / "hits.parquet")
    assert repr(found.to_pydict()) == repr(expected.to_pydict())
    assert found.schema.field("x").metadata[b"unit"] == b"px"


def test_streams_of_a_run_that_is_no_scan(store: Store, tmp_path: Path) -> None:
    with store:
        (run,) = [row["run"] for row in store.sql("select distinct _run as run from stream.hits")]
        done = export(store, f"run:{run}", to=tmp_path / "run", format="parquet")
        with pytest.raises(InvalidInputError, match="is no scan and has no documents: export its streams"):
            export(store, f"run:{run}", to=tmp_path / "run.nxs")
    assert done.counts == {"hits": 2}
    assert pq.read_table(tmp_path / "run" / "hits.parquet")["n"].to_pylist() == [1, -(2**62)]


def test_a_whole_store_is_read_by_pyarrow_alone(store: Store, tmp_path: Path) -> None:
    """Every table, every view and every stream, with as many rows and the same values."""
    with store:
        done = export_store(store, to=tmp_path / "all")
        listed = store.sql("select table_schema as s, table_name as n, table_type as t from information_schema.tables")
        assert len(done.counts) == len(listed) == len(list((tmp_path / "all").rglob("*.parquet")))
        manifest = json.loads((tmp_path / "all" / "export.json").read_text())
        for file, about in manifest["files"].items():
            found = pq.read_table(tmp_path / "all" / file)
            schema, table = ("stream", about["stream"]) if "stream" in about else (about["schema"], about["table"])
            expected = store.sql(f'from "{schema}"."{table}"')
            assert found.num_rows == about["rows"] == len(expected)
            assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, expected.to_arrow().to_pylist()))
    assert {"tables/edge_rows.parquet", "views/versions.parquet", "streams/hits.parquet"} <= manifest["files"].keys()


def test_a_run_that_never_stopped_is_exported_with_a_note(tmp_path: Path) -> None:
    documents = scan(2, stopped=False)
    with stored(tmp_path, documents) as store:
        for name in ("x.jsonl", "x.nxs", "x.msgpack", "x.json"):
            done = export(store, documents[0][1]["uid"], to=tmp_path / name)
            assert done.notes == [f"scan {documents[0][1]['uid']} is not whole: it has no stop"]
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [name for name, _ in lines] == ["start", "descriptor", "event", "event"]


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    """Where a document has what JSON cannot say, there is no file at all."""
    documents = scan(2)
    documents[0][1]["raw"] = b"\x00"
    with stored(tmp_path / "store", documents) as store:
        with pytest.raises(InvalidInputError, match=r"stands in start\.raw: export as msgpack"):
            export(store, documents[0][1]["uid"], to=tmp_path / "x.jsonl")
        assert export(store, documents[0][1]["uid"], to=tmp_path / "x.msgpack").counts == {"documents": 5}
        with pytest.raises(ConflictError, match="is there already"):
            export(store, documents[0][1]["uid"], to=tmp_path / "x.msgpack")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "x.msgpack"]


def test_the_command(cli: Braid, store: Store, tmp_path: Path) -> None:
    """Scans by uid, number and how long ago; streams; the store; and what is refused."""
    uid = store.scan(7).uid
    store.close()

    def call(*words: object) -> tuple[int, str, str]:
        done = cli("export", *words, "--store", tmp_path / "prov.duckdb")
        return done.exit_code, done.stdout, done.stderr

    assert call(uid[:12], "--to", tmp_path / "a.jsonl") == (0, "8\tdocuments\n", "")
    assert call("7", "--to", tmp_path / "b.json", "--pages", 2) == (0, "7\tdocuments\n", "")
    assert call("-1", "--to", tmp_path / "c.nxs") == (0, "3\tprimary\n1\tdark/1\n", "")
    assert call("-1", "--stream", "dark/1", "--to", tmp_path / "d.csv") == (0, "1\tdark/1\n", "")
    assert call("--stream", "hits", "--to", tmp_path / "e", "--format", "parquet") == (0, "2\thits\n", "")
    assert call("--parquet", "--to", tmp_path / "f")[0] == 0
    code, _, said = call("--parquet", "--to", tmp_path / "f")
    assert code == 5
    assert said.endswith("f is there already: name another one, or overwrite it (--overwrite)\n")
    assert call("--parquet", "--to", tmp_path / "f", "--overwrite")[0] == 0
    assert call("7", "--to", tmp_path / "g")[0] == 2
    for words in ([], ["7", "--parquet"], ["--parquet", "--stream", "hits"], ["--stream", "a", "--stream", "b"]):
        assert call(*words, "--to", tmp_path / "h")[0] == 2
    assert call("--parquet", "--at", 1, "--to", tmp_path / "h")[0] == 2
    assert call("--overwirte", "--to", tmp_path / "h.nxs")[0] == 3
    assert call("nobody", "--to", tmp_path / "h.nxs")[0] == 3
    assert not (tmp_path / "h").exists()
