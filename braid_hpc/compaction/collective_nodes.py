"""Collective calls as nodes: what all ranks of a communicator did together is one thing with an edge to and from each.

So a call on N ranks has at most 2 N edges, where one from each to each would be N squared. A rank that gives something
is a parent of the node, one that takes something is a child of it. Repeats by the same activities are one node.
A prefix sum has an order: what a rank takes comes from those before it, and is told by an edge to the last of these.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from braid_hpc.compaction.collective_calls import follow_calls
from braid_hpc.compaction.direct_calls import find_transfers
from braid_hpc.compaction.rows import BIGINT, INTEGER, TEXT
from braid_hpc.compaction.write import Writer
from braid_hpc.vocabulary.codes import COLLECTIVE_KIND
from braid_hpc.vocabulary.identity import key_digest

__all__ = ["find_collectives"]

#: How many nodes are made at once.
_CHUNK = 50_000

_OUTWARDS = "('bcast', 'scatter', 'scatterv')"
_INWARDS = "('gather', 'gatherv', 'reduce')"
#: What is no node: these go from rank to rank.
_DIRECT = "call in ('scan', 'exscan') or call like 'neighbor%' or call = 'fence'"

# What each rank had to do with each node. On an intercommunicator each group gives to the other one, so that a call is
# two nodes there: towards the second group (1) and towards the first one (2).
_TAKING_PART = f"""
create or replace temp table mpi_taking_part as
    with roles as (
        select m.*, w.run, w.comm, w.rank, w.size, w.writer, w.first,
            case when w.rank < w.first then 1 else 2 end as own,
            case when m.root < 0 then 0 when m.root < w.first then 1 else 2 end as of_root
        from mpi_shared m join mpi_call_sides w using (side) where m.activity >= 0 and not ({_DIRECT})),
    parts as (
        select * exclude (own, of_root), 0 as way,
            if(call in {_OUTWARDS}, rank = root, if(call in {_INWARDS}, rank <> root, true)) as gives,
            if(call in {_OUTWARDS}, rank <> root, if(call in {_INWARDS}, rank = root, true)) as takes
        from roles where first = 0
        union all
        select * exclude (own, of_root), own, true, false from roles
        where first > 0 and (call not in {_OUTWARDS} and call not in {_INWARDS}
            or call in {_OUTWARDS} and rank = root or call in {_INWARDS} and root >= 0 and own <> of_root)
        union all
        select * exclude (own, of_root), 3 - own, false, true from roles
        where first > 0 and (call not in {_OUTWARDS} and call not in {_INWARDS}
            or call in {_INWARDS} and rank = root or call in {_OUTWARDS} and root >= 0 and own <> of_root))
    select run, comm, series, start, origin::varchar as origin, way, writer, activity, any_value(call) as call,
        max(root) as root, any_value(size) as size, min(number) as number,
        count(*) filter (where gives) as given, count(*) filter (where takes) as taken,
        coalesce(sum(bytes) filter (where gives and bytes > 0), 0) as given_bytes,
        coalesce(sum(bytes) filter (where takes and call = 'bcast' and bytes > 0), 0) as taken_bytes
    from parts group by run, comm, series, start, origin, way, writer, activity
"""

_PARTS = """
create or replace temp table mpi_parts as
    select t.*, a.id as activity_id, a.begin_time as time
    from mpi_taking_part t join activity_rows a on a.writer = t.writer and a.sequence = t.activity
"""

# One rank alone says nothing of others. Numbers are given in the order in which they were made.
_NEW = """
create or replace temp table mpi_new_nodes as
    with nodes as (
        select run, comm, series, start, origin, way, any_value(call) as call, max(root) as root,
            any_value(size) as size, min(number) as number, min(time) as time
        from mpi_parts group by all having count(distinct writer) > 1)
    select * exclude (time), row_number() over (order by time, run, comm, number, series, start, origin, way) as place
    from nodes n anti join collective_rows c using (run, comm, series, start, origin, way)
"""

# The ranks that took part declare it, so to speak: at the place of their activity, below what any log can have.
_DECLARED = """
insert into occurrences by name
    select distinct t.writer, -1 - t.activity as sequence, c.id, c.run, v.step, 0 as state, t.time,
        $snapshot as snapshot
    from mpi_parts t join collective_rows c using (run, comm, series, start, origin, way)
    join version_rows v on v.id = c.id
    where not exists (from occurrences o where o.id = c.id and o.writer = t.writer and o.sequence = -1 - t.activity)
"""

_NODE_EDGES = """
create or replace temp table mpi_node_edges as
    with ends as (
        select c.id, t.activity_id as activity, t.given, t.taken, t.given_bytes, t.taken_bytes, t.writer,
            t.activity as sequence, t.time
        from mpi_parts t join collective_rows c using (run, comm, series, start, origin, way))
    select id as child, activity as parent, given as messages, given_bytes as bytes, writer, sequence, time
    from ends where given > 0
    union all
    select activity, id, taken, taken_bytes, writer, sequence, time from ends where taken > 0
"""

# How far the calls of each communicator are understood, where that has changed.
_COMMUNICATORS = """
insert into communicator_rows
    with written as (
        select m._run as run, m.comm, max(m.number) + 1 as calls
        from {place} m join mpi_call_sides s on s.writer = m._writer and s.comm = m.comm group by all),
    sides as (
        select world, run, comm, max(size) as size, count(distinct rank) as ranks, bool_or(doubled) as doubled
        from mpi_call_sides group by all),
    followed as (
        select world, number, count(*) as ranks, count(distinct history) as histories
        from mpi_called where repeat < 0 group by all),
    reached as (
        select world, count(*) as numbers, min(number) filter (where histories > 1) as broken,
            max(ranks) as most
        from followed group by all),
    matched as (
        select f.world, count(*) as matched from followed f join sides s using (world)
        where f.ranks = s.size and f.histories = 1 group by all),
    threads as (
        select s.world, bool_or(t.threads > 1) as several from mpi_call_sides s join (
            select m._writer as writer, m.comm, count(distinct m.thread) as threads from {place} m group by all) t
            using (writer, comm) group by all),
    now as (
        select s.run, s.comm, s.size, s.ranks, w.calls, coalesce(m.matched, 0) as matched,
            case when r.broken is not null then 'broken' when coalesce(m.matched, 0) = w.calls then 'matched'
                when s.doubled or t.several then 'ambiguous' else 'unmatched' end as state
        from sides s join written w using (run, comm) left join reached r using (world)
        left join matched m using (world) left join threads t using (world))
    select n.*, $snapshot from now n where not exists (
        from communicators k where (k.run, k.comm, k.size, k.ranks, k.calls, k.matched, k.state)
            = (n.run, n.comm, n.size, n.ranks, n.calls, n.matched, n.state))
"""


def find_collectives(out: Writer, runs: list[str]) -> None:
    """Make nodes of collective calls, and fill the temporary tables ``mpi_node_edges`` and ``mpi_transfers``.

    Parameters
    ----------
    out : Writer
        The commit, after everything else was written.
    runs : list of str
        Those that there is news of.
    """
    connection = out.connection
    place = follow_calls(connection, runs)
    connection.execute(_TAKING_PART)
    connection.execute(_PARTS)
    _make_nodes(out)
    connection.execute(_DECLARED, {"snapshot": out.snapshot})
    connection.execute(_NODE_EDGES)
    find_transfers(connection, runs)
    connection.execute(_COMMUNICATORS.format(place=place), {"snapshot": out.snapshot})
    for table in ("call_sides", "called", "shared", "taking_part", "parts"):
        connection.execute(f"drop table mpi_{table}")


def _make_nodes(out: Writer) -> None:
    """Give those that are new an id and a number."""
    out.connection.execute(_NEW)
    # The result of a query does not outlive the next one, and all of them are too many at once.
    (count,) = out.connection.execute("select count(*) from mpi_new_nodes").fetchall()[0]
    for first in range(0, count, _CHUNK):
        found = out.connection.execute(
            "select * exclude (place) from mpi_new_nodes where place > ? and place <= ? order by place",
            [first, first + _CHUNK],
        ).fetchall()
        _write_nodes(out, found)
    out.connection.execute("drop table mpi_new_nodes")


def _write_nodes(out: Writer, found: list[tuple[Any, ...]]) -> None:
    nodes = []
    for run, comm, series, start, origin, way, call, *_ in found:
        uid = key_digest(["collective", run, str(comm), series, start, origin, way])
        # Versions of one step are taken for one another, and these are not.
        nodes.append((uid, COLLECTIVE_KIND, call, run, int(uid[:7], 16)))
    columns = (
        ("id", BIGINT),
        ("run", TEXT),
        ("comm", pa.uint64()),
        ("series", TEXT),
        ("start", BIGINT),
        ("origin", TEXT),
        ("way", INTEGER),
        ("call", TEXT),
        ("root", INTEGER),
        ("size", INTEGER),
        ("number", BIGINT),
    )
    rows = [
        (identity, run, comm, series, start, origin, way, *rest)
        for identity, (run, comm, series, start, origin, way, *rest) in zip(out.add_nodes(nodes), found, strict=True)
    ]
    out.rows("collective_rows", columns, rows)
