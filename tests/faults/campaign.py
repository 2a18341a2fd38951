"""How many trials there are, and which seeds they have."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["many", "seeds", "trial"]


def many(all_of_them: int, few: int) -> int:
    """Return how many trials this run makes: all of them, some times as many as a few, or a few."""
    if os.environ.get("FAULT_SEED"):
        return 1
    wanted = os.environ.get("FAULT_TRIALS") or "1"
    if wanted == "all":
        return all_of_them
    # Limits in seconds, which are less at full length, stay what they are.
    return few if all_of_them < few else min(all_of_them, few * int(wanted))


def seeds(all_of_them: int, few: int) -> Iterator[int]:
    """Yield the seed of each trial: fresh ones each time, or the one that is to be replayed."""
    if replay := os.environ.get("FAULT_SEED"):
        yield int(replay)
        return
    start = random.SystemRandom().randrange(1 << 40)
    for number in range(many(all_of_them, few)):
        yield start + number


@contextmanager
def trial(seed: int) -> Iterator[random.Random]:
    """Give the random numbers of a trial; whatever goes wrong in it names the seed."""
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"replay this trial with FAULT_SEED={seed}")
        raise
