"""How long it would take to make something again, and all that came of it: from how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Redo", "RedoneTask", "called", "redo"]

#: The executions that are to be made again if `roots` are: what came of them by derivation, use and generation.
_BELOW = """
    with recursive below(id) as (
        select unnest($roots::bigint[])
        union
        select e.child from edges e join below b on e.parent = b.id
        where e.relation in ('wasDerivedFrom', 'used', 'wasGeneratedBy') and e.snapshot <= $at)
    select task, count(*), coalesce(sum(duration), 0), coalesce(sum(overhead), 0) from (
        select task, duration, overhead from tasks
        where pk in (select id from below) and status = 'done' and snapshot <= $at
        and (not $current or key in (
            select c.key from task_calls c join (
                select task, arg_max(run, time) as run from task_calls where snapshot <= $at group by task) l
            on l.task = c.task and l.run = c.run where c.snapshot <= $at))
        qualify row_number() over (partition by key order by created desc, pk desc) = 1) t
    group by task order by 3 desc, 1
"""

#: Of the calls that were made in the last run that made any: what older versions did is not to be done again.
_CALLED = """
    select t.pk from tasks t where t.task = $name and t.status = 'done' and t.snapshot <= $at and t.key in (
        select key from task_calls where task = $name and snapshot <= $at and run = (
            select run from task_calls where task = $name and snapshot <= $at order by time desc limit 1))
    qualify row_number() over (partition by t.key order by t.created desc, t.pk desc) = 1
"""


@dataclass(frozen=True, slots=True)
class RedoneTask:
    """The calls of a task that would be made again.

    Attributes
    ----------
    task : str
        Its name.
    calls : int
        How many.
    seconds : float
        How long they took, their shares of set-ups included.
    """

    task: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Redo:
    """What would be made again, and how long that took.

    Attributes
    ----------
    tasks : tuple of RedoneTask
        The longest first.
    """

    tasks: tuple[RedoneTask, ...]

    @property
    def calls(self) -> int:
        """All calls."""
        return sum(each.calls for each in self.tasks)

    @property
    def seconds(self) -> float:
        """All the time that they took, one after the other."""
        return sum(each.seconds for each in self.tasks)


def called(connection: Any, name: str, at: int) -> list[int]:
    """Return the executions that the calls of a task rest on, as of the last run that made any.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    name : str
        Of the task.
    at : int
        A snapshot.

    Returns
    -------
    list of int
        Their dense ids; empty if there is no such task.
    """
    return [row[0] for row in connection.execute(_CALLED, {"name": name, "at": at}).fetchall()]


def redo(connection: Any, roots: list[int], at: int, *, current: bool) -> Redo:
    """Return what would be made again if some things were.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    roots : list of int
        Dense ids of executions and versions; executions among them count.
    at : int
        A snapshot.
    current : bool
        Only calls that were made in the last run that made any of their task.

    Returns
    -------
    Redo
        By task.
    """
    found = connection.execute(_BELOW, {"roots": roots, "at": at, "current": current}).fetchall()
    return Redo(tuple(RedoneTask(task, calls, seconds + shared) for task, calls, seconds, shared in found))
