"""Collective calls: followed on each communicator as far as the ranks that are known agree on them.

The n-th call on a communicator is the same one on all of its ranks. What is followed is therefore a claim about ranks
with one history: of those whose calls were the same up to the n-th. More logs add ranks, and further histories where
some do not agree, and take nothing back, so that merging in parts gives what merging at once gives.
"""

from __future__ import annotations

import json
from typing import Any

from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.write import Writer
from braid_hpc.vocabulary.sql import quoted

__all__ = ["CALL_COLUMNS", "CALL_STREAM", "follow_calls", "rows_of", "tell_of_gaps"]

CALL_STREAM = "mpi_collectives"
#: As ``braid_hpc.collectors.mpi`` declares them; a stream of that name with others is somebody else's.
CALL_COLUMNS = [
    ("comm", "uint64"),
    ("rank", "int32"),
    ("size", "int32"),
    ("first", "int32"),
    ("number", "int64"),
    ("repeat", "int64"),
    ("call", "text"),
    ("root", "int32"),
    ("bytes", "int64"),
    ("thread", "uint32"),
    ("activity", "int64"),
]

# The sides: what one writer says of one communicator, of a rank that one writer alone speaks for.
_SIDES = """
create or replace temp table mpi_call_sides as
    select row_number() over (order by run, comm, writer) as side, dense_rank() over (order by run, comm) as world,
        *, count(*) over (partition by run, comm, rank) > 1 as doubled
    from (
        select distinct m._run as run, m._writer as writer, m.comm, m.rank, m.size, m.first
        from {place} m where m._run in (select unnest($runs)) and m._writer in (
            select writer from stream_rows where stream = $stream and columns = $columns))
"""

# Each call of a side that nothing is missing before. Starts of a persistent one are told apart from calls: they need
# not be in one order on all ranks, but the k-th of one is the k-th of the same everywhere.
_CALLED = """
create or replace temp table mpi_called as
    with each as (
        select s.side, s.world, s.doubled, m.number, m.repeat, m.call, m.root, m.bytes, m.activity, m.thread,
            -- Who of a group of an intercommunicator is no root does not know which one it is.
            case when s.first > 0 then 0 else m.root end as agreed, s.size, s.first
        from {place} m join mpi_call_sides s on s.writer = m._writer and s.comm = m.comm),
    calls as (
        select *, row_number() over mine - 1 = number and not doubled and thread = first_value(thread) over mine as fine
        from each where repeat < 0 window mine as (partition by side order by number)),
    followed as (
        select * exclude (fine) from calls
        qualify bool_and(fine) over (partition by side order by number rows unbounded preceding)),
    called as (
        select *, sum(md5_number_lower(concat_ws(':', number, call, agreed, size, first)) >> 8) over (
            partition by side order by number rows unbounded preceding)::hugeint as history
        from followed),
    starts as (
        select e.* exclude (call), c.call[:-6] as call, c.history from each e
        join called c on c.side = e.side and c.number = e.number and c.call = e.call || '_init'
        where e.repeat >= 0
        qualify row_number() over (partition by e.side, e.number order by e.repeat) - 1 = e.repeat)
    select side, world, call, if(ends_with(call, '_init'), '', call || ' ' || agreed) as series, number, repeat,
        number as place, root, bytes, activity, history
    from called
    union all
    select side, world, call, call || ' ' || agreed || ' #' || number, number, repeat, repeat, root, bytes, activity,
        history
    from starts
"""

# Calls that two ranks at least made together. A series of calls of one kind is one as long as no rank is in another
# activity than at the call before: more ranks divide it further, and leave its beginnings where they were.
_SHARED = """
create or replace temp table mpi_shared as
    with marked as (
        select *, activity is distinct from lag(activity) over (partition by side, series order by place) as changed
        from mpi_called where series <> ''),
    places as (
        select world, series, place, history, count(*) as ranks, bool_or(changed) as begins
        from marked group by all having count(*) > 1),
    joined as (
        select m.* exclude (changed), p.ranks, p.begins
        from marked m join places p using (world, series, place, history))
    select * exclude (begins), max(case when begins then place end) over mine as start,
        arg_max(history, place) filter (where begins) over mine as origin
    from joined window mine as (partition by side, series order by place rows unbounded preceding)
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
        A table in SQL; one without rows if there are none. Rows that lack a number, or have one that nobody counts
        to, are left out: see :func:`tell_of_gaps`.
    """
    place = _place_of(connection, stream, columns, runs)
    if place is not None:
        return f"(select * from {place} where {_whole(columns)})"
    nothing = ", ".join(f"null::{'varchar' if kind == 'text' else kind} as {name}" for name, kind in columns)
    return f"(select null::varchar as _run, null::varchar as _writer, {nothing} where false)"


def _place_of(connection: Any, stream: str, columns: list[tuple[str, str]], runs: list[str]) -> str | None:
    found = connection.execute(
        "select distinct s.place from stream_rows s join information_schema.tables t "
        "on t.table_schema = 'stream' and t.table_name = s.place "
        "where s.stream = ? and s.columns = ? and s.run in (select unnest(?))",
        [stream, json.dumps(columns), runs],
    ).fetchall()
    return f"stream.{quoted(found[0][0])}" if found else None


def _whole(columns: list[tuple[str, str]]) -> str:
    # Null is in no range. Beyond these no program counts, and what follows adds to them.
    ranges = {"int64": " between -4611686018427387904 and 4611686018427387903"}
    return " and ".join(f"{name}{ranges.get(kind, ' is not null')}" for name, kind in columns if kind != "text")


def tell_of_gaps(out: Writer, stream: str, columns: list[tuple[str, str]], runs: list[str]) -> None:
    """Write down, once for each writer, that rows lack a number, or have an impossible one, and match nothing.

    Parameters
    ----------
    out : Writer
        The commit.
    stream, columns, runs
        As for :func:`rows_of`.
    """
    place = _place_of(out.connection, stream, columns, runs)
    if place is None:
        return
    rows = out.connection.execute(
        f"select _run, _writer, count(*) from {place} where _run in (select unnest($runs)) "
        f"and not coalesce({_whole(columns)}, false) "
        "group by all order by all",
        {"runs": runs},
    ).fetchall()
    said = {
        (writer, message)
        for writer, message in out.connection.execute(
            "select writer, message from problem_rows where code = 'message' and given = ?", [stream]
        ).fetchall()
    }
    problems = [
        Problem(
            "message",
            f"{count} rows of {stream} lack a number or have an impossible one, and are not matched",
            run,
            writer,
            None,
            stream,
        )
        for run, writer, count in rows
    ]
    out.write_problems([each for each in problems if (each.writer, each.message) not in said])


def follow_calls(connection: Any, runs: list[str]) -> str:
    """Fill the temporary tables ``mpi_call_sides``, ``mpi_called`` and ``mpi_shared``.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit, after everything else was written.
    runs : list of str
        Those that there is news of.

    Returns
    -------
    str
        Where the rows are, as from :func:`rows_of`.
    """
    about = {"stream": CALL_STREAM, "columns": json.dumps(CALL_COLUMNS), "runs": runs}
    place = rows_of(connection, CALL_STREAM, CALL_COLUMNS, runs)
    connection.execute(_SIDES.format(place=place), about)
    connection.execute(_CALLED.format(place=place))
    connection.execute(_SHARED)
    return place
