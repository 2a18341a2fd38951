"""Which messages have no other half, or one that is not known, and why."""

from __future__ import annotations

from typing import Any

__all__ = ["list_unmatched"]

# Numbers of sends, and of receives with a known envelope, are their places in the channel; a receive that could take
# any message, or took none, has the number of its posting.
_NOW = """
create or replace temp table mpi_unmatched as
    with matched as (
        select world, source, dest, tag,
            count(*) filter (where reached and equal_so_far and one_thread_so_far) as matched,
            case when bool_or(reached and not equal_so_far) then 'broken'
                when bool_or(reached and equal_so_far and not one_thread_so_far) then 'ambiguous' end as state
        from mpi_pairs group by all),
    placed as (
        select *, row_number() over (partition by side, peer, tag order by number) - 1 as place
        from mpi_receives where state in ('received', 'posted')),
    ends as (
        select world, rank as source, peer as dest, tag, number as place, 'sent' as side, null as state
        from mpi_halves where what = 1
        union all select world, peer, rank, tag, place, 'received', null from placed where state = 'received'
        union all select world, peer, rank, tag, place, 'posted', null from placed where state = 'posted'
        union all select world, peer, rank, tag, number, 'posted', 'unresolved' from mpi_receives where state = 'open'
        union all select world, peer, rank, tag, number, 'posted', 'cancelled' from mpi_receives
            where state = 'cancelled'
        union all select world, rank, peer, tag, number, 'sent', 'cancelled' from mpi_halves where what = 7),
    loose as (
        select e.world, e.source, e.dest, e.tag, coalesce(e.state, m.state, 'unmatched') as state, e.side,
            min(e.place) as first, max(e.place) as last, count(*) as messages
        from ends e left join matched m using (world, source, dest, tag)
        where (e.state is not null or e.place >= coalesce(m.matched, 0)) and not (e.state is null and e.side = 'sent'
            and exists (from mpi_halves u where u.what = 7
                and (u.world, u.rank, u.peer, u.tag, u.number) = (e.world, e.source, e.dest, e.tag, e.place)))
        group by all),
    -- Of every rank that has written anything of a communicator, whether all of it is here.
    heard as (
        select s.world, h.rank, bool_and(s.complete) as complete from mpi_sides s join (
            select distinct side, rank from mpi_halves) h using (side) group by all),
    worlds as (select distinct world, run, comm from mpi_sides)
    select w.run, w.comm, l.source, l.dest, l.tag, l.state, l.side, l.first, l.last, l.messages,
        case when l.state <> 'unmatched' then null when o.complete is null then 'silent' when not o.complete then 'open'
            end as other
    from loose l join worlds w using (world)
    left join heard o on o.world = l.world and o.rank = if(l.side = 'sent', l.dest, l.source)
"""

_CHANGED = """
insert into unmatched_rows
    with gone as (
        select run, comm, source, dest, tag, state, side, 0 as first, 0 as last, 0 as messages, null as other
        from unmatched where run in (select run from mpi_sides) and (run, comm, source, dest, tag, state, side) not in (
            select (run, comm, source, dest, tag, state, side) from mpi_unmatched))
    select n.*, $snapshot from (from mpi_unmatched union all from gone) n where not exists (
        from unmatched k
        where (k.run, k.comm, k.source, k.dest, k.tag, k.state, k.side, k.first, k.last, k.messages)
            = (n.run, n.comm, n.source, n.dest, n.tag, n.state, n.side, n.first, n.last, n.messages)
        and k.other is not distinct from n.other)
"""


_COUNT = """
    select (select count(distinct (run, comm, source, dest, tag)) from unmatched
            where state <> 'cancelled' and run in (select unnest($runs)))
        + (select count(*) from communicators where state <> 'matched' and run in (select unnest($runs)))
"""


def list_unmatched(connection: Any, snapshot: int, runs: list[str]) -> int:
    """Write down which messages are not matched, where that has changed.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit, with the temporary tables of :func:`braid_hpc.compaction.messages.match_messages`.
    snapshot : int
        Its number.
    runs : list of str
        Those that there is news of.

    Returns
    -------
    int
        How many of their channels and communicators have messages or calls that are not matched.
    """
    connection.execute(_NOW)
    connection.execute(_CHANGED, {"snapshot": snapshot})
    connection.execute("drop table mpi_unmatched")
    (count,) = connection.execute(_COUNT, {"runs": runs}).fetchall()[0]
    return int(count)
