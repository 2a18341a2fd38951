"""How far a writer has come, at little cost and without a sum of a batch: for those who look every second.

Headers, the records of sums, and the words of rows that came since the last look are read, and nothing is written or
locked. What is told here is no verdict on a log: :mod:`braid_hpc.reading.survey` gives that. It needs the standard
library and xxhash only, because it runs beside the ranks.
"""

from __future__ import annotations

import contextlib
import os
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_intdigest

from braid_hpc.log.header import boot_id, unpack_header
from braid_hpc.log.layout import (
    ENDED_NAME,
    HEADER_NAME,
    PAGE,
    ROW_BYTES,
    SUM,
    SUM_BYTES,
    TAIL_LOSS,
    TAIL_LOSS_OFFSET,
    TAIL_PREFIX,
    TailHeader,
    TailKind,
)
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["Progress", "WriterProgress"]

#: Rows that are read at once.
_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one writer has come.

    Attributes
    ----------
    writer : str
        Its id.
    host : str or None
        Where it runs or ran.
    run : str or None
        What its header has as evidence of its run, in words; None if there is none.
    job : str or None
        Name of the job.
    rank, size : int or None
        From the launcher.
    state : str
        ``closed``, ``ended`` or ``open``.
    events : int
        Rows that are published.
    lost : int
        Events that could not be written, as far as the tails tell.
    last : int or None
        When the last event was written, UTC ns.
    bytes : int
        Of all its files, as far as they take room on the disk.
    """

    writer: str
    host: str | None
    run: str | None
    job: str | None
    rank: int | None
    size: int | None
    state: str
    events: int
    lost: int
    last: int | None
    bytes: int

    @property
    def complete(self) -> bool:
        """Whether the writer has come to its end."""
        return self.state != "open"


@dataclass(slots=True)
class _Tail:
    """A tail, and what was read of it.

    `at` is the first slot that may still change (of a tail of frames: the first byte), and `settled` rows lie before
    it; `losses` are those that rows tell of, by their slot, `lost` what the header says.
    """

    header: TailHeader
    at: int
    settled: int = 0
    rows: int = 0
    last: int = 0
    closed: bool = False
    lost: int = 0
    losses: dict[int, int] = field(default_factory=dict)

    def take(self, slot: int, table: bytes) -> int:
        """Look at some rows of the table; returns how many are published."""
        words = _column(table, "Q", 7)
        used = len(words) - words.count(0)
        if not used:
            return 0
        codes = _column(table, "H", 16)
        self.closed = self.closed or Code.CLOSE in codes
        if Code.LOSS in codes:
            counts = _column(table, "Q", 1)
            for index, code in enumerate(codes):
                if code == Code.LOSS and words[index]:
                    self.losses[slot + index] = counts[index]
        self.last = max(self.last, *(when for when, word in zip(_column(table, "q", 0), words, strict=True) if word))
        return used


def _column(table: bytes, kind: str, place: int) -> array[int]:
    """Return one number of each row."""
    width = array(kind).itemsize
    return array(kind, memoryview(table).cast(kind)[place :: ROW_BYTES // width].tobytes())  # type: ignore[call-overload]


class WriterProgress:
    """One writer's directory, looked at again and again.

    Parameters
    ----------
    directory : Path
        The writer's directory; the writer may be at work.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.header: dict[str, Any] = {}
        self._tails: dict[str, _Tail] = {}
        self._sums: dict[str, tuple[int, dict[int, int]]] = {}
        self._closed = False
        self._last = 0
        self._gone = [0, 0]

    def look(self) -> Progress | None:
        """Look at what has come since the last time.

        Returns
        -------
        Progress or None
            None if nothing is there any more.
        """
        if not self.header:
            with contextlib.suppress(OSError, CorruptLogError, FormatTooNewError):
                self.header = unpack_header((self.directory / HEADER_NAME).read_bytes())
        # Tails before sums: a tail that is sealed in between is then in the sums.
        found = self._listed()
        if not found:
            return None
        for name in found:
            if name.startswith(TAIL_PREFIX):
                self._look_at(name)
        sealed: dict[int, int] = {}
        for name in found:
            if name.startswith("events") and name.endswith(".sums"):
                sealed.update(self._sealed(name))
        for name in self._tails.keys() - found.keys():
            gone = self._tails.pop(name)
            self._gone = [self._gone[0] + gone.lost, self._gone[1] + sum(gone.losses.values())]
        tails = self._tails.values()
        events = sum(sealed.values()) + sum(tail.rows for tail in tails if tail.header.first not in sealed)
        # A loss stands in the header of a tail at once, and in a row as soon as there is room for one.
        lost = max(
            self._gone[0] + sum(tail.lost for tail in tails),
            self._gone[1] + sum(sum(tail.losses.values()) for tail in tails),
        )
        self._closed = self._closed or any(tail.closed for tail in tails)
        self._last = max([self._last, *(tail.last for tail in tails)])
        state = "closed" if self._closed else "ended" if ENDED_NAME in found else "open"
        return self._told(state, events, lost, sum(status.st_blocks * 512 for status in found.values()))

    def _listed(self) -> dict[str, os.stat_result]:
        found = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = entry.stat(follow_symlinks=False)
        return found

    def _told(self, state: str, events: int, lost: int, size: int) -> Progress:
        header = self.header
        return Progress(
            writer=str(header.get("writer") or self.directory.name),
            host=header.get("host"),
            run=_run_of(header.get("evidence")),
            job=header.get("job"),
            rank=header.get("rank"),
            size=header.get("size"),
            state=state,
            events=events,
            lost=lost,
            last=self._utc(self._last) if self._last else None,
            bytes=size,
        )

    def _utc(self, moment: int) -> int:
        clock = self.header.get("clock") or {}
        mine = bool(boot_id()) and self.header.get("boot_id") == boot_id()
        if mine or not clock:
            return time.time_ns() - time.monotonic_ns() + moment
        return moment - int(clock.get("monotonic_ns", 0)) + int(clock.get("utc_ns", 0))

    # ------------------------------------------------------------------ sealed

    def _sealed(self, name: str) -> dict[int, int]:
        """Return rows by the first sequence of each sealed batch; only records that are new are read."""
        at, known = self._sums.get(name, (0, {}))
        try:
            with (self.directory / name).open("rb") as file:
                file.seek(at)
                data = file.read()
        except OSError:
            return known
        for start in range(0, len(data) - SUM_BYTES + 1, SUM_BYTES):
            record = data[start : start + SUM_BYTES]
            _, _, first, _, rows, _, check = SUM.unpack(record)
            if check == xxh3_64_intdigest(record[:-8]):
                known[first] = rows
        self._sums[name] = (at + len(data) // SUM_BYTES * SUM_BYTES, known)
        return known

    # ------------------------------------------------------------------ tails

    def _look_at(self, name: str) -> None:
        try:
            descriptor = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # It was sealed meanwhile.
            return
        try:
            tail = self._tails.get(name)
            if tail is None:
                header = TailHeader.unpack(os.pread(descriptor, 88, 0))
                at = PAGE if header.kind == TailKind.FRAMES else 0
                tail = self._tails[name] = _Tail(header, at)
            if tail.header.kind == TailKind.FRAMES:
                self._look_at_frames(descriptor, tail)
            else:
                self._look_at_rows(descriptor, tail)
            self._look_at_losses(descriptor, tail)
        except (OSError, CorruptLogError, FormatTooNewError):
            # It was not begun yet, or is damaged, which `braid check` says.
            return
        finally:
            os.close(descriptor)

    def _look_at_rows(self, descriptor: int, tail: _Tail) -> None:
        """Go on where rows may still be missing, up to a stretch without any."""
        slot, rows, whole = tail.at, tail.settled, True
        while slot < tail.header.rows:
            table = os.pread(descriptor, min(_ROWS, tail.header.rows - slot) * ROW_BYTES, PAGE + slot * ROW_BYTES)
            table = table[: len(table) // ROW_BYTES * ROW_BYTES]
            used = tail.take(slot, table)
            if not used:
                break
            rows += used
            slot += len(table) // ROW_BYTES
            whole = whole and used == len(table) // ROW_BYTES
            if whole:
                tail.at, tail.settled = slot, rows
        tail.rows = rows

    def _look_at_frames(self, descriptor: int, tail: _Tail) -> None:
        """Go from frame to frame, as far as they say that they are frames of this tail."""
        while len(row := os.pread(descriptor, ROW_BYTES, tail.at)) == ROW_BYTES:
            slot, length = int.from_bytes(row[40:44], "little"), int.from_bytes(row[44:48], "little")
            if int.from_bytes(row[56:60], "little") != tail.header.first + slot & 0xFFFFFFFF:
                # What was not written wholly is stepped over by those who verify.
                break
            tail.take(slot, row)
            tail.at += ROW_BYTES + length
            tail.rows += 1

    def _look_at_losses(self, descriptor: int, tail: _Tail) -> None:
        part = os.pread(descriptor, TAIL_LOSS.size, TAIL_LOSS_OFFSET)
        if len(part) == TAIL_LOSS.size and any(part):
            count, _, _, check = TAIL_LOSS.unpack(part)
            if check == xxh3_64_intdigest(part[:-8]):
                tail.lost = int(count)


def _run_of(evidence: object) -> str | None:
    """Return what a header has as evidence of its run, in words."""
    if not isinstance(evidence, dict):
        return None
    if evidence.get("run_id"):
        return str(evidence["run_id"])
    scheduler = evidence.get("scheduler")
    if isinstance(scheduler, dict) and scheduler.get("job"):
        restart = f"-{scheduler['restart']}" if scheduler.get("restart") else ""
        return f"{scheduler.get('name')}-{scheduler['job']}{restart}"
    return None
