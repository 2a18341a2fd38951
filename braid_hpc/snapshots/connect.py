"""Connections to a store's files: one kind to build with, one kind to ask with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.snapshots.answering import answering
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.macros import MACROS
from braid_hpc.snapshots.schema import FORMAT, MAJOR, MINOR, TABLES, VIEWS
from braid_hpc.vocabulary.errors import (
    ConflictError,
    FormatTooNewError,
    InvalidInputError,
    MissingExtraError,
    StorageError,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = [
    "MEMORY",
    "READ",
    "check_growable",
    "connect_asking",
    "connect_building",
    "connect_nothing",
    "connect_reading",
    "list_snapshots",
    "refuse_two_stores",
    "snapshot_number",
    "storage_error",
]

#: Bytes that DuckDB may use while a snapshot is built; the rest of a compaction takes about as much again.
MEMORY = 384 << 20

#: Bytes that DuckDB may use while a table is read bit by bit, and what the store is called meanwhile.
READING = 40 << 20
READ = "held"


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("stores need duckdb and pyarrow: pip install 'braid_hpc[store]'") from error
    return duckdb


def connect_building(path: Path) -> DuckDBPyConnection:
    """Open a file that is being built.

    Parameters
    ----------
    path : Path
        Created if it does not exist.

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
        connection: DuckDBPyConnection = duckdb.connect(str(path), config=config)
    except duckdb.Error as error:
        raise _explained(path, error) from error
    connection.execute("set preserve_insertion_order = false")
    # What does not fit goes beside the file, on the file system that was chosen for it.
    connection.execute(f"set memory_limit = '{MEMORY >> 20}MiB'")
    connection.execute("set temp_directory = ?", [f"{path}.tmp"])
    return connection


def connect_nothing() -> DuckDBPyConnection:
    """Return a connection to an empty store in memory.

    Returns
    -------
    duckdb.DuckDBPyConnection
        With all tables and views.
    """
    connection: DuckDBPyConnection = _duckdb().connect()
    connection.execute(TABLES)
    connection.execute(VIEWS)
    connection.execute(MACROS)
    return connection


def connect_asking(path: Path) -> DuckDBPyConnection:
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
    # All of it from the start: DuckDB opens a file once in a process, and a second reader cannot set what is locked.
    config = {
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "enable_external_access": False,
        "lock_configuration": True,
    }
    try:
        connection: DuckDBPyConnection = duckdb.connect(str(path), read_only=True, config=config)
    except duckdb.Error as error:
        raise _explained(path, error) from error
    return connection


def connect_reading(path: Path) -> DuckDBPyConnection:
    """Open a snapshot once more, to read much of it in little memory.

    DuckDB keeps what it has read as long as it may, so that a long table grows a process by its size. This instance
    may keep little, has one thread, and needs no other one to be closed.

    Parameters
    ----------
    path : Path
        A finished snapshot.

    Returns
    -------
    duckdb.DuckDBPyConnection
        As :func:`connect_asking`; the snapshot is the catalog :data:`READ`.

    Raises
    ------
    StorageError
        If it cannot be opened.
    MissingExtraError
        If DuckDB is not installed.
    """
    duckdb = _duckdb()
    config = {
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "memory_limit": f"{READING >> 20}MiB",
        "threads": 1,
    }
    connection: DuckDBPyConnection = duckdb.connect(":memory:", config=config)
    try:
        name = str(path).replace("'", "''")
        connection.execute(f"attach '{name}' as {READ} (read_only)")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise _explained(path, error) from error
    return connection


def snapshot_number(connection: DuckDBPyConnection, path: Path) -> int:
    """Return the newest snapshot in a file, having seen that it is a store that can be read.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the file.
    path : Path
        What the store is called, for messages.

    Returns
    -------
    int
        From 1; 0 if none was committed.

    Raises
    ------
    InvalidInputError
        If the database is not a store.
    FormatTooNewError
        If it is of a newer format.
    StorageError
        If it does not answer as a store does.
    """
    with answering(path):
        return _snapshot_number(connection, path)


def _snapshot_number(connection: DuckDBPyConnection, path: Path) -> int:
    try:
        # The catalog is not asked for the table: to list it takes DuckDB longer than all else that opens a store.
        columns = connection.execute("select * from main.meta limit 0").description
    except _duckdb().CatalogException:
        columns = []
    meta: dict[str, str] = {}
    if [column[0] for column in columns or []] == ["key", "value"]:
        meta = dict(connection.execute("select key, value from meta").fetchall())
    if meta.get("format") != FORMAT:
        raise _unusable(f"{path} is not a braid store: name a file made by 'braid compact'")
    if int(meta["major"]) > MAJOR:
        raise FormatTooNewError(
            f"{path} is of store format {meta['major']}, this braid_hpc reads up to {MAJOR}: update braid_hpc"
        )
    newest = int(connection.execute("select coalesce(max(snapshot), 0) from snapshots").fetchall()[0][0])
    if not 0 <= newest < 1 << 31:
        raise StorageError(f"{path} does not answer as a store does: it says that its newest snapshot is {newest}")
    return newest


def list_snapshots(file: Path, path: Path) -> dict[int, str]:
    """Return the snapshots in a file of a store.

    Parameters
    ----------
    file : Path
        The file.
    path : Path
        What the store is called, for messages.

    Returns
    -------
    dict of int to str
        The name of the archive of each.

    Raises
    ------
    InvalidInputError
        If it is not a store.
    FormatTooNewError
        If it is of a newer format.
    StorageError
        If it cannot be read.
    """
    duckdb = _duckdb()
    connection = connect_asking(file)
    try:
        snapshot_number(connection, path)
        return dict(connection.execute("select snapshot, archive from snapshots order by snapshot").fetchall())
    except duckdb.Error as error:
        raise StorageError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    finally:
        connection.close()


def check_growable(file: Path, path: Path) -> None:
    """See that a store can be added to, without writing anything.

    Parameters
    ----------
    file : Path
        Its newest snapshot.
    path : Path
        What the store is called, for messages.

    Raises
    ------
    ConflictError
        If the file is gone, because another compaction has published since.
    InvalidInputError
        If the database is not a store.
    FormatTooNewError
        If it is of a newer format, also of a newer minor one: that may have columns which nothing here can fill.
    StorageError
        If it cannot be opened.
    """
    try:
        connection = connect_asking(file)
    except StorageError:
        if not file.exists():
            raise ConflictError(f"other compactions have gone beyond {file.name} of {path}") from None
        raise
    try:
        snapshot_number(connection, path)
        ((minor,),) = connection.execute("select value from meta where key = 'minor'").fetchall() or (("0",),)
    finally:
        connection.close()
    if int(minor) > MINOR:
        raise FormatTooNewError(
            f"{path} is of store format {MAJOR}.{minor}, this braid_hpc adds to {MAJOR}.{MINOR}: it can be asked, and "
            f"to add to it update braid_hpc"
        )


def refuse_two_stores(files: StoreFiles, newest: Path, inside: int) -> None:
    """See that a store's name and the snapshots beside it are one store: a file copied over the name is another one.

    Parameters
    ----------
    files : StoreFiles
        The store's.
    newest : Path
        The file that was opened.
    inside : int
        The number of the newest snapshot in it.

    Raises
    ------
    InvalidInputError
        If they are two, or the name stands for a file that is no store.
    FormatTooNewError
        If the file of that name was written by a newer DuckDB.
    StorageError
        If it cannot be opened.
    """
    two = f"{files.path} is another store than the snapshots in {files.directory}: move that directory away"
    if newest != files.path and newest.name != f"{inside}.duckdb":
        # Written into the very file that both names stand for.
        raise _unusable(two)
    # Asked again where the name has changed meanwhile: whoever publishes renames it to a later snapshot.
    while (before := files.snapshots()) and not files.is_one():
        known = _commits(files.snapshot(before[-1]), files.path)
        # A copy of the whole directory, in which the name is a file of its own, stands for a commit that is known.
        if known is None or _commits(files.path, files.path, newest_only=True) in known:
            return
        if files.snapshots() == before and not files.is_one():
            raise _unusable(two)


def _commits(path: Path, store: Path, *, newest_only: bool = False) -> Any:
    """Return what tells commits apart: all in a file, or the newest one; None where the file has just gone."""
    try:
        connection = connect_asking(path)
    except StorageError:
        if path.exists():
            raise
        return None
    with connection:
        snapshot_number(connection, store)
        rows = connection.execute("select snapshot, committed, archive from snapshots order by snapshot").fetchall()
    return rows[-1] if newest_only else set(rows)


def storage_error(path: Path, error: BaseException) -> StorageError | None:
    """Return what DuckDB says when the file system or the memory is exhausted, as an error of this package.

    Parameters
    ----------
    path : Path
        The store.
    error : BaseException
        Anything that was raised.

    Returns
    -------
    StorageError or None
        None for other errors.
    """
    duckdb = _duckdb()
    # A commit fails for no other reason: nobody else writes into the file.
    refusals = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.TransactionException)
    if isinstance(error, refusals):
        return StorageError(f"{path} cannot be written: {str(error).splitlines()[0]}")
    return None


def _unusable(message: str) -> InvalidInputError:
    """Return the error for a file that is none of ours: the call is well formed, and so has another exit code."""
    error = InvalidInputError(message)
    error.exit_code = 4
    return error


def _explained(path: Path, error: Exception) -> Exception:
    text = str(error)
    if "not a valid DuckDB database" in text or "Could not read" in text:
        return _unusable(f"{path} is not a DuckDB file: name a store made by 'braid compact'")
    if "newer version" in text or "version number" in text:
        return FormatTooNewError(f"{path} was written by another version of DuckDB: {text.splitlines()[0]}")
    return StorageError(f"{path} cannot be opened: {text.splitlines()[0]}")
