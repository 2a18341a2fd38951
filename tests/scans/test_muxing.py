"""Streams aligned, merged, split, taken apart, put together and in bins, each against plain Python."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.scans.aligning import align
from braid_hpc.scans.derived import Derived
from braid_hpc.scans.merging import merge, merge_tables, split
from braid_hpc.scans.resampling import resample
from braid_hpc.scans.reshaping import stack, unnest
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.collectors.documents.instrument import Pair, descriptor, event, key, same, scan, start, stop, stored

READERS = Path(__file__).parent / "readers"


class Given:
    """An Arrow table as a stream gives one."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema = table.schema

    def batches(self, size: int = 3) -> Iterator[pa.RecordBatch]:
        yield from self._table.to_batches(size)


KINDS = {"n": pa.int64(), "text": pa.string(), "ns": pa.int64(), "a": pa.list_(pa.float64()), "b": pa.list_(pa.int64())}


def table(unit: str | None = None, **columns: Any) -> Given:
    about = {"unit": unit} if unit else None
    fields = [pa.field(name, KINDS.get(name, pa.float64()), metadata=about) for name in columns]
    arrays = [pa.array(values, field.type) for values, field in zip(columns.values(), fields, strict=True)]
    return Given(pa.table(arrays, pa.schema(fields)))


def attempted(make: Callable[[], Derived]) -> list[dict[str, Any]] | str:
    """Give the rows, or the sentence that refuses them."""
    try:
        return make().to_pylist()
    except InvalidInputError as error:
        return str(error)


#: Each example is a database of its own.
few = settings(max_examples=25)

#: Times that meet, repeat, are missing and are none; exact in binary, so that differences are too.
TIMES = st.lists(st.one_of(st.integers(-8, 8).map(lambda n: n / 4), st.none(), st.just(float("nan"))), max_size=8)
NUMBERS = st.lists(st.integers(-8, 8), max_size=8)
EIGHTHS = st.integers(-40, 40).map(lambda n: n / 8)
VALUES = st.one_of(st.integers(-40, 40).map(lambda n: n / 8), st.none(), st.just(float("nan")))


def known(times: list[Any]) -> list[int]:
    return [at for at, time in enumerate(times) if time is not None and time == time]


def plain(left: list[Any], right: list[Any], how: str, tolerance: float | None) -> list[int | None]:
    """Say which row on the right belongs to each on the left, looking at all of them."""
    last = {right[at]: at for at in known(right)}
    found: list[int | None] = []
    for time in left:
        best = None
        for other in sorted(last) if time is not None and time == time else ():
            if how == "asof" and other <= time:
                best = other
            if how == "nearest" and (best is None or abs(other - time) < abs(best - time)):
                best = other
        if best is not None and tolerance is not None and abs(best - time) > tolerance:
            best = None
        found.append(None if best is None else last[best])
    return found


@few
@given(TIMES, TIMES, st.sampled_from(["asof", "nearest"]), st.sampled_from([None, 0.0, 0.25, 1.0]), st.data())
def test_rows_that_belong_together(left: list[Any], right: list[Any], how: str, tolerance: Any, data: Any) -> None:
    """Unsorted times, equal ones, missing ones, NaN; ties go to the earlier time, and to the last of equal ones."""
    values = data.draw(st.lists(VALUES, min_size=len(right), max_size=len(right)))
    one = table(time=left, n=list(range(len(left))))
    other = table(time=right, x=values, text=[f"t{at}" for at in range(len(right))])
    expected = plain(left, right, how, tolerance)
    found = attempted(lambda: align(one, other, how=how, tolerance=tolerance))
    if isinstance(found, str):
        assert "have no time in common" in found or "has no row with a time" in found
        assert known(left)
        assert all(at is None for at in expected)
        return
    assert [row["n"] for row in found] == list(range(len(left)))
    for row, at in zip(found, expected, strict=True):
        said = (None, None, None) if at is None else (right[at], values[at], f"t{at}")
        assert same(said, (row["right.time"], row["right.x"], row["right.text"]))


@few
@given(
    st.lists(st.integers(-8, 8), max_size=8),
    st.lists(st.integers(-8, 8), max_size=8),
    st.sampled_from(["asof", "nearest"]),
)
def test_times_in_nanoseconds_are_exact(left: list[int], right: list[int], how: str) -> None:
    """Integers beyond what a float holds, one nanosecond apart."""
    early = 1795355383_000000000
    lefts, rights = [early + n for n in left], [early + n for n in right]
    expected = plain(lefts, rights, how, None)
    if lefts and rights and (how == "nearest" or max(lefts) >= min(rights)):
        found = align(table(ns=lefts), table(ns=rights), how=how, on="ns").to_pylist()
        assert [row["right.ns"] for row in found] == [None if at is None else rights[at] for at in expected]


@few
@given(TIMES, TIMES, st.data())
def test_linear_is_what_numpy_interp_says(left: list[Any], right: list[Any], data: Any) -> None:
    """Between the first and the last row that has a value; outside there is none."""
    values = data.draw(st.lists(EIGHTHS | st.none(), min_size=len(right), max_size=len(right)))
    last = {right[at]: values[at] for at in known(right)}
    knots = sorted((time, value) for time, value in last.items() if value is not None)
    found = attempted(lambda: align(table(time=left), table(time=right, x=values), how="linear"))
    if isinstance(found, str):
        assert "in common" in found or "has no row" in found
        mine, other = [left[at] for at in known(left)], [right[at] for at in known(right)]
        assert not other or max(mine) < min(other) or min(mine) > max(other)
        return
    for time, row in zip(left, found, strict=True):
        inside = bool(knots) and time is not None and knots[0][0] <= time <= knots[-1][0]
        expected = float(np.interp(time, [x for x, _ in knots], [y for _, y in knots])) if inside else None
        assert row["right.x"] == expected


def test_linear_over_many_rows_is_exactly_numpys() -> None:
    rng = np.random.default_rng(3)
    times, others = np.sort(rng.uniform(1.7e9, 1.7e9 + 100, 5_000)), np.sort(rng.uniform(1.7e9, 1.7e9 + 100, 700))
    values = rng.normal(size=700)
    found = align(table(time=times), table(time=others, x=values), how="linear").to_arrow()["right.x"].to_numpy()
    expected = np.interp(times, others, values, left=np.nan, right=np.nan)
    assert np.array_equal(found, expected, equal_nan=True)


def test_a_line_does_not_reach_over_gaps_longer_than_the_tolerance() -> None:
    one, other = table(time=[0.5, 2.0, 4.0]), table(time=[0.0, 1.0, 3.0, 5.0], x=[0.0, 1.0, 3.0, 5.0])
    found = align(one, other, how="linear", tolerance=0.5).to_pylist()
    assert [row["right.x"] for row in found] == [0.5, None, None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"how": "before"}, "how='before' is no way to align: these are asof, nearest and linear"),
        ({"tolerance": -1}, "tolerance=-1 is no distance"),
        ({"tolerance": float("nan")}, "tolerance=nan is no distance"),
        ({"on": "tiem"}, "left has no column 'tiem'"),
        ({"columns": ["y"]}, "right has no column 'y'"),
        ({"on": "text"}, "column 'text' of left holds string, and streams are aligned by numbers"),
        ({"how": "linear", "columns": ["text"]}, "column 'text' of right holds no numbers"),
        ({"on": "ns"}, r"column 'ns' of left holds integers beyond 2\*\*53, and the other one floats"),
    ],
)
def test_what_cannot_be_aligned_is_one_sentence(change: dict[str, Any], said: str) -> None:
    one = table(time=[1.0], text=["x"], ns=[2**60])
    other = Given(pa.table({"time": [1.0], "text": ["x"], "ns": [0.5]}))
    with pytest.raises(InvalidInputError, match=said):
        align(one, other, **change)


def test_streams_that_do_not_overlap_are_one_sentence(tmp_path: Path) -> None:
    """And one without events."""
    first = start()
    one, dark, none = (descriptor(first, {"det": key()}, name) for name in ("primary", "dark", "none"))
    documents = [first, one, dark, none, event(one, 1, {"det": 1.0}), event(dark, 9, {"det": 0.5}), stop(first)]
    with stored(tmp_path, documents) as store:
        found = store.scan(first[1]["uid"])
        with pytest.raises(
            InvalidInputError, match=r"^primary \(time 4.0 to 4.0\) and dark \(12.0 to 12.0\) have no time in common$"
        ):
            found.align("primary", "dark")
        assert found.align("dark", "primary").to_pylist()[0]["primary.det"] == 1.0
        with pytest.raises(InvalidInputError, match=r"in common within 2$"):
            found.align("primary", "dark", how="nearest", tolerance=2)
        with pytest.raises(InvalidInputError, match="none has no row with a time, so nothing of it can be aligned"):
            found.align("primary", "none")
        assert found.align("none", "primary").to_pylist() == []
        with pytest.raises(NotFoundError, match="has no stream 'drak'"):
            found.align("primary", "drak")


def test_units_and_types_stay(tmp_path: Path) -> None:
    first = start()
    one, dark = descriptor(first, {"x": key(units="mm")}), descriptor(first, {"i": key("integer", units="s")}, "dark")
    documents = [first, one, dark, event(dark, 1, {"i": 2**60}), event(one, 2, {"x": 0.5}), stop(first)]
    with stored(tmp_path, documents) as store:
        found = store.scan(first[1]["uid"]).align("primary", "dark")
        assert [found.schema.field(name).metadata[b"unit"] for name in ("x", "dark.i", "time")] == [b"mm", b"s", b"s"]
        assert found.to_arrow()["dark.i"].to_pylist() == [2**60]
        assert pa.table(found).equals(found.to_arrow())
        assert found.to_pandas()["dark.i"].tolist() == found.to_polars()["dark.i"].to_list() == [2**60]
        assert (len(found), found.columns[:2], "dark.i" in repr(found)) == (1, ["seq_num", "time"], True)


# ---------------------------------------------------------------------- merging and splitting


@few
@given(st.lists(st.tuples(TIMES, st.booleans()), min_size=1, max_size=4))
def test_tables_are_merged_by_time(given_: list[tuple[list[Any], bool]]) -> None:
    """Equal times in the order of the tables, missing and NaN at the end; columns that one lacks are null there."""
    tables = {
        f"s{at}": table(time=times, n=range(len(times))) if numbered else table(time=times)
        for at, (times, numbered) in enumerate(given_)
    }
    found = merge_tables(tables).to_pylist()
    rows = [
        (name, times[row], row if numbered else None)
        for (name, _), (times, numbered) in zip(tables.items(), given_, strict=True)
        for row in range(len(times))
    ]

    def order(row: Any) -> Any:
        return (2, 0.0) if row[1] is None else (1, 0.0) if row[1] != row[1] else (0, row[1])

    expected = sorted(rows, key=order)
    assert same(expected, [(row["scan"], row["time"], row.get("n")) for row in found])


def test_events_of_interleaved_scans_are_one_table(tmp_path: Path) -> None:
    """Nine events of three scans, by time."""
    runs = [scan(3) for _ in range(3)]
    for at, documents in enumerate(runs):
        for name, document in documents:
            if name == "event":
                document["time"] += at / 10
    with stored(tmp_path, [pair for documents in zip(*runs, strict=True) for pair in documents]) as store:
        scans = [store.scan(documents[0][1]["uid"]) for documents in runs]
        found = merge(scans).to_pylist()
        assert [row["scan"] for row in found] == [each.uid for each in scans] * 3
        assert [row["time"] for row in found] == sorted(row["time"] for row in found)
        assert merge([*scans, scans[0]], columns=["time", "det"]).columns == ["scan", "time", "det"]
        with pytest.raises(InvalidInputError, match="none of 3 scans has a stream 'dark'"):
            merge(scans, "dark")


def test_columns_that_mean_something_else_are_not_merged() -> None:
    one, text = table(time=[1.0], n=[1]), Given(pa.table({"time": [1.0], "n": ["1"]}))
    with pytest.raises(InvalidInputError, match="column 'n' holds integers in a and text in b: name the columns"):
        merge_tables({"a": one, "b": text})
    with pytest.raises(InvalidInputError, match="column 'time' is in s in a and in ms in b: merge them apart"):
        merge_tables({"a": table("s", time=[1.0]), "b": table("ms", time=[1.0])})
    with pytest.raises(InvalidInputError, match="b has no column 'time' to order by"):
        merge_tables({"a": one, "b": table(n=[1])})
    with pytest.raises(InvalidInputError, match="a has a column 'time': call the label of tables otherwise"):
        merge_tables({"a": one}, label="time")
    wide = Given(pa.table({"time": [1.0], "n": [0.5]}))
    with pytest.raises(InvalidInputError, match=r"column 'n' of a holds integers beyond 2\*\*53"):
        merge_tables({"a": table(time=[1.0], n=[2**60]), "b": wide})
    assert [row["n"] for row in merge_tables({"a": one, "b": wide})] == [1.0, 0.5]


def test_views_partition_a_stream(tmp_path: Path) -> None:
    """Odd and even frames by slices; by searches with a rest; and views that overlap or leave some out are refused."""
    documents = scan(7)
    with stored(tmp_path, documents) as store:
        found = store.scan(documents[0][1]["uid"])
        views = found.split("primary", {"odd": slice(0, None, 2), "even": slice(1, None, 2)}, whole=True)
        assert {name: [row["seq_num"] for row in view] for name, view in views.items()} == {
            "odd": [1, 3, 5, 7],
            "even": [2, 4, 6],
        }
        views = found.split("primary", {"low": "det < 1", "three": "n = 3"}, rest="others", whole=True)
        assert {name: [row["n"] for row in view] for name, view in views.items()} == {
            "low": [1, 2],
            "three": [3],
            "others": [4, 5, 6, 7],
        }
        with pytest.raises(InvalidInputError, match="2 events are in two views, seq_num 2 in a and b"):
            split(found, "primary", {"a": "n <= 3", "b": "n >= 2"}, whole=True)
        with pytest.raises(InvalidInputError, match=r"4 events are in no view, the first is seq_num 4: name a rest="):
            found.split("primary", {"a": "n <= 3"}, whole=True)
        with pytest.raises(InvalidInputError, match="a rest is what no search finds"):
            found.split("primary", {"a": slice(2)}, rest="b")


# ---------------------------------------------------------------------- apart and together

ROWS = st.lists(
    st.one_of(st.none(), st.lists(st.tuples(VALUES, st.one_of(st.none(), st.integers(-(2**62), 2**62))), max_size=4)),
    max_size=5,
)


@few
@given(ROWS)
def test_arrays_are_taken_apart(rows: list[Any]) -> None:
    """Missing arrays give no rows, missing values stay missing; against loops."""
    given_ = table(
        seq_num=list(range(1, len(rows) + 1)),
        a=[None if row is None else [x for x, _ in row] for row in rows],
        b=[None if row is None else [n for _, n in row] for row in rows],
    )
    found = [tuple(row.values()) for row in unnest(given_, ["a", "b"])]
    expected = [(float(at), k, x, n) for at, row in enumerate(rows, 1) for k, (x, n) in enumerate(row or ())]
    assert same(expected, found)


@few
@given(
    st.lists(
        st.tuples(VALUES, st.integers(), st.text(max_size=3)).map(lambda r: (r[0], r[1] % 2**62, r[2])), max_size=9
    )
)
def test_what_is_stacked_and_unnested_is_what_it_was(rows: list[Any]) -> None:
    given_ = table(
        seq_num=[float(n) for n in range(len(rows))],
        x=[x for x, _, _ in rows],
        n=[n for _, n, _ in rows],
        text=[text.replace("\0", "") for *_, text in rows],
    )
    stacked = stack(given_)
    assert len(stacked) == (1 if rows else 0)
    again = unnest(stacked, stacked.columns, index=None)
    assert again.columns == given_.schema.names
    assert same(
        [list(row.values()) for batch in given_.batches() for row in batch.to_pylist()],
        [list(r.values()) for r in again],
    )


@few
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=9))
def test_rows_are_stacked_by_what_they_have_in_common(rows: list[tuple[int, int]]) -> None:
    """In the order of their numbers, and among equal ones as they came."""
    found = stack(table(n=[n for n, _ in rows], seq_num=[float(s) for _, s in rows]), by="n").to_pylist()
    expected: dict[int, list[float]] = {}
    for n, number in rows:
        expected.setdefault(n, []).append(float(number))
    assert [(row["n"], row["seq_num"]) for row in found] == [(n, sorted(numbers)) for n, numbers in expected.items()]


#: Names that statements use themselves, and names that differ in upper and lower case alone.
ODD = [
    "t",
    "T",
    "n",
    "k",
    "u",
    "v",
    "c0",
    "c1",
    "_bin",
    "_table",
    "_at",
    "at",
    "low",
    "high",
    "label",
    "Time",
    "SEQ_NUM",
]


def test_columns_may_have_any_names() -> None:
    """Also those that the statements behind have, and such as DuckDB does not tell apart."""
    left = Given(pa.table({"time": [1.0, 2.0], **{name: [float(at), at + 100.0] for at, name in enumerate(ODD)}}))
    right = Given(pa.table({"time": [2.0, 1.0], **{name: [at + 0.5, at + 0.25] for at, name in enumerate(ODD)}}))
    for how in ("asof", "nearest", "linear"):
        rows = align(left, right, how=how).to_pylist()
        for at, name in enumerate(ODD):
            assert [row[name] for row in rows] == [at, at + 100]
            assert [row[f"right.{name}"] for row in rows] == [at + 0.25, at + 0.5], (how, name)
    for how in ("mean", "last"):
        rows = resample(left, step=1, how=how).to_pylist()
        assert [row["time"] for row in rows] == [1, 2]
        for at, name in enumerate(ODD):
            assert [row[name] for row in rows] == [at, at + 100], (how, name)
    rows = merge_tables({"a": left, "b": table(time=[1.5], x=[3.0], X=[4.0])}).to_pylist()
    assert [row["scan"] for row in rows] == ["a", "b", "a"]
    assert [(row["x"], row["X"]) for row in rows] == [(None, None), (3, 4), (None, None)]
    for at, name in enumerate(ODD):
        assert [row[name] for row in rows] == [at, None, at + 100], name
    (stacked,) = stack(left).to_pylist()
    assert stacked == {"time": [1, 2], **{name: [at, at + 100] for at, name in enumerate(ODD)}}
    whole = unnest(stack(left), left.schema.names, index=None)
    assert whole.to_pylist() == [dict(row) for batch in left.batches() for row in batch.to_pylist()]


def test_integers_beside_short_floats_stay_what_they_are() -> None:
    short = Given(pa.table({"time": [1.0], "x": pa.array([0.5], pa.float32())}))
    whole = Given(pa.table({"time": [2.0], "x": pa.array([16_777_217])}))
    assert [row["x"] for row in merge_tables({"a": short, "b": whole}).to_pylist()] == [0.5, 16_777_217]


def test_nothing_to_stack_is_one_sentence() -> None:
    assert attempted(lambda: stack(table(x=[1.0]), [])) == "no column is to be put together: name one"


def test_one_column_may_be_named_by_a_text() -> None:
    assert resample(table(time=[1.0], volts=[2.0]), step=1, columns="volts").to_pylist() == [{"time": 1, "volts": 2}]


def test_a_thousand_events_are_one_row(tmp_path: Path) -> None:
    """And arrays of a stream are rows, with what is kept of their events."""
    documents = scan(1000)
    with stored(tmp_path, documents) as store:
        found = store.scan(documents[0][1]["uid"])
        (row,) = found.stack("primary", ["n", "det"])
        assert row == {"n": list(range(1, 1001)), "det": [n / 3 for n in range(1, 1001)]}
    first = start()
    of = descriptor(first, {"x": key("array", [5]), "y": key("array", [5]), "m": key(), "img": key("array", [2, 2])})
    events = [
        event(of, n, {"x": [n, 1, 2, 3, 4], "y": [0.5] * 5, "m": n / 2, "img": [[n, 1], [2, 3]]}) for n in (1, 2, 3)
    ]
    with stored(tmp_path / "two", [first, of, *events, stop(first)]) as store:
        opened = store.scan(first[1]["uid"])
        rows = opened.unnest("primary", ["x", "y"], keep=["seq_num", "m"]).to_pylist()
        assert len(rows) == 15
        assert rows[7] == {"seq_num": 2, "m": 1.0, "index": 2, "x": 2, "y": 0.5}
        assert [row["img"] for row in opened.unnest("primary", "img", keep=[])] == [
            [n, 1] if not k else [2, 3] for n in (1, 2, 3) for k in (0, 1)
        ]
        with pytest.raises(
            InvalidInputError, match=r"^arrays differ in length: x has 5, img has 2 values in seq_num 1$"
        ):
            opened.unnest("primary", ["x", "img"]).to_arrow()


def test_rows_of_arrays_are_those_of_databroker(tmp_path: Path) -> None:
    """Three events of five values each: fifteen rows, as its pivot_timeseries makes them of the same documents."""
    lines = (READERS / "spectra.jsonl").read_text().splitlines()
    documents: list[Pair] = [tuple(json.loads(line)) for line in lines]
    expected = json.loads((READERS / "pivots.json").read_text())
    with stored(tmp_path, documents) as store:
        kept = ["time", "spec_label", "spec_number"]
        found = store.scan(-1).unnest("primary", "spec_spectrum", keep=kept).to_pylist()
    assert [{"_ind": row.pop("index"), **row} for row in found] == expected
    assert len(found) == 15


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda one: unnest(one, "n"), "column 'n' holds int64, and no arrays to take apart"),
        (lambda one: unnest(one, "c"), "there is no column 'c'"),
        (lambda one: unnest(one, "a", keep=["a"]), "a column would be twice in the result: a, index, a"),
        (lambda one: unnest(one, "a", keep=["n"], index="n"), "a column would be twice"),
        (lambda one: unnest(one, ["a", "b"]).to_arrow(), "^arrays differ in length: a has 1, b has 2 values in row 0$"),
        (lambda one: stack(one, ["n"], by="n"), "column 'n' is to be an array, and what its rows have in common"),
    ],
)
def test_what_cannot_be_reshaped_is_one_sentence(make: Callable[[Given], Derived], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        make(table(n=[1], a=[[1.0]], b=[[1, 2]]))


# ---------------------------------------------------------------------- bins of time


@few
@given(
    st.lists(st.tuples(st.integers(-40, 40).map(lambda n: 1.7e9 + n / 4), VALUES), max_size=12),
    st.sampled_from([0.25, 1, 1.5, 7]),
    st.sampled_from(["mean", "sum", "min", "max", "first", "last", "count", "median", "std"]),
)
def test_bins_are_those_of_pandas(rows: list[tuple[float, Any]], step: float, how: str) -> None:
    times, values = [time for time, _ in rows], [value for _, value in rows]
    found = resample(table(time=times, x=values), step=step, how=how).to_pylist()
    frame = pd.DataFrame(
        {"x": np.array([math.nan if value is None else value for value in values], float)},
        index=pd.to_datetime([round(time * 1e9) for time in times]),
    ).sort_index(kind="stable")
    binned = frame.resample(pd.Timedelta(seconds=step), origin="epoch")
    expected = getattr(binned, how)()["x"]
    assert [row["time"] for row in found] == [stamp.value / 1e9 for stamp in expected.index]
    for row, value in zip(found, expected, strict=True):
        if math.isnan(value):
            assert row["x"] is None
        else:
            assert row["x"] == pytest.approx(value, rel=1e-12, abs=1e-12)


@few
@given(st.lists(st.tuples(st.integers(-30, 30), st.integers(-(2**40), 2**40)), max_size=12), st.integers(1, 9))
def test_bins_of_integers_are_exact(rows: list[tuple[int, int]], step: int) -> None:
    """Nanoseconds, before 1970 too, against division that rounds down."""
    early = 1795355383_000000000
    for offset in (0, early):
        given_ = table(ns=[offset + time for time, _ in rows], n=[n for _, n in rows])
        found = resample(given_, step=step, how={"n": "sum"}, on="ns", empty=False).to_pylist()
        expected: dict[int, int] = {}
        for time, n in rows:
            begin = (offset + time) // step * step
            expected[begin] = expected.get(begin, 0) + n
        assert [(row["ns"], row["n"]) for row in found] == sorted(expected.items())


def test_each_column_its_own_way_and_rows_without_a_time(tmp_path: Path) -> None:
    times = [0.3, None, float("nan"), 0.1, 2.5]
    one = table(time=times, x=[1.0, 9.0, 9.0, 3.0, None], text=["b", "z", "z", "a", "c"])
    found = resample(one, step=1, how={"x": "mean", "text": "first"}).to_pylist()
    assert found == [
        {"time": 0.0, "x": 2.0, "text": "a"},
        {"time": 1.0, "x": None, "text": None},
        {"time": 2.0, "x": None, "text": "c"},
    ]
    assert resample(table(time=[], x=[]), step=1).to_pylist() == []
    documents = scan(5)
    with stored(tmp_path, documents) as store:
        found = store.scan(documents[0][1]["uid"]).resample(step=2, how="count").to_pylist()
    assert found == [{"time": 4.0, "det": 2, "n": 2}, {"time": 6.0, "det": 2, "n": 2}, {"time": 8.0, "det": 1, "n": 1}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"step": 0}, "step=0 is no length of bins: give seconds"),
        ({"step": 1e-10}, "step=1e-10 is no length of bins"),
        ({"step": "1s"}, "step='1s' is no length of bins"),
        ({"step": 1.5, "on": "n"}, "give a whole number, as the times are"),
        ({"step": 1, "on": "text"}, "column 'text' holds string, and bins are made of numbers"),
        ({"step": 1, "on": "tiem"}, "there is no column 'tiem'"),
        ({"step": 1, "how": "mode"}, "how='mode' is none of mean, sum"),
        ({"step": 1, "how": {"y": "mean"}}, "there is no column 'y' to put into bins"),
        ({"step": 1, "how": {"text": "mean"}}, "column 'text' holds no numbers, and has no mean"),
        ({"step": 1, "how": {"n": "mean"}, "columns": ["n"]}, "which columns, and how, is said once"),
    ],
)
def test_what_cannot_be_binned_is_one_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        resample(table(time=[1.0], n=[1], text=["x"]), **options)


def test_too_many_bins_and_too_large_sums_are_one_sentence() -> None:
    with pytest.raises(InvalidInputError, match=r"^there would be more than 100000000 bins: give a longer step"):
        resample(table(time=[0.0, 1.7e9], x=[1.0, 1.0]), step=1).to_arrow()
    assert len(resample(table(time=[0.0, 1.7e9], x=[1.0, 1.0]), step=1, empty=False)) == 2
    with pytest.raises(InvalidInputError, match=r"^a sum is beyond 64 bits"):
        resample(table(time=[0.0, 0.0], n=[2**62, 2**62]), step=1, how="sum").to_arrow()


def test_rows_come_batch_by_batch() -> None:
    found = resample(table(time=[float(n) for n in range(10)], x=[1.0] * 10), step=1)
    assert [batch.num_rows for batch in found.batches(4)] == [4, 4, 2]
    with pytest.raises(InvalidInputError, match="0 is no size of batches"):
        found.batches(0)
