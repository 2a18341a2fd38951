"""The archive beside a store holds all that was taken, so that the store can be made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from braid_hpc.compaction.archive import Archive
from braid_hpc.compaction.compact import compact
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from tests.jobs import Job, one, rows
from tests.rank_logs import small_tails


def batches(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.read_all()


def content(log: WriterLog) -> list[tuple[object, ...]]:
    """Every column and payload of a log."""
    events = log.events
    return [
        (*(int(column[row]) for column in events.columns.values()), events.payload(row)) for row in range(len(events))
    ]


def folders(store: Path) -> list[Path]:
    """The archives that snapshots name, in order."""
    names = [name for (name,) in rows(store, "select archive from main.snapshots order by snapshot")]
    return [store.with_name(store.name + ".d") / "logs" / name for name in names]


def test_each_event_is_archived_once_as_it_stood_in_the_log(tmp_path: Path) -> None:
    """Over all commits: every row of every writer with all columns, its check word and its payload."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with Job(logs, 2) as job:
        for turn in range(3):
            for run in job.runs:
                run.data("d", digest=f"x:{turn}", tags={"näme": "🧵"})
            compact(logs, store)
    compact(logs, store)
    table = pa.concat_tables([batches(folder / "events.arrows") for folder in folders(store)])
    for rank in range(2):
        events = read_writer(job.folder(rank)).events
        mine = table.filter(pa.compute.equal(table["writer"], job[rank].writer)).sort_by("sequence")
        assert mine.num_rows == len(events)
        for name in ("sequence", "time", "subject", "object", "name", "other", "code", "flags", "thread", "word"):
            assert np.array_equal(mine[name].to_numpy(), events[name]), name
        assert mine["payload"].to_pylist() == [events.payload(row) for row in range(len(events))]


def test_large_batches_are_archived_as_streams_of_their_own(tmp_path: Path) -> None:
    """Each is an Arrow stream that any reader opens."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    values = np.arange(50_000)
    with one(logs) as job:
        stream = job[0].stream("s", {"x": "int64"})
        for part in np.split(values, 2):
            stream.extend({"x": part})
    compact(logs, store)
    (folder,) = folders(store)
    found = batches(folder / "batches.arrows")
    assert found["first"].to_pylist() == [0, 25_000]
    read = [pa.ipc.open_stream(pa.py_buffer(ipc)).read_all()["x"].to_numpy() for ipc in found["ipc"].to_pylist()]
    assert np.array_equal(np.concatenate(read), values)


def test_headers_and_numbers_are_archived(tmp_path: Path) -> None:
    """The header of each writer with where its log lay, and the number of each version and activity."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with Job(logs, 2) as job, job[0].activity("a") as activity:
        activity.data("d")
    compact(logs, store)
    (folder,) = folders(store)
    headers = [json.loads(line) for line in (folder / "writers.jsonl").read_text().splitlines()]
    assert {header["writer"]: header["directory"] for header in headers} == {
        run.writer.hex(): str(job.folder(rank)) for rank, run in enumerate(job.runs)
    }
    numbers = dict(line.split("\t") for line in (folder / "numbers.tsv").read_text().splitlines())
    assert numbers == {uid: str(version) for uid, version in rows(store, "select uid, version from nodes")}


def test_a_long_log_that_is_closed_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are the log's own, so they stay when the log is removed; a log that is open is copied."""
    small_tails(monkeypatch)
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with Job(logs, 2) as job:
        for n in range(300):
            for run in job.runs:
                run.data("d", digest=f"x:{n}")
        job[0].close()
        compact(logs, store)
    (folder,) = folders(store)
    closed, still_open = (run.writer.hex() for run in job.runs)
    before = content(read_writer(logs / closed))
    shutil.rmtree(logs)
    assert content(read_writer(folder / closed)) == before
    assert not (folder / still_open).exists()
    assert {row.hex() for row in batches(folder / "events.arrows")["writer"].to_pylist()} == {still_open}


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """What was begun is removed, and the error is the file system's."""
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError):
        Archive(tmp_path / "there")
    with pytest.raises(AttributeError), Archive(tmp_path / "begun") as archive:
        archive.finish(None, None)  # type: ignore[arg-type]
    assert not (tmp_path / "begun").exists()
