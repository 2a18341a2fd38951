"""What several of these tests need."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from braid_hpc.snapshots.schema import TABLES, VIEWS
from tests.lineage.judged import NODES


@pytest.fixture(scope="module")
def judged_tables() -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables of a store with some versions, and nothing else."""
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(VIEWS)
        rows = [(node, str(node), "data", f"n{node}", 1, False, 1) for node in range(1, NODES + 1)]
        connection.executemany(
            "insert into version_rows (id, uid, kind, name, version, weak, snapshot) values (?, ?, ?, ?, ?, ?, ?)", rows
        )
        yield connection
