"""Orders of replay: each node after what fed it, on any graph."""

from __future__ import annotations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.lineage.order import in_order

EDGES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=25)


@given(edges=EDGES)
def test_each_once_after_what_fed_it_and_cycles_are_those_of_networkx(edges: list[tuple[int, int]]) -> None:
    """Outside a cycle every edge leads forward; what feeds itself is told, alone or together."""
    nodes = range(9)
    order, cycles = in_order({node: -node for node in nodes}, edges)
    assert sorted(order) == list(nodes)
    graph = nx.DiGraph([(parent, child) for child, parent in edges])
    graph.add_nodes_from(nodes)
    expected = [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]
    alone = [[child] for child, parent in edges if child == parent]
    assert sorted(cycles) == sorted([*expected, *alone])
    together = {frozenset(pair) for part in expected for pair in ((a, b) for a in part for b in part)}
    place = {node: index for index, node in enumerate(order)}
    for child, parent in edges:
        assert frozenset((child, parent)) in together or child == parent or place[parent] < place[child]


def test_of_several_that_could_be_next_the_lowest_is() -> None:
    assert in_order({1: 30, 2: 20, 3: 10, 4: 5}, [(4, 1)])[0] == [3, 2, 1, 4]
