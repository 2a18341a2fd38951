"""Why one thing is among what fed another: ways, and the part of the graph between the two."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import networkx as nx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.lineage.ground import Ground
from braid_hpc.lineage.walk import FOLLOWED
from braid_hpc.lineage.why import MOST_WAYS, region_between, why
from braid_hpc.snapshots.adjacency import open_adjacency
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.schema import TABLES, VIEWS
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from tests.jobs import Job, made, one
from tests.lineage.graphs import as_store
from tests.lineage.test_answer import workflow
from tests.lineage.test_walk import Edge, fill

EDGES = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(list(Relation)), st.integers(1, 3)), max_size=30
)


#: Versions of one step: the first is what a name means, and the others are as new.
SIBLINGS = st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("why")
    workflow(folder / "logs", 3)
    with made(folder / "logs", folder / "prov.duckdb") as opened:
        yield opened


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(VIEWS)
        yield connection


def test_a_way_in_either_order(store: Store) -> None:
    """The answer says which of the two fed the other; the way is the same one."""
    up, down = store.why("model:net", "data:frames/1"), store.why("data:frames/1", "model:net")
    assert (up.direction, down.direction) == ("up", "down")
    assert (up.a, up.b, down.a, down.b) == ("model:net@3", "data:frames/1@1", "data:frames/1@1", "model:net@3")
    (way,) = up.ways
    assert way.nodes == ("model:net@3", "data:peaks/1@1", "activity:find-peaks@2", "data:frames/1@1")
    assert [edge.relation for edge in way.edges] == ["wasDerivedFrom", "wasGeneratedBy", "used"]
    assert down.ways == up.ways
    assert up
    assert up.complete
    assert str(up).splitlines()[:3] == ["data:frames/1@1 fed model:net@3", "over 3 edges:", "  model:net@3"]


def test_further_ways_are_those_of_networkx(store: Store) -> None:
    graph = store.lineage("model:net").to_networkx()
    plain = nx.DiGraph(graph)
    for count in (2, 5, 40):
        answer = store.why("model:net", "fact:config", paths=count)
        expected = list(islice(nx.shortest_simple_paths(plain, "fact:config@1", "model:net@3"), count + 1))
        assert [len(way) + 1 for way in answer.ways] == [len(each) for each in expected[:count]]
        assert answer.whole == (len(expected) <= count)
        assert {way.nodes[::-1] for way in answer.ways} <= set(
            map(tuple, nx.all_simple_paths(plain, "fact:config@1", "model:net@3"))
        )
    assert ("there is no other way" in str(answer)) == answer.whole


def test_what_lies_between(store: Store) -> None:
    """All that came of the one and fed the other, and every edge between those."""
    graph = store.lineage("model:net").to_networkx()
    answer = store.why("model:net", "data:frames/1", between=True)
    assert answer.between is not None
    expected = nx.descendants(graph, "data:frames/1@1") | {"data:frames/1@1"}
    assert {node.ref for node in answer.between.nodes} == expected == {node.ref for node in answer.nodes}
    assert answer.between.nodes[0].ref == "model:net@3"
    kept = graph.subgraph(expected)
    assert {(e.parent, e.child, e.relation) for e in answer.between.edges} == set(kept.edges(keys=True))
    assert answer.between.mermaid().startswith("flowchart")
    assert len(answer.ways) == 1


def test_no_way_is_an_answer(store: Store) -> None:
    answer = store.why("data:frames/0", "data:frames/1")
    assert not answer
    assert (answer.direction, answer.ways, answer.complete) == (None, [], True)
    assert "nothing leads from data:frames/0@1 to data:frames/1@1" in str(answer)
    same = store.why("model:net@3", "model:net")
    assert (same.direction, [len(way) for way in same.ways]) == ("same", [0])


def test_relations_restrict_the_ways(store: Store) -> None:
    assert store.why("model:net", "data:frames/1", relations="wasDerivedFrom").direction is None
    assert len(store.why("model:net", "fact:config", relations=["wasDerivedFrom"]).ways[0]) == 3


def test_no_way_and_a_missing_log_are_said_together(tmp_path: Path) -> None:
    """A rank that has no log may have made the link."""
    import shutil

    job = workflow(tmp_path / "logs", 2)
    shutil.rmtree(job.folder(1))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        answer = opened.why("data:frames/0", "data:peaks/0")
        assert answer
        none = opened.why("fact:config", "activity:find-peaks", relations="wasStartedBy")
        assert not none
        assert [(each.rank, each.state) for each in none.missing] == [(1, "absent")]
        assert "incomplete: rank 1" in str(none)
        assert not none.complete


def test_an_answer_is_plain_values_and_a_table(store: Store) -> None:
    answer = store.why("model:net", "data:frames/1", between=True)
    plain = answer.to_dict()
    assert list(plain) == ["a", "b", "direction", "ways", "whole", "complete", "missing", "between"]
    assert plain["ways"][0][0] == {"child": "model:net@3", "parent": "data:peaks/1@1", "relation": "wasDerivedFrom"}
    assert pa.table(answer).column("ref").to_pylist() == [node.ref for node in answer.nodes]


@pytest.mark.parametrize("paths", [0, -1, True, 1.5, "2", MOST_WAYS + 1])
def test_a_number_of_ways_that_is_none(store: Store, paths: Any) -> None:
    with pytest.raises(InvalidInputError, match="paths is how many ways to return, from 1 to 1000"):
        store.why("model:net", "fact:config", paths=paths)


def test_what_is_not_there_or_not_one_thing(store: Store) -> None:
    with pytest.raises(NotFoundError, match="is not in this store"):
        store.why("model:net", "fact:nothing")
    with pytest.raises(InvalidInputError, match="there is no snapshot 9"):
        store.why("model:net", "fact:config", at=9)
    with pytest.raises(InvalidInputError, match="cannot be followed"):
        store.why("model:net", "fact:config", relations="informed")


def test_versions_that_ranks_disagree_on_are_one_end(tmp_path: Path) -> None:
    """A step at which ranks made different models is one name: a way to any of these counts."""
    with Job(tmp_path / "logs", 2) as job:
        for rank, run in enumerate(job.runs):
            part = run.data(f"part/{rank}", digest=f"x:{rank}")
            run.model("net", digest=f"w:{rank}", derived_from=part)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert all(opened.why("model:net", f"data:part/{rank}").direction == "up" for rank in (0, 1))
        assert opened.why("data:part/0", "model:net").direction == "down"


def test_a_kind_must_be_said_where_a_name_has_several(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        job[0].model("net", digest="w:1", derived_from=job[0].data("net", digest="x:1"))
    with (
        made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened,
        pytest.raises(ConflictError, match="say which of data:net, model:net"),
    ):
        opened.why("net", "net")


@settings(max_examples=15, deadline=None)
@given(
    edges=EDGES,
    at=st.integers(1, 3),
    indexed=st.booleans(),
    count=st.integers(1, 6),
    one=SIBLINGS,
    other=SIBLINGS,
)
def test_on_any_graph(
    connection: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    edges: list[Edge],
    at: int,
    indexed: bool,
    count: int,
    one: list[int],
    other: list[int],
) -> None:
    """Lengths are networkx's, and so is what lies between; with cycles, over the index and over the tables.

    Either end may be versions that ranks made at one step.
    """
    path = tmp_path_factory.mktemp("index") / "index" if indexed else None
    hold(connection, path, edges, at=at, count=count, ends=(one, other))


def hold(
    connection: duckdb.DuckDBPyConnection,
    path: Path | None,
    edges: list[Edge],
    *,
    at: int,
    count: int,
    ends: tuple[list[int], list[int]],
) -> None:
    """Ask why of a graph that the tables hold, with an index at a path or without."""
    fill(connection, edges)
    connection.execute("delete from occurrences")
    connection.execute(
        "insert into occurrences (writer, sequence, id, run, step, state, time, snapshot) "
        "select 'w', i, i, 'r', 0, 0, make_timestamp_ns(i), 1 from range(1, 10) t(i)"
    )
    index = None
    if path is not None:
        write_adjacency(connection, path, 3)
        index = open_adjacency(path)
    usable = [(c, p) for c, p, r, snapshot in edges if snapshot <= at and r in FOLLOWED]
    graph = nx.DiGraph(usable)
    graph.add_nodes_from(range(1, 10))

    def resolved(text: str, at: int, as_of: int | None) -> tuple[Node, list[Node]]:
        node, *others = (resolve(connection, f"x@{each}", at, as_of)[0] for each in text.split("+"))
        return node, others

    asked = as_store(connection, index, resolved)
    a, b = ends
    texts = ["+".join(map(str, each)) for each in ends]
    answer = why(asked, *texts, paths=count, between=True, relations=None, at=at, as_of=None)
    if a[0] == b[0]:
        assert answer.direction == "same"
        return
    both = set(a) & set(b)
    # What is asked for by itself is no part of those that were made with it.
    apart = (set(a) - both, set(b)) if len(a) > len(b) else (set(a), set(b) - both)
    ways = {"up": apart, "down": apart[::-1]}
    chosen = next((each for each, pair in ways.items() if fed_by(graph, *pair)), None)
    assert answer.direction == chosen
    if chosen is None:
        return
    starts, goals = ways[chosen][0], fed_by(graph, *ways[chosen])
    joined = nx.DiGraph(graph)
    joined.add_edges_from([*(("begin", start) for start in starts), *((goal, "end") for goal in goals)])
    expected = list(islice(nx.shortest_simple_paths(joined, "begin", "end"), count + 1))
    found = [[int(ref.rpartition("@")[2]) for ref in way.nodes] for way in answer.ways]
    assert [len(way) + 2 for way in found] == [len(each) for each in expected[:count]]
    assert len({tuple(way) for way in found}) == len(found)
    assert all(nx.is_simple_path(graph, way) and way[0] in starts and way[-1] in goals for way in found)
    assert count == 1 or answer.whole == (len(expected) <= count)
    assert answer.between is not None
    assert answer.between.root == answer.between.nodes[0].ref == answer.nodes[0].ref == answer.ways[0].nodes[0]
    part, far = region_between(Ground(asked, at, None, FOLLOWED, frozenset()), starts, goals)
    reached = {n for n in graph if any(nx.has_path(graph, s, n) for s in starts)}
    reached &= {n for n in graph if any(nx.has_path(graph, n, goal) for goal in goals)}
    nearest = [nx.multi_source_dijkstra_path_length(graph, starts, weight=lambda *_: 1)]
    nearest.append(nx.multi_source_dijkstra_path_length(graph.reverse(), goals, weight=lambda *_: 1))
    assert part.distance == {node: nearest[0][node] for node in reached}
    lengths = {node: nearest[1][node] for node in reached}
    assert dict(zip(part.nodes.tolist(), far.tolist(), strict=True)) == lengths
    assert {(c, p) for c, p, _ in part.edges} == {(c, p) for c, p in usable if c in reached and p in reached}


def fed_by(graph: Any, starts: set[int], goals: set[int]) -> set[int]:
    """Those of some nodes that fed others."""
    return {goal for goal in goals if any(nx.has_path(graph, start, goal) for start in starts)}


def test_versions_of_one_step_did_not_feed_each_other(tmp_path: Path) -> None:
    """Neither is the one a way to the other, nor the beginning of a way that begins at the other.

    The ways to what fed them all are one from each, and the first line tells where they begin.
    """
    with Job(tmp_path / "logs", 3) as job:
        for rank, run in enumerate(job.runs):
            part = run.data(f"part/{rank}", digest=f"x:{rank}", derived_from=run.fact("config", 1))
            run.model("net", digest=f"w:{rank}", derived_from=part)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        for ends in (("model:net", "model:net@1"), ("model:net@1", "model:net")):
            none = opened.why(*ends, paths=5, between=True)
            assert (none.direction, none.ways, none.whole) == (None, [], True)
        answer = opened.why("model:net", "fact:config", paths=10, between=True)
        assert [way.nodes[0] for way in answer.ways] == [f"model:net@{number}" for number in (1, 2, 3)]
        assert answer.whole
        assert str(answer).splitlines()[0] == "fact:config@1 fed model:net@1, model:net@2, model:net@3"
        (way,) = opened.why("model:net", "data:part/0").ways
        assert str(opened.why("model:net", "data:part/0")).startswith(f"data:part/0@1 fed {way.nodes[0]}\n")
        assert answer.between is not None
        assert answer.between.root == answer.between.nodes[0].ref
        assert len(answer.between.nodes) == 7


def test_an_edge_that_was_stated_later_is_no_way_of_before(tmp_path: Path) -> None:
    """Over the index and over the tables; the shorter way counts from when it was said."""
    with Job(tmp_path / "logs", 2) as job:
        config = job[0].fact("config", {"n": 1})
        part = job[0].data("part", digest="x:1", derived_from=config)
        job[0].model("net", digest="w:1", derived_from=part, same_on_all_ranks=True)
        job[1].model("net", digest="w:1", derived_from=config, same_on_all_ranks=True)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        times = opened.sql(
            "select epoch_ns(o.time) as t from occurrences o join versions using (id) where name = 'net' order by 1"
        )["t"]
        assert len(times) == 2
        for index in (opened.adjacency, None):
            opened.__dict__["adjacency"] = index
            assert [len(opened.why("net", "config", as_of=time).ways[0]) for time in times] == [2, 1]
            assert opened.why("net", "config", as_of=times[0], paths=5).whole
