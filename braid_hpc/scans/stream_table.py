"""A stream of a run as a table that is read when it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.scans.columns import HEADS, Column, Known
from braid_hpc.scans.conditions import Where, parsed
from braid_hpc.scans.forms import PACKED, arrow_type
from braid_hpc.scans.frames import Frames
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    import pyarrow as pa

    from braid_hpc.queries.tree import Query
    from braid_hpc.scans.events import Events

__all__ = ["StreamTable"]

#: Rows of a batch, where nothing else is asked for.
BATCH = 10_000


class StreamTable:
    """The events of a stream as rows, each once, in the order of their numbers; read when it is used.

    pandas, polars, pyarrow and DuckDB take it as it is, and read it batch by batch.

    Parameters
    ----------
    events : Events
        The stream.
    columns : iterable of str, optional
        Names of columns, or data keys.
    where : Query or str, optional
        Which events.
    rows : int, slice or range, optional
        Which of these, counted from 0.
    timestamps : bool
        Whether without `columns` the time of each value is a column too.

    Raises
    ------
    InvalidInputError
        If there is no such column, or `where` or `rows` cannot be such.
    """

    def __init__(
        self,
        events: Events,
        *,
        columns: Iterable[str] | None = None,
        where: Query | str | None = None,
        rows: int | slice | range | None = None,
        timestamps: bool = False,
    ) -> None:
        self._events = events
        self.name = events.name
        known = Known(events)
        self._columns = known.all(timestamps) if columns is None else known.chosen(columns)
        self._named = columns is not None
        self._where = None if where is None else Where(parsed(where), events, known)
        self._rows = _range(rows)
        self._frames = Frames(events, self._columns, self._where)

    # ------------------------------------------------------------------ what it is

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self._columns]

    @property
    def schema(self) -> pa.Schema:
        """The schema: types, and of each data key its unit, shape, dtype and source in the field's metadata."""
        import pyarrow as pa

        return pa.schema([self._field(column) for column in self._columns])

    def _field(self, column: Column) -> pa.Field:
        import pyarrow as pa

        about: dict[str, str] = {}
        if column.item is None:
            about = {"unit": "s"} if column.name == "time" else {}
        elif column.item[0] == "timestamps":
            about = {"unit": "s", "key": str(column.item[1])}
        else:
            about = _metadata(column.item[1], self._events.about(column.item[1]))
        if column.form == PACKED:
            about["encoding"] = "msgpack"
        return pa.field(column.name, arrow_type(column.form), metadata=about or None)

    def count(self) -> int:
        """Return how many rows there are.

        Returns
        -------
        int
            The number.
        """
        if self._where is None:
            return len(_resolved(self._rows, self._total()))
        return sum(batch.num_rows for batch in self.batches())

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.count()

    def _matching(self) -> int:
        """Return how many events there are of which holds what is asked, whichever rows are wanted."""
        found = self._with([Column("seq_num", HEADS["seq_num"], None)])
        found._rows = None
        return sum(batch.num_rows for batch in found._batches(1 << 17))

    def _total(self) -> int:
        return sum(self._frames.count(window) for window in self._events.windows([]))

    # ------------------------------------------------------------------ reading it

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

    def _batches(self, size: int) -> Iterator[pa.RecordBatch]:

        schema = self.schema
        held: list[Any] = []
        rows = 0
        for piece in self._pieces():
            at = 0
            while at < piece.num_rows:
                taken = piece.slice(at, size - rows)
                held.append(taken)
                at, rows = at + taken.num_rows, rows + taken.num_rows
                if rows == size:
                    yield _one(held, schema)
                    held, rows = [], 0
        if rows:
            yield _one(held, schema)

    def _pieces(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows that are wanted, a range of numbers at a time."""
        windows = self._events.windows(self._frames.wide)
        if self._rows is None:
            yield from map(self._frames.read, windows)
            return
        wanted = self._rows
        if (wanted.start is not None and wanted.start < 0) or (wanted.stop is not None and wanted.stop < 0):
            total = self._total() if self._where is None else self._matching()
        else:
            total = 1 << 62
        exact = range(total)[wanted]
        first, stop, step = exact.start, exact.stop, exact.step
        at = 0
        for window in windows:
            if at >= stop:
                return
            if self._where is None:
                count = self._frames.count(window)
                if at + count <= first:
                    at += count
                    continue
            batch = self._frames.read(window)
            low = max(first, at)
            low += -(low - first) % step
            high = min(stop, at + batch.num_rows)
            if low < high:
                piece = batch.slice(low - at, high - low)
                yield piece if step == 1 else piece.take(list(range(0, piece.num_rows, step)))
            at += batch.num_rows

    def _with(self, columns: list[Column]) -> StreamTable:
        """Return the same rows with other columns."""
        found = StreamTable.__new__(StreamTable)
        found._events, found.name, found._where, found._rows = self._events, self.name, self._where, self._rows
        found._columns, found._named = columns, True
        found._frames = Frames(self._events, columns, self._where)
        return found

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
        from braid_hpc.scans.packages import needed

        needed("pandas")
        found = self.to_arrow()
        frame = found.to_pandas()
        for column in self._columns:
            if column.form == PACKED:
                frame[column.name] = [None if body is None else decode_words(body) for body in frame[column.name]]
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
        from braid_hpc.scans.packages import needed

        return needed("polars").from_arrow(self.to_arrow())

    def to_xarray(self) -> Any:
        """Return the rows as an xarray Dataset.

        Returns
        -------
        xarray.Dataset
            The dimension ``time`` with its coordinate; those of arrays are called as the data key says, and else
            ``dim_0``, ``dim_1`` and so on. Types are those that the data keys declare, where these hold the values;
            units are attributes. Numbers and uids are variables only where `columns` names them.

        Raises
        ------
        MissingExtraError
            If xarray is not installed.
        """
        from braid_hpc.scans.labelled import to_dataset

        named = self._named
        columns = [each for each in self._columns if each.name != "time" and (named or each.name != "seq_num")]
        table = self if "time" in self.columns else self._with([*self._columns, Column("time", HEADS["time"], None)])
        return to_dataset(self._events, columns, table.to_arrow())

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
        packed = [column.name for column in self._columns if column.form == PACKED]
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
        total = self.count()
        lines = [f"<StreamTable {self.name}, {total} rows of {len(self._columns)} columns>"]
        import pyarrow as pa

        shown = []
        for batch in self._batches(20):
            shown = [batch]
            break
        if shown:
            lines.append(repr(Table(pa.Table.from_batches(shown))))
        return "\n".join(lines)


def _one(batches: list[Any], schema: Any) -> Any:
    import pyarrow as pa

    if len(batches) == 1:
        return pa.RecordBatch.from_arrays(batches[0].columns, schema=schema)
    table = pa.Table.from_batches([pa.RecordBatch.from_arrays(each.columns, schema=schema) for each in batches])
    return table.combine_chunks().to_batches()[0]


def _metadata(key: Any, about: dict[str, Any]) -> dict[str, str]:
    found = {"key": str(key)}
    unit = about.get("units")
    if type(unit) is str and unit:
        found["unit"] = unit
    for name in ("shape", "dims", "precision", "limits"):
        if about.get(name) is not None:
            found[name] = json.dumps(about[name], default=str)
    for name in ("dtype", "dtype_numpy", "dtype_str", "source", "external", "object_name"):
        if type(about.get(name)) is str:
            found[name] = about[name]
    return {name: text.encode("utf-8", "replace").decode() for name, text in found.items()}


def _range(rows: Any) -> slice | None:
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


def _resolved(rows: slice | None, total: int) -> range:
    return range(total) if rows is None else range(total)[rows]
