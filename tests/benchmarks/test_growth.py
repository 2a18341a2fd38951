"""How something grows is said as a power, with an interval."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from benchmarks.growth import Line, draw_growth, each_costs, slope


def test_the_slope_is_the_power() -> None:
    """Of rounds that are all alike there is no doubt; of rounds that differ the interval holds the power."""
    found = slope({size: [3.0 * size**1.5] * 3 for size in (10, 100, 1000)})
    assert found is not None
    assert found.value == pytest.approx(1.5)
    assert found.low == pytest.approx(found.high)
    noisy = slope({size: [size * late for late in (0.8, 1.0, 1.3)] for size in (10, 100, 1000)})
    assert noisy is not None
    assert noisy.low < 1.0 < noisy.high
    assert noisy.high - noisy.low < 0.3


def test_of_one_size_there_is_no_slope() -> None:
    assert slope({10: [1.0, 2.0], 100: []}) is None
    assert slope({}) is None


@pytest.mark.parametrize(("power", "ideal"), [(0, [1.0, 1.0, 1.0]), (1, [0.5, 5.0, 50.0])])
def test_an_ideal_that_does_not_grow_begins_where_the_line_does(power: int, ideal: list[float]) -> None:
    """Through its middle, all that was cheap at the start would lie below the ideal."""
    axis = MagicMock()
    line = Line("one", {1: [1.0], 10: [5.0], 100: [50.0]}, "#000000")
    draw_growth(axis, [line], ideal=("ideal", power))
    assert axis.plot.call_args.args[1] == pytest.approx(ideal)


def test_what_one_costs_at_two_sizes() -> None:
    assert each_costs({10: [10.0], 1000: [3000.0, 1000.0, 2000.0]}, 10, 1000) == pytest.approx(2.0)
    assert each_costs({10: [10.0]}, 10, 1000) is None
