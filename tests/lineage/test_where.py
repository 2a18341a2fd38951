"""Where something happened, and where its bytes are."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest

from braid_hpc.store.store import Store
from tests.jobs import Job, made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    file = tmp_path / "frames.raw"
    file.write_bytes(b"counts")
    with Job(tmp_path / "logs", 2, name="fit") as job:
        for rank, run in enumerate(job.runs):
            run.fact("config", {"n": 1})
            run.array(f"image/{rank}", np.arange(12.0).reshape(3, 4))
            run.stream("hits", {"x": "int32"}).extend({"x": np.arange(3 + rank, dtype="i4")})
        job[1].data("frames", path=file, uri="s3://bucket/frames")
        job[1].model("net", state={"w": np.ones(3), "b": np.float32(1)})
        with job[1].activity("train"):
            pass
    return made(tmp_path / "logs", tmp_path / "prov.duckdb")


def test_the_processes_that_declared_it(store: Store, tmp_path: Path) -> None:
    """Rank, host, process and log of each; all ranks of a shared configuration."""
    with store:
        answer = store.where("fact:config")
        assert [(each.rank, each.host, each.pid, each.job) for each in answer.places] == [
            (rank, socket.gethostname(), os.getpid(), "fit") for rank in (0, 1)
        ]
        for each in answer.places:
            assert each.log is not None
            assert Path(each.log).name == each.writer
            assert (tmp_path / "logs" / each.writer).is_dir()
        (place,) = store.where("activity:train").places
        assert place.rank == 1
        assert store.where("activity:train").contents == []
        assert "not in the store" not in str(store.where("activity:train"))


def test_what_other_ranks_made_at_that_step_is_named(tmp_path: Path) -> None:
    """It is the last of three that is told, and the others are elsewhere."""
    with Job(tmp_path / "logs", 3) as job:
        for rank, run in enumerate(job.runs):
            run.model("net", digest=f"w:{rank}", derived_from="fact:x")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        answer = opened.where("model:net")
        assert {answer.ref, *answer.others} == {f"model:net@{number}" for number in (1, 2, 3)}
        assert answer.to_dict()["others"] == answer.others
        assert str(answer).splitlines()[-1] == f"also newest: {', '.join(answer.others)}"
        assert "others" not in opened.where("model:net@1").to_dict()


def test_bytes_are_where_it_says(store: Store) -> None:
    """The named range of the named dataset of the named file holds the array."""
    with store:
        (at,) = store.where("data:image/1").contents
        with h5py.File(at.where) as file:
            assert np.array_equal(file[at.dataset][()].reshape(-1)[at.first : (at.last or 0) + 1], np.arange(12.0))
        assert (at.what, at.first, at.last, at.size) == ("array", 0, 11, 96)
        assert {each.name for each in store.where("model:net").contents} == {"w", "b"}


def test_files_and_what_has_the_same_content(store: Store, tmp_path: Path) -> None:
    with store:
        answer = store.where("data:frames")
        assert {each.where for each in answer.contents} == {"s3://bucket/frames", (tmp_path / "frames.raw").as_uri()}
        assert store.where("data:image/0").same_content == ["data:image/1@1"]
        assert answer.same_content == []
        assert (answer.digest or "").startswith("blake3:")


def test_rows_of_a_stream_by_writer(store: Store) -> None:
    with store:
        rows = [(each.where, each.first, each.last) for each in store.where("stream:hits").contents]
        assert sorted(rows) == [('stream."hits"', 0, 2), ('stream."hits"', 0, 3)]


def test_an_answer_is_plain_values_and_a_table(store: Store) -> None:
    with store:
        answer = store.where("data:frames")
        plain = answer.to_dict()
        assert list(plain) == ["ref", "places", "contents", "digest", "same_content"]
        assert json.loads(json.dumps(plain)) == plain
        assert pa.table(answer).column("rank").to_pylist() == [1]
        assert str(answer).splitlines()[0] == "data:frames@1"


def test_an_archive_that_was_moved_away_leaves_the_rest(store: Store) -> None:
    with store:
        shutil.rmtree(store.path.with_name("prov.duckdb.d") / "logs")
        (place,) = store.where("data:frames").places
        assert place.log is None
        assert place.rank == 1


def test_a_log_that_was_merged_by_a_relative_path_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer names the log by its whole path: who asks stands elsewhere than who merged."""
    with Job(tmp_path / "logs", 1, name="fit") as job:
        job[0].fact("config", {"n": 1})
    monkeypatch.chdir(tmp_path)
    with made(Path("logs"), tmp_path / "prov.duckdb") as opened:
        (place,) = opened.where("fact:config").places
    assert place.log is not None
    assert Path(place.log).parent == tmp_path / "logs"
