"""The done index: which keys are done, in one file that a rank maps (``docs/done-format.md``).

Beside each snapshot ``<n>.duckdb`` lies ``<n>.done``. A rank looks a key up in a few microseconds, without a database,
a network or a lock: by halving a sorted list of keys.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError, InvalidInputError
from braid_hpc.vocabulary.task_payloads import Done

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ENTRY", "HEAD", "HEADER", "KEY_BYTES", "MAGIC", "MAJOR", "MINOR", "DoneIndex", "entry_check", "newest_done"]

MAGIC = b"BRAIDONE"
MAJOR, MINOR = 1, 0
KEY_BYTES = 16
#: Sum of the rest of the head; major, minor, snapshot, keys; where keys, entries and heap begin, and the file ends.
HEADER = struct.Struct("<8s16sHHIQQQQQQ")
#: Bytes of the head.
HEAD = 128
#: Where the entry begins in the heap, its length, state, and a check over key, state and entry.
ENTRY = struct.Struct("<QIBxxxQ")

_NAME = re.compile(r"([1-9][0-9]*)\.done")
_DONE = msgspec.msgpack.Decoder(Done)


def entry_check(key: bytes, state: int, entry: bytes) -> int:
    """Return the check of an entry.

    Parameters
    ----------
    key : bytes
        16 bytes.
    state : int
        Its state.
    entry : bytes
        MessagePack of a :class:`braid_hpc.vocabulary.task_payloads.Done`.

    Returns
    -------
    int
        XXH3, 64 bits.
    """
    return int(xxh3_64_intdigest(key + bytes([state]) + entry))


def newest_done(store: str | os.PathLike[str]) -> Path | None:
    """Return the newest done index of a store.

    Parameters
    ----------
    store : path-like
        The store's name.

    Returns
    -------
    Path or None
        None where there is none.
    """
    path = Path(store).absolute()
    directory = path.with_name(path.name + ".d")
    try:
        names = os.listdir(directory)
    except OSError:
        return None
    numbers = [int(found[1]) for name in names if (found := _NAME.fullmatch(name))]
    return directory / f"{max(numbers)}.done" if numbers else None


class _Keys(Sequence[bytes]):
    """The sorted keys of a mapped index, for halving."""

    def __init__(self, data: mmap.mmap, begin: int, count: int) -> None:
        self._data, self._begin, self._count = data, begin, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, at: Any) -> Any:
        begin = self._begin + at * KEY_BYTES
        return self._data[begin : begin + KEY_BYTES]


class DoneIndex:
    """A done index, mapped.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    path : Path
        The file.
    snapshot : int
        Of the store, that it was made of.

    Raises
    ------
    OSError
        If it cannot be read.
    FormatTooNewError
        If it is of a newer format.
    CorruptLogError
        If its head does not carry its sum, or it is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            head = file.read(HEAD)
            size = os.fstat(file.fileno()).st_size
            if len(head) < HEAD or not head.startswith(MAGIC):
                raise CorruptLogError(f"{path} is no done index: 'braid rebuild' makes it again")
            _, check, major, minor, _, self.snapshot, count, keys, table, heap, end = HEADER.unpack_from(head)
            if major > MAJOR:
                raise FormatTooNewError(f"{path} is of format {major}.{minor}, and this is 1.0: update braid_hpc")
            if xxh3_128_digest(head[24:]) != check or size != end:
                raise CorruptLogError(f"{path} is damaged or cut off: 'braid rebuild' makes it again")
            self._data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._keys = _Keys(self._data, keys, count)
        self._at, self._table, self._heap = keys, table, heap

    def __len__(self) -> int:
        """How many keys it has."""
        return len(self._keys)

    def find(self, key: bytes) -> tuple[State, Done] | None:
        """Look a key up.

        Parameters
        ----------
        key : bytes
            16 bytes.

        Returns
        -------
        tuple of (State, Done) or None
            None if it is not known.

        Raises
        ------
        CorruptLogError
            If its entry does not carry the check it was written with.
        """
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at] != key:
            return None
        return self._entry(at)

    def _entry(self, at: int) -> tuple[State, Done]:
        key: bytes = self._keys[at]
        begin, length, state, check = ENTRY.unpack_from(self._data, self._table + at * ENTRY.size)
        entry = self._data[self._heap + begin : self._heap + begin + length]
        if entry_check(key, state, entry) != check:
            raise CorruptLogError(f"the entry of {key.hex()} in {self.path} is damaged: 'braid rebuild' makes it again")
        return State(state), _DONE.decode(entry)

    def starting_with(self, prefix: str) -> list[bytes]:
        """Return the keys that begin with some hexadecimal digits.

        Parameters
        ----------
        prefix : str
            At least one digit.

        Returns
        -------
        list of bytes
            At most 16 of them, in order.

        Raises
        ------
        InvalidInputError
            If these are no hexadecimal digits.
        """
        try:
            low = bytes.fromhex(prefix.ljust(2 * KEY_BYTES, "0"))
        except ValueError:
            raise InvalidInputError(f"{prefix!r} is not the beginning of a key: that is hexadecimal digits") from None
        found: list[bytes] = []
        for at in range(bisect_left(self._keys, low), len(self._keys)):
            key: bytes = self._keys[at]
            if len(found) == 16 or not key.hex().startswith(prefix.lower()):
                break
            found.append(key)
        return found

    def lookup(self, keys: NDArray[Any]) -> NDArray[Any]:
        """Look many keys up.

        Parameters
        ----------
        keys : numpy.ndarray
            uint8, shape (n, 16).

        Returns
        -------
        numpy.ndarray
            uint8, shape (n,): numbers of :class:`braid_hpc.tasks.states.State`.

        Raises
        ------
        InvalidInputError
            If `keys` is of another shape or type.
        """
        import numpy as np

        found = self.places(keys)
        if not len(self._keys):
            return np.zeros(len(found), np.uint8)
        states = self.table["state"]
        return np.where(found >= 0, states[np.maximum(found, 0)], 0).astype(np.uint8)

    def places(self, keys: NDArray[Any]) -> NDArray[Any]:
        """Return where many keys stand.

        Parameters
        ----------
        keys : numpy.ndarray
            uint8, shape (n, 16).

        Returns
        -------
        numpy.ndarray
            int64, shape (n,): places among the keys of the index, ascending by key; -1 where a key is not there.

        Raises
        ------
        InvalidInputError
            If `keys` is of another shape or type.
        """
        import numpy as np

        keys = np.ascontiguousarray(keys)
        if keys.dtype != np.uint8 or keys.ndim != 2 or keys.shape[1] != KEY_BYTES:
            raise InvalidInputError(f"keys are uint8 of shape (n, 16), not {keys.dtype} of shape {keys.shape}")
        count = len(self._keys)
        found = np.full(len(keys), -1, np.int64)
        if not count:
            return found
        known = np.frombuffer(self._data, ">u8", 2 * count, self._at).reshape(-1, 2)
        first = known[:, 0].astype("u8")
        wanted = keys.view(">u8").astype("u8").reshape(-1, 2)
        # In order they are found many times as fast, because each is near the one before it.
        order = np.argsort(wanted[:, 0])
        at = np.empty(len(keys), np.int64)
        at[order] = np.searchsorted(first, wanted[order, 0])
        # Two keys with the same 64 bits are next to each other, and are hardly ever there.
        left = np.arange(len(keys))
        while len(left):
            inside = left[at[left] < count]
            inside = inside[first[at[inside]] == wanted[inside, 0]]
            hit = known[at[inside], 1] == wanted[inside, 1]
            found[inside[hit]] = at[inside[hit]]
            left = inside[~hit]
            at[left] += 1
        return found

    @property
    def table(self) -> NDArray[Any]:
        """Where entries begin in the heap, their length and state: a structured array, one for each key, mapped."""
        import numpy as np

        kind = np.dtype(
            {
                "names": ["begin", "length", "state"],
                "formats": ["<u8", "<u4", "u1"],
                "offsets": [0, 8, 12],
                "itemsize": ENTRY.size,
            }
        )
        return np.frombuffer(self._data, kind, len(self._keys), self._table)

    @property
    def heap(self) -> NDArray[Any]:
        """The bytes of all entries, uint8, mapped."""
        import numpy as np

        return np.frombuffer(self._data, np.uint8, offset=self._heap)

    def let_go(self) -> None:
        """Let the kernel take back the memory of entries that were read: the file has them."""
        begin = self._heap + -self._heap % mmap.PAGESIZE
        if begin < len(self._data):
            self._data.madvise(mmap.MADV_DONTNEED, begin, len(self._data) - begin)

    def entry(self, at: int) -> Done:
        """Return what is known of a key.

        Parameters
        ----------
        at : int
            Its place, from :meth:`places`.

        Returns
        -------
        Done
            Of the execution that counts.

        Raises
        ------
        CorruptLogError
            If the entry does not carry the check it was written with.
        """
        return self._entry(at)[1]
