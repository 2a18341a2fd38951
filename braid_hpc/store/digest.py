"""Digests of a store's tables, by which two stores are compared.

Rows are taken in terms of global ids, so that dense ids, snapshot numbers, commit times and archive names, which
depend on how logs came in, do not matter; version numbers do, unless asked to be left out. The digest of a table
is the sum of the MD5 of its rows, which does not depend on their order.
"""

from __future__ import annotations

from typing import Any

__all__ = ["table_digests"]

_QUERIES = {
    "versions": "select uid, kind, name, {number} run, step, digest, weak, size, dtype, shape, unit, value, "
    "time, occurrences, placeholder from versions",
    "occurrences": "select o.writer, o.sequence, v.uid, o.run, o.step, o.time, o.dtype, o.shape, o.unit, o.value, "
    "o.size, o.deferred from occurrences o join version_rows v using (id)",
    "activities": "select uid, name, {number} run, writer, sequence, function, params, begin_time, end_time, "
    "duration_ns, status, error, result from activities",
    "edges": "select distinct c.uid, p.uid as parent, e.relation, e.writer, e.sequence, e.said, e.time "
    "from edge_rows e join nodes c on c.id = e.child join nodes p on p.id = e.parent where exists "
    "(select 1 from edges v where v.child = e.child and v.parent = e.parent and v.relation = e.relation)",
    "tags": "select n.uid, t.key, t.type, t.text, t.writer, t.sequence, t.time from tag_rows t join nodes n using (id) "
    "where t.id not in (select id from filled)",
    "uris": "select n.uid, u.position, u.uri, u.writer, u.sequence, u.time from uri_rows u join nodes n using (id)",
    "inspections": "select r.about_writer, r.about_sequence, r.state, r.digest, r.size, r.uri, r.detail, r.time, "
    "r.writer, r.sequence from inspection_rows r",
    "arrays": "select digest, dtype, shape, bytes from array_rows",
    "states": "select state, tensor, digest, dtype, shape, bytes from state_rows",
    "runs": "select run, job, size, ranks, begin_time, end_time, status, events, lost, argv, cwd, script, "
    "script_digest, git, user, launcher from runs",
    "ranks": "select run, rank, writer, parent, state, outcome, error, begin_time, end_time, last_time, events, "
    # Whether a process is found depends on where the logs are merged; what others have written of it does not.
    "rejected, lost, first_lost, last_lost, faults, if(process in ('exited', 'killed'), exit_code, null) from ranks",
    "streams": "select s.stream, n.uid, s.run, s.writer, s.number, s.columns, s.units, s.declared from stream_rows s "
    "left join nodes n on n.id = s.id",
    "run_info": "select run, writer, key, value from run_info",
    "invalidations": "select distinct i.uid, n.uid as target, i.cause, i.cascade, i.time, i.writer, i.sequence "
    "from stated_invalidations i join nodes n using (id)",
    "revalidations": "select distinct r.uid, n.uid as target, r.despite, r.time, r.writer, r.sequence "
    "from stated_revalidations r join nodes n using (id)",
    "retractions": "select r.uid, c.uid as child, p.uid as parent, r.relation, r.cause, r.time, r.writer, r.sequence "
    "from retraction_rows r join nodes c on c.id = r.child join nodes p on p.id = r.parent",
    "actions": "select uid, name, command, entry, timeout, time, writer, sequence from action_rows",
    "attachments": "select n.uid, a.action_writer, a.action_sequence, a.time, a.writer, a.sequence "
    "from attachment_rows a join nodes n using (id)",
    "attempts": "select statement, record, action, time, writer, sequence from attempt_rows",
    "results": "select attempt, ok, code, signal, error, output, cut, time, writer, sequence from result_rows",
    "messages": "select c.uid, p.uid as parent, m.messages, m.bytes from messages m join nodes c on c.id = m.child "
    "join nodes p on p.id = m.parent",
    "channels": "select run, comm, source, dest, tag, sent, received, matched, cancelled, pending, state from channels",
    "unmatched": "select run, comm, source, dest, tag, state, side, first, last, messages, other from unmatched",
    "row_edges": "select child_stream, child_writer, child_first, child_last, child_step, parent_stream, "
    "parent_writer, said, parent_first, parent_last, parent_step, count, writer, sequence, time from row_edges",
    # Of rows that have the same key the one that came first counts, whichever that was.
    "quarantine": "select stream, writer, row, rule from quarantine_rows where other_writer is null",
    "marks": "select coalesce(h.stream, m.stream) as stream, m.name, m.place, m.state, m.size, m.modified, m.digest, "
    "m.cause, m.time, m.writer, m.mark from mark_rows m left join row_holders h using (holder) "
    "where m.row is not null or (m.writer, m.mark) in (select (writer, mark) from unplaced)",
    "sets": "select label, run, digest, members from sets",
    "members": 'select distinct label, run, "table", member from member_rows',
    "collectives": "select n.uid, c.run, c.comm, c.call, c.root, c.size, c.number, c.ranks, c.calls from collectives c "
    "join nodes n using (id)",
    "communicators": "select run, comm, size, ranks, calls, matched, state from communicators",
    "tasks": "select key, task, version, module, script, function, code, reason, detail, result_table, shared_ns, "
    "begun_by, begun_at, writer, sequence from task_rows",
    "task_ends": "select * exclude (snapshot) from task_ends",
    "task_skips": "select * exclude (snapshot) from task_skips",
    "task_misses": "select * exclude (snapshot) from task_misses",
    "task_parameters": "select t.begun_by, t.begun_at, t.position, t.role, t.given, p.name, p.type, p.value, p.form "
    "from task_parameter_rows t join parameter_rows p on p.pk = t.parameter",
    "result_columns": "select result_table, name, type, position from result_columns",
    "problems": "select code, message, run, writer, sequence, given, place from problems",
}


def table_digests(connection: Any, *, numbers: bool = True) -> dict[str, str]:
    """Return a digest of the content of each table.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    numbers : bool
        Whether version numbers (``@n``), which are this store's own, count.

    Returns
    -------
    dict of str to str
        Table to ``<rows>:<hex>``; a stream's table is named ``stream.<name>``.
    """
    digests = {
        name: _digest(connection, query.format(number="version, " if numbers else ""))
        for name, query in _QUERIES.items()
    }
    tables = connection.execute(
        "select table_name from information_schema.tables where table_schema = 'stream' order by 1"
    ).fetchall()
    for (table,) in tables:
        place = 'stream."' + table.replace('"', '""') + '"'
        columns = connection.execute(
            "select column_name from information_schema.columns where table_schema = 'stream' and table_name = ? "
            "and column_name <> '_snapshot' order by column_name",
            [table],
        ).fetchall()
        names = ", ".join('"' + column.replace('"', '""') + '"' for (column,) in columns)
        digests[f"stream.{table}"] = _digest(connection, f"select {names} from {place}")
    return digests


def _digest(connection: Any, query: str) -> str:
    rows, total = connection.execute(
        f"select count(*), coalesce(sum(md5_number_lower(r::varchar) >> 8), 0)::hugeint from ({query}) r"
    ).fetchall()[0]
    return f"{rows}:{total:x}"
