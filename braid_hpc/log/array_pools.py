"""One arrays file: its pools, its index, and how it is let go of (``docs/array-format.md``).

Everything in here runs while h5py's lock is held; a signal handler may all the same come in between, on the thread
that holds it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from braid_hpc.vocabulary.arrays import array_digest

__all__ = [
    "ARRAYS_NAME",
    "CHUNK",
    "INDEX",
    "INDEX_ROWS",
    "LARGE",
    "LARGE_CHUNK",
    "MAJOR",
    "POOLS",
    "Pool",
    "PoolFile",
    "Stored",
]

ARRAYS_NAME = "arrays-{}.h5"

#: What the attribute ``format`` of a file says behind ``braid arrays``; a reader refuses a higher number.
MAJOR = 1

#: The dtypes that have pools, all little-endian; the bytes of every other one go into ``uint8``.
POOLS = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)

#: Bytes of a chunk in a pool, and in its twin ``<dtype>-large`` for arrays of at least LARGE bytes: an array fills
#: whole chunks, so a chunk is what an array may waste, and about 30 us is what each chunk costs.
CHUNK, LARGE_CHUNK = 32 << 10, 256 << 10
LARGE = 256 << 10

#: Fields of the dataset ``index``, as NumPy has them; the shape of an array of more than eight dimensions is left out.
INDEX = [
    ("pool", "S16"),
    ("offset", "<u8"),
    ("length", "<u8"),
    ("digest", "u1", (32,)),
    ("dtype", "S64"),
    ("dimensions", "<u4"),
    ("shape", "<u8", (8,)),
]
#: The index is written this many rows at a time, which is a chunk of it, and at the end.
INDEX_ROWS = 64


class Pool:
    """One dataset that grows."""

    __slots__ = ("chunk", "end", "extent", "flush", "kind", "read", "set_extent", "space", "write")

    def __init__(self, dataset: Any) -> None:
        identity = dataset.id
        self.chunk: int = dataset.chunks[0]
        self.kind = identity.get_type()
        self.set_extent, self.space = identity.set_extent, identity.get_space
        self.write, self.flush, self.read = identity.write, identity.flush, identity.read
        self.end = self.extent = 0

    def append(self, values: Any) -> int:
        """Write a one-dimensional array of the pool's dtype and return its offset; h5py's lock is held."""
        from h5py import h5s

        length = len(values)
        # No call in these lines, see braid_hpc.log.tail: a signal handler gets another place. `extent` is where the
        # dataset ends, `end` where the next array begins.
        offset = self.end
        self.extent = offset + length
        self.end = offset - (-length // self.chunk) * self.chunk
        # The newest extent, whoever reserved it: a dataset that were set to an older one would lose what is behind.
        self.set_extent((self.extent,))
        place = self.space()
        place.select_hyperslab((offset,), (length,))
        self.write(h5s.create_simple((length,)), place, values, self.kind)
        self.flush()
        return offset


class Stored(NamedTuple):
    """An array that is written and perhaps not on the disk yet."""

    pool: str
    offset: int
    length: int
    dtype: str
    shape: list[int]
    digest: bytes
    again: Callable[[Any], int] | None


class PoolFile:
    """One file and its pools.

    Attributes
    ----------
    left : bool
        Whether HDF5 writes nowhere any more.
    refused : bool
        Whether the kernel could not bring the file to the disk, so that nothing more goes into it.
    unsure : dict of (str, int) to Stored
        The arrays that are not known to be on the disk, by pool and offset.
    """

    def __init__(self, path: Path, number: int) -> None:
        import h5py
        import numpy

        self.number = number
        self.left = self.refused = False
        self.unsure: dict[tuple[str, int], Stored] = {}
        self._kept = -1
        # Not "latest": 1.10 has all that is used here, and every later HDF5 reads it. Without a chunk cache a chunk
        # is written once, when it is complete, and flushing has only metadata left to write. Locks are of no use
        # for a file that has one writer and a name of its own, and some file systems refuse them.
        self.h5 = h5py.File(path, "x", libver=("v110", "v110"), locking=False, rdcc_nbytes=0)
        try:
            self.descriptor: int = self.h5.id.get_vfd_handle()
            os.set_inheritable(self.descriptor, False)
            self.index_dtype = numpy.dtype(INDEX)
            pools = {}
            for name in POOLS:
                for suffix, chunk in (("", CHUNK), ("-large", LARGE_CHUNK)):
                    pools[name + suffix] = self._create(name + suffix, name, chunk // numpy.dtype(name).itemsize)
            self.index = self._create("index", self.index_dtype, INDEX_ROWS)
            self.h5.attrs["format"] = f"braid arrays {MAJOR}"
            self.h5.swmr_mode = True
            self.h5.flush()
        except BaseException:
            with contextlib.suppress(Exception):
                # All of it here, and not when Python finds that nobody needs the objects: what fails then is printed.
                self.leave()
                self.h5.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        self.pools = pools
        self.rows: list[tuple[Any, ...]] = []

    def _create(self, name: str, dtype: Any, chunk: int) -> Pool:
        about = {"shape": (0,), "maxshape": (None,), "chunks": (chunk,), "fletcher32": True}
        return Pool(self.h5.create_dataset(name, dtype=dtype, **about))

    def note(self, row: tuple[Any, ...]) -> None:
        """Take a row of the index, and write whole chunks of it."""
        self.rows.append(row)
        if len(self.rows) >= INDEX_ROWS:
            self.write_index(INDEX_ROWS)

    def write_index(self, most: int) -> None:
        """Write the first rows that wait, `most` of them."""
        import numpy

        # No call in between, see braid_hpc.log.tail.
        rows = self.rows
        self.rows = []
        for first in range(0, len(rows), most):
            self.index.append(numpy.array(rows[first : first + most], self.index_dtype))

    def sync(self) -> None:
        """Bring the file to the disk.

        Raises
        ------
        OSError
            If the kernel could not, now or before.
        """
        known = list(self.unsure)
        if not known:
            return
        descriptor = self._kept if self.left else self.descriptor
        if self.refused or descriptor < 0:
            raise OSError(errno.EIO, f"{ARRAYS_NAME.format(self.number)} could not be brought to the disk")
        try:
            os.fdatasync(descriptor)
        except OSError:
            self.refused = True
            raise
        for place in known:
            self.unsure.pop(place, None)

    def read_again(self, stored: Stored) -> Any:
        """Return the elements of an array; None if what is there is something else. h5py's lock is held."""
        import numpy
        from h5py import h5s

        pool = self.pools[stored.pool]
        name = stored.pool.removesuffix("-large")
        values = numpy.empty(stored.length, name)
        try:
            place = pool.space()
            place.select_hyperslab((stored.offset,), (stored.length,))
            pool.read(h5s.create_simple((stored.length,)), place, values, pool.kind)
        except Exception:
            # A chunk that does not carry its checksum any more, or a file that HDF5 has given up.
            return None
        digest = array_digest(stored.dtype, stored.shape)
        digest.update(values.view("u1"))
        return values if digest.digest() == stored.digest else None

    def keep(self) -> None:
        """Keep the file at hand for :meth:`sync` when HDF5 is about to leave it."""
        with contextlib.suppress(OSError):
            self._kept = os.dup(self.descriptor)

    def drop(self) -> None:
        """Let go of a file that was left, once all of its arrays are accounted for."""
        kept, self._kept = self._kept, -1
        if kept >= 0:
            os.close(kept)

    def leave(self) -> None:
        """Let HDF5 keep what it has and write it nowhere: for a file that cannot be written, and a forked child."""
        self.left = True
        nowhere = os.memfd_create("braid-arrays", os.MFD_CLOEXEC)
        os.dup2(nowhere, self.descriptor, inheritable=False)
        os.close(nowhere)

    def close(self) -> None:
        """Close the file, after which it is an HDF5 file like any other, unless the kernel refused it."""
        self.drop()
        if self.left:
            return
        try:
            if self.refused:
                # Not even the index goes into it.
                self.leave()
            else:
                self.write_index(INDEX_ROWS)
            self.h5.close()
        except Exception:
            # Everything acknowledged is in the file all the same.
            with contextlib.suppress(Exception):
                self.leave()
                self.h5.close()
