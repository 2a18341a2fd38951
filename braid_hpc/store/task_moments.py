"""The view ``tasks`` as it was at a snapshot, and with what had been said by a time."""

from __future__ import annotations

from braid_hpc.snapshots.schema import ATTEMPTS, RANKS, RUNS
from braid_hpc.snapshots.task_schema import TASKS
from braid_hpc.store.sources import source

__all__ = ["tasks_then"]

#: Takes the place of the views of these names, for what is made of them. In braces what is there with a time only.
_PARTS = {
    "ranks": RANKS.format(writer_states="states"),
    "runs": RUNS.format(ranks="ranks"),
    "attempts": ATTEMPTS,
    "activities": "select a.id, a.run, a.writer, a.sequence, a.begin_time, e.end_time, e.duration_ns, "
    "coalesce(e.status, 'unfinished') as status, e.error from activity_rows a left join (select *, row_number() over ("
    "partition by begun_by, begun_at order by writer <> begun_by, writer, sequence) as choice from activity_ends "
    "where snapshot <= $at{end}) e on a.writer = e.begun_by and a.sequence = e.begun_at and e.choice = 1 "
    "where a.snapshot <= $at{begin}",
    "begun_tasks": "select * from task_rows where snapshot <= $at",
    "ended_tasks": "select * from task_ends where snapshot <= $at{known}",
    "known_occurrences": "select * from occurrences where snapshot <= $at",
    "tasks": TASKS.format(task_rows="begun_tasks", task_ends="ended_tasks", occurrences="known_occurrences"),
}

_CUTS = {
    "end": " and epoch_ns(end_time) <= $as_of",
    "begin": " and epoch_ns(a.begin_time) <= $as_of",
    "known": " and (begun_by, begun_at) in (select (begun_by, begun_at) from activity_ends "
    "where snapshot <= $at and epoch_ns(end_time) <= $as_of)",
}


def tasks_then(*, until: bool) -> str:
    """Return what goes before a query, so that ``tasks`` in it is of a moment.

    Parameters
    ----------
    until : bool
        Whether what was said later than ``$as_of`` is left out.

    Returns
    -------
    str
        ``with ...``, with the parameter ``$at``, and ``$as_of`` where `until` is true.
    """
    states, _ = source("states", until=until)
    parts = {"states": states} | {
        name: text
        if name not in ("activities", "ended_tasks")
        else text.format(**(_CUTS if until else dict.fromkeys(_CUTS, "")))
        for name, text in _PARTS.items()
    }
    return "with " + ", ".join(f"{name} as ({text})" for name, text in parts.items())
