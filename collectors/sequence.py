"""Numbers of frames: which are missing, late, or there a second time."""

from __future__ import annotations

import enum
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Missed", "Order", "Sequence"]


#: From this many frames in order on they are noted as one.
_RUN = 16


class Order(enum.IntEnum):
    """How a frame came, by its number."""

    #: After the one before it, or after some that are missing.
    NEXT = 0
    #: After a later one.
    LATE = 1
    #: Its number was there before, with other content.
    AGAIN = 2
    #: The same frame was there before.
    REPEATED = 3
    #: Numbers began anew with it.
    BACK = 4


class Missed(NamedTuple):
    """Something that is to be counted.

    Attributes
    ----------
    reason : str
        What it is.
    frames : int
        How many.
    first, last : int
        Their numbers.
    """

    reason: str
    frames: int
    first: int
    last: int


class Sequence:
    """Follows the numbers of frames; its memory is bounded.

    Parameters
    ----------
    bits : int
        Width of a number; it begins at 0 again behind the largest.
    reorder : int
        By how many frames one may come late before it counts as lost.
    remember : int
        How many of the last frames are known again.
    """

    def __init__(self, bits: int, *, reorder: int = 64, remember: int = 4096) -> None:
        self._mask = (1 << bits) - 1
        self._reorder = reorder
        self._remember = max(remember, reorder)
        self._next: int | None = None
        # By number; and of many frames in order, the first number and the sums of all, which takes less time to note.
        self._recent: dict[int, int] = {}
        self._runs: deque[tuple[int, NDArray[np.unsignedinteger]]] = deque()
        self._in_runs = 0
        self._gaps: list[tuple[int, int]] = []

    def follow(
        self, numbers: NDArray[np.unsignedinteger], checks: NDArray[np.unsignedinteger]
    ) -> tuple[NDArray[np.uint8], list[Missed]]:
        """Take the next frames.

        Parameters
        ----------
        numbers : ndarray of an unsigned dtype, shape (frames,)
            Their numbers.
        checks : ndarray of an unsigned dtype, shape (frames,)
            Their check sums, by which a frame that is sent twice is known.

        Returns
        -------
        orders : ndarray of uint8, shape (frames,)
            An :class:`Order` for each.
        missed : list of Missed
            What is lost now, or came in a way that has to be told.
        """
        orders = np.zeros(len(numbers), np.uint8)
        missed: list[Missed] = []
        if not len(numbers):
            return orders, missed
        given = numbers.astype(np.uint64)
        if int(given[0]) == self._next and bool((np.diff(given) == 1).all()):
            self._next = (int(given[-1]) + 1) & self._mask
            last = slice(-self._remember, None)
            if len(given) < _RUN:
                self._recent.update(zip(given.tolist(), checks.tolist(), strict=True))
            else:
                self._runs.append((int(given[last][0]), checks[last].copy()))
                self._in_runs += len(checks[last])
                while self._in_runs - len(self._runs[0][1]) >= self._remember:
                    self._in_runs -= len(self._runs.popleft()[1])
                if self._in_runs >= self._remember:
                    self._recent.clear()
            self._expire(missed)
        else:
            for at, (number, check) in enumerate(zip(given.tolist(), checks.tolist(), strict=True)):
                orders[at] = self._place(number, check, missed)
                if len(self._recent) > 2 * self._remember:
                    self._forget()
        if len(self._recent) > 2 * self._remember:
            self._forget()
        return orders, missed

    def finish(self) -> list[Missed]:
        """Say that no more frames come.

        Returns
        -------
        list of Missed
            What was still waited for.
        """
        gaps, self._gaps = self._gaps, []
        return [self._lost(*gap) for gap in gaps]

    def _place(self, number: int, check: int, missed: list[Missed]) -> Order:
        ahead = (number - self._next) & self._mask if self._next is not None else 0
        if ahead <= self._mask >> 1:
            if ahead:
                self._gaps.append((self._next or 0, (number - 1) & self._mask))
            self._next = (number + 1) & self._mask
            self._recent[number] = check
            self._expire(missed)
            return Order.NEXT
        known = self._check_of(number)
        if known is not None:
            if known == check:
                missed.append(Missed("frame repeated", 1, number, number))
                return Order.REPEATED
            missed.append(Missed("frame number again with other content", 1, number, number))
            return Order.AGAIN
        self._recent[number] = check
        if self._fills(number):
            return Order.LATE
        behind = self._mask + 1 - ahead
        if behind <= self._remember:
            if behind > self._reorder:
                missed.append(Missed("frame came after it was counted as lost", 1, number, number))
            return Order.LATE
        missed.append(Missed("frame numbers went back", 1, number, number))
        missed.extend(self.finish())
        self._next = (number + 1) & self._mask
        return Order.BACK

    def _check_of(self, number: int) -> int | None:
        """Return the check sum of a frame of this number, if there was one lately."""
        if number in self._recent:
            return self._recent[number]
        for first, sums in self._runs:
            if (at := (number - first) & self._mask) < len(sums):
                return int(sums[at])
        return None

    def _fills(self, number: int) -> bool:
        """Take a number out of those that are missing; whether it was among them."""
        for at, (first, last) in enumerate(self._gaps):
            size, where = (last - first) & self._mask, (number - first) & self._mask
            if where <= size:
                left = [(first, (number - 1) & self._mask)] if where else []
                right = [((number + 1) & self._mask, last)] if where < size else []
                self._gaps[at : at + 1] = left + right
                return True
        return False

    def _expire(self, missed: list[Missed]) -> None:
        """Count as lost what has been waited for long enough, and of many gaps the oldest."""
        while self._gaps:
            first, last = self._gaps[0]
            waited = ((self._next or 0) - last) & self._mask
            if waited <= self._reorder + 1 and len(self._gaps) <= self._reorder + 1:
                break
            del self._gaps[0]
            missed.append(self._lost(first, last))

    def _lost(self, first: int, last: int) -> Missed:
        return Missed("frames lost", ((last - first) & self._mask) + 1, first, last)

    def _forget(self) -> None:
        self._recent = dict(list(self._recent.items())[-self._remember :])
