"""Parquet and CSV: values, types and units read back by others alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.exports.tables import csv_metadata, write_csv, write_parquet
from tests.collectors.documents.instrument import same

TABLE = pa.table(
    {
        "n": pa.array([1, None, -(2**62)], pa.int64()),
        "x": pa.array([0.1, float("nan"), float("-inf")], pa.float64()),
        "t": pa.array(['a "quoted",\r\ntext', "", None], pa.string()),
        "b": pa.array([True, None, False]),
        "raw": pa.array([b"\x00\xff", b"", None], pa.binary()),
        "when": pa.array([1, None, 1795355383123456789], pa.timestamp("ns")),
        "list": pa.array([[1.5, None], [], None], pa.list_(pa.float64())),
    },
    schema=pa.schema(
        [
            pa.field("n", pa.int64()),
            pa.field("x", pa.float64(), metadata={"unit": "mm"}),
            *(("t", pa.string()), ("b", pa.bool_()), ("raw", pa.binary()), ("when", pa.timestamp("ns"))),
            ("list", pa.list_(pa.float64())),
        ]
    ),
)


def test_parquet_has_types_units_and_what_it_is_of(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert write_parquet(TABLE.to_batches(2), TABLE.schema, path, {"scan": "c0ffee"}) == 3
    found = pq.read_table(path)
    assert found.equals(TABLE) or repr(found.to_pydict()) == repr(TABLE.to_pydict())
    assert found.schema.field("x").metadata[b"unit"] == b"mm"
    assert json.loads(found.schema.metadata[b"braid"]) == {"scan": "c0ffee"}


def test_csv_reads_back_by_the_csv_module(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert write_csv(TABLE.to_batches(2), TABLE.schema, path) == 3
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["n", "x", "t", "b", "raw", "when", "list"],
            ["1", "0.1", 'a "quoted",\r\ntext', "true", "AP8=", "1970-01-01T00:00:00.000000001", "[1.5,null]"],
            ["", "NaN", "", "", "", "", "[]"],
            [str(-(2**62)), "-INF", "", "false", "", "2026-11-22T13:49:43.123456789", ""],
        ]
    text = path.read_text().splitlines()
    # What is not there differs from what is empty.
    assert [line.split(",")[2] for line in text[-2:]] == ['""', ""]


def test_the_metadata_of_csv_says_types_and_units() -> None:
    found = csv_metadata("x.csv", TABLE.schema, {"scan": "c0ffee"})
    assert (found["@context"], found["url"]) == ("http://www.w3.org/ns/csvw", "x.csv")
    kinds = {each["name"]: each["datatype"] for each in found["tableSchema"]["columns"]}
    assert kinds.pop("list") == {"base": "json", "dc:title": str(pa.list_(pa.float64()))}
    assert kinds == {
        "n": "long",
        "x": "double",
        "t": "string",
        "b": "boolean",
        "raw": "base64Binary",
        "when": "dateTime",
    }
    assert [each.get("schema:unitText") for each in found["tableSchema"]["columns"]] == [None, "mm", *[None] * 5]


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(st.characters(exclude_categories=["Cs"])))
    )
)
def test_numbers_and_text_are_exact_in_csv(tmp_path_factory: Any, rows: list[tuple[int, float, str]]) -> None:
    schema = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("t", pa.string())])
    table = pa.table(
        [
            pa.array(list(column), field.type)
            for column, field in zip(zip(*rows, strict=True) if rows else ([], [], []), schema, strict=True)
        ],
        schema=schema,
    )
    path = tmp_path_factory.mktemp("x") / "x.csv"
    write_csv(table.to_batches(), schema, path)
    with open(path, newline="", encoding="utf-8") as file:
        _, *found = csv.reader(file)
    assert same([(int(n), float(x), t) for n, x, t in found], rows)


def test_another_reader_of_csv_has_the_same_types_and_tells_empty_from_missing(tmp_path: Path) -> None:
    table = TABLE.select(["n", "x", "t", "b", "when"]).slice(0, 2)
    write_csv(table.to_batches(), table.schema, tmp_path / "x.csv")
    found = pyarrow.csv.read_csv(
        tmp_path / "x.csv",
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=table.schema, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        ),
    )
    assert repr(found.to_pydict()) == repr(table.to_pydict())
