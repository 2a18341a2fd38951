"""Why a task ran: what its rank said then, and what differs from the execution that it is nearest to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from braid_hpc.store.tasks import StoredTask
from braid_hpc.tasks.states import Reason

__all__ = ["WhyRun", "explain"]

#: Of so many earlier executions of a task the nearest one is looked for.
LOOKED_AT = 1000

_SENTENCES = {
    Reason.NO_INDEX: "no done index was there: nothing of tasks had been merged into a store that the run named",
    Reason.ASKED: "it was asked to, by rerun=True",
    Reason.ALWAYS: "it has location= instead of target=, and always runs",
    Reason.INVALID: "what was on record does not hold",
    Reason.FAILED: "the execution before it failed",
    Reason.INTERRUPTED: "the execution before it was interrupted",
    Reason.RUNNING: "of the execution before it no end was on record",
    Reason.UNRECORDED: "the result of the execution before it is not on record",
    Reason.CODE: "the code of the function changed under the same version",
    Reason.MISSING: "what it had written was gone",
    Reason.CHANGED: "what it had written was changed since",
    Reason.ELSEWHERE: "the execution before it wrote to another place, or to none",
    Reason.DAMAGED: "the entry of the done index was damaged",
    Reason.DISABLED: "recording was off",
}


@dataclass(frozen=True, slots=True)
class WhyRun:
    """Why an execution of a task ran.

    Attributes
    ----------
    task : StoredTask
        The execution.
    reason : str
        One of :class:`braid_hpc.tasks.states.Reason`.
    sentence : str
        What that means here.
    nearest : int or None
        ``pk`` of the earlier execution of the same task that has most in common with it.
    differences : tuple of (str, str, str)
        What differs from that: name, what it was then, and what it is.
    now : str
        Whether the same call would run now.
    """

    task: StoredTask
    reason: str
    sentence: str
    nearest: int | None
    differences: tuple[tuple[str, str, str], ...]
    now: str


def explain(connection: Any, task: StoredTask, *, at: int, causes: Mapping[int, str]) -> WhyRun:
    """Say why an execution ran.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    task : StoredTask
        The execution.
    at : int
        Snapshot number.
    causes : mapping of int to str
        Why what is invalid is, by dense id.

    Returns
    -------
    WhyRun
        All of it.
    """
    nearest, differences = _nearest(connection, task, at)
    known = _SENTENCES.get(Reason(task.reason)) if task.reason in set(Reason) else None
    if known is not None:
        sentence = known + (f": {task.detail}" if task.detail else "")
    elif nearest is None:
        sentence = f"{task.task} had not run before"
    else:
        said = "; ".join(f"{name} was {then}, and is {now}" for name, then, now in differences)
        sentence = f"no execution of this key was on record: {said or 'its parameters are the same'}"
    return WhyRun(task, task.reason, sentence, nearest, differences, _now(connection, task, at, causes))


def _nearest(connection: Any, task: StoredTask, at: int) -> tuple[int | None, tuple[tuple[str, str, str], ...]]:
    """Return the earlier execution with most parameters in common, and what differs."""
    rows = connection.execute(
        "select t.pk, t.version, t.code, p.name, p.value, q.given from ("
        "select pk, version, code, created from tasks where task = $task and snapshot <= $at and key <> $key "
        f"and (epoch_ns(created), pk) < ($created, $pk) order by created desc, pk desc limit {LOOKED_AT}) t "
        "join task_parameters q on q.task_pk = t.pk join parameter_rows p on p.pk = q.parameter_pk "
        "where q.role <> 'ignored' order by t.created desc, t.pk desc, q.position",
        {"task": task.task, "at": at, "key": task.key, "created": task.created, "pk": task.pk},
    ).fetchall()
    earlier: dict[int, dict[str, tuple[str, str | None]]] = {}
    for pk, _, _, name, value, given in rows:
        earlier.setdefault(pk, {})[name] = value, given
    mine = {each.name: (each.value, each.given) for each in task.parameters if each.role != "ignored"}
    best, fewest = None, None
    for pk, theirs in earlier.items():
        differing = [
            (name, _shown(theirs.get(name)), _shown(mine.get(name)))
            for name in {**mine, **theirs}
            if (theirs.get(name) or ("", None))[0] != (mine.get(name) or ("", None))[0]
        ]
        if fewest is None or len(differing) < len(fewest):
            best, fewest = pk, differing
    return best, tuple(fewest or ())


def _shown(value: tuple[str, str | None] | None) -> str:
    if value is None:
        return "absent"
    text, given = value
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if given is None else f"{given} ({text[:20]}...)"


def _now(connection: Any, task: StoredTask, at: int, causes: Mapping[int, str]) -> str:
    """Return whether the same call would run, as far as the store knows."""
    rows = connection.execute(
        "select pk, status, output_pk, value is not null or uri is not null from tasks "
        "where key = $1 and snapshot <= $2 order by created desc, pk desc",
        [task.key, at],
    ).fetchall()
    done = [row for row in rows if row[1] == "done"]
    if not done:
        return f"it would run again: its newest execution is {rows[0][1]}"
    why = [causes.get(pk, causes.get(output)) for pk, _, output, _ in done]
    if all(cause is not None for cause in why):
        return f"it would run again: it is invalid ({why[0]})"
    if not any(row[3] for row, cause in zip(done, why, strict=True) if cause is None):
        return "it would run again: its result is not on record"
    return "it would not run: it is done, and holds" + (" if what it wrote is still there" if task.uri else "")
