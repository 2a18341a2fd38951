"""Runs that are no scans of an instrument answer the same calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import Job, made, one


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Job(tmp_path / "logs", 2, name="fit") as job:
        for rank in (0, 1):
            stream = job[rank].stream(
                "losses", {"epoch": "int64", "loss": "float64", "host": "text"}, units={"loss": "eV"}
            )
            for epoch in range(3):
                stream.append(epoch, 1.0 / (1 + epoch + rank), f"n{rank}")
    with one(tmp_path / "logs", "other") as job:
        job[0].stream("losses", {"epoch": "int64", "loss": "float64", "host": "text"}, units={"loss": "J"}).append(
            9, 9.0, "x"
        )
        job[0].stream("more", {"a": "bool"}).append(True)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        yield opened


def test_a_run_has_its_own_streams_alone(store: Any) -> None:
    run = store.scan("run:fit")
    assert run.streams == {"losses": 6}
    assert (run.start["job"], run.start["uid"], run.missing) == ("fit", run.uid, [])
    assert run.stop["exit_status"] == "ok"
    assert run.stop["num_events"] == {"losses": 6}
    assert (run.descriptors, run.config) == ([], {})
    assert store.scan(f"run:{run.uid[:8]}").uid == run.uid
    assert store.scan("run:other").streams == {"losses": 1, "more": 1}


def test_its_tables_are_read_as_those_of_a_scan(store: Any) -> None:
    table = store.scan("run:fit").table("losses")
    assert table.columns == ["_rank", "_row", "_time", "epoch", "loss", "host"]
    rows = table.to_pylist()
    assert [(row["_rank"], row["epoch"]) for row in rows] == [(rank, epoch) for rank in (0, 1) for epoch in range(3)]
    assert table.schema.field("loss").metadata == {b"unit": b"eV"}
    # Each run has its own units, whichever declared the stream first.
    assert store.scan("run:other").table("losses").schema.field("loss").metadata == {b"unit": b"J"}
    assert pa.table(table).num_rows == table.count() == len(table.to_pandas()) == table.to_polars().height == 6
    assert [batch.num_rows for batch in table.batches(4)] == [4, 2]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"where": "epoch > 0 and host = n1"}, [1, 2]),
        ({"rows": slice(1, 5, 2)}, [1, 0]),
        ({"rows": -1}, [2]),
        ({"rows": slice(-2, None), "where": "epoch < 2"}, [0, 1]),
        ({"where": "loss <= 0.5"}, [1, 2, 0, 1, 2]),
        ({"where": "not host = n1", "rows": range(0, 3, 2)}, [0, 2]),
        ({"rows": slice(9, 12)}, []),
    ],
)
def test_rows_are_chosen_as_in_a_scan(store: Any, asked: Any, expected: list[int]) -> None:
    table = store.scan("run:fit").table("losses", columns=["epoch"], **asked)
    assert [row["epoch"] for row in table] == expected
    assert table.count() == len(expected)


def test_what_is_not_there_is_said(store: Any) -> None:
    run = store.scan("run:fit")
    with pytest.raises(NotFoundError, match="has no stream 'more'"):
        run.table("more")
    with pytest.raises(InvalidInputError, match="there is no column 'los': near it is loss"):
        run.table("losses", columns=["los"])
    with pytest.raises(InvalidInputError, match="there is no column 'los'"):
        run.table("losses", where="los > 1")
    with pytest.raises(InvalidInputError, match="is no scan of an instrument"):
        run.documents()
    with pytest.raises(NotFoundError, match="there is no run 'fot'"):
        store.scan("run:fot")
