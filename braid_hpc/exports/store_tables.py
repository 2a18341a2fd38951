"""The tables and streams of a store as rows that are read batch by batch, and all of them as Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.exports.exporting import Exported, _folder_of_tables, _of_store
from braid_hpc.exports.tables import UNIT
from braid_hpc.store.guarded import refusal
from braid_hpc.vocabulary.errors import NotFoundError
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from braid_hpc.store.store import Store

__all__ = ["Rows", "export_store", "stream_rows"]

#: Folders of an export of a store, by what lies in them.
_FOLDERS = {("main", "BASE TABLE"): "tables", ("main", "VIEW"): "views"}


class Rows:
    """Rows of a table of a store, read when they are used.

    Parameters
    ----------
    store : Store
        Open.
    query : str
        Selects them.
    values : dict, optional
        Parameters of the query.
    units : dict of str to str, optional
        Of the columns.
    """

    def __init__(
        self, store: Store, query: str, values: dict[str, Any] | None = None, units: dict[str, str] | None = None
    ) -> None:
        self._store, self._query, self._values, self._units = store, query, values or {}, units or {}

    def _reader(self, size: int) -> Any:
        import duckdb

        try:
            return self._store._connected.cursor().sql(self._query, params=self._values).to_arrow_reader(size)
        except duckdb.Error as error:
            raise refusal(error) from error

    @property
    def schema(self) -> pa.Schema:
        """The types of the columns, and their units in the metadata of the fields."""
        import pyarrow as pa

        fields = [
            field.with_metadata({UNIT: self._units[field.name].encode()}) if field.name in self._units else field
            for field in self._reader(1).schema
        ]
        return pa.schema(fields)

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows.

        Parameters
        ----------
        size : int
            Rows of a batch at most.

        Yields
        ------
        pyarrow.RecordBatch
            Of :attr:`schema`.

        Raises
        ------
        InvalidInputError
            If the store was closed meanwhile.
        """
        import duckdb
        import pyarrow as pa

        schema = self.schema
        try:
            for batch in self._reader(size):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except duckdb.Error as error:
            raise refusal(error) from error


def stream_rows(store: Store, stream: str, *, at: int | None = None, as_of: Any = None) -> Rows:
    """Return all rows of a stream, in their order.

    Parameters
    ----------
    store : Store
        Open.
    stream : str
        Its name.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: rows that had been appended by then.

    Returns
    -------
    Rows
        With the system columns, as ``store.table`` has them.

    Raises
    ------
    NotFoundError
        If there is no such stream, or no row of it was recorded.
    InvalidInputError
        If there is no such snapshot or time.
    """
    known = store.sql("select stream, place, units from streams order by stream")
    found = [row for row in known if row["stream"] == stream]
    if not found:
        names = ", ".join(row["stream"] for row in known) or "none"
        raise NotFoundError(f"there is no stream {stream!r:.80} in {store.path.name}; there are: {names}")
    place = found[0]["place"]
    if not len(
        store.sql("select 1 from information_schema.tables where table_schema = 'stream' and table_name = ?", [place])
    ):
        raise NotFoundError(f"stream {stream!r:.80} was declared, and no row of it was recorded")
    query = (
        f"select * from stream.{quoted(place)} where _snapshot <= $at and epoch_ns(_time) <= $as_of "
        "order by _run, _rank, _writer, _row"
    )
    return Rows(store, query, store._then(at, as_of), json.loads(found[0]["units"] or "{}"))


def export_store(store: Store, *, to: str | os.PathLike[str], overwrite: bool = False) -> Exported:
    """Write every table, view and stream of a store as Parquet into a folder, whole or not at all.

    Parameters
    ----------
    store : Store
        Open.
    to : path
        The folder: ``tables/``, ``views/`` (what people ask), ``streams/``, other schemas by their names, and
        ``export.json``, which says what is in each file.
    overwrite : bool
        Whether it takes the place of an earlier export.

    Returns
    -------
    Exported
        What was written.

    Raises
    ------
    ConflictError
        If something of that name is there.
    StorageError
        If it cannot be written.
    """
    units = {row["place"]: (row["stream"], json.loads(row["units"] or "{}")) for row in store.sql("from streams")}
    listed = store.sql(
        "select table_schema as schema, table_name as name, table_type as kind from information_schema.tables "
        "order by table_schema, table_name"
    )
    counts = {}
    with _folder_of_tables(to, _of_store(store), overwrite=overwrite) as put:
        for row in listed:
            schema, name = row["schema"], row["name"]
            stream, mine = units.get(name, (name, {})) if schema == "stream" else (name, {})
            folder = _FOLDERS.get((schema, row["kind"])) or {"stream": "streams"}.get(schema, schema)
            rows = Rows(store, f"from {quoted(schema)}.{quoted(name)}", units=mine)
            said = {"stream": stream} if schema == "stream" else {"table": name, "schema": schema}
            counts[f"{folder}/{stream}"] = put(rows, stream, "parquet", said, folder)
    return Exported(Path(to), counts)
