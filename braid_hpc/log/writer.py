"""A writer: one process life, its directory, its tails one after the other, its interned texts.

``append`` never raises and never waits for anybody. Where a row cannot be stored it is counted, with the time of
the first and the last one lost, and recording resumes by itself when there is room again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.header import make_header, write_header
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.layout import TAIL_PREFIX, TailHeader
from braid_hpc.log.places import FileSystem, file_system_of
from braid_hpc.log.seal import BatchFile, events_file, seal_tail
from braid_hpc.log.tail import FrameTail, MappedTail, Tail
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import StorageError
from braid_hpc.vocabulary.payloads import Loss

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RankLog"]

#: Rows and heap bytes of the first tail, and of those after it: a rank that says little takes little.
FIRST_TAIL = (2_048, 256 << 10)
LATER_TAILS = (16_384, 2 << 20)

#: After a refusal by the file system it is asked again this much later (ns), not at every event.
RETRY_NS = 1_000_000_000

_OPEN_LOGS: weakref.WeakSet[RankLog] = weakref.WeakSet()


class _NoTail:
    """Stands where there is no tail: nothing fits, so that :meth:`RankLog.append` takes its long way."""

    path = Path(os.devnull)
    header = TailHeader(bytes(16), 0, 1, 0, 0, 0)
    fill = 1.0
    settled = True

    def append(
        self, code: int, name: int, subject: int, object: int, other: int, flags: int, payload: bytes
    ) -> int:
        """Return 0."""
        return 0

    def note_loss(self, count: int, first: int, last: int) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


_NO_TAIL = _NoTail()


class RankLog:
    """The log of one writer.

    Parameters
    ----------
    log_dir : Path
        The directory of all writers' directories; created if it does not exist.
    facts : dict
        What the header says besides what :func:`braid_hpc.log.header.make_header` knows.
    background : bool
        Whether a thread syncs, seals and prepares tails (a test may want to do that itself).

    Raises
    ------
    StorageError
        If the directory, the header or the first tail cannot be written.

    Attributes
    ----------
    writer : bytes
        This writer's 16-byte id; another one after a fork, in the child.
    directory : Path
        ``<log dir>/<writer id>``.
    lost : int
        Events lost since the log was opened.
    """

    def __init__(self, log_dir: Path, facts: dict[str, Any], *, background: bool = True) -> None:
        self._log_dir = log_dir
        self._facts = facts
        self._background = background
        self._names: dict[str, int] = {}
        self._replay: list[tuple[int, int, int, int, int, int, bytes]] = []
        self.lost = 0
        self._open()
        _OPEN_LOGS.add(self)
        _watch_forks()

    def _open(self, parent: bytes | None = None) -> None:
        self.writer = os.urandom(16)
        self.directory = self._log_dir / self.writer.hex()
        self._successors: dict[int, Tail] = {}
        self._full: dict[int, Tail] = {}
        self._loss: tuple[int, int, int, str] | None = None
        self._retry_at = 0
        self._forked = False
        self._closed = False
        self._number = itertools.count(len(self._names) + 1)
        self.tail: Tail = _NO_TAIL
        self._last: Tail = _NO_TAIL
        self._keeper: Keeper | None = None
        self._seen = (-1.0, 0)
        self._events: BatchFile = events_file(self.directory)
        try:
            self.directory.mkdir(parents=True, mode=0o750)
            self.file_system: FileSystem = file_system_of(self.directory)
            header = make_header(self.writer, self._facts)
            header["file_system"] = self.file_system.type
            header["mount"] = self.file_system.mount
            header["tail"] = "mapped" if self.file_system.mappable else "frames"
            header["parent"] = parent.hex() if parent else None
            self.clock = (header["clock"]["monotonic_ns"], header["clock"]["utc_ns"])
            self.header = header
            write_header(self.directory, header)
            self.tail = self._last = self._create(1, 1, *FIRST_TAIL)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.rmdir(self.directory)
            reason = error.strerror or type(error).__name__
            raise StorageError(
                f"cannot write a rank log in {self._log_dir} ({reason}): name another directory with log_dir= or BRAID_LOG_DIR"
            ) from error
        for row in self._replay:
            self.append(*row)
        if self._background:
            self._keeper = Keeper(self)
            self._keeper.start()

    def _create(self, number: int, first: int, rows: int, heap: int) -> Tail:
        kind: Callable[..., Tail] = MappedTail if self.file_system.mappable else FrameTail
        path = self.directory / f"{TAIL_PREFIX}{number:06d}"
        try:
            return kind(path, self.writer, number, first, rows, heap)
        except FileExistsError:
            # Another thread makes the same one; only one of the two will be taken, whatever its name.
            return kind(path.with_name(f"{path.name}-{os.urandom(4).hex()}"), self.writer, number, first, rows, heap)

    # ------------------------------------------------------------------ the way of a row

    def append(
        self,
        code: int,
        name: int = 0,
        subject: int = 0,
        object: int = 0,
        other: int = 0,
        flags: int = 0,
        payload: bytes = b"",
    ) -> int:
        """Store one row; when the call returns, the kernel holds it.

        Parameters
        ----------
        code, name, subject, object, other, flags, payload
            As for :meth:`braid_hpc.log.tail.Tail.append`.

        Returns
        -------
        int
            The row's sequence number, from 1; 0 if it was lost.
        """
        try:
            sequence = self.tail.append(code, name, subject, object, other, flags, payload)
        except (OSError, ValueError) as error:
            return self._lose(error)
        return sequence or self._append_in_next(code, name, subject, object, other, flags, payload)

    def _append_in_next(self, *row: Any) -> int:
        """Take the way of a row for which the present tail has no room."""
        if self._forked:
            self._reopen_in_child()
            return self.append(*row)
        if self._closed:
            return self._lose(None)
        if self.tail is _NO_TAIL and time.monotonic_ns() < self._retry_at:
            return self._lose(None)
        try:
            # More than one turn is taken when other threads fill the next tail meanwhile, or the payload is large.
            for _ in range(1_000):
                last = self._last
                self._full[last.header.number] = last
                self._last = self.tail = self._successor(last, len(row[6]))
                if self._loss is not None:
                    self._tell_loss()
                if sequence := self.tail.append(*row):
                    if self._keeper is not None:
                        self._keeper.wake()
                    return sequence
        except (OSError, ValueError) as error:
            return self._lose(error)
        return self._lose(OSError("no tail took the row"))

    def _successor(self, tail: Tail, need: int = 0) -> Tail:
        """Return the tail behind `tail`; whoever comes first makes it, everybody gets the same one."""
        number = tail.header.number
        found = self._successors.get(number)
        if found is None:
            rows, heap = LATER_TAILS
            made = self._create(number + 1, tail.header.after, rows, max(heap, 2 * need))
            found = self._successors.setdefault(number, made)
            if found is not made:
                made.close()
                os.unlink(made.path)
        return found

    def _lose(self, error: Exception | None) -> int:
        now = time.monotonic_ns()
        count, first, _, reason = self._loss or (0, now, now, "")
        self.lost += 1
        if error is not None:
            reason = f"{type(error).__name__}: {error}"
            self._retry_at = now + RETRY_NS
            if not self._closed:
                self.tail = _NO_TAIL
        self._loss = (count + 1, first, now, reason)
        with contextlib.suppress(ValueError):
            self._last.note_loss(count + 1, first, now)
        return 0

    def _tell_loss(self) -> None:
        """Record the loss as an event of its own, now that there is room again."""
        loss, self._loss = self._loss, None
        if loss is not None:
            count, first, last, reason = loss
            if not self.tail.append(Code.LOSS, 0, count, 0, 0, 0, encode(Loss(count, first, last, reason))):
                self._loss = loss

    # ------------------------------------------------------------------ texts

    def intern(self, text: str) -> int:
        """Return the number of a text, and record the text the first time.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        int
            From 1; the same for the life of the log, also in forked children.
        """
        number = self._names.get(text)
        if number is None:
            number = self._names.setdefault(text, next(self._number))
            self.remember(Code.NAME, 0, number, 0, 0, 0, text.encode("utf-8", "surrogatepass"))
        return number

    def remember(self, *row: Any) -> int:
        """Store a row that a forked child must repeat in its own log (texts, declared streams).

        Parameters
        ----------
        *row
            All seven arguments of :meth:`append`.

        Returns
        -------
        int
            As for :meth:`append`.
        """
        self._replay.append(row)
        return self.append(*row)

    # ------------------------------------------------------------------ background work, called by the keeper

    def prepare(self) -> None:
        """Make the next tail if the present one is half full; raises :class:`OSError` where it cannot."""
        tail = self.tail
        if tail is not _NO_TAIL and not self._closed and tail.fill > 0.5:
            self._successor(tail)

    def sync(self) -> None:
        """Bring everything stored so far to the disk.

        Raises
        ------
        OSError
            If the kernel could not write it.
        """
        tail = self.tail
        seen = (tail.fill, tail.header.number)
        if seen != self._seen:
            self._seen = seen
            tail.sync()

    def seal(self) -> int:
        """Seal the tails that are full and settled, and remove them.

        Returns
        -------
        int
            How many tails were sealed.

        Raises
        ------
        OSError
            If a batch could not be written; its tail stays.
        """
        sealed = 0
        for number in sorted(self._full):
            tail = self._full[number]
            if number >= self._last.header.number or not isinstance(tail, MappedTail) or not tail.settled:
                continue
            if self._closed:
                break
            self.append(Code.CLOCK, subject=time.time_ns())
            seal_tail(tail.rows_view(), tail.header, self._events)
            os.unlink(tail.path)
            tail.close()
            del self._full[number]
            sealed += 1
        return sealed

    # ------------------------------------------------------------------ the end

    def close(self, payload: bytes = b"", outcome: int = 0) -> None:
        """Record the end and let go of the files.

        Parameters
        ----------
        payload : bytes
            Payload of the CLOSE row.
        outcome : int
            Its flags, an :class:`~braid_hpc.vocabulary.codes.Outcome`.
        """
        if self._closed or self._forked:
            self._closed = True
            return
        if self._keeper is not None:
            self._keeper.stop()
        if self._loss is not None and self.tail is not _NO_TAIL:
            self._tell_loss()
        self.append(Code.CLOSE, subject=time.time_ns(), flags=outcome, payload=payload)
        self._closed = True
        tail, self.tail = self.tail, _NO_TAIL
        spare = self._successors.get(tail.header.number)
        if spare is not None and tail is not _NO_TAIL:
            spare.close()
            with contextlib.suppress(OSError):
                os.unlink(spare.path)
        tail.close()
        _OPEN_LOGS.discard(self)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    # ------------------------------------------------------------------ forks

    def _leave_to_parent(self) -> None:
        """In a forked child: the files are the parent's; the first event opens a log of our own."""
        self._forked = True
        self._keeper = None
        self.tail = _NO_TAIL

    def _reopen_in_child(self) -> None:
        self._forked = False
        try:
            self._open(parent=self.writer)
        except StorageError as error:
            self._closed = True
            self._lose(error)


_watching = threading.Lock()
_watched = False


def _watch_forks() -> None:
    global _watched
    with _watching:
        if not _watched:
            _watched = True
            os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for log in list(_OPEN_LOGS):
        log._leave_to_parent()
