"""The adjacency index of a snapshot: the edges of the graph by their ends, in a file that is mapped and never changed.

``docs/adjacency-format.md`` has the format. The index is made from the tables when a snapshot is made, and holds
nothing that they do not: where it is missing or damaged, it is made again.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["ALWAYS", "MAJOR", "MINOR", "NEVER", "RELATIONS", "Adjacency", "Exceptions", "Half", "open_adjacency"]

MAGIC = b"BRAIDADJ"
MAJOR = 1
MINOR = 0

#: Magic, and XXH3-128 of the header behind it; major, minor, snapshot, highest id, bytes of a mark, a reserved word.
#: Behind it, for each of :data:`SECTIONS`, where it begins, its bytes, and their XXH3-128.
HEADER = struct.Struct("<8s16sHHIQII")
SECTION = struct.Struct("<QQ16s")
SUMMED = len(MAGIC) + 16
ALIGN = 64

#: Sections in their order, with the type of their numbers; that of marks is in the header.
SECTIONS = {
    "marks": "<u4",
    "times": "<i8",
    "earlier_node": "<u4",
    "earlier_until": "<u4",
    "earlier_time": "<i8",
    "stated": "<i8",
    "retracted": "<i8",
    "retracted_snapshot": "<u4",
    "down_offsets": "<u4",
    "down_far": "<u4",
    "down_mark": "",
    "down_places": "<u4",
    "down_rows": "<u4",
    "up_offsets": "<u4",
    "up_far": "<u4",
    "up_mark": "",
    "up_places": "<u4",
}

#: Bytes of the header and the table of sections.
HEAD = HEADER.size + SECTION.size * len(SECTIONS)

#: Numbers of the relations in the file.
RELATIONS: dict[Relation, int] = {
    Relation.DERIVED: 1,
    Relation.USED: 2,
    Relation.GENERATED: 3,
    Relation.SAME_CONTENT: 4,
    Relation.CALLED: 5,
}

#: The time of what is there always, and that of what was never retracted.
ALWAYS, NEVER = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Exceptions:
    """When edges hold that do not simply hold as soon as both their ends are there.

    Attributes
    ----------
    places : ndarray of uint32, shape (n,)
        The edge, by its place in a :class:`Half`, ascending.
    rows : ndarray of uint32, shape (n,)
        Which of the rows below belongs to it. An edge has several: one for each time at which it was stated and, for
        each of these, each retraction of it that none of the same or an earlier snapshot precedes.
    stated, retracted : ndarray of int64
        Nanoseconds since 1970 UTC; :data:`NEVER` where it was not retracted.
    snapshot : ndarray of uint32
        That of the retraction.
    """

    places: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    stated: NDArray[np.int64]
    retracted: NDArray[np.int64]
    snapshot: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Half:
    """The edges in one direction, by the node they are met at.

    Attributes
    ----------
    offsets : ndarray of uint32, shape (nodes + 2,)
        Those of node `i` stand at ``offsets[i]:offsets[i + 1]``; ids begin with 1.
    far : ndarray of uint32, shape (edges,)
        The node at the other end, ascending for each node.
    mark : ndarray of uint8, uint16 or uint32, shape (edges,)
        A row of :attr:`Adjacency.marks`.
    """

    offsets: NDArray[np.uint32]
    far: NDArray[np.uint32]
    mark: NDArray[Any]


class Adjacency:
    """An open index. What it gives was seen to be whole when it was first asked for.

    Parameters
    ----------
    data : mmap
        The file.
    name : str
        What errors call it.
    repair : callable, optional
        Gives another index of the same snapshot, or None, where a section turns out to be damaged; it is told why.

    Attributes
    ----------
    snapshot : int
        The newest one whose edges it holds; earlier ones are a filter.
    nodes : int
        The highest id.
    marks : ndarray of uint32, shape (marks, 4)
        Snapshot, number of the relation (:data:`RELATIONS`), snapshot from which on such an edge is retracted (0 for
        none), and whether it is among the exceptions.

    Raises
    ------
    FormatTooNewError
        If it is of a newer major format.
    CorruptLogError
        If it is not an index, ends early, or its header does not carry its sum.
    """

    def __init__(self, data: mmap.mmap, name: str, repair: Callable[[str], Adjacency | None] | None = None) -> None:
        self._data, self._name, self._repair = data, name, repair
        self._known: dict[str, NDArray[Any]] = {}
        if len(data) < HEAD:
            raise self._corrupt("ends within its header")
        magic, total, major, _, self.snapshot, self.nodes, self._width, _ = HEADER.unpack_from(data)
        if magic != MAGIC:
            raise self._corrupt("is not one")
        if xxhash.xxh3_128_digest(data[SUMMED:HEAD]) != total:
            raise self._corrupt("does not carry the sum of its header")
        if major > MAJOR:
            raise FormatTooNewError(
                f"{name} is of adjacency format {major}, this braid_hpc reads up to {MAJOR}: update braid_hpc"
            )
        self._table = dict(zip(SECTIONS, SECTION.iter_unpack(data[HEADER.size : HEAD]), strict=True))
        if any(begin + size > len(data) for begin, size, _ in self._table.values()):
            raise self._corrupt("ends early")
        self.marks: NDArray[np.uint32] = self._section("marks").reshape(-1, 4)

    def _section(self, name: str) -> NDArray[Any]:
        if name not in self._known:
            begin, size, total = self._table[name]
            with memoryview(self._data) as whole, whole[begin : begin + size] as part:
                right = xxhash.xxh3_128_digest(part) == total
            if not right:
                why, repair = f"does not carry the sum of its section {name}", self._repair
                self._repair = None
                if repair is None or (repaired := repair(why)) is None:
                    raise self._corrupt(why)
                self._data, self._table, self._known = repaired._data, repaired._table, repaired._known
                self._width, self.marks = repaired._width, repaired.marks
                return self._section(name)
            kind = np.dtype(SECTIONS[name] or f"<u{self._width}")
            self._known[name] = np.frombuffer(self._data, kind, size // kind.itemsize, begin)
        return self._known[name]

    def _sections(self, *names: str) -> list[NDArray[Any]]:
        """Return sections that belong together: all of the file, or all of the one that took its place."""
        data = self._data
        found = [self._section(name) for name in names]
        return found if self._data is data else [self._section(name) for name in names]

    def _corrupt(self, what: str) -> CorruptLogError:
        return CorruptLogError(f"the adjacency index {self._name} {what}")

    def half(self, *, down: bool) -> Half:
        """Return the edges in one direction.

        Parameters
        ----------
        down : bool
            From parents to children; else from children to parents.

        Returns
        -------
        Half
            Views of the mapped file, which cannot be written.

        Raises
        ------
        CorruptLogError
            If they do not carry their sums, and there is nothing to repair them with.
        """
        way = "down" if down else "up"
        return Half(*self._sections(f"{way}_offsets", f"{way}_far", f"{way}_mark"))

    def exceptions(self, *, down: bool) -> Exceptions:
        """Return the exceptions among the edges in one direction.

        Parameters
        ----------
        down : bool
            As for :meth:`half`.

        Returns
        -------
        Exceptions
            Views of the mapped file.

        Raises
        ------
        CorruptLogError
            As :meth:`half`.
        """
        names = ("down_places", "down_rows") if down else ("up_places",)
        places, *rows, stated, retracted, snapshot = self._sections(*names, "stated", "retracted", "retracted_snapshot")
        # The rows are in the order of this direction.
        which = rows[0] if down else np.arange(len(places), dtype=np.uint32)
        return Exceptions(places, which, stated, retracted, snapshot)

    @property
    def times(self) -> NDArray[np.int64]:
        """When each node was first declared or begun, by id, in nanoseconds since 1970 UTC; :data:`ALWAYS` else."""
        return self._section("times")

    def later(self, at: int, as_of: int) -> NDArray[np.int64]:
        """Return nodes of which a snapshot knew only a later time than is known now, and which were not there by that.

        Parameters
        ----------
        at : int
            The snapshot.
        as_of : int
            Nanoseconds since 1970 UTC.

        Returns
        -------
        ndarray of int64
            Dense ids; some may be there more than once.

        Raises
        ------
        CorruptLogError
            As :meth:`half`.
        """
        node, until, time = self._sections("earlier_node", "earlier_until", "earlier_time")
        return node[(until > at) & (time > as_of)].astype(np.int64)

    def allowed(self, relations: tuple[Relation, ...], at: int, *, as_of: bool = False) -> NDArray[np.uint8]:
        """Return which marks a walk may follow.

        Parameters
        ----------
        relations : tuple of Relation
            The relations to follow.
        at : int
            Edges of later snapshots are not followed, nor those that were retracted up to this one.
        as_of : bool
            Whether a time is asked for, so that exceptions are looked up.

        Returns
        -------
        ndarray of uint8, shape (marks,)
            By mark: 0 for no, 1 for yes, 2 for what the exceptions say.
        """
        numbers = [RELATIONS[relation] for relation in relations if relation in RELATIONS]
        snapshot, relation, dead, exception = self.marks.T
        known = (snapshot <= at) & np.isin(relation, numbers)
        says: NDArray[np.uint8] = known.astype(np.uint8)
        if as_of:
            says[known & (exception != 0)] = 2
        else:
            says[(dead > 0) & (dead <= at)] = 0
        return says


def open_adjacency(path: Path, repair: Callable[[str], Adjacency | None] | None = None) -> Adjacency:
    """Map an index. Its sections are verified when they are first used.

    Parameters
    ----------
    path : Path
        Made by :func:`braid_hpc.snapshots.adjacency_write.write_adjacency`.
    repair : callable, optional
        As for :class:`Adjacency`.

    Returns
    -------
    Adjacency
        Its arrays are views of the mapped file, and cannot be written.

    Raises
    ------
    FileNotFoundError
        If there is none.
    FormatTooNewError, CorruptLogError
        As :class:`Adjacency`.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise CorruptLogError(f"the adjacency index {path} is empty")
        return Adjacency(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), str(path), repair)
