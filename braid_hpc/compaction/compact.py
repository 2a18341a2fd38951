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

from braid_hpc.compaction.archive import Archive
from braid_hpc.compaction.array_copies import ArrayCopies
from braid_hpc.compaction.commit import Commit, create_tables, write_commit
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.inspecting import Uninspected, find_uninspected, inspect_files
from braid_hpc.compaction.ledger import Ledger, settle
from braid_hpc.compaction.runs import absent_ranks, group_runs
from braid_hpc.compaction.slices import find_cuts
from braid_hpc.compaction.write import Writer
from braid_hpc.reading.copies import join_copies
from braid_hpc.reading.directories import find_writers, read_header
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
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError, StorageError

__all__ = ["Compacted", "compact", "compact_statements", "create_empty"]

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
    progress: Callable[[str, int, int], None] | None = None,
) -> Compacted:
    """Merge rank logs into a store, each event once.

    Logs that are still written may be compacted: what is there now is taken, the rest comes next time.
    Then the files are read whose digests were left to the merge (``digest="deferred"``), and what they were found to
    be is a snapshot of its own.

    Parameters
    ----------
    logs : path-like
        A directory with rank logs.
    store : path-like, optional
        The store; without it the one that the job named (``store=``) or ``BRAID_STORE``.
    digests : bool
        False: no files are read; a later merge does it.
    progress : callable, optional
        Called with a step's name, how much of it is done, and how much there is.

    Returns
    -------
    Compacted
        What was added; nothing, and no new snapshot, if the logs held nothing new.

    Raises
    ------
    NotFoundError
        If there are no logs.
    InvalidInputError
        If no store is named.
    FormatTooNewError
        If a log or the store is of a newer format.
    ConflictError
        If other compactions were faster each time.
    StorageError
        If the store cannot be written.
    """
    directories = find_writers(logs)
    for directory in directories:
        refuse_newer(directory)
    files = StoreFiles(store if store is not None else _default_store(directories))
    result = _merge(directories, files, progress or _silent)
    return _inspected(result, files, progress or _silent) if digests and result._waiting else result


def _inspected(result: Compacted, files: StoreFiles, progress: Callable[[str, int, int], None]) -> Compacted:
    """Look at the files that wait for it, and take what was found."""
    found: Counter[str] = inspect_files(result._waiting, files, progress)
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


def _merge(directories: list[Path], files: StoreFiles, progress: Callable[[str, int, int], None]) -> Compacted:
    for attempt in range(ATTEMPTS):
        # Also what somebody stated whose own compaction did not come to its end.
        stated = files.statement_logs()
        known = {directory.resolve() for directory in directories}
        every = [*directories, *(directory for directory in stated if directory.resolve() not in known)]
        try:
            result = _attempt(every, files, progress)
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


def _default_store(directories: list[Path]) -> str:
    named = {header["store"] for path in directories if (header := read_header(path)[0]).get("store")}
    if len(named) == 1:
        return str(named.pop())
    if not named and os.environ.get("BRAID_STORE"):
        return os.environ["BRAID_STORE"]
    raise InvalidInputError(
        f"these logs name {len(named) or 'no'} store{'s' if len(named) != 1 else ''}: say which with --store"
    )


def _attempt(
    directories: list[Path], files: StoreFiles, progress: Callable[[str, int, int], None], *, empty: bool = False
) -> Compacted:
    numbers = files.snapshots()
    if empty and files.exists():
        raise ConflictError(f"{files.path} is there already: it stays as it is")
    if files.exists():
        # Before anything is written beside it.
        check_growable(files.newest(), files.path)
    base = numbers[-1] if numbers else _number_inside(files)
    aside = files.begin(base)
    copies = ArrayCopies.begin(files, files.tag(aside))
    try:
        connection = connect_building(aside)
        try:
            if not base:
                create_tables(connection)
            else:
                inside = snapshot_number(connection, files.path)
                if not numbers and inside != base:
                    raise ConflictError(f"{files.path} is not what it was a moment ago")
                refuse_two_stores(files, files.snapshot(base) if numbers else files.path, inside)
            files.sweep(base, {tag for (tag,) in connection.execute("select archive from snapshots").fetchall()})
            result = _commit(connection, directories, files, copies, files.tag(aside), progress, empty=empty)
            result = replace(result, _waiting=find_uninspected(connection))
            if result.new:
                below = ground_for(connection, files.adjacency(base), base) if numbers else None
                write_adjacency(connection, files.index_of(aside), result.snapshot, below=below)
        finally:
            connection.close()
        if result.new:
            files.publish(aside, base + 1)
    except BaseException as error:
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
    progress: Callable[[str, int, int], None],
    *,
    empty: bool,
) -> Compacted:
    """Write what is new within one transaction; return what that was. An `empty` snapshot is one with nothing new."""
    snapshot = int(tag.partition("-")[0])
    logs = _read(directories, progress)
    if gone := [each for each in directories if each.parent == files.archive and not each.is_dir()]:
        raise ConflictError(f"{gone[0]} was taken by another compaction while it was read")
    ledger = Ledger.read(connection)
    headers = ledger.headers | {writer: log.header for writer, log in logs.items()}
    grouping = group_runs(headers, ledger.runs)
    copies.take(connection, list(logs.values()), progress)
    taken: list[Speaker] = []
    for writer, log in logs.items():
        ledger.recall_damage(log)
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
    write_commit(out, commit, ledger, partial(_archiving, files.archive / tag), progress)
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
def _archiving(directory: Path) -> Iterator[Archive]:
    try:
        with Archive(directory) as archive:
            yield archive
    except OSError as error:
        raise StorageError(f"cannot archive the logs in {directory.parent} ({error.strerror})") from error


def _read(directories: list[Path], progress: Callable[[str, int, int], None]) -> dict[str, WriterLog]:
    def each() -> Iterator[WriterLog]:
        for done, directory in enumerate(directories):
            progress("read", done, len(directories))
            yield read_writer(directory)

    logs = join_copies(each())
    for log in logs.values():
        settle(log)
    return logs
