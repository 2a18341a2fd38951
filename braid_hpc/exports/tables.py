"""Tables as Parquet and CSV, batch by batch, with types and units."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["UNIT", "csv_metadata", "write_csv", "write_parquet"]

#: The key of a field's metadata that its unit stands under.
UNIT = b"unit"

#: What the metadata of a CSV file calls the types of columns that stand there in a form of their own.
_DATATYPES = {
    "bool": "boolean",
    "int8": "byte",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "uint8": "unsignedByte",
    "uint16": "unsignedShort",
    "uint32": "unsignedInt",
    "uint64": "unsignedLong",
    "float": "float",
    "double": "double",
    "string": "string",
    "large_string": "string",
    "binary": "base64Binary",
    "large_binary": "base64Binary",
}
_INFINITE = {float("inf"): "INF", float("-inf"): "-INF"}


def write_parquet(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, about: Mapping[str, Any] | None = None
) -> int:
    """Write a table as one Parquet file.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Its rows; each batch of more than a few rows becomes a row group.
    schema : pyarrow.Schema
        Of them; metadata of the fields, units among them, come back where pyarrow reads the file.
    path : Path
        Written.
    about : mapping, optional
        What the table is: stands as JSON under ``braid`` in the metadata of the schema.

    Returns
    -------
    int
        Rows.
    """
    import pyarrow.parquet as pq

    said = {**(schema.metadata or {}), **({b"braid": json.dumps(about).encode()} if about else {})}
    schema = schema.with_metadata(said or None)
    rows = 0
    with pq.ParquetWriter(path, schema) as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch.replace_schema_metadata(said or None))
                rows += batch.num_rows
    return rows


def write_csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> int:
    """Write a table as CSV with a header, in UTF-8.

    Text stands in quotes and what is not there is empty without them; numbers are such that they read back equal; NaN,
    ``INF`` and ``-INF`` as XML Schema has them; times in ISO 8601; bytes in base 64; lists and structures as JSON.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Its rows.
    schema : pyarrow.Schema
        Of them.
    path : Path
        Written.

    Returns
    -------
    int
        Rows.

    See Also
    --------
    csv_metadata : says what the columns are.
    """
    rows = 0
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(",".join(map(_quoted, schema.names)) + "\r\n")
        for batch in batches:
            columns = [_cells(column) for column in batch.columns]
            file.writelines(",".join(row) + "\r\n" for row in zip(*columns, strict=True))
            rows += batch.num_rows
    return rows


def csv_metadata(name: str, schema: pa.Schema, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the columns of a CSV file are, as W3C's *Metadata Vocabulary for Tabular Data* has it.

    Parameters
    ----------
    name : str
        Of the file.
    schema : pyarrow.Schema
        Of the table.
    about : mapping, optional
        What the table is.

    Returns
    -------
    dict
        To be written as JSON into ``<name>-metadata.json``.

    Examples
    --------
    >>> import pyarrow as pa
    >>> schema = pa.schema([pa.field("motor", pa.float64(), metadata={"unit": "mm"})])
    >>> csv_metadata("a.csv", schema)["tableSchema"]["columns"]
    [{'name': 'motor', 'titles': 'motor', 'datatype': 'double', 'schema:unitText': 'mm'}]
    """
    columns = []
    for field in schema:
        column = {"name": field.name, "titles": field.name, "datatype": _datatype(field.type)}
        unit = (field.metadata or {}).get(UNIT)
        columns.append({**column, "schema:unitText": unit.decode()} if unit else column)
    return {
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        "dialect": {"header": True, "encoding": "utf-8", "lineTerminators": ["\r\n"]},
        "tableSchema": {"columns": columns},
        **({"dc:provenance": dict(about)} if about else {}),
    }


def _datatype(kind: pa.DataType) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return "dateTime"
    if pa.types.is_dictionary(kind):
        return _datatype(kind.value_type)
    if pa.types.is_decimal(kind):
        return "decimal"
    return _DATATYPES.get(str(kind)) or {"base": "json", "dc:title": str(kind)}


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _cells(column: pa.Array) -> Iterator[str]:
    """Yield the cells of a column as text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind):
        # As Arrow writes them: pandas would be needed for nanoseconds.
        texts = column.cast(pa.string()).to_pylist()
        yield from ("" if text is None else text.replace(" ", "T") for text in texts)
        return
    for value in column.to_pylist():
        yield "" if value is None else _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "NaN" if value != value else _INFINITE.get(value) or repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (list, dict, tuple)):
        return _quoted(json.dumps(value, separators=(",", ":"), default=_inside))
    return str(value)


def _inside(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
