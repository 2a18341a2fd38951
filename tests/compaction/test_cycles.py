"""Finding cycles, and which of some edges close one."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.compaction.cycles import closing, components

EDGES = st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg")), max_size=20)


def reaches(edges: list[tuple[str, str]], start: str, goal: str) -> bool:
    """Whether there is a way of at least one edge; by trying all of them."""
    above = defaultdict(set)
    for child, parent in edges:
        above[child].add(parent)
    seen: set[str] = set()
    work = [start]
    while work:
        for parent in above[work.pop()]:
            if parent == goal:
                return True
            if parent not in seen:
                seen.add(parent)
                work.append(parent)
    return False


@given(EDGES)
def test_components_are_the_nodes_that_reach_themselves(edges: list[tuple[str, str]]) -> None:
    """Checked against trying every way; nodes of one component reach each other, of two they do not."""
    found = components(edges)
    assert set(found) == {node for node in "abcdefg" if reaches(edges, node, node)}
    for one in found:
        for other in found:
            together = one == other or (reaches(edges, one, other) and reaches(edges, other, one))
            assert (found[one] == found[other]) == together


@given(EDGES, EDGES)
def test_what_is_left_has_no_cycle_and_nothing_was_left_out_for_nothing(
    firm: list[tuple[str, str]], offered: list[tuple[str, str]]
) -> None:
    """Edges are taken in order: one is refused exactly if it closes a cycle with the firm ones and those before it."""
    if components(firm):
        firm = []
    refused = set(closing(firm, [(*edge, number) for number, edge in enumerate(offered)]))
    kept = list(firm)
    for number, (child, parent) in enumerate(offered):
        closes = child == parent or reaches(kept, parent, child)
        assert (number in refused) == closes
        if not closes:
            kept.append((child, parent))
    assert not components(kept)


@pytest.mark.slow
def test_a_long_chain_needs_no_deep_stack() -> None:
    """A hundred thousand versions, the last of which would be the first one's parent."""
    chain = [(str(n + 1), str(n)) for n in range(100_000)]
    assert not components(chain)
    assert closing(chain, [("0", "100000", "last")]) == ["last"]
