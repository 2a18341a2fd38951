"""The walk over the edges, against a walk by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.lineage.walk import FOLLOWED, walk
from braid_hpc.snapshots.adjacency import open_adjacency
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.schema import TABLES, VIEWS
from braid_hpc.vocabulary.codes import Relation

Edge = tuple[int, int, Relation, int]

EDGES = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(list(Relation)), st.integers(1, 3)), max_size=30
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(VIEWS)
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, edges: list[Edge]) -> None:
    """Let the tables hold some edges between nodes 1 to 9."""
    connection.execute("delete from edge_rows")
    connection.execute("delete from version_rows")
    connection.execute(
        "insert into version_rows (id, uid, kind, name, version, weak, snapshot) "
        "select i, '', 'data', 'x', i, false, 1 from range(1, 10) t(i)"
    )
    for child, parent, relation, snapshot in edges:
        connection.execute(
            "insert into edge_rows values (?, ?, ?, 'w', 1, null, make_timestamp_ns(0), ?)",
            [child, parent, str(relation), snapshot],
        )


def by_hand(
    edges: list[Edge], starts: list[int], down: bool, depth: int | None, at: int, relations: tuple[Relation, ...]
) -> tuple[dict[int, int], set[tuple[int, int, str]]]:
    """Level by level over lists."""
    usable = [(c, p, str(r)) for c, p, r, snapshot in edges if snapshot <= at and r in relations]
    distance = dict.fromkeys(starts, 0)
    level, frontier = 0, list(starts)
    while frontier and (depth is None or level < depth):
        level += 1
        ahead = {c if down else p for c, p, _ in usable if (p if down else c) in frontier}
        frontier = [node for node in ahead if node not in distance]
        distance.update(dict.fromkeys(frontier, level))
    return distance, {(c, p, r) for c, p, r in usable if c in distance and p in distance}


@settings(deadline=None, max_examples=60)
@given(
    edges=EDGES,
    starts=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    down=st.booleans(),
    depth=st.one_of(st.none(), st.integers(0, 4)),
    at=st.integers(1, 3),
    relations=st.sampled_from([FOLLOWED, tuple(Relation), (Relation.DERIVED,)]),
)
def test_each_node_once_with_its_shortest_distance(
    connection: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    edges: list[Edge],
    starts: list[int],
    down: bool,
    depth: int | None,
    at: int,
    relations: tuple[Relation, ...],
) -> None:
    """On any graph, cycles included; the edges are those between what was reached, those of later snapshots never.

    Over the tables and over the index, compiled or not.
    """
    fill(connection, edges)
    path = tmp_path_factory.mktemp("index") / "index"
    write_adjacency(connection, path, 3)
    distance, between = by_hand(edges, starts, down, depth, at, relations)
    for index in (None, open_adjacency(path)):
        for compiled in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                # Whether the compiler is there already is what decides.
                patch.setitem(sys.modules, "numba", numba) if compiled else patch.delitem(sys.modules, "numba", False)
                found = walk(connection, starts, down=down, depth=depth, at=at, relations=relations, index=index)
            assert found.distance == distance
            assert len(found.edges) == len(set(found.edges))
            assert set(found.edges) == between


def test_barred_nodes_are_not_entered(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """What lies behind them is reached only another way; a start is entered all the same."""
    fill(connection, [(2, 1, Relation.DERIVED, 1), (3, 2, Relation.DERIVED, 1), (4, 1, Relation.DERIVED, 1)])
    connection.execute("insert into edge_rows values (3, 4, 'used', 'w', 1, null, make_timestamp_ns(0), 1)")
    write_adjacency(connection, tmp_path / "index", 1)
    for index in (None, open_adjacency(tmp_path / "index")):
        found = walk(connection, [1], down=True, at=1, index=index, barred=[1, 2], edges=False)
        assert found.distance == {1: 0, 4: 1, 3: 2}
        assert found.edges == []


def test_what_runs_within_what_is_not_provenance() -> None:
    """An activity that was begun inside another one is not made of it."""
    assert Relation.CALLED not in FOLLOWED


def test_a_long_chain(connection: duckdb.DuckDBPyConnection) -> None:
    """Two hundred generations, each its own level, and each a query over the tables."""
    fill(connection, [])
    connection.execute(
        "insert into edge_rows select i + 1, i, 'wasDerivedFrom', 'w', 1, null, make_timestamp_ns(0), 1 "
        "from range(1, 201) r(i)"
    )
    assert walk(connection, [201], down=False, depth=None, at=1).distance == {201 - n: n for n in range(201)}
