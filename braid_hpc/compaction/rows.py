"""Rows on their way into a store: Arrow tables of typed columns, values as text where types are open."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.texts import clean

__all__ = ["BIGINT", "INTEGER", "TEXT", "TIME", "Rows", "as_json", "json_text", "typed"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode

TEXT, INTEGER, BIGINT, TIME = pa.string(), pa.int32(), pa.int64(), pa.timestamp("ns")


class Rows:
    """Inserts rows into the file that a commit builds.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Within a transaction.
    snapshot : int
        Number of the snapshot to be; every row carries it.

    Attributes
    ----------
    counts : Counter
        Rows inserted by table.
    """

    def __init__(self, connection: Any, snapshot: int) -> None:
        self.connection = connection
        self.snapshot = snapshot
        self.counts: Counter[str] = Counter()

    def rows(self, table: str, columns: Sequence[tuple[str, pa.DataType]], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows; the snapshot's number is added, and text is made fit for UTF-8.

        Parameters
        ----------
        table : str
            One of the base tables.
        columns : sequence of (str, pyarrow.DataType)
            Names and types of the columns.
        rows : sequence of sequence
            Values in that order.
        """
        self.counts[table] += len(rows)
        if not rows:
            return
        arrays = {}
        for (name, kind), given in zip(columns, zip(*rows, strict=True), strict=True):
            values: Sequence[Any] = given
            if kind is TEXT:
                values = [value if value is None or value.isascii() else clean(value) for value in given]
            arrays[name] = pa.array(values, kind)
        self.insert(table, pa.table(arrays), {"snapshot": self.snapshot})

    def insert(self, table: str, braid_incoming: pa.Table, constants: dict[str, Any] | None = None) -> None:
        """Insert an Arrow table by column names.

        Parameters
        ----------
        table : str
            Quoted where it needs to be.
        braid_incoming : pyarrow.Table
            Its columns are the table's.
        constants : dict, optional
            Further columns that have one value in all rows.
        """
        constants = constants or {}
        # DuckDB finds the table by the argument's name. What is registered would be kept until the commit.
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in braid_incoming.column_names)
        fixed = "".join(f', "{name}"' for name in constants)
        values = ", ?" * len(constants)
        self.connection.execute(
            f"insert into {table} ({names}{fixed}) select {names}{values} from braid_incoming", list(constants.values())
        )

    def ask(self, query: str, braid_incoming: pa.Table) -> list[tuple[Any, ...]]:
        """Ask the file about many things at once.

        Parameters
        ----------
        query : str
            In which the things are the table ``braid_incoming``.
        braid_incoming : pyarrow.Table
            What is asked about.

        Returns
        -------
        list of tuple
            The answer.
        """
        found: list[tuple[Any, ...]] = self.connection.execute(query).fetchall() if len(braid_incoming) else []
        return found


def as_json(value: Any) -> str | None:
    """Return a value as JSON text, None for None.

    Parameters
    ----------
    value : object
        What was decoded from a log, or a header.

    Returns
    -------
    str or None
        JSON as Python and DuckDB read it, with the words ``NaN``, ``Infinity`` and ``-Infinity``; text is what UTF-8
        can hold.
    """
    return None if value is None else json_text(to_jsonable(value, words=True))


def json_text(value: Any) -> str:
    """Return what JSON can hold as text.

    Parameters
    ----------
    value : object
        As :func:`json.loads` gives it.

    Returns
    -------
    str
        As from :func:`as_json`.
    """
    text = _encode(value)
    if text.isascii():
        return text
    # With two backslashes: one alone would be JSON's way to write the surrogate.
    return _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)


def typed(value: Any) -> tuple[str, str, str | None, float | None, bool | None]:
    """Return type, text, integer, real and boolean of a tag's value.

    Parameters
    ----------
    value : object
        As decoded from a log.

    Returns
    -------
    tuple
        The integer as text (DuckDB makes a hugeint of it), None where it does not fit 128 bits.
    """
    if isinstance(value, bool):
        return "bool", "true" if value else "false", None, None, value
    if isinstance(value, int):
        fits = -(1 << 127) < value < (1 << 127)
        text = str(int(value))
        return "int", text, text if fits else None, _real(value), None
    if isinstance(value, float):
        # NumPy's scalars are floats too, and write themselves otherwise.
        return "float", repr(float(value)), None, float(value), None
    if isinstance(value, str):
        return "str", value, None, None, None
    return "json", as_json(value) or "null", None, None, None


def _real(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None
