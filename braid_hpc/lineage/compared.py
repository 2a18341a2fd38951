"""Comparing two things of a store: versions, activities, runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.lineage.ground import Ground
from braid_hpc.lineage.parts import parted
from braid_hpc.store.diff import by_key, diff
from braid_hpc.store.diff_runs import code_and_environment, diff_runs
from braid_hpc.store.differences import Comparison, Difference, FactDifference
from braid_hpc.store.holding import FOREVER, HOLDING
from braid_hpc.store.runs import RUN_PREFIX, resolve_run, run_facts
from braid_hpc.vocabulary.codes import ACTIVITY_KIND
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.resolve import Node
    from braid_hpc.store.store import Store

__all__ = ["compare"]


def compare(store: Store, a: str, b: str, *, at: Any, as_of: Any) -> Difference | Comparison:
    """Compare two things; see :meth:`braid_hpc.Store.diff`.

    Parameters
    ----------
    store : Store
        Open.
    a, b, at, as_of
        As there.

    Returns
    -------
    Difference or Comparison
        The first for two versions.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError, CorruptLogError
        As there.
    """
    grounds = [
        Ground.of(store, at=each, as_of=time) for each, time in zip(_pair(at, "at"), _pair(as_of, "as_of"), strict=True)
    ]
    one, other = (_named(ground, text) for ground, text in zip(grounds, (a, b), strict=True))
    then = (grounds[0].at, grounds[0].as_of), (grounds[1].at, grounds[1].as_of)
    if isinstance(one, str) and isinstance(other, str):
        return diff_runs(store, one, other, then=then)
    if isinstance(one, str) or isinstance(other, str):
        raise InvalidInputError(f"{_said(a)} and {_said(b)} are a run and something else: compare two runs, or neither")
    kinds = {one.kind == ACTIVITY_KIND, other.kind == ACTIVITY_KIND}
    if len(kinds) > 1:
        raise InvalidInputError(
            f"{one.ref} and {other.ref} are an activity and a version: compare two versions, or two activities"
        )
    same_sort = _activities(grounds, one, other) if kinds == {True} else diff(store, one, other, at=then)
    return _with_sets(same_sort, grounds, one, other)


def _pair(given: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(given, (tuple, list)):
        return given, given
    if len(given) != 2:
        raise InvalidInputError(f"{name}= is for both, or a pair of one for each: not {len(given)} of them")
    return given[0], given[1]


def _said(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def _named(ground: Ground, text: str) -> Node | str:
    """Return a version, an activity, or the id of a run."""
    if isinstance(text, str) and text.startswith(RUN_PREFIX):
        try:
            return resolve_run(ground.store._connected, text, ground.at)
        except NotFoundError as missing:
            try:
                # A record may be of a kind that is called run.
                return ground.resolve(text)[0]
            except NotFoundError:
                raise missing from None
    try:
        return ground.resolve(text)[0]
    except NotFoundError as missing:
        try:
            return resolve_run(ground.store._connected, text, ground.at)
        except NotFoundError:
            raise missing from None


def _activities(grounds: list[Ground], a: Node, b: Node) -> Comparison:
    old, new = (_ran(ground, node) for ground, node in zip(grounds, (a, b), strict=True))
    facts: list[FactDifference] = []
    if old["run"] != new["run"]:
        said = [
            run_facts(g.store._connected, [each["run"]], g.at)[0] for g, each in zip(grounds, (old, new), strict=True)
        ]
        facts += code_and_environment(*said)
    facts += by_key("code", *({"function": each["function"]} for each in (old, new)))
    facts += by_key("params", *(json.loads(each["params"] or "{}") for each in (old, new)))
    facts += by_key("environment", *({"rank": each["rank"], "host": each["host"]} for each in (old, new)))
    facts += by_key("result", *({key: each[key] for key in ("status", "error", "result")} for each in (old, new)))
    facts += by_key("input", *({"": each["inputs"]} for each in (old, new)))
    facts += by_key("output", *({"": each["outputs"]} for each in (old, new)))
    return Comparison("activities", a.ref, b.ref, tuple(facts), (), (), (), (), 0)


def _ran(ground: Ground, node: Node) -> dict[str, Any]:
    given = {"id": node.id, "at": ground.at, "as_of": FOREVER if ground.as_of is None else ground.as_of}
    (row,) = ground.store._rows(
        """
        select a.run, a.function, a.params, w.rank, w.header ->> '$.host' as host,
            coalesce(e.status, 'unfinished') as status, e.error, e.result
        from activity_rows a join writers w using (writer) left join (
            select *, row_number() over (partition by begun_by, begun_at order by writer <> begun_by, writer, sequence)
                as choice
            from activity_ends where snapshot <= $at and epoch_ns(end_time) <= $as_of) e
            on a.writer = e.begun_by and a.sequence = e.begun_at and e.choice = 1
        where a.id = $id
        """,
        given,
    )
    for name, near, far, relation in (
        ("inputs", "child", "parent", "used"),
        ("outputs", "parent", "child", "wasGeneratedBy"),
    ):
        rows = ground.store._connected.execute(
            f"select distinct n.kind, n.name, n.version from {HOLDING} e join nodes n on n.id = e.{far} "
            f"where e.{near} = $id and e.relation = '{relation}' "
            "and n.id not in (select id from filled where snapshot <= $at) order by all",
            given,
        ).fetchall()
        row[name] = [format_reference(*each) for each in rows]
    return row


def _with_sets(found: Difference | Comparison, grounds: list[Ground], a: Node, b: Node) -> Difference | Comparison:
    """Add what fed only one of them, and what fed both."""
    only_a, only_b, both = parted(*(ground.walk([node.id]).nodes for ground, node in zip(grounds, (a, b), strict=True)))
    parts = [
        tuple(node.ref for node in ground.nodes(np.sort(ids).tolist()).values())
        for ground, ids in ((grounds[0], only_a), (grounds[1], only_b), (grounds[0], both))
    ]
    if isinstance(found, Comparison):
        return replace(found, only_a=parts[0], only_b=parts[1], shared=parts[2], shared_count=len(parts[2]))
    return replace(found, only_a=parts[0], only_b=parts[1], shared=parts[2])
