"""Which actions are due, computed from what was attached, what is invalid, and what was begun (``docs/actions.md``)."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.extract import extract
from braid_hpc.reading.survey import read_writer
from braid_hpc.store.finding import tags_of
from braid_hpc.store.listed import Listed
from braid_hpc.store.runner_lock import is_held
from braid_hpc.vocabulary.actions import Invalidated, substituted
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import NotFoundError
from braid_hpc.vocabulary.payloads import Attempt, Result
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.snapshots.files import StoreFiles
    from braid_hpc.store.store import Store

__all__ = ["ActionState", "Actions", "action_states", "list_actions"]

#: What statements pass along, as in :mod:`braid_hpc.lineage.walk`.
_PASSED = (Relation.DERIVED, Relation.USED, Relation.GENERATED)
_ENDING = ("code", "signal", "error", "output", "cut")


@dataclass(frozen=True, slots=True)
class ActionState:
    """An action of a record, and what has come of it.

    Attributes
    ----------
    state : str
        ``idle`` (the record is valid), ``due``, ``running``, ``interrupted`` (begun, and its end was not recorded),
        ``ok`` or ``failed``; the last four of the newest attempt because of this statement.
    ref : str
        The record, ``kind:name@version``.
    id, action : str
        Global ids of the record and of the action, 32 hexadecimal digits.
    name : str or None
        Of the action.
    command : list of str
        Program and arguments, with placeholders as they were given; empty for a function.
    would_run : list of str
        The command with what they stand for; empty where it cannot be run (then `error` says why).
    entry : str or None
        The function.
    timeout : float or None
        Its own limit, seconds.
    statement, cause : str or None
        Why the record is invalid; None where it is valid.
    attempts : int
        How often it was begun because of this statement.
    code, signal : int or None
        Of the last attempt.
    error : str or None
        Of the last attempt.
    output : str
        Of the last attempt: the first and the last of what it printed.
    cut : int
        Bytes that were left out of that.
    """

    state: str
    ref: str
    id: str
    action: str
    name: str | None
    command: list[str]
    would_run: list[str]
    entry: str | None
    timeout: float | None
    statement: str | None = None
    cause: str | None = None
    attempts: int = 0
    code: int | None = None
    signal: int | None = None
    error: str | None = None
    output: str = ""
    cut: int = 0

    @property
    def what(self) -> str:
        """The action for people: its name, its function, or its command."""
        return self.name or self.entry or " ".join(self.would_run or self.command)


class Actions(Listed[ActionState]):
    """Actions of records: :class:`ActionState` in their order, and a table for other libraries."""

    COLUMNS = (
        *(("state", "text"), ("ref", "text"), ("id", "text"), ("action", "text"), ("name", "text")),
        *(("command", "texts"), ("would_run", "texts"), ("entry", "text"), ("timeout", "float")),
        *(("statement", "text"), ("cause", "text"), ("attempts", "int"), ("code", "int"), ("signal", "int")),
        *(("error", "text"), ("output", "text"), ("cut", "int")),
    )


def list_actions(store: Store) -> Actions:
    """Return every action that is attached to a record, and what has come of it.

    Parameters
    ----------
    store : Store
        Its snapshot is asked.

    Returns
    -------
    Actions
        Those of invalid records first, parents before what came of them, then by reference and action; then the others.
    """
    return Actions(state for state, _ in action_states(store, busy=is_held(store._files)))


def action_states(store: Store, *, busy: bool) -> list[tuple[ActionState, Invalidated | None]]:
    """Return every action that is attached to a record, and what it is told of that, if that is invalid.

    Parameters
    ----------
    store : Store
        Its snapshot is asked, and the logs beside it.
    busy : bool
        Whether somebody else runs actions now: one without an end is then taken for running.

    Returns
    -------
    list of (ActionState, Invalidated or None)
        In the order of :func:`list_actions`.
    """
    attached = store.sql(
        "select action, id, uid, kind, name, version, label, command, entry, timeout from actions "
        "order by kind, name, version, label nulls last, entry nulls first, command, action"
    ).to_pylist()
    if not attached:
        return []
    judged = store.judgements()
    place = _order(store, set(judged)) if any(row["id"] in judged for row in attached) else {}
    attached.sort(key=lambda row: place.get(row["id"], len(place)))
    tried = _attempts(store)
    about = _about(store, {row["id"] for row in attached if row["id"] in judged})
    found: list[tuple[ActionState, Invalidated | None]] = []
    for row in attached:
        ref = format_reference(row["kind"], row["name"], row["version"])
        command = list(row["command"])
        state = ActionState(
            "idle", ref, row["uid"], row["action"], row["label"], command, [], row["entry"], row["timeout"]
        )
        if row["id"] not in judged:
            found.append((state, None))
            continue
        told = about[row["id"]]
        found.append((_with_attempts(state, told, tried[told.statement, told.id, state.action], busy=busy), told))
    return found


def _attempts(store: Store) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Return the attempts by statement, record and action, in order."""
    rows = store.sql("select *, epoch_ns(begin_time) as begun from action_attempts").to_pylist()
    known = {(row["writer"], row["sequence"]): row for row in rows}
    # What a process says that runs them now, or that was killed: its log waits for the next compaction.
    for row in _written_beside(store._files):
        place = row["writer"], row["sequence"]
        if place not in known or known[place]["state"] == "interrupted":
            known[place] = row
    tried = defaultdict(list)
    for row in sorted(known.values(), key=lambda row: (row["begun"], row["writer"], row["sequence"])):
        tried[row["statement"], row["uid"], row["action"]].append(row)
    return tried


def _written_beside(files: StoreFiles) -> Iterator[dict[str, Any]]:
    for directory in files.statement_logs():
        log = read_writer(directory)
        said = extract(log, "", log.ranges).acted
        results = {each.subject: each.about for each in said if isinstance(each.about, Result)}
        for each in said:
            if not isinstance(each.about, Attempt):
                continue
            result = results.get(each.sequence)
            yield {
                "statement": each.about.statement,
                "uid": each.about.record,
                "action": each.about.action,
                "writer": log.writer,
                "sequence": each.sequence,
                "begun": each.time,
                "state": "interrupted" if result is None else "ok" if result.ok else "failed",
                **{name: getattr(result, name, None) for name in _ENDING},
            }


def _with_attempts(state: ActionState, told: Invalidated, attempts: list[dict[str, Any]], *, busy: bool) -> ActionState:
    state = replace(state, state="due", statement=told.statement, cause=told.cause, attempts=len(attempts))
    try:
        state = replace(state, would_run=substituted(state.command, told))
    except NotFoundError as error:
        state = replace(state, error=str(error))
    if not attempts:
        return state
    last = attempts[-1]
    now = "running" if last["state"] == "interrupted" and busy else last["state"]
    return replace(state, state=now, **{name: last[name] for name in _ENDING if last[name] is not None})


def _about(store: Store, ids: set[int]) -> dict[int, Invalidated]:
    """Return what an action is told of each of some invalid records."""
    judged = store.judgements()
    chosen = [sorted(ids)]
    only = "where id in (select unnest(?::bigint[]))"
    uris: dict[int, list[str]] = defaultdict(list)
    tags = tags_of(store, chosen[0])
    for row in store.sql(f"select id, uri from uris {only} order by id, position, uri", chosen):
        uris[row["id"]].append(row["uri"])
    return {
        row["id"]: Invalidated(
            format_reference(row["kind"], row["name"], row["version"]),
            row["kind"],
            row["name"],
            row["version"],
            row["uid"],
            uris[row["id"]],
            tags.get(row["id"], {}),
            judged[row["id"]].cause,
            judged[row["id"]].uid,
            judged[row["id"]].time,
            str(store.path.absolute()),
        )
        for row in store.sql(f"select id, uid, kind, name, version from nodes {only}", chosen)
    }


def _order(store: Store, ids: set[int]) -> dict[int, int]:
    """Return the place of each node, parents before what came of them; where there is a cycle, by reference."""
    chosen = "(select unnest($ids::bigint[]))"
    rows = store.sql(
        "select distinct child, parent from edges where list_contains($passed::varchar[], relation) "
        f"and child in {chosen} and parent in {chosen}",
        {"ids": sorted(ids), "passed": [str(each) for each in _PASSED]},
    )
    children, waiting = defaultdict(list), dict.fromkeys(ids, 0)
    for row in rows:
        children[row["parent"]].append(row["child"])
        waiting[row["child"]] += 1
    found = store.sql(f"select id, kind, name, version from nodes where id in {chosen}", {"ids": sorted(ids)})
    named = {row["id"]: (row["kind"], row["name"], row["version"]) for row in found}
    by_name = sorted(ids, key=lambda node: (named[node], node))
    ready = [(named[node], node) for node in by_name if not waiting[node]]
    place: dict[int, int] = {}
    rest = iter(by_name)
    while len(place) < len(ids):
        # Only a cycle has members left when nothing is ready: its first one by name goes on.
        node = heapq.heappop(ready)[1] if ready else next(node for node in rest if node not in place)
        if node in place:
            continue
        place[node] = len(place)
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child] and child not in place:
                heapq.heappush(ready, (named[child], child))
    return place
