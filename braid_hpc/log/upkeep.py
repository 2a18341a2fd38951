"""What a log's background thread does: the next tail made, everything synced, full tails sealed, all of it shipped.

None of it is on the way of a row. The thread (:mod:`braid_hpc.log.keeper`) takes these steps one after the other; a
program may take any of them itself at the same time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.header import sync_header, write_header
from braid_hpc.log.layout import PAGE, ROW_BYTES, TailHeader
from braid_hpc.log.losses import NO_TAIL
from braid_hpc.log.seal import seal_tails
from braid_hpc.log.sealable import frames_as_table, remove, verified
from braid_hpc.log.ship import ship_writer
from braid_hpc.log.tail import FrameTail, MappedTail, Tail
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.payloads import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.log.batch_file import BatchFile
    from braid_hpc.log.children import Children
    from braid_hpc.log.places import FileSystem

__all__ = ["Upkeep"]

#: How many tails are sealed by one wait for the disk.
SEALED_AT_ONCE = 32

#: A thread that was held up on its way to the next tail finds it even if so many have been filled since.
BEHIND = 64

#: A tail that was full in fewer seconds has its next one made at once.
QUICK = 2.0

#: How many kinds of trouble a log tells of: each is one row, and there are not many.
MOST_TROUBLES = 100


class Upkeep:
    """The half of :class:`braid_hpc.log.writer.RankLog` that brings rows to where they last."""

    directory: Path
    file_system: FileSystem
    ship_to: Path | None
    attend: Callable[[], None] | None
    tail: Tail
    synced: int
    shipped: int
    _last: Tail
    _full: dict[int, Tail]
    _successors: dict[int, Tail]
    _suspect: set[int]
    _seen: tuple[float, int, int]
    _pace: tuple[int, float, bool]
    _header_synced: bool
    _leftover: list[Path]
    _children: Children
    _troubles: dict[tuple[str, object], str]
    header: dict[str, Any]
    _attached: list[Any]
    _events: BatchFile
    _sealing: threading.Lock
    _closed: bool

    def _advance(self, last: Tail, need: int) -> None:
        """Move on to the tail behind `last`; see :class:`braid_hpc.log.writer.RankLog`."""
        raise NotImplementedError

    def _successor(self, tail: Tail, need: int = 0) -> Tail:
        """Return the tail behind `tail`; see :class:`braid_hpc.log.writer.RankLog`."""
        raise NotImplementedError

    def attach(self, files: Any) -> None:
        """Have further files of this writer synced together with its tails.

        Parameters
        ----------
        files : BatchFile or ArrayLog
            Anything with ``sync``, which returns sentences on what is lost, and may raise :class:`OSError`.
        """
        self._attached.append(files)

    def watch(self) -> None:
        """Do what the program's recorder wants to be done about every second."""
        if (attend := self.attend) is not None:
            attend()

    def see_children(self) -> None:
        """Say of forked children that have exited that their logs are complete; raises :class:`OSError` likewise."""
        self._children.look()

    def prepare(self) -> None:
        """Make the next tail if the present one is half full, or will soon be; raises :class:`OSError` if it cannot."""
        tail = self.tail
        if tail is NO_TAIL or self._closed:
            return
        number, now = tail.header.number, time.monotonic()
        if number != self._pace[0]:
            # One that was full before the thread would have looked again: so may be this one, and then the call that
            # fills it would have to make the next one itself.
            self._pace = (number, now, now - self._pace[1] < QUICK)
        if self._pace[2] or tail.fill > 0.5:
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
        refused = self._sync_attached()
        if not self._header_synced:
            refused = self._sync_header() or refused
        for number, full in list(self._full.items()):
            if number not in self._suspect:
                self._sync_tail(full)
        # Also while nothing can be recorded: its rows are held.
        tail = self._last
        seen = (tail.fill, tail.header.number, tail.last)
        if tail.header.number in self._suspect:
            self._move_on(tail)
        elif seen != self._seen:
            self._sync_tail(tail)
            self._seen = seen
        if refused is not None:
            raise refused
        tails = {full.header.number: full for full in (*self._full.values(), self._last)}
        unsure = [tails[number].header.first - 1 for number in list(self._suspect) if number in tails]
        self.synced = max(self.synced, min([mark, *unsure]))

    def _sync_attached(self) -> OSError | None:
        refused: OSError | None = None
        for files in list(self._attached):
            try:
                for given_up in files.sync():
                    self.trouble("sync", given_up)
            except OSError as error:
                refused = error
        return refused

    def _sync_header(self) -> OSError | None:
        try:
            sync_header(self.directory)
        except OSError as error:
            # Never again in the same file, as everywhere.
            with contextlib.suppress(OSError):
                write_header(self.directory, self.header)
            return error
        self._header_synced = True
        return None

    def _sync_tail(self, tail: Tail) -> None:
        try:
            tail.sync()
        except OSError:
            if tail is not self._last and tail.header.number not in self._full:
                # Another thread has sealed it meanwhile, and closed the file.
                return
            # The kernel may have dropped what it could not write, and would not say so again: nothing more goes into
            # this file, and its rows, which memory still holds, are sealed into another one.
            self._suspect.add(tail.header.number)
            if tail is self._last:
                self._move_on(tail)
            raise

    def _move_on(self, tail: Tail) -> None:
        """Leave a tail that is not full."""
        with contextlib.suppress(OSError):
            # No tail has room for as much as this, and one that has refused a row refuses every later one.
            header = tail.header
            tail.append(0, 0, 0, 0, 0, 0, bytes(header.heap_bytes + header.rows * ROW_BYTES + 1))
            self._advance(tail, 0)

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
        self._leftover = [path for path in self._leftover if not remove(path)]
        while not self._closed:
            full = [tail for _, tail in sorted(self._full.items()) if tail.settled][:SEALED_AT_ONCE]
            if not full:
                break
            tables = [table for tail in full if (table := self._table(tail)) is not None]
            if tables:
                self.note(Code.CLOCK, subject=time.time_ns())
            # Together, because each wait for the disk is as long as many tails take to fill, and a tail that waits
            # to be sealed keeps two descriptors open.
            seal_tails([(view, header) for view, header, _ in tables], self._events)
            failing = {header.number: rows for _, header, rows in tables}
            for tail in full:
                self._let_go(tail, failing.get(tail.header.number))
            sealed += len(tables)
        return sealed

    def _table(self, tail: Tail) -> tuple[memoryview, TailHeader, list[int]] | None:
        """Return the rows of a tail that are to be sealed, and the sequences of those that do not verify."""
        number = tail.header.number
        if isinstance(tail, MappedTail):
            view, failing = verified(tail.rows_view(), tail.header, thorough=number in self._suspect)
            return view, tail.header, failing
        if number not in self._suspect:
            # Its rows stay where they are, so they have to be on the disk before nobody syncs it any more.
            try:
                tail.sync()
            except OSError:
                self._suspect.add(number)
        if number not in self._suspect or not isinstance(tail, FrameTail):
            return None
        view, header = frames_as_table(tail.path, tail.header)
        reserved = range(tail.header.first, tail.last + 1)
        lost = {tail.header.first + slot for slot in tail.torn}
        words = view[PAGE : PAGE + header.rows * ROW_BYTES].cast("Q")[7::8].tolist()
        return view, header, [row for row in reserved if not words[row - header.first] and row not in lost]

    def _let_go(self, tail: Tail, failing: list[int] | None) -> None:
        """Let go of a tail whose rows are in a batch, all but those that are `failing`; None: not in a batch."""
        number = tail.header.number
        if failing is None and isinstance(tail, FrameTail):
            self.note(Code.FRAMES, subject=number, object=tail.stored)
        # In this order: whoever syncs it and finds it closed must not find it here.
        del self._full[number]
        tail.close()
        self._suspect.discard(number)
        # Whoever still stands at the tail before it finds the way without it; nobody stands far behind.
        self._successors[number - 1] = self._last
        self._successors.pop(number - BEHIND, None)
        if failing:
            # The file stays, and shows which rows these are.
            self.trouble("seal", f"{len(failing)} rows from {failing[0]} on of {tail.path.name} do not verify")
        elif failing is not None and not remove(tail.path):
            self._leftover.append(tail.path)

    # ------------------------------------------------------------------ what went wrong meanwhile

    def trouble(self, step: str, reason: str, *, kind: object = None) -> None:
        """Have the log say what went wrong in the background, once for each kind.

        Parameters
        ----------
        step : str
            What was to be done.
        reason : str
            Why it could not be done.
        kind : object, optional
            What the log tells of only once; the reason, if it is left out.
        """
        if len(self._troubles) < MOST_TROUBLES:
            self._troubles.setdefault((step, kind or reason), reason)
        self.tell_troubles()

    def tell_troubles(self) -> None:
        """Record the troubles that the log does not tell of yet; those for which there is no room wait."""
        for (step, kind), reason in list(self._troubles.items()):
            if reason and self.note(Code.TROUBLE, payload=encode(Trouble(step, reason))):
                self._troubles[step, kind] = ""

    def note(self, code: int, *, subject: int = 0, object: int = 0, payload: bytes = b"") -> int:
        """Store a row of the log's own; where there is no room, it is no loss.

        Parameters
        ----------
        code, subject, object, payload
            As for :meth:`braid_hpc.log.tail.Tail.append`.

        Returns
        -------
        int
            Its sequence, or 0.
        """
        try:
            return self.tail.append(code, 0, subject, object, 0, 0, payload)
        except (OSError, ValueError):
            return 0
