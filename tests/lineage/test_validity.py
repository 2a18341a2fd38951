"""What is valid, against the definition applied node by node."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings

from braid_hpc.lineage.validity import invalid_nodes
from braid_hpc.snapshots.adjacency import open_adjacency
from braid_hpc.snapshots.adjacency_write import write_adjacency
from tests.lineage.judged import BADS, EDGES, GOODS, SNAPSHOT, TIME, Bad, Edge, Good, by_definition, fill


@settings(deadline=None, max_examples=30)
@given(edges=EDGES, bads=BADS, goods=GOODS, at=SNAPSHOT, as_of=TIME)
def test_it_is_what_the_definition_says(
    judged_tables: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    edges: list[Edge],
    bads: list[Bad],
    goods: list[Good],
    at: int,
    as_of: int,
) -> None:
    """On any graph, as of any snapshot and time, over the tables and over the index, with its first cause."""
    fill(judged_tables, edges, bads, goods)
    path = tmp_path_factory.mktemp("index") / "index"
    write_adjacency(judged_tables, path, 3)
    expected = by_definition(edges, bads, goods, at, as_of)
    for index in (None, open_adjacency(path)):
        found = invalid_nodes(judged_tables, at=at, as_of=as_of, index=index)
        assert {node: judgement.cause for node, judgement in found.items()} == expected


def test_a_chain_of_ten_thousand_falls_as_a_whole(judged_tables: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Without a limit to how deep it goes, and with a cycle at its end."""
    fill(judged_tables, [], [], [])
    judged_tables.execute(
        "insert into version_rows (id, uid, kind, name, version, weak, snapshot) "
        "select i, i::varchar, 'data', 'chain', i, false, 1 from range(100, 10101) t(i)"
    )
    judged_tables.execute(
        "insert into edge_rows select i + 1, i, 'used', 'w', 1, null, make_timestamp_ns(0), 1 "
        "from range(100, 10100) t(i)"
    )
    judged_tables.execute("insert into edge_rows values (100, 10100, 'used', 'w', 1, null, make_timestamp_ns(0), 1)")
    judged_tables.execute(
        "insert into invalidation_rows values ('a', 5000, null, null, '', 'bad', true, make_timestamp_ns(1), 'w', 1, 1)"
    )
    write_adjacency(judged_tables, tmp_path / "index", 1)
    found = invalid_nodes(judged_tables, at=1, index=open_adjacency(tmp_path / "index"))
    assert len(found) == 10_001
    judged_tables.execute("delete from version_rows where id >= 100")
