"""Tabular results: Arrow inside, the PyCapsule interface outside."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.texts import visible
from braid_hpc.vocabulary.times import Moment

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Table"]

#: Rows that ``repr`` and the notebook show.
SHOWN = 20


class Table:
    """Rows and columns; pandas, polars, pyarrow and DuckDB take it as it is.

    Parameters
    ----------
    data : pyarrow.Table
        The rows. Where columns share a name, the later ones get ``_1``, ``_2``, ... behind it.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = Table(pa.table({"x": [1, 2]}))
    >>> len(table), table.columns
    (2, ['x'])
    >>> pa.table(table).num_rows
    2
    """

    def __init__(self, data: pa.Table) -> None:
        names = _each_once(data.column_names)
        self._data = data if names == data.column_names else data.rename_columns(names)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as an ArrowArrayStream capsule (Arrow PyCapsule interface)."""
        return self._data.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> Any:
        """Return the schema as an ArrowSchema capsule (Arrow PyCapsule interface)."""
        return self._data.schema.__arrow_c_schema__()

    def __len__(self) -> int:
        """Return how many rows there are."""
        return int(self._data.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield rows as dictionaries."""
        for batch in self._data.to_batches(max_chunksize=10_000):
            yield from _rows(batch)

    def __getitem__(self, column: str) -> list[Any]:
        """Return a column as a list, with values as :meth:`to_pylist` has them.

        Raises
        ------
        NotFoundError
            If there is no such column.
        """
        from braid_hpc.vocabulary.errors import NotFoundError

        if column not in self.columns:
            raise NotFoundError(f"there is no column {column!r}; there are {', '.join(self.columns)}")
        return _values(self._data.column(column))

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self._data.column_names)

    def to_arrow(self) -> pa.Table:
        """Return the rows as a pyarrow table.

        Returns
        -------
        pyarrow.Table
            Not a copy.
        """
        return self._data

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries.

        Returns
        -------
        list of dict
            One for each row. Times are :class:`~braid_hpc.vocabulary.times.Moment`, a :class:`datetime.datetime` with
            nanoseconds; what no datetime can hold, such as a time that is infinite, is a text.
        """
        return _rows(self._data)

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            A copy.
        """
        return self._data.to_pandas()

    def __repr__(self) -> str:
        """Show the first rows as aligned text."""
        rows = _rows(self._data.slice(0, SHOWN))
        cells = [self.columns, *([_cell(row[name]) for name in self.columns] for row in rows)]
        widths = [max(len(line[index]) for line in cells) for index in range(len(self.columns))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
        ]
        rest = len(self) - len(rows)
        return "\n".join([*lines, f"... {rest} more rows"] if rest > 0 else lines)

    def _repr_html_(self) -> str:
        """Show the first rows in a notebook."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(row[name]))}</td>" for name in self.columns) + "</tr>"
            for row in _rows(self._data.slice(0, SHOWN))
        )
        rest = len(self) - min(len(self), SHOWN)
        note = f"<p>{rest} more rows</p>" if rest else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _each_once(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in found or (number and candidate in names):
            number += 1
            candidate = f"{name}_{number}"
        found.append(candidate)
    return found


def _rows(data: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    names = data.schema.names
    columns = [_values(data.column(at)) for at in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if names else []


def _values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return values as Python has them: pyarrow makes objects of nanoseconds only where pandas is there."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz is None:
        counts = column.cast(pa.int64()).to_pylist()
        return [None if count is None else _moment(count) for count in counts]
    if not _has_times(kind):
        values: list[Any] = column.to_pylist()
        return values
    return [_value(scalar) for scalar in column]


def _has_times(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_nested(kind):
        return any(_has_times(kind.field(at).type) for at in range(kind.num_fields))
    return bool(pa.types.is_temporal(kind))


def _moment(count: int) -> Any:
    return _INFINITE.get(count) or Moment.of(count)


#: What DuckDB takes for infinite, in 64 bits, and in the 32 of a day.
_INFINITE = {sign * ((1 << bits) - 1): text for bits in (31, 63) for sign, text in ((1, "infinity"), (-1, "-infinity"))}


def _value(scalar: pa.Scalar) -> Any:
    """Return a value that is a time, or has times in it."""
    import pyarrow as pa

    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_map(kind):
        pairs = scalar.values
        return list(zip(_values(pairs.field(0)), _values(pairs.field(1)), strict=True))
    if pa.types.is_struct(kind):
        return {name: _value(item) for name, item in scalar.items()}
    if pa.types.is_nested(kind) and not pa.types.is_union(kind):
        return _values(scalar.values)
    if pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz is None:
        return _moment(scalar.value)
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        # Years beyond 9999, and what is infinite.
        return _INFINITE.get(scalar.value) or str(_as_numpy(scalar))


def _as_numpy(scalar: pa.Scalar) -> Any:
    import numpy as np
    import pyarrow as pa

    if pa.types.is_date(scalar.type):
        return np.datetime64(scalar.value, "D" if pa.types.is_date32(scalar.type) else "ms")
    return np.datetime64(scalar.value, scalar.type.unit) if pa.types.is_timestamp(scalar.type) else scalar.value


def _cell(value: Any) -> str:
    text = "" if value is None else visible(str(value))
    return text.replace("\n", "\\n") if len(text) <= 60 else text[:57].replace("\n", "\\n") + "..."
