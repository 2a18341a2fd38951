"""Sets of sequences as ranges behave as sets do."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.reading.ranges import Ranges

NUMBERS = st.sets(st.integers(0, 40))


def ranges(numbers: set[int]) -> Ranges:
    return Ranges.of(np.array(sorted(numbers), np.int64))


@given(NUMBERS, NUMBERS)
def test_they_are_what_sets_are(one: set[int], other: set[int]) -> None:
    """Union, intersection, difference, count, the last one, and each single number."""
    a, b = ranges(one), ranges(other)
    for found, wanted in (((a | b), one | other), ((a & b), one & other), ((a - b), one - other), (a, one)):
        assert found.numbers().tolist() == sorted(wanted)
        assert found.count == len(wanted)
        assert bool(found) == bool(wanted)
        assert found.last == max(wanted, default=0)
        assert [number for number in range(-1, 43) if number in found] == sorted(wanted)


@given(NUMBERS, NUMBERS)
def test_they_neither_meet_nor_overlap(one: set[int], other: set[int]) -> None:
    for found in (ranges(one) | ranges(other), ranges(one) & ranges(other), ranges(one) - ranges(other)):
        assert (found.after > found.first).all()
        assert (found.first[1:] > found.after[:-1]).all()


@given(NUMBERS, NUMBERS)
def test_a_mask_says_which_are_among_them(one: set[int], asked: set[int]) -> None:
    numbers = np.array(sorted(asked), np.uint64)
    assert ranges(one).mask(numbers).tolist() == [number in one for number in sorted(asked)]


def test_a_span_without_anything_in_it_is_none() -> None:
    assert not Ranges.span(5, 5)
    assert Ranges.span(5, 7).numbers().tolist() == [5, 6]
