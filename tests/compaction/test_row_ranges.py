"""Pairs of rows as ranges: every pair is there as often as it was given, and rules are found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.compaction.row_ranges import Segments, as_segments

#: Rows that follow each other, stand still, and jump; and some that no two of them fit into one number.
ROWS = st.one_of(st.integers(0, 4), st.integers(0, 30), st.sampled_from([0, 1, 2**40, 2**61, 2**62, 2**63 - 1]))


def pairs(ranges: Segments) -> list[tuple[int, int]]:
    """Give the pairs of ranges, one by one."""
    found: list[tuple[int, int]] = []
    names = ("child_first", "child_last", "parent_first", "parent_last", "count")
    for first, last, above, top, count in zip(*(getattr(ranges, name).tolist() for name in names), strict=True):
        assert first <= last
        assert above <= top
        steps = max(count - 1, 1)
        assert (last - first) % steps == (top - above) % steps == 0
        found.extend(
            (first + k * ((last - first) // steps), above + k * ((top - above) // steps)) for k in range(count)
        )
    return found


@given(st.lists(st.tuples(ROWS, ROWS)), st.booleans())
def test_every_pair_is_there(given_pairs: list[tuple[int, int]], ordered: bool) -> None:
    """As often as it was given, whatever their order, and the ranges are in the order of their children."""
    if ordered:
        given_pairs.sort()
    child, parent = (np.array([pair[side] for pair in given_pairs], np.int64) for side in (0, 1))
    found = as_segments(child, parent)
    assert Counter(pairs(found)) == Counter(given_pairs)
    assert (np.diff(found.child_first) >= 0).all()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=60))
def test_walks_of_small_steps(steps: list[tuple[int, int]]) -> None:
    """Runs of one step and of many, next to each other in any order: none takes or leaves a pair of its neighbour's."""
    given_pairs = np.cumsum([(0, 0), *steps], axis=0)
    found = as_segments(given_pairs[:, 0].copy(), given_pairs[:, 1].copy())
    assert Counter(pairs(found)) == Counter(map(tuple, given_pairs.tolist()))


@pytest.mark.parametrize(
    ("child", "parent", "ranges"),
    [
        (np.arange(1000), np.arange(1000), 1),
        (np.arange(1000), 10 * np.arange(1000), 1),
        (np.arange(1000)[::-1], np.arange(1000)[::-1], 1),
        (np.arange(1000), np.arange(1000) // 10, 100),
        (np.arange(1000) // 10, np.arange(1000), 100),
        (np.arange(1000), np.arange(1000) // 2, 500),
        (np.arange(1000), np.concatenate([np.arange(500), np.arange(500)]), 2),
        (np.arange(1000), np.arange(1000)[::-1], 1000),
        (np.array([7]), np.array([3]), 1),
        (np.array([], np.int64), np.array([], np.int64), 0),
    ],
)
def test_rules_are_found(child: np.ndarray, parent: np.ndarray, ranges: int) -> None:
    """One to one, strides, many to one and one to many take a range for each run."""
    assert len(as_segments(child, parent)) == ranges
