"""What goes from rank to rank in collective calls, and between the fences of a window.

These are no nodes: prefix sums have an order, neighbours are some ranks, and one-sided communication has one target.
"""

from __future__ import annotations

from typing import Any

from braid_hpc.compaction.collective_calls import rows_of

__all__ = ["ACT_COLUMNS", "ACT_STREAM", "NEIGHBOUR_COLUMNS", "NEIGHBOUR_STREAM", "find_transfers"]

NEIGHBOUR_STREAM = "mpi_neighbours"
#: As ``braid_hpc.collectors.mpi`` declares them; a stream of that name with others is somebody else's.
NEIGHBOUR_COLUMNS = [("comm", "uint64"), ("rank", "int32"), ("source", "int32")]

ACT_STREAM = "mpi_onesided"
#: As ``braid_hpc.collectors.mpi`` declares them; a stream of that name with others is somebody else's.
ACT_COLUMNS = [
    ("comm", "uint64"),
    ("rank", "int32"),
    ("what", "text"),
    ("target", "int32"),
    ("bytes", "int64"),
    ("epoch", "int64"),
    ("thread", "uint32"),
    ("activity", "int64"),
]

# Of prefix sums only from each rank to the next one: what ranks before it gave came with that. From neighbours as each
# rank has told them. Into a window until the fence behind it, and out of it since the fence before.
_TRANSFERS = """
create or replace temp table mpi_transfers as
    with givers as (
        select w.world, w.rank, w.rank - 1 as source, 'scan' as call from mpi_call_sides w
        union all select w.world, w.rank, w.rank - 1, 'exscan' from mpi_call_sides w
        union all
        select distinct w.world, n.rank, n.source, c.call
        from {neighbours} n join mpi_call_sides w on w.writer = n._writer and w.comm = n.comm
        cross join (select distinct call from mpi_shared where call like 'neighbor%') c),
    acts as (
        select o.world, o.side as origin, o.writer, t.side as target, t.writer as target_writer, m.what, m.bytes,
            m.epoch, m.activity
        from {acts} m join mpi_call_sides o on o.writer = m._writer and o.comm = m.comm
        join mpi_call_sides t on t.world = o.world and t.rank = m.target
        where m.epoch > 0 and m.target <> m.rank),
    fences as (select side, place, activity, history from mpi_shared where call = 'fence')
    select r.writer as receiver, t.activity as received_in, s.writer as sender, g.activity as sent_in, g.bytes
    from mpi_shared t join mpi_call_sides r on r.side = t.side
    join givers v on v.world = r.world and v.rank = r.rank and v.call = t.call
    join mpi_call_sides s on s.world = r.world and s.rank = v.source
    join mpi_shared g on g.side = s.side and (g.series, g.place, g.history) = (t.series, t.place, t.history)
    union all
    select a.target_writer, b.activity, a.writer, a.activity, a.bytes
    from acts a join fences b on b.side = a.target and b.place = a.epoch
    join fences c on c.side = a.origin and c.place = a.epoch and c.history = b.history
    where a.what <> 'get'
    union all
    select a.writer, c.activity, a.target_writer, b.activity, a.bytes
    from acts a join fences b on b.side = a.target and b.place = a.epoch - 1
    join fences c on c.side = a.origin and c.place = a.epoch
    join fences d on d.side = a.target and d.place = a.epoch and d.history = c.history
    where a.what not in ('put', 'accumulate')
"""


def find_transfers(connection: Any, runs: list[str]) -> None:
    """Fill the temporary table ``mpi_transfers``.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit, with the temporary tables of :func:`braid_hpc.compaction.collective_calls.follow_calls`.
    runs : list of str
        Those that there is news of.
    """
    neighbours = rows_of(connection, NEIGHBOUR_STREAM, NEIGHBOUR_COLUMNS, runs)
    acts = rows_of(connection, ACT_STREAM, ACT_COLUMNS, runs)
    connection.execute(_TRANSFERS.format(neighbours=neighbours, acts=acts))
