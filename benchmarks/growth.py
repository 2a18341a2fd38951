"""How what something costs grows with its size: the slope in a plane of logarithms, with an interval, and pictures."""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from rounds import summary

#: What was measured, round by round, by the size that it was measured at.
Sizes = Mapping[int, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value, and the ends of its confidence interval of 95 %."""

    value: float
    low: float
    high: float

    def text(self, form: str = ".2f") -> str:
        """Return the value and its interval."""
        return f"{self.value:{form}} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a picture: what it is called, what was measured, and its looks."""

    title: str
    values: Sizes
    colour: str
    mark: str = "o"
    dash: str = "-"


def slope(values: Sizes, *, samples: int = 2_000) -> Interval | None:
    """Return the power with which something grows: 1 is linear, 0 is flat.

    That of the least squares through the logarithms of the medians; the interval is that of samples of the rounds with
    replacement, so it says how far the rounds differ and not whether a straight line is right. Nothing for less than
    two sizes.
    """
    known = {size: [value for value in each if value > 0] for size, each in values.items()}
    known = {size: each for size, each in known.items() if each}
    if len(known) < 2:
        return None
    generator = random.Random(1)
    medians = {size: statistics.median(each) for size, each in known.items()}
    found = sorted(
        _power({size: statistics.median(generator.choices(each, k=len(each))) for size, each in known.items()})
        for _ in range(samples)
    )
    return Interval(_power(medians), found[int(samples * 0.025)], found[int(samples * 0.975) - 1])


def _power(medians: Mapping[int, float]) -> float:
    across = [math.log(size) for size in medians]
    up = [math.log(value) for value in medians.values()]
    return statistics.linear_regression(across, up).slope


def each_costs(values: Sizes, small: int, large: int) -> float | None:
    """Return what one costs at a large size, divided by what one costs at a small one: by medians."""
    if not values.get(small) or not values.get(large) or small == large:
        return None
    one, other = (statistics.median(values[size]) / size for size in (large, small))
    return one / other


def draw_growth(axis: Any, lines: Sequence[Line], *, ideal: tuple[str, int] | None = None) -> None:
    """Draw lines with bands between the quartiles on logarithmic axes.

    `ideal` is a title and a power: a dotted line that grows like that, through the middle of the first of the lines;
    one that does not grow begins where that line begins, so that nothing is below it for having cost less at first.
    """
    axis.set_xscale("log")
    axis.set_yscale("log")
    for line in lines:
        known = [(size, found) for size, each in sorted(line.values.items()) if (found := summary(each))]
        at = [size for size, _ in known]
        style = {"color": line.colour, "marker": line.mark, "linestyle": line.dash}
        axis.plot(at, [found.median for _, found in known], markersize=5, label=line.title, **style)
        axis.fill_between(
            at,
            [found.low for _, found in known],
            [found.high for _, found in known],
            color=line.colour,
            alpha=0.18,
            lw=0,
        )
    if ideal is not None and lines and (sizes := sorted(lines[0].values)):
        title, power = ideal
        through = sizes[len(sizes) // 2] if power else sizes[0]
        value = statistics.median(lines[0].values[through])
        up = [value * (size / through) ** power for size in sizes]
        axis.plot(sizes, up, color="#555555", lw=1, linestyle=(0, (1, 1)), label=title)
    axis.grid(True, which="major", color="#dddddd", lw=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
