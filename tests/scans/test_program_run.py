"""Runs that are no scans of an instrument answer the same calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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


def test_its_columns_are_arrays(store: Any) -> None:
    run = store.scan("run:fit")
    losses = run.array("losses", "loss")
    expected = np.array([1.0, 1 / 2, 1 / 3, 1 / 2, 1 / 3, 1 / 4])
    assert (losses.shape, losses.dtype, losses.unit, len(losses)) == ((6,), np.float64, "eV", 6)
    np.testing.assert_array_equal(np.asarray(losses), expected)
    for index in (slice(1, 5, 2), slice(None, -2), slice(9, 20), -1, 3, slice(None, None, -1), np.array([0, 5])):
        np.testing.assert_array_equal(losses[index], expected[index])
    with pytest.raises(IndexError):
        losses[6]
    np.testing.assert_array_equal(losses.to_dask().compute(), expected)
    assert np.asarray(run.array("losses", "host")).tolist() == ["n0"] * 3 + ["n1"] * 3
    assert run.array("losses", "epoch").dtype == np.int64
    assert run.array("losses", "_time").dtype == np.dtype("datetime64[ns]")
    with pytest.raises(InvalidInputError, match="no column 'lost'"):
        run.array("losses", "lost")
    with pytest.raises(NotFoundError, match="no stream 'loses'"):
        run.array("loses", "loss")


def test_its_tables_are_datasets(store: Any) -> None:
    found = store.scan("run:fit").table("losses", where="epoch < 2").to_xarray()
    assert dict(found.sizes) == {"row": 4}
    assert set(found.coords) == {"_rank", "_row", "_time"}
    assert found["loss"].attrs == {"units": "eV"}
    np.testing.assert_array_equal(found["loss"].values, [1.0, 1 / 2, 1 / 2, 1 / 3])
    assert found["host"].values.tolist() == ["n0", "n0", "n1", "n1"]


def test_missing_values_and_bytes(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("odd", {"n": "int64", "raw": "bytes", "text": "text"})
        for row in ((1, b"a", "a"), (None, b"", None), (3, None, "ccc")):
            stream.append(*row)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        run = opened.scan(f"run:{opened.find_runs()['run'][0]}")
        counts = run.array("odd", "n")
        np.testing.assert_array_equal(np.asarray(counts), [1.0, np.nan, 3.0])
        np.testing.assert_array_equal(counts[:1], [1.0])
        assert counts[:1].dtype == counts.dtype == np.float64
        assert np.asarray(run.array("odd", "text")).tolist() == ["a", None, "ccc"]
        with pytest.raises(InvalidInputError, match=r"'raw' are of type .*binary.*: read them as a table"):
            run.array("odd", "raw")
