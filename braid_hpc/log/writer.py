"""A writer: one process life, its directory, its tails one after the other, its interned texts.

``append`` never waits for anybody, and raises nothing but what a signal handler of the program raises meanwhile. Where
a row cannot be stored it is counted, with the time of the first and the last one lost, and recording resumes by itself
when there is room again.
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

from braid_hpc.log.batch_file import BatchFile, events_file
from braid_hpc.log.children import Children
from braid_hpc.log.choice import compiled_module, mapped_tail
from braid_hpc.log.forks import Forkable, forget_forks, watch_forks
from braid_hpc.log.header import make_header, write_header
from braid_hpc.log.interrupts import from_handler
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.layout import TAIL_PREFIX
from braid_hpc.log.losses import NO_TAIL, RETRY_NS, Losses
from braid_hpc.log.places import FileSystem, file_system_of
from braid_hpc.log.tail import FrameTail, Tail
from braid_hpc.log.upkeep import Upkeep
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RankLog"]

#: Rows and heap bytes of the first tail, and of those after it: a rank that says little takes little.
FIRST_TAIL = (2_048, 256 << 10)
LATER_TAILS = (16_384, 2 << 20)


class RankLog(Upkeep, Forkable):
    """The log of one writer.

    Parameters
    ----------
    log_dir : Path
        The directory of all writers' directories; created if it does not exist.
    facts : dict
        What the header says besides what :func:`braid_hpc.log.header.make_header` knows.
    ship_to : Path, optional
        A directory off the node that the log is copied to every minute and by :meth:`ship`.
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
    synced, shipped : int
        Sequence of the last event that is on the node's disk, and at the directory it is shipped to.
    attend : callable or None
        Called by the background thread about every second.
    cell : Cell or None
        Where compiled callers find the present tail (:mod:`braid_hpc.kernels._tail`); None where nothing is compiled.
    """

    def __init__(
        self, log_dir: Path, facts: dict[str, Any], *, ship_to: Path | None = None, background: bool = True
    ) -> None:
        self._log_dir = log_dir
        self._facts = facts
        self._background = background
        self._names: dict[str, int] = {}
        self._number = itertools.count(1)
        self._replay: list[Any] = []
        self._parent: bytes | None = None
        self._forked = False
        self.lost = 0
        self._losses = Losses()
        self.ship_to = ship_to
        self.on_loss: Callable[[str], None] | None = None
        self.attend: Callable[[], None] | None = None
        self.cell: Any = None
        if (compiled := compiled_module()) is not None:
            self.cell = compiled.Cell(_weakly(self))
            # Does what the method does as long as the present tail has room.
            self.append = self.cell.append  # type: ignore[method-assign]
        self._open()
        watch_forks(self)

    def _open(self) -> None:
        self.writer = os.urandom(16)
        self.directory = self._log_dir / self.writer.hex()
        self._successors: dict[int, Tail] = {}
        self._full: dict[int, Tail] = {}
        self._retry_at = 0
        self._closed = False
        self.tail: Tail = NO_TAIL
        self._last: Tail = NO_TAIL
        self._keeper: Keeper | None = None
        self._seen = (-1.0, 0, 0)
        # Number of the tail that the background thread saw last, since when, and whether the one before was full soon.
        self._pace = (0, 0.0, False)
        self._header_synced = False
        self._leftover: list[Path] = []
        self._children = Children(self._log_dir, self.writer)
        self._troubles: dict[tuple[str, object], str] = {}
        self._attached: list[Any] = []
        self._suspect: set[int] = set()
        self.synced = self.shipped = 0
        # Never taken by a call that records; made anew in a forked child, whose parent's thread may have held it.
        self._sealing = threading.Lock()
        self._events: BatchFile = events_file(self.directory)
        try:
            self.directory.mkdir(parents=True, mode=0o750)
            self.file_system: FileSystem = file_system_of(self.directory)
            header = make_header(self.writer, self._facts)
            header["file_system"] = self.file_system.type
            header["mount"] = self.file_system.mount
            header["tail"] = "mapped" if self.file_system.mappable else "frames"
            header["parent"] = self._parent.hex() if self._parent else self._facts.get("parent")
            self.clock = (header["clock"]["monotonic_ns"], header["clock"]["utc_ns"])
            self.header = header
            write_header(self.directory, header)
            self.tail = self._last = self._create(1, 1, *FIRST_TAIL)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.rmdir(self.directory)
            reason = error.strerror or type(error).__name__
            raise StorageError(
                f"cannot write a rank log in {self._log_dir} ({reason}): "
                f"name another directory with log_dir= or BRAID_LOG_DIR"
            ) from error
        for row in self._replay:
            self.append(*row)
        if self._background:
            try:
                self._keeper = Keeper(self)
                self._keeper.start()
            except (OSError, RuntimeError):
                # No descriptor or no thread is left: events are held all the same, only nothing is sealed.
                self._keeper = None

    def _create(self, number: int, first: int, rows: int, heap: int) -> Tail:
        kind: Callable[..., Tail] = mapped_tail() if self.file_system.mappable else FrameTail
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
        except Exception as error:
            if from_handler(error):
                raise
            return self._lose(error)
        return sequence or self._append_in_next(code, name, subject, object, other, flags, payload)

    def _append_slowly(self, *row: Any, **named: Any) -> int:
        """Take the way of a row that the compiled cell could not store."""
        sequence = RankLog.append(self, *row, **named)
        # A tail is left only when it has refused a row, so one that another thread points to late leads back here.
        self.cell.point(getattr(self.tail, "table", None))
        return sequence

    def _append_in_next(self, *row: Any) -> int:
        """Take the way of a row for which the present tail has no room."""
        if self._closed or (self.tail is NO_TAIL and time.monotonic_ns() < self._retry_at):
            return self._lose(None)
        try:
            if self._forked:
                return self.append(*row) if self._reopen_in_child() else self._lose(None)
            # More than one turn is taken when other threads fill the next tail meanwhile, or the payload is large.
            for _ in range(1_000):
                last = self._last
                # Only a tail that has refused a row refuses every later one, and may be sealed: ask the present one
                # once more, another thread may have brought it.
                if self.tail is last and (sequence := last.append(*row)):
                    return sequence
                self._advance(last, len(row[6]))
        except Exception as error:
            if from_handler(error):
                raise
            return self._lose(error)
        return self._lose(OSError("no tail took the row"))

    def _advance(self, last: Tail, need: int) -> None:
        """Move on to the tail behind `last`, which has refused a row."""
        following = self._successor(last, need)
        # No call in these three lines, see braid_hpc.log.tail: one thread moves on, and never backwards.
        if self._last is last:
            self._full[last.header.number] = last
            self._last = self.tail = following
        if self._losses.count:
            self._losses.tell(self.tail.append)
        if (keeper := self._keeper) is not None:
            keeper.wake()

    def _successor(self, tail: Tail, need: int = 0) -> Tail:
        """Return the tail behind `tail`; whoever comes first makes it, everybody gets the same one."""
        number = tail.header.number
        found = self._successors.get(number)
        if found is None:
            if self._last is not tail:
                # This thread was held up so long that its tail is sealed and forgotten.
                return self._last
            rows, heap = LATER_TAILS
            made = self._create(number + 1, tail.header.after, rows, max(heap, 2 * need))
            found = self._successors.setdefault(number, made)
            if found is not made:
                made.close()
                os.unlink(made.path)
        return found

    def lose(self, error: Exception | None, count: int) -> None:
        """Count rows that could not be stored in a file of their own, and say so at once where there is room.

        Parameters
        ----------
        error : Exception or None
            Why not; None for the reason that was counted last.
        count : int
            How many.
        """
        self._count_lost(time.monotonic_ns(), error, count)
        if self.tail is not NO_TAIL:
            self._losses.tell(self.tail.append)

    def _lose(self, error: Exception | None) -> int:
        now = time.monotonic_ns()
        if isinstance(error, (OSError, ValueError)) and not self._closed:
            self._retry_at = now + RETRY_NS
            self.tail = NO_TAIL
        self._count_lost(now, error, 1)
        return 0

    def _count_lost(self, now: int, error: Exception | None, count: int) -> None:
        if error is not None:
            self._losses.reason = f"{type(error).__name__}: {error}"
        told = self.lost
        self.lost = told + count
        losses = self._losses
        losses.add(now, count)
        with contextlib.suppress(ValueError):
            self._last.note_loss(losses.count, losses.first, now)
        if not told and not self._closed and self.on_loss is not None:
            self.on_loss(self._losses.reason)

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
            # The text before its number is known: another thread must not use a number that no row explains. Two
            # threads may give one text two numbers.
            number = next(self._number)
            self.remember(Code.NAME, 0, number, 0, 0, 0, text.encode("utf-8", "surrogatepass"))
            number = self._names.setdefault(text, number)
        return number

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
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()
        with contextlib.suppress(OSError):
            self._children.look()
        self._children.forget()
        self._retry_at = 0
        if self.tail is not NO_TAIL:
            self._losses.tell(self.tail.append)
        self.tell_troubles()
        for full in self._full.values():
            if isinstance(full, FrameTail) and full.settled:
                self.note(Code.FRAMES, subject=full.header.number, object=full.stored)
        self.append(Code.CLOSE, subject=time.time_ns(), flags=outcome, payload=payload)
        self._closed = True
        tail, self.tail = self.tail, NO_TAIL
        spare = self._successors.get(tail.header.number)
        if spare is not None and tail is not NO_TAIL:
            spare.close()
            with contextlib.suppress(OSError):
                os.unlink(spare.path)
        tail.close()
        if keeper is None or not keeper.is_alive():
            for full in self._full.values():
                full.close()
        forget_forks(self)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed


def _weakly(log: RankLog) -> Callable[..., int]:
    """Return the slow way of a log's rows, which does not hold the log: one that is let go is gone at once."""
    reference = weakref.ref(log)

    def append(*row: Any, **named: Any) -> int:
        log = reference()
        return 0 if log is None else log._append_slowly(*row, **named)

    return append
