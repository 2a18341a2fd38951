"""A writer: one process life, its directory, its tails one after the other, its interned texts.

``append`` never raises and never waits for anybody. Where a row cannot be stored it is counted, with the time of
the first and the last one lost, and recording resumes by itself when there is room again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.batch_file import BatchFile, events_file
from braid_hpc.log.choice import compiled_module, mapped_tail
from braid_hpc.log.header import make_header, write_header
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.layout import TAIL_PREFIX, TailHeader
from braid_hpc.log.places import FileSystem, file_system_of
from braid_hpc.log.seal import seal_tails
from braid_hpc.log.ship import ship_writer
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

#: How many tails are sealed by one wait for the disk.
SEALED_AT_ONCE = 32

#: After a refusal by the file system it is asked again this much later (ns), not at every event.
RETRY_NS = 1_000_000_000

_OPEN_LOGS: weakref.WeakSet[RankLog] = weakref.WeakSet()


class _NoTail:
    """Stands where there is no tail: nothing fits, so that :meth:`RankLog.append` takes its long way."""

    path = Path(os.devnull)
    header = TailHeader(bytes(16), 0, 1, 0, 0, 0)
    fill = 1.0
    last = 0
    settled = True
    _first = 1
    _next = 1 << 62

    def append(self, code: int, name: int, subject: int, object: int, other: int, flags: int, payload: bytes) -> int:
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
        self._owed: list[Any] = []
        self._parent: bytes | None = None
        self._forked = False
        self.lost = 0
        self._loss_count = self._loss_first = self._loss_last = 0
        self._loss_reason = ""
        self.ship_to = ship_to
        self.on_loss: Callable[[str], None] | None = None
        self.attend: Callable[[], None] | None = None
        self.cell: Any = None
        if (compiled := compiled_module()) is not None:
            self.cell = compiled.Cell(_weakly(self))
            # Does what the method does as long as the present tail has room.
            self.append = self.cell.append  # type: ignore[method-assign]
        self._open()
        _OPEN_LOGS.add(self)
        _watch_forks()

    def _open(self) -> None:
        self.writer = os.urandom(16)
        self.directory = self._log_dir / self.writer.hex()
        self._successors: dict[int, Tail] = {}
        self._full: dict[int, Tail] = {}
        self._retry_at = 0
        self._closed = False
        self.tail: Tail = _NO_TAIL
        self._last: Tail = _NO_TAIL
        self._keeper: Keeper | None = None
        self._seen = (-1.0, 0)
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
            header["parent"] = self._parent.hex() if self._parent else None
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
        if self._closed or (self.tail is _NO_TAIL and time.monotonic_ns() < self._retry_at):
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
                following = self._successor(last, len(row[6]))
                # No call in these three lines, see braid_hpc.log.tail: one thread moves on, and never backwards.
                if self._last is last:
                    self._full[last.header.number] = last
                    self._last = self.tail = following
                if self._loss_count:
                    self._tell_loss()
                if (keeper := self._keeper) is not None:
                    keeper.wake()
        except Exception as error:
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
        if error is not None:
            self._loss_reason = f"{type(error).__name__}: {error}"
        if isinstance(error, (OSError, ValueError)) and not self._closed:
            self._retry_at = now + RETRY_NS
            self.tail = _NO_TAIL
        # No call in these lines, see braid_hpc.log.tail: threads that lose events at once are all counted.
        if not self._loss_count:
            self._loss_first = now
        self._loss_count += 1
        self.lost += 1
        self._loss_last = now
        with contextlib.suppress(ValueError):
            self._last.note_loss(self._loss_count, self._loss_first, now)
        if self.lost == 1 and not self._closed and self.on_loss is not None:
            self.on_loss(self._loss_reason)
        return 0

    def _tell_loss(self) -> None:
        """Record the loss as an event of its own, and what every reader needs of it, now that there is room again."""
        count, first, last, reason = self._loss_count, self._loss_first, self._loss_last, self._loss_reason
        self._loss_count = 0
        if not count:
            return
        owed, self._owed = self._owed, []
        loss = (Code.LOSS, 0, count, 0, 0, 0, encode(Loss(count, first, last, reason)))
        told = [row for row in (*owed, loss) if self.tail.append(*row)]
        if len(told) <= len(owed):
            self._owed = [row for row in owed if row not in told] + self._owed
            self._loss_first = first
            self._loss_count += count

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
        sequence = self.append(*row)
        self._replay.append(row)
        if not sequence:
            self._owed.append(row)
        return sequence

    def attach(self, files: Any) -> None:
        """Have further files of this writer synced together with its tails.

        Parameters
        ----------
        files : ArrayLog
            Anything with ``sync``, which may raise :class:`OSError`.
        """
        self._attached.append(files)

    # ------------------------------------------------------------------ background work, called by the keeper

    def watch(self) -> None:
        """Do what the program's recorder wants to be done about every second."""
        if (attend := self.attend) is not None:
            attend()

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
        mark = self.held
        # First: an event on disk that says where an array lies must find it there.
        refused: OSError | None = None
        for files in self._attached:
            try:
                files.sync()
            except OSError as error:
                refused = error
        for number, full in list(self._full.items()):
            if number not in self._suspect:
                self._sync_tail(full)
        tail = self.tail
        seen = (tail.fill, tail.header.number)
        if seen != self._seen:
            self._sync_tail(tail)
            self._seen = seen
        if refused is not None:
            raise refused
        unsure = [full.header.first - 1 for number, full in list(self._full.items()) if number in self._suspect]
        self.synced = max(self.synced, min([mark, *unsure]))

    def _sync_tail(self, tail: Tail) -> None:
        try:
            tail.sync()
        except OSError:
            # The kernel may have dropped what it could not write, and would not say so again: nothing more goes into
            # this file, and its rows, which memory still holds, are sealed into another one.
            self._suspect.add(tail.header.number)
            if tail is self.tail and isinstance(tail, MappedTail):
                tail.append(0, 0, 0, 0, 0, 0, bytes(tail.header.heap_bytes + 1))
                self.append(Code.CLOCK, subject=time.time_ns())
            raise

    @property
    def held(self) -> int:
        """Sequence of the last event that the kernel holds."""
        return max(self._last.last, self._last.header.first - 1)

    @property
    def levels(self) -> dict[str, int | None]:
        """How far each level has come, as the sequence of the last event; None where a level is not to be had."""
        return {
            "held": self.held,
            "synced": None if self.file_system.volatile else self.synced,
            "shipped": None if self.ship_to is None else self.shipped,
        }

    def ship(self) -> None:
        """Copy what is held to the directory named by `ship_to`; see :mod:`braid_hpc.log.ship`.

        Raises
        ------
        StorageError
            If it cannot be written there.
        CorruptLogError
            If what arrived is not what was read.
        """
        if self.ship_to is not None:
            with self._sealing:
                mark = self.held
                ship_writer(self.directory, self.ship_to)
                self.shipped = max(self.shipped, mark)

    def seal(self) -> int:
        """Seal the tails that are full and settled, and remove them; tails of frames are only closed.

        Returns
        -------
        int
            How many tails were sealed.

        Raises
        ------
        OSError
            If a batch could not be written; its tail stays.
        """
        with self._sealing:
            return self._seal_full()

    def _seal_full(self) -> int:
        sealed = 0
        while not self._closed:
            full = [tail for _, tail in sorted(self._full.items()) if tail.settled][:SEALED_AT_ONCE]
            if not full:
                break
            mapped = [tail for tail in full if isinstance(tail, MappedTail)]
            if mapped:
                self.append(Code.CLOCK, subject=time.time_ns())
            # Together, because each wait for the disk is as long as many tails take to fill, and a tail that waits
            # to be sealed keeps two descriptors open.
            seal_tails([(tail.rows_view(), tail.header) for tail in mapped], self._events)
            for tail in full:
                if isinstance(tail, MappedTail):
                    os.unlink(tail.path)
                number = tail.header.number
                tail.close()
                del self._full[number]
                self._suspect.discard(number)
                # Whoever still stands at the tail before it finds the way without it.
                self._successors[number - 1] = self._last
            sealed += len(mapped)
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
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()
        self._retry_at = 0
        if self._loss_count and self.tail is not _NO_TAIL:
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
        if keeper is None or not keeper.is_alive():
            for full in self._full.values():
                full.close()
        _OPEN_LOGS.discard(self)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    # ------------------------------------------------------------------ forks

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's log that the child has not asked anything of yet."""
        return self._forked

    def __getattr__(self, name: str) -> Any:
        """Open a forked child's own log when it first asks whose log this is, or where it lies."""
        if name in ("writer", "directory") and self.__dict__.get("_forked"):
            self._reopen_in_child()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _leave_to_parent(self) -> None:
        """In a forked child: the files are the parent's; the first call opens a log of our own."""
        if self._forked:
            return
        self._forked = True
        self._parent = self.__dict__.pop("writer")
        del self.directory
        tails = {id(tail): tail for tail in (self._last, *self._full.values(), *self._successors.values())}
        self._keeper = None
        self.tail = self._last = _NO_TAIL
        self._full, self._successors = {}, {}
        self.lost = self._loss_count = self._retry_at = 0
        self._owed = []
        for tail in tails.values():
            # The parent's thread may have been reading one when the process was forked: that one stays open here.
            with contextlib.suppress(BufferError, OSError):
                tail.close()

    def _reopen_in_child(self) -> bool:
        self._forked = False
        try:
            self._open()
        except StorageError as error:
            # Tried again later, as after any other refusal.
            self._forked = True
            self._loss_reason = f"{type(error).__name__}: {error}"
            self._retry_at = time.monotonic_ns() + RETRY_NS
            return False
        if self._loss_count:
            self._tell_loss()
        if multiprocessing_child():
            from multiprocessing.util import Finalize

            # Such a child ends by os._exit, which runs nothing else.
            Finalize(None, self.close, exitpriority=0)
        return True


def multiprocessing_child() -> bool:
    """Return whether this process was started by :mod:`multiprocessing`.

    Returns
    -------
    bool
        False where that module was never imported.
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _weakly(log: RankLog) -> Callable[..., int]:
    """Return the slow way of a log's rows, which does not hold the log: one that is let go is gone at once."""
    reference = weakref.ref(log)

    def append(*row: Any, **named: Any) -> int:
        log = reference()
        return 0 if log is None else log._append_slowly(*row, **named)

    return append


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
