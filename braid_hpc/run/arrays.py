"""Storing arrays for a run: once for equal content, small ones among the events, large ones in HDF5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.log.arrays import ArrayLog, Place
from braid_hpc.vocabulary.arrays import ArrayBytes, array_bytes
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import BraidError
from braid_hpc.vocabulary.identity import Content
from braid_hpc.vocabulary.payloads import ARRAY_IN_FILE, ARRAY_LOST, ArrayEntry

if TYPE_CHECKING:
    from braid_hpc.log.writer import RankLog

__all__ = ["INLINE_BYTES", "RunArrays"]

#: Arrays up to this many bytes go into the tail, among the events: that costs a copy and is held at once, where
#: HDF5 takes some 100 us a call whatever its size (``benchmarks/arrays.py``).
INLINE_BYTES = 16 << 10


class RunArrays:
    """The arrays of a run on one rank.

    Parameters
    ----------
    log : RankLog
        The rank's log; a forked child's is another writer, with files and a memory of its own.

    Attributes
    ----------
    lost : int
        Arrays that could not be stored.
    """

    def __init__(self, log: RankLog) -> None:
        self._log = log
        self._begin(log.writer)
        self.lost = 0

    def _begin(self, writer: bytes) -> None:
        self._writer = writer
        self._stored: set[str] = set()
        self._files = ArrayLog(self._log.directory)
        self._log.attach(self._files)

    def keep(self, kind: str, name: str, array: Any) -> tuple[ArrayBytes, Content, str | None]:
        """Store the bytes of an array, unless this writer has stored them before.

        Parameters
        ----------
        kind, name : str
            Of the record that it is the content of, for messages.
        array : object
            As for :func:`braid_hpc.vocabulary.arrays.array_bytes`.

        Returns
        -------
        laid : ArrayBytes
            Its dtype and shape.
        content : Content
            Its digest and size in bytes.
        lost : str or None
            Why its bytes could not be stored, if they could not.

        Raises
        ------
        InvalidInputError
            If it is no array, or holds Python objects.
        """
        laid = array_bytes(array)
        data = laid.data
        if data.nbytes <= INLINE_BYTES:
            # Copied before it is digested: what another thread writes into it meanwhile cannot come in between.
            laid = ArrayBytes(memoryview(bytes(data)), laid.dtype, laid.shape)
        content = laid.content()
        log = self._log
        if log.writer != self._writer:
            self._begin(log.writer)
        if content.digest in self._stored:
            return laid, content, None
        entry = ArrayEntry(content.digest, data.nbytes, laid.dtype, laid.shape)
        flags, lost = 0, None
        if data.nbytes <= INLINE_BYTES:
            entry.data = laid.data
        else:
            flags, lost = self._to_file(entry, laid, (log.intern(name), log.intern(kind)))
        if log.append(Code.ARRAY, log.intern(name), 0, 0, log.intern(kind), flags, encode(entry)) and lost is None:
            self._stored.add(content.digest)
        return laid, content, lost

    def _to_file(self, entry: ArrayEntry, laid: ArrayBytes, names: tuple[int, int]) -> tuple[int, str | None]:
        digest = bytes.fromhex(entry.digest.partition(":")[2])
        log = self._log

        def again(place: Place) -> int:
            """Tell where the array is now, after the disk refused the file it was in."""
            moved = ArrayEntry(entry.digest, entry.size, entry.dtype, entry.shape)
            moved.file, moved.pool, moved.offset, moved.length, moved.end = place
            return log.append(Code.ARRAY, names[0], 0, 0, names[1], ARRAY_IN_FILE, encode(moved))

        try:
            place = self._files.append(laid.data, laid.dtype, laid.shape, digest, again)
        except (BraidError, OSError, MemoryError) as error:
            self.lost += 1
            entry.error = str(error) or type(error).__name__
            return ARRAY_LOST, entry.error
        entry.file, entry.pool, entry.offset, entry.length, entry.end = place
        return ARRAY_IN_FILE, None

    def close(self) -> None:
        """Close the files of this writer."""
        if not self._log.inherited and self._log.writer == self._writer:
            self._files.close()
