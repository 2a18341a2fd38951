"""Pairs of rows as ranges of pairs: the fewer, the more rule there is in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braid_hpc.reading.events import Array

__all__ = ["Segments", "as_segments"]


@dataclass(frozen=True, slots=True)
class Segments:
    """Ranges of pairs: pair k of a range is its first one and k times how far each of the two goes.

    Attributes
    ----------
    child_first, child_last, parent_first, parent_last : numpy.ndarray
        int64 of shape (n,). The last ones are not below the first ones.
    count : numpy.ndarray
        int64 of shape (n,): pairs of each range, from 1.
    """

    child_first: Array
    child_last: Array
    parent_first: Array
    parent_last: Array
    count: Array

    def __len__(self) -> int:
        """Return how many ranges there are."""
        return len(self.count)

    @classmethod
    def of_range(cls, child: tuple[int, int], parent: tuple[int, int], count: int) -> Segments:
        """Return one range.

        Parameters
        ----------
        child, parent : (int, int)
            First row, and how far each following one is.
        count : int
            Pairs.

        Returns
        -------
        Segments
            Of length 1.
        """
        ends = [end for first, step in (child, parent) for end in (first, first + step * (count - 1))]
        return cls(*(np.array([number], np.int64) for number in (*ends, count)))


def as_segments(child: Array, parent: Array) -> Segments:
    """Return pairs as ranges, in the order of their children.

    Within a range both rows go on by the same, and none by more than 1; or all pairs are one range.

    Parameters
    ----------
    child, parent : numpy.ndarray
        int64 of shape (n,), in any order.

    Returns
    -------
    Segments
        Every pair once for each time that it was given.
    """
    child_step, parent_step = np.diff(child), np.diff(parent)
    if bool((child_step < 0).any()):
        child, parent = _sorted(child, parent)
        child_step, parent_step = np.diff(child), np.diff(parent)
    count = len(child)
    if count > 1 and parent_step[0] >= 0 and all(bool((each == each[0]).all()) for each in (child_step, parent_step)):
        steps = int(child_step[0]), int(parent_step[0])
        return Segments.of_range((int(child[0]), steps[0]), (int(parent[0]), steps[1]), count)
    begin, end = _runs(child_step, parent_step, count)
    return Segments(child[begin], child[end], parent[begin], parent[end], end - begin + 1)


def _runs(child_step: Array, parent_step: Array, count: int) -> tuple[Array, Array]:
    """Return the first and the last pair of each range, from left to right, each as long as it can be."""
    if count < 2:
        return np.arange(count), np.arange(count)
    allowed = (child_step <= 1) & (parent_step >= 0) & (parent_step <= 1)
    # By how far both go; a pair behind which neither of these holds stands alone.
    rule = np.where(allowed, 2 * child_step + parent_step, -1)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(rule)) + 1])
    lengths = np.diff(np.append(starts, count - 1))
    ruled = rule[starts] >= 0
    begin = starts + _taken(lengths, ruled)
    end = starts + lengths
    whole = ruled & (begin < end)
    begin, end = begin[whole], end[whole]
    inside = np.zeros(count + 1, np.int64)
    # No two of them begin, or end, at one place.
    inside[begin] += 1
    inside[end + 1] -= 1
    alone = np.flatnonzero(np.cumsum(inside)[:count] == 0)
    begin, end = np.concatenate([begin, alone]), np.concatenate([end, alone])
    order = np.argsort(begin, kind="stable")
    return begin[order], end[order]


def _taken(lengths: Array, ruled: Array) -> Array:
    """Return 1 for each run whose first pair the run before it has taken, else 0.

    Two runs share the pair between them. A run of one step whose first pair is taken is none, and leaves its last pair
    to the next one: so a row of such runs takes turns, until a longer one, or one without a rule.
    """
    turns = ruled & (lengths == 1)
    # What the run before it leaves to each: 1 behind a longer one, 0 at the beginning and behind one without a rule.
    after = (ruled & ~turns).astype(np.int64)
    places = np.arange(len(lengths))
    last = np.maximum.accumulate(np.where(turns, -1, places))
    since = np.where(last >= 0, places - last, places + 1)
    left = (np.where(last >= 0, after[last], 0) + np.where(turns, since, 0)) % 2
    left = np.where(turns, left, after)
    return np.concatenate([[0], left[:-1]])


def _sorted(child: Array, parent: Array) -> tuple[Array, Array]:
    """Return pairs in order."""
    low, width = int(parent.min()), int(np.ptp(parent)).bit_length()
    if (int(child.max()) << width) >> 62:
        order = np.lexsort((parent, child))
        return child[order], parent[order]
    # Both as one number, which is sorted many times faster than an order is found.
    both = np.sort((child << width) | (parent - low))
    return both >> width, (both & ((1 << width) - 1)) + low
