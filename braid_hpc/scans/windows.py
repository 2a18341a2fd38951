"""Ranges of sequence numbers that have so many events that they can be held at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braid_hpc.scans.events import Events

__all__ = ["Window", "find_windows"]

#: Ranges that are counted at once.
BUCKETS = 4096

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Window:
    """A range of sequence numbers.

    Attributes
    ----------
    low, high : int or None
        First and last; None for events that have no such number.
    rows : tuple of int
        Rows of each table, as often as they were recorded.
    loose : int
        Events that stand in no table.
    """

    low: int | None
    high: int | None
    rows: tuple[int, ...]
    loose: int

    @property
    def bounds(self) -> tuple[int, int]:
        """First and last number, for a statement with :attr:`where` in it."""
        return (_LEAST if self.low is None else self.low, _MOST if self.high is None else self.high)

    @property
    def where(self) -> str:
        """What holds of its rows, in SQL with the parameters ``$low`` and ``$high``."""
        if self.low is None:
            return "seq_num is null and $low::bigint < $high::bigint"
        return "seq_num between $low::bigint and $high::bigint"

    def has(self, number: Any) -> bool:
        """Say whether an event is in it.

        Parameters
        ----------
        number : object
            Its sequence number.

        Returns
        -------
        bool
            Whether it is.
        """
        good = type(number) is int and _LEAST <= number <= _MOST
        if self.low is None or self.high is None:
            return not good
        return good and self.low <= number <= self.high


def find_windows(events: Events, most: int) -> list[Window]:
    """Return ranges of numbers with a bounded number of rows.

    Parameters
    ----------
    events : Events
        A stream.
    most : int
        Rows in each, unless more have one number.

    Returns
    -------
    list of Window
        In order; all events are in them.
    """
    numbers = sorted(
        number for each in events.loose if type(number := each.get("seq_num")) is int and _LEAST <= number <= _MOST
    )
    without = len(events.loose) - len(numbers)
    nothing = [
        events.ask(f"select count(*) from {part.table.place} where {events.where} and seq_num is null")[0][0]
        for part in events.parts
    ]
    found = [Window(None, None, tuple(nothing), without)] if without or any(nothing) else []
    ends = [
        events.ask(f"select min(seq_num), max(seq_num) from {part.table.place} where {events.where}")[0]
        for part in events.parts
    ]
    first = [end[0] for end in ends if end[0] is not None] + numbers[:1]
    last = [end[1] for end in ends if end[1] is not None] + numbers[-1:]
    if not first:
        return found
    return found + list(_split(events, numbers, min(first), max(last), most))


def _split(events: Events, numbers: list[int], low: int, high: int, most: int) -> list[Window]:
    import bisect

    width = -(-(high - low + 1) // BUCKETS)
    counts: dict[int, list[int]] = {}
    parts = len(events.parts)
    for at, part in enumerate(events.parts):
        rows = events.ask(
            f"select ((seq_num::hugeint - $low::hugeint) // $width::hugeint)::bigint as bucket, count(*) "
            f"from {part.table.place} where {events.where} and seq_num between $low and $high group by bucket",
            {"low": low, "high": high, "width": width},
        )
        for bucket, count in rows:
            counts.setdefault(bucket, [0] * parts)[at] += count
    mine = numbers[bisect.bisect_left(numbers, low) : bisect.bisect_right(numbers, high)]
    loose: dict[int, int] = {}
    for number in mine:
        loose[(number - low) // width] = loose.get((number - low) // width, 0) + 1
    found: list[Window] = []
    open_: list[int] = []
    for bucket in sorted({*counts, *loose}):
        total = sum(counts.get(bucket, ())) + loose.get(bucket, 0)
        if total > most and width > 1:
            found += _joined(open_, counts, loose, low, width, high, parts)
            open_ = []
            start = low + bucket * width
            found += _split(events, numbers, start, min(high, start + width - 1), most)
            continue
        if open_ and total + sum(sum(counts.get(b, ())) + loose.get(b, 0) for b in open_) > most:
            found += _joined(open_, counts, loose, low, width, high, parts)
            open_ = []
        open_.append(bucket)
    return found + _joined(open_, counts, loose, low, width, high, parts)


def _joined(
    buckets: list[int],
    counts: dict[int, list[int]],
    loose: dict[int, int],
    low: int,
    width: int,
    high: int,
    parts: int,
) -> list[Window]:
    if not buckets:
        return []
    rows = tuple(sum(counts.get(bucket, [0] * parts)[at] for bucket in buckets) for at in range(parts))
    last = min(high, low + (buckets[-1] + 1) * width - 1)
    return [Window(low + buckets[0] * width, last, rows, sum(loose.get(bucket, 0) for bucket in buckets))]
