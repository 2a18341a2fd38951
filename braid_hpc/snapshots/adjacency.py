"""The adjacency index of a snapshot: the edges of the graph by their ends, in files that are mapped and never changed.

``docs/adjacency-format.md`` has the format. The index is made from the tables when a snapshot is made, and holds
nothing that they do not: where it is missing or damaged, it is made again. It is a file of its own, or a small one laid
over that of an earlier snapshot, which may be laid over another one; here they are one graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from braid_hpc.snapshots.halves import Half, Timed, Times, half_of, timed_of, times_of
from braid_hpc.snapshots.segment import Segment, open_segment
from braid_hpc.vocabulary.errors import CorruptLogError

__all__ = ["Adjacency", "open_adjacency"]

T = TypeVar("T")


class Adjacency:
    """An open index. What it gives was seen to be whole when it was first asked for.

    Parameters
    ----------
    segments : list of Segment
        Its files: the lowest, then what is laid over it.
    repair : callable, optional
        Gives another index of the same snapshot, or None, where a file turns out to be damaged; it is told why.

    Attributes
    ----------
    snapshot : int
        The newest one whose edges it holds; earlier ones are a filter.
    nodes : int
        The highest id.
    """

    def __init__(self, segments: list[Segment], repair: Callable[[str], Adjacency | None] | None = None) -> None:
        self.segments, self._repair = segments, repair
        self.snapshot, self.nodes = segments[-1].snapshot, segments[-1].nodes
        self._halves: dict[bool, Half] = {}
        self._timed: dict[bool, Timed] = {}

    def half(self, *, down: bool, timed: bool = False) -> Half:
        """Return the edges in one direction.

        Parameters
        ----------
        down : bool
            From parents to children; else from children to parents.
        timed : bool
            Whether a time is asked for.

        Returns
        -------
        Half
            Views of the mapped files, which cannot be written.

        Raises
        ------
        CorruptLogError
            If they do not carry their sums, and there is nothing to repair them with.
        """

        def read() -> Half:
            if down not in self._halves:
                self._halves[down] = half_of(self.segments, "down" if down else "up")
            found = self._halves[down]
            if not timed:
                return found
            if down not in self._timed:
                self._timed[down] = timed_of(self.segments, "down" if down else "up", self._times)
            return Half(found.rows, found.marks, self._timed[down])

        return self._repaired(read)

    @property
    def times(self) -> Times:
        """When nodes were first declared or begun."""
        return self._repaired(lambda: self._times)

    @functools.cached_property
    def _times(self) -> Times:
        return times_of(self.segments)

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

        def read() -> NDArray[np.int64]:
            found = []
            for segment in self.segments:
                node, until, time = segment.sections("earlier_node", "earlier_until", "earlier_time")
                found.append(node[(until > at) & (time > as_of)])
            return np.concatenate(found).astype(np.int64)

        return self._repaired(read)

    def _repaired(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except CorruptLogError as error:
            repair, self._repair = self._repair, None
            # The message names the file and says what is wrong with it.
            if repair is None or (other := repair(str(error))) is None:
                raise
            self.segments = other.segments
            self._halves.clear()
            self._timed.clear()
            self.__dict__.pop("_times", None)
            return read()


def open_adjacency(path: Path, repair: Callable[[str], Adjacency | None] | None = None) -> Adjacency:
    """Map an index. Its sections are verified when they are first used.

    Parameters
    ----------
    path : Path
        Made by :func:`braid_hpc.snapshots.adjacency_write.write_adjacency`; what it is laid over is beside it.
    repair : callable, optional
        As for :class:`Adjacency`.

    Returns
    -------
    Adjacency
        Its arrays are views of the mapped files, and cannot be written.

    Raises
    ------
    OSError
        If there is none, or it cannot be read.
    FormatTooNewError, CorruptLogError
        As :class:`braid_hpc.snapshots.segment.Segment`, of any of its files; also if one of these is missing.
    """
    segments = [open_segment(path)]
    while (over := segments[0].over) != 0:
        below = path.with_name(f"{over}.adjacency")
        try:
            lower = open_segment(below)
        except FileNotFoundError:
            raise segments[0].corrupt(f"needs {below}, which is not there") from None
        if lower.snapshot != over or lower.nodes != segments[0].before or over >= segments[0].snapshot:
            raise segments[0].corrupt(f"is not laid over {below}")
        segments.insert(0, lower)
    return Adjacency(segments, repair)
