"""All that a store says of one version or activity, at any moment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from braid_hpc.lineage.ground import Ground
from braid_hpc.store.annotations import annotations_about
from braid_hpc.store.finding import tags_of
from braid_hpc.store.holding import FOREVER
from braid_hpc.vocabulary.annotations import NOTE
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Relation

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["describe"]

_VERSION = """
    select v.uid, v.kind, v.version, v.run, v.step, v.digest, coalesce(v.size, o.size) as size, v.weak,
        o.dtype, o.shape, o.unit, o.value, o.first_time as time, coalesce(o.occurrences, 0) as occurrences,
        v.placeholder is not null as placeholder
    from version_rows v left join (
        select id, min(time) as first_time, count(*) as occurrences,
            arg_min(dtype, (writer, sequence)) filter (where dtype is not null) as dtype,
            arg_min(shape, (writer, sequence)) filter (where shape is not null) as shape,
            arg_min(unit, (writer, sequence)) filter (where unit is not null) as unit,
            arg_min(value, (writer, sequence)) filter (where value is not null) as value, max(size) as size
        from occurrences where snapshot <= $at and epoch_ns(time) <= $as_of group by id) o using (id)
    where v.id = $id
"""

_ACTIVITY = """
    select a.uid, a.version, a.run, w.rank, a.writer, a.sequence, a.function, a.params, a.begin_time, e.end_time,
        e.duration_ns, coalesce(e.status, 'unfinished') as status, e.error, e.result
    from activity_rows a join writers w using (writer) left join (
        select *, row_number() over (partition by begun_by, begun_at order by writer <> begun_by, writer, sequence)
            as choice
        from activity_ends where snapshot <= $at and epoch_ns(end_time) <= $as_of) e
        on a.writer = e.begun_by and a.sequence = e.begun_at and e.choice = 1
    where a.id = $id
"""


def describe(store: Store, reference: str, *, at: int | None = None, as_of: Any = None) -> dict[str, Any]:
    """Return all that a store says of one node; see :meth:`braid_hpc.Store.describe`.

    Parameters
    ----------
    store : Store
        Open.
    reference, at, as_of
        As there.

    Returns
    -------
    dict
        Plain values; what does not apply is left out.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As :meth:`Store.get`.
    """
    ground = Ground.of(store, at=at, as_of=as_of, relations=list(map(str, Relation)))
    node, _ = ground.resolve(reference)
    then = {"id": node.id, "at": ground.at, "as_of": FOREVER if ground.as_of is None else ground.as_of}
    (columns,) = store._rows(_ACTIVITY if node.kind == ACTIVITY_KIND else _VERSION, then)
    facts: dict[str, Any] = {"ref": node.ref, "id": f"id:{node.uid}"}
    facts.update({key: value for key, value in columns.items() if value is not None and key != "uid"})
    for name in ("value", "params", "result"):
        if isinstance(facts.get(name), str):
            facts[name] = json.loads(facts[name])
    facts["tags"] = tags_of(store, [node.id], at=at, as_of=as_of).get(node.id)
    said = annotations_about(store, node.id, store._then(at, as_of))
    facts["notes"] = [each.value for each in said if each.what == NOTE]
    uris = store._rows(
        "select distinct position, uri from uri_rows where id = $id and snapshot <= $at and epoch_ns(time) <= $as_of "
        "order by position, uri",
        then,
    )
    facts["uris"] = [row["uri"] for row in uris]
    for name, down in (("parents", False), ("children", True)):
        facts[name] = _next_to(ground, node.id, down=down)
    judgement = ground.judged().get(node.id)
    facts["valid"] = judgement is None
    facts["cause"] = None if judgement is None else judgement.cause
    ranks = store._rows(
        "select distinct w.rank, w.run from occurrences o join writers w using (writer) "
        "where o.id = $id and o.snapshot <= $at and epoch_ns(o.time) <= $as_of order by all",
        then,
    )
    facts["declared by"] = [f"rank {row['rank']} of run {row['run'][:8]}" for row in ranks]
    return {key: value for key, value in facts.items() if value not in (None, [], {})}


def _next_to(ground: Ground, node: int, *, down: bool) -> list[str]:
    near = ground.near(node, down=down)
    nodes = ground.nodes([other for other, _ in near])
    found = [(relation, nodes[other]) for other, relation in near if other in nodes]
    found.sort(key=lambda pair: (pair[0], pair[1].kind, pair[1].name, pair[1].version))
    return [f"{other.ref} ({relation})" for relation, other in found]
