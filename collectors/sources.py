"""Where the bytes of a device come from: a file, a FIFO, datagrams, a ring in shared memory.

A source is iterated over: it gives bytes, and a :class:`Gap` where it knows that some are missing. ``uri`` says what
it is. Each one holds a bounded buffer; if the program is slower than the device, a FIFO makes the device wait, and
datagrams and the ring lose bytes, which is counted.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["FifoSource", "FileSource", "Gap", "RingSource", "RingWriter", "Source", "UdpSource", "source_of"]

#: How much is read at once, bytes: as much as is decoded at once.
CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Gap:
    """Something is missing in a source.

    Attributes
    ----------
    reason : str
        What happened.
    count : int
        How many of `unit` are missing.
    unit : str
        ``byte`` or ``datagram``.
    """

    reason: str
    count: int
    unit: str = "byte"


@runtime_checkable
class Source(Protocol):
    """What a collector of a device can be given."""

    @property
    def uri(self) -> str:
        """What it is, for the record of the raw data."""
        ...

    def __iter__(self) -> Iterator[bytes | memoryview | Gap]:
        """Give bytes as they come, until there are no more. What is given is used before the next is asked for."""
        ...


class FileSource:
    """The bytes of a file, from its beginning to its end.

    Parameters
    ----------
    path : path-like
        The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()

    @property
    def uri(self) -> str:
        """``file:`` and its path."""
        return self.path.as_uri()

    def __iter__(self) -> Iterator[memoryview]:
        """Give its bytes; the buffer is used again for the next ones.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        buffer = bytearray(CHUNK)
        with self.path.open("rb", buffering=0) as file, memoryview(buffer) as view:
            while size := file.readinto(buffer):
                yield view[:size]


class FifoSource(FileSource):
    """What is written into a FIFO, until all its writers have closed it.

    Parameters
    ----------
    path : path-like
        The FIFO; it has to be there. Opening it waits for the first writer.
    """

    @property
    def uri(self) -> str:
        """``fifo:`` and its path."""
        return f"fifo:{self.path}"


class UdpSource:
    """Datagrams that arrive at a socket of this host.

    Each carries whole frames, or parts of them in order. It ends after `idle` seconds without any, or at `stop`.

    Parameters
    ----------
    address : tuple of (str, int)
        Where to listen; port 0 takes a free one, see :attr:`address`.
    idle : float
        Seconds.
    buffer_bytes : int
        Asked of the kernel for datagrams that wait; it may give less.
    """

    def __init__(
        self, address: tuple[str, int] = ("127.0.0.1", 0), *, idle: float = 1.0, buffer_bytes: int = 8 << 20
    ) -> None:
        self.idle = idle
        self._stopped = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            # Has the kernel say with each datagram how many it had to drop until then.
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            self._socket.bind(address)
            self._socket.setblocking(False)
            self.address: tuple[str, int] = self._socket.getsockname()
        except BaseException:
            self._socket.close()
            raise

    @property
    def uri(self) -> str:
        """``udp:``, host and port."""
        return f"udp://{self.address[0]}:{self.address[1]}"

    def stop(self) -> None:
        """End after what has arrived by now."""
        self._stopped = True

    def close(self) -> None:
        """Give the port back; harmless a second time."""
        self._socket.close()

    def __iter__(self) -> Iterator[memoryview | Gap]:
        """Give what arrives, many datagrams at once where many wait.

        Raises
        ------
        OSError
            If the socket fails.
        """
        buffer = bytearray(CHUNK)
        dropped = 0
        # And not select(), which refuses the numbers of files beyond 1023.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        with memoryview(buffer) as view:
            while poll.poll(0 if self._stopped else 1000 * self.idle):
                filled = 0
                gap: Gap | None = None
                while gap is None and filled + _LARGEST_DATAGRAM <= CHUNK:
                    try:
                        size, told, _, _ = self._socket.recvmsg_into([view[filled:]], 64)
                    except BlockingIOError:
                        break
                    now = _dropped(told)
                    if now is not None and now != dropped:
                        gap = Gap("datagrams dropped by the kernel", (now - dropped) & 0xFFFFFFFF, "datagram")
                        dropped = now
                    filled += size
                if filled:
                    yield view[:filled]
                if gap is not None:
                    # Told behind the bytes: which of the frame numbers are missing says where it was.
                    yield gap

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


_SO_RXQ_OVFL = 40
_LARGEST_DATAGRAM = 1 << 16


def _dropped(told: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in told:
        if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
            return int(struct.unpack("=I", data)[0])
    return None


#: Of a ring: magic, capacity; then as 64-bit words of their own: bytes written, bytes that will have been written when
#: the write in progress is over, whether the writer has closed it. Data from byte 64 on.
_RING_MAGIC = b"braidrng"
_RING_DATA = 64
_WRITTEN, _RESERVED, _CLOSED = 2, 3, 4


class RingWriter:
    """The device's side of a ring in shared memory: it never waits, and overwrites what was not read in time.

    Parameters
    ----------
    path : path-like
        A new file, in ``/dev/shm`` for example.
    capacity : int
        Bytes.
    """

    def __init__(self, path: str | os.PathLike[str], capacity: int) -> None:
        self.path = Path(path).absolute()
        self.capacity = capacity
        with self.path.open("xb+") as file:
            file.truncate(_RING_DATA + capacity)
            self._map = mmap.mmap(file.fileno(), _RING_DATA + capacity)
        self._words = memoryview(self._map)[:_RING_DATA].cast("Q")
        self._words[1] = capacity
        self._map[:8] = _RING_MAGIC

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes, whether there is room or not.

        Parameters
        ----------
        data : bytes-like
            No more than the ring holds.

        Raises
        ------
        InvalidInputError
            If they are more.
        """
        if len(data) > self.capacity:
            raise InvalidInputError(f"{len(data)} bytes do not go into a ring of {self.capacity}")
        begin = self._words[_WRITTEN]
        # First what will be overwritten is announced, last what can be read.
        self._words[_RESERVED] = begin + len(data)
        at = _RING_DATA + begin % self.capacity
        straight = min(len(data), _RING_DATA + self.capacity - at)
        self._map[at : at + straight] = data[:straight]
        self._map[_RING_DATA : _RING_DATA + len(data) - straight] = data[straight:]
        self._words[_WRITTEN] = begin + len(data)

    def close(self) -> None:
        """Say that nothing follows; harmless a second time."""
        if not self._map.closed:
            self._words[_CLOSED] = 1
            self._words.release()
            self._map.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class RingSource:
    """A ring in shared memory that a :class:`RingWriter` fills, or a device that lays it out alike.

    It ends when the writer has closed it, or after `idle` seconds in which nothing came.

    Parameters
    ----------
    path : path-like
        The ring.
    idle : float
        Seconds.
    poll : float
        Seconds between two looks at a ring that is empty.

    Raises
    ------
    InvalidInputError
        If the file is no ring.
    OSError
        If it cannot be mapped.
    """

    def __init__(self, path: str | os.PathLike[str], *, idle: float = 1.0, poll: float = 1e-4) -> None:
        self.path = Path(path).absolute()
        self.idle = idle
        self.poll = poll
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(16)
            capacity = int.from_bytes(head[8:16], "little")
            if head[:8] != _RING_MAGIC or not 0 < capacity == size - _RING_DATA:
                raise InvalidInputError(f"{self.path} is no ring")
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        self.capacity = capacity
        self._read = 0

    @property
    def uri(self) -> str:
        """``shm:`` and its path."""
        return f"shm:{self.path}"

    def close(self) -> None:
        """Let the memory go; harmless a second time."""
        self._map.close()

    def __iter__(self) -> Iterator[bytes | Gap]:
        """Give what was written, and a gap for what was overwritten before it could be read."""
        since = time.monotonic()
        while True:
            closed, written = self._word(_CLOSED), self._word(_WRITTEN)
            if written == self._read:
                if closed or time.monotonic() - since > self.idle:
                    return
                time.sleep(self.poll)
                continue
            since = time.monotonic()
            yield from self._lost(self._word(_RESERVED))
            size = min(written - self._read, CHUNK)
            if size <= 0:
                continue
            data = self._copy(self._read, size)
            # What the writer was about to overwrite meanwhile cannot be believed.
            reserved = self._word(_RESERVED)
            stale = min(max(0, reserved - self.capacity - self._read), size)
            if stale:
                yield Gap("overwritten before it was read", stale)
            self._read += size
            if stale < size:
                yield data[stale:]

    def _lost(self, reserved: int) -> Iterator[Gap]:
        if (lost := reserved - self.capacity - self._read) > 0:
            self._read += lost
            yield Gap("overwritten before it was read", lost)

    def _word(self, number: int) -> int:
        return int.from_bytes(self._map[8 * number : 8 * number + 8], "little")

    def _copy(self, begin: int, size: int) -> bytes:
        at = _RING_DATA + begin % self.capacity
        straight = min(size, _RING_DATA + self.capacity - at)
        return self._map[at : at + straight] + self._map[_RING_DATA : _RING_DATA + size - straight]

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def source_of(given: Any) -> Source:
    """Return a source for what a program gave.

    Parameters
    ----------
    given : Source or path-like
        A file or FIFO by its path.

    Returns
    -------
    Source
        To be iterated over.

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    if isinstance(given, (str, os.PathLike)):
        return FifoSource(given) if Path(given).is_fifo() else FileSource(given)
    if isinstance(given, Source):
        return given
    raise InvalidInputError(f"a source is a path or an object with uri that gives bytes, not {given!r}")
