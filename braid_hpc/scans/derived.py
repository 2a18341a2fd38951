"""Tables that are made of other tables when they are used: aligned, merged, taken apart, put together, in bins."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from braid_hpc.scans.packages import needed
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NUMBER", "Batched", "Derived", "inner_names", "sentence_of"]

#: Rows of a batch, where nothing else is asked for, and that are taken in at once.
BATCH = 10_000
#: A column that the tables have while they are worked on: which row it was.
NUMBER = "_row number"
#: What DuckDB may hold of them in memory; more goes to a temporary directory.
MEMORY = "512MiB"


class Batched(Protocol):
    """A table that is read batch by batch."""

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""

    def batches(self, size: int = ...) -> Iterator[pa.RecordBatch]:
        """Yield its rows."""


class Derived:
    """A table that is made when it is used, and never held as a whole; pandas, polars, pyarrow and DuckDB take it.

    Parameters
    ----------
    sources : mapping of str to Batched
        Tables by the names that the statement calls them.
    query : str
        The statement, which gives the rows in their order. In it columns of the tables have the names of
        :func:`inner_names`.
    names : sequence of str
        What the columns of the result are called.
    values : dict, optional
        Its parameters.
    about : mapping of str to dict, optional
        Metadata of the columns.
    refused : callable, optional
        From what DuckDB raised to the sentence that a caller gets; None where it is another error.
    """

    def __init__(
        self,
        sources: Mapping[str, Batched],
        query: str,
        names: Sequence[str],
        values: dict[str, Any] | None = None,
        *,
        about: Mapping[str, dict[bytes, bytes] | None] | None = None,
        refused: Callable[[str], str | None] | None = None,
    ) -> None:
        self._sources, self._query, self._values = dict(sources), query, values or {}
        self._names = list(names)
        self._about, self._refused = about or {}, refused
        self._schema: pa.Schema | None = None

    @contextmanager
    def _reader(self, size: int, *, empty: bool = False) -> Iterator[Any]:
        """Give a reader of the rows; of the types alone where the sources are left out."""
        import duckdb
        import pyarrow as pa

        with tempfile.TemporaryDirectory(prefix="braid-") as folder, duckdb.connect(":memory:") as connection:
            connection.execute(f"set memory_limit = '{MEMORY}'")
            connection.execute("set temp_directory = $folder", {"folder": folder})
            connection.execute("set preserve_insertion_order = true")
            for name, source in self._sources.items():
                fields = [field.with_name(_inner(at)) for at, field in enumerate(source.schema)]
                schema = pa.schema([*fields, pa.field(NUMBER, pa.int64())])
                batches = iter(()) if empty else _numbered(source, schema)
                connection.register("given", pa.RecordBatchReader.from_batches(schema, batches))
                connection.execute(f"create table {quoted(name)} as from given")
                connection.unregister("given")
            try:
                yield connection.sql(self._query, params=self._values).to_arrow_reader(size)
            except duckdb.Error as error:
                said = self._refused(str(error)) if self._refused is not None else None
                if said is None:
                    raise
                raise InvalidInputError(said) from error

    @property
    def schema(self) -> pa.Schema:
        """The types of the columns; units and what else is said of data keys in the metadata of the fields."""
        if self._schema is None:
            with self._reader(1, empty=True) as reader:
                self._schema = self._described(reader.schema)
        return self._schema

    def _described(self, schema: pa.Schema) -> pa.Schema:
        import pyarrow as pa

        named = zip(schema, self._names, strict=True)
        return pa.schema([field.with_name(name).with_metadata(self._about.get(name)) for field, name in named])

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self.schema.names)

    def batches(self, size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """Yield the rows as record batches.

        Parameters
        ----------
        size : int
            Rows of each at most.

        Yields
        ------
        pyarrow.RecordBatch
            Of :attr:`schema`.

        Raises
        ------
        InvalidInputError
            If `size` is no number of rows, or the rows cannot be made into such a table.
        """
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidInputError(f"{size!r:.40} is no size of batches: that is a number of rows from 1")
        return self._batches(size)

    def _batches(self, size: int) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with self._reader(size) as reader:
            schema = self._schema = self._described(reader.schema)
            for batch in reader:
                for at in range(0, batch.num_rows, size):
                    yield pa.RecordBatch.from_arrays(batch.slice(at, size).columns, schema=schema)

    def count(self) -> int:
        """Return how many rows there are.

        Returns
        -------
        int
            The number.
        """
        return sum(batch.num_rows for batch in self._batches(BATCH))

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.count()

    def to_arrow(self) -> pa.Table:
        """Return the rows as a pyarrow table.

        Returns
        -------
        pyarrow.Table
            Of :attr:`schema`.
        """
        import pyarrow as pa

        batches = list(self._batches(BATCH))
        return pa.Table.from_batches(batches, self.schema)

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            A copy.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        needed("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return the rows as a polars DataFrame.

        Returns
        -------
        polars.DataFrame
            A copy.

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
            One for each row.
        """
        return list(self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield rows as dictionaries."""
        for batch in self._batches(BATCH):
            yield from batch.to_pylist()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as an ArrowArrayStream capsule (Arrow PyCapsule interface), batch by batch."""
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self.schema, self._batches(BATCH))
        return reader.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> Any:
        """Return the schema as an ArrowSchema capsule (Arrow PyCapsule interface)."""
        return self.schema.__arrow_c_schema__()

    def __repr__(self) -> str:
        """Show the first rows."""
        import pyarrow as pa

        batches = self._batches(20)
        first = next(batches, None)
        batches.close()  # type: ignore[attr-defined]
        return repr(Table(pa.Table.from_batches([] if first is None else [first], self.schema)))


def _numbered(source: Batched, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import numpy as np
    import pyarrow as pa

    row = 0
    for batch in source.batches(BATCH):
        numbers = pa.array(np.arange(row, row + batch.num_rows))
        row += batch.num_rows
        yield pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=schema)


def inner_names(schema: pa.Schema) -> dict[str, str]:
    """Return what the columns of a table are called while it is worked on.

    DuckDB does not tell upper from lower case, and a column may be called as one that a statement makes.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the table.

    Returns
    -------
    dict of str to str
        By the name of a column; they need no quotes.
    """
    return {name: _inner(at) for at, name in enumerate(schema.names)}


def _inner(at: int) -> str:
    return f"c{at}"


def sentence_of(mark: str) -> Callable[[str], str | None]:
    """Return what takes the sentence out of an error that a statement of ours raised.

    Parameters
    ----------
    mark : str
        How the sentence begins.

    Returns
    -------
    callable
        From the text of an error to the sentence, or None.
    """

    def found(text: str) -> str | None:
        return text[text.index(mark) :].splitlines()[0] if mark in text else None

    return found
