"""Rows of streams come back as they were given, whatever way they went through the log."""

from __future__ import annotations

import math
import os
import struct
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.compaction.stream_rows import ARROW_TYPES
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import FIXED, ROW_AS_LIST, VARIABLE
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.times import Moment
from tests.jobs import Job, count, made, one, rows

ALL = {f"c_{kind}": kind for kind in (*FIXED, *VARIABLE)}

#: One row of edges of each type's range, and one of ordinary values.
LOWEST: list[Any] = [False, -128, -(2**15), -(2**31), -(2**63), 0, 0, 0, 0, -math.inf, -math.inf, -(2**62), "", b""]
HIGHEST: list[Any] = [
    True,
    127,
    2**15 - 1,
    2**31 - 1,
    2**63 - 1,
    255,
    2**16 - 1,
    2**32 - 1,
    2**64 - 1,
    math.inf,
    1.7976931348623157e308,
    2**62,
    'a "quoted"\n\ttext with ünïcode, 漢字, 🧵 and \0',
    bytes(range(256)),
]


def same(given_: Any, found: Any) -> bool:
    """Whether two values are the same, NaN among them, bit by bit."""
    if isinstance(given_, float) and isinstance(found, float):
        return struct.pack("<d", given_) == struct.pack("<d", found) or (math.isnan(given_) and math.isnan(found))
    return type(given_) is type(found) and bool(given_ == found)


def read(store: Path, logs: Path, name: str) -> pa.Table:
    """Compact, and give a stream's own columns, times as int64."""
    with made(logs, store) as opened:
        table = opened.table(name).to_arrow()
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and not field.name.startswith("_"):
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return table.select([column for column in table.column_names if not column.startswith("_")])


def test_every_type_at_its_limits_row_by_row(tmp_path: Path) -> None:
    """The lowest and the highest value of each column type, and a row without any value."""
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("all", ALL)
        stream.append(*LOWEST)
        stream.append(*HIGHEST)
        stream.append(*[None] * len(ALL))
    table = read(tmp_path / "prov.duckdb", tmp_path / "logs", "all")
    assert table.column_names == list(ALL)
    for index, name in enumerate(ALL):
        low, high, none = table.column(name).to_pylist()
        assert same(LOWEST[index], low), name
        assert same(HIGHEST[index], high), name
        assert none is None


@pytest.mark.parametrize("repeat", [1, 4000], ids=["in the tail", "in a file of its own"])
def test_every_type_at_its_limits_as_columns(tmp_path: Path, repeat: int) -> None:
    """A small batch stands in the tail and a large one in an Arrow file; both give back every value."""
    given_ = {name: [LOWEST[index], HIGHEST[index]] * repeat for index, name in enumerate(ALL)}
    with one(tmp_path / "logs") as job:
        rows_given = job[0].stream("all", ALL).extend(given_)
        assert rows_given.count == 2 * repeat
        assert bool(list(job.folder(0).glob("stream-*.arrows"))) == (repeat > 1)
    table = read(tmp_path / "prov.duckdb", tmp_path / "logs", "all")
    for name, values in given_.items():
        found = table.column(name).to_pylist()
        assert len(found) == len(values)
        assert all(same(a, b) for a, b in zip(values, found, strict=True)), name


def test_nan_is_a_value_and_none_is_none(tmp_path: Path) -> None:
    """They are told apart in the store, whole rows and columns alike."""
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("s", {"x": "float64", "y": "float32"})
        stream.append(math.nan, math.nan)
        stream.append(None, math.inf)
        stream.extend({"x": [math.nan, -math.inf], "y": np.array([math.nan, 1.5], np.float32)})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert rows(opened, "select count(*), count(x), sum(isnan(x)::int), sum(isnan(y)::int) from stream.s") == [
            (4, 3, 2, 2)
        ]


ODD: list[tuple[str, Any, Any]] = [
    ("int64", True, 1),
    ("float64", True, 1.0),
    ("float64", 2**60 + 1, 2.0**60),
    ("float32", 2**24 + 1, 2.0**24),
    ("float64", Decimal("1.5"), 1.5),
]


@pytest.mark.parametrize(("kind", "given", "kept"), ODD)
def test_a_row_with_none_in_it_holds_what_one_without_would(tmp_path: Path, kind: str, given: Any, kept: Any) -> None:
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("s", {"x": kind, "y": "int64"})
        stream.append(given, 1)
        stream.append(given, None)
    with made(tmp_path / "logs", tmp_path / "store") as store:
        assert rows(store, "select x, y from stream.s order by _row") == [(kept, 1), (kept, None)]


@pytest.mark.parametrize(("kind", "given", "kept"), [*ODD, ("int64", "x", None), ("text", 5, None)])
def test_a_row_that_was_left_as_it_was_given_ends_no_merge(tmp_path: Path, kind: str, given: Any, kept: Any) -> None:
    """Earlier writers did not make the values of a row with None in it those of its columns."""
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("s", {"x": kind, "y": "int64"})
        job[0]._log.append(Code.ROW, 0, 0, 1, stream._number, ROW_AS_LIST, encode([given, None]))
        job[0]._log.append(Code.ROW, 0, 1, 1, stream._number, ROW_AS_LIST, encode([None, 7]))
        job[0]._log.append(Code.ROW, 0, 2, 1, stream._number, ROW_AS_LIST, encode([None]))
        job[0]._log.append(Code.ROW, 0, 3, 1, stream._number, ROW_AS_LIST, encode(7))
    with made(tmp_path / "logs", tmp_path / "store") as store:
        found = rows(store, "select x, y from stream.s order by _row")
        assert found == [(kept, None), (None, 7), (None, None), (None, None)]


def test_timestamps_are_nanoseconds_utc(tmp_path: Path) -> None:
    """Integers, NumPy's datetimes and rows without a value come back to the nanosecond."""
    moment = np.datetime64("2026-03-01T12:00:00.123456789", "ns")
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("s", {"t": "timestamp"})
        stream.append(int(moment.astype("int64")))
        stream.append(None)
        stream.extend({"t": np.array([moment])})
    table = read(tmp_path / "prov.duckdb", tmp_path / "logs", "s")
    assert table.column("t").to_pylist() == [int(moment.astype("int64")), None, int(moment.astype("int64"))]
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert opened.table("s")["t"][0] == Moment(2026, 3, 1, 12, 0, 0, 123456, nanosecond=789)


def test_rows_carry_where_and_when_they_come_from(tmp_path: Path) -> None:
    """Run, rank, writer, number within the writer, time and snapshot stand before the columns."""
    begin = datetime.now(UTC).replace(tzinfo=None)
    with Job(tmp_path / "logs", 3) as job:
        for rank, run in enumerate(job.runs):
            stream = run.stream("s", {"x": "int32"})
            stream.append(rank)
            stream.extend({"x": [10 + rank, 20 + rank]})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        table = opened.table("s")
        assert table.columns == ["_run", "_rank", "_writer", "_row", "_time", "_snapshot", "x"]
        found = {(row["_rank"], row["_writer"], row["_row"], row["x"]) for row in table}
        assert found == {
            (rank, run.writer.hex(), row, value)
            for rank, run in enumerate(job.runs)
            for row, value in enumerate((rank, 10 + rank, 20 + rank))
        }
        assert all(begin <= row["_time"] <= datetime.now(UTC).replace(tzinfo=None) for row in table)


def test_a_million_rows_come_back_as_they_were_given(tmp_path: Path) -> None:
    """Compared value by value, six columns of numbers and one of text."""
    generator = np.random.default_rng(7)
    n = 1_000_000
    columns: dict[str, Any] = {
        "frame": np.arange(n, dtype=np.int32),
        "x": generator.random(n, np.float32),
        "y": generator.random(n),
        "hits": generator.integers(0, 1 << 16, n, np.uint16),
        "id": generator.integers(0, 1 << 63, n, np.uint64),
        "good": generator.random(n) > 0.5,
        "label": [f"p{value}" for value in generator.integers(0, 1000, n)],
    }
    kinds = {"frame": "int32", "x": "float32", "y": "float64", "hits": "uint16", "id": "uint64", "good": "bool"}
    with one(tmp_path / "logs") as job:
        assert job[0].stream("s", kinds | {"label": "text"}).extend(columns).count == n
    table = read(tmp_path / "prov.duckdb", tmp_path / "logs", "s")
    for name in kinds:
        assert np.array_equal(table.column(name).to_numpy(), columns[name]), name
    assert table.column("label").to_pylist() == columns["label"]


def test_rows_before_and_after_a_commit(tmp_path: Path) -> None:
    """Each row comes once, in its order, though the stream was compacted while it was written."""
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("s", {"x": "int64"})
        for part in range(5):
            stream.append(part * 1000)
            stream.extend({"x": np.arange(part * 1000 + 1, (part + 1) * 1000)})
            made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert opened.table("s")["x"] == list(range(5000))
        assert opened.table("s")["_row"] == list(range(5000))


def test_a_batch_that_is_damaged_loses_its_rows_only(tmp_path: Path) -> None:
    """The other rows come, the rank is named as corrupt with the rows it lost, and it stays so when nothing is new."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with one(logs) as job:
        stream = job[0].stream("s", {"x": "int64"})
        stream.append(-1)
        for _ in range(2):
            stream.extend({"x": np.arange(10_000)})
        job[0].data("after", digest="x:0")
    (file,) = job.folder(0).glob("stream-*.arrows")
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 1
    file.write_bytes(data)
    for _ in range(3):
        with made(logs, store) as opened:
            assert opened.snapshot == 1
            assert count(opened, "stream.s") == 10_001
            assert rows(opened, "select state from ranks") == [("corrupt",)]
            assert "rows 1 to 10000 of stream 1 cannot be read" in rows(opened, "select message from problems")[0][0]
            assert not opened.lineage("data:after").complete


def test_a_batch_file_that_is_gone(tmp_path: Path) -> None:
    """The rank is torn: a part of its log is missing."""
    logs = tmp_path / "logs"
    with one(logs) as job:
        job[0].stream("s", {"x": "int64"}).extend({"x": np.arange(10_000)})
        job[0].data("after", digest="x:0")
    (file,) = job.folder(0).glob("stream-*.arrows")
    file.unlink()
    with made(logs, tmp_path / "prov.duckdb") as opened:
        assert rows(opened, "select state from ranks") == [("torn",)]
        assert [each.state for each in opened.lineage("data:after").missing] == ["torn"]


def test_undecodable_text_is_kept_readable(tmp_path: Path) -> None:
    """A file name that is not UTF-8 does not stop a compaction; what UTF-8 cannot hold is shown otherwise."""
    odd, other = (name.decode("utf-8", "surrogateescape") for name in (b"caf\xe9", b"caf\xe8"))
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("s", {"name": "text", "n": "int64"})
        stream.append(odd, 1)
        stream.append(odd, None)
        stream.append(None, 1)
        stream.extend({"name": [odd, "plain", other], "n": [1, 2, 3]})
        # Of a writer that is not Python.
        wrong = struct.pack("<Iq", 2, 1) + b"a\xff"
        job[0]._log.append(Code.ROW, 0, 6, 1, stream._number, 0, wrong)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        found = opened.table("s")["name"]
        same = "caf\\udce9"
        assert found == [same, same, None, same, "plain", "caf\\udce8", "a\\xff"]


def test_every_column_type_has_an_arrow_type() -> None:
    assert set(ARROW_TYPES) == {*FIXED, *VARIABLE}


VALUES = {
    "int8": st.integers(-128, 127),
    "uint64": st.integers(0, 2**64 - 1),
    "float64": st.floats(),
    "float32": st.floats(width=32),
    "bool": st.booleans(),
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "bytes": st.binary(),
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rows_in_any_pieces(tmp_path: Path, data: st.DataObject) -> None:
    """Rows that are given one by one, with and without None, and in batches, come back in order."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    columns = {f"c{index}": kind for index, kind in enumerate(kinds)}
    whole = st.tuples(*(VALUES[kind] for kind in kinds))
    partly = st.tuples(*(st.one_of(st.none(), VALUES[kind]) for kind in kinds))
    pieces = data.draw(st.lists(st.one_of(partly, st.lists(whole, max_size=5)), max_size=10))
    folder = tmp_path / os.urandom(8).hex()
    expected: list[tuple[Any, ...]] = []
    with one(folder / "logs") as job:
        stream = job[0].stream("s", columns)
        for piece in pieces:
            if isinstance(piece, tuple):
                stream.append(*piece)
                expected.append(piece)
            elif piece:
                stream.extend({name: [row[index] for row in piece] for index, name in enumerate(columns)})
                expected.extend(piece)
    if not expected:
        return
    table = read(folder / "prov.duckdb", folder / "logs", "s")
    found = list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))
    assert len(found) == len(expected)
    for one_row, other in zip(expected, found, strict=True):
        assert all(same(a, b) for a, b in zip(one_row, other, strict=True)), (one_row, other)
