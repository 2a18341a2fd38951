"""The file of a store that has nothing yet: the same for every store, so it is made once in a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braid_hpc.snapshots.connect import connect_building
from braid_hpc.snapshots.macros import MACROS
from braid_hpc.snapshots.schema import FORMAT, MAJOR, MINOR, TABLES, VIEWS

__all__ = ["create_tables", "write_empty"]

#: What was made in this process. DuckDB needs a third of a second of CPU for the tables and views, a copy needs none.
_made: list[bytes] = []


def create_tables(connection: Any) -> None:
    """Make the tables, views and macros of a store that has none.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on an empty file, and not in a transaction.
    """
    # In one transaction: each of a hundred would be written and synced by itself.
    connection.execute("begin transaction")
    connection.execute(TABLES)
    connection.execute(VIEWS)
    connection.execute(MACROS)
    rows = [("format", FORMAT), ("major", str(MAJOR)), ("minor", str(MINOR))]
    connection.executemany("insert into meta values (?, ?)", rows)
    connection.execute("commit")


def write_empty(path: Path) -> None:
    """Write the file of a store that has nothing.

    Parameters
    ----------
    path : Path
        Not there yet. Nobody has it open when this returns.

    Raises
    ------
    OSError
        If it cannot be written.
    StorageError
        If DuckDB cannot write it.
    MissingExtraError
        If DuckDB is not installed.
    """
    if _made:
        path.write_bytes(_made[0])
        return
    connection = connect_building(path)
    try:
        create_tables(connection)
    finally:
        connection.close()
    _made.append(path.read_bytes())
