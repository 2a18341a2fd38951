"""Reading a tail: every row whose check holds counts, whatever its neighbours."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from braid_hpc.log.choice import compiled_module
from braid_hpc.log.layout import (
    PAGE,
    ROW_BYTES,
    TAIL_HEADER,
    TAIL_HEADER_CHECK,
    TAIL_LOSS,
    TAIL_LOSS_OFFSET,
    TailHeader,
    TailKind,
    check_word,
)
from braid_hpc.reading.events import ROW_DTYPE, Events

__all__ = ["TailScan", "read_tail"]

#: As ``verify_rows`` in ``kernels/_tail.c`` counts them.
_VERIFIES, _FAILS = 1, 2


@dataclass(slots=True)
class TailScan:
    """What a tail holds.

    Attributes
    ----------
    header : TailHeader or None
        None if the tail was never begun.
    events : Events
        The rows that verify.
    corrupt : list of int
        Sequences whose row is published and does not verify.
    torn : str or None
        What is missing of the file.
    loss : (int, int, int) or None
        Events lost while there was no room: count, monotonic ns of the first and the last.
    damaged : str or None
        What else does not carry its check sum.
    """

    header: TailHeader | None
    events: Events
    corrupt: list[int] = field(default_factory=list)
    torn: str | None = None
    loss: tuple[int, int, int] | None = None
    damaged: str | None = None


def read_tail(path: Path) -> TailScan:
    """Read one tail.

    Parameters
    ----------
    path : Path
        A file ``tail-<n>``; it may be written at the same time, and may be damaged.

    Returns
    -------
    TailScan
        All that can be told of it.

    Raises
    ------
    CorruptLogError
        If its header is damaged: then nothing in it can be placed.
    FormatTooNewError
        If it is of a newer major format.
    FileNotFoundError
        If it was sealed and removed meanwhile.
    """
    data = path.read_bytes()
    if _never_begun(data):
        return TailScan(None, Events.empty())
    if len(data) < TAIL_HEADER.size + TAIL_HEADER_CHECK.size:
        return TailScan(None, Events.empty(), torn=f"it ends after {len(data)} bytes, within its header")
    header = TailHeader.unpack(data)
    scan = _read_frames(header, data) if header.kind == TailKind.FRAMES else _read_table(path, header, data)
    if header.kind == TailKind.MAPPED and len(data) < header.total:
        scan.torn = f"it ends after {len(data)} of {header.total} bytes"
    _read_loss(path, data, scan)
    return scan


def _never_begun(data: bytes) -> bool:
    """Whether the process ended before the first eight bytes were stored, the last ones of the header."""
    return not any(data[:8]) and not data[TAIL_HEADER.size + TAIL_HEADER_CHECK.size :].strip(b"\0")


def _read_loss(path: Path, data: bytes, scan: TailScan) -> None:
    part = data[TAIL_LOSS_OFFSET : TAIL_LOSS_OFFSET + TAIL_LOSS.size]
    for _ in range(3):
        if len(part) < TAIL_LOSS.size or not part.strip(b"\0"):
            return
        *loss, check = TAIL_LOSS.unpack(part)
        if check == xxh3_64_intdigest(part[:-8]):
            scan.loss = (loss[0], loss[1], loss[2])
            return
        # It may have been stored while the file was read.
        part = _pread(path, TAIL_LOSS.size, TAIL_LOSS_OFFSET)
    scan.damaged = "its count of lost events does not carry its check sum"


def _pread(path: Path, length: int, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except OSError:
        return b""


def _read_table(path: Path, header: TailHeader, data: bytes) -> TailScan:
    whole = min(header.rows, max(0, len(data) - PAGE) // ROW_BYTES)
    if not whole:
        return TailScan(header, Events.empty())
    table = np.frombuffer(data, ROW_DTYPE, whole, PAGE)
    states = _row_states(data, header, table)
    good = states == _VERIFIES
    corrupt = []
    for slot in np.flatnonzero(states == _FAILS).tolist():
        if fresh := _read_again(path, header, slot):
            # The row was being stored while the file was read; now it is there.
            data, table = _patch(data, header, slot, fresh)
            good[slot] = True
        else:
            corrupt.append(header.first + slot)
    slots = np.flatnonzero(good)
    events = Events.from_table(table[slots], slots + header.first, data, header.heap_offset)
    return TailScan(header, events, corrupt)


def _row_states(data: bytes, header: TailHeader, table: np.ndarray) -> np.ndarray:
    """Return for each row whether it is unpublished (0), verifies or fails."""
    compiled = compiled_module()
    if compiled is not None:
        return np.frombuffer(compiled.verify_rows(data, header.first, len(table), header.heap_offset), np.uint8)
    states = np.zeros(len(table), np.uint8)
    for slot in np.flatnonzero(table["word"]).tolist():
        states[slot] = _VERIFIES if _verifies(data, header, slot) else _FAILS
    return states


def _verifies(data: bytes, header: TailHeader, slot: int) -> bool:
    at = PAGE + slot * ROW_BYTES
    row = data[at : at + 56]
    start = int.from_bytes(row[40:44], "little") + header.heap_offset
    length = int.from_bytes(row[44:48], "little")
    payload = data[start : start + length]
    word = int.from_bytes(data[at + 56 : at + 64], "little")
    return len(payload) == length and word == check_word(header.first + slot, xxh3_64_intdigest(row + payload))


def _read_again(path: Path, header: TailHeader, slot: int) -> tuple[bytes, bytes] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        row = os.pread(descriptor, ROW_BYTES, PAGE + slot * ROW_BYTES)
        if len(row) < ROW_BYTES:
            return None
        start, length = int.from_bytes(row[40:44], "little"), int.from_bytes(row[44:48], "little")
        if start + length > header.heap_bytes:
            return None
        payload = os.pread(descriptor, length, header.heap_offset + start)
    finally:
        os.close(descriptor)
    word = int.from_bytes(row[56:], "little")
    holds = word == check_word(header.first + slot, xxh3_64_intdigest(row[:56] + payload))
    return (row, payload) if holds and len(payload) == length else None


def _patch(data: bytes, header: TailHeader, slot: int, fresh: tuple[bytes, bytes]) -> tuple[bytes, np.ndarray]:
    row, payload = fresh
    patched = bytearray(data)
    patched[PAGE + slot * ROW_BYTES : PAGE + (slot + 1) * ROW_BYTES] = row
    start = header.heap_offset + int.from_bytes(row[40:44], "little")
    patched[start : start + len(payload)] = payload
    data = bytes(patched)
    return data, np.frombuffer(data, ROW_DTYPE, (len(data) - PAGE) // ROW_BYTES, PAGE)[: header.rows]


def _read_frames(header: TailHeader, data: bytes) -> TailScan:
    """Walk frame by frame, over what is none: where a frame was not written wholly, another thread may have gone on."""
    rows, starts = [], []
    at = PAGE
    torn = None
    damaged = 0
    while at + ROW_BYTES <= len(data):
        sequence, after = _frame(header, data, at)
        if after:
            rows.append((data[at : at + ROW_BYTES], sequence))
            starts.append(at + ROW_BYTES)
            at = after
            continue
        following = _next_frame(header, data, at + 1)
        if following or at + ROW_BYTES + int.from_bytes(data[at + 44 : at + 48], "little") <= len(data):
            damaged += 1
        if not following:
            break
        at = following
    corrupt = _unread(header, {number for _, number in rows}, damaged)
    if at < len(data) and not corrupt:
        torn = f"a frame is cut off after byte {at}"
    if not rows:
        return TailScan(header, Events.empty(), corrupt, torn)
    table = np.frombuffer(b"".join(row for row, _ in rows), ROW_DTYPE).copy()
    events = Events.from_table(table, np.array([number for _, number in rows], np.uint64), data)
    events.start = np.array(starts, np.int64)
    # Threads write their frames in another order than they take their sequences.
    return TailScan(header, events.take(np.argsort(events["sequence"], kind="stable")), corrupt, torn)


def _unread(header: TailHeader, read: set[int], damaged: int) -> list[int]:
    """Return which rows damaged frames held: those that are not there, for what they say of themselves is damaged."""
    free = (sequence for sequence in itertools.count(header.first) if sequence not in read)
    return list(itertools.islice(free, damaged))


def _frame(header: TailHeader, data: bytes, at: int) -> tuple[int, int]:
    """Return the sequence that a frame claims, and where it ends; 0 if it does not verify."""
    row = data[at : at + ROW_BYTES]
    # Threads may write their frames in another order than they took their sequences: `heap` is the slot.
    sequence = header.first + int.from_bytes(row[40:44], "little")
    after = at + ROW_BYTES + int.from_bytes(row[44:48], "little")
    if int.from_bytes(row[56:60], "little") != sequence & 0xFFFFFFFF or after > len(data):
        return sequence, 0
    digest = xxh3_64_intdigest(row[:56] + data[at + ROW_BYTES : after])
    return sequence, after if int.from_bytes(row[56:], "little") == check_word(sequence, digest) else 0


def _next_frame(header: TailHeader, data: bytes, start: int) -> int:
    """Return where the next frame begins that verifies; 0 if there is none."""
    low = header.first & 0xFFFFFFFF
    for at in range(start, len(data) - ROW_BYTES + 1):
        # The slot and the low half of the word say the same, which hardly any other place in a file does.
        slot = int.from_bytes(data[at + 40 : at + 44], "little")
        claimed = int.from_bytes(data[at + 56 : at + 60], "little")
        if slot < header.rows and claimed == low + slot & 0xFFFFFFFF and _frame(header, data, at)[1]:
            return at
    return 0
