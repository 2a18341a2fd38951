"""A rank's portion of a compaction: it reads logs, and converts their rows, for the rank that commits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.compaction.archive_part import ArchivePart, sync_tree
from braid_hpc.compaction.bales import BaleWriter, Ended, Slip
from braid_hpc.compaction.conversion import Conversion
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.inspecting import Uninspected, inspect_file
from braid_hpc.compaction.shares import Share, Unpacked
from braid_hpc.compaction.spoken import SpokenFile
from braid_hpc.reading.directories import read_header
from braid_hpc.reading.newer import refuse_newer
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.locks import new_lock
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.payloads import Inspection

__all__ = ["Kept", "Order", "Portion", "pulse"]


def pulse(folder: Path, rank: int) -> Path:
    """Return the file that a rank holds a lock on as long as it lives.

    Parameters
    ----------
    folder : Path
        Which the ranks share.
    rank : int
        The rank.

    Returns
    -------
    Path
        In that folder.
    """
    return folder / f"{rank}.alive"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be converted.

    Attributes
    ----------
    writer, run : str
        The writer, and the run that it belongs to.
    taken : Ranges
        Sequences that are new.
    state : WriterState
        Of its log, with what earlier commits have found of it.
    """

    writer: str
    run: str
    taken: Ranges
    state: WriterState


@dataclass(frozen=True, slots=True)
class Kept:
    """The part of the archive that a rank has kept is on the disk.

    Attributes
    ----------
    directory : Path
        The part.
    """

    directory: Path


class Portion:
    """What one rank does; each method yields what the rank that commits is told, and None where it may be stopped.

    Parameters
    ----------
    rank : int
        Of this process.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._folder = Path()
        self._lock = -1
        self._logs: dict[str, WriterLog] = {}
        self._unpacked = Unpacked()
        self._spoken = 0

    def begin(self, folder: Path) -> Iterator[None]:
        """Make a directory of this rank.

        Parameters
        ----------
        folder : Path
            Which the ranks share, beside the store.

        Yields
        ------
        None
            When it is there.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        self._lock = new_lock(pulse(folder, self._rank))
        self._folder = folder / str(self._rank)
        self._folder.mkdir()
        yield None

    def end(self) -> None:
        """Forget all logs, remove what was unpacked, and end the lock."""
        self._logs.clear()
        self._unpacked.remove()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def look(self, shares: list[Share]) -> Iterator[set[str] | None]:
        """See that no log is of a newer major version, and which stores the logs name.

        Parameters
        ----------
        shares : list of Share
            Writers. Those in bundles are unpacked.

        Yields
        ------
        set of str
            At last: the stores.

        Raises
        ------
        FormatTooNewError
            If a log is of a newer format.
        StorageError
            If there is no room to unpack bundles.
        """
        stores = set()
        for share in shares:
            directory = self._unpacked.directory(share, None)
            refuse_newer(directory)
            if store := read_header(directory)[0].get("store"):
                stores.add(str(store))
            yield None
        yield stores

    def survey(self, shares: list[Share]) -> Iterator[list[tuple[WriterLog, list[Path]]] | None]:
        """Read logs, and keep them to convert them later.

        Parameters
        ----------
        shares : list of Share
            Writers; copies of one log are joined.

        Yields
        ------
        list of (WriterLog, list of Path)
            At last: each without the rows of streams, and the places of its copies.

        Raises
        ------
        FormatTooNewError
            If a log is of a newer format.
        OSError
            If what they say cannot be written beside the store.
        """
        yield None
        places = {self._unpacked.directory(share, self._folder): share.place for share in shares}
        spoken = SpokenFile(self._folder / f"spoken-{self._spoken:06d}.arrows")
        self._spoken += 1
        try:
            logs = spoken.read(places)
            found = [
                (spoken.without_streams(log), [places[path] for path in (log.directory, *log.copies)]) for log in logs
            ]
            spoken.close()
        except BaseException:
            spoken.discard()
            raise
        self._logs.update((log.writer, log) for log in logs)
        yield found

    def convert(self, orders: list[Order], name: str) -> Iterator[Slip | Kept | None]:
        """Convert rows, and keep them for the archive.

        Parameters
        ----------
        orders : list of Order
            Writers whose logs were read here, in the order in which they are wanted.
        name : str
            Of a directory that is made for it.

        Yields
        ------
        Slip or Kept
            Files with what was converted; at last the part of the archive.

        Raises
        ------
        OSError
            If something cannot be written beside the store.
        """
        folder = self._folder / name
        folder.mkdir()
        bales = BaleWriter(folder)
        try:
            with ArchivePart(folder / "archive") as part:
                for order in orders:
                    yield from self._convert(order, bales, part)
                yield bales.finish()
                part.close()
                sync_tree(part.directory)
                yield Kept(part.directory)
        finally:
            bales.close()

    def _convert(self, order: Order, bales: BaleWriter, part: ArchivePart) -> Iterator[Slip | None]:
        log = self._logs.pop(order.writer)
        log.state = order.state
        facts = Speaker(log, order.run, order.taken)
        facts.learn_streams()
        conversion = Conversion(facts, part)
        for each in conversion.rows():
            yield bales.add(order.writer, each)
        yield bales.end(Ended(order.writer, conversion.digest, conversion.faults, part.lines[-1]))

    def inspect(self, files: list[Uninspected]) -> Iterator[Inspection | list[Inspection] | None]:
        """Look at files whose digests were left to the merge.

        Parameters
        ----------
        files : list of Uninspected
            The files.

        Yields
        ------
        list of Inspection
            At last: what they were found to be.
        """
        found: list[Any] = []
        for each in files:
            found.append(inspect_file(each))
            yield None
        yield found
