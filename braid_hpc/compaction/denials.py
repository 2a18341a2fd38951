"""Code that is denied: what it has made is not to be relied on, whichever comes first, the denial or its logs.

A denial is a row of a stream of our own. With the commit that brings the later one of the two, everything that a
process of such code has made is said to be invalid, with the cause: activities and executions of tasks, records that
were made, rows of declared tables, and files that it has said to exist. All of it is set-wise; nothing is removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from braid_hpc.compaction.declared import marked_tables
from braid_hpc.compaction.marks import add_holders
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.rows import BIGINT, TEXT, TIME
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.compaction.write import Writer
from braid_hpc.vocabulary.denials import DENIAL_COLUMNS, DENIALS
from braid_hpc.vocabulary.identity import key_digest
from braid_hpc.vocabulary.places import FileState

__all__ = ["settle_denials"]

_SAID = (("uid", TEXT), ("id", BIGINT), ("kind", TEXT), ("name", TEXT), ("said", TEXT))
_WHERE = (("time", TIME), ("writer", TEXT), ("sequence", BIGINT))

#: Processes of the code, as their headers tell. What people state of a store is made by no code of theirs.
_WRITERS = """
    select writer, run, rank, snapshot from writers
    where coalesce(header ->> '$.job', '') not in ('statements', 'inspect files') and (
        starts_with(coalesce(header ->> '$.git', ''), $value)
        or starts_with(coalesce(header ->> '$.script_digest', ''), $value)
        or starts_with(split_part(coalesce(header ->> '$.script_digest', ''), ':', -1), $value))
    order by writer
"""
#: What they, and tasks of the code, have begun; and records that they have made, which sources are not.
_NODES = """
    select id, uid, min(time) from (
        select a.id, a.uid, epoch_ns(a.begin_time) as time from activity_rows a
        where list_contains($writers, a.writer) and a.snapshot >= $since
        union all
        select a.id, a.uid, epoch_ns(a.begin_time) from activity_rows a
        join task_rows t on t.begun_by = a.writer and t.begun_at = a.sequence
        where (starts_with(t.code, $value) or starts_with(split_part(t.code, ':', -1), $value))
            and greatest(a.snapshot, t.snapshot) >= $since
        union all
        select o.id, v.uid, epoch_ns(o.time) from occurrences o join version_rows v using (id)
        where v.run is not null and list_contains($writers, o.writer) and o.snapshot >= $since)
    group by all order by id
"""


@dataclass(frozen=True, slots=True)
class _Denial:
    """What was said last of a revision.

    Attributes
    ----------
    value : str
        The beginning of its commit, or of the digest of a script or of a function's source.
    cause : str
        Why.
    denied : bool
        Whether it is; else that was taken back.
    writer, row, time : str, int, int
        Who said it, where, and when (ns since 1970 UTC).
    snapshot : int
        That brought it.
    """

    value: str
    cause: str
    denied: bool
    writer: str
    row: int
    time: int
    snapshot: int

    @property
    def said(self) -> str:
        """What statements are marked with that follow from it."""
        return f"denied {self.value}"


def settle_denials(out: Writer, tables: StreamTables) -> None:
    """Write what follows from denials, where one of them or what they are about came with this commit.

    Parameters
    ----------
    out : Writer
        Of the commit; everything else is written.
    tables : StreamTables
        Where streams are.
    """
    place = tables.own(DENIALS, DENIAL_COLUMNS, ("revision", "denied"))
    if place is None:
        return
    rows = out.connection.execute(
        "select revision, coalesce(cause, ''), denied, _writer, _row, epoch_ns(_time), _snapshot "
        f"from {place} where revision <> '' order by _time, _writer, _row"
    ).fetchall()
    # The last word on each.
    for denial in {row[0]: _Denial(*row) for row in rows}.values():
        if denial.denied:
            _deny(out, tables, denial)
        elif denial.snapshot == out.snapshot:
            _allow(out, denial)


def _deny(out: Writer, tables: StreamTables, denial: _Denial) -> None:
    since = 0 if denial.snapshot == out.snapshot else out.snapshot
    found = out.connection.execute(_WRITERS, {"value": denial.value}).fetchall()
    writers = [writer for writer, *_ in found]
    cause = f"made by the denied revision {denial.value}: {denial.cause}"
    nodes = out.connection.execute(_NODES, {"writers": writers, "value": denial.value, "since": since}).fetchall()
    known = {
        uid
        for (uid,) in out.connection.execute(
            "select uid from invalidation_rows where said = ? and writer = ? and sequence = ?",
            [denial.said, denial.writer, denial.row],
        ).fetchall()
    }
    rows = []
    for identity, node, time in nodes:
        uid = key_digest(["denied", denial.writer, denial.row, denial.value, node])
        if uid not in known:
            # What comes after the denial is born invalid.
            when = max(denial.time, time)
            rows.append((uid, identity, None, None, denial.said, cause, True, when, denial.writer, denial.row))
    out.rows("invalidation_rows", (*_SAID, ("cause", TEXT), ("cascade", pa.bool_()), *_WHERE), rows)
    _mark(out, tables, denial, cause, writers, since)
    out.write_problems(
        [
            Problem("denied", f"it ran code of the denied revision {denial.value}: {denial.cause}", run, writer)
            for writer, run, _, snapshot in found
            if snapshot >= since
        ]
    )


def _mark(out: Writer, tables: StreamTables, denial: _Denial, cause: str, writers: list[str], since: int) -> None:
    """Mark rows of declared tables that processes have recorded, and files that they have said to exist."""
    if not writers:
        return
    given = {
        "writers": writers,
        "since": since,
        "cause": cause,
        "writer": denial.writer,
        # Apart from the marks that the same process may have made.
        "mark": -1 - denial.row,
    }
    said = f"'disk', {int(FileState.INVALID)}, null, null, null, $cause"
    # Of the time of what it is about: what was made again since then, by other code, holds.
    out.connection.execute(
        f"insert into mark_rows select distinct m.holder, m.row, null, null, {said}, "
        f"greatest(m.time, coalesce(m.modified, m.time)), $writer, $mark::bigint, {out.snapshot} from mark_rows m "
        f"where list_contains($writers, m.writer) and m.state = {int(FileState.EXISTS)} and m.row is not null "
        "and m.mark >= 0 and m.snapshot >= $since order by all",
        given,
    )
    for table in marked_tables(out.connection, tables):
        name, rows, *_ = table
        some = f"from {rows} t where list_contains($writers, t._writer) and t._snapshot >= $since"
        which = {"writers": writers, "since": since}
        if not out.connection.execute(f"select 1 {some} limit 1", which).fetchall():
            continue
        add_holders(out, table)
        out.connection.execute(
            f"insert into mark_rows select h.holder, t._row, null, null, {said}, t._time, $writer, $mark::bigint, "
            f"{out.snapshot} from {rows} t join row_holders h on h.stream = $stream and h.writer = t._writer "
            "where list_contains($writers, t._writer) and t._snapshot >= $since "
            "and not exists (from quarantine_rows q where q.stream = h.stream and q.writer = t._writer "
            "and q.row = t._row) order by h.holder, t._row",
            {**given, "stream": name},
        )


def _allow(out: Writer, allowed: _Denial) -> None:
    """Take back what followed from the denials of a revision, and nothing else."""
    rows = out.connection.execute(
        "select distinct i.uid, i.id, i.writer, i.sequence from invalidation_rows i where i.said = ? and not exists ("
        "from revalidation_rows r where r.id = i.id and r.despite = i.uid) order by all",
        [allowed.said],
    ).fetchall()
    taken = [
        (
            key_digest(["allowed", allowed.writer, allowed.row, uid]),
            *(identity, None, None, f"allowed {allowed.value}", uid),
            *(allowed.time, allowed.writer, allowed.row),
        )
        for uid, identity, _, _ in rows
    ]
    out.rows("revalidation_rows", (*_SAID, ("despite", TEXT), *_WHERE), taken)
    out.connection.execute(
        f"insert into mark_rows select m.holder, m.row, null, null, m.place, {int(FileState.VALID)}, null, null, null, "
        f"null, m.time, $writer, $mark::bigint, {out.snapshot} from mark_rows m "
        f"where m.state = {int(FileState.INVALID)} and m.mark < 0 and starts_with(m.cause, $cause) "
        "order by m.holder, m.row",
        {
            "writer": allowed.writer,
            "mark": -1 - allowed.row,
            "cause": f"made by the denied revision {allowed.value}: ",
        },
    )
