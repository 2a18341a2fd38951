"""What of a writer's files goes into a bundle: the pieces that are not there yet, in an order that may end anywhere.

Files are read in this order: header, tails, sealed events; then streams; then arrays. So whatever an event tells of
is either there or comes later, and of a log whose shipping is cut off the small part that matters is there first.
"""

from __future__ import annotations

import contextlib
import os
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from braid_hpc.log.bundle import LARGEST_PIECE, LOG_FILE, ZEROS_LEFT_OUT
from braid_hpc.log.layout import (
    ENDED_NAME,
    GONE_NAME,
    HEADER_NAME,
    PAGE,
    ROW_BYTES,
    SUM,
    SUM_BYTES,
    TAIL_LOSS,
    TAIL_LOSS_OFFSET,
    TAIL_PREFIX,
    TailHeader,
    TailKind,
)
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["Held", "HeldFile", "Piece", "WriterFiles", "tail_image"]

#: Bytes of a piece, by sort of file: what changes in place is cut small, for a piece is stored again when a byte of it
#: changes.
TAIL_PIECE = 64 << 10
SUMS_PIECE = 16 << 10
ARRAYS_PIECE = 1 << 20

#: A file whose last change is this near may change once more without a sign of it (ns).
_RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece that is not in the bundles yet.

    Attributes
    ----------
    file : str
        Name of the file within the writer's directory.
    offset, size : int
        As in :class:`braid_hpc.log.bundle.Member`.
    data : bytes or memoryview
        The bytes.
    gone : bool
        Whether the file is no longer there.
    """

    file: str
    offset: int
    size: int
    data: bytes | memoryview
    gone: bool = False


@dataclass(slots=True)
class HeldFile:
    """What the bundles hold of a file.

    Attributes
    ----------
    size, time : int
        As its latest piece says.
    gone : bool
        Whether it was said to be no longer there.
    pieces : dict of int to (int, str, int)
        Offset to length, digest and time.
    longest : dict of int to int
        Offset to the length of the longest piece that was ever there.
    """

    size: int = -1
    time: int = 0
    gone: bool = False
    pieces: dict[int, tuple[int, str, int]] = field(default_factory=dict)
    longest: dict[int, int] = field(default_factory=dict)

    def take(self, offset: int, length: int, digest: str, *, size: int, time: int, gone: bool) -> None:
        """Take note of a piece; an earlier one than what is known of its place changes nothing."""
        if time >= self.time:
            self.size, self.time, self.gone = size, time, gone
        known = self.pieces.get(offset)
        self.longest[offset] = max(length, self.longest.get(offset, 0))
        if not gone and (known is None or time >= known[2]):
            self.pieces[offset] = (length, digest, time)

    def has(self, offset: int, data: bytes | memoryview) -> bool:
        """Return whether this piece is there."""
        known = self.pieces.get(offset)
        return known is not None and known[0] == len(data) and known[1] == xxh3_128_hexdigest(data)


#: What the bundles hold of a writer, by the names of its files.
Held = dict[str, HeldFile]


class WriterFiles:
    """One writer's directory, looked at again in each round.

    Parameters
    ----------
    directory : Path
        The writer's directory; the writer may be at work.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._looked: dict[str, tuple[int, int, int]] = {}
        #: The first sequence of each tail that was read, and whether it had rows.
        self._tails: dict[str, tuple[int, bool]] = {}
        self._sealed: set[int] = set()
        self._immutable: dict[str, set[tuple[int, int]]] = {}

    def forget(self) -> None:
        """Look at everything again: what was shipped may not be there any more."""
        self._seen.clear()
        self._looked.clear()
        self._immutable.clear()
        self._sealed.clear()

    def arrived(self) -> None:
        """Take note that all pieces of this round are in the bundle."""
        self._seen.update(self._looked)
        self._looked.clear()

    def names(self) -> list[str]:
        """Return the names of its files.

        Returns
        -------
        list of str
            Those of a rank log; none if the directory is gone.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return sorted(name for name in os.listdir(self.directory) if LOG_FILE.fullmatch(name))
        return []

    # ------------------------------------------------------------------ the three parts of a round

    def events(self, held: Held) -> Iterator[Piece]:
        """Yield the pieces of header, tails and sealed events that are not held.

        Parameters
        ----------
        held : dict of str to HeldFile
            What the bundles hold; the caller adds what it has stored before it asks for the next piece, or not.

        Yields
        ------
        Piece
            In an order that may end anywhere.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        for name in (HEADER_NAME, ENDED_NAME, GONE_NAME):
            yield from self._grid(name, held, LARGEST_PIECE)
        yield from self._tail_pieces(held)
        for name in self.names():
            if name.startswith("events") and name.endswith(".sums"):
                yield from self._batches(name, held)
        here = set(self.names())
        for name, (first, rows) in list(self._tails.items()):
            # Its rows are in a batch that stands before this in the bundle, or it was one that was never needed. Where
            # nothing is left of the log, somebody has removed all of it, and that says nothing of its tails.
            if here and name not in here and (first in self._sealed or not rows):
                # Not held yet: it went after it was read in this round, and the next one says so.
                if name in held and held[name].gone:
                    del self._tails[name]
                elif name in held:
                    yield Piece(name, 0, 0, b"", gone=True)

    def streams(self, held: Held) -> Iterator[Piece]:
        """Yield the pieces of the batches of streams that are not held; see :meth:`events`."""
        for name in self.names():
            if name.startswith("stream-") and name.endswith(".sums"):
                yield from self._batches(name, held)

    def arrays(self, held: Held) -> Iterator[Piece]:
        """Yield the pieces of files of arrays that are not held, and of files that no sums belong to."""
        names = set(self.names())
        for name in sorted(names):
            alone = name.endswith(".arrows") and name.removesuffix(".arrows") + ".sums" not in names
            if alone or name.endswith(".h5"):
                yield from self._grid(name, held, ARRAYS_PIECE)

    # ------------------------------------------------------------------ file by file

    def _unchanged(self, name: str, found: os.stat_result) -> bool:
        """Whether a file is as it was when it was last shipped; if not, note what it looks like now."""
        looks = (found.st_size, found.st_mtime_ns, found.st_ino)
        if self._seen.get(name) == looks:
            return True
        if time.time_ns() - found.st_mtime_ns > _RACY_NS:
            self._looked[name] = looks
        return False

    def _grid(self, name: str, held: Held, step: int) -> Iterator[Piece]:
        """Yield the pieces of a file that is cut at multiples of `step`."""
        try:
            descriptor = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            found = os.fstat(descriptor)
            if self._unchanged(name, found):
                return
            known = held.get(name, HeldFile())
            size = found.st_size
            fresh = False
            for offset in range(0, size, step):
                data = os.pread(descriptor, min(step, size - offset), offset)
                if len(data) < min(step, size - offset):
                    # It was cut while it was read; the next round tells.
                    self._looked.pop(name, None)
                    size = offset + len(data)
                if data and not known.has(offset, data):
                    fresh = True
                    yield Piece(name, offset, size, data)
                if offset + len(data) >= size:
                    break
            if not fresh and known.size != size:
                # Nothing but its length has changed.
                yield Piece(name, size, size, b"")
        finally:
            os.close(descriptor)

    def _tail_pieces(self, held: Held) -> Iterator[Piece]:
        """Yield the pieces of tails: read the newest first, so that no row is there without those before it."""
        names = [name for name in self.names() if name.startswith(TAIL_PREFIX)]
        for name in names[:-2]:
            yield from self._tail(name, self._image(name), held)
        images = [(name, self._image(name)) for name in reversed(names[-2:])]
        for name, image in reversed(images):
            yield from self._tail(name, image, held)

    def _image(self, name: str) -> bytes | None:
        try:
            return tail_image(self.directory / name)
        except FileNotFoundError:
            # It was sealed meanwhile.
            return None

    def _tail(self, name: str, image: bytes | None, held: Held) -> Iterator[Piece]:
        if not image:
            return
        with contextlib.suppress(CorruptLogError, FormatTooNewError):
            header = TailHeader.unpack(image)
            self._tails[name] = (header.first, any(image[PAGE:]))
        known = held.get(name, HeldFile())
        fresh = False
        # From the end: a row may be published only where its payload is.
        for offset in range(len(image) // TAIL_PIECE * TAIL_PIECE, -1, -TAIL_PIECE):
            data = image[offset : offset + TAIL_PIECE]
            if len(image) <= ZEROS_LEFT_OUT:
                # Zeros where no piece ever had anything else.
                data = data.rstrip(b"\0").ljust(min(known.longest.get(offset, 0), len(data)), b"\0")
            if data and not known.has(offset, data):
                fresh = True
                yield Piece(name, offset, len(image), data)
        if not fresh and known.size != len(image):
            yield Piece(name, len(image), len(image), b"")

    def _batches(self, sums: str, held: Held) -> Iterator[Piece]:
        """Yield the pieces of a file of batches, then those of its sums, which were read before it."""
        name = sums.removesuffix(".sums") + ".arrows"
        try:
            records = (self.directory / sums).read_bytes()
            found = os.stat(self.directory / sums)
        except FileNotFoundError:
            return
        with contextlib.suppress(FileNotFoundError):
            yield from self._batch_pieces(name, _places(records), held)
        known = held.get(sums, HeldFile())
        fresh = False
        for offset in range(0, len(records), SUMS_PIECE):
            data = records[offset : offset + SUMS_PIECE]
            if not known.has(offset, data):
                fresh = True
                yield Piece(sums, offset, len(records), data)
        if not fresh and known.size != len(records):
            yield Piece(sums, len(records), len(records), b"")
        if sums.startswith("events"):
            self._sealed.update(_firsts(records))
        self._unchanged(sums, found)

    def _batch_pieces(self, name: str, places: list[tuple[int, int]], held: Held) -> Iterator[Piece]:
        descriptor = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if self._unchanged(name, found):
                return
            size = found.st_size
            known = held.get(name, HeldFile())
            settled = self._immutable.setdefault(name, set())
            fresh = False
            for offset, length, sure in _cut(places, size):
                if (offset, length) in settled:
                    continue
                data = os.pread(descriptor, length, offset)
                if len(data) == length and not known.has(offset, data):
                    fresh = True
                    yield Piece(name, offset, size, data)
                if sure and len(data) == length:
                    settled.add((offset, length))
            if not fresh and known.size != size:
                yield Piece(name, size, size, b"")
        finally:
            os.close(descriptor)


def _places(records: bytes) -> list[tuple[int, int]]:
    """Return where the batches stand that have a sum, in order and apart from each other."""
    found = []
    for at in range(0, len(records) - SUM_BYTES + 1, SUM_BYTES):
        offset, length, *_, check = SUM.unpack_from(records, at)
        if check == xxh3_64_intdigest(records[at : at + SUM_BYTES - 8]):
            found.append((offset, length))
    return sorted(found)


def _firsts(records: bytes) -> Iterator[int]:
    for at in range(0, len(records) - SUM_BYTES + 1, SUM_BYTES):
        yield SUM.unpack_from(records, at)[2]


def _cut(places: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int, bool]]:
    """Yield offset and length of pieces that cover a file, and whether a piece is of a batch that has its sum.

    Batches are cut where they begin, so that a later round, or another shipper, cuts them alike; what lies between
    them, the schema for instance, is cut likewise.
    """
    at = 0
    for offset, length in [*places, (size, 0)]:
        if offset < at or offset + length > size:
            # Sums of a damaged file.
            continue
        for begin, behind, sure in ((at, offset, False), (offset, offset + length, True)):
            for start in range(begin, behind, LARGEST_PIECE):
                yield start, min(LARGEST_PIECE, behind - start), sure
        at = offset + length


def tail_image(path: Path) -> bytes:
    """Read a tail so that every row in the result is whole, though the tail is written meanwhile.

    Parameters
    ----------
    path : Path
        A file ``tail-<n>``.

    Returns
    -------
    bytes
        The whole file; of a mapped tail without rows that were published while it was read, and nothing if it was
        not begun yet.

    Raises
    ------
    FileNotFoundError
        If it was sealed and removed meanwhile.
    OSError
        If it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        before = file.read(PAGE)
        if not any(before[:8]):
            return b""
        try:
            header = TailHeader.unpack(before)
        except (CorruptLogError, FormatTooNewError):
            header = None
        if header is None or header.kind != TailKind.MAPPED:
            file.seek(0)
            return file.read()
        # A row is published by its last word. What was published when the words were read is whole when the rows and
        # the payloads are read after them; what came in between is left out.
        words = _words(file.read(header.rows * ROW_BYTES))
        file.seek(0)
        image = bytearray(file.read())
        rows = min(len(words), (len(image) - PAGE) // ROW_BYTES)
        if rows > 0:
            view = memoryview(image)
            last = view[PAGE : PAGE + rows * ROW_BYTES].cast("Q")[7::8]
            last[:] = memoryview(words)[:rows]
            last.release()
            view.release()
        _settle_loss(file, image)
        return bytes(image)


def _words(table: bytes) -> array[int]:
    whole = len(table) // ROW_BYTES * ROW_BYTES
    return array("Q", memoryview(table)[:whole].cast("Q")[7::8].tobytes())


def _settle_loss(file: object, image: bytearray) -> None:
    """Look again at the count of losses, which is rewritten in place, until it carries its check."""
    here = slice(TAIL_LOSS_OFFSET, TAIL_LOSS_OFFSET + TAIL_LOSS.size)
    for _ in range(3):
        part = bytes(image[here])
        if not any(part) or TAIL_LOSS.unpack(part)[3] == xxh3_64_intdigest(part[:-8]):
            return
        image[here] = os.pread(file.fileno(), TAIL_LOSS.size, TAIL_LOSS_OFFSET)  # type: ignore[attr-defined]
