"""Tabular results: Arrow inside, the PyCapsule interface outside."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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
        for batch in _in_microseconds(self._data).to_batches(max_chunksize=10_000):
            yield from batch.to_pylist()

    def __getitem__(self, column: str) -> list[Any]:
        """Return a column as a list.

        Raises
        ------
        NotFoundError
            If there is no such column.
        """
        from braid_hpc.vocabulary.errors import NotFoundError

        if column not in self.columns:
            raise NotFoundError(f"there is no column {column!r}; there are {', '.join(self.columns)}")
        values: list[Any] = _in_microseconds(self._data.select([column])).column(0).to_pylist()
        return values

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
            One for each row. Times are :class:`datetime.datetime`, to the microsecond; :meth:`to_arrow` has them whole.
        """
        rows: list[dict[str, Any]] = _in_microseconds(self._data).to_pylist()
        return rows

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
        rows = _in_microseconds(self._data.slice(0, SHOWN)).to_pylist()
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
            for row in _in_microseconds(self._data.slice(0, SHOWN)).to_pylist()
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


def _in_microseconds(data: pa.Table) -> pa.Table:
    """Return a table whose times Python can hold: pyarrow makes objects of nanoseconds only where pandas is there."""
    import pyarrow as pa

    for index, field in enumerate(data.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            times = data.column(index).cast(pa.timestamp("us", field.type.tz), safe=False)
            data = data.set_column(index, field.with_type(times.type), times)
    return data


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace("\n", "\\n") if len(text) <= 60 else text[:57].replace("\n", "\\n") + "..."
