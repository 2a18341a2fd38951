"""The closure of a graph, compiled, against its plain twin and the walk by levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.kernels import closure as module
from braid_hpc.kernels.closure import NOTHING_OVER, PAGE_BITS, Over, Rows, closure, closure_slow
from braid_hpc.lineage.walk import closure_by_level, mark_seen
from braid_hpc.snapshots.halves import Half


def rows_of(edges: list[tuple[int, int, int]], nodes: int) -> Rows:
    """Compressed rows of (near, far, mark)."""
    ordered = sorted(edges)
    counts = np.bincount([near for near, *_ in ordered], minlength=nodes) if ordered else np.zeros(nodes, np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
    far = np.array([far for _, far, _ in ordered], np.uint32)
    return Rows(offsets, far, np.array([mark for *_, mark in ordered], np.uint16), NOTHING_OVER)


#: By node: whether a row stands for all below it, and its edges (far, mark). Nodes from 9 on have no row in the graph.
Layer = dict[int, tuple[bool, list[tuple[int, int]]]]
LAYERS = st.lists(
    st.dictionaries(
        st.integers(0, 11),
        st.tuples(st.booleans(), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2)), max_size=4)),
        max_size=5,
    ),
    max_size=3,
)


def over_of(layers: list[Layer]) -> Over:
    """Layers as arrays."""
    if not layers:
        return NOTHING_OVER
    assert 1 << PAGE_BITS > 11
    pages: list[list[int]] = []
    near: list[int] = []
    instead: list[bool] = []
    offsets, far, mark = [0], list[int](), list[int]()
    for layer in layers:
        first = len(near)
        for node, (stands, edges) in sorted(layer.items()):
            near.append(node)
            instead.append(stands)
            far.extend(there for there, _ in edges)
            mark.extend(what for _, what in edges)
            offsets.append(len(far))
        pages.append([first, len(near)])
    numbers = [np.array(each, np.uint32) for each in (pages, near, offsets, far, mark)]
    flags = np.array(instead, np.uint8)
    flags.flags.writeable = False
    for each in numbers:
        each.flags.writeable = False
    return Over(numbers[0], numbers[1], flags, *numbers[2:])


@pytest.mark.slow
@settings(deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 2)), max_size=40),
    layers=LAYERS,
    starts=st.lists(st.integers(0, 11), max_size=3, unique=True),
    allowed=st.lists(st.booleans(), min_size=3, max_size=3),
    depth=st.integers(0, 10),
    closed=st.lists(st.integers(0, 8), max_size=4),
    room=st.sampled_from([1, 4, 1 << 15]),
)
def test_all_three_reach_the_same_nodes_over_as_many_edges(
    edges: list[tuple[int, int, int]],
    layers: list[Layer],
    starts: list[int],
    allowed: list[bool],
    depth: int,
    closed: list[int],
    room: int,
) -> None:
    """On any graph, cycles, layers and closed nodes included; what was reached is marked as seen.

    However little room there is at first.
    """
    rows = rows_of(edges, 9)._replace(over=over_of(layers))
    marks, begin = np.array(allowed, np.uint8), np.array(starts, np.int64)
    seen = np.zeros(2, np.uint8)
    mark_seen(seen, np.array(closed, np.int64))
    slow = closure_slow(rows, marks, begin, depth=depth, seen=seen.copy())
    used = seen.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROOM", room)
        fast = closure(rows, marks, begin, depth=depth, seen=used)
    assert [each.tolist() for each in fast] == [each.tolist() for each in slow]
    assert np.flatnonzero(np.unpackbits(used, bitorder="little")).tolist() == sorted({*closed, *fast[0].tolist()})
    half = Half(rows, np.zeros((len(marks), 4), np.uint32), None)
    levels = closure_by_level(half, marks, begin, depth=depth, seen=seen.copy())
    assert dict(zip(*(each.tolist() for each in levels), strict=True)) == dict(
        zip(*(each.tolist() for each in slow), strict=True)
    )


def test_a_chain_of_a_million_is_walked_to_its_end() -> None:
    """Deeper than any stack."""
    nodes = 1_000_000
    offsets = np.minimum(np.arange(nodes + 1), nodes - 1).astype(np.uint32)
    rows = Rows(offsets, np.arange(1, nodes, dtype=np.uint32), np.zeros(nodes - 1, np.uint16), NOTHING_OVER)
    seen = np.zeros(nodes // 8 + 1, np.uint8)
    reached, distance = closure(rows, np.array([1], np.uint8), np.array([0]), depth=nodes, seen=seen)
    assert len(reached) == nodes
    assert distance[-1] == nodes - 1
