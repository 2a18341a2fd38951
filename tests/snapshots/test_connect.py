"""Connections: one kind builds, one kind asks and can do nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from braid_hpc.snapshots.connect import connect_asking, connect_building, snapshot_number, storage_error
from braid_hpc.snapshots.schema import FORMAT, MAJOR, TABLES, VIEWS
from braid_hpc.vocabulary.errors import FormatTooNewError, InvalidInputError, StorageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "1.duckdb"
    connection = connect_building(path)
    connection.execute(TABLES)
    connection.execute(VIEWS)
    connection.execute("insert into meta values ('format', ?), ('major', ?)", [FORMAT, str(MAJOR)])
    connection.close()
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "insert into meta values ('a', 'b')",
        "drop table meta",
        "create table t (x int)",
        "attach '{folder}/other.duckdb'",
        "copy (select 1) to '{folder}/out.csv'",
        "export database '{folder}/out'",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "from read_text('/etc/hostname')",
        "from glob('/etc/*')",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "reset lock_configuration",
        "set autoload_known_extensions = true",
        "pragma enable_profiling = 'json'",
    ],
)
def test_asking_reaches_nothing_else(file: Path, tmp_path: Path, statement: str) -> None:
    """No file, no network, no extension, no setting, no change."""
    connection = connect_asking(file)
    with pytest.raises(duckdb.Error):
        connection.execute(statement.format(folder=tmp_path))
    connection.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.duckdb"]


def test_asking_does_not_see_the_callers_variables(file: Path) -> None:
    """DuckDB would take a name in a query for a Python variable of the caller."""
    import pyarrow as pa

    secret = pa.table({"x": [1]})
    connection = connect_asking(file)
    with pytest.raises(duckdb.Error, match="secret does not exist"):
        connection.execute("select * from secret")
    connection.close()
    assert secret.num_rows == 1


def test_two_may_ask_one_file_in_one_process(file: Path) -> None:
    first, second = connect_asking(file), connect_asking(file)
    assert first.execute("from meta").fetchall() == second.execute("from meta").fetchall() != []
    first.close()
    second.close()


def test_what_a_store_is(file: Path) -> None:
    connection = connect_asking(file)
    assert snapshot_number(connection, file) == 0
    connection.close()


@pytest.mark.parametrize(
    ("setup", "error", "words"),
    [
        (
            "update meta set value = '99' where key = 'major'",
            FormatTooNewError,
            "format 99, this braid_hpc reads up to 1",
        ),
        ("update meta set value = 'other' where key = 'format'", InvalidInputError, "is not a braid store"),
        ("drop table meta", InvalidInputError, "is not a braid store"),
        ("drop table meta; create table meta (key int)", InvalidInputError, "is not a braid store"),
    ],
)
def test_what_is_none(file: Path, setup: str, error: type[Exception], words: str) -> None:
    connection = connect_building(file)
    connection.execute(setup)
    with pytest.raises(error, match=words):
        snapshot_number(connection, file)
    connection.close()


@pytest.mark.parametrize("connect", [connect_building, connect_asking])
def test_a_file_that_is_no_database(tmp_path: Path, connect: object) -> None:
    assert callable(connect)
    path = tmp_path / "text"
    path.write_text("not a database\n" * 1000)
    with pytest.raises(InvalidInputError, match="is not a DuckDB file"):
        connect(path)
    with pytest.raises(InvalidInputError, match="is not a DuckDB file"):
        connect(tmp_path)
    with pytest.raises(StorageError, match="cannot be opened"):
        connect(tmp_path / "nowhere" / "at-all")


def test_errors_of_the_file_system() -> None:
    """Others stay what they are."""
    found = storage_error(Path("p"), duckdb.IOException("IO Error: no space\nmore"))
    assert str(found) == "p cannot be written: IO Error: no space"
    assert storage_error(Path("p"), ValueError("x")) is None
