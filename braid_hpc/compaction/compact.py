"""Compaction, step by step: read, group, resolve, write aside, archive, publish."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from braid_hpc.compaction.archive import Archive, Elsewhere
from braid_hpc.compaction.array_copies import ArrayCopies
from braid_hpc.compaction.channel import RankLostError
from braid_hpc.compaction.commit import Commit, write_commit
from braid_hpc.compaction.crew import Crew, together
from braid_hpc.compaction.done_index import write_done
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.inspecting import Uninspected, find_uninspected, inspect_files
from braid_hpc.compaction.ledger import Ledger, settle
from braid_hpc.compaction.runs import absent_ranks, group_runs
from braid_hpc.compaction.shares import find_shares
from braid_hpc.compaction.slices import find_cuts
from braid_hpc.compaction.write import Writer
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.copies import join_copies
from braid_hpc.reading.directories import read_header
from braid_hpc.reading.newer import refuse_newer
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.adjacency_layers import ground_for
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.connect import (
    check_growable,
    connect_asking,
    connect_building,
    refuse_two_stores,
    snapshot_number,
    storage_error,
)
from braid_hpc.snapshots.empty import write_empty
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.modes import share_directory
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError, StorageError

__all__ = ["Compacted", "compact", "compact_statements", "create_empty"]

Progress = Callable[[str, int, int], None]

#: How often a compaction that lost the race for a number begins again from the winner's snapshot.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes
    ----------
    store : Path
        The store.
    snapshot : int
        Number of its newest snapshot.
    new : bool
        Whether that snapshot was made now; False if the logs held nothing new.
    writers, events, versions, activities, edges, stream_rows, arrays : int
        What was added.
    problems : int
        Rows that were added to the table ``problems``.
    unmatched : int
        Channels and communicators of the runs that there was news of whose messages and calls are not all matched.
    states : dict of str to WriterState
        State of every writer that was read.
    absent : list of (str, int)
        Run and rank of each rank of those runs of which the store has no log.
    inspected : dict of str to int
        How many files whose digests were left to the merge were found ``verified``, ``changed``, ``missing`` or
        ``unreadable`` now, and were not found so before.
    """

    store: Path
    snapshot: int
    new: bool
    writers: int = 0
    events: int = 0
    versions: int = 0
    activities: int = 0
    edges: int = 0
    stream_rows: int = 0
    arrays: int = 0
    problems: int = 0
    unmatched: int = 0
    states: dict[str, WriterState] = field(default_factory=dict)
    absent: list[tuple[str, int]] = field(default_factory=list)
    inspected: dict[str, int] = field(default_factory=dict)
    _waiting: list[Uninspected] = field(default_factory=list, repr=False)


def compact(
    logs: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    *,
    digests: bool = True,
    group: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    comm: Any = None,
) -> Compacted:
    """Merge rank logs into a store, each event once.

    Logs that are still written may be compacted: what is there now is taken, the rest comes next time.
    Then the files are read whose digests were left to the merge (``digest="deferred"``), and what they were found to
    be is a snapshot of its own.

    Parameters
    ----------
    logs : path-like
        A directory with rank logs, as directories or in node bundles, or a node bundle.
    store : path-like, optional
        The store; without it the one that the job named (``store=``) or ``BRAID_STORE``.
    digests : bool
        False: no files are read; a later merge does it.
    group : str, optional
        Name of a group of this machine: the store's directory is given to it, so that what is there and what later
        merges add is the group's to read.
    progress : callable, optional
        Called with a step's name, how much of it is done, and how much there is.
    comm : mpi4py.MPI.Intracomm, optional
        Ranks that share the work: all of them call this with the same arguments. They read the logs and convert
        them, rank 0 commits, calls `progress`, and names the store; each returns, or raises, the same. They all see
        the logs and the directory of the store.

    Returns
    -------
    Compacted
        What was added; nothing, and no new snapshot, if the logs held nothing new.

    Raises
    ------
    NotFoundError
        If there are no logs.
    InvalidInputError
        If no store is named, or there is no such group.
    FormatTooNewError
        If a log or the store is of a newer format.
    CorruptLogError
        If a file that is called like a node bundle is none.
    ConflictError
        If other compactions were faster each time.
    StorageError
        If the store cannot be written, or there is no room to unpack bundles; a
        :class:`~braid_hpc.compaction.channel.RankLostError` if a rank has ended: MPI cannot be ended in good order
        then, so abort it.
    """
    if comm is None or comm.Get_size() == 1:
        return _compact(logs, store, digests, group, progress or _silent)
    return together(comm, partial(_compact_with, logs, store, digests, group, progress or _silent))


Place = str | os.PathLike[str]


def _compact(logs: Place, store: Place | None, digests: bool, group: str | None, progress: Progress) -> Compacted:
    with opened_logs(logs) as directories:
        for directory in directories:
            refuse_newer(directory)
        files = StoreFiles(store if store is not None else _default_store(_stores_of(directories)))
        if group is not None:
            share_directory(files.directory, group)
        result = _merge(directories, files, progress)
    return _inspected(result, files, progress) if digests and result._waiting else result


def _compact_with(
    logs: Place, store: Place | None, digests: bool, group: str | None, progress: Progress, crew: Crew
) -> Compacted:
    shares = find_shares(Path(logs))
    named = crew.look(shares)
    files = StoreFiles(store if store is not None else _default_store(named))
    if group is not None:
        share_directory(files.directory, group)
    result = _merge([share.place for share in shares], files, progress, crew)
    return _inspected(result, files, progress, crew) if digests and result._waiting else result


def _inspected(result: Compacted, files: StoreFiles, progress: Progress, crew: Crew | None = None) -> Compacted:
    """Look at the files that wait for it, and take what was found."""
    looking = crew.inspect if crew is not None else None
    found: Counter[str] = inspect_files(result._waiting, files, progress, looking=looking)
    if not found:
        return result
    # The logs are in the store. If others are faster each time, one of them has taken this too.
    with contextlib.suppress(ConflictError):
        last = _merge([], files, progress)
        result = replace(result, snapshot=last.snapshot, new=True)
    return replace(result, inspected=dict(found))


def compact_statements(store: str | os.PathLike[str]) -> Compacted:
    """Take into a store what was stated beside it: its own logs, which no rank wrote.

    Parameters
    ----------
    store : path-like
        The store.

    Returns
    -------
    Compacted
        As from :func:`compact`.

    Raises
    ------
    ConflictError, FormatTooNewError, StorageError
        As :func:`compact`.
    """
    return _merge([], StoreFiles(store), _silent)


def create_empty(files: StoreFiles) -> Compacted:
    """Publish a first snapshot with nothing in it.

    Parameters
    ----------
    files : StoreFiles
        Of a store that does not exist.

    Returns
    -------
    Compacted
        As from :func:`compact`.

    Raises
    ------
    ConflictError
        If somebody else was faster.
    StorageError
        If the store cannot be written.
    """
    return _attempt([], files, _silent, empty=True)


def _merge(directories: list[Path], files: StoreFiles, progress: Progress, crew: Crew | None = None) -> Compacted:
    for attempt in range(ATTEMPTS):
        # Also what somebody stated whose own compaction did not come to its end.
        stated = files.statement_logs()
        known = {directory.resolve() for directory in directories} if stated else set()
        every = [*directories, *(directory for directory in stated if directory.resolve() not in known)]
        try:
            result = _attempt(every, files, progress, crew=crew)
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        except NotFoundError:
            if attempt == ATTEMPTS - 1 or all(directory.is_dir() for directory in stated):
                raise
            # Another compaction took them and removed them while they were read here.
            continue
        for directory in stated:
            # Archived with the snapshot that took it.
            if directory.name in result.states and result.states[directory.name].complete:
                _remove_taken(directory)
        return result
    raise AssertionError("unreachable")


def _remove_taken(directory: Path) -> None:
    """Remove a log as a whole: who reads it meanwhile sees that it went, and never a half of it."""
    aside = directory.with_name(f"taken-{directory.name}")
    # Another compaction may be removing it too.
    with contextlib.suppress(OSError):
        directory.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _silent(step: str, done: int, total: int) -> None:
    return


def _stores_of(directories: list[Path]) -> set[str]:
    return {str(header["store"]) for path in directories if (header := read_header(path)[0]).get("store")}


def _default_store(named: set[str]) -> str:
    if len(named) == 1:
        return named.pop()
    if not named and os.environ.get("BRAID_STORE"):
        return os.environ["BRAID_STORE"]
    raise InvalidInputError(
        f"these logs name {len(named) or 'no'} store{'s' if len(named) != 1 else ''}: say which with --store"
    )


def _attempt(
    directories: list[Path],
    files: StoreFiles,
    progress: Progress,
    *,
    empty: bool = False,
    crew: Crew | None = None,
) -> Compacted:
    numbers = files.snapshots()
    if empty and files.exists():
        raise ConflictError(f"{files.path} is there already: it stays as it is")
    if files.exists():
        # Before anything is written beside it.
        check_growable(files.newest(), files.path)
    base = numbers[-1] if numbers else _number_inside(files)
    if crew is not None:
        crew.begin(files, base)
    aside = files.begin(base)
    copies = ArrayCopies.begin(files, files.tag(aside))
    try:
        if not base:
            write_empty(aside)
        connection = connect_building(aside)
        try:
            if base:
                inside = snapshot_number(connection, files.path)
                if not numbers and inside != base:
                    raise ConflictError(f"{files.path} is not what it was a moment ago")
                refuse_two_stores(files, files.snapshot(base) if numbers else files.path, inside)
            files.sweep(base, {tag for (tag,) in connection.execute("select archive from snapshots").fetchall()})
            result = _commit(connection, directories, files, copies, files.tag(aside), progress, empty=empty, crew=crew)
            result = replace(result, _waiting=find_uninspected(connection))
            if result.new:
                below = ground_for(connection, files.adjacency(base), base) if numbers else None
                write_adjacency(connection, files.index_of(aside), result.snapshot, below=below)
                write_done(connection, files.done_of(aside), result.snapshot, before=files.done(base) if base else None)
            elif numbers and not files.done(base).exists() and write_done(connection, files.done_of(aside), base):
                # Somebody has removed it, or ended before it was there: ranks would find nothing done.
                files.name_done(aside, base)
        finally:
            connection.close()
        if result.new:
            files.publish(aside, base + 1)
    except BaseException as error:
        if crew is not None:
            # Before what they write is removed. Where one has ended that is found again, and told, at the end.
            with contextlib.suppress(RankLostError):
                crew.stop()
        copies.discard()
        files.discard_kept(aside)
        files.discard(aside)
        if (refused := storage_error(files.path, error)) is not None:
            raise refused from error
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(f"{files.path} cannot be written ({error.strerror or error})") from error
        raise
    files.discard(aside)
    files.name_newest()
    return result


def _number_inside(files: StoreFiles) -> int:
    """Return the newest snapshot of a store that was copied without its directory, 0 if there is none."""
    if not files.path.exists():
        return 0
    # As readers open it: DuckDB does not open a file in two ways within one process, and one may ask it here.
    connection = connect_asking(files.path)
    try:
        return snapshot_number(connection, files.path)
    finally:
        connection.close()


def _commit(
    connection: Any,
    directories: list[Path],
    files: StoreFiles,
    copies: ArrayCopies,
    tag: str,
    progress: Progress,
    *,
    empty: bool,
    crew: Crew | None,
) -> Compacted:
    """Write what is new within one transaction; return what that was. An `empty` snapshot is one with nothing new."""
    snapshot = int(tag.partition("-")[0])
    logs = _read(directories, progress) if crew is None else crew.read(directories, progress)
    if gone := [each for each in directories if each.parent == files.archive and not each.is_dir()]:
        raise ConflictError(f"{gone[0]} was taken by another compaction while it was read")
    ledger = Ledger.read(connection)
    headers = ledger.headers | {writer: log.header for writer, log in logs.items()}
    grouping = group_runs(headers, ledger.runs)
    copies.take(connection, list(logs.values()), progress)
    taken: list[Speaker] = []
    for writer, log in logs.items():
        ledger.recall_damage(log)
        ledger.recall_end(log)
        fresh = ledger.fresh(log)
        if fresh or ledger.is_news(log) or writer in copies.holders:
            taken.append(Speaker(log, grouping.run[writer], fresh))
    states = {writer: log.state for writer, log in logs.items()}
    touched = {grouping.run[writer] for writer in logs}
    absent = absent_ranks(headers, {writer: run for writer, run in grouping.run.items() if run in touched})
    if not taken and not empty:
        return Compacted(files.path, snapshot - 1, new=False, states=states, absent=absent)
    progress("resolve", 0, 1)
    commit = Commit(
        snapshot=snapshot,
        tag=tag,
        base=_newest_archive(connection),
        taken=taken,
        cuts=find_cuts(taken),
        apart={writer: message for writer, message in grouping.problems if writer not in ledger.runs},
        arrays=copies.rows,
        lost_arrays=[(writer, grouping.run[writer], message) for writer, message in copies.lost],
    )
    out = Writer(connection, snapshot)
    if crew is not None:
        crew.order(taken, tag)
    keeping = partial(_archiving, files.archive / tag, None if crew is None else crew.parts)
    write_commit(out, commit, ledger, keeping, progress, converting=None if crew is None else crew.convert)
    states.update({facts.writer: facts.log.state for facts in taken})
    result = Compacted(
        files.path,
        snapshot,
        new=True,
        **commit.counted(out),
        arrays=out.counts["array_rows"],
        problems=out.counts["problem_rows"],
        unmatched=out.counts["unmatched"],
        states=states,
        absent=absent,
        inspected={},
        _waiting=[],
    )
    progress("write", 1, 1)
    return result


def _newest_archive(connection: Any) -> str | None:
    rows = connection.execute("select archive from snapshots order by snapshot desc limit 1").fetchall()
    return rows[0][0] if rows else None


@contextlib.contextmanager
def _archiving(directory: Path, elsewhere: Elsewhere | None) -> Iterator[Archive]:
    try:
        with Archive(directory, elsewhere) as archive:
            yield archive
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot archive the logs in {directory.parent} ({error.strerror})") from error


def _read(directories: list[Path], progress: Progress) -> dict[str, WriterLog]:
    def each() -> Iterator[WriterLog]:
        for done, directory in enumerate(directories):
            progress("read", done, len(directories))
            yield read_writer(directory)

    logs = join_copies(each())
    for log in logs.values():
        settle(log)
    return logs
