"""All that a store says of one node, and tags as what they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.codes import ACTIVITY_KIND
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["describe", "tags_of"]


def tags_of(store: Store, ids: list[int]) -> dict[int, dict[str, Any]]:
    """Return the tags of some nodes, each value as what it was.

    Parameters
    ----------
    store : Store
        Open.
    ids : list of int
        Dense ids.

    Returns
    -------
    dict of int to dict
        Key to str, int, float or bool; to a list of these where a key was given several values.
    """
    rows = store.sql(
        "select id, key, type, text from tags where id in (select unnest(?::bigint[])) order by id, key, text", [ids]
    )
    found: dict[int, dict[str, list[Any]]] = {}
    for row in rows:
        found.setdefault(row["id"], {}).setdefault(row["key"], []).append(_typed(row["type"], row["text"]))
    # What was said twice, and differently, is there with both.
    return {
        node: {key: given[0] if len(given) == 1 else given for key, given in values.items()}
        for node, values in found.items()
    }


def _typed(kind: str, text: str) -> Any:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        return text == "true"
    return json.loads(text) if kind == "json" else text


def describe(store: Store, reference: str) -> dict[str, Any]:
    """Return all that a store says of one node.

    Parameters
    ----------
    store : Store
        Open.
    reference : str
        A version or an activity.

    Returns
    -------
    dict
        Plain values; what does not apply is left out.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As :meth:`Store.get`.
    """
    node = store.get(reference)
    table = "activities" if node.kind == ACTIVITY_KIND else "versions"
    columns = store.sql(f"select * exclude (id, snapshot) from {table} where id = ?", [node.id]).to_pylist()[0]
    facts: dict[str, Any] = {"ref": node.ref, "id": f"id:{node.uid}"}
    facts.update({key: value for key, value in columns.items() if value is not None and key not in ("uid", "name")})
    for name in ("value", "params", "result"):
        if isinstance(facts.get(name), str):
            facts[name] = json.loads(facts[name])
    facts["tags"] = tags_of(store, [node.id]).get(node.id)
    facts["uris"] = store.sql("select uri from uris where id = ? order by position, uri", [node.id])["uri"]
    for name, near, far in (("parents", "child", "parent"), ("children", "parent", "child")):
        edges = store.sql(
            f"select e.relation, n.kind, n.name, n.version from edges e join nodes n on n.id = e.{far} "
            f"where e.{near} = ? order by all",
            [node.id],
        )
        facts[name] = [
            f"{format_reference(row['kind'], row['name'], row['version'])} ({row['relation']})" for row in edges
        ]
    judgement = store.judgements().get(node.id)
    facts["valid"] = judgement is None
    facts["cause"] = None if judgement is None else judgement.cause
    ranks = store.sql(
        "select distinct w.rank, w.run from occurrences o join writers w using (writer) where o.id = ? order by all",
        [node.id],
    )
    facts["declared by"] = [f"rank {row['rank']} of run {row['run'][:8]}" for row in ranks]
    return {key: value for key, value in facts.items() if value not in (None, [], {})}
