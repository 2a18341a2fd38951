"""Messages between ranks: the half that a sender wrote down, and the half of the receiver, put together.

Each half is in the log of one rank (``docs/mpi.md``). What MPI promises is that messages of one channel (communicator,
source, destination, tag) are received in the order in which they were sent, by the receives that can take them in the
order in which these were posted. So the k-th of the one side is the k-th of the other. A channel is followed only as
far as that is certain, and what is certain of a part of the logs stays so when the rest comes: merging in one go and
in many gives the same.
"""

from __future__ import annotations

import json
from typing import Any

from braid_hpc.compaction.collective_calls import CALL_COLUMNS, CALL_STREAM, rows_of, tell_of_gaps
from braid_hpc.compaction.collective_nodes import find_collectives
from braid_hpc.compaction.unmatched import list_unmatched
from braid_hpc.compaction.wildcards import settle_wildcards
from braid_hpc.compaction.write import Writer
from braid_hpc.vocabulary.codes import Relation

__all__ = ["match_messages"]

STREAM = "mpi_messages"
#: As ``braid_hpc.collectors.mpi`` declares them; a stream of that name with others is somebody else's.
COLUMNS = [
    ("comm", "uint64"),
    ("rank", "int32"),
    ("what", "uint8"),
    ("peer", "int32"),
    ("tag", "int32"),
    ("number", "int64"),
    ("bytes", "int64"),
    ("type", "text"),
    ("thread", "uint32"),
    ("activity", "int64"),
    ("record", "text"),
]

# The sides: what one writer says of one communicator. All that follows is told apart by their small numbers.
_SIDES = """
create or replace temp table mpi_sides as
    select row_number() over (order by run, writer, comm) as side, dense_rank() over (order by run, comm) as world, *
    from (
        select distinct m._run as run, m._writer as writer, m.comm, m._writer in (select unnest($complete)) as complete
        from {place} m where m._run in (select unnest($runs)) and m._writer in (
            select writer from stream_rows where stream = $stream and columns = $columns))
"""

_HALVES = """
create or replace temp table mpi_halves as
    select s.side, s.world, m.rank, m.what, m.peer, m.tag, m.number, m.bytes, m.thread, m.activity, m.record
    from {place} m join mpi_sides s on s.writer = m._writer and s.comm = m.comm
"""

# What became of each posted receive. One that any message could take is open until its message is known; so is one
# that is about to be cancelled, and one that MPI refused.
_STATED = """
create or replace temp table mpi_stated as
    with each as (
        select side, any_value(world) as world, any_value(rank) as rank, number, bool_or(what = 3) as received,
            bool_or(what = 5) as cancelled, bool_or(what in (4, 6)) as doubtful,
            coalesce(any_value(peer) filter (where what = 3), any_value(peer)) as peer,
            coalesce(any_value(tag) filter (where what = 3), any_value(tag)) as tag,
            coalesce(max(bytes) filter (where what = 3), max(bytes)) as bytes,
            coalesce(any_value(thread) filter (where what = 2), any_value(thread)) as thread,
            coalesce(any_value(activity) filter (where what = 3), any_value(activity)) as activity
        from mpi_halves where what between 2 and 6 group by side, number)
    select *, case when received then 'received' when cancelled then 'cancelled'
            when doubtful or peer = -1 or tag = -1 then 'open' else 'posted' end as state
    from each
"""

# What is behind a posting that is missing, or behind one that may have taken any message, is not certain.
_RECEIVES = """
create or replace temp table mpi_receives as
    with with_gaps as (select side from mpi_stated group by side having count(*) <> max(number) + 1),
    gaps as (
        select side, min(place) as number from (
            select side, number, row_number() over (partition by side order by number) - 1 as place
            from mpi_stated where side in (from with_gaps))
        where place <> number group by side),
    open_from as (
        select side, peer, tag, min(number) as number from mpi_stated where state = 'open' group by side, peer, tag)
    select s.*, s.number < coalesce(g.number, 9223372036854775807) and not exists (
            from open_from o where o.side = s.side and o.number < s.number
            and o.peer in (-1, s.peer) and o.tag in (-1, s.tag)) as certain
    from mpi_stated s left join gaps g using (side)
"""

# Pairs of one number within a channel; a receive that took no message has no number.
_TOGETHER = """
create or replace temp table mpi_together as
    with unsent as (
        select side, peer, tag, min(number) as number from mpi_halves where what = 7 group by side, peer, tag),
    receives as (
        select *, row_number() over (partition by side, peer, tag order by number) - 1 as place
        from mpi_receives where state in ('received', 'posted'))
    select s.world, s.rank as source, s.peer as dest, s.tag, s.number as place, s.side as sender,
        s.activity as sent_in, s.record, r.side as receiver, r.activity as received_in,
        greatest(s.bytes, r.bytes) as bytes, s.bytes = r.bytes or least(s.bytes, r.bytes) < 0 as equal,
        s.thread as sending, r.thread as receiving,
        row_number() over (partition by s.world, s.rank, s.peer, s.tag order by s.number) - 1 as reached
    from mpi_halves s join receives r on r.world = s.world and r.peer = s.rank and r.rank = s.peer
        and r.tag = s.tag and r.place = s.number
    where s.what = 1 and r.certain
        and (r.state = 'received' or r.side in (select side from mpi_sides where complete))
        and not exists (from unsent u where (u.side, u.peer, u.tag) = (s.side, s.peer, s.tag) and s.number >= u.number)
"""

# Of each channel, from where on it cannot be followed: a pair is missing, does not agree, or is another thread's.
_PAIRS = """
create or replace temp table mpi_pairs as
    with first as (
        select world, source, dest, tag, arg_min(sending, place) as sending, arg_min(receiving, place) as receiving
        from mpi_together group by all),
    ends as (
        select t.world, t.source, t.dest, t.tag, min(t.place) filter (where t.reached <> t.place) as missing,
            min(t.place) filter (where not t.equal) as broken,
            min(t.place) filter (where t.sending <> f.sending or t.receiving <> f.receiving) as ambiguous
        from mpi_together t join first f using (world, source, dest, tag) group by all)
    select t.* exclude (reached, equal, sending, receiving),
        t.place < coalesce(e.missing, 9223372036854775807) as reached,
        t.place < coalesce(e.broken, 9223372036854775807) as equal_so_far,
        t.place < coalesce(e.ambiguous, 9223372036854775807) as one_thread_so_far
    from mpi_together t join ends e using (world, source, dest, tag)
"""

_MATCHED = "mpi_pairs where reached and equal_so_far and one_thread_so_far"

# Who received how much from whom, counted before anything is looked up.
_COUNTED = f"""
create or replace temp table mpi_counted as
    with counted as (
        select receiver, received_in, sender, sent_in, count(*) as messages,
            coalesce(sum(bytes) filter (where bytes > 0), 0) as bytes
        from {_MATCHED} and received_in >= 0 and sent_in >= 0 group by receiver, received_in, sender, sent_in)
    select r.writer as receiver, received_in, s.writer as sender, sent_in, messages, bytes
    from counted join mpi_sides r on r.side = receiver join mpi_sides s on s.side = sender
    union all
    select receiver, received_in, sender, sent_in, count(*), coalesce(sum(bytes) filter (where bytes > 0), 0)
    from mpi_transfers group by receiver, received_in, sender, sent_in
"""

# One edge between two nodes, however many messages: what it says follows from the two, and not from the merge. In two
# steps, because the planner would rather put all activities beside all others first.
_RECEIVERS = """
create or replace temp table mpi_receivers as
    select m.* exclude (receiver, received_in), c.id as child, c.writer, c.sequence, c.begin_time
    from mpi_counted m join activity_rows c on c.writer = m.receiver and c.sequence = m.received_in
"""
_INFORMED = """
create or replace temp table mpi_informed as
    select child, p.id as parent, sum(messages)::bigint as messages, sum(bytes)::hugeint as bytes,
        any_value(m.writer) as writer, any_value(m.sequence) as sequence,
        any_value(greatest(m.begin_time, p.begin_time)) as time
    from mpi_receivers m join activity_rows p on p.writer = m.sender and p.sequence = m.sent_in
    where child <> p.id group by child, p.id
    union all from mpi_node_edges
"""

_EDGES = f"""
insert into edge_rows
    select child, parent, '{Relation.INFORMED}', writer, sequence, null, time, $snapshot from mpi_informed i
    where not exists (from edge_rows e where e.child = i.child and e.parent = i.parent
        and e.relation = '{Relation.INFORMED}')
"""

# Of a node that was found to be several now, less than before.
_COUNTS = """
insert into message_rows
    select i.child, i.parent, i.messages - coalesce(k.messages, 0), i.bytes - coalesce(k.bytes, 0), $snapshot
    from mpi_informed i left join (
        select child, parent, sum(messages) as messages, sum(bytes) as bytes from message_rows group by child, parent) k
        on k.child = i.child and k.parent = i.parent
    where i.messages <> coalesce(k.messages, 0)
"""

# What a message carried is used by the activity that received it, unless that one made it.
_CARRIED = f"""
insert into edge_rows
    select distinct c.id, o.id, '{Relation.USED}', c.writer, c.sequence, null, greatest(c.begin_time, o.time), $snapshot
    from (select distinct receiver, received_in, record from {_MATCHED} and record <> '') m
    join mpi_sides r on r.side = m.receiver
    join activity_rows c on c.writer = r.writer and c.sequence = m.received_in
    join occurrences o on o.writer = m.record[:32]
        and o.sequence = try_cast(
            '0x' || array_to_string(list_reverse(regexp_extract_all(m.record[33:], '..')), '') as bigint)
    where not exists (from edge_rows e where e.child = c.id and e.parent = o.id and e.relation = '{Relation.USED}'
            and e.writer = c.writer and e.sequence = c.sequence)
        and not exists (from edge_rows e where e.child = o.id and e.parent = c.id
            and e.relation = '{Relation.GENERATED}')
"""

# How far each channel is understood, where that has changed.
_CHANNELS = """
insert into channel_rows
    with sent as (
        select world, rank as source, peer as dest, tag, count(*) filter (where what = 1) as sent,
            count(*) filter (where what = 7) as unsent
        from mpi_halves where what in (1, 7) group by all),
    received as (
        select world, peer as source, rank as dest, tag, count(*) filter (where state = 'received') as received,
            count(*) filter (where state = 'cancelled') as cancelled,
            count(*) filter (where state in ('open', 'posted')) as pending
        from mpi_receives group by all),
    matched as (
        select world, source, dest, tag,
            count(*) filter (where reached and equal_so_far and one_thread_so_far) as matched,
            coalesce(bool_or(reached and not equal_so_far), false) as broken,
            coalesce(bool_or(reached and equal_so_far and not one_thread_so_far), false) as ambiguous
        from mpi_pairs group by all),
    worlds as (select distinct world, run, comm from mpi_sides),
    now as (
        select run, comm, source, dest, tag, coalesce(sent, 0) as sent, coalesce(received, 0) as received,
            coalesce(matched, 0) as matched, coalesce(cancelled, 0) + coalesce(unsent, 0) as cancelled,
            coalesce(pending, 0) as pending,
            case when broken then 'broken' when ambiguous then 'ambiguous'
                when coalesce(matched, 0) = coalesce(sent, 0) and coalesce(matched, 0) >= coalesce(received, 0)
                then 'matched' else 'unmatched' end as state
        from sent full join received using (world, source, dest, tag)
        full join matched using (world, source, dest, tag) join worlds using (world)),
    gone as (
        -- Receives of any message that have one now.
        select run, comm, source, dest, tag, 0, 0, 0, 0, 0, 'matched' from channels k
        where run in (select run from mpi_sides) and not exists (
            from now n where (k.run, k.comm, k.source, k.dest, k.tag) = (n.run, n.comm, n.source, n.dest, n.tag)))
    select n.*, $snapshot from (from now union all from gone) n where not exists (
        from channels k where (k.run, k.comm, k.source, k.dest, k.tag) = (n.run, n.comm, n.source, n.dest, n.tag)
        and (k.sent, k.received, k.matched, k.cancelled, k.pending, k.state)
            = (n.sent, n.received, n.matched, n.cancelled, n.pending, n.state))
"""


def match_messages(out: Writer, runs: list[str]) -> None:
    """Put the halves of messages together, and write the edges that follow from them.

    The rows of the runs are looked at as a whole by each commit that has news of one of them, in tables that DuckDB
    puts on disk where memory is short.

    Parameters
    ----------
    out : Writer
        The commit, after everything else was written.
    runs : list of str
        Those that there is news of.
    """
    connection = out.connection
    declared = connection.execute(
        "select 1 from stream_rows where stream in (?, ?) and run in (select unnest(?)) limit 1",
        [STREAM, CALL_STREAM, runs],
    ).fetchall()
    if not declared:
        return
    complete = connection.execute(
        "select writer from ranks where state in ('closed', 'ended') and run in (select unnest(?))", [runs]
    ).fetchall()
    place = rows_of(connection, STREAM, COLUMNS, runs)
    about = {"runs": runs, "stream": STREAM, "columns": json.dumps(COLUMNS)}
    tell_of_gaps(out, STREAM, COLUMNS, runs)
    tell_of_gaps(out, CALL_STREAM, CALL_COLUMNS, runs)
    connection.execute(_SIDES.format(place=place), about | {"complete": [writer for (writer,) in complete]})
    connection.execute(_HALVES.format(place=place))
    connection.execute(_STATED)
    settle_wildcards(connection)
    for query in (_RECEIVES, "drop table mpi_stated", _TOGETHER, _PAIRS):
        connection.execute(query)
    find_collectives(out, runs)
    for query in (_COUNTED, _RECEIVERS, _INFORMED):
        connection.execute(query)
    for query in (_EDGES, _CARRIED):
        out.counts["edge_rows"] += _changed(connection.execute(query, {"snapshot": out.snapshot}))
    for query in (_COUNTS, _CHANNELS):
        connection.execute(query, {"snapshot": out.snapshot})
    out.counts["unmatched"] += list_unmatched(connection, out.snapshot, runs)
    for table in (
        "sides",
        "halves",
        "receives",
        "together",
        "pairs",
        "transfers",
        "node_edges",
        "counted",
        "receivers",
        "informed",
    ):
        connection.execute(f"drop table mpi_{table}")


def _changed(result: Any) -> int:
    return int(result.fetchall()[0][0])
