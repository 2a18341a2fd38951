"""Connections to a store's files: one kind to build with, one kind to ask with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.errors import FormatTooNewError, InvalidInputError, MissingExtraError, StorageError

if TYPE_CHECKING:
    import duckdb

__all__ = ["connect_asking", "connect_building"]


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("stores need duckdb and pyarrow: pip install 'braid_hpc[store]'") from error
    return duckdb


def connect_building(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a file that is being built.

    Parameters
    ----------
    path : Path
        Created if it does not exist.
    read_only : bool
        For a look at it.

    Returns
    -------
    duckdb.DuckDBPyConnection
        Times are UTC; extensions are never loaded.

    Raises
    ------
    InvalidInputError
        If the file is not a DuckDB database.
    StorageError
        If it cannot be opened.
    MissingExtraError
        If DuckDB is not installed.
    """
    duckdb = _duckdb()
    config = {"autoload_known_extensions": False, "autoinstall_known_extensions": False}
    try:
        connection: duckdb.DuckDBPyConnection = duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as error:
        raise _explained(path, error) from error
    connection.execute("set preserve_insertion_order = false")
    return connection


def connect_asking(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a snapshot to ask it, as a stranger's data is opened.

    Parameters
    ----------
    path : Path
        A finished snapshot.

    Returns
    -------
    duckdb.DuckDBPyConnection
        Read-only; no extension, no file, no network can be reached from it, and its configuration is locked.

    Raises
    ------
    InvalidInputError
        If the file is not a DuckDB database.
    FormatTooNewError
        If it was written by a newer DuckDB.
    StorageError
        If it cannot be opened.
    MissingExtraError
        If DuckDB is not installed.
    """
    duckdb = _duckdb()
    config = {"autoload_known_extensions": False, "autoinstall_known_extensions": False}
    try:
        connection: duckdb.DuckDBPyConnection = duckdb.connect(str(path), read_only=True, config=config)
    except duckdb.Error as error:
        raise _explained(path, error) from error
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _explained(path: Path, error: Exception) -> Exception:
    text = str(error)
    if "not a valid DuckDB database" in text or "Could not read" in text:
        return InvalidInputError(f"{path} is not a DuckDB file: name a store made by 'braid compact'")
    if "newer version" in text or "version number" in text:
        return FormatTooNewError(f"{path} was written by another version of DuckDB: {text.splitlines()[0]}")
    return StorageError(f"{path} cannot be opened: {text.splitlines()[0]}")
