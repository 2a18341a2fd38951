"""What logs say without the rows of streams, set aside by the rank that read them for the rank that commits.

The files of a log are read and verified once, by one rank; the graph is made of the few of its rows that are not of
streams. So these are kept in an Arrow file beside the store, with a sum for each batch, and the rank that commits
gets a log whose parts are read from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from braid_hpc.compaction.archive_files import EVENTS, SummedFile, events_batch
from braid_hpc.compaction.ledger import settle
from braid_hpc.log.layout import SUM
from braid_hpc.reading.copies import join_copies
from braid_hpc.reading.events import Events
from braid_hpc.reading.parts import Part
from braid_hpc.reading.sealed import Segment, read_rows
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code

__all__ = ["SpokenFile", "SpokenPart"]

#: Rows that only the tables of streams are made of.
_OF_STREAMS = (Code.ROW, Code.BATCH, Code.ROW_EDGES)


@dataclass(slots=True)
class SpokenPart(Part):
    """A part of a log whose rows are read from a :class:`SpokenFile`; what it says of itself is as it was.

    Attributes
    ----------
    spoken : (Path, Segment) or None
        Where the rows are that are not of streams; None if there are none.
    """

    spoken: tuple[Path, Segment] | None = None

    def read(self) -> Events:
        """Read its rows, without those of streams.

        Returns
        -------
        Events
            Those that are taken from here.

        Raises
        ------
        CorruptLogError
            If they do not verify any more.
        """
        if self.spoken is None:
            return Events.empty()
        events = Events.join([read_rows(*self.spoken)])
        mine = self.ranges.mask(events["sequence"])
        return events if mine.all() else events.take(mine)


class SpokenFile:
    """Reads logs, and keeps what they say.

    Parameters
    ----------
    path : Path
        ``<name>.arrows``, which must not exist.

    Raises
    ------
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = SummedFile(path, EVENTS)
        self._kept: dict[int, tuple[Part, Segment]] = {}
        self._writer = ""

    def read(self, directories: Iterable[Path]) -> list[WriterLog]:
        """Read logs of writers, and join and settle them as they are merged.

        Parameters
        ----------
        directories : iterable of Path
            Of writers; copies of one log are joined.

        Returns
        -------
        list of WriterLog
            By writers, in the order of their first directories.

        Raises
        ------
        FormatTooNewError
            If a log is of a newer format.
        OSError
            If what they say cannot be written.
        """
        logs = join_copies(self._one(directory) for directory in directories)
        for log in logs.values():
            settle(log)
            # Here, where its files are; it is asked for when the state of the log is written.
            log.span()
        return list(logs.values())

    def _one(self, directory: Path) -> WriterLog:
        return read_writer(directory, self._keep)

    def _keep(self, part: Part, events: Events) -> None:
        spoken = ~np.isin(events["code"], _OF_STREAMS)
        if not spoken.any():
            return
        if not spoken.all():
            events = events.take(spoken)
        # Whose they are is known by the part.
        batch = events_batch("00" * 16, events)
        record = self._file.write(batch, part.first, part.after)
        # The part is held, so that no other one gets its identity.
        self._kept[id(part)] = part, Segment(*SUM.unpack(record)[:-1])

    def without_streams(self, log: WriterLog) -> WriterLog:
        """Return a log as another rank can read it.

        Parameters
        ----------
        log : WriterLog
            From :meth:`read`.

        Returns
        -------
        WriterLog
            Its parts are read from this file, once that is closed.
        """
        return replace(log, parts=[self._elsewhere(part) for part in log.parts])

    def _elsewhere(self, part: Part) -> SpokenPart:
        _, segment = self._kept.get(id(part), (part, None))
        spoken = None if segment is None else (self._path, segment)
        about = part.segment, part.codes, part.times, part.ends
        return SpokenPart(part.path, part.first, part.after, part.ranges, *about, spoken)

    def close(self) -> None:
        """End the file: others may read it."""
        self._file.finish()
        self._kept.clear()

    def discard(self) -> None:
        """Close the file, which is to be removed."""
        self._file.discard()
