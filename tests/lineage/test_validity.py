"""What is valid, against the definition applied node by node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.lineage.validity import invalid_nodes
from braid_hpc.lineage.walk import CASCADED
from braid_hpc.snapshots.adjacency import open_adjacency
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.schema import TABLES, VIEWS
from braid_hpc.vocabulary.codes import Relation

NODES = 7


class Bad(NamedTuple):
    node: int
    time: int
    cascade: bool
    snapshot: int


class Good(NamedTuple):
    node: int
    time: int
    despite: int | None
    snapshot: int


NODE, TIME, SNAPSHOT = st.integers(1, NODES), st.integers(1, 6), st.integers(1, 3)
EDGES = st.lists(st.tuples(NODE, NODE, st.sampled_from(list(Relation)), SNAPSHOT), max_size=16)
BADS = st.lists(st.builds(Bad, NODE, TIME, st.booleans(), SNAPSHOT), max_size=5)
GOODS = st.lists(st.builds(Good, NODE, TIME, st.one_of(st.none(), st.integers(0, 4)), SNAPSHOT), max_size=4)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(VIEWS)
        rows = [(node, str(node), "data", f"n{node}", 1, False, 1) for node in range(1, NODES + 1)]
        connection.executemany(
            "insert into version_rows (id, uid, kind, name, version, weak, snapshot) values (?, ?, ?, ?, ?, ?, ?)", rows
        )
        yield connection


def uid(index: int) -> str:
    return f"{index:032x}"


def fill(
    connection: duckdb.DuckDBPyConnection,
    edges: list[tuple[int, int, Relation, int]],
    bads: list[Bad],
    goods: list[Good],
) -> None:
    for table in ("edge_rows", "invalidation_rows", "revalidation_rows"):
        connection.execute(f"delete from {table}")
    for child, parent, relation, snapshot in edges:
        row = [child, parent, str(relation), snapshot]
        connection.execute("insert into edge_rows values (?, ?, ?, 'w', 1, null, make_timestamp_ns(0), ?)", row)
    for index, bad in enumerate(bads):
        row = [uid(index), bad.node, f"cause {index}", bad.cascade, bad.time, bad.snapshot]
        connection.execute(
            "insert into invalidation_rows values (?, ?, null, null, '', ?, ?, make_timestamp_ns(?), 'w', 1, ?)", row
        )
    for index, good in enumerate(goods):
        despite = None if good.despite is None else uid(good.despite)
        connection.execute(
            "insert into revalidation_rows values (?, ?, null, null, '', ?, make_timestamp_ns(?), 'w', 1, ?)",
            [f"f{index:031x}", good.node, despite, good.time, good.snapshot],
        )


def by_definition(
    edges: list[tuple[int, int, Relation, int]], bads: list[Bad], goods: list[Good], at: int, as_of: int
) -> dict[int, str]:
    """The cause of each invalid node: for each statement, level by level, whatever others say."""
    children = [(p, c) for c, p, relation, snapshot in edges if snapshot <= at and relation in CASCADED]
    heard = [good for good in goods if good.snapshot <= at and good.time <= as_of]
    found: dict[int, str] = {}
    for index, bad in sorted(enumerate(bads), key=lambda each: (each[1].time, uid(each[0]))):
        if bad.snapshot > at or bad.time > as_of:
            continue
        # The ids of those who take back begin with f, so at one time they come later.
        if any(good.node == bad.node and good.despite is None and good.time >= bad.time for good in heard):
            continue
        barred = {good.node for good in heard if good.despite == index}
        reached = {bad.node} - barred
        while bad.cascade and (ahead := {c for p, c in children if p in reached} - reached - barred):
            reached |= ahead
        for node in reached:
            found.setdefault(node, f"cause {index}")
    return found


@settings(deadline=None, max_examples=80)
@given(edges=EDGES, bads=BADS, goods=GOODS, at=SNAPSHOT, as_of=TIME)
def test_it_is_what_the_definition_says(
    connection: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    edges: list[tuple[int, int, Relation, int]],
    bads: list[Bad],
    goods: list[Good],
    at: int,
    as_of: int,
) -> None:
    """On any graph, as of any snapshot and time, over the tables and over the index, with its first cause."""
    fill(connection, edges, bads, goods)
    path = tmp_path_factory.mktemp("index") / "index"
    write_adjacency(connection, path, 3)
    expected = by_definition(edges, bads, goods, at, as_of)
    for index in (None, open_adjacency(path)):
        found = invalid_nodes(connection, at=at, as_of=as_of, index=index)
        assert {node: judgement.cause for node, judgement in found.items()} == expected


def test_a_chain_of_ten_thousand_falls_as_a_whole(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Without a limit to how deep it goes, and with a cycle at its end."""
    fill(connection, [], [], [])
    connection.execute(
        "insert into version_rows (id, uid, kind, name, version, weak, snapshot) "
        "select i, i::varchar, 'data', 'chain', i, false, 1 from range(100, 10101) t(i)"
    )
    connection.execute(
        "insert into edge_rows select i + 1, i, 'used', 'w', 1, null, make_timestamp_ns(0), 1 "
        "from range(100, 10100) t(i)"
    )
    connection.execute("insert into edge_rows values (100, 10100, 'used', 'w', 1, null, make_timestamp_ns(0), 1)")
    connection.execute(
        "insert into invalidation_rows values ('a', 5000, null, null, '', 'bad', true, make_timestamp_ns(1), 'w', 1, 1)"
    )
    write_adjacency(connection, tmp_path / "index", 1)
    found = invalid_nodes(connection, at=1, index=open_adjacency(tmp_path / "index"))
    assert len(found) == 10_001
    connection.execute("delete from version_rows where id >= 100")
