"""Parts of a log: a tail or a sealed batch, looked at once and read again whenever its rows are needed.

A log may be longer than the memory of the machine that reads it, and it may be written at the same time. So of each
part only what it holds is remembered, and which of that is taken from here: rows that come later are not, and a row
that stands in two parts (a tail and the batch that it was sealed into, or two copies of a log) counts in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from braid_hpc.reading.events import Array, Events
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.sealed import Segment, read_rows, read_sums, sealed_files
from braid_hpc.reading.tails import read_tail
from braid_hpc.vocabulary.errors import CorruptLogError, NotFoundError

__all__ = ["CODES", "Part", "counted"]

#: Codes are counted one by one below this number, and all others together.
CODES = 128


@dataclass(slots=True)
class Part:
    """One segment of a log.

    Attributes
    ----------
    path : Path
        The tail, or the Arrow file.
    first, after : int
        The sequences that it has room for.
    ranges : Ranges
        Those that are taken from here.
    segment : Segment or None
        What the sum of a sealed batch says; None for a tail.
    codes : numpy.ndarray
        int64 of shape (64,): how many rows of each code it has.
    times : (int, int)
        Monotonic ns of its first row, and of the latest one.
    ends : (int, int, int)
        Sequences of its first and its last row, and monotonic ns of the last one; zeros if it has none.
    """

    path: Path
    first: int
    after: int
    ranges: Ranges
    segment: Segment | None = None
    codes: Array = field(default_factory=lambda: np.zeros(CODES, np.int64))
    times: tuple[int, int] = (0, 0)
    ends: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, path: Path, span: tuple[int, int], events: Events, segment: Segment | None = None) -> Part:
        """Describe a segment that was just read.

        Parameters
        ----------
        path : Path
            Its file.
        span : (int, int)
            The sequences that it has room for: first, and the first one behind it.
        events : Events
            Its rows.
        segment : Segment, optional
            Of a sealed batch.

        Returns
        -------
        Part
            All of its rows are taken from here.
        """
        events = Events.join([events])
        codes = np.bincount(np.minimum(events["code"], CODES - 1), minlength=CODES)
        if not len(events):
            return cls(path, *span, Ranges.none(), segment, codes)
        sequence, time = events["sequence"], events["time"]
        ends = int(sequence[0]), int(sequence[-1]), int(time[-1])
        return cls(path, *span, Ranges.of(sequence), segment, codes, (int(time[0]), int(time.max())), ends)

    def time_of(self, sequence: int) -> int | None:
        """Return when its first or its last row was written.

        Parameters
        ----------
        sequence : int
            Of one of the two.

        Returns
        -------
        int or None
            Monotonic ns; None for any other row, and for one that is not taken from here.
        """
        first, last, time = self.ends
        if sequence not in (first, last) or sequence not in self.ranges:
            return None
        return self.times[0] if sequence == first else time

    def has(self, *codes: int) -> bool:
        """Return whether there may be rows with one of some codes.

        Parameters
        ----------
        *codes : int
            Event codes; none for any row.

        Returns
        -------
        bool
            False if there are none.
        """
        return bool(self.ranges) and (not codes or bool(self.codes[counted(codes)].any()))

    def read(self) -> Events:
        """Read its rows again.

        Returns
        -------
        Events
            Those that are taken from here, and nothing that has come since.

        Raises
        ------
        CorruptLogError
            If they do not verify any more.
        NotFoundError
            If they were removed.
        """
        events = read_rows(self.path, self.segment) if self.segment is not None else self._read_tail()
        events = Events.join([events])
        mine = self.ranges.mask(events["sequence"])
        kept = int(np.count_nonzero(mine))
        if kept < self.ranges.count:
            raise CorruptLogError(f"{self.path} has changed while it was read: read it again")
        return events if kept == len(events) else events.take(mine)

    def _read_tail(self) -> Events:
        try:
            return read_tail(self.path).events
        except FileNotFoundError:
            pass
        # A tail goes only after its rows were sealed.
        for path in sealed_files(self.path.parent, "events"):
            for segment in read_sums(path.with_suffix(".sums"))[0]:
                if segment.first == self.first:
                    return read_rows(path, segment)
        raise NotFoundError(f"{self.path} was removed while it was read")


@lru_cache(maxsize=64)
def counted(codes: tuple[int, ...]) -> Array:
    """Return where a part counts its rows of some codes.

    Parameters
    ----------
    codes : tuple of int
        Event codes.

    Returns
    -------
    numpy.ndarray
        Indexes into :attr:`Part.codes`, int64; one for all codes that are not counted one by one.
    """
    return np.unique(np.minimum(np.array(codes, np.int64), CODES - 1))
