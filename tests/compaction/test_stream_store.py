"""Tables of streams: columns unite, types widen only without loss, names are whatever a program likes."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.stream_store import common_type
from braid_hpc.vocabulary.columns import check_columns
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sql import SQL_TYPES, quoted
from tests.jobs import Job, made, one, rows


def unite(tmp_path: Path, *streams: tuple[dict[str, str], list[Any]], name: str = "s") -> Any:
    """Record one row for each declaration, each in a run of its own, and give the columns after the system's."""
    for columns, row in streams:
        with one(tmp_path / "logs") as job:
            job[0].stream(name, columns).append(*row)
        made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        table = opened.table(name)
        return {column: table[column] for column in table.columns if not column.startswith("_")}


def test_columns_unite_by_name(tmp_path: Path) -> None:
    """What a declaration lacks is null in its rows."""
    found = unite(tmp_path, ({"x": "int32"}, [1]), ({"y": "text", "x": "int32"}, ["b", 2]))
    assert {name: sorted(values, key=str) for name, values in found.items()} == {"x": [1, 2], "y": [None, "b"]}


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("int8", "int64", "BIGINT"),
        ("int64", "int8", "BIGINT"),
        ("uint8", "int8", "SMALLINT"),
        ("uint32", "int32", "BIGINT"),
        ("int32", "float64", "DOUBLE"),
        ("int16", "float32", "FLOAT"),
        ("float32", "float64", "DOUBLE"),
        ("uint32", "float32", "DOUBLE"),
    ],
)
def test_types_widen_without_loss(tmp_path: Path, first: str, second: str, kind: str) -> None:
    """Both stay in one column, of the narrowest type that holds the values of both exactly."""
    found = unite(tmp_path, ({"x": first}, [7]), ({"x": second}, [9]))
    assert {name: sorted(values) for name, values in found.items()} == {"x": [7, 9]}
    query = "select data_type from information_schema.columns where table_name = 's' and column_name = 'x'"
    assert rows(tmp_path / "prov.duckdb", query) == [(kind,)]


@pytest.mark.parametrize(
    ("first", "second", "values"),
    [
        ("int64", "float64", [2**62 + 1, 0.5]),
        ("uint64", "int64", [2**64 - 1, -1]),
        ("text", "int32", ["7", 7]),
        ("bytes", "text", [b"a", "a"]),
        ("bool", "int8", [True, 2]),
        ("timestamp", "int64", [0, 1]),
    ],
)
def test_types_that_nothing_holds_exactly_both_stay(tmp_path: Path, first: str, second: str, values: list[Any]) -> None:
    """The later one gets a name of its own, and neither loses a value."""
    found = unite(tmp_path, ({"x": first}, [values[0]]), ({"x": second}, [values[1]]))
    assert list(found) == ["x", "x__2"]
    assert found["x__2"].count(None) == found["x"].count(None) == 1
    assert values[1] in found["x__2"]


def test_a_column_that_is_called_like_a_second_one(tmp_path: Path) -> None:
    """`x__2` is a name a program may use: no column is ever written into another one's place."""
    found = unite(
        tmp_path,
        ({"x": "text", "x__2": "int32"}, ["a", 1]),
        ({"x": "int32", "x__2": "int32"}, [5, 6]),
        ({"x__2": "text", "x": "bytes"}, ["c", b"d"]),
    )
    rows_found = sorted(zip(*found.values(), strict=True), key=str)
    given = [{"a", 1}, {5, 6}, {"c", b"d"}]
    assert sorted(({value for value in row if value is not None} for row in rows_found), key=str) == sorted(
        given, key=str
    )
    assert found["x"].count("a") == found["x__2"].count(6) == 1


def test_upper_and_lower_case_are_one_column(tmp_path: Path) -> None:
    """As in SQL; the first spelling stays."""
    assert unite(tmp_path, ({"X": "int32"}, [1]), ({"x": "int32"}, [1])) == {"X": [1, 1]}


def test_streams_whose_names_differ_in_case_are_two(tmp_path: Path) -> None:
    """DuckDB takes their names for one table's, so one of them gets another; both are asked by their own names."""
    with one(tmp_path / "logs") as job:
        job[0].stream("Peaks", {"x": "int32"}).append(1)
        job[0].stream("peaks", {"x": "int32"}).append(2)
        job[0].stream("PEAKS", {"y": "text"}).append("three")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert opened.table("Peaks")["x"] == [1]
        assert opened.table("peaks")["x"] == [2]
        assert opened.table("PEAKS")["y"] == ["three"]
        assert rows(opened, "select stream, place from streams order by 1") == [
            ("PEAKS", "PEAKS__3"),
            ("Peaks", "Peaks"),
            ("peaks", "peaks__2"),
        ]


@pytest.mark.parametrize(
    "name",
    ['a "quoted" one', "semi;colon", "ünï/漢字 🧵", "two\nlines", "select", "a.b", "x'y", " ", "_run", "main"],
)
def test_names_of_streams_and_columns_are_any_text(tmp_path: Path, name: str) -> None:
    """Quotes, line breaks, words of SQL and emoji are names like others."""
    column = name if not name.startswith("_") else f"c{name}"
    found = unite(tmp_path, ({column: "int32"}, [1]), ({column: "float64", "other": "int8"}, [0.5, 2]), name=name)
    assert sorted(found[column]) == [0.5, 1.0]


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Nothing of it stops a compaction; it is asked for as it is shown."""
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    with one(tmp_path / "logs") as job:
        job[0].stream(odd, {"x": "int32"}).append(1)
        job[0].data(odd, digest="x:0")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        ((shown,),) = rows(opened, "select stream from streams")
        assert opened.table(shown)["x"] == [1]


def test_ranks_with_other_columns_in_one_commit(tmp_path: Path) -> None:
    """All ranks' rows are in the one table, with what each of them knows."""
    with Job(tmp_path / "logs", 3) as job:
        for rank, run in enumerate(job.runs):
            run.stream("s", {"x": ("int16", "int32", "float64")[rank], f"only_{rank}": "text"}).append(rank, "yes")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        table = opened.table("s")
        assert table["x"] == [0.0, 1.0, 2.0]
        assert all(table[f"only_{rank}"][rank] == "yes" for rank in range(3))
        assert sum(table[f"only_{rank}"].count(None) for rank in range(3)) == 6


def test_a_stream_without_rows_has_no_table(tmp_path: Path) -> None:
    """It is listed, and asking for its rows says so."""
    with one(tmp_path / "logs") as job:
        job[0].stream("s", {"x": "int32"}, units={"x": "px"})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert rows(opened, "select stream, units from streams") == [("s", '{"x": "px"}')]
        with pytest.raises(LookupError, match="declared, and no row of it was recorded"):
            opened.table("s")


EDGES = {
    "tinyint": (-128, 127),
    "smallint": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
    "utinyint": (0, 255),
    "usmallint": (0, 2**16 - 1),
    "uinteger": (0, 2**32 - 1),
    "ubigint": (0, 2**64 - 1),
    "float": (-3.4028234663852886e38, 2.0**-149, math.inf, 16777215.0),
    "double": (-1.7976931348623157e308, 5e-324, math.inf, 9007199254740991.0),
}


@pytest.mark.parametrize(("one_type", "other"), list(itertools.product(EDGES, EDGES)))
def test_a_common_type_holds_the_limits_of_both(one_type: str, other: str) -> None:
    """Asked of DuckDB: each limit of either type goes into the common one and comes back the same."""
    common = common_type(one_type, other)
    assert common == common_type(other, one_type)
    if one_type == other:
        assert common == one_type
    if common is None:
        return
    with duckdb.connect() as connection:
        for kind in (one_type, other):
            for value in EDGES[kind]:
                # Neighbours too: a float would swallow the difference.
                for near in (value, value - 1) if isinstance(value, int) and value > 0 else (value,):
                    query = f"select ?::{kind}::{common}::{kind} = ?::{kind}, ?::{kind}::{common} = ?::{kind}"
                    assert connection.execute(query, [near] * 4).fetchall() == [(True, True)], (kind, common, near)


def test_every_column_type_has_an_sql_type() -> None:
    from braid_hpc.vocabulary.columns import FIXED, VARIABLE

    assert set(SQL_TYPES) == {*FIXED, *VARIABLE}


def test_quoted_names_are_read_back() -> None:
    for name in ('a"b', '""', "a b", "a.b"):
        with duckdb.connect() as connection:
            connection.execute(f"create table {quoted(name)} (x int)")
            assert connection.execute("select table_name from information_schema.tables").fetchall() == [(name,)]


def test_a_column_that_sql_cannot_name_is_refused_on_the_rank() -> None:
    """No identifier of SQL holds a NUL."""
    with pytest.raises(InvalidInputError, match="without NUL"):
        check_columns({"x\0": "int32"})


def test_a_column_that_sql_cannot_name_stops_no_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was written without that check is merged, with an escape in the name; others beside it too."""
    monkeypatch.setattr("braid_hpc.run.recorder.check_columns", lambda columns: list(columns.items()))
    with braid.job("odd", log_dir=tmp_path / "logs") as run:
        run.stream("hits", {"x\0": "int32"}).append(7)
    with braid.job("good", log_dir=tmp_path / "logs") as run:
        run.stream("hits", {"y": "int32"}).append(8)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert rows(store, 'select "x\\0", y from stream.hits order by y nulls first') == [(7, None), (None, 8)]


def test_rows_fill_their_groups(tmp_path: Path) -> None:
    """DuckDB keeps rows in groups; none but the last of a table is left half full, whatever the number of threads."""
    many, size = 20, 61_000
    with one(tmp_path / "logs") as job:
        for first in range(0, many * size, size):
            job[0].stream("s", {"x": "int64"}).extend({"x": np.arange(first, first + size)})
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    query = "select distinct row_group_id from pragma_storage_info('stream.s') where column_name = 'x'"
    assert len(rows(tmp_path / "prov.duckdb", query)) == math.ceil(many * size / 122_880)
