"""Arrays in a writer's own HDF5 files, ``arrays-<n>.h5`` (``docs/array-format.md``).

A file holds one extensible dataset, a *pool*, for each common dtype; all are made when the file is, then it is
switched to single-writer/multiple-readers mode (SWMR), in which HDF5 orders its writes so that the file can be read
at any moment, also after SIGKILL. Each array begins a chunk of its own: what was acknowledged is never written again.

Who may meet whom in here, and why nobody waits for ever:

- Threads take turns by h5py's own lock, which every call of h5py takes, the program's included. A thread that
  holds it waits for the disk and for nothing of ours.
- That lock can be taken again by the thread that holds it, so a signal handler or a finaliser that records an
  array while one is being recorded goes ahead. Places are reserved without a call in between (see
  :mod:`braid_hpc.log.tail`), so the two have different ones.
- At a fork the lock is taken first, so that no other thread is inside HDF5. In the child the descriptors of these
  files then mean an empty file in memory: HDF5 would write to them at the latest when the child exits.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from braid_hpc.log.array_pools import ARRAYS_NAME, LARGE, POOLS, PoolFile, Stored
from braid_hpc.vocabulary.errors import MissingExtraError, StorageError

__all__ = ["ArrayLog", "Place"]

#: Room that must be left on the file system besides the array's own: HDF5 cannot go on in a file that it could not
#: write, so a full disk is better noticed before.
SPARE = 1 << 20

#: After a refusal by the file system it is asked again this much later (ns).
RETRY_NS = 1_000_000_000

#: How often arrays are written into yet another file before the log gives them up.
ATTEMPTS = 5

_LOGS: weakref.WeakSet[ArrayLog] = weakref.WeakSet()


class Place(NamedTuple):
    """Where an array lies.

    Attributes
    ----------
    file : int
        Number of the file, from 1.
    pool : str
        Name of the dataset.
    offset, length : int
        Elements of the pool.
    end : int
        Bytes of the file when the array was in it; a shorter file was cut.
    """

    file: int
    pool: str
    offset: int
    length: int
    end: int


class ArrayLog:
    """The arrays of one writer.

    Parameters
    ----------
    directory : Path
        The writer's directory. Nothing is created there, and h5py not imported, before the first array.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)
        self._file: PoolFile | None = None
        self._files: list[PoolFile] = []
        self._retry_at = 0
        self._closed = False
        self._attempts = 0
        self._move_at = 0

    def append(
        self,
        data: memoryview,
        dtype: str,
        shape: list[int],
        digest: bytes,
        again: Callable[[Place], int] | None = None,
    ) -> Place:
        """Store an array; when the call returns, the kernel holds it.

        Parameters
        ----------
        data : memoryview
            uint8, C-contiguous, not empty: the elements in row-major order. Nobody may change them meanwhile.
        dtype : str
            NumPy's ``dtype.str``, which chooses the pool.
        shape : list of int
            For the index.
        digest : bytes
            32 bytes, for the index, and for reading the array again.
        again : callable, optional
            Called with its new place, if the disk refuses the file and the array is written into another one; what it
            returns is true when the log tells of that place.

        Returns
        -------
        Place
            Where it lies.

        Raises
        ------
        StorageError
            If it could not be written; the next array is tried in the next file, a second later.
        MissingExtraError
            If h5py or NumPy is not installed.
        """
        lock, numpy = _h5py()
        with lock:
            if self._closed:
                raise StorageError("this writer's arrays are closed")
            file = self._file or self._open()
            try:
                _check_room(os.fstatvfs(file.descriptor), len(data))
                values, name = _as_elements(numpy, data, dtype)
                name += "-large" if len(data) >= LARGE else ""
                offset = file.pools[name].append(values)
                end = os.fstat(file.descriptor).st_size
                lengths = [*shape, *[0] * (8 - len(shape))] if len(shape) <= 8 else [0] * 8
                about = numpy.frombuffer(digest, "u1"), dtype.encode()[:64], len(shape), lengths
                file.note((name.encode(), offset, len(values), *about))
            except _FullError:
                raise
            except Exception as error:
                # HDF5 may not go on in a file that it could not write: the next one has another number.
                self._leave(file)
                raise _storage_error(self._directory, error) from error
            # Before the event: whoever syncs up to that event has to find it here.
            file.unsure[name, offset] = Stored(name, offset, len(values), dtype, shape, digest, again)
            if file.left:
                raise StorageError("the process was forked while this array was being stored")
            return Place(file.number, name, offset, len(values), end)

    def _open(self) -> PoolFile:
        if time.monotonic_ns() < self._retry_at:
            raise StorageError(f"arrays cannot be written in {self._directory}, as was found less than a second ago")
        # HDF5 that finds no room while it makes a file may end the process later, when it closes it.
        _check_room(os.statvfs(self._directory), 0)
        try:
            number = next(self._numbers)
            file = PoolFile(self._directory / ARRAYS_NAME.format(number), number)
        except Exception as error:
            self._retry_at = time.monotonic_ns() + RETRY_NS
            raise _storage_error(self._directory, error) from error
        self._files.append(file)
        self._file = file
        _LOGS.add(self)
        return file

    def _leave(self, file: PoolFile) -> None:
        self._retry_at = time.monotonic_ns() + RETRY_NS
        if self._file is file:
            self._file = None
        if file.unsure:
            # What was stored before is with the kernel, which may still bring it to the disk.
            file.keep()
        file.leave()
        with contextlib.suppress(Exception):
            file.h5.close()
        if not file.unsure and file in self._files:
            self._files.remove(file)

    def sync(self) -> list[str]:
        """Bring everything stored so far to the disk.

        Returns
        -------
        list of str
            Sentences on arrays that cannot be brought there any more.

        Raises
        ------
        OSError
            If the kernel could not write it. Then the arrays that may be missing on the disk are written into another
            file by a later call.
        """
        # By the descriptors and not by h5py: the thread that does this must not hold the lock while the disk works.
        given_up: list[str] = []
        refused: OSError | None = None
        for file in list(self._files):
            try:
                if not file.refused:
                    file.sync()
                elif file.unsure:
                    given_up += self._move(file)
            except OSError as error:
                refused = error
                # No call in between: another thread may be opening the next file.
                if self._file is file:
                    self._file = None
            if file.left and not file.unsure and file in self._files:
                file.drop()
                self._files.remove(file)
        if not any(file.unsure for file in self._files):
            self._attempts = 0
        if given_up:
            return given_up
        if refused is not None:
            raise refused
        if any(file.unsure and file.refused for file in self._files):
            raise OSError(errno.EIO, "arrays wait to be written into another file")
        return []

    def _move(self, file: PoolFile) -> list[str]:
        """Write the arrays of a file that the disk refused into another one; returns which could not be."""
        now = time.monotonic_ns()
        if now < self._move_at:
            return []
        # Each attempt leaves a file, so there are not many, and ever longer between them.
        self._move_at = now + (RETRY_NS << self._attempts)
        self._attempts += 1
        given_up = []
        lock, _ = _h5py()
        with lock:
            for place, stored in list(file.unsure.items()):
                values = None if file.left or self._attempts > ATTEMPTS else file.read_again(stored)
                if values is None or stored.again is None:
                    given_up.append(
                        f"an array of {stored.dtype} {stored.shape} in {ARRAYS_NAME.format(file.number)} could not be "
                        f"brought to the disk (blake3:{stored.digest.hex()[:12]})"
                    )
                else:
                    new = self.append(
                        memoryview(values.view("u1")), stored.dtype, stored.shape, stored.digest, stored.again
                    )
                    if not stored.again(new):
                        raise StorageError("there is no room for an event that says where an array is now")
                file.unsure.pop(place, None)
        # What was written is on the disk only now.
        for fresh in list(self._files):
            if not fresh.refused:
                fresh.sync()
        return given_up

    def close(self) -> None:
        """Complete the index and close the files; harmless a second time."""
        if self._closed or not self._files:
            self._closed = True
            return
        lock, _ = _h5py()
        with lock:
            self._closed = True
            files, self._files, self._file = self._files, [], None
            for file in files:
                file.close()
        _LOGS.discard(self)

    def _leave_to_parent(self) -> None:
        """In a forked child: the files are the parent's."""
        self._closed = True
        for file in self._files:
            file.leave()


class _FullError(StorageError):
    """There is no room, which was noticed before anything was written."""


def _check_room(room: os.statvfs_result, need: int) -> None:
    # Some file systems in user space answer with zeros.
    if room.f_blocks and room.f_bavail * room.f_frsize < need + SPARE:
        raise _FullError(f"no space is left for an array of {need} bytes")


def _as_elements(numpy: Any, data: memoryview, dtype: str) -> tuple[Any, str]:
    """Return bytes as what their pool holds, and the pool's name."""
    values = numpy.frombuffer(data, "u1")
    try:
        found = numpy.dtype(dtype)
    except (TypeError, ValueError):
        # A list of fields, or a buffer's format that NumPy does not know.
        return values, "uint8"
    # HDF5 would turn the bytes of the other byte order round.
    if found.str[0] in "<|" and found.name in POOLS:
        return values.view(found), found.name
    return values, "uint8"


def _storage_error(directory: Path, error: Exception) -> StorageError:
    # HDF5 puts the system's answer into a longer story, and h5py its number into `errno`.
    known = isinstance(error, OSError) and error.errno
    text = os.strerror(known) if known else str(error).strip().partition("\n")[0] or type(error).__name__
    return StorageError(f"an array could not be written in {directory} ({text})")


_loaded: tuple[Any, Any] | None = None


def _h5py() -> tuple[Any, Any]:
    """Return h5py's lock and NumPy; the first call imports them."""
    global _loaded
    if _loaded is None:
        try:
            import h5py
            import numpy
        except ImportError as error:
            raise MissingExtraError(
                "arrays need h5py and numpy on every rank that records them: pip install 'braid_hpc[arrays]'"
            ) from error
        if _loaded is None:
            lock = h5py._objects.phil
            _loaded = (lock, numpy)
            os.register_at_fork(before=_before_fork, after_in_parent=lock.release, after_in_child=_after_fork)
    return _loaded


def _before_fork() -> None:
    _h5py()[0].acquire()


def _after_fork() -> None:
    for log in list(_LOGS):
        log._leave_to_parent()
    _h5py()[0].release()
