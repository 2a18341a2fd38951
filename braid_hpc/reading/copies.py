"""Several directories that hold the log of one writer: a copy beside its original, whole, half or of an earlier time.

What any of them holds counts, once, and one copy's damage is none where another one has it all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.sealed import stream_batch
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import CorruptLogError

__all__ = ["batch_of", "join_copies"]

#: From the best to the worst.
_ORDER = (
    *(WriterState.CLOSED, WriterState.ENDED, WriterState.OPEN, WriterState.LOSSY),
    *(WriterState.TORN, WriterState.CORRUPT, WriterState.ABSENT),
)


def join_copies(logs: Iterable[WriterLog]) -> dict[str, WriterLog]:
    """Put the logs together that are copies of one.

    Parameters
    ----------
    logs : iterable of WriterLog
        In the order in which they were found.

    Returns
    -------
    dict of str to WriterLog
        By writer; `copies` are the other directories.
    """
    found: dict[str, WriterLog] = {}
    for log in logs:
        other = found.get(log.writer)
        found[log.writer] = log if other is None else _join(other, log)
    return found


def _join(one: WriterLog, two: WriterLog) -> WriterLog:
    together = one.ranges | two.ranges
    better, worse = sorted((one, two), key=lambda log: _ORDER.index(log.state))
    if not better.state.complete and together - better.ranges:
        # An earlier copy may be without damage; what became of the log stands in the one that holds all of it.
        better, worse = worse, better
        if together - better.ranges:
            # Each has what the other lacks, and nobody knows what both lack.
            better.faults.extend(fault for fault in worse.faults if fault not in better.faults)
    if better.close is None:
        better.close, better.outcome = worse.close, worse.outcome
    better.header = better.header or worse.header
    # What its parent has seen says more than that it is not there.
    ends = [log.process for log in (better, worse) if log.process is not None and better.close is None]
    better.process = min(ends, key=lambda end: (end.code is None, end.utc_ns), default=None)
    better.add_copy(worse)
    better.unread = [(first, last) for first, last in better.unread if Ranges.span(first, last + 1) - better.ranges]
    return better


def batch_of(log: WriterLog, number: int, payload: bytes) -> tuple[bytearray, Path]:
    """Read a large batch of a stream from whichever copy of the log has it.

    Parameters
    ----------
    log : WriterLog
        The log.
    number : int
        The stream's number.
    payload : bytes
        Of the ``BATCH`` event.

    Returns
    -------
    ipc : bytearray
        As :func:`braid_hpc.reading.sealed.stream_batch` gives it.
    path : Path
        The file that it was found in.

    Raises
    ------
    CorruptLogError
        If none has it.
    """
    if log.batches is not None:
        return log.batches(payload)
    try:
        return stream_batch(log.directory, number, payload)[:2]
    except CorruptLogError:
        for directory in log.copies:
            with contextlib.suppress(CorruptLogError):
                return stream_batch(directory, number, payload)[:2]
        raise
