"""What a collector could not take: counted by reason, with ranges, told once, kept in a stream of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from braid_hpc.run.guard import passes, shown, tell

if TYPE_CHECKING:
    from types import TracebackType

    from braid_hpc.run.recorder import Run

__all__ = ["COLUMNS", "RANGES", "REASONS", "STREAM", "Collecting", "Losses"]

#: The stream that all collectors keep their losses in.
STREAM = "collector_losses"
#: Its columns. `first` and `last` are positions, of the kind that `unit` names; null where there are none.
COLUMNS = {
    "collector": "text",
    "source": "text",
    "reason": "text",
    "unit": "text",
    "count": "uint64",
    "first": "uint64",
    "last": "uint64",
    "ranges": "uint64",
    "note": "text",
}
#: Ranges of one reason that are kept apart between two writes; what comes after them is joined into the last one.
RANGES = 64
#: Reasons that are counted apart; what comes after them is counted as ``other``.
REASONS = 64

_LARGEST = 2**64 - 1


@dataclass(slots=True)
class _Range:
    """What was lost of one kind, in one row."""

    unit: str
    count: int
    first: int | None
    last: int | None
    note: str
    ranges: int = 1


class Losses:
    """What one collector could not take.

    Each reason is counted; the first loss is told in one line on the error output, and the rows of the stream
    :data:`STREAM` say what was lost and where. Nothing in here raises, and its memory is bounded.

    Parameters
    ----------
    run : Run
        Where the rows go.
    collector : str
        Name of the collector.
    source : str
        What it collects from, where a run may have several.
    """

    def __init__(self, run: Run, collector: str, *, source: str = "") -> None:
        self._run = run
        self._collector = collector
        self._source = source
        self._counts: dict[str, int] = {}
        self._pending: dict[str, list[_Range]] = {}

    def __bool__(self) -> bool:
        """Whether anything was lost."""
        return bool(self._counts)

    @property
    def counts(self) -> dict[str, int]:
        """How much was lost, by reason."""
        return dict(self._counts)

    @property
    def total(self) -> int:
        """How much was lost, for whatever reason."""
        return sum(self._counts.values())

    def count(
        self,
        reason: str,
        amount: int = 1,
        *,
        unit: str = "",
        first: int | None = None,
        last: int | None = None,
        note: str = "",
    ) -> None:
        """Count something that was lost; :meth:`write` records it.

        Parameters
        ----------
        reason : str
            One of a few words: losses are added up by it.
        amount : int
            How much; nothing below one is counted.
        unit : str
            What `first` and `last` number: frames, bytes, documents. Part of what a loss is, as `reason` is.
        first, last : int, optional
            Where, from 0; `last` is that of `first` if it is not given. Ranges that touch become one.
        note : str
            More of it, for people; that of the first loss of a range is kept.
        """
        if amount < 1:
            return
        if not self._counts:
            where = f" of {self._source}" if self._source else ""
            what = f"{reason}{_place(unit, first)}{f': {note}' if note else ''}"
            tell(f"collector {self._collector}{where}: {what} (counted from now on, in the stream {STREAM})")
        reason = reason[:120]
        if reason not in self._counts and len(self._counts) >= REASONS:
            reason = "other"
        self._counts[reason] = self._counts.get(reason, 0) + amount
        first, last = _clipped(first), _clipped(first if last is None else last)
        ranges = self._pending.setdefault(reason, [])
        if ranges and _joins(ranges[-1], unit, first, last):
            held = ranges[-1]
            held.count += amount
            held.last = last
        elif len(ranges) < RANGES:
            ranges.append(_Range(unit, amount, first, last, note[:300]))
        else:
            held = ranges[-1]
            held.count += amount
            held.ranges += 1
            held.first = min((at for at in (held.first, first) if at is not None), default=None)
            held.last = max((at for at in (held.last, last) if at is not None), default=None)

    def write(self) -> None:
        """Record what was counted since the last time: at most :data:`RANGES` rows for each reason."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        stream = self._run.stream(STREAM, COLUMNS)
        for reason, ranges in pending.items():
            for one in ranges:
                places = (one.first, one.last, min(one.ranges, _LARGEST))
                count = min(one.count, _LARGEST)
                stream.append(self._collector, self._source, reason, one.unit, count, *places, one.note)


class Collecting:
    """What most collectors derive from: it knows its run, counts what it refuses, and can be closed once.

    A method of it that takes something is decorated with :func:`braid_hpc.run.guard.recording`: what it raises is
    counted as ``refused``, unless ``BRAID_STRICT=1`` asks for exceptions. Damage that can be expected in what is
    collected is no exception: it is counted, strict or not.

    Parameters
    ----------
    run : Run
        Where events go.
    name : str
        Name of the collector, in messages and in the stream of losses.
    source : str
        What it collects from, where a run may have several.
    """

    def __init__(self, run: Run, name: str, *, source: str = "") -> None:
        self._run = run
        self._closed = False
        self._losses = Losses(run, name, source=source)

    @property
    def run(self) -> Run:
        """The run that it records in."""
        return self._run

    @property
    def losses(self) -> Losses:
        """What it could not take."""
        return self._losses

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        """Count a call that could not be taken."""
        self._losses.count("refused", note=f"{call}({given[:60]}): {type(error).__name__}: {error}")
        self._losses.write()
        return None

    def _finish(self) -> None:
        """Record what is still held; called once, by :meth:`close`."""

    def close(self) -> None:
        """Record what is still held; harmless a second time, and when the run has ended."""
        if self._closed:
            return
        self._closed = True
        try:
            self._finish()
            self._losses.write()
        except Exception as error:
            if passes(error):
                raise
            self._refused("close", error, "")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; an exception goes on."""
        self.close()

    def __repr__(self) -> str:
        """Return what it is, and how much it lost."""
        return f"<{type(self).__name__} of {shown(self._losses._source)}: {self._losses.total} lost>"


def _place(unit: str, first: int | None) -> str:
    return "" if first is None else f" at {unit} {first}" if unit else f" at {first}"


def _clipped(place: int | None) -> int | None:
    return None if place is None else max(0, min(int(place), _LARGEST))


def _joins(held: _Range, unit: str, first: int | None, last: int | None) -> bool:
    """Whether a loss goes on where the one before it ended, or neither of them has a place."""
    if held.unit != unit or held.ranges > 1:
        return False
    if first is None or held.last is None or last is None:
        return first is None and held.last is None
    return held.last + 1 == first and last >= first
