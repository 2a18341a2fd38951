"""Tabular results, and the libraries that take them."""

from __future__ import annotations

import html
import subprocess
import sys
from datetime import date, datetime, time

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from braid_hpc.store.tables import SHOWN, Table
from braid_hpc.vocabulary.errors import NotFoundError
from braid_hpc.vocabulary.times import Moment


@pytest.fixture
def table() -> Table:
    times = pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns"))
    return Table(pa.table({"x": [1, 2], "name": ["a <b>", None], "t": times, "l": [[1, 2], []]}))


def test_pyarrow_takes_it(table: Table) -> None:
    assert pa.table(table).equals(table.to_arrow())
    assert pa.schema(table).names == ["x", "name", "t", "l"]


def test_pandas_takes_it(table: Table) -> None:
    frame = pd.DataFrame.from_arrow(table)
    assert frame["x"].tolist() == [1, 2]
    assert frame["t"][0].nanosecond == 789
    assert table.to_pandas().shape == (2, 4)


def test_polars_takes_it(table: Table) -> None:
    frame = pl.DataFrame(table)
    assert frame["x"].to_list() == [1, 2]
    assert frame["name"].to_list() == ["a <b>", None]
    assert pl.Series(frame["t"]).dt.nanosecond().to_list() == [123456789, None]


def test_duckdb_takes_it(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.register("result", table)
        assert connection.sql("select sum(x), count(name), max(epoch_ns(t)) from result").fetchall() == [
            (3, 1, 1_700_000_000_123_456_789)
        ]


def test_rows_and_columns(table: Table) -> None:
    assert len(table) == 2
    assert table.columns == ["x", "name", "t", "l"]
    assert table["name"] == ["a <b>", None]
    assert list(table) == table.to_pylist()
    assert next(iter(table)) == {"x": 1, "name": "a <b>", "t": Moment.of(1_700_000_000_123_456_789), "l": [1, 2]}
    with pytest.raises(NotFoundError, match="there is no column 'z'; there are x, name, t, l"):
        table["z"]


def test_columns_of_one_name_all_stay() -> None:
    table = Table(pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "a", "a_1"]))
    assert list(table) == [{"a": 1, "a_2": 2, "a_1": 3}]


def test_text_shows_the_first_rows_aligned() -> None:
    assert repr(Table(pa.table({"a": [1, 22], "b": ["x\ny", None]}))) == "a   b\n1   x\\ny\n22"
    long = repr(Table(pa.table({"a": list(range(100))})))
    assert long.splitlines()[-1] == f"... {100 - SHOWN} more rows"
    assert len(long.splitlines()) == SHOWN + 2


def test_a_notebook_shows_the_first_rows(table: Table) -> None:
    shown = table._repr_html_()
    assert html.escape("a <b>") in shown
    assert "<b>" not in shown
    assert shown.count("<tr>") == 3
    assert "80 more rows" in Table(pa.table({"a": list(range(100))}))._repr_html_()


def test_an_empty_table() -> None:
    table = Table(pa.table({"a": pa.array([], pa.int32())}))
    assert (len(table), table["a"], repr(table)) == (0, [], "a")


WITHOUT_PANDAS = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import pyarrow as pa
from braid_hpc.store.tables import Table
table = Table(pa.table({"t": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))}))
print(table["t"][0], list(table)[0]["t"], repr(table))
"""


def test_times_need_no_pandas() -> None:
    """pyarrow makes Python objects of nanoseconds only where pandas is there, which no store needs."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2023-11-14 22:13:20.123456") == 3


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("select unnest(['infinity'::timestamp, '-infinity', null]) as t", ["infinity", "-infinity", None]),
        ("select unnest(['infinity'::timestamp_ns, '-infinity']) as t", ["infinity", "-infinity"]),
        (
            "select unnest(['infinity'::date, '-infinity', '2026-11-21']) as t",
            ["infinity", "-infinity", date(2026, 11, 21)],
        ),
        ("select '294247-01-10 04:00:54.775806'::timestamp as t", ["294247-01-10T04:00:54.775806"]),
        ("select '12345-01-02 03:04:05'::timestamp_s as t", ["12345-01-02T03:04:05"]),
        ("select '290309-12-22 (BC) 00:00:00'::timestamp as t", ["-290308-12-22T00:00:00.000000"]),
        ("select 'infinity'::timestamptz as t", ["infinity"]),
        ("select '5000000-01-01'::date as t", ["5000000-01-01"]),
        ("select ['infinity'::timestamp] as t", [["infinity"]]),
        (
            "select {'a': ['2026-11-21 10:30:00.000000007'::timestamp_ns]} as t",
            [{"a": [Moment.of(1795257000000000007)]}],
        ),
        (
            "select map([1], ['2026-11-21 10:30:00.000000007'::timestamp_ns]) as t",
            [[(1, Moment.of(1795257000000000007))]],
        ),
        ("select '2026-11-21 10:30:00'::timestamp as t", [datetime(2026, 11, 21, 10, 30)]),
        ("select '10:30:00.000001'::time as t", [time(10, 30, 0, 1)]),
        ("select null::timestamp[] as t", [None]),
    ],
)
def test_times_that_no_datetime_holds_are_texts(query: str, values: list[object]) -> None:
    with duckdb.connect() as connection:
        table = Table(connection.sql(query).to_arrow_table())
    assert table["t"] == values
    assert [row["t"] for row in table] == [row["t"] for row in table.to_pylist()] == values
    assert repr(table)
    assert table._repr_html_()
