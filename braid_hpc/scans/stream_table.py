"""A stream of a run as a table that is read when it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.scans.columns import HEADS, Column, Known
from braid_hpc.scans.conditions import Where, parsed
from braid_hpc.scans.forms import PACKED, arrow_type
from braid_hpc.scans.frames import Frames
from braid_hpc.scans.rows import Rows, chosen_rows, length_of
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

    from braid_hpc.queries.tree import Query
    from braid_hpc.scans.events import Events

__all__ = ["StreamTable"]


class StreamTable(Rows):
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
        self._rows = chosen_rows(rows)
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
            return length_of(self._rows, self._total())
        return sum(batch.num_rows for batch in self.batches())

    def _matching(self) -> int:
        """Return how many events there are of which holds what is asked, whichever rows are wanted."""
        found = self._with([Column("seq_num", HEADS["seq_num"], None)])
        found._rows = None
        return sum(batch.num_rows for batch in found._batches(1 << 17))

    def _total(self) -> int:
        return sum(self._frames.count(window) for window in self._events.windows([]))

    # ------------------------------------------------------------------ reading it

    def _packed(self) -> list[str]:
        return [column.name for column in self._columns if column.form == PACKED]

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

    def to_xarray(self, *, fill: bool = False, root_map: Mapping[str, Any] | None = None) -> Any:
        """Return the rows as an xarray Dataset.

        Parameters
        ----------
        fill : bool
            Whether values that lie in files of detectors are read from these; without it they are missing, or the
            names of datums.
        root_map : mapping of str to path-like, optional
            Where files lie today whose paths begin so.

        Returns
        -------
        xarray.Dataset
            The dimension ``time`` with its coordinate; those of arrays are called as the data key says, and else
            ``dim_0``, ``dim_1`` and so on. Types are those that the data keys declare, where these hold the values;
            units are attributes. Numbers and uids are variables only where `columns` names them.

        Raises
        ------
        MissingExtraError
            If xarray is not installed, or what reads a file.
        InvalidInputError
            If there is a `root_map`, and nothing is filled; or as :meth:`braid_hpc.assets.Filler.fill`.
        NotFoundError, ConflictError, StorageError
            If a value is asked for that cannot be read; the sentence names the file and the event.
        """
        from braid_hpc.scans.labelled import to_dataset

        if root_map is not None and not fill:
            raise InvalidInputError("root_map= says where files lie, and none is read: give fill=True too")

        named = self._named
        columns = [each for each in self._columns if each.name != "time" and (named or each.name != "seq_num")]
        more = [each for each in ("time", "seq_num") if each not in self.columns]
        table = self._with([*self._columns, *(Column(each, HEADS[each], None) for each in more)]) if more else self
        if not fill:
            return to_dataset(self._events, columns, table.to_arrow())
        from braid_hpc.scans.filling import Filling

        with Filling(self._events, root_map) as filling:
            return to_dataset(self._events, columns, table.to_arrow(), filling)


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
