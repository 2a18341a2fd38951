"""Stream tables in the store: columns unite by name, types widen only without loss."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from braid_hpc.compaction.rows import Rows
from braid_hpc.vocabulary.sql import SQL_TYPES, quoted
from braid_hpc.vocabulary.texts import clean

__all__ = ["SYSTEM_COLUMNS", "StreamTables", "common_type"]

#: Columns every stream table begins with.
SYSTEM_COLUMNS = (
    ("_run", "varchar"),
    ("_rank", "integer"),
    ("_writer", "varchar"),
    ("_row", "bigint"),
    ("_time", "timestamp_ns"),
    ("_snapshot", "integer"),
)

#: For each type, the types that hold all of its values exactly, narrowest first.
_WIDER = {
    "tinyint": ("smallint", "integer", "bigint", "float", "double"),
    "smallint": ("integer", "bigint", "float", "double"),
    "integer": ("bigint", "double"),
    "bigint": (),
    "utinyint": ("usmallint", "smallint", "uinteger", "integer", "ubigint", "bigint", "float", "double"),
    "usmallint": ("uinteger", "integer", "ubigint", "bigint", "float", "double"),
    "uinteger": ("ubigint", "bigint", "double"),
    "float": ("double",),
}


#: Rows of one table that are inserted at once, and bytes of all tables that wait at most: DuckDB keeps rows in groups
#: of 122,880, and is slower by half where it is given less.
ROWS_AT_ONCE = 4 * 122_880
BYTES_AT_ONCE = 128 << 20

About = tuple[str, int | None, str]
Columns = tuple[tuple[str, str], ...]


def common_type(one: str, other: str) -> str | None:
    """Return the narrowest SQL type that holds the values of both exactly.

    Parameters
    ----------
    one, other : str
        DuckDB types in lower case.

    Returns
    -------
    str or None
        None if there is none.
    """
    for candidate in (one, *_WIDER.get(one, ())):
        if candidate == other or candidate in _WIDER.get(other, ()):
            return candidate
    return None


class StreamTables:
    """Creates, widens and fills the tables of schema ``stream`` within a commit.

    Parameters
    ----------
    rows : Rows
        Of the commit.

    Attributes
    ----------
    places : dict of str to str
        Name of the table by the stream's name. They differ where DuckDB would take two streams' names for one.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._connection = rows.connection
        self._columns: dict[str, dict[str, str]] = {}
        self._waiting: dict[tuple[str, Columns], list[tuple[About, pa.Table]]] = defaultdict(list)
        self._count: Counter[tuple[str, Columns]] = Counter()
        self._bytes = 0
        self._threads = self._connection.execute("select current_setting('threads')").fetchone()[0]
        found = self._connection.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            "where table_schema = 'stream' order by ordinal_position"
        ).fetchall()
        for table, column, kind in found:
            self._columns.setdefault(table, {})[column] = kind.lower()
        self.places: dict[str, str] = dict(
            self._connection.execute("select distinct stream, place from stream_rows").fetchall()
        )

    def place(self, name: str) -> str:
        """Return the table of a stream, and choose one the first time.

        Parameters
        ----------
        name : str
            The stream.

        Returns
        -------
        str
            Its name, with ``__2`` behind it where another stream's differs from it in upper and lower case only.
        """
        name = clean(name)
        if name not in self.places:
            taken = {place.lower() for place in self.places.values()}
            candidate, suffix = name, 1
            while candidate.lower() in taken:
                suffix += 1
                candidate = f"{name}__{suffix}"
            self.places[name] = candidate
        return self.places[name]

    def add(self, name: str, columns: list[tuple[str, str]], table: pa.Table, about: About) -> None:
        """Append rows; they are inserted when there are many, and by :meth:`flush`.

        Parameters
        ----------
        name : str
            The stream.
        columns : list of (str, str)
            As declared.
        table : pyarrow.Table
            ``_row``, ``_time`` and the columns.
        about : (str, int or None, str)
            Run, rank and writer of all of them.
        """
        if any("\0" in column for column, _ in columns):
            # No identifier of SQL holds a NUL; it stands as an escape.
            columns = [(column.replace("\0", "\\0"), kind) for column, kind in columns]
            table = table.rename_columns([column.replace("\0", "\\0") for column in table.column_names])
        place = self.place(name)
        waiting = self._waiting[place, tuple(columns)]
        waiting.append((about, table))
        self._rows.counts["stream rows"] += table.num_rows
        self._count[place, tuple(columns)] += table.num_rows
        self._bytes += table.nbytes
        if self._count[place, tuple(columns)] >= ROWS_AT_ONCE:
            self._flush(place, tuple(columns))
        elif self._bytes >= BYTES_AT_ONCE:
            self.flush()

    def stored(self, name: str, columns: list[tuple[str, str]]) -> dict[str, str] | None:
        """Return which columns of the store hold those that were declared.

        Parameters
        ----------
        name : str
            The stream.
        columns : list of (str, str)
            As declared.

        Returns
        -------
        dict of str to str
            The store's column by the declared one; None if no row of the stream is in the store.
        """
        place = self.place(name)
        return self._prepare(place, columns) if place in self._columns else None

    def own(self, name: str, columns: dict[str, str], needed: Sequence[str]) -> str | None:
        """Return SQL of the rows of one of our own streams, by the names of its columns.

        Parameters
        ----------
        name : str
            The stream.
        columns : dict of str to str
            As we declare them. Logs may hold a stream of that name with others, and rows with nothing in these.
        needed : sequence of str
            Those without which a row says nothing.

        Returns
        -------
        str or None
            In parentheses, with the system columns; rows that say nothing are left out. None if there are none.
        """
        stored = self.stored(name, list(columns.items()))
        if stored is None:
            return None
        chosen = {each: f"try_cast({quoted(stored[each])} as {SQL_TYPES[kind]})" for each, kind in columns.items()}
        named = ", ".join(f"{sql} as {quoted(each)}" for each, sql in chosen.items())
        system = ", ".join(column for column, _ in SYSTEM_COLUMNS)
        whole = " and ".join(f"{chosen[each]} is not null" for each in needed)
        return f"(select {system}, {named} from stream.{quoted(self.place(name))} where {whole})"

    def flush(self) -> None:
        """Insert all rows that wait."""
        for place, columns in list(self._waiting):
            self._flush(place, columns)
        self._bytes = 0

    def _flush(self, place: str, columns: tuple[tuple[str, str], ...]) -> None:
        waiting = self._waiting.pop((place, columns))
        self._bytes -= sum(table.nbytes for _, table in waiting)
        self._count.pop((place, columns))
        targets = self._prepare(place, list(columns))
        data = pa.concat_tables([table for _, table in waiting]).rename_columns(
            ["_row", "_time", *(targets[column] for column, _ in columns)]
        )
        counts = [table.num_rows for _, table in waiting]
        constants: dict[str, Any] = {"_snapshot": self._rows.snapshot}
        for index, column in enumerate(("_run", "_rank", "_writer")):
            values = [about[index] for about, _ in waiting]
            if len(set(values)) == 1:
                constants[column] = values[0]
            else:
                kind = pa.int32() if column == "_rank" else pa.string()
                found = pa.array(values, kind).dictionary_encode()
                repeated = pa.array(np.repeat(np.arange(len(values)), counts))
                data = data.append_column(column, found.take(repeated))
        # Of several threads each would leave a group of rows that is not full, to be packed again at the end.
        self._connection.execute("set threads = 1")
        try:
            self._rows.insert(f"stream.{quoted(place)}", data, constants)
        finally:
            self._connection.execute(f"set threads = {self._threads}")

    def _prepare(self, table: str, columns: list[tuple[str, str]]) -> dict[str, str]:
        """Make the table fit for rows of these columns; return the store's column for each declared one."""
        place = f"stream.{quoted(table)}"
        present = self._columns.get(table)
        if present is None:
            parts = [f"{column} {kind}" for column, kind in SYSTEM_COLUMNS]
            parts += [f"{quoted(column)} {SQL_TYPES[kind]}" for column, kind in columns]
            self._connection.execute(f"create table {place} ({', '.join(parts)})")
            self._columns[table] = dict(SYSTEM_COLUMNS) | {column: SQL_TYPES[kind] for column, kind in columns}
            return {column: column for column, _ in columns}
        # A column is never put where another one of the same declaration belongs.
        taken = {column.lower() for column, _ in columns}
        targets: dict[str, str] = {}
        for column, kind in columns:
            target = self._fit(place, present, column, SQL_TYPES[kind], taken - {column.lower()})
            targets[column] = target
            taken.add(target.lower())
        return targets

    def _fit(self, place: str, present: dict[str, str], column: str, wanted: str, taken: set[str]) -> str:
        candidate, suffix = column, 1
        while True:
            known = next((each for each in present if each.lower() == candidate.lower()), None)
            if candidate.lower() not in taken:
                if known is None:
                    self._connection.execute(f"alter table {place} add column {quoted(candidate)} {wanted}")
                    present[candidate] = wanted
                    return candidate
                common = common_type(present[known], wanted)
                if common is not None:
                    if common != present[known]:
                        self._connection.execute(f"alter table {place} alter column {quoted(known)} type {common}")
                        present[known] = common
                    return known
            # No type holds both without loss: both stay, under two names.
            suffix += 1
            candidate = f"{column}__{suffix}"
