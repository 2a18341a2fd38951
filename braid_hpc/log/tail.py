"""The tail in Python: a mapped file that an event is in when the call returns, also if the process dies then.

Rows have fixed places in a table; payloads follow each other in a heap behind it. A call reserves the next slot
and the next bytes of the heap together, stores payload and row, and publishes the row by storing its last word:
sequence and check in one aligned 8-byte store. Whatever is stored into a shared mapping survives the process
without a system call.

Reservation takes no lock. CPython hands the interpreter to another thread, or to a signal handler, only at calls
and backward jumps; from a reservation to the store that publishes the row there is neither, and whatever can fail
comes before it, so that a refused call leaves no hole. If two calls ever got the same place all the same, the check
of one of them would fail and say so.

:mod:`braid_hpc.log.compiled` does the same in one compiled call, where it was built.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from _thread import get_ident
from array import array
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol

from xxhash import xxh3_64_intdigest

from braid_hpc.log.layout import (
    PAGE,
    ROW,
    ROW_BYTES,
    TAIL_LOSS,
    TAIL_LOSS_OFFSET,
    TailHeader,
    TailKind,
    check_word,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FrameTail", "MappedTail", "Tail", "create_file"]

_HALF = 0xFFFFFFFF00000000

#: What new files are filled with, and how much of it one call takes at most (the kernel takes 1,024 pieces).
_ZEROS = bytes(64 << 10)
_MOST_ZEROS = 1_000 * len(_ZEROS)

#: Since Linux 5.14; not known by that name to the mmap module of Python 3.11.
_MADV_POPULATE_WRITE = 23


class Tail(Protocol):
    """Where a writer's events go first. ``tests/log/contract.py`` holds every implementation to this."""

    header: TailHeader
    path: Path

    def append(self, code: int, name: int, subject: int, object: int, other: int, flags: int, payload: bytes) -> int:
        """Store one row.

        Parameters
        ----------
        code : int
            The event code, uint16.
        name, other : int
            Numbers of interned texts, uint32.
        subject, object : int
            uint64, by code.
        flags : int
            uint16, by code.
        payload : bytes
            Any length.

        Returns
        -------
        int
            The row's sequence number, or 0 if this tail has no room: then, and ever after, nothing is stored.

        Raises
        ------
        struct.error
            If a number is none or does not fit its field; nothing is stored then, and no place is taken.
        TypeError
            If `payload` has no bytes, likewise.
        """
        ...

    @property
    def fill(self) -> float:
        """How much of the tail is used, from 0 to 1."""
        ...

    @property
    def settled(self) -> bool:
        """Whether every row that was reserved is published."""
        ...

    @property
    def last(self) -> int:
        """Sequence of the last row that was reserved; one less than the first one's where there is none."""
        ...

    def note_loss(self, count: int, first: int, last: int) -> None:
        """Write into the header that events were lost (`count`, monotonic ns of the first and the last)."""
        ...

    def sync(self) -> None:
        """Bring what was stored to the disk; raises :class:`OSError` where that fails."""
        ...

    def close(self) -> None:
        """Let go of the file; nothing is appended afterwards."""
        ...


def create_file(path: Path, size: int) -> int:
    """Create a file with all of its blocks allocated.

    A mapping of a sparse file on a full disk would end the process with SIGBUS; an allocated one cannot.

    Parameters
    ----------
    path : Path
        Must not exist.
    size : int
        Bytes.

    Returns
    -------
    int
        A file descriptor, open for reading and writing, not inherited.

    Raises
    ------
    OSError
        If there is no room, no permission, or the file exists; nothing is left behind.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        os.posix_fallocate(descriptor, 0, size)
        # Written as well, many pages at once: then the kernel holds the file in large pieces, and its first faults in
        # a mapping cost a tenth of what they do where each page is brought in by its own fault.
        at = 0
        while at < size:
            whole, rest = divmod(min(size - at, _MOST_ZEROS), len(_ZEROS))
            at += os.pwritev(descriptor, [*[_ZEROS] * whole, *([_ZEROS[:rest]] if rest else [])], at)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return descriptor


class MappedTail:
    """A :class:`Tail` in a shared mapping.

    Parameters
    ----------
    path : Path
        The file to create.
    writer : bytes
        The writer's 16-byte id.
    number : int
        This tail's number.
    first : int
        Sequence of its first row.
    rows : int
        Slots.
    heap : int
        Bytes for payloads; rounded up to whole pages.

    Raises
    ------
    OSError
        If the file cannot be created, allocated or mapped.
    """

    __slots__ = (
        "_descriptor",
        "_first",
        "_free",
        "_heap",
        "_limit",
        "_map",
        "_next",
        "_rows",
        "_view",
        "_words",
        "header",
        "path",
        "writer",
    )

    def __init__(self, path: Path, writer: bytes, number: int, first: int, rows: int, heap: int) -> None:
        heap_offset = PAGE + -(-rows * ROW_BYTES // PAGE) * PAGE
        self.header = TailHeader(writer, number, first, rows, heap_offset, -(-max(heap, 1) // PAGE) * PAGE)
        self.path = path
        self.writer = writer
        self._descriptor = create_file(path, self.header.total)
        try:
            self._map = mmap.mmap(self._descriptor, self.header.total, flags=mmap.MAP_SHARED)
        except BaseException:
            os.close(self._descriptor)
            os.unlink(path)
            raise
        # The first store into each page of a shared mapping enters the kernel; do that here, not in the caller.
        self._prefault()
        self._view = memoryview(self._map)
        # The last word of each row.
        words = self._view.cast("Q")
        self._words = words[PAGE // 8 + 7 : PAGE // 8 + rows * ROW_BYTES // 8 : ROW_BYTES // 8]
        self._first = first
        self._rows = rows
        self._heap = heap_offset
        # A row has 32 bits for where its payload begins.
        self._limit = min(self.header.heap_bytes, 0xFFFFFFFF)
        self._next = 0
        self._free = 0
        packed = self.header.pack()
        # The first eight bytes last, in one store: a tail is begun wholly or not at all, also where the process is
        # killed in these lines.
        self._view[8 : len(packed)] = packed[8:]
        words[0] = int.from_bytes(packed[:8], "little")

    def _prefault(self) -> None:
        try:
            self._map.madvise(_MADV_POPULATE_WRITE)
        except OSError:
            # An older kernel.
            for offset in range(0, self.header.total, PAGE):
                self._map[offset] = 0

    def append(self, code: int, name: int, subject: int, object: int, other: int, flags: int, payload: bytes) -> int:
        """Store one row; see :meth:`Tail.append`."""
        length = len(payload)
        thread = get_ident() & 0xFFFFFFFF
        while True:
            start = self._free
            row = ROW.pack(monotonic_ns(), subject, object, name, other, code, flags, thread, start, length, 0)
            digest = xxh3_64_intdigest(row + payload)
            # No call from here to the end: see the module's text.
            slot = self._next
            if start == self._free:
                break
        end = start + length
        if slot >= self._rows or end > self._limit:
            # From here on nothing fits, not even an empty payload, so that no later row of this tail overtakes the
            # first row of the next one.
            self._rows = 0
            return 0
        # Into the mapping itself, which takes a slice faster than a view of it.
        mapped = self._map
        if length:
            at = self._heap + start
            mapped[at : at + length] = payload
        self._next = slot + 1
        self._free = end
        sequence = self._first + slot
        at = PAGE + slot * ROW_BYTES
        mapped[at : at + 56] = row
        self._words[slot] = ((digest & _HALF) or (1 << 32)) | (sequence & 0xFFFFFFFF)
        return sequence

    @property
    def parts(self) -> tuple[MappedTail, mmap.mmap, memoryview, int, int, int]:
        """For callers that store rows by themselves: tail, mapping, last words, heap, its end, first sequence."""
        return self, self._map, self._words, self._heap, self._limit, self._first

    @property
    def fill(self) -> float:
        """How much of the tail is used, from 0 to 1."""
        return max(self._next / self._rows, self._free / self._limit) if self._rows else 1.0

    @property
    def last(self) -> int:
        """Sequence of the last row that was stored; one less than the first one's where there is none."""
        return self._first - 1 + self._next

    @property
    def settled(self) -> bool:
        """Whether every row that was reserved is published."""
        return bytes(8) not in (words := self._words[: self._next].tobytes()) or 0 not in array("Q", words)

    def note_loss(self, count: int, first: int, last: int) -> None:
        """Write into the header that events were lost."""
        body = TAIL_LOSS.pack(count, first, last, 0)[:-8]
        self._view[TAIL_LOSS_OFFSET : TAIL_LOSS_OFFSET + TAIL_LOSS.size] = body + xxh3_64_intdigest(body).to_bytes(
            8, "little"
        )

    def sync(self) -> None:
        """Bring what was stored to the disk.

        Raises
        ------
        OSError
            If the kernel could not write it.
        """
        # fdatasync and not msync: both write the dirty pages, but mmap.flush keeps the interpreter locked.
        os.fdatasync(self._descriptor)
        if not os.fstat(self._descriptor).st_nlink:
            raise OSError(errno.ENOENT, "the file was removed while it was written", str(self.path))

    def rows_view(self) -> memoryview:
        """Return the whole file as bytes, for sealing.

        Returns
        -------
        memoryview
            uint8, of the file's length.
        """
        return self._view

    def close(self) -> None:
        """Let go of the mapping; later calls of :meth:`append` store nothing."""
        self._rows = 0
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # What closing has to say was said by syncing, and nobody can do anything about it.
            with contextlib.suppress(OSError):
                os.close(descriptor)
            self._words.release()
            self._view.release()
            self._map.close()


class FrameTail:
    """A :class:`Tail` that appends by ``write``, for file systems whose mappings are not to be trusted.

    Parameters
    ----------
    path, writer, number, first, rows, heap
        As for :class:`MappedTail`; `rows` and `heap` only bound the file's length.

    Raises
    ------
    OSError
        If the file cannot be created.
    """

    __slots__ = (
        "_descriptor",
        "_first",
        "_free",
        "_limit",
        "_next",
        "_refused",
        "_rows",
        "_size",
        "_written",
        "header",
        "path",
        "torn",
    )

    def __init__(self, path: Path, writer: bytes, number: int, first: int, rows: int, heap: int) -> None:
        self.header = TailHeader(writer, number, first, rows, PAGE, heap, TailKind.FRAMES)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_APPEND, 0o640)
        self._first = first
        self._rows = rows
        self._limit = heap + rows * ROW_BYTES
        self._next = 0
        self._free = 0
        self._written = 0
        self._size = PAGE
        self._refused: list[int] = []
        #: Slots whose frame was not written, or not all of it.
        self.torn: list[int] = []
        try:
            self._write(self.header.pack().ljust(PAGE, b"\0"))
        except BaseException:
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def append(self, code: int, name: int, subject: int, object: int, other: int, flags: int, payload: bytes) -> int:
        """Store one row; see :meth:`Tail.append`."""
        length = len(payload)
        # What can be refused about the arguments is refused before a place is taken.
        row = ROW.pack(
            monotonic_ns(), subject, object, name, other, code, flags, get_ident() & 0xFFFFFFFF, 0, length, 0
        )
        checked = row + payload
        slot = self._next
        start = self._free
        self._next = slot + 1
        self._free = end = start + length + ROW_BYTES
        if slot >= self._rows or end > self._limit:
            self._refused.append(slot)
            return 0
        sequence = self._first + slot
        # A frame has no place that says which row it is: the slot stands in the row, where its check covers it.
        checked = checked[:40] + slot.to_bytes(4, "little") + checked[44:]
        word = check_word(sequence, xxh3_64_intdigest(checked))
        try:
            self._write(checked[:56] + word.to_bytes(8, "little") + checked[56:])
        except OSError:
            # The next one goes into another file. What was written of this one is cut off, unless another thread is
            # writing behind it; then it stays, and fails its check.
            self._free = self._limit + 1
            self.torn.append(slot)
            if self.settled:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
            raise
        self._written += 1
        self._size += ROW_BYTES + length
        return sequence

    def _write(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were written", str(self.path))

    @property
    def fill(self) -> float:
        """How much of the tail is used, from 0 to 1."""
        return min(1.0, max(self._next / self._rows, self._free / self._limit))

    @property
    def last(self) -> int:
        """Sequence of the last row that was reserved; one less than the first one's where there is none."""
        return self._first - 1 + min(self._refused, default=self._next)

    @property
    def settled(self) -> bool:
        """Whether every row that was reserved is written, or never will be."""
        return self._written + len(self.torn) >= min(self._refused, default=self._next)

    @property
    def stored(self) -> int:
        """How many rows were written."""
        return self._written

    def note_loss(self, count: int, first: int, last: int) -> None:
        """Write into the header that events were lost, as far as the file system lets us: it takes no room."""
        body = TAIL_LOSS.pack(count, first, last, 0)[:-8]
        with contextlib.suppress(OSError):
            # Through this tail's own descriptor it would be appended.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, body + xxh3_64_intdigest(body).to_bytes(8, "little"), TAIL_LOSS_OFFSET)
            finally:
                os.close(descriptor)

    def sync(self) -> None:
        """Bring what was written to the disk.

        Raises
        ------
        OSError
            If the kernel could not write it.
        """
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file; later calls of :meth:`append` store nothing."""
        self._free = self._limit + 1
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # What closing has to say was said by syncing, and nobody can do anything about it.
            with contextlib.suppress(OSError):
                os.close(descriptor)
