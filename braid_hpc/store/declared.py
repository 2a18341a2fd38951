"""Where a declared table is in a store, and how it was declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from braid_hpc.compaction.stream_store import common_type
from braid_hpc.vocabulary.errors import NotFoundError
from braid_hpc.vocabulary.payloads import TableSchema
from braid_hpc.vocabulary.sql import SQL_TYPES, quoted

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["StoredTable", "stored_table"]

_SYSTEM = {"_run": "varchar", "_rank": "integer", "_writer": "varchar", "_row": "bigint"}
_SYSTEM |= {"_time": "timestamp_ns", "_snapshot": "integer"}


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A declared table as a store has it at a moment.

    Attributes
    ----------
    name : str
        Of the table.
    place : str
        SQL of its table.
    schema : TableSchema
        As it was declared last.
    columns : dict of str to str
        DuckDB's type by the name of each column.
    units : dict of str to str
        Unit symbol by column.
    kinds : dict of str to str
        Type of each column, as it was declared last.
    held : dict of str to tuple of str
        By each column that was ever declared, in lower case, the columns that hold it: several where its type changed
        to one that the old values have no place in.
    """

    name: str
    place: str
    schema: TableSchema
    columns: dict[str, str]
    units: dict[str, str]
    kinds: dict[str, str] = field(default_factory=dict)
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def holding(self, column: str, kind: str | None = None) -> str | None:
        """Return the column that holds the values of a type.

        Parameters
        ----------
        column : str
            As it is declared.
        kind : str, optional
            Its type; without it the one that it was declared with last.

        Returns
        -------
        str or None
            None if no row has such values.
        """
        kind = kind or self.kinds.get(column)
        for each in self.held.get(column.lower(), ()):
            there = self.columns[each].lower()
            if kind is None or common_type(there, SQL_TYPES[kind]) == there:
                return each
        return None

    def equal(self, column: str, other: StoredTable, theirs: str) -> list[tuple[str, str]]:
        """Return which columns are to be compared where two declared columns are equal.

        Parameters
        ----------
        column : str
            Of this table, as it is declared.
        other : StoredTable
            Another one.
        theirs : str
            Its column.

        Returns
        -------
        list of (str, str)
            Columns of types that have values in common.
        """
        return [
            (mine, each)
            for mine in self.held.get(column.lower(), ())
            for each in other.held.get(theirs.lower(), ())
            if common_type(self.columns[mine].lower(), other.columns[each].lower()) is not None
        ]


def stored_table(store: Opened, name: str, at: int | None = None) -> StoredTable:
    """Find a declared table.

    Parameters
    ----------
    store : Opened
        The store.
    name : str
        Of the table.
    at : int, optional
        A snapshot number: how it was declared by then.

    Returns
    -------
    StoredTable
        Where it is, and how it was declared.

    Raises
    ------
    NotFoundError
        If no such table was declared.
    """
    at = store.snapshot if at is None else at
    return store._once(("declared table", name, at), lambda: _read(store, name, at))


def _read(store: Opened, name: str, at: int) -> StoredTable:
    # Of all tables at once: who asks for one asks for the others too, and each statement takes milliseconds.
    declarations, columns = store._once(("declared tables", at), lambda: _read_all(store, at))
    if name not in declarations:
        known = ", ".join(sorted(declarations)) or "none"
        raise NotFoundError(f"no table {name!r} was declared in {store.path.name}; there are: {known}")
    mine = declarations[name]
    units: dict[str, str] = {}
    for row in mine:
        units |= msgspec.json.decode(row["units"])
    schema = msgspec.json.decode(mine[-1]["declared"], type=TableSchema)
    place = mine[-1]["place"]
    there = columns.get(place)
    kinds = dict(msgspec.json.decode(mine[-1]["columns"], type=list[tuple[str, str]]))
    if there is not None:
        declared = {each[0] for row in mine for each in msgspec.json.decode(row["columns"], type=list[tuple[str, str]])}
        return StoredTable(name, f"stream.{quoted(place)}", schema, there, units, kinds, _held(there, declared))
    # Where no row was recorded there is no table, and an empty one answers.
    empty = ", ".join(f"null::{kind} as {name}" for name, kind in _SYSTEM.items())
    return StoredTable(name, f"(select {empty} where false)", schema, dict.fromkeys(_SYSTEM, ""), units, kinds)


def _held(there: dict[str, str], declared: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns that hold each declared one: its own, and those that a change of its type made of it."""
    lower = {name.lower(): name for name in there}
    own = {name.lower() for name in declared}
    found: dict[str, tuple[str, ...]] = {}
    for name in own:
        mine, number = [lower[name]] if name in lower else [], 2
        while (another := f"{name}__{number}") in lower or another in own:
            if another not in own:
                mine.append(lower[another])
            number += 1
        found[name] = tuple(mine)
    return found


def _read_all(store: Opened, at: int) -> tuple[dict[str, list[dict[str, str]]], dict[str, dict[str, str]]]:
    """Return how each table was declared by its name, first to last, and the types of the columns of each place."""
    declarations: dict[str, list[dict[str, str]]] = {}
    for row in store._asked(
        "select stream, place, declared, units, columns from stream_rows where declared is not null and snapshot <= ? "
        "order by snapshot, writer, number",
        [at],
    ).to_pylist():
        declarations.setdefault(row["stream"], []).append(row)
    columns: dict[str, dict[str, str]] = {}
    for row in store._asked(
        "select table_name, column_name, data_type from information_schema.columns where table_schema = 'stream' "
        "and table_name in (select place from stream_rows where declared is not null and snapshot <= ?) "
        "order by table_name, ordinal_position",
        [at],
    ).to_pylist():
        columns.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    return declarations, columns
