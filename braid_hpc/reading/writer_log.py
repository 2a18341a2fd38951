"""A writer's whole log: header, sealed batches and tails put together, and its state."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from braid_hpc.log.header import unpack_header
from braid_hpc.log.layout import ENDED_NAME, FORMAT, HEADER_NAME, MAGIC, TAIL_PREFIX, TailKind
from braid_hpc.reading.events import Array, Events
from braid_hpc.reading.parts import Part
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.sealed import check_sums, each_sealed, sealed_files
from braid_hpc.reading.tails import read_tail
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.encoding import decoder
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError, NotFoundError
from braid_hpc.vocabulary.payloads import ARRAY_LOST, ArrayEntry, Close, Loss, Trouble

__all__ = ["WriterLog", "find_writers", "read_header", "read_writer"]

_LOSS = decoder(Loss)
_CLOSE = decoder(Close)
_ARRAY = decoder(ArrayEntry)
_TROUBLE = decoder(Trouble)
_WRITER_DIGITS = 32
#: Rows that tell of the log itself; those of arrays only where the array was lost.
_NOTES = (Code.OPEN, Code.CLOCK, Code.CLOSE, Code.FRAMES, Code.LOSS, Code.TROUBLE)


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
    troubles : list of str
        What the writer could not do in the background, one sentence for each kind; no event is missing for it.
    close : Close or None
        How the run ended here, if it did.
    copies : list of Path
        Further directories that hold the log of this writer.
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
    troubles: list[str] = field(default_factory=list)
    close: Close | None = None
    outcome: int = 0
    copies: list[Path] = field(default_factory=list)
    torn: bool = False
    corrupt: bool = False
    _pairs: Array | None = None
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
            events = Events.join([part.read() for part in parts])
            mine = wanted.mask(events["sequence"])
            if codes:
                mine &= np.isin(events["code"], codes)
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
        times = []
        for sequence in (int(self.ranges.first[0]), self.ranges.last):
            (row,) = self.each(within=Ranges.span(sequence, sequence + 1))
            times.append(int(self.utc(row["time"])[0]))
        return times[0], times[1]

    def cut(self, after: int) -> None:
        """Leave out all rows from a sequence on.

        Parameters
        ----------
        after : int
            The first one to leave out.
        """
        self.ranges = self.ranges & Ranges.span(0, after)
        self.notes = self.notes.take(self.notes["sequence"] < after)
        self._pairs = self._events = None

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
        self._pairs = self._events = None
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


def find_writers(logs: str | os.PathLike[str]) -> list[Path]:
    """Find the directories of writers below a directory.

    Parameters
    ----------
    logs : path-like
        A log directory, a directory of such (one for each node), or one writer's directory.

    Returns
    -------
    list of Path
        In order of their names.

    Raises
    ------
    NotFoundError
        If there is no such directory, or no log in it.
    """
    root = Path(logs)
    if not root.is_dir():
        raise NotFoundError(f"{root} is not a directory: name the directory that holds the rank logs")
    found = []
    for directory, below, files in os.walk(root):
        if HEADER_NAME in files or any(name.startswith(TAIL_PREFIX) for name in files):
            path = Path(directory)
            if _is_ours(path, files):
                found.append(path)
                below.clear()
    if not found:
        raise NotFoundError(f"there are no rank logs in {root}: name the directory that was given as log_dir")
    return sorted(found)


def _is_ours(path: Path, files: list[str]) -> bool:
    if HEADER_NAME in files:
        try:
            return bool(json.loads((path / HEADER_NAME).read_bytes()).get("format") == FORMAT)
        except (ValueError, OSError, AttributeError):
            pass
    if len(path.name) == _WRITER_DIGITS and all(digit in "0123456789abcdef" for digit in path.name):
        return True
    # Renamed, and without its header: a tail says that it is one, and whose.
    return any(_begins_as_tail(path / name) for name in files if name.startswith(TAIL_PREFIX))


def _begins_as_tail(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_header(directory: Path) -> tuple[dict[str, Any], str | None]:
    """Read ``header.json``.

    Parameters
    ----------
    directory : Path
        A writer's directory.

    Returns
    -------
    header : dict
        Empty if it is missing or damaged.
    fault : str or None
        What is wrong with it.

    Raises
    ------
    FormatTooNewError
        If the log is of a newer major format.
    """
    try:
        return unpack_header((directory / HEADER_NAME).read_bytes()), None
    except FileNotFoundError:
        return {}, f"{HEADER_NAME} is missing"
    except FormatTooNewError as error:
        error.add_note(str(directory))
        raise
    except CorruptLogError as error:
        return {}, str(error)
    except OSError as error:
        return {}, f"{HEADER_NAME} cannot be read ({error})"


def read_writer(directory: Path) -> WriterLog:
    """Look at all of a writer's log.

    Parameters
    ----------
    directory : Path
        The writer's directory; the writer may still be at work.

    Returns
    -------
    WriterLog
        Which rows verify, and what is to be said of the rest.

    Raises
    ------
    FormatTooNewError
        If the log is of a newer major format.
    """
    header, fault = read_header(directory)
    log = WriterLog(directory, str(header.get("writer") or directory.name), header)
    torn, corrupt = _is_torn(fault), bool(fault) and not _is_torn(fault)
    if fault:
        log.faults.append(fault)
    notes: list[Events] = []
    spans: list[tuple[int, int]] = []
    losses: list[tuple[int, int, int]] = []
    frames: dict[int, int] = {}
    # Tails before sealed batches: a tail is removed only after its batch is there, so nothing falls in between.
    # The newest tail first: what it holds came after all that is in the one before it.
    for path in sorted(directory.glob(f"{TAIL_PREFIX}*"), reverse=True):
        try:
            scan = read_tail(path)
        except FileNotFoundError:
            continue
        except CorruptLogError as error:
            corrupt = True
            log.faults.append(f"{path.name}: {error}")
            continue
        if scan.torn:
            torn = True
            log.faults.append(f"{path.name}: {scan.torn}")
        if scan.damaged:
            corrupt = True
            log.faults.append(f"{path.name}: {scan.damaged}")
        if scan.corrupt:
            corrupt = True
            rows = f"{len(scan.corrupt)} rows do" if len(scan.corrupt) > 1 else "a row does"
            log.faults.append(f"{path.name}: {rows} not carry {'their' if len(scan.corrupt) > 1 else 'its'} check sum")
            log.unread.extend((number, number) for number in scan.corrupt)
        if scan.header is not None:
            whose = scan.header.writer.hex()
            if not header and not log.tails:
                # The directory may have been renamed.
                log.writer = whose
            elif whose != log.writer:
                corrupt = True
                log.faults.append(f"{path.name}: it belongs to the log of writer {whose}")
                continue
            log.tails += 1
            spans.append((scan.header.first, scan.header.after))
            notes.append(_take_part(log, Part.of(path, spans[-1], scan.events), scan.events))
            if scan.header.kind == TailKind.FRAMES:
                frames[scan.header.number] = len(scan.events)
        if scan.loss:
            losses.append(scan.loss)
    damaged = _add_sealed(log, notes, spans)
    torn, corrupt = torn or damaged[0], corrupt or damaged[1]
    torn = _check_chain(log, spans) or torn
    log.parts.sort(key=lambda part: part.first)
    log.notes = Events.join(notes)
    corrupt = _read_ended(log) or corrupt
    torn = _check_frames(log, frames) or torn
    _finish(log, losses, torn=torn, corrupt=corrupt)
    return log


def _is_torn(fault: str | None) -> bool:
    """Whether a fault is that something is not there, and not that it is something else."""
    return fault is not None and ("is missing" in fault or "ends within" in fault)


def _take_part(log: WriterLog, part: Part, events: Events) -> Events:
    """Add a part to a log, without the rows that another part brought; return those that tell of the log itself."""
    if part.ranges & log.ranges:
        part.ranges = part.ranges - log.ranges
    log.ranges = log.ranges | part.ranges
    log.parts.append(part)
    if not part.has(*_NOTES, Code.ARRAY):
        return Events.empty()
    lost_array = (events["code"] == Code.ARRAY) & (events["flags"] & ARRAY_LOST != 0)
    telling = np.isin(events["code"], _NOTES) | lost_array
    return _compact(events.take(telling & part.ranges.mask(events["sequence"])))


def _compact(events: Events) -> Events:
    """Return the same rows with a heap that holds nothing else."""
    payloads = [events.payload(row) for row in range(len(events))]
    length = np.array([len(payload) for payload in payloads], np.int64)
    return Events(events.columns, b"".join(payloads), np.cumsum(length) - length, length)


def _add_sealed(log: WriterLog, notes: list[Events], spans: list[tuple[int, int]]) -> tuple[bool, bool]:
    bad_records, cut = check_sums(log.directory, "events")
    log.faults.extend([*bad_records, *cut])
    torn, corrupt = bool(cut), bool(bad_records)
    for path, segment, events, fault in each_sealed(sealed_files(log.directory, "events")):
        log.sealed += 1
        spans.append((segment.first, segment.after))
        if events is not None:
            notes.append(_take_part(log, Part.of(path, spans[-1], events, segment), events))
        elif fault is not None:
            torn, corrupt = torn or _is_torn(fault), corrupt or not _is_torn(fault)
            log.faults.append(fault)
            log.unread.append((segment.first, segment.after - 1))
    return torn, corrupt


def _check_chain(log: WriterLog, spans: list[tuple[int, int]]) -> bool:
    """Segments follow each other without a gap; a gap is a file that is gone."""
    expected = 1
    missing = False
    for first, after in sorted(spans):
        if first > expected:
            missing = True
            log.faults.append(f"the segment with events {expected} to {first - 1} is missing")
            log.unread.append((expected, first - 1))
        expected = max(expected, after)
    return missing


def _check_frames(log: WriterLog, frames: dict[int, int]) -> bool:
    """A tail of frames that was cut between two of them looks whole; a later event says how many there were."""
    cut = False
    events = log.notes
    for row in events.positions(Code.FRAMES):
        number, count = int(events["subject"][row]), int(events["object"][row])
        if frames.get(number, count) < count:
            cut = True
            log.faults.append(f"{TAIL_PREFIX}{number:06d}: it ends within its rows, it has {frames[number]} of {count}")
    return cut


def _read_ended(log: WriterLog) -> bool:
    """Read what the parent of a forked process wrote when it saw it exit; returns whether that is damaged."""
    try:
        about = unpack_header((log.directory / ENDED_NAME).read_bytes())
    except FileNotFoundError:
        return False
    except (CorruptLogError, OSError):
        log.faults.append(f"{ENDED_NAME} does not carry its check sum")
        return True
    log.ended = about.get("writer") == log.writer
    return False


def _add_lost_arrays(log: WriterLog) -> None:
    events = log.notes
    names: dict[int, str] = {}
    for row in events.positions(Code.ARRAY):
        if int(events["flags"][row]) & ARRAY_LOST:
            names = names or log.names()
            moment = int(events["time"][row])
            log.lost.append((1, moment, moment))
            name = f"{names.get(int(events['other'][row]))}:{names.get(int(events['name'][row]))}"
            try:
                reason = _ARRAY.decode(events.payload(row)).error
            except msgspec.DecodeError:
                reason = None
            log.faults.append(f"array {name} was not stored: {reason or 'no reason is kept'}")


def _finish(log: WriterLog, losses: list[tuple[int, int, int]], *, torn: bool, corrupt: bool) -> None:
    events = log.notes
    told = set()
    for row in events.positions(Code.LOSS):
        loss = _LOSS.decode(events.payload(row))
        told.add(loss.first)
        log.lost.append((loss.count, loss.first, loss.last))
    log.lost.extend(loss for loss in losses if loss[1] not in told)
    _add_lost_arrays(log)
    if log.lost:
        times = log.utc(np.array([[first, last] for _, first, last in log.lost], np.int64))
        log.lost = [(loss[0], int(first), int(last)) for loss, (first, last) in zip(log.lost, times, strict=True)]
    for row in events.positions(Code.TROUBLE):
        with contextlib.suppress(msgspec.DecodeError):
            about = _TROUBLE.decode(events.payload(row))
            log.troubles.append(f"{about.step} failed: {about.reason}")
    for row in events.positions(Code.CLOSE):
        log.outcome = int(events["flags"][row])
        try:
            log.close = _CLOSE.decode(events.payload(row) or b"\x80")
        except msgspec.DecodeError:
            log.close = Close()
    log.torn = torn or (log.close is None and not log.ranges and not log.tails)
    log.corrupt = corrupt
    if log.torn and not log.faults:
        log.faults.append("it holds no events at all")
    if corrupt:
        log.state = WriterState.CORRUPT
    elif log.torn:
        log.state = WriterState.TORN
    elif log.lost:
        log.state = WriterState.LOSSY
    elif log.close is not None:
        log.state = WriterState.CLOSED
    else:
        log.state = WriterState.ENDED if log.ended else WriterState.OPEN
