"""Rows that are read when they are used, as other libraries take them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.scans.packages import needed
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BATCH", "Rows", "chosen_rows", "length_of"]

#: Rows of a batch, where nothing else is asked for.
BATCH = 10_000


class Rows(ABC):
    """Rows of a stream; pandas, polars, pyarrow and DuckDB take them as they are, and read them batch by batch."""

    #: Name of the stream.
    name: str

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The columns' names."""

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Types, and what is known of each column in its field's metadata."""

    @abstractmethod
    def count(self) -> int:
        """Return how many rows there are.

        Returns
        -------
        int
            The number.
        """

    @abstractmethod
    def _batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""

    def _packed(self) -> list[str]:
        """Return the columns that hold MessagePack, because Arrow has no type for their values."""
        return []

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.count()

    def batches(self, size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """Yield the rows as record batches; only some are held at a time.

        Parameters
        ----------
        size : int
            Rows of each; the last one may have fewer.

        Yields
        ------
        pyarrow.RecordBatch
            Of :attr:`schema`.

        Raises
        ------
        InvalidInputError
            If `size` is no number of rows, or the store was closed.
        """
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidInputError(f"{size!r:.40} is no size of batches: that is a number of rows from 1")
        return self._batches(size)

    def to_arrow(self) -> pa.Table:
        """Return the rows as a pyarrow table.

        Returns
        -------
        pyarrow.Table
            Of :attr:`schema`.
        """
        import pyarrow as pa

        return pa.Table.from_batches(list(self._batches(1 << 62)), self.schema)

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            Arrays are arrays of NumPy, and what Arrow has no type for is what it was.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = needed("pandas")
        found = self.to_arrow()
        frame = found.to_pandas()
        for name in self._packed():
            # pandas would guess at a type, and has none for every text.
            values = [None if body is None else decode_words(body) for body in frame[name]]
            frame[name] = pandas.Series(values, index=frame.index, dtype=object)
        return frame

    def to_polars(self) -> Any:
        """Return the rows as a polars DataFrame.

        Returns
        -------
        polars.DataFrame
            What Arrow has no type for is MessagePack.

        Raises
        ------
        MissingExtraError
            If polars is not installed.
        """
        return needed("polars").from_arrow(self.to_arrow())

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries.

        Returns
        -------
        list of dict
            One for each row; arrays are lists, and what Arrow has no type for is what it was.
        """
        return list(self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as dictionaries."""
        packed = self._packed()
        for batch in self._batches(BATCH):
            for row in batch.to_pylist():
                for name in packed:
                    row[name] = None if row[name] is None else decode_words(row[name])
                yield row

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as an ArrowArrayStream capsule (Arrow PyCapsule interface), read batch by batch."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, self._batches(BATCH)).__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> Any:
        """Return the schema as an ArrowSchema capsule (Arrow PyCapsule interface)."""
        return self.schema.__arrow_c_schema__()

    def __repr__(self) -> str:
        """Show the first rows as aligned text."""
        import pyarrow as pa

        lines = [f"<{type(self).__name__} {self.name}, {self.count()} rows of {len(self.columns)} columns>"]
        shown = []
        for batch in self._batches(20):
            shown = [batch]
            break
        if shown:
            lines.append(repr(Table(pa.Table.from_batches(shown))))
        return "\n".join(lines)


def chosen_rows(rows: Any) -> slice | None:
    """Return which rows are wanted, as a slice.

    Parameters
    ----------
    rows : int, slice, range or None
        Of these, counted from 0.

    Returns
    -------
    slice or None
        None for all.

    Raises
    ------
    InvalidInputError
        If it is something else, or goes backwards.
    """
    if rows is None:
        return None
    if isinstance(rows, bool):
        raise InvalidInputError("rows= is a number, a slice or a range, and not a truth value")
    if hasattr(rows, "__index__"):
        at = int(rows)
        return slice(at, None if at == -1 else at + 1, 1)
    if isinstance(rows, range):
        rows = slice(rows.start, rows.stop, rows.step)
    if not isinstance(rows, slice):
        raise InvalidInputError(f"rows= is a number, a slice or a range, and not {type(rows).__name__}")
    if rows.step is not None and rows.step < 1:
        raise InvalidInputError("rows come in the order of their numbers: the step of rows= is 1 or more")
    return rows


def length_of(rows: slice | None, total: int) -> int:
    """Return how many rows are wanted.

    Parameters
    ----------
    rows : slice or None
        From :func:`chosen_rows`.
    total : int
        How many there are.

    Returns
    -------
    int
        The number.
    """
    return total if rows is None else len(range(total)[rows])
