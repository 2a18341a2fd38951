"""Compaction, step by step: read, group, resolve, write aside, archive, publish."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from braid_hpc._version import __version__
from braid_hpc.compaction.archive import write_archive
from braid_hpc.compaction.extract import Facts, extract
from braid_hpc.compaction.graph import Problem, build_graph
from braid_hpc.compaction.known import Known
from braid_hpc.compaction.runs import group_runs
from braid_hpc.compaction.stream_rows import stream_tables
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.compaction.write import Writer
from braid_hpc.reading.writer_log import WriterLog, find_writers, read_header, read_writer
from braid_hpc.store.connect import connect_building
from braid_hpc.store.files import StoreFiles
from braid_hpc.store.schema import FORMAT, MAJOR, MINOR, TABLES, VIEWS
from braid_hpc.vocabulary.codes import Code, Outcome, WriterState
from braid_hpc.vocabulary.errors import ConflictError, FormatTooNewError, InvalidInputError, StorageError

__all__ = ["Compacted", "compact"]

#: How often a compaction that lost the race for a number begins again from the winner's snapshot.
ATTEMPTS = 5

_OUTCOMES = {Outcome.OK: "ok", Outcome.FAILED: "failed", Outcome.EXITED: "exited"}


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
    writers, events, versions, activities, edges, stream_rows : int
        What was added.
    states : dict of str to WriterState
        State of every writer that was read.
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
    states: dict[str, WriterState] = field(default_factory=dict)


def compact(
    logs: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Compacted:
    """Merge rank logs into a store, each event once.

    Logs that are still written may be compacted: what is there now is taken, the rest comes next time.

    Parameters
    ----------
    logs : path-like
        A directory with rank logs.
    store : path-like, optional
        The store; without it the one that the job named (``store=``) or ``BRAID_STORE``.
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
    files = StoreFiles(store if store is not None else _default_store(directories))
    for attempt in range(ATTEMPTS):
        try:
            return _attempt(directories, files, progress or _silent)
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


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


def _attempt(directories: list[Path], files: StoreFiles, progress: Callable[[str, int, int], None]) -> Compacted:
    numbers = files.snapshots()
    base = numbers[-1] if numbers else _number_inside(files)
    aside = files.begin(base + 1)
    try:
        connection = connect_building(aside)
        try:
            _create_if_empty(connection)
            result = _commit(connection, directories, files, base + 1, progress)
        finally:
            connection.close()
        if not result.new:
            files.discard(aside)
            files.name_newest()
            return result
        files.publish(aside, base + 1)
    except BaseException:
        files.discard(aside)
        raise
    return result


def _number_inside(files: StoreFiles) -> int:
    """Return the newest snapshot of a store that was copied without its directory, 0 if there is none."""
    if not files.path.is_file():
        return 0
    connection = connect_building(files.path, read_only=True)
    try:
        return int(connection.execute("select coalesce(max(snapshot), 0) from snapshots").fetchall()[0][0])
    finally:
        connection.close()


def _create_if_empty(connection: Any) -> None:
    tables = connection.execute("select count(*) from information_schema.tables where table_name = 'meta'").fetchall()[0]
    if tables[0]:
        found = dict(connection.execute("select key, value from meta").fetchall())
        if found.get("format") != FORMAT:
            raise InvalidInputError("this DuckDB file is not a braid store: name another file with --store")
        if int(found["major"]) > MAJOR:
            raise FormatTooNewError(
                f"this store is of format {found['major']}, this braid_hpc reads up to {MAJOR}: update braid_hpc"
            )
        return
    (others,) = connection.execute("select count(*) from information_schema.tables").fetchall()[0]
    if others:
        raise InvalidInputError("this DuckDB file is not a braid store: name another file with --store")
    connection.execute(TABLES)
    connection.execute(VIEWS)
    rows = [("format", FORMAT), ("major", str(MAJOR)), ("minor", str(MINOR))]
    connection.executemany("insert into meta values (?, ?)", rows)


def _commit(
    connection: Any,
    directories: list[Path],
    files: StoreFiles,
    snapshot: int,
    progress: Callable[[str, int, int], None],
) -> Compacted:
    logs = _read(directories, progress)
    headers = {writer: header for writer, header in _stored_headers(connection).items()}
    headers.update({writer: log.header for writer, log in logs.items()})
    known_runs = dict(connection.execute("select writer, run from writers").fetchall())
    grouping = group_runs(headers, known_runs)
    taken = _ledger(connection)
    writers = []
    for writer, log in logs.items():
        fresh = _fresh(log, taken.get(writer))
        if fresh or _state_changed(connection, log):
            writers.append(extract(log, grouping.run[writer], fresh))
    states = {writer: log.state for writer, log in logs.items()}
    if not writers:
        return Compacted(files.path, snapshot - 1, new=False, states=states)
    progress("resolve", 0, 1)
    connection.execute("begin transaction")
    graph = build_graph(writers, Known(connection, [facts.writer for facts in writers]))
    graph.problems.extend(
        Problem("run", message, grouping.run[writer], writer)
        for writer, message in grouping.problems
        if writer not in known_runs
    )
    writer = Writer(connection, snapshot).about_writers(writers)
    writer.write_graph(graph)
    writer.write_info(writers)
    _write_streams(writer, writers, progress)
    _write_writers(writer, writers, known_runs, taken)
    archive = files.archive / f"{snapshot}-{os.urandom(4).hex()}"
    try:
        write_archive(archive, writers, writer.numbering)
    except OSError as error:
        raise StorageError(f"cannot archive the logs in {files.archive} ({error.strerror})") from error
    result = Compacted(
        files.path,
        snapshot,
        new=True,
        writers=len(writers),
        events=sum(len(facts.fresh) for facts in writers),
        versions=len(graph.versions),
        activities=len(graph.activities),
        edges=writer.counts["edge_rows"],
        stream_rows=writer.counts["stream rows"],
        states=states,
    )
    connection.execute(
        "insert into snapshots values (?, make_timestamp_ns(?), ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            snapshot,
            time.time_ns(),
            __version__,
            archive.name,
            result.writers,
            result.events,
            result.versions,
            result.activities,
            result.edges,
            result.stream_rows,
        ],
    )
    connection.execute("commit")
    connection.execute("checkpoint")
    progress("write", 1, 1)
    return result


def _read(directories: list[Path], progress: Callable[[str, int, int], None]) -> dict[str, WriterLog]:
    logs: dict[str, WriterLog] = {}
    for done, directory in enumerate(directories):
        progress("read", done, len(directories))
        log = read_writer(directory)
        if (other := logs.get(log.writer)) is not None:
            # A copied log: what either of the two holds counts, once.
            log.events = type(log.events).join([other.events, log.events])
            if other.state.complete and not log.state.complete:
                log.state, log.close, log.outcome = other.state, other.close, other.outcome
                log.faults, log.unread = other.faults, other.unread
        logs[log.writer] = log
    return logs


def _stored_headers(connection: Any) -> dict[str, dict[str, Any]]:
    rows = connection.execute("select writer, header from writers").fetchall()
    return {writer: json.loads(header) for writer, header in rows}


def _ledger(connection: Any) -> dict[str, tuple[int, set[int]]]:
    """Return the last sequence taken of each writer, and those before it that were not there."""
    rows = connection.execute(
        "select writer, max(last), arg_max(holes, (snapshot, last)) from ledger group by writer"
    ).fetchall()
    return {writer: (last, set(holes)) for writer, last, holes in rows}


def _fresh(log: WriterLog, taken: tuple[int, set[int]] | None) -> set[int]:
    sequences = log.events["sequence"]
    if taken is None:
        return set(sequences.tolist())
    last, holes = taken
    return set(sequences[sequences > last].tolist()) | (holes & set(sequences[sequences <= last].tolist()))


def _state_changed(connection: Any, log: WriterLog) -> bool:
    rows = connection.execute(
        "select state, events from writer_states where writer = ? order by snapshot desc limit 1", [log.writer]
    ).fetchall()
    # A log of which less is there than was taken is no news: the store has it.
    return not rows or (rows[0][0] != str(log.state) and len(log.events) >= rows[0][1])


def _write_streams(
    writer: Writer, writers: list[Facts], progress: Callable[[str, int, int], None]
) -> None:
    tables = StreamTables(writer)
    problems = []
    for done, facts in enumerate(writers):
        progress("streams", done, len(writers))
        fresh = np.isin(facts.log.events["sequence"], np.fromiter(facts.fresh, np.uint64, len(facts.fresh)))
        faults: list[str] = []
        about = {"_run": facts.run, "_rank": facts.log.header.get("rank"), "_writer": facts.writer}
        for number, table in stream_tables(facts, fresh, faults):
            name, schema, _ = facts.streams[number]
            tables.add(name, schema.columns, table, about)
        problems.extend(Problem("stream", fault, facts.run, facts.writer) for fault in faults)
        if faults and facts.log.state.complete:
            facts.log.state = WriterState.CORRUPT
            facts.log.faults.extend(faults)
    writer.write_problems(problems)


def _write_writers(
    writer: Writer, writers: list[Facts], known: dict[str, str], taken: dict[str, tuple[int, set[int]]]
) -> None:
    import pyarrow as pa

    fresh = [facts for facts in writers if facts.writer not in known]
    writer.rows(
        "writers",
        {
            "writer": (pa.string(), [facts.writer for facts in fresh]),
            "run": (pa.string(), [facts.run for facts in fresh]),
            "rank": (pa.int32(), [facts.log.header.get("rank") for facts in fresh]),
            "parent": (pa.string(), [facts.log.header.get("parent") for facts in fresh]),
            "header": (pa.string(), [json.dumps(facts.log.header, sort_keys=True) for facts in fresh]),
        },
    )
    states = [_state_row(facts) for facts in writers]
    kinds = (
        ("writer", pa.string()),
        ("state", pa.string()),
        ("outcome", pa.string()),
        ("error", pa.string()),
        ("begin_time", pa.timestamp("ns")),
        ("end_time", pa.timestamp("ns")),
        ("last_time", pa.timestamp("ns")),
        ("events", pa.int64()),
        ("rejected", pa.int64()),
        ("lost", pa.int64()),
        ("first_lost", pa.timestamp("ns")),
        ("last_lost", pa.timestamp("ns")),
        ("faults", pa.list_(pa.string())),
    )
    writer.rows("writer_states", {name: (kind, [row[i] for row in states]) for i, (name, kind) in enumerate(kinds)})
    entries = [_ledger_row(facts, taken.get(facts.writer)) for facts in writers if facts.fresh]
    kinds = (
        ("writer", pa.string()),
        ("first", pa.int64()),
        ("last", pa.int64()),
        ("events", pa.int64()),
        ("holes", pa.list_(pa.int64())),
        ("digest", pa.string()),
    )
    writer.rows("ledger", {name: (kind, [row[i] for row in entries]) for i, (name, kind) in enumerate(kinds)})


def _state_row(facts: Facts) -> tuple[Any, ...]:
    log = facts.log
    events = log.events
    span = log.utc(events["time"][[0, -1]]).tolist() if len(events) else [None, None]
    ended = log.close is not None
    return (
        log.writer,
        str(log.state),
        _OUTCOMES.get(Outcome(log.outcome & 0xFF), "ok") if ended else None,
        log.close.error if log.close is not None else None,
        span[0],
        span[1] if ended else None,
        span[1],
        len(events),
        int(np.count_nonzero(events["code"] == Code.REJECTED)),
        sum(count for count, _, _ in log.lost),
        min((first for _, first, _ in log.lost), default=None),
        max((last for _, _, last in log.lost), default=None),
        log.faults,
    )


def _ledger_row(facts: Facts, taken: tuple[int, set[int]] | None) -> tuple[Any, ...]:
    events = facts.log.events
    mine = np.isin(events["sequence"], np.fromiter(facts.fresh, np.uint64, len(facts.fresh)))
    sequences = events["sequence"][mine]
    first, last = int(sequences[0]), int(sequences[-1])
    before, holes = taken if taken is not None else (0, set())
    # Places below the last row that hold none yet: a thread may still be storing there.
    gaps = set(holes) | set(range(before + 1, last + 1)) if last - before < (1 << 24) else set(holes)
    gaps -= facts.fresh
    digest = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(events["word"][mine]).tobytes())
    return facts.writer, first, max(last, before), len(sequences), sorted(gaps), digest
