"""The process that opens arrays files, so that a damaged one can neither hang nor end the reader.

Started by its path, see :mod:`braid_hpc.reading.arrays`; it imports nothing of this package. It reads other HDF5 files
too, for :mod:`braid_hpc.assets.hdf5`. Requests are lines of JSON, answers are frames: a letter, a length (uint64), that
many bytes. Letters: ``R`` ready, ``D`` bytes of an array, ``J`` JSON, ``F`` a sentence on what is damaged, ``N`` the
number of a newer format, ``M`` that h5py is missing.

HDF5 never opens the file itself. It is given a view of it in which the superblock says that no writer is at work
and that the file ends where it ends: HDF5 otherwise waits for a writer that was killed, for minutes or for ever,
each time a checksum of its own structures does not hold. Of other files it is given that view only where a writer is
named, and there nothing is read for zeros: what lies behind the end is an error.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import struct
import sys
from typing import Any

__all__ = ["FORMAT", "MAJOR", "QuietFile", "lookup3", "main"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = 48
_FLAGS, _END, _CHECK = 11, 28, 44
_WORD = 0xFFFFFFFF

#: The newest format of an arrays file that is read here, as its attribute ``format`` says it.
FORMAT, MAJOR = "braid arrays ", 1

#: Address space; a damaged length must not make this process take the machine's memory.
_MOST_MEMORY = 16 << 30


def _rotate(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _WORD


def lookup3(data: bytes) -> int:
    """Return the checksum HDF5 has on its structures.

    Parameters
    ----------
    data : bytes
        What is checked.

    Returns
    -------
    int
        ``hashlittle`` of Bob Jenkins's lookup3.c (public domain) with the initial value 0.
    """
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _WORD
    at = 0
    while len(data) - at > 12:
        x, y, z = struct.unpack_from("<III", data, at)
        a, b, c = (a + x) & _WORD, (b + y) & _WORD, (c + z) & _WORD
        a, c = ((a - c) & _WORD) ^ _rotate(c, 4), (c + b) & _WORD
        b, a = ((b - a) & _WORD) ^ _rotate(a, 6), (a + c) & _WORD
        c, b = ((c - b) & _WORD) ^ _rotate(b, 8), (b + a) & _WORD
        a, c = ((a - c) & _WORD) ^ _rotate(c, 16), (c + b) & _WORD
        b, a = ((b - a) & _WORD) ^ _rotate(a, 19), (a + c) & _WORD
        c, b = ((c - b) & _WORD) ^ _rotate(b, 4), (b + a) & _WORD
        at += 12
    if at == len(data):
        return c
    x, y, z = struct.unpack("<III", data[at:].ljust(12, b"\0"))
    a, b, c = (a + x) & _WORD, (b + y) & _WORD, (c + z) & _WORD
    c = ((c ^ b) - _rotate(b, 14)) & _WORD
    a = ((a ^ c) - _rotate(c, 11)) & _WORD
    b = ((b ^ a) - _rotate(a, 25)) & _WORD
    c = ((c ^ b) - _rotate(b, 16)) & _WORD
    a = ((a ^ c) - _rotate(c, 4)) & _WORD
    b = ((b ^ a) - _rotate(a, 14)) & _WORD
    return ((c ^ b) - _rotate(b, 24)) & _WORD


class QuietFile(io.RawIOBase):
    """A file as it is now, whose superblock names no writer and the true length.

    Parameters
    ----------
    path : str
        An HDF5 file with a superblock of version 3.
    padded : bool
        Whether what lies behind the end reads as zeros; else it is an error.

    Raises
    ------
    ValueError
        If it has none, or one that does not carry its checksum.
    """

    def __init__(self, path: str, *, padded: bool = True) -> None:
        self._file = io.FileIO(path)
        self._padded = padded
        self._at: int = 0
        self._length = os.fstat(self._file.fileno()).st_size
        head = bytearray(self._file.read(_SUPERBLOCK) or b"")
        if len(head) < _SUPERBLOCK:
            raise ValueError(f"the file ends within its superblock, after {len(head)} bytes")
        if head[:9] != _SIGNATURE + b"\3" or lookup3(bytes(head[:_CHECK])) != int.from_bytes(head[_CHECK:], "little"):
            raise ValueError("its superblock does not carry its checksum")
        head[_FLAGS] = 0
        head[_END : _END + 8] = self._length.to_bytes(8, "little")
        head[_CHECK:] = lookup3(bytes(head[:_CHECK])).to_bytes(4, "little")
        self._head = bytes(head)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position; see :meth:`io.IOBase.seek`."""
        self._at = at = offset + (0, self._at, self._length)[whence]
        return at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as much as there is; what lies behind the end reads as zeros.

        Parameters
        ----------
        buffer : writable buffer
            Filled.

        Returns
        -------
        int
            Its length.

        Raises
        ------
        OSError
            If it is not padded, and the file ends before.
        """
        view = memoryview(buffer).cast("B")
        data = os.pread(self._file.fileno(), len(view), self._at)
        if self._at < _SUPERBLOCK:
            data = (self._head[self._at :] + data[_SUPERBLOCK - self._at :])[: len(view)]
        if len(data) < len(view) and not self._padded:
            raise OSError(f"the file ends after {self._length} bytes, and byte {self._at + len(view) - 1} is wanted")
        view[: len(data)] = data
        view[len(data) :] = bytes(len(view) - len(data))
        self._at += len(view)
        return len(view)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()


class _NewerFormat(Exception):
    """The file is of a format that is not known here."""


def _refuse_newer(h5: Any) -> None:
    name = h5.attrs.get("format", "")
    number = name.removeprefix(FORMAT) if isinstance(name, str) else ""
    if number.isdecimal() and int(number) > MAJOR:
        raise _NewerFormat(number)


class _Server:
    def __init__(self, out: int) -> None:
        self._out = out
        self._which: tuple[Any, ...] | None = None
        self._h5: Any = None

    def answer(self, letter: bytes, data: bytes = b"") -> None:
        view = memoryview(letter + struct.pack("<Q", len(data)) + data)
        while view:
            view = view[os.write(self._out, view) :]

    def take(self, request: dict[str, Any]) -> None:
        try:
            try:
                answer = self._ask(request)
            except Exception:
                if self._which is None:
                    raise
                # It may have been read while its writer wrote: look once more.
                self._forget()
                answer = self._ask(request)
        except _NewerFormat as error:
            self.answer(b"N", str(error).encode())
        except Exception as error:
            self._forget()
            text = str(error).strip().partition("\n")[0] or type(error).__name__
            self.answer(b"F", text.encode("utf-8", "replace"))
        else:
            self.answer(*answer)

    def _forget(self) -> None:
        self._which, self._h5 = None, None

    def _ask(self, request: dict[str, Any]) -> tuple[bytes, bytes]:
        import h5py

        state = os.stat(request["path"])
        which = (request["path"], state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
        foreign = request["ask"] in ("about", "part")
        if self._which != which:
            self._forget()
            if foreign:
                self._h5 = _open_foreign(h5py, request["path"])
            else:
                self._h5 = h5py.File(QuietFile(request["path"]), "r")
                _refuse_newer(self._h5)
            self._which = which
        if foreign:
            return _of_dataset(h5py, self._h5, request)
        if request["ask"] == "extents":
            extents = {name: self._h5[name].shape[0] for name in self._h5}
            return b"J", json.dumps(extents).encode()
        first, count = request["offset"], request["length"]
        dataset = self._h5[request["pool"]]
        if first + count > dataset.shape[0]:
            raise ValueError(f"{request['pool']} has {dataset.shape[0]} elements, not {first + count}")
        values = dataset[first : first + count]
        if request["ask"] == "bytes":
            return b"D", values.tobytes()
        return b"J", json.dumps([_index_row(row) for row in values]).encode()


def _open_foreign(h5py: Any, path: str) -> Any:
    """Open a file that others write: as it is, or through the view if it names a writer."""
    try:
        # Detectors compress with filters that this package brings, where it is installed.
        import hdf5plugin  # noqa: F401
    except ImportError:
        pass
    with open(path, "rb") as file:
        head = file.read(_FLAGS + 1)
    # Only files of that superblock name a writer.
    if head[:9] == _SIGNATURE + b"\3" and head[_FLAGS:] != b"\0":
        return h5py.File(QuietFile(path, padded=False), "r")
    return h5py.File(path, "r", locking=False)


def _of_dataset(h5py: Any, h5: Any, request: dict[str, Any]) -> tuple[bytes, bytes]:
    """Answer what a dataset is, or with a part of it: a line of JSON, and the bytes."""
    name = request["dataset"]
    dataset = h5.get(name)
    if dataset is None:
        raise ValueError(f"it has no dataset {name!r}")
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name!r} is no dataset")
    if dataset.shape is None:
        raise ValueError(f"the dataset {name!r} is empty")
    text = h5py.check_string_dtype(dataset.dtype) is not None
    ragged = None if text else h5py.check_vlen_dtype(dataset.dtype)
    if request["ask"] == "about":
        about = {"shape": dataset.shape, "chunks": dataset.chunks, "dtype": _dtype_text(dataset.dtype, text, ragged)}
        return b"J", json.dumps(about).encode()
    part = tuple(slice(first, stop) for first, stop in request["part"])
    if part and part[0].stop > dataset.shape[0]:
        raise ValueError(f"{name!r} has {dataset.shape[0]} rows, and row {part[0].stop - 1} is asked for")
    if text:
        values = dataset.asstr("utf-8", "surrogateescape")[part]
        line = {"shape": values.shape, "texts": [str(each) for each in values.ravel()]}
        return b"D", json.dumps(line).encode() + b"\n"
    values = dataset[part]
    if ragged is not None:
        flat = list(values.ravel())
        line = {"shape": values.shape, "lengths": [len(each) for each in flat], "dtype": _dtype_text(ragged)}
        return b"D", json.dumps(line).encode() + b"\n" + b"".join(each.tobytes() for each in flat)
    line = {"shape": values.shape, "dtype": _dtype_text(values.dtype)}
    return b"D", json.dumps(line).encode() + b"\n" + values.tobytes()


def _dtype_text(dtype: Any, text: bool = False, ragged: Any = None) -> Any:
    if text or ragged is not None:
        return "O"
    if dtype.hasobject:
        raise ValueError("it holds values that are neither numbers nor texts")
    return dtype.str if dtype.names is None else [list(each) for each in dtype.descr]


def _index_row(row: Any) -> dict[str, Any]:
    dimensions = int(row["dimensions"])
    return {
        "pool": row["pool"].decode("ascii", "replace"),
        "offset": int(row["offset"]),
        "length": int(row["length"]),
        "digest": "blake3:" + row["digest"].tobytes().hex(),
        "dtype": row["dtype"].decode("ascii", "replace"),
        "shape": row["shape"].tolist()[:dimensions] if dimensions <= 8 else None,
    }


def main(limit: float) -> None:
    """Serve requests until there are no more.

    Parameters
    ----------
    limit : float
        Seconds for each; whatever holds it up then, the process ends.
    """
    # What a library prints must not come in between the frames.
    out = os.dup(1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    server = _Server(out)
    try:
        import h5py  # noqa: F401
    except ImportError:
        server.answer(b"M")
        return
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    if most == resource.RLIM_INFINITY or most > _MOST_MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, most))
    server.answer(b"R")
    for line in sys.stdin.buffer:
        # The default action of SIGALRM ends the process, also within HDF5.
        signal.setitimer(signal.ITIMER_REAL, limit)
        server.take(json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main(float(sys.argv[1]))
