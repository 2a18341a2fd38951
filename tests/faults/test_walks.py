"""Walks over the index, compiled and by NumPy, over the tables in SQL, and over plain sets: all find the same.

On random graphs: placeholders that are filled later, cycles, several relations, several snapshots, retractions and
statements after them, statements and declarations that a later snapshot brings with earlier times. For every node, in
both directions, at every snapshot, as of every time and of none.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from braid_hpc.kernels import closure
from braid_hpc.lineage.walk import FOLLOWED, Walk, walk
from braid_hpc.snapshots import adjacency_layers, adjacency_rows, adjacency_times
from braid_hpc.snapshots.adjacency import Adjacency, open_adjacency
from braid_hpc.snapshots.adjacency_write import adjacency_in_memory, write_adjacency
from braid_hpc.snapshots.schema import TABLES, VIEWS
from braid_hpc.store.holding import FOREVER
from braid_hpc.vocabulary.codes import Relation
from tests.faults.campaign import many
from tests.lineage.graphs import (
    GRAPHS,
    NODES,
    SNAPSHOTS,
    TIMES,
    Drawn,
    Stated,
    Taken,
    fill,
    highest,
    reach,
    until,
)

#: How many graphs; of the walks in SQL, which take ten times as long as all else, every few.
GRAPHS_AT_LENGTH, GRAPHS_NOW, SQL_EVERY = 10_000, 10, 97


@pytest.fixture(autouse=True)
def _compiler() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numba", numba)
        yield


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute(TABLES)
        connection.execute(VIEWS)
        yield connection


def said(found: Walk) -> tuple[dict[int, int], set[tuple[int, int, str]]]:
    """Distances and edges, each of which is there once."""
    assert len(found.edges) == len(set(found.edges))
    assert sorted(found.levels) == found.levels.tolist()
    return found.distance, set(found.edges)


def hold(
    connection: duckdb.DuckDBPyConnection,
    graph: Drawn,
    *indexes: Adjacency,
    sql: int = SQL_EVERY,
    in_turn: bool = False,
) -> None:
    """Ask everything of a graph that the tables hold.

    Of each index, compiled and by NumPy; `in_turn` each question of one of these ways, the next question of the next.
    """
    barred = {at: shut(graph, at) for at in range(1, SNAPSHOTS + 1)}
    turn = sum(edge.time for edge in graph.stated)
    ways = list(itertools.product(indexes, (True, False)))
    asked = itertools.product(
        range(1, NODES + 1),
        (True, False),
        range(1, SNAPSHOTS + 1),
        (*range(TIMES + 1), None),
    )
    relations = tuple(Relation) if turn % 2 else FOLLOWED
    for start, down, at, as_of in asked:
        if min((snapshot for node, snapshot, _ in graph.seen if node == start), default=0) > at:
            continue
        moment = FOREVER if as_of is None else as_of
        expected = reach(graph, start, down=down, at=at, as_of=moment, relations=relations)
        about: dict[str, Any] = {"down": down, "at": at, "as_of": as_of, "relations": relations}
        for index, compiled in [ways[turn % len(ways)]] if in_turn else ways:
            # Whether the compiler is there already is what decides.
            if compiled:
                sys.modules["numba"] = numba
            else:
                sys.modules.pop("numba", None)
            found = walk(connection, [start], **about, index=index, barred=barred[at])
            assert said(found) == expected, (start, about, compiled, len(index.segments))
        turn += 1
        if turn % sql == 0:
            assert said(walk(connection, [start], **about)) == expected, (start, about, "sql")


def shut(graph: Drawn, at: int) -> set[int]:
    """Placeholders that a snapshot knew filled; asked of the tables they are the most costly part of a walk."""
    return {
        place for place, node in graph.filled if min(snapshot for seen, snapshot, _ in graph.seen if seen == node) <= at
    }


def layered(
    connection: duckdb.DuckDBPyConnection, graph: Drawn, folder: Path, over: list[int], at_once: int = 1 << 21
) -> Adjacency:
    """The index as merges leave it: a file for each snapshot, laid over that of an earlier one (0: a whole one).

    Of more than `at_once` edges, those of a file are read and sorted in parts.
    """
    with pytest.MonkeyPatch.context() as patch:
        # However much is no longer as it was.
        patch.setattr(adjacency_layers, "FACTOR", 0)
        patch.setattr(adjacency_rows, "EDGES_AT_ONCE", at_once)
        for number, under in enumerate(over, 1):
            held = until(graph, number)
            fill(connection, held, NODES if number == SNAPSHOTS else highest(held))
            for later in range(2, number + 1):
                # Each node is of the snapshot that was the first to say something of it, or of one behind it.
                before = highest(until(graph, later - 1))
                connection.execute("update version_rows set snapshot = ? where id > ?", [later, before])
            below = open_adjacency(folder / f"{under}.adjacency") if under else None
            path = folder / f"{number}.adjacency"
            path.unlink(missing_ok=True)
            write_adjacency(connection, path, number, below=below)
    fill(connection, graph)
    found = open_adjacency(path)
    assert [segment.snapshot for segment in found.segments][-1] == SNAPSHOTS
    return found


@settings(
    deadline=None,
    max_examples=many(GRAPHS_AT_LENGTH, GRAPHS_NOW),
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],
)
@given(graph=GRAPHS, over=st.sampled_from([[0, 1, 2], [0, 1, 1], [0, 0, 2]]), at_once=st.sampled_from([1 << 21, 2]))
@pytest.mark.timeout(12 * 3600)
def test_all_walks_find_what_the_definition_says(
    connection: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    graph: Drawn,
    over: list[int],
    at_once: int,
) -> None:
    """Nodes, distances and edges; over a whole index and over one of several files, a question of each in turn."""
    folder = tmp_path_factory.getbasetemp() / "layers"
    folder.mkdir(exist_ok=True)
    index = layered(connection, graph, folder, over, at_once)
    whole = adjacency_in_memory(connection, SNAPSHOTS)
    assert whole is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closure, "_ROOM", at_once)
        hold(connection, graph, index, whole, in_turn=True)


#: Stated, retracted, stated again, and late; a declaration that a later snapshot brings with an earlier time.
TELLING = Drawn(
    seen=[(1, 1, 2), (2, 1, 3), (3, 1, 4), (2, 2, 1), (4, 2, 2)],
    stated=[
        Stated(2, 1, Relation.DERIVED, 1, 2),
        Stated(3, 2, Relation.USED, 1, 4),
        Stated(3, 1, Relation.DERIVED, 1, 7),
        Stated(3, 2, Relation.USED, 3, 8),
        Stated(5, 3, Relation.GENERATED, 1, 4),
        Stated(4, 3, Relation.GENERATED, 2, 4),
    ],
    taken=[Taken(2, 1, Relation.DERIVED, 2, 5), Taken(3, 2, None, 2, 6)],
    equal=[(4, 1, 2)],
    filled=[(5, 4)],
)


@pytest.mark.slow
def test_a_graph_with_all_of_it(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Over the index as a file, and more of the walks in SQL."""
    fill(connection, TELLING)
    write_adjacency(connection, tmp_path / "index", SNAPSHOTS)
    hold(connection, TELLING, open_adjacency(tmp_path / "index"), sql=7)
    rows = connection.execute("select id from filled").fetchall()
    assert rows == [(5,)]
    for over in ([0, 1, 2], [0, 1, 1], [0, 0, 2]):
        (folder := tmp_path / str(over)).mkdir()
        for at_once in (1 << 21, 2):
            hold(connection, TELLING, layered(connection, TELLING, folder, over, at_once), in_turn=True)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["times", "retractions", "earlier times"])
def test_it_can_fail(connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """With one part of the index taken away, the same questions find it."""
    fill(connection, TELLING)
    times, earlier = adjacency_times.node_times, adjacency_times.earlier_times
    retracted = adjacency_times.retracted_edges

    def node_times(connection: Any, nodes: int) -> Any:
        known = times(connection, nodes)
        if broken == "times":
            known[1:] = known[1:].min()
        return known

    def earlier_times(connection: Any) -> Any:
        return [part[:0] if broken == "earlier times" else part for part in earlier(connection)]

    def retracted_edges(connection: Any, number: str, **only: Any) -> Any:
        found = retracted(connection, number, **only)
        if broken != "retractions":
            return found
        return adjacency_times.Retracted(*(getattr(found, name)[:0] for name in found.__slots__))

    monkeypatch.setattr("braid_hpc.snapshots.adjacency_write.node_times", node_times)
    monkeypatch.setattr("braid_hpc.snapshots.adjacency_write.earlier_times", earlier_times)
    monkeypatch.setattr("braid_hpc.snapshots.adjacency_rows.retracted_edges", retracted_edges)
    index = adjacency_in_memory(connection, SNAPSHOTS)
    assert index is not None
    with pytest.raises(AssertionError):
        hold(connection, TELLING, index)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["times", "retractions", "earlier times", "replaced rows"])
def test_what_is_laid_over_it_can_fail_too(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """With one part of what a later file says taken away, the same questions find it."""
    fresh_since = adjacency_layers.fresh_since

    def fewer(*about: Any) -> Any:
        found = fresh_since(*about)
        assert found is not None
        nothing = np.empty(0, np.int64)
        if broken == "times":
            return replace(found, changed=(nothing, nothing), times=about[1].times.over(found.tail, (nothing, nothing)))
        if broken == "earlier times":
            return replace(found, earlier=(nothing, nothing, nothing))
        if broken == "replaced rows":
            return replace(found, again={"child": nothing, "parent": nothing})
        return found

    retracted = adjacency_times.retracted_edges

    def retracted_edges(connection: Any, number: str, **only: Any) -> Any:
        found = retracted(connection, number, **only)
        if broken != "retractions" or not only["given"]:
            return found
        return adjacency_times.Retracted(*(getattr(found, name)[:0] for name in found.__slots__))

    monkeypatch.setattr("braid_hpc.snapshots.adjacency_write.fresh_since", fewer)
    monkeypatch.setattr("braid_hpc.snapshots.adjacency_rows.retracted_edges", retracted_edges)
    index = layered(connection, TELLING, tmp_path, [0, 1, 2])
    with pytest.raises(AssertionError):
        hold(connection, TELLING, index)
