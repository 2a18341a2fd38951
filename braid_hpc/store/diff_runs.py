"""Comparing two runs: code, environment, parameters, inputs, what they made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.store.diff import arrays_of, by_key
from braid_hpc.store.differences import ArrayDifference, Comparison, FactDifference
from braid_hpc.store.holding import FOREVER, HOLDING
from braid_hpc.store.resolve import Node
from braid_hpc.store.runs import RunFacts, run_facts
from braid_hpc.vocabulary.codes import ACTIVITY_KIND
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.diff import Moment, Moments
    from braid_hpc.store.store import Store

__all__ = ["code_and_environment", "diff_runs", "parameters"]

_CODE = ("script", "script_digest", "git", "argv")
_ENVIRONMENT = (
    *("job", "size", "cwd", "user", "launcher", "scheduler_job", "hosts", "python", "executable", "mpi_library"),
)

#: What stands for the content of what was made without one: that a run made it is told all the same.
_NO_DIGEST = "without a digest"


def diff_runs(store: Store, a: str, b: str, *, then: Moments) -> Comparison:
    """Compare two runs.

    Parameters
    ----------
    store : Store
        Open.
    a, b : str
        Their ids.
    then : tuple
        Snapshot and time that each is looked at.

    Returns
    -------
    Comparison
        From `a` to `b`.

    Raises
    ------
    CorruptLogError
        If the bytes of an array do not carry their digest.
    """
    facts = list(code_and_environment(_said(store, a, then[0]), _said(store, b, then[1])))
    ran = [_activities(store, run, moment) for run, moment in zip((a, b), then, strict=True)]
    facts += by_key("count", *(Counter(f"activity:{name}" for name, _, _ in each) for each in ran))
    facts += by_key("code", *({f"function of {name}": said for name, said, _ in each if said} for each in ran))
    facts += by_key("params", *(parameters((name, params) for name, _, params in each) for each in ran))
    used = [_inputs(store, run, moment) for run, moment in zip((a, b), then, strict=True)]
    facts += by_key("input", *used)
    made = [_outputs(store, run, moment) for run, moment in zip((a, b), then, strict=True)]
    facts += by_key("output", *({key: digest or _NO_DIGEST for key, (_, digest) in each.items()} for each in made))
    declared = [_declared_in(store, run, moment) for run, moment in zip((a, b), then, strict=True)]
    only = [tuple(ref for node, ref in x.items() if node not in y) for x, y in (declared, declared[::-1])]
    shared = tuple(ref for node, ref in declared[0].items() if node in declared[1])
    arrays = tuple(_arrays(store, *made))
    return Comparison("runs", f"run:{a}", f"run:{b}", tuple(facts), arrays, only[0], only[1], shared, len(shared))


def _said(store: Store, run: str, then: Moment) -> RunFacts:
    (found,) = run_facts(store._connected, [run], then[0])
    return found


def code_and_environment(a: RunFacts, b: RunFacts) -> Iterator[FactDifference]:
    """Compare what two runs said of their code and their environment.

    Parameters
    ----------
    a, b : RunFacts
        Of the runs.

    Yields
    ------
    FactDifference
        ``code`` first; packages are keys of their own.
    """
    for what, names in (("code", _CODE), ("environment", _ENVIRONMENT)):
        yield from by_key(what, *({name: _plain(getattr(each, name)) for name in names} for each in (a, b)))
    yield from by_key("environment", *({f"package {n}": v for n, v in each.packages.items()} for each in (a, b)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def parameters(ran: Any) -> dict[str, Any]:
    """Return the values of each parameter of each activity.

    Parameters
    ----------
    ran : iterable of (str, str or None)
        Name of an activity, and its parameters as JSON.

    Returns
    -------
    dict of str to object
        ``activity.parameter`` to its value, to a list of its values where there were several.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, params in ran:
        given = json.loads(params) if params else {}
        for key, value in given.items() if isinstance(given, dict) else ():
            found.setdefault(f"{name}.{key}", {})[json.dumps(value, sort_keys=True)] = value
    return {
        key: next(iter(values.values())) if len(values) == 1 else [values[text] for text in sorted(values)]
        for key, values in found.items()
    }


def _given(run: str, then: Moment) -> dict[str, Any]:
    return {"run": run, "at": then[0], "as_of": FOREVER if then[1] is None else then[1]}


def _activities(store: Store, run: str, then: Moment) -> list[tuple[str, str | None, str | None]]:
    rows: list[tuple[str, str | None, str | None]] = store._connected.execute(
        "select name, function, params from activity_rows where run = $run and snapshot <= $at "
        "and epoch_ns(begin_time) <= $as_of order by name, begin_time",
        _given(run, then),
    ).fetchall()
    return rows


#: What was declared or begun in a run.
_OF_RUN = """(
    select id from occurrences where run = $run and snapshot <= $at and epoch_ns(time) <= $as_of
    union select id from activity_rows where run = $run and snapshot <= $at and epoch_ns(begin_time) <= $as_of)
"""


def _inputs(store: Store, run: str, then: Moment) -> dict[str, Any]:
    """Return what a run took from elsewhere, by kind and name: its sources, and what other runs had made."""
    rows = store._connected.execute(
        f"""
        with mine as {_OF_RUN}, taken as (
            select e.parent as id from {HOLDING} e where e.child in (from mine) and e.relation <> 'same-content'
            union select id from mine)
        select kind, name, version from version_rows
        where id in (from taken) and (run is null or run <> $run) and placeholder is null order by kind, name, version
        """,
        _given(run, then),
    ).fetchall()
    found: dict[str, list[str]] = {}
    for kind, name, version in rows:
        found.setdefault(format_reference(kind, name), []).append(format_reference(kind, name, version))
    return {key: refs[0] if len(refs) == 1 else refs for key, refs in found.items()}


def _outputs(store: Store, run: str, then: Moment) -> dict[str, tuple[Node, str | None]]:
    """Return the last version of each name that a run made, with the digest of its content."""
    rows = store._connected.execute(
        f"select id, uid, kind, name, version, digest from version_rows where run = $run and id in {_OF_RUN} "
        "qualify row_number() over (partition by kind, name order by step desc, version desc) = 1 "
        "order by kind, name",
        _given(run, then),
    ).fetchall()
    return {format_reference(row[2], row[3]): (Node(*row[:5]), row[5]) for row in rows}


def _arrays(
    store: Store, a: dict[str, tuple[Node, str | None]], b: dict[str, tuple[Node, str | None]]
) -> Iterator[ArrayDifference]:
    for key in sorted(a.keys() & b.keys()):
        (old, before), (new, after) = a[key], b[key]
        if before is None or before == after:
            continue
        for each in arrays_of(store, old, new)[0]:
            values = {name: getattr(each, name) for name in ArrayDifference.__slots__}
            yield ArrayDifference(**values | {"name": f"{key} {each.name}".rstrip()})


def _declared_in(store: Store, run: str, then: Moment) -> dict[int, str]:
    rows = store._connected.execute(
        f"select id, kind, name, version from nodes where id in {_OF_RUN} and kind <> '{ACTIVITY_KIND}' "
        "order by kind, name, version",
        _given(run, then),
    ).fetchall()
    return {row[0]: format_reference(*row[1:]) for row in rows}
