"""Ways through a graph, against those of networkx."""

from __future__ import annotations

from itertools import islice, pairwise

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.lineage.answer import LineageEdge
from braid_hpc.lineage.witness import Witness, simple_ways

EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24)


def ahead_of(edges: list[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for child, parent in sorted(set(edges)):
        found.setdefault(child, []).append(parent)
    return found


@given(edges=EDGES, count=st.integers(1, 12))
def test_ways_are_as_long_as_those_of_networkx(edges: list[tuple[int, int]], count: int) -> None:
    """One by one, on any graph; none twice, none that meets a node twice, all there are where there are no more."""
    graph = nx.DiGraph(edges)
    graph.add_nodes_from((0, 7))
    every = nx.shortest_simple_paths(graph, 0, 7)
    expected = list(islice(every, count)) if nx.has_path(graph, 0, 7) else []
    ways, whole = simple_ways(ahead_of(edges), 0, 7, count=count)
    assert [len(way) for way in ways] == [len(way) for way in expected]
    assert whole
    assert len({tuple(way) for way in ways}) == len(ways)
    for way in ways:
        assert (way[0], way[-1]) == (0, 7)
        assert len(set(way)) == len(way)
        assert all(pair in edges for pair in pairwise(way))


def test_a_budget_that_is_used_up_is_said() -> None:
    """A ladder has more ways than anybody can list; what is given is sure to be the shortest."""
    rungs = 60
    ahead = {n: [n + 1, n + 2] for n in range(rungs)} | {rungs: [rungs + 1], rungs + 1: []}
    ways, whole = simple_ways(ahead, 0, rungs + 1, count=500, budget=20_000)
    assert not whole
    assert 0 < len(ways) < 500
    best = nx.shortest_simple_paths(nx.DiGraph((a, b) for a, near in ahead.items() for b in near), 0, rungs + 1)
    assert [len(way) for way in ways] == [len(way) for way in islice(best, len(ways))]


def test_the_text_of_a_way_is_one_line_for_each_edge() -> None:
    edges = (LineageEdge("model:a@1", 'data:"x\ny"@1', "wasDerivedFrom"),)
    assert str(Witness(("model:a@1", 'data:"x\ny"@1'), edges)) == 'model:a@1\n  derived from data:"x⏎y"@1'
    assert Witness(("a",), ())
    assert len(Witness(("a",), ())) == 0
