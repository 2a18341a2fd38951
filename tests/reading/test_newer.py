"""Logs of a newer format: of a newer minor version all is kept, counted and named; a newer major one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import braid_hpc as braid
from braid_hpc.log.batch_file import batch_digest
from braid_hpc.log.header import unpack_header, write_header
from braid_hpc.log.layout import pack_sum
from braid_hpc.reading.newer import HEADER_MEMBERS, refuse_newer, unknown_codes, unknown_parts
from braid_hpc.reading.sealed import schema_message
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import FormatTooNewError
from tests.jobs import one, rows
from tests.newer_formats import newer_major, states
from tests.rank_logs import small_tails


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriterLog:
    """Give a log that a format 1.7 could have written: new codes, new header members, a new column, new fields."""
    small_tails(monkeypatch, rows=32)
    with one(tmp_path / "logs") as job:
        run = job[0]
        run.fact("config", {"threshold": 40})
        for number in range(5):
            run._log.append(77, 0, number, payload=b"\xc1")
        run._log.append(78)
        # A declaration with a field that is not known here.
        known = run._log.intern("data"), run._log.intern("later")
        run._log.append(10, known[1], 0, 0, known[0], 0, b"\x82\xa6digest\xa3x:1\xa6colour\xa3red")
        for number in range(40):
            run.data(f"d{number}", digest=f"x:{number}")
        run._log.seal()
    folder = job.folder(0)
    header = unpack_header((folder / "header.json").read_bytes())
    write_header(folder, header | {"minor": 7, "colour": "red", "smell": {"of": "roses"}})
    add_column(folder)
    return read_writer(folder)


def add_column(folder: Path) -> None:
    """Write the sealed events again, each batch with a column more."""
    path = folder / "events.arrows"
    with pa.ipc.open_stream(path) as reader:
        batches = list(reader)
    records, schema, at = b"", b"", 0
    data = b""
    for batch in batches:
        sequences = batch.column("sequence").to_pylist()
        wider = batch.append_column("colour", pa.array(["red"] * len(batch)))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, wider.schema) as out:
            out.write_batch(wider)
        whole = sink.getvalue().to_pybytes()[:-8]
        schema = schema_message(whole)
        body = whole[len(schema) :]
        at = at or len(schema)
        first = sequences[0]
        records += pack_sum(at, len(body), first, first + 32, len(batch), batch_digest(schema, body))
        data += body
        at += len(body)
    path.write_bytes(schema + data)
    path.with_suffix(".sums").write_bytes(records)


def test_all_rows_are_read_and_counted(log: WriterLog) -> None:
    """Rows of unknown codes stand among the others, and the log is as complete as it was."""
    assert (log.state, log.faults) == (WriterState.CLOSED, [])
    assert log.sealed
    assert log.events["sequence"].tolist() == list(range(1, len(log.events) + 1))
    assert {code: count for code, (count, _) in unknown_codes(log.events).items()} == {77: 5, 78: 1}
    assert log.header["smell"] == {"of": "roses"}


def test_what_is_not_known_is_named(log: WriterLog) -> None:
    """The version, header members, codes with their numbers, columns."""
    version, members, many, single, columns = unknown_parts(log)
    assert version.startswith("the log is of format 1.7 and this braid_hpc knows 1.0")
    assert members == "members of header.json that are not known: colour, smell"
    assert many.startswith("5 events of code 77 are not known, the first one is number ")
    assert single.startswith("1 event of code 78 is not known, the first one is number ")
    assert columns == "columns of events.arrows that are not known: colour"


def test_compaction_takes_them_and_says_so(log: WriterLog, tmp_path: Path) -> None:
    """Into the archive, with one problem for each code, however often the log is merged; the rest has its meaning."""
    store = tmp_path / "prov.duckdb"
    done = braid.compact(log.directory, store)
    assert done.events == len(log.events)
    assert [row[0] for row in rows(store, "select message from problems where code = 'unknown' order by sequence")] == [
        f"events of code {code} are of a newer log format: they are kept and not understood" for code in (77, 78)
    ]
    ((header,),) = rows(store, "select header from writers")
    assert json.loads(header)["colour"] == "red"
    (archived,) = tmp_path.glob(f"prov.duckdb.d/logs/1-*/{log.writer}")
    codes = read_writer(archived).events["code"].tolist()
    assert (codes.count(77), codes.count(78)) == (5, 1)
    assert rows(store, "select digest from versions where name = 'later'") == [("x:1",)]
    assert not braid.compact(log.directory, store).new


def test_a_log_of_this_version_has_nothing_unknown(tmp_path: Path) -> None:
    """Its header's members are those that are listed."""
    with one(tmp_path / "logs") as job:
        job[0].data("d", digest="x:0")
    log = read_writer(job.folder(0))
    assert unknown_parts(log) == []
    assert set(log.header) <= HEADER_MEMBERS


@pytest.mark.parametrize("part", ["header", "tail"])
def test_a_newer_major_version_is_refused_untouched(tmp_path: Path, part: str) -> None:
    """By what only looks and by what reads; no file and no directory is written, or has another time."""
    with one(tmp_path / "logs") as job:
        job[0].data("d", digest="x:0")
    newer_major(job.folder(0), part)
    before = states(tmp_path)
    for read in (refuse_newer, read_writer):
        with pytest.raises(FormatTooNewError, match="update braid_hpc"):
            read(job.folder(0))
    assert states(tmp_path) == before
