"""Sets of sequences as ranges: a log of any length is a few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braid_hpc.reading.events import Array

__all__ = ["Ranges"]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ascending ranges that neither meet nor overlap.

    Attributes
    ----------
    first, after : numpy.ndarray
        int64; each range is from `first` to before `after`.
    """

    first: Array
    after: Array

    @classmethod
    def none(cls) -> Ranges:
        """Return no ranges.

        Returns
        -------
        Ranges
            Empty.
        """
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def span(cls, first: int, after: int) -> Ranges:
        """Return one range.

        Parameters
        ----------
        first, after : int
            From the one to before the other.

        Returns
        -------
        Ranges
            Empty if there is nothing in between.
        """
        if after <= first:
            return cls.none()
        return cls(np.array([first], np.int64), np.array([after], np.int64))

    @classmethod
    def of(cls, numbers: Array) -> Ranges:
        """Return the ranges that numbers make.

        Parameters
        ----------
        numbers : numpy.ndarray
            Integers, ascending, each once.

        Returns
        -------
        Ranges
            Of exactly these.
        """
        numbers = numbers.astype(np.int64, copy=False)
        if not len(numbers):
            return cls.none()
        if int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1:
            return cls.span(int(numbers[0]), int(numbers[-1]) + 1)
        breaks = np.flatnonzero(np.diff(numbers) != 1)
        return cls(numbers[np.concatenate([[0], breaks + 1])], numbers[np.concatenate([breaks, [-1]])] + 1)

    @classmethod
    def unflat(cls, numbers: list[int]) -> Ranges:
        """Return the ranges that :meth:`flat` gave.

        Parameters
        ----------
        numbers : list of int
            First and last of each.

        Returns
        -------
        Ranges
            These.
        """
        return cls(np.array(numbers[::2], np.int64), np.array(numbers[1::2], np.int64) + 1)

    def flat(self) -> list[int]:
        """Return first and last of each range, one behind the other, as they stand in files.

        Returns
        -------
        list of int
            Twice as many as there are ranges.
        """
        pairs = zip(self.first.tolist(), (self.after - 1).tolist(), strict=True)
        return [number for pair in pairs for number in pair]

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return int((self.after - self.first).sum())

    @property
    def last(self) -> int:
        """The highest number; 0 if there is none."""
        return int(self.after[-1]) - 1 if len(self.after) else 0

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(len(self.first))

    def __contains__(self, number: int) -> bool:
        """Return whether a number is one of these."""
        at = int(np.searchsorted(self.first, number, side="right")) - 1
        return at >= 0 and number < int(self.after[at])

    def __or__(self, other: Ranges) -> Ranges:
        """Return what is in either."""
        if not self or not other:
            return self or other
        first = np.concatenate([self.first, other.first])
        order = np.argsort(first, kind="stable")
        first, after = first[order], np.maximum.accumulate(np.concatenate([self.after, other.after])[order])
        apart = first[1:] > after[:-1]
        return Ranges(first[np.concatenate([[True], apart])], after[np.concatenate([apart, [True]])])

    def __and__(self, other: Ranges) -> Ranges:
        """Return what is in both."""
        if not self or not other:
            return Ranges.none()
        if len(self.first) == len(other.first) == 1:
            # As in most logs: what follows takes as long as reading a small one.
            return Ranges.span(
                max(int(self.first[0]), int(other.first[0])), min(int(self.after[0]), int(other.after[0]))
            )
        bounds = np.concatenate([self.first, other.first, self.after, other.after])
        steps = np.ones(len(bounds), np.int64)
        steps[len(bounds) // 2 :] = -1
        # Of equal bounds the ends come first, so that ranges which only meet have nothing in common.
        order = np.lexsort((steps, bounds))
        bounds, depth = bounds[order], np.cumsum(steps[order])
        inside = np.flatnonzero((depth[:-1] == 2) & (bounds[1:] > bounds[:-1]))
        return Ranges(bounds[inside], bounds[inside + 1])

    def __sub__(self, other: Ranges) -> Ranges:
        """Return what is here and not there."""
        if (
            not self
            or not other
            or int(other.first[0]) >= int(self.after[-1])
            or int(other.after[-1]) <= int(self.first[0])
        ):
            return self
        low, high = int(self.first[0]), int(self.after[-1])
        first = np.concatenate([[min(low, int(other.first[0]))], other.after])
        after = np.concatenate([other.first, [max(high, int(other.after[-1]))]])
        some = after > first
        return self & Ranges(first[some], after[some])

    def mask(self, numbers: Array) -> Array:
        """Return which of some numbers are among these.

        Parameters
        ----------
        numbers : numpy.ndarray
            Integers, ascending.

        Returns
        -------
        numpy.ndarray
            bool, of the same length.
        """
        found = np.zeros(len(numbers), bool)
        if not len(numbers) or not self:
            return found
        if len(self.first) == 1 and int(self.first[0]) <= int(numbers[0]) and int(numbers[-1]) < int(self.after[0]):
            found[:] = True
            return found
        numbers = numbers.astype(np.int64, copy=False)
        near = slice(
            int(np.searchsorted(self.after, numbers[0], side="right")),
            int(np.searchsorted(self.first, numbers[-1], side="right")),
        )
        starts = np.searchsorted(numbers, self.first[near])
        ends = np.searchsorted(numbers, self.after[near])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            found[start:end] = True
        return found

    def numbers(self) -> Array:
        """Return every number.

        Returns
        -------
        numpy.ndarray
            int64, ascending; as many as :attr:`count`.
        """
        lengths = self.after - self.first
        begins = np.repeat(self.first - np.cumsum(lengths) + lengths, lengths)
        return np.asarray(begins + np.arange(len(begins)))
