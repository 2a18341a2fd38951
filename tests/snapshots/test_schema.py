"""Tables and views of a new store."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from braid_hpc.snapshots.schema import PUBLIC_VIEWS, TABLES, VIEWS
from braid_hpc.store.digest import table_digests


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(VIEWS)
        yield connection


def names(connection: duckdb.DuckDBPyConnection, kind: str) -> set[str]:
    query = "select table_name from information_schema.tables where table_schema = 'main' and table_type = ?"
    return {name for (name,) in connection.execute(query, [kind]).fetchall()}


def test_what_is_promised_is_there(connection: duckdb.DuckDBPyConnection) -> None:
    """Every public name can be asked, and is empty."""
    assert len(set(PUBLIC_VIEWS)) == len(PUBLIC_VIEWS)
    for name in PUBLIC_VIEWS:
        assert connection.execute(f"select * from {name}").fetchall() == []


def test_every_row_carries_its_snapshot(connection: duckdb.DuckDBPyConnection) -> None:
    """`at=snapshot` is a filter, so every base table but the two about the store itself has the column."""
    for table in names(connection, "BASE TABLE") - {"meta"}:
        columns = {row[0] for row in connection.execute(f"describe {table}").fetchall()}
        assert "snapshot" in columns, table


def test_each_table_counts_in_a_digest(connection: duckdb.DuckDBPyConnection) -> None:
    """But for those that say how the content came in, or what is still open."""
    from braid_hpc.store.digest import _QUERIES

    said = " ".join(_QUERIES.values())
    left_out = {"meta", "snapshots", "ledger", "late_links", "unresolved_links", "content_rows"}
    behind = {"version_rows", "activity_rows", "activity_ends", "writers", "writer_states", "problem_rows"}
    behind |= {"invalidation_rows", "revalidation_rows", "message_rows", "channel_rows"}
    behind |= {"unmatched_rows", "collective_rows", "communicator_rows"}  # by their views
    behind |= {"row_links", "row_edge_rows", "set_rows"}
    for table in names(connection, "BASE TABLE") - left_out - behind:
        assert f" {table}" in said, table
    assert table_digests(connection)["versions"] == "0:0"
