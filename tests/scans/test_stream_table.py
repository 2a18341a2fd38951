"""Streams as tables: the same as plain Python over the documents, for every value that an event can have."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.queries import data
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.collectors.documents.instrument import (
    Pair,
    deliver,
    descriptor,
    event,
    key,
    page,
    scan,
    start,
    stop,
    stored,
)
from tests.jobs import Job, made
from tests.scans.plain import check_scan

VALUES: list[Any] = [
    *(0, 1, -3, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**63, 2**70),
    *(0.5, -0.0, float("nan"), float("inf"), 1e300, True, False, None),
    *("", "text", "Ångström", "\ud800", "a\0b"),
    *(
        [],
        [1, 2],
        [1.5, 2],
        [1, "a"],
        [[1, 2], [3]],
        [True],
        ["a", "b"],
        [None, 1],
        {"a": 1},
        (1, 2),
        [{"a": 1}],
        [2**60],
    ),
]
ARRAYS: list[Any] = [
    np.arange(3),
    np.arange(6, dtype="uint8").reshape(2, 3),
    np.array([1.5, np.nan]),
    np.array(["a", "bc"]),
    np.zeros((0, 3)),
    np.array([1 + 2j]),
    np.array([2**63], dtype="uint64"),
    np.float32(0.1),
    np.array(3.5),
    np.array([True, False]),
    np.array([1, 2], dtype=">i4"),
]
KINDS = ["number", "integer", "boolean", "string", "array"]

values = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(ARRAYS),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.lists(st.one_of(st.integers(-5, 5), st.floats(allow_nan=False)), max_size=3),
)


@st.composite
def runs(draw: st.DrawFn) -> list[Pair]:
    """Give the documents of a run of one or two streams, with descriptors that may differ, in any order."""
    names = draw(
        st.lists(
            st.sampled_from(["det", "Motor", "n__2", "time", "a.b", "_x", "uid"]), min_size=1, max_size=3, unique=True
        )
    )
    first = start()
    documents: list[Pair] = [first]
    for stream in ("primary", "dark")[: draw(st.integers(1, 2))]:
        of = [
            descriptor(
                first, {name: key(draw(st.sampled_from(KINDS))) for name in draw(st.permutations(names))}, stream
            )
            for _ in range(draw(st.integers(1, 2)))
        ]
        documents += of
        one_kind = draw(st.booleans())
        choice = draw(st.sampled_from(VALUES + ARRAYS))
        for number in range(1, draw(st.integers(0, 6)) + 1):
            data = {
                name: choice if one_kind and draw(st.integers(0, 4)) else draw(values)
                for name in names
                if draw(st.integers(0, 5))
            }
            which = of[draw(st.integers(0, len(of) - 1))]
            numbered = draw(st.sampled_from([number, number, number, number, 1, 2**40 + number]))
            time = draw(st.sampled_from([3.0 + number, 3.0 + number, 3 + number]))
            documents.append(event(which, numbered, data, time=time))
    documents += draw(st.lists(st.sampled_from(documents), max_size=3))
    if draw(st.booleans()):
        documents = draw(st.permutations(documents))
    return documents


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs())
def test_a_table_is_what_plain_python_makes_of_the_documents(documents: list[Pair]) -> None:
    """Any values, declared or not, on rows, in their rests, as documents, twice, and before their descriptor."""
    with tempfile.TemporaryDirectory() as folder, stored(Path(folder), documents) as store:
        check_scan(store.scan(next(d["uid"] for name, d in documents if name == "start")))


def test_every_value_comes_back(tmp_path: Path) -> None:
    """Each alone under its key, and all of them under one."""
    every = [*VALUES, *ARRAYS]
    first = start()
    of = descriptor(first, {f"k{at}": key(KINDS[at % len(KINDS)]) for at in range(len(every))}, "alone")
    documents = [first, of, *(event(of, n, {f"k{at}": value for at, value in enumerate(every)}) for n in (1, 2))]
    of = descriptor(first, {"k": key("number")}, "all")
    documents += [of, *(event(of, n, {"k": value}) for n, value in enumerate(every, 1))]
    with stored(tmp_path, documents) as store:
        check_scan(store.scan(-1))


def test_the_types_are_those_that_the_descriptor_and_the_values_say(tmp_path: Path) -> None:
    first = start()
    cases: dict[str, tuple[str, list[Any], list[str]]] = {
        "whole": ("number", [1, 2], ["double"]),
        "ints": ("integer", [1, 2], ["int64"]),
        "floats among ints": ("integer", [1, 2.5], ["double"]),
        "wide among floats": ("integer", [2**60 + 1, 2.5], ["int64", "double"]),
        "text": ("string", ["a"], ["string"]),
        "text among numbers": ("number", [1.5, "a"], ["double", "string"]),
        "image": ("array", [np.zeros((2, 2), "uint8")], ["large_list<item: large_list<item: uint8>>"]),
        "nothing": ("boolean", [None], ["bool"]),
        "of two shapes": (
            "array",
            [[1], [[1.5]]],
            ["large_list<item: int64>", "large_list<item: large_list<item: double>>"],
        ),
    }
    documents = [first]
    for stream, (kind, found, _) in cases.items():
        of = descriptor(first, {"k": key(kind)}, stream)
        documents += [of, *(event(of, n, {"k": value}) for n, value in enumerate(found, 1))]
    with stored(tmp_path, documents) as store:
        for stream, (_, _, expected) in cases.items():
            schema = store.scan(-1).table(stream, columns=["k"]).schema
            assert [str(each.type) for each in schema] == expected
            assert schema.names == ["k", "k__2"][: len(expected)]
        check_scan(store.scan(-1))


def test_pages_ranks_and_deliveries_do_not_show(tmp_path: Path) -> None:
    """Pages of 1,000 rows, given twice on two ranks, the second before the descriptor."""
    first = start()
    of = descriptor(first, {"det": key(), "n": key("integer"), "t": key("string")})
    events = [event(of, n, {"det": n / 3, "n": n, "t": str(n % 7)}) for n in range(1, 2001)]
    pages = [page(events[at : at + 1000]) for at in (0, 1000)]
    with Job(tmp_path / "logs", 2) as job:
        deliver(job, 0, [first, of, *pages, stop(first, {"primary": 2000})])
        deliver(job, 1, [pages[1], *events[:5], of, *events[500:700]])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = store.scan(-1)
        assert found.streams == {"primary": 2000}
        assert found.missing == []
        check_scan(found)


def test_a_conflict_is_settled_as_the_documents_settle_it(tmp_path: Path) -> None:
    """Two contents of one event: the table has that which documents() gives, also where only the other is asked for."""
    first = start()
    of = descriptor(first, {"det": key()})
    one = event(of, 1, {"det": 1.0})
    other = ("event", {**one[1], "data": {"det": 2.0}})
    with stored(tmp_path, [first, of, one, other, event(of, 2, {"det": 5.0})]) as store:
        found = store.scan(-1)
        check_scan(found)
        (given, _) = [each["data"]["det"] for name, each in found.documents() if name == "event"]
        assert found.table(where=f"det = {given}").count() == 1
        assert found.table(where=f"det = {3.0 - given}").count() == 0


# ---------------------------------------------------------------------------------------------- columns, where and rows


@pytest.fixture
def twenty(tmp_path: Path) -> Any:
    first = start()
    of = descriptor(
        first, {"motor": key(units="mm"), "n": key("integer"), "label": key("string"), "img": key("array", [2])}
    )
    events = [
        event(of, n, {"motor": n / 2, "n": n, "label": "even" if n % 2 == 0 else "odd", "img": [n, n + 1]})
        for n in range(1, 21)
    ]
    with stored(tmp_path, [first, of, *random.Random(3).sample(events, 20), events[4]]) as store:
        yield store.scan(-1)


@pytest.mark.parametrize(
    "rows",
    [
        0,
        3,
        -1,
        slice(None),
        slice(2, 4),
        slice(-3, None),
        slice(None, -18),
        slice(1, 15, 4),
        range(2, 9, 3),
        slice(30, 40),
    ],
)
@pytest.mark.parametrize("where", [None, "label = even"])
def test_rows_are_counted_in_the_order_of_their_numbers(twenty: Any, rows: Any, where: str | None) -> None:
    numbers = [n for n in range(1, 21) if where is None or n % 2 == 0]
    as_slice = rows if isinstance(rows, slice) else None
    if isinstance(rows, range):
        as_slice = slice(rows.start, rows.stop, rows.step)
    expected = numbers[as_slice] if as_slice is not None else [numbers[rows]]
    table = twenty.table(columns=["n"], rows=rows, where=where)
    assert [row["n"] for row in table] == expected
    assert table.count() == len(expected)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("motor > 9", {19, 20}),
        ("n in (1, 3.0, 500)", {1, 3}),
        ("label = even and n < 5", {2, 4}),
        ("not label = even and n <= 3", {1, 3}),
        ("label != even & n<=3", {1, 3}),
        ("label ~ ev* and (n = 2 or motor = 2)", {2, 4}),
        ('label matches "^o" and n > 18', {19}),
        ("seq_num >= 20", {20}),
        ("time > 22", {20}),
        ("time < 1970-01-01T00:00:05Z", {1}),
        ("img exists and n = 7", {7}),
        ("n = text", set()),
    ],
)
def test_where_is_asked_in_the_language_of_searches(twenty: Any, where: str, expected: set[int]) -> None:
    assert {row["n"] for row in twenty.table(columns=["n"], where=where)} == expected


def test_where_is_asked_with_objects_too(twenty: Any) -> None:
    from braid_hpc.queries import tag

    query = (tag("motor") > 9) & ~(tag("label") == "odd")
    assert [row["n"] for row in twenty.table(columns=["n"], where=query)] == [20]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"columns": ["moter"]}, "there is no column 'moter': near it is motor"),
        ({"where": "moter > 3"}, "there is no column 'moter': near it is motor"),
        ({"where": "img > 3"}, "img holds arrays: of these is asked only whether they are there, img exists"),
        ({"where": "motor >"}, "a value after > was expected here"),
        ({"where": 3}, "where= is a search"),
        ({"rows": "3"}, "rows= is a number, a slice or a range, and not str"),
        ({"rows": slice(None, None, -1)}, "rows come in the order of their numbers"),
        ({"columns": []}, "columns= names none"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(twenty: Any, asked: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message.replace("(", r"\(")):
        twenty.table(**asked)


def test_there_is_no_such_stream(twenty: Any) -> None:
    with pytest.raises(NotFoundError, match="has no stream 'primry': near it is primary"):
        twenty.table("primry")


def test_units_shapes_and_types_stand_in_the_fields(twenty: Any) -> None:
    schema = twenty.table().schema
    assert schema.names == ["seq_num", "time", "motor", "n", "label", "img"]
    assert schema.field("motor").metadata == {
        b"key": b"motor",
        b"unit": b"mm",
        b"shape": b"[]",
        b"dtype": b"number",
        b"source": b"SIM",
    }
    assert schema.field("img").metadata[b"shape"] == b"[2]"
    assert schema.field("time").metadata == {b"unit": b"s"}
    assert pa.table(twenty.table()).schema.equals(schema, check_metadata=True)


def test_batches_are_of_the_size_that_is_asked_for(twenty: Any) -> None:
    assert [batch.num_rows for batch in twenty.table().batches(7)] == [7, 7, 6]
    assert pa.Table.from_batches(twenty.table().batches(3)).equals(twenty.table().to_arrow())
    with pytest.raises(InvalidInputError, match="no size of batches"):
        twenty.table().batches(0)


def test_only_the_columns_that_are_asked_for_are_read(twenty: Any) -> None:
    """By DuckDB's own plan: the columns, and by which rows are chosen and ordered."""
    table = twenty.table(columns=["motor"], where="n > 3")
    (part,) = table._events.parts
    query, values = table._frames.statement(part)
    plan = twenty._store.sql(f"explain (format json) {query}", {**table._events.bound(values), "low": 1, "high": 20})[
        "explain_value"
    ][0]
    assert "motor" in plan
    assert '"n' in plan or "n >" in plan or "(n" in plan
    assert not {"img", "label", "time.motor", "rest", "uid"} & set(_words(plan)), plan


def _words(plan: str) -> list[str]:
    import json

    found: list[str] = []

    def walk(node: Any) -> None:
        info = node.get("extra_info", {})
        projections = info.get("Projections", [])
        found.extend([projections] if isinstance(projections, str) else projections)
        for child in node.get("children", []):
            walk(child)

    for node in json.loads(plan):
        walk(node)
    assert found
    return [word.strip('"') for word in found]


def test_other_libraries_take_it_as_it_is(twenty: Any) -> None:
    import duckdb
    import polars as pl

    table = twenty.table()
    assert pl.DataFrame(table).height == table.to_polars().height == 20
    assert table.to_pandas()["motor"].tolist() == [n / 2 for n in range(1, 21)]
    with duckdb.connect() as connection:
        connection.register("given", pa.RecordBatchReader.from_stream(table))
        assert connection.execute("select sum(n) from given").fetchall() == [(210,)]


def test_texts_that_utf_8_cannot_hold_are_what_they_were_in_pandas(tmp_path: Path) -> None:
    first = start()
    of = descriptor(first, {"text": key("string")})
    values = ["\ud800", "plain", None]
    documents = [first, of, *(event(of, number, {"text": each}) for number, each in enumerate(values, 1))]
    with stored(tmp_path, documents) as store:
        table = store.scan(-1).table()
        frame = table.to_pandas()
        texts = [[each for each in row if isinstance(each, str)] for row in frame[table.columns[2:]].values.tolist()]
        assert texts == [["\ud800"], ["plain"], []]


@pytest.mark.parametrize("keys", [("A", "a"), ("a", "A"), ("Ä", "ä")])
def test_keys_that_differ_in_nothing_but_case_keep_their_values(keys: tuple[str, str], tmp_path: Path) -> None:
    """Although columns of a store do not tell them apart."""
    first = start()
    of = descriptor(first, {each: key("string") for each in keys})
    one, other = keys
    values = [{one: "1", other: "2"}, {one: "3"}, {other: "4"}]
    documents = [first, of, *(event(of, number, each) for number, each in enumerate(values, 1))]
    with stored(tmp_path, documents) as store:
        check_scan(store.scan(-1))
        assert [row[other] for row in store.scan(-1).table(columns=[other])] == ["2", None, "4"]
        assert [row["seq_num"] for row in store.scan(-1).table(where=f'"{other}" exists')] == [1, 3]


@pytest.mark.parametrize(
    ("described", "late"), [(("A", "a"), False), (("a", "A"), True), (("A",), False), (("a",), False), ((), False)]
)
def test_case_is_kept_whoever_made_the_column(described: tuple[str, ...], late: bool, tmp_path: Path) -> None:
    """One rank has a column for the one key, another for the other, and both are one column of the store."""
    first = start()
    of = descriptor(first, {each: key("string") for each in described})
    events = [event(of, 1, {"A": "1"}), event(of, 2, {"a": "2"})]
    with Job(tmp_path / "logs", 2) as job:
        for rank, each in enumerate(events):
            deliver(job, rank, [first, each, of] if late else [first, of, each])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert [each["data"] for name, each in store.documents(first[1]["uid"]) if name == "event"] == [
            {"A": "1"},
            {"a": "2"},
        ]
        check_scan(store.scan(-1))
        assert store.find_scans('data.A = "1" and data.a = "2" and not data.A = "2"')["uid"] == [first[1]["uid"]]


def test_what_no_event_has_is_no_condition_and_no_column(tmp_path: Path) -> None:
    """One number for all events is not one of an event."""
    with stored(tmp_path, scan(3)) as store:
        found = store.scan(-1)
        for where in ("sum(data.n) > 1", "all(data.n) > 0", data("n", stream="baseline") > 1):
            with pytest.raises(InvalidInputError, match="an event"):
                found.table(where=where)
        with pytest.raises(InvalidInputError, match="columns= names columns, and is no int"):
            found.table(columns=5)  # type: ignore[arg-type]
        assert [row["n"] for row in found.table(where=data("n", stream="primary") > 1)] == [2, 3]
