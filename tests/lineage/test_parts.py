"""Parts of what walks reached."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.lineage.parts import Ahead, leading_to, parted
from braid_hpc.lineage.walk import RELATION_NAMES, Walk

IDS = st.lists(st.integers(1, 60), unique=True)
EDGES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(sorted(RELATION_NAMES.values()))))


@given(IDS, IDS)
def test_two_sets_are_parted(one: list[int], other: list[int]) -> None:
    """In the order in which they are given, also where one of them is empty."""
    parts = parted(np.array(one, np.int64), np.array(other, np.int64))
    assert [part.tolist() for part in parts] == [
        [each for each in one if each not in other],
        [each for each in other if each not in one],
        [each for each in one if each in other],
    ]


def walked(edges: list[tuple[int, int, str]], start: int) -> tuple[Walk, nx.DiGraph]:
    """Walk by networkx."""
    graph = nx.DiGraph([edge[:2] for edge in edges])
    graph.add_node(start)
    distance = dict(nx.single_source_shortest_path_length(graph, start))
    return Walk.of(distance, sorted({edge for edge in edges if edge[0] in distance and edge[1] in distance})), graph


@given(EDGES, st.data())
def test_what_leads_to_a_node(edges: list[tuple[int, int, str]], data: st.DataObject) -> None:
    """With cycles, loops and several relations between two nodes."""
    found, graph = walked(edges, 5)
    goal = data.draw(st.sampled_from(found.nodes.tolist()))
    part, far = leading_to(found, [goal])
    lengths = nx.single_target_shortest_path_length(graph, goal)
    inside = {node: length for node, length in dict(lengths).items() if node in found.distance}
    assert dict(zip(part.nodes.tolist(), far.tolist(), strict=True)) == inside
    assert part.distance == {node: found.distance[node] for node in inside}
    assert sorted(part.edges) == [edge for edge in sorted(found.edges) if edge[0] in inside and edge[1] in inside]


@given(EDGES)
def test_next_nodes_are_by_id_with_the_first_relation_by_name(edges: list[tuple[int, int, str]]) -> None:
    found, _ = walked(edges, 5)
    ahead = Ahead(found)
    assert set(ahead) == set(found.distance)
    assert len(ahead) == len(found.distance)
    for node in ahead:
        expected: dict[int, str] = {}
        for _, parent, name in sorted(edge for edge in found.edges if edge[0] == node):
            expected.setdefault(parent, name)
        assert list(ahead.relations(node).items()) == list(expected.items())
        assert ahead[node] == list(expected)


def test_a_node_that_is_not_there_leads_nowhere() -> None:
    found, _ = walked([(5, 6, "used")], 5)
    assert Ahead(found)[6] == []
    assert Ahead(found).get(7, []) == []
    with pytest.raises(IndexError):
        leading_to(found, [99])
