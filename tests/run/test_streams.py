"""Rows of streams: what is appended is in the log, and what does not fit is refused."""

from __future__ import annotations

import datetime
import math
import struct
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import braid_hpc as braid
from braid_hpc.log.batch_file import BatchFile
from braid_hpc.log.choice import why_python
from braid_hpc.log.layout import SUM_BYTES
from braid_hpc.reading.sealed import read_stream_batch, read_sums
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.run import streams
from braid_hpc.run.handles import NO_ROWS
from braid_hpc.run.streams import INLINE_BYTES, Stream
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import BATCH_IN_FILE, FIXED, ROW_AS_LIST
from braid_hpc.vocabulary.encoding import decode
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.rank_logs import read_only_log, said

ALL = {kind: kind for kind in (*FIXED, "text", "bytes")}
BOUNDS = {kind: (np.iinfo(kind).min, np.iinfo(kind).max) for kind in FIXED if "int" in kind} | {
    "timestamp": (-(2**63), 2**63 - 1)
}


@pytest.fixture(autouse=True, params=["python", "compiled"])
def tail(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with streams of both kinds."""
    if request.param == "python":
        monkeypatch.setenv("BRAID_TAIL", "python")
    elif (reason := why_python()) is not None:
        pytest.skip(f"the compiled tail does not run here: {reason}")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[braid.Run]:
    with braid.job("streams", log_dir=tmp_path / "logs") as run:
        yield run


def values(kind: str) -> st.SearchStrategy[Any]:
    if kind in BOUNDS:
        return st.integers(*BOUNDS[kind])
    return {
        "bool": st.booleans(),
        "float32": st.floats(width=32),
        "float64": st.floats(),
        "text": st.text(st.characters(exclude_categories=[])),
        "bytes": st.binary(),
    }[kind]


def unpack(payload: bytes, columns: list[tuple[str, str]]) -> tuple[Any, ...]:
    """Read a row by the words of the format, and nothing of the writer's."""
    layout = struct.Struct("<" + "".join(FIXED.get(kind, "I") for _, kind in columns))
    row, at = list(layout.unpack_from(payload)), layout.size
    for index, (_, kind) in enumerate(columns):
        if kind not in FIXED:
            data = payload[at : at + row[index]]
            at += row[index]
            row[index] = data.decode("utf-8", "surrogatepass") if kind == "text" else data
    assert at == len(payload)
    return tuple(row)


def unpack_batch(payload: bytes, columns: list[tuple[str, str]], rows: int) -> list[tuple[Any, ...]]:
    """Read a batch that stands in the tail."""
    found, at = [], 0
    for _, kind in columns:
        if kind in FIXED:
            layout = struct.Struct(f"<{rows}{FIXED[kind]}")
            found.append(list(layout.unpack_from(payload, at)))
            at += layout.size
        else:
            ends = struct.unpack_from(f"<{rows + 1}I", payload, at)
            at += 4 * (rows + 1)
            parts = [payload[at + ends[n] : at + ends[n + 1]] for n in range(rows)]
            found.append([part.decode("utf-8", "surrogatepass") for part in parts] if kind == "text" else parts)
            at += ends[-1]
    assert at == len(payload)
    return list(zip(*found, strict=True))


def rows_of(log: WriterLog, stream: Stream) -> list[tuple[Any, ...]]:
    """Give all rows of a stream, by their numbers."""
    columns, found = stream.columns, {}
    for row in said(log, Code.ROW, Code.BATCH):
        if row.other != stream._number:
            continue
        if row.object == 1 and row.flags == ROW_AS_LIST and len(decode(row.payload)) == len(columns):
            found[row.subject] = tuple(decode(row.payload))
    for row in said(log, Code.ROW):
        if row.other == stream._number and row.flags != ROW_AS_LIST:
            found[row.subject] = unpack(row.payload, columns)
    for row in said(log, Code.BATCH):
        if row.other != stream._number:
            continue
        if row.flags & BATCH_IN_FILE:
            table = read_stream_batch(log.directory, row.other, row.payload)
            batch = list(zip(*(table[name].to_pylist() for name, _ in columns), strict=True))
        else:
            batch = unpack_batch(row.payload, columns, row.object)
        assert len(batch) == row.object
        found.update(enumerate(batch, row.subject))
    assert sorted(found) == list(range(len(found)))
    return [found[number] for number in sorted(found)]


def alike(one: Any, two: Any) -> bool:
    return type(one) is type(two) and (one == two or (isinstance(one, float) and math.isnan(one) and math.isnan(two)))


# ------------------------------------------------------------------------------------------- rows


@given(data=st.data())
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_rows_come_back(run: braid.Run, data: st.DataObject) -> None:
    """Of any columns, with values over their whole range, and None anywhere."""
    kinds = data.draw(st.lists(st.sampled_from(list(ALL)), min_size=1, max_size=6))
    stream = run.stream(f"s{next(run._stream_numbers)}", [(f"c{n}", kind) for n, kind in enumerate(kinds)])
    row = st.tuples(*(values(kind) for kind in kinds))
    holed = st.tuples(
        *(st.none() | values(kind).filter(lambda v: not isinstance(v, str) or v.isascii()) for kind in kinds)
    )
    rows = data.draw(st.lists(row | holed, max_size=5))
    places = [stream.append(*values) for values in rows]
    assert [(place.first, place.count) for place in places] == [(number, 1) for number in range(len(rows))]
    found = rows_of(read_writer(run._log.directory), stream)
    assert all(alike(*pair) for one, two in zip(found, rows, strict=True) for pair in zip(one, two, strict=True))


def test_a_row_by_name_is_a_row_by_position(run: braid.Run) -> None:
    """Or by both, in any order."""
    stream = run.stream("s", {"frame": "int32", "x": "float32", "label": "text"})
    stream.append(1, 0.5, "a")
    stream.append(label="a", frame=1, x=0.5)
    stream.append(1, label="a", x=0.5)
    stream.append(frame=1, x=None, label="a")
    assert rows_of(read_writer(run._log.directory), stream) == [(1, 0.5, "a")] * 3 + [(1, None, "a")]


def test_numpy_scalars_are_values(run: braid.Run) -> None:
    """Each in a column of its type; and truth values of NumPy."""
    stream = run.stream("s", {"i": "int16", "u": "uint64", "f": "float32", "b": "bool", "t": "text"})
    stream.append(np.int16(-3), np.uint64(2**64 - 1), np.float32(0.5), np.bool_(True), np.str_("é"))
    stream.append(np.int64(7), None, np.float64(0.25), np.bool_(False), "x")
    assert rows_of(read_writer(run._log.directory), stream) == [
        (-3, 2**64 - 1, 0.5, True, "é"),
        (7, None, 0.25, False, "x"),
    ]


WRONG: list[tuple[dict[str, str], tuple[Any, ...], str]] = [
    ({"a": "int32"}, (), "has 1 values, not 0"),
    ({"a": "int32"}, (1, 2), "has 1 values, not 2"),
    ({"a": "int32", "b": "text"}, (1,), "has 2 values, not 1"),
    ({"a": "int32"}, ("1",), "not of type int32"),
    ({"a": "int32"}, (1.0,), "not of type int32"),
    ({"a": "int8"}, (128,), "not of type int8"),
    ({"a": "uint8"}, (-1,), "not of type uint8"),
    ({"a": "int64"}, (2**63,), "not of type int64"),
    ({"a": "float32"}, (1e300,), "not of type float32"),
    ({"a": "float64"}, ("0.5",), "not of type float64"),
    ({"a": "bool"}, (1,), "not of type bool"),
    ({"a": "bool"}, ("yes",), "not of type bool"),
    ({"a": "text"}, (5,), "not of type text"),
    ({"a": "text"}, (b"abc",), "not of type text"),
    ({"a": "bytes"}, ("abc",), "not of type bytes"),
    ({"a": "timestamp"}, (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),), "not of type timestamp"),
    ({"a": "int32", "b": "int32"}, (None, "x"), "column 'b'"),
]


@pytest.mark.parametrize(("columns", "row", "reason"), WRONG)
def test_a_wrong_row_is_refused(
    run: braid.Run, monkeypatch: pytest.MonkeyPatch, columns: dict[str, str], row: tuple[Any, ...], reason: str
) -> None:
    """Raised under BRAID_STRICT; else kept as a refusal with the line, and no row is stored for it."""
    stream = run.stream("s", columns)
    with pytest.raises(InvalidInputError, match=reason):
        stream.append(*row)
    monkeypatch.delenv("BRAID_STRICT")
    assert stream.append(*row) == NO_ROWS
    good = tuple({"text": "x", "bytes": b"x", "bool": True}.get(kind, 1) for kind in columns.values())
    assert stream.append(*good).first == 0
    log = read_writer(run._log.directory)
    assert len(rows_of(log, stream)) == 1
    (refused,) = said(log, Code.REJECTED)
    assert reason in refused.value["message"]
    assert refused.value["where"].startswith(__file__)


def test_wrong_names_are_refused(run: braid.Run) -> None:
    """Unknown, doubled and missing ones."""
    stream = run.stream("s", {"a": "int32", "b": "int32"})
    for named, reason in (({"c": 1}, "no column 'c'"), ({"a": 1}, "given twice")):
        with pytest.raises(InvalidInputError, match=reason):
            stream.append(1, **named)
    with pytest.raises(InvalidInputError, match="lacks b: give None"):
        stream.append(a=1)


# ------------------------------------------------------------------------------------------- batches


@given(data=st.data())
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_batches_come_back(run: braid.Run, data: st.DataObject) -> None:
    """Of any columns given as lists, with values over their whole range."""
    kinds = data.draw(st.lists(st.sampled_from(list(ALL)), min_size=1, max_size=5))
    stream = run.stream(f"s{len(run._streams)}", [(f"c{n}", kind) for n, kind in enumerate(kinds)])
    row = st.tuples(*(values(kind) for kind in kinds))
    batches = data.draw(st.lists(st.lists(row, max_size=6), max_size=3))
    for batch in batches:
        place = stream.extend({f"c{n}": [row[n] for row in batch] for n in range(len(kinds))})
        assert place.count == len(batch)
    found = rows_of(read_writer(run._log.directory), stream)
    wanted = [row for batch in batches for row in batch]
    assert all(alike(*pair) for one, two in zip(found, wanted, strict=True) for pair in zip(one, two, strict=True))


@given(data=st.data())
@example(data=None)
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_numpy_columns_come_back(run: braid.Run, data: st.DataObject | None) -> None:
    """Of every dtype, contiguous or not, read-only, in either byte order, and empty."""
    stream = run.stream("numpy", ALL)
    count = data.draw(st.integers(0, 30)) if data is not None else 0
    before = len(rows_of(read_writer(run._log.directory), stream))
    rng = np.random.default_rng(count)
    columns: dict[str, Any] = {}
    for kind in FIXED:
        dtype = np.dtype("int64" if kind == "timestamp" else kind)
        whole = (
            np.frombuffer(rng.bytes(3 * count * dtype.itemsize), dtype)
            if kind != "bool"
            else rng.random(3 * count) < 0.5
        )
        columns[kind] = whole[::3] if count % 2 else whole[:count].astype(dtype.newbyteorder(">"))
    columns["text"] = np.array([f"text {n}" for n in range(count)], dtype="U20")
    columns["bytes"] = np.array([b"x" * (n + 1) for n in range(count)], dtype="S40")
    place = stream.extend(columns)
    assert place.count == count
    found = rows_of(read_writer(run._log.directory), stream)[before:]
    wanted = list(zip(*(columns[name].tolist() for name in ALL), strict=True))
    assert all(alike(*pair) for one, two in zip(found, wanted, strict=True) for pair in zip(one, two, strict=True))


FRAME = {"n": [1, 2, 3], "x": [0.5, float("nan"), -1.0], "b": [True, False, True], "t": ["a", "é", ""]}


@pytest.mark.parametrize(
    "make",
    [
        dict,
        pa.table,
        pa.RecordBatch.from_pydict,
        lambda frame: pa.concat_tables([pa.table(frame).slice(0, 1), pa.table(frame).slice(1)]),
        pd.DataFrame,
        pl.DataFrame,
        lambda frame: {name: pa.array(column) for name, column in frame.items()},
        lambda frame: {name: tuple(column) for name, column in frame.items()},
        lambda frame: frame | {"n": array("i", frame["n"]), "x": array("f", frame["x"])},
        lambda frame: frame | {"n": range(1, 4), "x": memoryview(array("f", frame["x"]))},
    ],
    ids=["dict", "arrow", "record-batch", "chunks", "pandas", "polars", "arrow-columns", "tuples", "array", "buffers"],
)
def test_frames_of_all_sorts(run: braid.Run, make: Any) -> None:
    """Whatever has columns by name."""
    stream = run.stream("s", {"n": "int32", "x": "float32", "b": "bool", "t": "text"})
    assert stream.extend(make(FRAME)).count == 3
    found = rows_of(read_writer(run._log.directory), stream)
    assert [repr(row) for row in found] == [repr(row) for row in zip(*FRAME.values(), strict=True)]


@pytest.mark.parametrize("rows", [INLINE_BYTES // 12, INLINE_BYTES // 12 + 1])
def test_a_large_batch_stands_in_a_file(run: braid.Run, rows: int) -> None:
    """Beyond a limit; with a sum, under the same row numbers, readable by pyarrow alone."""
    stream = run.stream("s", {"a": "int64", "b": "int32"})
    stream.append(-1, -1)
    for step in range(3):
        columns = {"a": np.arange(rows) + step, "b": np.arange(rows, dtype="i4")}
        assert stream.extend(columns)[2:] == (1 + step * rows, rows)
    log = read_writer(run._log.directory)
    found = rows_of(log, stream)
    assert found == [(-1, -1)] + [(n + step, n) for step in range(3) for n in range(rows)]
    path = log.directory / "stream-0001.arrows"
    assert path.exists() == (rows * 12 > INLINE_BYTES)
    if path.exists():
        table = pa.ipc.open_stream(path.read_bytes()).read_all()
        assert table["a"].to_pylist() == [n + step for step in range(3) for n in range(rows)]
        segments, corrupt, torn = read_sums(path.with_suffix(".sums"))
        assert ([(s.first, s.after) for s in segments], corrupt, torn) == (
            [(1 + step * rows, 1 + (step + 1) * rows) for step in range(3)],
            [],
            None,
        )
        assert path.with_suffix(".sums").stat().st_size == 3 * SUM_BYTES


def test_every_type_goes_into_the_file(run: braid.Run) -> None:
    """Also truth values, texts, bytes and times."""
    stream = run.stream("s", ALL)
    count = 2_000
    columns: dict[str, Any] = {kind: [n % 100 for n in range(count)] for kind in FIXED if kind != "bool"}
    columns |= {"bool": [n % 3 == 0 for n in range(count)], "text": ["é" * (n % 5) for n in range(count)]}
    columns |= {"bytes": [b"\xff" * (n % 7) for n in range(count)]}
    assert stream.extend(columns).count == count
    (row,) = said(read_writer(run._log.directory), Code.BATCH)
    assert row.flags == BATCH_IN_FILE
    table = pa.ipc.open_stream((run._log.directory / "stream-0001.arrows").read_bytes()).read_all()
    for kind, column in columns.items():
        found = table[kind].cast(pa.int64()) if kind == "timestamp" else table[kind]
        assert found.to_pylist() == column, kind
    assert str(table.schema.field("timestamp").type) == "timestamp[ns, tz=UTC]"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (5, "takes a mapping"),
        ([1, 2], "takes a mapping"),
        ({"n": [1]}, "given were n"),
        ({"n": [1], "x": [1.0], "y": [1]}, "given were n, x, y"),
        ({"n": [1, 2], "x": [1.0]}, "has 1 values, the one before it 2"),
        ({"n": [1.5], "x": [1.0]}, "column 'n' does not fit"),
        ({"n": ["1"], "x": [1.0]}, "column 'n' does not fit"),
        ({"n": [None], "x": [1.0]}, "column 'n' does not fit"),
        ({"n": [1 << 31], "x": [1.0]}, "column 'n' does not fit"),
        ({"n": np.array([1 << 31]), "x": [1.0]}, "out of its range"),
        ({"n": np.array([1.0]), "x": [1.0]}, "column 'n' does not fit"),
        ({"n": np.array([[1]]), "x": [1.0]}, "2 dimensions"),
        ({"n": np.array(1), "x": [1.0]}, "column 'n' does not fit"),
        ({"n": [1], "x": [1e300]}, "column 'x' does not fit"),
        ({"n": [1], "x": np.array([1e300])}, "out of its range"),
        ({"n": [1], "x": np.array([(1 << 24) + 1])}, "would be rounded"),
        ({"n": np.ma.masked_array([1, 2], mask=[False, True]), "x": [1.0, 2.0]}, "values are masked"),
        ({"n": 7, "x": [1.0]}, "column 'n' does not fit"),
        ({"n": pa.array([1, None]), "x": [1.0, 2.0]}, "column 'n' does not fit"),
    ],
)
def test_a_wrong_batch_is_refused(run: braid.Run, monkeypatch: pytest.MonkeyPatch, columns: Any, reason: str) -> None:
    """As a whole: nothing is cut or rounded, and no row of it is stored."""
    stream = run.stream("s", {"n": "int32", "x": "float32"})
    with pytest.raises(InvalidInputError, match=reason):
        stream.extend(columns)
    monkeypatch.delenv("BRAID_STRICT")
    assert stream.extend(columns) == NO_ROWS
    assert stream.extend({"n": [1], "x": [0.1]}).first == 0
    log = read_writer(run._log.directory)
    assert rows_of(log, stream) == [(1, pytest.approx(0.1, abs=1e-7))]
    assert len(said(log, Code.REJECTED)) == 1


@pytest.mark.parametrize("text", ["1677-01-01", "9999-12-31", "1970-01-01T00:00:00.000000000001"])
def test_times_that_64_bits_of_nanoseconds_cannot_hold_are_refused(run: braid.Run, text: str) -> None:
    """NumPy would make other times of them; those it can hold come back, and NaT is none."""
    stream = run.stream("s", {"t": "timestamp"})
    with pytest.raises(InvalidInputError, match="out of the range of nanoseconds"):
        stream.extend({"t": np.array(["1970-01-01", text], dtype=f"datetime64[{'ps' if '.' in text else 's'}]")})
    stream.extend({"t": np.array(["1677-09-23", "2262-04-11", "NaT"], dtype="datetime64[D]")})
    days = [row[0] / 86_400e9 for row in rows_of(read_writer(run._log.directory), stream)]
    assert days[:2] == [-106_750, 106_751]


@pytest.mark.parametrize(
    ("kind", "wrong"), [("bool", [1]), ("text", "abc"), ("text", [1]), ("bytes", ["a"]), ("bytes", b"ab")]
)
def test_wrong_values_of_other_columns(run: braid.Run, kind: str, wrong: Any) -> None:
    """A truth value is one, and one text is not a column of texts."""
    with pytest.raises(InvalidInputError, match="does not fit"):
        run.stream("s", {"a": kind}).extend({"a": wrong})


def test_threads_append_and_extend_at_once(tmp_path: Path) -> None:
    """Each row and batch keeps its numbers, small ones in the tail and large ones in one file."""
    with braid.job("threads", log_dir=tmp_path / "logs") as run:
        stream = run.stream("s", {"me": "int32", "n": "int64"})

        def work(me: int) -> None:
            for n in range(0, 30_000, 1_500):
                stream.append(me, -1)
                stream.extend({"me": [me] * 10, "n": list(range(10))})
                stream.extend({"me": np.full(5_000, me, "i4"), "n": np.arange(n, n + 5_000)})

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(me,)) for me in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
    log = read_only_log(tmp_path / "logs")
    assert log.faults == []
    found = rows_of(log, stream)
    assert len(found) == 3 * 20 * 5_011
    for me in range(3):
        mine = [n for who, n in found if who == me]
        assert sorted(mine) == sorted(
            [-1] * 20 + list(range(10)) * 20 + [i for n in range(0, 30_000, 1_500) for i in range(n, n + 5_000)]
        )


def test_the_first_large_batches_of_two_threads(run: braid.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go into one file, also where both threads find that there is none yet."""
    stream = run.stream("s", {"x": "int64"})
    both = threading.Barrier(2)

    def made(path: Path) -> BatchFile:
        both.wait(timeout=20)
        return BatchFile(path)

    monkeypatch.setattr(streams, "BatchFile", made)
    values = [np.arange(10_000) + first for first in (0, 10_000)]
    threads = [threading.Thread(target=stream.extend, args=({"x": each},)) for each in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = read_writer(run._log.directory)
    assert log.faults == []
    assert sorted(row[0] for row in rows_of(log, stream)) == list(range(20_000))


def test_a_large_batch_is_written_with_all_ranks_of_floats(run: braid.Run) -> None:
    """NaN, infinities and the sign of zero stay what they are."""
    stream = run.stream("s", {"x": "float64"})
    odd = [float("nan"), float("inf"), float("-inf"), -0.0]
    stream.extend({"x": np.array(odd * 2_000)})
    found = [row[0] for row in rows_of(read_writer(run._log.directory), stream)]
    assert [repr(value) for value in found[:4]] == [repr(value) for value in odd]


def test_the_file_cannot_be_written(run: braid.Run) -> None:
    """A batch that the file system refuses is a loss of as many rows; what fits into the tail is kept."""
    (run._log.directory / "stream-0001.arrows").mkdir()
    stream = run.stream("s", {"x": "float64"})
    assert stream.extend({"x": np.zeros(10_000)}) == NO_ROWS
    assert stream.extend({"x": np.zeros(10)}).count == 10
    log = read_writer(run._log.directory)
    (lost,) = said(log, Code.LOSS)
    assert (lost.value["count"], [loss[0] for loss in log.lost]) == (10_000, [10_000])
    assert "IsADirectoryError" in lost.value["reason"]
    assert said(log, Code.REJECTED) == []


def test_declared_again_it_is_the_same_stream_unless_something_is_said_of_it_that_was_not(
    run: braid.Run, tmp_path: Path
) -> None:
    """Other parents make rows that come from elsewhere, so they are never dropped."""
    one, two = run.data("one", digest="x:1"), run.data("two", digest="x:2")
    first = run.stream("s", {"a": "int64"}, derived_from=one)
    assert run.stream("s", {"a": "int64"}) is first
    assert run.stream("s", {"a": "int64"}, derived_from=one) is first
    other = run.stream("s", {"a": "int64"}, derived_from=two)
    assert other is not first
    assert run.stream("s", {"a": "int64"}, derived_from=two) is other
    assert run.stream("s", {"a": "int64"}, units={"a": "mm"}) not in (first, other)
    assert run.stream("s", {"b": "int64"}) not in (first, other)
    first.append(1)
    other.append(2)
    run.close()
    store = tmp_path / "prov.duckdb"
    braid.compact(tmp_path / "logs", store)
    with braid.open(store) as opened:
        assert {node.ref for node in opened.impact("data:two").nodes} >= {"stream:s@2"}
        assert [row["a"] for row in opened.sql("select a from stream.s order by a")] == [1, 2]


@pytest.mark.parametrize("rows", [1, 3, 20_000])
def test_arrays_are_the_same_rows_however_they_lie_in_memory(run: braid.Run, tmp_path: Path, rows: int) -> None:
    """Those that are taken as they are, and those that have to be copied first; in the tail and in a file."""
    lying = run.stream("lying", {"a": "float32", "b": "uint16"})
    whole = np.arange(2 * rows, dtype="f4").reshape(rows, 2)
    numbers = np.arange(rows, dtype="u2")
    given = [{"a": np.ascontiguousarray(whole[:, 0]), "b": numbers}, {"a": whole[:, 0], "b": numbers[::-1][::-1]}]
    given.append({"a": whole[:, 0].astype(">f4"), "b": numbers.astype("i8")})
    assert [lying.extend(columns).count for columns in given] == [rows] * 3
    for wrong in (
        {"a": whole, "b": numbers},
        {"a": whole[:, 0], "b": numbers[:-1]},
        {"a": np.float32(1), "b": numbers},
    ):
        with pytest.raises(InvalidInputError):
            lying.extend(wrong)
    run.close()
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        found = store.sql("select a, b from stream.lying order by _row")
    assert found["a"] == whole[:, 0].tolist() * 3
    assert found["b"] == numbers.tolist() * 3


@pytest.mark.parametrize("large", [False, True])
def test_every_row_of_a_name_has_a_number_of_its_own(run: braid.Run, tmp_path: Path, large: bool) -> None:
    """However often a stream is declared, and whichever of its declarations a row or a batch is given to."""
    declared = [
        run.stream("hits", {"x": "int64"}),
        run.stream("hits", {"x": "int64", "y": "float64"}),
        run.stream("hits", {"x": "text"}),
        run.stream("hits", {"x": "int64"}, tags={"of": "the second half"}),
    ]
    assert len({id(each) for each in declared}) == 4
    count = INLINE_BYTES if large else 3
    expected: dict[int, dict[str, Any]] = {}
    for turn in range(12):
        which = turn % 4
        row: tuple[Any, ...] = (f"t{turn}" if which == 2 else turn, *((turn / 2,) if which == 1 else ()))
        first = declared[which].append(*row).first
        assert first not in expected
        expected[first] = dict(zip(("x", "y"), row, strict=False))
        columns = {name: [value] * count for (name, _), value in zip(declared[which].columns, row, strict=True)}
        begin = declared[which].extend(columns).first
        for number in range(begin, begin + count):
            assert number not in expected
            expected[number] = expected[first]
        none = declared[which].append(*[None] * len(row)).first
        expected[none] = {}
    assert set(expected) == set(range(len(expected)))
    run.close()
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        found = store.sql("select _row, x, y, x__2 from stream.hits order by _row").to_pylist()
        assert [each["_row"] for each in found] == list(range(len(expected)))
        for each in found:
            said = expected[each["_row"]]
            assert each["y"] == said.get("y")
            assert (each["x__2"] if isinstance(said.get("x"), str) else each["x"]) == said.get("x")
        ((last,),) = {(row.row,) for row in store.row_lineage(f"hits#{len(found) - 5}", values=True).rows}
        assert last == len(found) - 5


def test_threads_count_the_rows_of_one_name_together(run: braid.Run) -> None:
    """Also while it is declared again."""
    first = run.stream("hits", {"x": "int64"})
    found: list[list[int]] = [[] for _ in range(4)]
    begin = threading.Barrier(4)

    def work(number: int) -> None:
        begin.wait()
        for turn in range(3000):
            stream = first if number == 0 else run.stream("hits", {"x": "int64", f"y{number}": "int64"})
            row = (turn,) if number == 0 else (turn, turn)
            found[number].append(stream.append(*row).first)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for each in found for number in each) == list(range(12_000))
