"""What a log's background thread does: the next tail made, everything synced, full tails sealed, all of it shipped.

None of it is on the way of a row. The thread (:mod:`braid_hpc.log.keeper`) takes these steps one after the other; a
program may take any of them itself at the same time.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.losses import NO_TAIL
from braid_hpc.log.seal import seal_tails
from braid_hpc.log.ship import ship_writer
from braid_hpc.log.tail import MappedTail, Tail
from braid_hpc.vocabulary.codes import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.log.batch_file import BatchFile
    from braid_hpc.log.places import FileSystem

__all__ = ["Upkeep"]

#: How many tails are sealed by one wait for the disk.
SEALED_AT_ONCE = 32


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
    _seen: tuple[float, int]
    _attached: list[Any]
    _events: BatchFile
    _sealing: threading.Lock
    _closed: bool

    def append(self, code: int, name: int = 0, subject: int = 0) -> int:
        """Store one row; see :meth:`braid_hpc.log.writer.RankLog.append`."""
        raise NotImplementedError

    def _successor(self, tail: Tail, need: int = 0) -> Tail:
        """Return the tail behind `tail`; see :class:`braid_hpc.log.writer.RankLog`."""
        raise NotImplementedError

    def attach(self, files: Any) -> None:
        """Have further files of this writer synced together with its tails.

        Parameters
        ----------
        files : ArrayLog
            Anything with ``sync``, which may raise :class:`OSError`.
        """
        self._attached.append(files)

    def watch(self) -> None:
        """Do what the program's recorder wants to be done about every second."""
        if (attend := self.attend) is not None:
            attend()

    def prepare(self) -> None:
        """Make the next tail if the present one is half full; raises :class:`OSError` where it cannot."""
        tail = self.tail
        if tail is not NO_TAIL and not self._closed and tail.fill > 0.5:
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
