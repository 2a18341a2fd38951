"""A writer's whole log: header, sealed batches and tails put together, and its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braid_hpc.reading.events import Array, Events
from braid_hpc.reading.parts import Part
from braid_hpc.reading.process import ProcessEnd
from braid_hpc.reading.ranges import Ranges
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.payloads import Close

__all__ = ["WriterLog"]


@dataclass(slots=True)
class WriterLog:
    """All that can be told of one writer.

    Rows are read part by part when they are asked for; they are not kept.

    Attributes
    ----------
    directory : Path
        Where it lies.
    writer : str
        Its id, 32 hexadecimal digits.
    header : dict
        What ``header.json`` says; empty if it is missing.
    parts : list of Part
        Tails and sealed batches, in order.
    ranges : Ranges
        The sequences of every row that verifies.
    notes : Events
        The rows that tell of the log itself: clock pairs, losses, its end.
    state : WriterState
        See there.
    faults : list of str
        One sentence for each damage.
    sealed, tails : int
        How many segments of each sort there are.
    lost : list of (int, int, int)
        Events that could not be written: count, UTC ns of the first and the last.
    unread : list of (int, int)
        Ranges of sequences that damage took: first, last.
    ended : bool
        Whether the process that forked this one saw it exit.
    process : ProcessEnd or None
        How it is known that its process has ended although it has not closed its log; None if it may be at work.
    troubles : list of str
        What the writer could not do in the background, one sentence for each kind; no event is missing for it.
    close : Close or None
        How the run ended here, if it did.
    copies : list of Path
        Further directories that hold the log of this writer.
    batches : callable, optional
        Reads large batches of streams that do not lie in files beside the log: called with the payload of the event.
    torn, corrupt : bool
        Whether a part is missing, and whether bytes do not carry their check sum; `state` says the worst only.
    """

    directory: Path
    writer: str
    header: dict[str, Any]
    parts: list[Part] = field(default_factory=list)
    ranges: Ranges = field(default_factory=Ranges.none)
    notes: Events = field(default_factory=Events.empty)
    state: WriterState = WriterState.OPEN
    faults: list[str] = field(default_factory=list)
    sealed: int = 0
    tails: int = 0
    lost: list[tuple[int, int, int]] = field(default_factory=list)
    unread: list[tuple[int, int]] = field(default_factory=list)
    ended: bool = False
    process: ProcessEnd | None = None
    troubles: list[str] = field(default_factory=list)
    close: Close | None = None
    outcome: int = 0
    copies: list[Path] = field(default_factory=list)
    torn: bool = False
    corrupt: bool = False
    batches: Callable[[bytes], tuple[bytearray, Path]] | None = None
    _pairs: Array | None = None
    _span: tuple[int, int] | None = None
    _events: Events | None = None

    def damage(self, faults: list[str], *, torn: bool) -> None:
        """Note damage that was found after the log was read.

        Parameters
        ----------
        faults : list of str
            One sentence for each.
        torn : bool
            Whether all of it is that something is not there; else bytes do not carry their check sum.
        """
        self.faults.extend(faults)
        self.torn, self.corrupt = self.torn or torn, self.corrupt or not torn
        self.state = WriterState.CORRUPT if self.corrupt else WriterState.TORN

    # ------------------------------------------------------------------ rows

    def each(self, *codes: int, within: Ranges | None = None) -> Iterator[Events]:
        """Yield the rows of this log, a part at a time.

        Parameters
        ----------
        *codes : int
            Event codes; none for all of them.
        within : Ranges, optional
            Sequences; without it all.

        Yields
        ------
        Events
            Rows in order, never none.

        Raises
        ------
        CorruptLogError
            If a part has changed since it was looked at.
        NotFoundError
            If a part was removed.
        """
        wanted = self.ranges if within is None else self.ranges & within
        for together in self._blocks(wanted):
            parts = [part for part in together if part.has(*codes)]
            if not parts:
                continue
            events = parts[0].read() if len(parts) == 1 else Events.join([part.read() for part in parts])
            mine = wanted.mask(events["sequence"])
            if codes:
                mine &= events.having(*codes)
            if mine.all():
                if len(events):
                    yield events
            elif mine.any():
                yield events.take(mine)

    def _blocks(self, wanted: Ranges) -> Iterator[list[Part]]:
        """Yield parts, those together whose rows may lie in between each other's."""
        together: list[Part] = []
        after = 0
        low, high = (int(wanted.first[0]), wanted.last) if wanted else (0, -1)
        for part in self.parts:
            if part.after <= low or part.first > high or not part.ranges & wanted:
                continue
            if together and part.first >= after:
                yield together
                together = []
            together.append(part)
            after = max(after, part.after)
        if together:
            yield together

    @property
    def events(self) -> Events:
        """Every row that verifies, in order: all of them at once and kept from then on, so for small logs only."""
        if self._events is None:
            self._events = Events.join(list(self.each()))
        return self._events

    def count(self, *codes: int) -> int:
        """Return how many rows there are.

        Parameters
        ----------
        *codes : int
            Event codes; none for all of them.

        Returns
        -------
        int
            A number of rows.
        """
        return self.ranges.count if not codes else sum(len(events) for events in self.each(*codes))

    def span(self) -> tuple[int, int] | None:
        """Return when the first and the last row were written.

        Returns
        -------
        (int, int) or None
            UTC ns; None if there are none.
        """
        if not self.ranges:
            return None
        if self._span is not None:
            return self._span
        times = [self._time_of(sequence) for sequence in (int(self.ranges.first[0]), self.ranges.last)]
        first, last = self.utc(np.array(times, np.int64)).tolist()
        self._span = first, last
        return self._span

    def _time_of(self, sequence: int) -> int:
        for part in self.parts:
            # Mostly it is the first or the last row of a part, which was looked at.
            if (time := part.time_of(sequence)) is not None:
                return time
        (row,) = self.each(within=Ranges.span(sequence, sequence + 1))
        return int(row["time"][0])

    def cut(self, after: int) -> None:
        """Leave out all rows from a sequence on.

        Parameters
        ----------
        after : int
            The first one to leave out.
        """
        self.ranges = self.ranges & Ranges.span(0, after)
        self.notes = self.notes.take(self.notes["sequence"] < after)
        self._pairs = self._span = self._events = None

    def add_copy(self, other: WriterLog) -> None:
        """Add the rows of a copy of this log: what either holds counts, once.

        Parameters
        ----------
        other : WriterLog
            Of the same writer.

        See Also
        --------
        braid_hpc.reading.copies.join_copies : which also settles in what state the log is.
        """
        self.copies = [*self.copies, other.directory, *other.copies]
        for part in other.parts:
            if fresh := part.ranges - self.ranges:
                part.ranges = fresh
                self.parts.append(part)
        self.ranges = self.ranges | other.ranges
        self.notes = Events.join([self.notes, other.notes])
        self._pairs = self._span = self._events = None
        self.parts.sort(key=lambda part: part.first)

    # ------------------------------------------------------------------ what they mean

    def utc(self, times: Array) -> Array:
        """Turn monotonic times into UTC.

        Parameters
        ----------
        times : numpy.ndarray
            int64, CLOCK_MONOTONIC nanoseconds of this writer's host.

        Returns
        -------
        numpy.ndarray
            int64, nanoseconds since 1970 UTC, by the last clock pair before each.
        """
        pairs = self.clock_pairs
        if len(times) > 1:
            low, high = np.searchsorted(pairs[:, 0], (times.min(), times.max()), side="right")
            if low == high:
                # One pair for all of them, as in most parts of a log.
                return np.asarray(times + (pairs[max(low - 1, 0), 1] - pairs[max(low - 1, 0), 0]))
        which = np.clip(np.searchsorted(pairs[:, 0], times, side="right") - 1, 0, None)
        return np.asarray(times - pairs[which, 0] + pairs[which, 1])

    @property
    def clock_pairs(self) -> Array:
        """When the writer looked at both clocks: shape (pairs, 2), int64, CLOCK_MONOTONIC and UTC ns, in order."""
        if self._pairs is None:
            self._pairs = self._find_pairs()
        return self._pairs

    def _find_pairs(self) -> Array:
        clock = self.header.get("clock") or {}
        pairs = [(int(clock.get("monotonic_ns", 0)), int(clock.get("utc_ns", 0)))]
        notes = self.notes
        for row in notes.positions(Code.OPEN, Code.CLOCK, Code.CLOSE):
            pairs.append((int(notes["time"][row]), int(notes["subject"][row])))
        if not clock and len(pairs) > 1:
            del pairs[0]
        return np.array(sorted(pairs), np.int64)

    def names(self) -> dict[int, str]:
        """Return the interned texts.

        Returns
        -------
        dict
            Number to text; 0 is the empty text.
        """
        found = {0: ""}
        for events in self.each(Code.NAME):
            for row, number in enumerate(events["subject"].tolist()):
                found[number] = events.payload(row).decode("utf-8", "surrogatepass")
        return found
