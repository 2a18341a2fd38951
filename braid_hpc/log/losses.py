"""What a log counts while it has no room: how many events, from when to when, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.layout import TailHeader
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.payloads import Loss

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_TAIL", "RETRY_NS", "Losses", "NoTail"]

#: After a refusal by the file system it is asked again this much later (ns), not at every event.
RETRY_NS = 1_000_000_000


class Losses:
    """Events that could not be stored and that no ``LOSS`` row tells of yet.

    Attributes
    ----------
    count : int
        How many.
    first, last : int
        When the first and the last one was lost, CLOCK_MONOTONIC ns.
    reason : str
        Why the last one was.
    owed : list of tuple
        Rows among them that later rows need (texts, streams): they are stored when there is room again.
    """

    __slots__ = ("count", "first", "last", "owed", "reason")

    def __init__(self) -> None:
        self.count = self.first = self.last = 0
        self.reason = ""
        self.owed: list[tuple[Any, ...]] = []

    def add(self, now: int, count: int = 1) -> None:
        """Count events that are lost at `now`."""
        # No call in these lines, see braid_hpc.log.tail: threads that lose events at once are all counted.
        if not self.count:
            self.first = now
        self.count += count
        self.last = now

    def tell(self, append: Callable[..., int]) -> None:
        """Record the loss as an event of its own, and what every reader needs of it, now that there is room again.

        Parameters
        ----------
        append : callable
            Takes the seven arguments of :meth:`braid_hpc.log.tail.Tail.append`.
        """
        count, first, last, reason = self.count, self.first, self.last, self.reason
        self.count = 0
        if not count:
            return
        owed, self.owed = self.owed, []
        loss = (Code.LOSS, 0, count, 0, 0, 0, encode(Loss(count, first, last, reason)))
        told = []
        for row in (*owed, loss):
            try:
                if append(*row):
                    told.append(row)
            except (OSError, ValueError):
                # There is no room after all, and nothing else is different from before.
                break
        if loss not in told:
            self.owed = [row for row in owed if row not in told] + self.owed
            self.first = first
            self.count += count

    def forget(self) -> None:
        """Begin anew, in a forked child: what the parent lost, the parent tells."""
        self.count = 0
        self.owed = []


class NoTail:
    """Stands where there is no tail: nothing fits, so that :meth:`RankLog.append` takes its long way."""

    path = Path(os.devnull)
    header = TailHeader(bytes(16), 0, 1, 0, 0, 0)
    fill = 1.0
    last = 0
    settled = True
    _first = 1
    _next = 1 << 62

    def append(self, code: int, name: int, subject: int, object: int, other: int, flags: int, payload: bytes) -> int:
        """Return 0."""
        return 0

    def note_loss(self, count: int, first: int, last: int) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


NO_TAIL = NoTail()
