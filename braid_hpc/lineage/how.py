"""How something was made: the steps that led to it, in an order in which they could be done again."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.answered import plain
from braid_hpc.lineage.completeness import said
from braid_hpc.lineage.ground import Ground, edges_by_refs
from braid_hpc.lineage.missing import Missing
from braid_hpc.lineage.of_file import reference_of
from braid_hpc.lineage.order import in_order
from braid_hpc.lineage.pictured import Pictured, Source
from braid_hpc.store.holding import FOREVER, appeared
from braid_hpc.store.runs import RunFacts, run_facts
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Relation
from braid_hpc.vocabulary.encoding import to_jsonable

if TYPE_CHECKING:
    import os

    from braid_hpc.store.store import Store

__all__ = ["How", "Step", "how"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done.

    Attributes
    ----------
    ref : str
        An activity; or a version that a run derived from others outside any activity.
    function : str or None
        Qualified name of a decorated function.
    params : dict or None
        As they were given; None for a version.
    run : str or None
        The run.
    rank : int or None
        None without a launcher.
    host : str or None
        Where.
    begin, end : datetime or None
        UTC, without a zone. Of a version, `begin` is its first declaration.
    status : str or None
        ``ok``, ``failed``, ``exited``, ``unfinished``; None for a version.
    error : str or None
        Type and message of the exception.
    within : str or None
        The activity that it was begun in.
    inputs, outputs : tuple of str
        What it used or was derived from; what it generated, also what did not lead to the thing asked for.
    """

    ref: str
    function: str | None
    params: dict[str, Any] | None
    run: str | None
    rank: int | None
    host: str | None
    begin: datetime.datetime | None
    end: datetime.datetime | None
    status: str | None
    error: str | None
    within: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class How(Pictured):
    """How something was made.

    Attributes
    ----------
    ref : str
        What was asked for.
    steps : list of Step
        Each after those that made what it needs; of several that could be next, the one that began first.
    sources : list of str
        What none of the steps made.
    runs : list of RunFacts
        Code and environment of the runs that the steps belong to.
    cycles : list of list of str
        References of nodes that feed each other, which no order is right for.
    nodes : list of LineageNode
        All that led to it, by distance; what was asked for is the first.
    edges : list of LineageEdge
        Among these nodes.
    missing : list of Missing
        Logs that may hide steps.
    """

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = (
        *(("ref", "text"), ("function", "text"), ("params", "text"), ("run", "text"), ("rank", "int")),
        *(("host", "text"), ("begin", "time"), ("end", "time"), ("status", "text"), ("error", "text")),
        *(("within", "text"), ("inputs", "texts"), ("outputs", "texts")),
    )

    ref: str
    steps: list[Step]
    sources: list[str]
    runs: list[RunFacts]
    cycles: list[list[str]]
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    missing: list[Missing]
    source: Source

    @property
    def complete(self) -> bool:
        """Whether every log that could add a step is complete."""
        return not self.missing

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            ``ref``, ``steps``, ``sources``, ``runs``, ``cycles``, ``complete``, ``missing``; times are texts.
        """
        return {
            "ref": self.ref,
            "steps": [_plain_step(step) for step in self.steps],
            "sources": self.sources,
            "runs": [run.to_dict() | {"argv": list(run.argv), "hosts": list(run.hosts)} for run in self.runs],
            "cycles": self.cycles,
            "complete": self.complete,
            "missing": plain(self.missing),
        }

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return a row for each step.

        Returns
        -------
        columns : tuple of str
            Names; ``params`` is JSON.
        rows : list of dict
            Plain values.
        """
        rows = [
            {name: getattr(step, name) for name in Step.__slots__}
            | {
                "params": None if step.params is None else json.dumps(to_jsonable(step.params), ensure_ascii=False),
                "inputs": list(step.inputs),
                "outputs": list(step.outputs),
            }
            for step in self.steps
        ]
        return Step.__slots__, rows

    def __str__(self) -> str:
        """Return it as lines of text."""
        lines = [f"{self.ref}: {len(self.steps):,} step{'' if len(self.steps) == 1 else 's'}"]
        lines.extend(line for number, step in enumerate(self.steps, 1) for line in _step_lines(number, step))
        if self.sources:
            lines.append(f"from {', '.join(self.sources)}")
        for run in self.runs:
            lines.extend(_run_lines(run))
        lines.extend(f"no order is right for {', '.join(cycle)}: they feed each other" for cycle in self.cycles)
        lines.extend(f"incomplete: {said(each)}" for each in self.missing)
        return "\n".join(line.replace("\n", "⏎") for line in lines)


def _plain_step(step: Step) -> dict[str, Any]:
    values = {name: getattr(step, name) for name in Step.__slots__}
    values |= {"params": to_jsonable(step.params), "inputs": list(step.inputs), "outputs": list(step.outputs)}
    return values | {name: _time(values[name]) for name in ("begin", "end")}


def _time(time: datetime.datetime | None) -> str | None:
    return None if time is None else time.isoformat() + "Z"


def _step_lines(number: int, step: Step) -> list[str]:
    rank = "" if step.rank is None else f"rank {step.rank} "
    place = f"{rank}on {step.host}" if step.host else rank.rstrip()
    begin = _time(step.begin) or "at an unknown time"
    status = "" if step.status in (None, "ok") else f", {step.status}{f': {step.error}' if step.error else ''}"
    lines = [f"{number:>3}. {step.ref}{status}", f"     {begin} {place}, run {(step.run or '?')[:8]}"]
    if step.function:
        lines.append(f"     function {step.function}")
    if step.params:
        lines.append(f"     params {json.dumps(to_jsonable(step.params), ensure_ascii=False)}")
    if step.within:
        lines.append(f"     within {step.within}")
    lines.extend(f"     <- {each}" for each in step.inputs)
    lines.extend(f"     -> {each}" for each in step.outputs if each != step.ref)
    return lines


def _run_lines(run: RunFacts) -> list[str]:
    ranks = f", {run.size} ranks" if run.size else ""
    lines = [f"run {run.run[:8]} of {run.job}{ranks} on {', '.join(run.hosts)} by {run.user}"]
    code = {"script": run.script, "digest": run.script_digest, "git": run.git, "in": run.cwd}
    lines.extend(f"     {name} {value}" for name, value in code.items() if value)
    if run.argv:
        lines.append(f"     {' '.join(run.argv)}")
    packages = ", ".join(f"{name} {version}" for name, version in run.packages.items())
    lines.append(f"     Python {run.python}{f', {packages}' if packages else ''}")
    return lines + ([f"     {run.mpi_library}"] if run.mpi_library else [])


def how(store: Store, reference: str | os.PathLike[str], *, at: int | None, as_of: Any) -> How:
    """Find the steps that led to something; see :meth:`braid_hpc.Store.how`.

    Parameters
    ----------
    store : Store
        Open.
    reference, at, as_of
        As there.

    Returns
    -------
    How
        The answer.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    ground = Ground.of(store, at=at, as_of=as_of)
    root, others = ground.resolve(reference_of(store, reference, at=at, as_of=as_of))
    found = ground.walk(ground.starts(root, others), edges=True)
    distance = dict(found.distance)
    edges = list(found.edges)
    listed = ground.listed(distance)
    activities = [node for node in distance if listed[node].kind == ACTIVITY_KIND]
    made, derived = ({c for c, _, r in edges if r == relation} for relation in (Relation.GENERATED, Relation.DERIVED))
    declared = sorted(derived - made - set(activities))
    times = appeared(store._connected, list(distance), at=ground.at)
    steps = {*activities, *declared}
    # What is not a step goes as soon as it can, so that the steps alone are put in the order of their times.
    rank = {node: (1, times.get(node, 0)) if node in steps else (0, 0) for node in distance}
    order, cycles = in_order(rank, ((child, parent) for child, parent, _ in edges))
    facts = {**_activities(ground, activities), **_declared(ground, declared)}
    near = _near(ground, edges, activities, listed)
    given = [
        Step(listed[node].ref, **facts[node], inputs=near[0].get(node, ()), outputs=near[1].get(node, ()))
        for node in order
        if node in steps
    ]
    runs = sorted({step.run for step in given if step.run})
    return How(
        root.ref,
        given,
        [listed[node].ref for node in order if node not in steps and node not in made],
        run_facts(store._connected, runs, ground.at),
        [[listed[node].ref for node in cycle] for cycle in cycles],
        sorted(listed.values(), key=lambda node: (node.distance, node.ref != root.ref, node.ref)),
        edges_by_refs(edges, listed),
        ground.missing(distance, root),
        ground.source,
    )


def _near(
    ground: Ground, edges: list[tuple[int, int, str]], activities: list[int], listed: dict[int, LineageNode]
) -> tuple[dict[int, tuple[str, ...]], dict[int, tuple[str, ...]]]:
    """Return the inputs and the outputs of steps."""
    generated = [edge for edge in ground.walk(activities, down=True, depth=1, edges=True).edges if activities]
    generated = [edge for edge in generated if edge[2] == Relation.GENERATED]
    further = ground.nodes([child for child, _, _ in generated if child not in listed])
    refs = {node: each.ref for node, each in listed.items()} | {node: each.ref for node, each in further.items()}
    inputs: dict[int, set[str]] = {}
    outputs: dict[int, set[str]] = {}
    for child, parent, relation in edges:
        if relation != Relation.GENERATED:
            inputs.setdefault(child, set()).add(refs[parent])
            if listed[child].kind != ACTIVITY_KIND:
                outputs[child] = {refs[child]}
    for child, parent, _ in generated:
        outputs.setdefault(parent, set()).add(refs[child])
    return tuple({node: tuple(sorted(each)) for node, each in near.items()} for near in (inputs, outputs))  # type: ignore[return-value]


def _activities(ground: Ground, ids: list[int]) -> dict[int, dict[str, Any]]:
    rows = ground.store._rows(
        """
        select a.id, a.function, a.params, a.run, w.rank, w.header ->> '$.host' as host, a.begin_time as begin,
            e.end_time as end, coalesce(e.status, 'unfinished') as status, e.error, o.name as outer_name,
            o.version as outer_version
        from activity_rows a join writers w using (writer) left join (
            select *, row_number() over (
                partition by begun_by, begun_at order by writer <> begun_by, writer, sequence) as choice
            from activity_ends where snapshot <= $at and epoch_ns(end_time) <= $as_of) e
            on a.writer = e.begun_by and a.sequence = e.begun_at and e.choice = 1
        left join (
            select child, min(parent) as parent from edge_rows
            where relation = 'wasStartedBy' and snapshot <= $at group by child) c on c.child = a.id
        left join activity_rows o on o.id = c.parent
        where a.id in (select unnest($ids::bigint[]))
        """,
        {"ids": ids, "at": ground.at, "as_of": FOREVER if ground.as_of is None else ground.as_of},
    )
    from braid_hpc.vocabulary.references import format_reference

    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        outer, version = row.pop("outer_name"), row.pop("outer_version")
        row["within"] = None if outer is None else format_reference(ACTIVITY_KIND, outer, version)
        row["params"] = None if row["params"] is None else json.loads(row["params"])
        found[row.pop("id")] = row
    return found


def _declared(ground: Ground, ids: list[int]) -> dict[int, dict[str, Any]]:
    rows = ground.store._rows(
        """
        select o.id, arg_min(o.run, (o.time, o.writer, o.sequence)) as run,
            arg_min(w.rank, (o.time, o.writer, o.sequence)) as rank,
            arg_min(w.header ->> '$.host', (o.time, o.writer, o.sequence)) as host, min(o.time) as begin
        from occurrences o join writers w using (writer)
        where o.snapshot <= $at and o.id in (select unnest($ids::bigint[])) group by o.id
        """,
        {"ids": ids, "at": ground.at},
    )
    none = dict.fromkeys(("function", "params", "end", "status", "error", "within"))
    unseen = dict.fromkeys(("run", "rank", "host", "begin"))
    return {node: {**none, **unseen} for node in ids} | {row.pop("id"): {**none, **row} for row in rows}
