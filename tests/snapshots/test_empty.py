"""The file of a store that has nothing: made once in a process, copied after that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braid_hpc.snapshots import empty
from braid_hpc.snapshots.connect import connect_building
from braid_hpc.snapshots.empty import write_empty

Rows = list[tuple[Any, ...]]


def described(path: Path) -> tuple[Rows, Rows, Rows]:
    connection = connect_building(path)
    try:
        tables = connection.execute(
            "select table_name, column_name, data_type from information_schema.columns order by all"
        ).fetchall()
        macros = connection.execute("select function_name from duckdb_functions() where not internal").fetchall()
        return tables, sorted(macros), connection.execute("from meta order by all").fetchall()
    finally:
        connection.close()


def test_a_copy_is_what_was_made(tmp_path: Path) -> None:
    empty._made.clear()
    write_empty(tmp_path / "made.duckdb")
    write_empty(tmp_path / "copied.duckdb")
    made = described(tmp_path / "made.duckdb")
    assert made == described(tmp_path / "copied.duckdb")
    assert all(made)


def test_what_is_written_into_one_is_in_no_other(tmp_path: Path) -> None:
    write_empty(tmp_path / "one.duckdb")
    connection = connect_building(tmp_path / "one.duckdb")
    connection.execute("insert into meta values ('mark', 'one')")
    connection.close()
    write_empty(tmp_path / "other.duckdb")
    assert ("mark", "one") in described(tmp_path / "one.duckdb")[2]
    assert ("mark", "one") not in described(tmp_path / "other.duckdb")[2]
