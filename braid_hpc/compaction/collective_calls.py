"""Collective calls with a root: what the root gave to all, or all gave to the root.

The n-th call on a communicator is the same one on all of its ranks. Calls are followed as far as all ranks have written
them down and agree.
"""

from __future__ import annotations

import json
from typing import Any

from braid_hpc.compaction.stream_store import quoted

__all__ = ["CALL_COLUMNS", "CALL_STREAM", "find_transfers", "rows_of"]

CALL_STREAM = "mpi_collectives"
#: As ``braid_hpc.collectors.mpi`` declares them; a stream of that name with others is somebody else's.
CALL_COLUMNS = [
    ("comm", "uint64"),
    ("rank", "int32"),
    ("size", "int32"),
    ("number", "int64"),
    ("call", "text"),
    ("root", "int32"),
    ("bytes", "int64"),
    ("thread", "uint32"),
    ("activity", "int64"),
]

_NOTHING = """
create or replace temp table mpi_transfers (
    receiver varchar, received_in bigint, sender varchar, sent_in bigint, bytes bigint)
"""

_TRANSFERS = """
insert into mpi_transfers
    with calls as (
        select m._run as run, m._writer as writer, m.comm, m.rank, m.size, m.number, m.call, m.root, m.bytes,
            m.activity,
            row_number() over mine - 1 = m.number and m.thread = first_value(m.thread) over mine as certain
        from {place} m where m._run in (select unnest($runs)) and m._writer in (
            select writer from stream_rows where stream = $stream and columns = $columns)
        window mine as (partition by m._run, m._writer, m.comm order by m.number)),
    numbered as (
        select run, comm, number, count(*) = min(size) and count(distinct rank) = max(size) and bool_and(certain)
            and count(distinct call) = 1 and count(distinct root) = 1 as whole
        from calls group by run, comm, number),
    followed as (
        select run, comm, number from numbered
        window before as (partition by run, comm order by number rows unbounded preceding)
        qualify bool_and(whole) over before and row_number() over before - 1 = number),
    told as (from calls join followed using (run, comm, number)),
    ends as (
        select o.call in ('bcast', 'scatter', 'scatterv') as outwards, r.writer as root, r.activity as root_in,
            r.bytes as root_bytes, o.writer as other, o.activity as other_in, o.bytes as other_bytes, o.call
        from told o join told r using (run, comm, number)
        where r.rank = r.root and o.rank <> o.root
            and o.call in ('bcast', 'scatter', 'scatterv', 'gather', 'gatherv', 'reduce'))
    select case when outwards then other else root end, case when outwards then other_in else root_in end,
        case when outwards then root else other end, case when outwards then root_in else other_in end,
        case when call = 'bcast' then root_bytes when outwards then -1 else other_bytes end
    from ends
"""


def rows_of(connection: Any, stream: str, columns: list[tuple[str, str]], runs: list[str]) -> str:
    """Return where the rows of a stream are, as far as it was declared with these columns.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit.
    stream : str
        Its name.
    columns : list of (str, str)
        Names and types.
    runs : list of str
        That may have declared it.

    Returns
    -------
    str
        A table in SQL; one without rows if there are none.
    """
    found = connection.execute(
        "select distinct s.place from stream_rows s join information_schema.tables t "
        "on t.table_schema = 'stream' and t.table_name = s.place "
        "where s.stream = ? and s.columns = ? and s.run in (select unnest(?))",
        [stream, json.dumps(columns), runs],
    ).fetchall()
    if found:
        return f"stream.{quoted(found[0][0])}"
    nothing = ", ".join(f"null::{'varchar' if kind == 'text' else kind} as {name}" for name, kind in columns)
    return f"(select null::varchar as _run, null::varchar as _writer, {nothing} where false)"


def find_transfers(connection: Any, runs: list[str]) -> None:
    """Fill the temporary table ``mpi_transfers``: who received from whom by collective calls with a root.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit, after everything else was written.
    runs : list of str
        Those that there is news of.
    """
    connection.execute(_NOTHING)
    about = {"stream": CALL_STREAM, "columns": json.dumps(CALL_COLUMNS), "runs": runs}
    place = rows_of(connection, CALL_STREAM, CALL_COLUMNS, runs)
    connection.execute(_TRANSFERS.format(place=place), about)
