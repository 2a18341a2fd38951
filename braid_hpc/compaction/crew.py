"""The rank that commits, and what it has the others do: read logs, convert rows, look at files."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from braid_hpc.compaction.archive import Archive
from braid_hpc.compaction.bales import BaleReader, Ended, Rows, Slip
from braid_hpc.compaction.channel import Channel, Failed, RankLostError, failed
from braid_hpc.compaction.commit import Keeper, write_table
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.inspecting import Uninspected
from braid_hpc.compaction.portion import Kept, Order
from braid_hpc.compaction.roster import Roster
from braid_hpc.compaction.row_edge_store import RowEdgeTables
from braid_hpc.compaction.row_edges import Stated
from braid_hpc.compaction.serving import serve
from braid_hpc.compaction.shares import Share
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.payloads import Inspection

__all__ = ["Crew", "together"]

T = TypeVar("T")
#: Who has read a log, the log, and the places of its copies.
_Found = tuple[int, WriterLog, list[Path]]
Progress = Callable[[str, int, int], None]

#: How many portions there are for each rank: the more, the sooner all are done, whatever the logs' sizes.
_PORTIONS = 8
#: Logs that are read at once at most.
_LOGS = 64


def together(comm: Any, work: Callable[[Crew], T]) -> T:
    """Have one rank do something with the help of the others; all of them call this.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        Of several ranks.
    work : callable
        Is called on rank 0.

    Returns
    -------
    object
        What it returns, on every rank.

    Raises
    ------
    BaseException
        What it raises, on every rank.
    RankLostError
        If a rank has ended, or MPI has. The others cannot end in good order then: abort.
    """
    comm = comm.Dup()
    rank, channel = comm.Get_rank(), Channel(comm)
    outcome = serve(channel, rank) if rank else _lead(Crew(channel, comm.Get_size()), work)
    comm.Free()
    if isinstance(outcome, Failed):
        raise outcome.error
    found: T = outcome
    return found


def _lead(crew: Crew, work: Callable[[Crew], T]) -> T | Failed:
    try:
        try:
            outcome: T | Failed = work(crew)
        except RankLostError:
            raise
        except BaseException as error:
            told = failed(error, 0)
            crew.end(told)
            return told
        crew.end(outcome)
    except RankLostError:
        crew.leave()
        raise
    return outcome


class Crew(Roster):
    """What the other ranks do for the one that commits, which is rank 0.

    Parameters
    ----------
    channel : Channel
        To the others.
    size : int
        How many ranks there are.
    """

    def __init__(self, channel: Channel, size: int) -> None:
        super().__init__(channel, size)
        self._shares: dict[Path, Share] = {}
        #: Which rank has unpacked what stands in bundles.
        self._unpackers: dict[Path, int] = {}
        #: Which rank has read the log of a writer.
        self._owners: dict[str, int] = {}
        self._inbox: dict[int, deque[tuple[Path, Rows | Ended]]] = {}
        self._readers: dict[int, BaleReader] = {}
        self._kept: dict[int, Path] = {}

    # ------------------------------------------------------------------ logs

    def look(self, shares: list[Share]) -> set[str]:
        """See that no log is of a newer major version, and which stores the logs name.

        Parameters
        ----------
        shares : list of Share
            Writers. Those in bundles stay with the rank that has unpacked them.

        Returns
        -------
        set of str
            The stores.

        Raises
        ------
        FormatTooNewError
            If a log is of a newer format.
        StorageError
            If a rank has no room to unpack bundles.
        """
        self._shares = {share.place: share for share in shares}
        portions = self._portions(shares)
        stores: set[str] = set()
        for number, rank, found in self.share("look", portions):
            stores |= found
            self._unpackers.update((share.place, rank) for share in portions[number] if share.index is not None)
        return stores

    def read(self, places: list[Path], progress: Progress) -> dict[str, WriterLog]:
        """Read logs; each rank keeps those that it has read.

        Parameters
        ----------
        places : list of Path
            Of writers; directories that :meth:`look` was not asked for among them.
        progress : callable
            As for :func:`braid_hpc.compaction.compact.compact`.

        Returns
        -------
        dict of str to WriterLog
            By writer, in the order of their first places; without the rows of streams.

        Raises
        ------
        FormatTooNewError
            If a log is of a newer format.
        StorageError
            If a rank cannot write beside the store.
        """
        progress("read", 0, len(places))
        # Copies of a log have one name, if nobody has renamed one.
        names: dict[tuple[int, str], list[Share]] = defaultdict(list)
        for share in (self._shares.get(place) or Share(place) for place in places):
            names[self._unpackers.get(share.place, 0), share.place.name].append(share)
        portions: list[list[Share]] = []
        only: list[int] = []
        for rank in sorted({rank for rank, _ in names}):
            mine = self._portions([each for (whose, _), each in names.items() if whose == rank])
            portions += [[share for each in part for share in each] for part in mine]
            only += [rank] * len(mine)
        found: dict[str, list[_Found]] = defaultdict(list)
        done = 0
        for number, rank, logs in self.share("survey", portions, only):
            done += len(portions[number])
            progress("read", done, len(places))
            for log, lies_in in logs:
                found[log.writer].append((rank, log, lies_in))
        order = {place: number for number, place in enumerate(places)}
        self._owners = {writer: each[0][0] for writer, each in found.items()}
        for writer, each in found.items():
            if len(each) > 1:
                found[writer] = [self._read_together(self._owners[writer], each, order)]
        firsts = {writer: min(order[place] for place in each[0][2]) for writer, each in found.items()}
        return {writer: found[writer][0][1] for writer in sorted(found, key=firsts.__getitem__)}

    def _read_together(self, rank: int, copies: list[_Found], order: dict[Path, int]) -> _Found:
        """Have one rank read copies of one log that several ranks have read."""
        places = sorted((place for _, _, lies_in in copies for place in lies_in), key=order.__getitem__)
        shares = [self._shares.get(place) or Share(place) for place in places]
        ((_, _, ((log, lies_in),)),) = self.share("survey", [shares], [rank])
        return rank, log, lies_in

    def _portions(self, each: list[T]) -> list[list[T]]:
        size = max(1, min(_LOGS, len(each) // (_PORTIONS * len(self.others))))
        return [each[first : first + size] for first in range(0, len(each), size)]

    # ------------------------------------------------------------------ rows

    def order(self, taken: Iterable[Speaker], name: str) -> None:
        """Have the ranks convert the rows of the logs that they have read.

        Parameters
        ----------
        taken : iterable of Speaker
            In the order in which :meth:`convert` will be called.
        name : str
            Of the commit.
        """
        orders: dict[int, list[Order]] = defaultdict(list)
        for facts in taken:
            orders[self._owners[facts.writer]].append(Order(facts.writer, facts.run, facts.taken, facts.log.state))
        self._kept.clear()
        self._inbox = {rank: deque() for rank in orders}
        self._readers = {rank: BaleReader() for rank in orders}
        for rank, each in orders.items():
            self.ask(rank, "convert", each, name)

    def convert(
        self, facts: Speaker, tables: StreamTables, edges: RowEdgeTables, keeper: Keeper
    ) -> tuple[str, list[str]]:
        """Write one writer's rows, which another rank has converted or will have.

        Parameters
        ----------
        facts : Speaker
            The writer.
        tables : StreamTables
            Takes rows of streams.
        edges : RowEdgeTables
            Takes pairs of rows.
        keeper : Keeper
            The archive.

        Returns
        -------
        digest : str
            XXH3-128 of the check words of the rows that were taken.
        faults : list of str
            What cannot be read.

        Raises
        ------
        StorageError
            If the rank could not write it, or it cannot be read here.
        """
        assert isinstance(keeper, Archive)
        rank = self._owners[facts.writer]
        while True:
            while not self._inbox[rank]:
                self._take()
            path, entry = self._inbox[rank].popleft()
            assert entry.writer == facts.writer, "the order of writers is that of the orders"
            if isinstance(entry, Ended):
                keeper.take_line(entry.line, rank)
                return entry.digest, entry.faults
            for each in self._readers[rank].read(path, entry):
                if isinstance(each, Stated):
                    edges.add(each)
                else:
                    write_table(facts, *each, tables)

    def parts(self) -> Iterator[tuple[int, Path]]:
        """Yield the parts of the archive that the ranks have kept, when they are on the disk.

        Yields
        ------
        int
            The rank.
        Path
            The directory.

        Raises
        ------
        StorageError
            If a rank could not write it.
        """
        while self.busy:
            self._take()
        for reader in self._readers.values():
            reader.close()
        yield from sorted(self._kept.items())

    def _take(self) -> None:
        rank, message = self.answer()
        if isinstance(message, Slip):
            self._inbox[rank].extend((message.path, entry) for entry in message.entries)
        elif isinstance(message, Kept):
            self._kept[rank] = message.directory

    # ------------------------------------------------------------------ files

    def inspect(self, waiting: list[Uninspected], progress: Progress) -> list[Inspection]:
        """Look at files whose digests were left to the merge.

        Parameters
        ----------
        waiting : list of Uninspected
            The files.
        progress : callable
            As for :func:`braid_hpc.compaction.compact.compact`.

        Returns
        -------
        list of Inspection
            What each was found to be by the rank that looked at it.
        """
        found: list[Inspection | None] = [None] * len(waiting)
        shared = self.share("inspect", [[each] for each in waiting])
        for done, (number, _, (inspection,)) in enumerate(shared):
            found[number] = inspection
            progress("digests", done, len(waiting))
        return [each for each in found if each is not None]
