"""Ways between two things, on many random graphs: as long as those of networkx, and what lies between is the same."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.snapshots.schema import TABLES, VIEWS
from tests.faults.campaign import many
from tests.lineage.test_walk import Edge
from tests.lineage.test_why import EDGES, SIBLINGS, hold

#: How many graphs.
AT_LENGTH, NOW = 1_000, 3

pytestmark = pytest.mark.timeout(20_000)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute(TABLES)
        connection.execute(VIEWS)
        yield connection


@settings(max_examples=many(AT_LENGTH, NOW), suppress_health_check=list(HealthCheck))
@given(edges=EDGES, at=st.integers(1, 3), indexed=st.booleans(), count=st.integers(1, 8), one=SIBLINGS, other=SIBLINGS)
def test_ways_are_those_of_networkx(
    connection: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    edges: list[Edge],
    at: int,
    indexed: bool,
    count: int,
    one: list[int],
    other: list[int],
) -> None:
    """Over the index and over the tables, with cycles and at every snapshot, from and to versions of one step."""
    path = tmp_path_factory.mktemp("index") / "index" if indexed else None
    hold(connection, path, edges, at=at, count=count, ends=(one, other))
