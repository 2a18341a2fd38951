"""From the pairs of rows that writers stated to ranges of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from braid_hpc.compaction.row_ranges import Segments, as_segments
from braid_hpc.reading.copies import batch_of
from braid_hpc.reading.events import Array, Events
from braid_hpc.reading.sealed import open_batch
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import BATCH_IN_FILE, EDGES_FILE
from braid_hpc.vocabulary.encoding import decoder
from braid_hpc.vocabulary.errors import CorruptLogError
from braid_hpc.vocabulary.payloads import RowEdges
from braid_hpc.vocabulary.texts import clean

__all__ = ["EdgeReader", "Link", "Stated"]

_DECODER = decoder(RowEdges)
_LAST = (1 << 63) - 1

#: Who said it, and which rows of which streams it is about: writer, the children's stream and writer, the parents'
#: stream and writer, and the reference where the parents' stream was named by one.
Link = tuple[str, str, str, str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Stated:
    """What one event says.

    Attributes
    ----------
    link : Link
        Between which streams.
    sequence : int
        Of the event.
    time : int
        UTC ns.
    edges : int
        How many pairs there are.
    segments : Segments
        These pairs.
    """

    link: Link
    sequence: int
    time: int
    edges: int
    segments: Segments


class EdgeReader:
    """Decodes what one writer stated of rows, a part of its log at a time.

    Parameters
    ----------
    log : WriterLog
        The writer's, beside which the file of long lists lies.
    names : dict of int to str
        Its texts by their numbers.
    faults : list of str
        Takes a sentence for what cannot be read.
    keep : callable
        Called with the number of the file, the number of the first edge and the bytes of each long list.
    """

    def __init__(
        self,
        log: WriterLog,
        names: Callable[[], dict[int, str]],
        faults: list[str],
        keep: Callable[[int, int, bytearray], None],
    ) -> None:
        self._log = log
        self._names = names
        self._faults = faults
        self._keep = keep

    def stated(self, events: Events, utc: Callable[[Array], Array]) -> Iterator[Stated]:
        """Yield what some events say.

        Parameters
        ----------
        events : Events
            Any rows of the log.
        utc : callable
            Turns their times into UTC ns.

        Yields
        ------
        Stated
            One for each event that can be read.
        """
        rows = list(events.positions(Code.ROW_EDGES))
        if not rows:
            return
        times = utc(events["time"])
        for row in rows:
            first, count = int(events["subject"][row]), int(events["object"][row])
            try:
                yield self._one(events, row, count, int(times[row]))
            except (CorruptLogError, ValueError, KeyError, OverflowError, msgspec.DecodeError) as error:
                self._faults.append(f"row edges {first} to {first + count - 1} cannot be read: {error}")

    def _one(self, events: Events, row: int, count: int, time: int) -> Stated:
        said = _DECODER.decode(events.payload(row))
        if any(len(each) not in (0, 16) for each in (said.child_writer, said.parent_writer)):
            raise ValueError("the id of a writer is 16 bytes")
        child, parent = self._name(int(events["name"][row])), self._name(int(events["other"][row]))
        writer = self._log.writer
        link = (
            writer,
            clean(child),
            said.child_writer.hex() or writer,
            clean(parent),
            None if said.said is not None else said.parent_writer.hex() or writer,
            None if said.said is None else clean(said.said),
        )
        listed = self._listed(events, row, said)
        segments = _segments(said.child, said.parent, count, listed)
        return Stated(link, int(events["sequence"][row]), time, count, segments)

    def _name(self, number: int) -> str:
        try:
            return self._names()[number]
        except KeyError:
            raise ValueError(f"text {number} is not in this log") from None

    def _listed(self, events: Events, row: int, said: RowEdges) -> Array:
        if events["flags"][row] != BATCH_IN_FILE:
            return np.frombuffer(said.listed, "<i8")
        ipc, path = batch_of(self._log, EDGES_FILE, said.listed)
        self._keep(EDGES_FILE, int(events["subject"][row]), ipc)
        found: Array = open_batch(ipc, path).column("row").to_numpy()
        return found


def _segments(child: list[int], parent: list[int], count: int, listed: Array) -> Segments:
    """Return the pairs of an event as ranges, or say what of it cannot be."""
    for side in (child, parent):
        if len(side) not in (1, 2) or not 0 < count <= _LAST or not all(0 <= number <= _LAST for number in side):
            raise ValueError("its rows are none")
        if len(side) == 2 and side[0] + side[1] * (count - 1) > _LAST:
            raise ValueError("a row is beyond 63 bits")
    if len(listed) != count * sum(len(side) == 1 for side in (child, parent)):
        raise ValueError(f"{len(listed)} numbers are listed for {count} pairs")
    if not len(listed):
        return Segments.of_range((child[0], child[1]), (parent[0], parent[1]), count)
    rows = []
    for side in (child, parent):
        if len(side) == 2:
            rows.append(side[0] + side[1] * np.arange(count, dtype=np.int64))
            continue
        mine, listed = listed[:count], listed[count:]
        if int(mine.min()) < 0 or int(mine.max()) > _LAST - side[0]:
            raise ValueError("a row is beyond 63 bits")
        rows.append(mine + side[0])
    return as_segments(*rows)
