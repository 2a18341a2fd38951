"""Which logs may hide a part of an answer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.store.resolve import Node
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.times import shown_time

__all__ = ["Gaps", "Missing", "missing_logs"]


@dataclass(frozen=True, slots=True)
class Missing:
    """A log that does not hold all that its writer recorded, and may hide a part of the answer.

    Attributes
    ----------
    run : str
        The run.
    rank : int or None
        The rank.
    writer : str or None
        The writer; None where no log of that rank was found.
    state : str
        A :class:`~braid_hpc.vocabulary.codes.WriterState`.
    first_lost, last_lost : str or None
        UTC, where a range of losses is known.
    """

    run: str
    rank: int | None
    writer: str | None
    state: str
    first_lost: str | None = None
    last_lost: str | None = None


@dataclass(frozen=True, slots=True)
class Gaps:
    """What is not whole in a store: little as a rule, so that answers are held against it instead of the other way.

    Attributes
    ----------
    logs : dict of str to list of Missing
        The incomplete logs of each run that has any, by rank.
    unseen : ndarray of int64
        Dense ids of placeholders, of any snapshot.
    unresolved : ndarray of int64
        Dense ids of what named a parent in text, of any snapshot; the parent may be known since.
    """

    logs: dict[str, list[Missing]]
    unseen: NDArray[np.int64]
    unresolved: NDArray[np.int64]

    @classmethod
    def of(cls, connection: Any, at: int) -> Gaps:
        """Look at a store.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            Open on it.
        at : int
            Snapshot number.

        Returns
        -------
        Gaps
            As the store knew them.
        """
        return cls(
            _incomplete(connection, at),
            _ids(connection, "select id from version_rows where placeholder is not null"),
            _ids(connection, "select distinct child from unresolved_links"),
        )

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.logs or len(self.unseen) or len(self.unresolved))


def _ids(connection: Any, query: str) -> NDArray[np.int64]:
    return np.array([identity for (identity,) in connection.execute(query).fetchall()], np.int64)


def missing_logs(
    connection: Any, ids: Collection[int] | NDArray[np.int64], root: Node, *, down: bool, at: int, gaps: Gaps
) -> list[Missing]:
    """Return the incomplete logs of the runs that own a node or an edge of the answer.

    A version belongs to the run that made it, a source to the run that declared it first: others that read the same
    configuration file say nothing of this one. An answer to what came of something also names damaged runs that went
    on after it, because they may hold more of it.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    ids : collection of int
        Dense ids of the nodes in the answer.
    root : Node
        Where the walk began.
    down : bool
        Whether it went towards what came of it.
    at : int
        Snapshot number.
    gaps : Gaps
        Of the store at that snapshot.

    Returns
    -------
    list of Missing
        By run and rank; empty if nothing can hide a part of the answer.
    """
    if not gaps:
        return []
    given = ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int64, len(ids))
    runs = _runs(connection, given, root, down, at) if gaps.logs else set()
    found = [each for run in sorted(gaps.logs.keys() & runs) for each in gaps.logs[run]]
    named = {each.writer for each in found}
    unseen = given[np.isin(given, gaps.unseen)].tolist()
    found += [each for each in (_unseen(connection, unseen, at) if unseen else ()) if each.writer not in named]
    unresolved = [] if down else given[np.isin(given, gaps.unresolved)].tolist()
    return found + (_unresolved(connection, unresolved, at) if unresolved else [])


def _runs(connection: Any, ids: NDArray[np.int64], root: Node, down: bool, at: int) -> set[str]:
    """Return the runs that own a node or an edge of an answer, or went on after what it begins with."""
    runs = connection.execute(
        """
        with answer as (select unnest($ids::bigint[]) as id)
        select coalesce(v.run, o.run) from version_rows v join (
            select id, arg_min(run, (time, writer, sequence)) as run from occurrences
            where snapshot <= $at and id in (from answer) group by id) o on v.id = o.id
        union select run from activity_rows where id in (from answer)
        union select w.run from edge_rows e join writers w using (writer)
        where e.snapshot <= $at and e.child in (from answer) and e.parent in (from answer)
        union select w.run from writers w join writer_states s using (writer)
        where $down and s.snapshot <= $at and s.last_time >= (select min(time) from occurrences where id = $root)
        """,
        {"ids": ids.tolist(), "at": at, "down": down, "root": root.id},
    ).fetchall()
    return {run for (run,) in runs}


def _unresolved(connection: Any, ids: list[int], at: int) -> list[Missing]:
    """Return the writers that named a parent in text which no declaration is known of."""
    rows = connection.execute(
        """
        select distinct w.run, w.rank, w.writer from unresolved_links l join writers w using (writer)
        where l.snapshot <= $at and list_contains($ids::bigint[], l.child) and not exists (
            from edge_rows e where e.writer = l.writer and e.sequence = l.sequence and e.said = l.said
            and e.snapshot <= $at)
        order by all
        """,
        {"ids": ids, "at": at},
    ).fetchall()
    return [Missing(run, rank, writer, UNRESOLVED) for run, rank, writer in rows]


#: State of a writer whose log is whole, but names a parent in text that is not known.
UNRESOLVED = "unresolved"

#: Each writer with the state that it had at a snapshot.
_RANKS = """
    select w.run, w.rank, w.writer, w.parent, s.state, epoch_ns(s.first_lost) as first_lost,
        epoch_ns(s.last_lost) as last_lost, (w.header ->> '$.size')::integer as size
    from writers w join (
        select *, row_number() over (partition by writer order by snapshot desc) as newest
        from writer_states where snapshot <= $at) s on w.writer = s.writer and s.newest = 1
    where w.snapshot <= $at
"""


def _incomplete(connection: Any, at: int) -> dict[str, list[Missing]]:
    """Return the logs of each run that are not complete, or not there."""
    rows = connection.execute(f"select * from ({_RANKS}) order by run, rank, writer", {"at": at}).fetchall()
    found: dict[str, list[Missing]] = {}
    for run, group in groupby(rows, key=itemgetter(0)):
        mine = [row[1:] for row in group]
        logs = [
            Missing(run, rank, writer, state, _moment(first), _moment(last))
            for rank, writer, _, state, first, last, _ in mine
            if not WriterState(state).complete
        ]
        present = {row[0] for row in mine if row[2] is None}
        size = max((row[6] or 0 for row in mine), default=0)
        logs.extend(Missing(run, n, None, str(WriterState.ABSENT)) for n in range(size) if n not in present)
        if logs:
            found[run] = logs
    return found


def _moment(time: int | None) -> str | None:
    return None if time is None else shown_time(time)


def _unseen(connection: Any, ids: list[int], at: int) -> list[Missing]:
    """Return the writers of what was referred to and is not seen."""
    rows = connection.execute(
        f"""
        select distinct split_part(p.placeholder, ':', 1), r.run, r.rank, r.state
        from version_rows p left join ({_RANKS}) r on r.writer = split_part(p.placeholder, ':', 1)
        where p.placeholder is not null and p.id in (select unnest($ids::bigint[])) order by all
        """,
        {"ids": ids, "at": at},
    ).fetchall()
    return [Missing(run or "", rank, writer, state or str(WriterState.ABSENT)) for writer, run, rank, state in rows]
