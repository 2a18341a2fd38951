"""What the demo prints, all of it asked from the store: nothing is carried over from the job."""

from __future__ import annotations

import json
from typing import Any

from braid_hpc.demos.answers import answered, heading, latest, rows, spoken

__all__ = ["affected_by", "report", "steps"]

STEPS = ("select", "normalize", "normalized", "project", "projections", "compare")

_CALLS = """
    select split_part(task, '.', -1) as step, count_if(status = 'skipped') as taken, count_if(status = 'done') as made,
        count_if(status not in ('skipped', 'done')) as other
    from task_calls where run = ? group by step
"""

_DATASETS = """
    select 'dataset:' || v.name || '@' || v.version as ref, v.digest, t.integer as members
    from versions v join tags t using (id) where v.kind = 'dataset' and t.key = 'members' order by v.id
"""

_RESULT = """
    select 'id:' || v.uid as ref from tasks t join task_parameters p on p.task_pk = t.pk
    join parameters n on n.pk = p.parameter_pk join versions v on v.id = t.output_pk
    where t.task like '%.normalize' and n.parameter_name = 'cell_id' and n.parameter_value = ? and t.status = 'done'
    order by t.created desc limit 1
"""


def steps(store: Any) -> dict[str, tuple[int, int]]:
    """Say of the latest run how many calls of each step were made, and how many were taken from earlier ones.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.

    Returns
    -------
    dict
        By step: made, taken.

    Raises
    ------
    LookupError
        The store holds no run of this demo.
    """
    found = {row["step"]: (row["made"], row["taken"]) for row in rows(store, _CALLS, latest(store, "cells"))}
    return {step: found.get(step, (0, 0)) for step in STEPS}


def affected_by(store: Any, cell_id: int) -> dict[str, Any]:
    """Say what came of the image of a cell.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    cell_id : int
        Number of the cell.

    Returns
    -------
    dict
        ``datasets`` and ``results`` (references of what came of it), and ``missing`` (logs without which this may not
        be all).

    Raises
    ------
    LookupError
        No image of this cell was made.
    """
    found = rows(store, _RESULT, json.dumps(cell_id))
    if not found:
        raise LookupError(f"no image of cell {cell_id} was made")
    answer = store.impact(found[0]["ref"])
    made = [node for node in answer.nodes if node.distance]
    return {
        "datasets": sorted(node.ref for node in made if node.kind == "dataset"),
        "results": sorted(node.ref for node in made if node.kind == "result"),
        "missing": answer.missing,
    }


def report(store: Any) -> str:
    """Say what the latest run of the demo did, from its store.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.

    Returns
    -------
    str
        Several lines: events and ranks, what each step made and took from earlier runs, the datasets, and what came
        of one cell.

    Raises
    ------
    LookupError
        The store holds no run of this demo.
    """
    run = latest(store, "cells")
    lines = [heading(store, run), ""]
    for step, (made, taken) in steps(store).items():
        lines.append(f"{step}: {spoken(made, 'call')} made, {taken:,} taken from earlier")
    for row in rows(store, _DATASETS):
        lines.append(f"{row['ref']}: {spoken(row['members'], 'member')}, version {row['digest'][:19]}")
    try:
        found = affected_by(store, 0)
    except LookupError as error:
        return "\n".join([*lines, str(error)])
    lines += answered(
        "what came of the image of cell 0, should it prove out of focus?",
        [*found["datasets"], *found["results"]],
        missing=found["missing"],
    )
    return "\n".join(lines)
