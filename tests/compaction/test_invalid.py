"""Which executions do not hold: statements are followed together where that is the same."""

from __future__ import annotations

from braid_hpc.compaction.invalid import _together
from braid_hpc.vocabulary.barriers import Barriers


def test_statements_that_say_the_same_are_followed_once() -> None:
    """A denial makes one for each thing that was made; a walk for each would take a merge hours."""
    denied = [(f"{number:04x}", number, "denied", True) for number in range(1000)]
    other = [("ffff", 2000, "a bad scan", True), ("fffe", 2001, "a bad scan", False)]
    said = list(_together([*denied, *other], Barriers([(1, "0001"), (7, "ffff")])))
    assert [(about, len(roots)) for about, roots in said] == [
        (("denied", True, frozenset()), 999),
        (("a bad scan", True, frozenset({7})), 1),
        (("a bad scan", False, frozenset()), 1),
    ]
    assert 1 not in said[0][1]
