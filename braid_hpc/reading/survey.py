"""Looking at all of a writer's log: what verifies, what is missing, and the state that this makes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from braid_hpc.log.header import unpack_header
from braid_hpc.log.layout import ENDED_NAME, GONE_NAME, TAIL_PREFIX, TailKind
from braid_hpc.reading.directories import read_header, tail_files
from braid_hpc.reading.events import Events
from braid_hpc.reading.parts import Part
from braid_hpc.reading.process import find_end, told_end
from braid_hpc.reading.sealed import check_sums, each_sealed, sealed_files
from braid_hpc.reading.tails import read_tail
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.encoding import decoder
from braid_hpc.vocabulary.errors import CorruptLogError
from braid_hpc.vocabulary.payloads import ARRAY_LOST, ArrayEntry, Close, Loss, Trouble

__all__ = ["notes_of", "read_writer"]

_LOSS = decoder(Loss)
_CLOSE = decoder(Close)
_ARRAY = decoder(ArrayEntry)
_TROUBLE = decoder(Trouble)
#: Is given a part of a log and its rows.
Keep = Callable[[Part, Events], None]

#: Rows that tell of the log itself; those of arrays only where the array was lost.
_NOTES = (Code.OPEN, Code.CLOCK, Code.CLOSE, Code.FRAMES, Code.LOSS, Code.TROUBLE)


def read_writer(directory: Path, keep: Keep | None = None) -> WriterLog:
    """Look at all of a writer's log.

    Parameters
    ----------
    directory : Path
        The writer's directory; the writer may still be at work.
    keep : callable, optional
        Is given each part that is looked at, and its rows: later they would have to be read again.

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
    # Before its rows: what it has written is then all there, if it has ended.
    log.process = find_end(header)
    notes: list[Events] = []
    spans: list[tuple[int, int]] = []
    losses: list[tuple[int, int, int]] = []
    frames: dict[int, int] = {}
    # Tails before sealed batches: a tail is removed only after its batch is there, so nothing falls in between.
    # The newest tail first: what it holds came after all that is in the one before it.
    for path in reversed(tail_files(directory)):
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
            notes.append(_take_part(log, Part.of(path, spans[-1], scan.events), scan.events, keep))
            if scan.header.kind == TailKind.FRAMES:
                frames[scan.header.number] = len(scan.events)
        if scan.loss:
            losses.append(scan.loss)
    damaged = _add_sealed(log, notes, spans, keep)
    torn, corrupt = torn or damaged[0], corrupt or damaged[1]
    torn = _check_chain(log, spans) or torn
    log.parts.sort(key=lambda part: part.first)
    log.notes = Events.join(notes)
    for name in (GONE_NAME, ENDED_NAME):
        corrupt = _read_end(log, name) or corrupt
    torn = _check_frames(log, frames) or torn
    _finish(log, losses, torn=torn, corrupt=corrupt)
    return log


def _is_torn(fault: str | None) -> bool:
    """Whether a fault is that something is not there, and not that it is something else."""
    return fault is not None and ("is missing" in fault or "ends within" in fault)


def _take_part(log: WriterLog, part: Part, events: Events, keep: Keep | None) -> Events:
    """Add a part to a log, without the rows that another part brought; return those that tell of the log itself."""
    if part.ranges & log.ranges:
        part.ranges = part.ranges - log.ranges
    log.ranges = log.ranges | part.ranges
    log.parts.append(part)
    if keep is not None:
        keep(part, events)
    return notes_of(part, events)


def notes_of(part: Part, events: Events) -> Events:
    """Return the rows of a part that tell of the log itself.

    Parameters
    ----------
    part : Part
        The part.
    events : Events
        Its rows.

    Returns
    -------
    Events
        Those that are taken from it; a copy.
    """
    if not part.has(*_NOTES, Code.ARRAY):
        return Events.empty()
    lost_array = (events["code"] == Code.ARRAY) & (events["flags"] & ARRAY_LOST != 0)
    telling = events.having(*_NOTES) | lost_array
    return _compact(events.take(telling & part.ranges.mask(events["sequence"])))


def _compact(events: Events) -> Events:
    """Return the same rows with a heap that holds nothing else."""
    payloads = [events.payload(row) for row in range(len(events))]
    length = np.array([len(payload) for payload in payloads], np.int64)
    return Events(events.columns, b"".join(payloads), np.cumsum(length) - length, length)


def _add_sealed(
    log: WriterLog, notes: list[Events], spans: list[tuple[int, int]], keep: Keep | None
) -> tuple[bool, bool]:
    bad_records, cut = check_sums(log.directory, "events")
    log.faults.extend([*bad_records, *cut])
    torn, corrupt = bool(cut), bool(bad_records)
    for path, segment, events, fault in each_sealed(sealed_files(log.directory, "events")):
        log.sealed += 1
        spans.append((segment.first, segment.after))
        if events is not None:
            notes.append(_take_part(log, Part.of(path, spans[-1], events, segment), events, keep))
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


def _read_end(log: WriterLog, name: str) -> bool:
    """Read what others wrote who saw that the process has ended; return whether that is damaged."""
    try:
        about = unpack_header((log.directory / name).read_bytes())
    except FileNotFoundError:
        return False
    except (CorruptLogError, OSError):
        log.faults.append(f"{name} does not carry its check sum")
        return True
    if about.get("writer") == log.writer:
        log.ended = log.ended or name == ENDED_NAME
        with contextlib.suppress(KeyError, TypeError, ValueError):
            log.process = told_end(about)
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
    # Two tails may have begun to count one loss, if there was a new one for a moment: the later count has the earlier.
    counted = {loss[1]: loss for loss in sorted(losses)}
    log.lost.extend(loss for first, loss in counted.items() if first not in told)
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
    if log.close is not None:
        log.process = None
    elif log.process is not None and (span := log.span()) is not None and span[1] > log.process.utc_ns:
        # It has written after that: a clock is wrong, or it is another machine after all.
        log.process = None
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
