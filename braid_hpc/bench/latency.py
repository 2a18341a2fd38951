"""How long calls took: counted by classes of one per cent, so that those of many ranks add up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["PARTS", "classes_of", "percentiles"]

#: Which part of the calls took no longer, by its name.
PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999, "max": 1.0}

_STEP = math.log(1.01)


def classes_of(durations: Iterable[int]) -> Counter[int]:
    """Count durations by classes, each of which ends one per cent above the one before.

    Parameters
    ----------
    durations : iterable of int
        In nanoseconds.

    Returns
    -------
    Counter of int
        How many are in each class, by its number; what is below a nanosecond counts as one.
    """
    whole = Counter(durations)
    found: Counter[int] = Counter()
    for duration, count in whole.items():
        found[math.ceil(math.log(max(duration, 1)) / _STEP)] += count
    return found


def percentiles(classes: Mapping[int, int]) -> dict[str, float]:
    """Return what part of the calls took no longer than what.

    Parameters
    ----------
    classes : mapping of int to int
        From :func:`classes_of`, or the sum of several.

    Returns
    -------
    dict of str to float
        Microseconds by the names in :data:`PARTS`, each the end of its class: at most one per cent too long. Empty
        without any call.
    """
    total = sum(classes.values())
    found: dict[str, float] = {}
    wanted = iter(PARTS.items())
    name, part = next(wanted)
    count = 0
    for number in sorted(classes):
        count += classes[number]
        while count >= math.ceil(part * total):
            found[name] = math.exp(number * _STEP) / 1e3
            if (following := next(wanted, None)) is None:
                return found
            name, part = following
    return found
