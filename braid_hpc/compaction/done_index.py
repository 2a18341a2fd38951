"""Making the done index of a snapshot from its tables (``docs/done-format.md``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from xxhash import xxh3_128_digest

from braid_hpc.compaction.invalid import find_invalid
from braid_hpc.snapshots.task_schema import SUPERSEDED
from braid_hpc.tasks.done_index import ENTRY, HEAD, HEADER, KEY_BYTES, MAGIC, MAJOR, MINOR, entry_check
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.task_payloads import Done, Output

__all__ = ["write_done", "write_entries"]

_ENCODE = msgspec.msgpack.Encoder().encode
_BATCH = 20_000

#: Each execution with its state; of those of one key, one that is done and holds comes first, then the latest.
_EXECUTIONS = f"""
    select t.key, t.task, t.version, t.code, t.begun_by, t.begun_at, epoch_ns(a.begin_time) as begun, e.*,
        case coalesce(a.status, 'unfinished')
            when 'ok' then case
                when i.cause is not null then {State.INVALID.value}
                when e.value is null and e.uri is null then {State.UNRECORDED.value}
                else {State.DONE.value} end
            when 'failed' then {State.FAILED.value}
            when 'exited' then {State.INTERRUPTED.value}
            else if(s.state in ('closed', 'ended') or s.outcome is not null or s.process is not null
                or l.writer is not null, {State.INTERRUPTED.value}, {State.RUNNING.value}) end as known,
        coalesce(i.cause, a.error, '') as cause
    from task_rows t
    join (
        select r.writer, r.sequence, r.id, r.begin_time, d.end_time, d.status, d.error
        from activity_rows r left join activity_ends d
            on d.begun_by = r.writer and d.begun_at = r.sequence and d.writer = d.begun_by) a
        on a.writer = t.begun_by and a.sequence = t.begun_at
    join ranks s on s.writer = t.begun_by
    left join ({SUPERSEDED}) l on l.writer = t.begun_by
    left join (
        select begun_by as ended_by, begun_at as ended_at, record_sequence, value, uri, size, mtime_ns, digest,
            content, media_type, writer as record_writer from task_ends) e
        on e.ended_by = t.begun_by and e.ended_at = t.begun_at
    left join braid_invalid_tasks i on i.begun_by = t.begun_by and i.begun_at = t.begun_at
    qualify row_number() over (
        partition by t.key order by known <> {State.DONE.value}, a.begin_time desc, t.begun_by, t.begun_at desc) = 1
    order by t.key
"""


def write_done(connection: Any, path: Path, snapshot: int, *, before: Path | None = None) -> bool:
    """Write the done index of a store, and bring it to the disk.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    path : Path
        Made here; it must not exist.
    snapshot : int
        The newest snapshot.
    before : Path, optional
        The index of the snapshot before it: where nothing can have changed, the same file gets another name.

    Returns
    -------
    bool
        False, and no file, if the store has no tasks.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left.
    """
    (count,) = connection.execute("select count(distinct key) from task_rows").fetchall()[0]
    if not count:
        return False
    if before is not None and before.exists() and not _changed(connection, snapshot):
        os.link(before, path)
        return True
    find_invalid(connection)
    try:
        write_entries(path, snapshot, count, _batches(connection))
    finally:
        connection.execute("drop table if exists braid_invalid_tasks")
    return True


def write_entries(path: Path, snapshot: int, count: int, batches: Iterable[list[tuple[bytes, int, bytes]]]) -> None:
    """Write the file of a done index, and bring it to the disk.

    Parameters
    ----------
    path : Path
        Made here; it must not exist.
    snapshot : int
        That it was made of.
    count : int
        How many keys there are.
    batches : iterable of list of (bytes, int, bytes)
        Key, state and entry of each, ascending by key.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left.
    """
    try:
        with path.open("x+b") as file:
            _write(file, snapshot, count, batches)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _changed(connection: Any, snapshot: int) -> bool:
    """Whether a commit brought anything of a process that ran tasks, or whether anything is judged at all.

    A job's later attempt tells of the tasks of the earlier ones, whatever it has run itself.
    """
    rows = connection.execute(
        "with news as (select writer from ledger where snapshot = $1 union all "
        "select writer from writer_states where snapshot = $1) "
        "select exists (from invalidation_rows) or exists (from task_rows where begun_by in (from news)) "
        "or exists (from attempts a join writers w on w.run = a.run where a.attempt > 0 and w.writer in (from news))",
        [snapshot],
    ).fetchall()
    return bool(rows[0][0])


def _write(file: Any, snapshot: int, count: int, batches: Iterable[list[tuple[bytes, int, bytes]]]) -> None:
    keys, table = HEAD, HEAD + count * KEY_BYTES
    heap = table + count * ENTRY.size
    end = done = 0
    for batch in batches:
        entries, places = [], []
        begin = end
        for key, state, entry in batch:
            places.append(ENTRY.pack(end, len(entry), state, entry_check(key, state, entry)))
            entries.append(entry)
            end += len(entry)
        for at, parts in (
            (keys + done * KEY_BYTES, [key for key, _, _ in batch]),
            (table + done * ENTRY.size, places),
            (heap + begin, entries),
        ):
            file.seek(at)
            file.write(b"".join(parts))
        done += len(batch)
    head = HEADER.pack(MAGIC, bytes(16), MAJOR, MINOR, 0, snapshot, count, keys, table, heap, heap + end)
    head = head.ljust(HEAD, b"\0")
    file.seek(0)
    file.write(head[:8] + xxh3_128_digest(head[24:]) + head[24:])


def _batches(connection: Any) -> Iterator[list[tuple[bytes, int, bytes]]]:
    found = connection.execute(_EXECUTIONS)
    names = [column[0] for column in found.description]
    while rows := found.fetchmany(_BATCH):
        yield [_entry(dict(zip(names, row, strict=True))) for row in rows]


def _entry(row: dict[str, Any]) -> tuple[bytes, int, bytes]:
    output = None
    if row["uri"] is not None:
        output = Output(row["uri"], row["size"], row["mtime_ns"], row["digest"], row["content"], row["media_type"])
    entry = Done(
        row["task"],
        row["version"],
        _handle(row["begun_by"], row["begun_at"]),
        _handle(row["record_writer"], row["record_sequence"]),
        row["code"],
        row["begun"],
        row["cause"],
        row["value"],
        output,
    )
    return bytes.fromhex(row["key"]), row["known"], _ENCODE(entry)


def _handle(writer: str | None, sequence: int | None) -> bytes:
    return bytes.fromhex(writer) + sequence.to_bytes(8, "little") if writer and sequence else b""
