"""Times of calls by classes of one per cent."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.bench.latency import PARTS, classes_of, percentiles

TIMES = st.lists(st.integers(1, 10**11), min_size=1, max_size=200)


@given(TIMES)
def test_a_percentile_is_at_most_one_per_cent_too_long(times: list[int]) -> None:
    found = percentiles(classes_of(times))
    assert list(found) == list(PARTS)
    in_order = sorted(times)
    for name, part in PARTS.items():
        exact = in_order[math.ceil(part * len(times)) - 1] / 1e3
        assert exact == pytest.approx(found[name], rel=0.0101)
        assert found[name] >= exact * (1 - 1e-9)


@given(TIMES, TIMES)
def test_those_of_two_ranks_add_up(one: list[int], other: list[int]) -> None:
    assert percentiles(classes_of(one) + classes_of(other)) == percentiles(classes_of(one + other))


def test_no_call_has_no_percentile() -> None:
    assert percentiles(Counter()) == {}
