"""One file of an adjacency index: a header, a table of sections with their sums, and the sections.

``docs/adjacency-format.md`` has the format. A file is mapped and never changed.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from braid_hpc.kernels.closure import PAGE_BITS
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["MAJOR", "MINOR", "SECTIONS", "Segment", "open_segment", "standing_on"]

MAGIC = b"BRAIDADJ"
MAJOR = 1
MINOR = 0

#: Magic, and XXH3-128 of the header behind it; major, minor, snapshot, highest id, bytes of a mark, the snapshot of the
#: segment that this one is laid over, the highest id of that, and which commit made the snapshot.
#: Behind it, for each of :data:`SECTIONS`, where it begins, its bytes, and their XXH3-128.
HEADER = struct.Struct("<8s16sHHIQIIQ16s")
SECTION = struct.Struct("<QQ16s")
SUMMED = len(MAGIC) + 16
ALIGN = 64

#: Nodes of a page: in which rows to look for a node is told by its page.
PAGE = 1 << PAGE_BITS

#: Sections in their order, with the type of their numbers; that of marks is in the header.
SECTIONS = {
    "marks": "<u4",
    "times": "<i8",
    "changed_node": "<u4",
    "changed_time": "<i8",
    "earlier_node": "<u4",
    "earlier_until": "<u4",
    "earlier_time": "<i8",
    "stated": "<i8",
    "retracted": "<i8",
    "retracted_snapshot": "<u4",
    **{
        f"{way}_{name}": kind
        for way in ("down", "up")
        for name, kind in {
            "pages": "<u4",
            "near": "<u4",
            "instead": "<u1",
            "offsets": "<u4",
            "far": "<u4",
            "mark": "",
            "places": "<u4",
            "rows": "<u4",
        }.items()
    },
}

#: Bytes of the header and the table of sections.
HEAD = HEADER.size + SECTION.size * len(SECTIONS)


class Segment:
    """An open file. A section is seen to be whole when it is first asked for.

    Parameters
    ----------
    data : mmap
        The file.
    name : str
        What errors call it.

    Attributes
    ----------
    snapshot : int
        The newest one whose edges it holds.
    nodes : int
        The highest id.
    over : int
        The snapshot of the segment that this one is laid over; 0 if it stands alone.
    before : int
        The highest id of that.
    commit : bytes
        XXH3-128 of the name of the commit that made the snapshot: another store has one of the same number.

    Raises
    ------
    FormatTooNewError
        If it is of a newer major format.
    CorruptLogError
        If it is not an index, ends early, or its header does not carry its sum.
    """

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data, self._name = data, name
        self._known: dict[str, NDArray[Any]] = {}
        if len(data) < HEAD:
            raise self.corrupt("ends within its header")
        magic, total, major, _, *numbers, self.commit = HEADER.unpack_from(data)
        self.snapshot, self.nodes, self._width, self.over, self.before = map(int, numbers)
        if magic != MAGIC:
            raise self.corrupt("is not one")
        if xxhash.xxh3_128_digest(data[SUMMED:HEAD]) != total:
            raise self.corrupt("does not carry the sum of its header")
        if major > MAJOR:
            raise FormatTooNewError(
                f"{name} is of adjacency format {major}, this braid_hpc reads up to {MAJOR}: update braid_hpc"
            )
        self._table = dict(zip(SECTIONS, SECTION.iter_unpack(data[HEADER.size : HEAD]), strict=True))
        if any(begin + size > len(data) for begin, size, _ in self._table.values()):
            raise self.corrupt("ends early")

    @property
    def edges(self) -> int:
        """How many edges it holds in the one direction of which it has more."""
        return max(int(self._table[f"{way}_far"][1]) for way in ("down", "up")) // 4

    def section(self, name: str) -> NDArray[Any]:
        """Return a section.

        Parameters
        ----------
        name : str
            One of :data:`SECTIONS`.

        Returns
        -------
        ndarray
            A view of the mapped file, which cannot be written.

        Raises
        ------
        CorruptLogError
            If it does not carry its sum.
        """
        if name not in self._known:
            begin, size, total = self._table[name]
            with memoryview(self._data) as whole, whole[begin : begin + size] as part:
                if xxhash.xxh3_128_digest(part) != total:
                    raise self.corrupt(f"does not carry the sum of its section {name}")
            kind = np.dtype(SECTIONS[name] or f"<u{self._width}")
            self._known[name] = np.frombuffer(self._data, kind, size // kind.itemsize, begin)
        return self._known[name]

    def sections(self, *names: str) -> list[NDArray[Any]]:
        """Return several sections.

        Parameters
        ----------
        *names : str
            As for :meth:`section`.

        Returns
        -------
        list of ndarray
            One for each name.

        Raises
        ------
        CorruptLogError
            As :meth:`section`.
        """
        return [self.section(name) for name in names]

    def corrupt(self, what: str) -> CorruptLogError:
        """Return an error that names this file.

        Parameters
        ----------
        what : str
            What it does, or does not do.

        Returns
        -------
        CorruptLogError
            To be raised.
        """
        return CorruptLogError(f"the adjacency index {self._name} {what}")


def open_segment(path: Path) -> Segment:
    """Map a file.

    Parameters
    ----------
    path : Path
        Made by :func:`braid_hpc.snapshots.adjacency_write.write_adjacency`.

    Returns
    -------
    Segment
        Open.

    Raises
    ------
    OSError
        If there is none, or it cannot be read.
    FormatTooNewError, CorruptLogError
        As :class:`Segment`; also if it is no file.
    """
    # A pipe in its place would be waited for.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise CorruptLogError(f"the adjacency index {path} is not a file")
        if not about.st_size:
            raise CorruptLogError(f"the adjacency index {path} is empty")
        return Segment(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), str(path))


def standing_on(path: Path) -> int:
    """Return the snapshot of the segment that a file is laid over.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    int
        0 if it stands alone, or is none that can be read.
    """
    try:
        return open_segment(path).over
    except (OSError, CorruptLogError, FormatTooNewError):
        return 0
