"""What carries some tags, or lies at some place; and all that a store says of one node."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.rows import as_json, clean
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.codes import ACTIVITY_KIND
from braid_hpc.vocabulary.encoding import check_tags
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identifiers import canonical
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["describe", "find", "tags_of"]


def find(store: Store, tags: Mapping[str, Any] | None, *, uri: str | Iterable[str] | None, kind: str | None) -> Table:
    """Find versions by tags, uris and kind; see :meth:`braid_hpc.Store.find`.

    Parameters
    ----------
    store : Store
        Open.
    tags, uri, kind
        As there.

    Returns
    -------
    Table
        As there.

    Raises
    ------
    InvalidInputError
        As there.
    """
    places = _places(uri)
    if not tags and not places and kind is None:
        raise InvalidInputError("nothing is asked for: name tags, a uri or a kind")
    queries: list[str] = []
    values: list[Any] = []
    # As a recorder keeps them, or a NumPy number that was recorded would not be found by itself.
    for key, value in (check_tags(tags) or {}).items():
        query, given = _carries(key, value)
        queries.append(query)
        values.extend(given)
    for place in places:
        queries.append("select unnest(?::bigint[])")
        values.append(_lying_at(store, place))
    if kind is not None:
        queries.append("select id from versions where kind = ?")
        values.append(_kind(kind))
    return store.sql(
        "select id, kind, name, version, uid, time, digest from versions "
        f"where id in ({' intersect '.join(queries)}) order by kind, name, version",
        values,
    )


def _places(uri: str | Iterable[str] | None) -> list[str]:
    if uri is None:
        return []
    places = [uri] if isinstance(uri, str) or not isinstance(uri, Iterable) else list(uri)
    if not all(isinstance(place, str) for place in places):
        raise InvalidInputError(f"{uri!r} is no uri: give a text, or a list of texts")
    return [clean(place) for place in places]


def _kind(kind: object) -> str:
    if not isinstance(kind, str):
        raise InvalidInputError(f"{kind!r} cannot be a kind: it is a word such as 'data' or 'model'")
    return clean(kind)


def _carries(key: str, value: Any) -> tuple[str, list[Any]]:
    """Return the query for what carries a tag with one value, by the type of that."""
    values: list[Any] = [as_json(value) or "null"]
    query = "type = 'json' and text = ?"
    if isinstance(value, bool):
        query, values = "type = 'bool' and boolean = ?", [value]
    elif isinstance(value, str):
        query, values = "type = 'str' and text = ?", [clean(value)]
    elif isinstance(value, (int, float)):
        ways = _equal(value)
        query, values = f"({' or '.join(way for way, _ in ways)})", [found for _, found in ways]
    return f"select id from tags where key = ? and {query}", [clean(key), *values]


def _equal(value: float) -> list[tuple[str, Any]]:
    """Return how an equal number may stand in the table: as an int (its digits are exact at any size), as a float."""
    ways: list[tuple[str, Any]] = []
    if isinstance(value, int) or (math.isfinite(value) and value == int(value)):
        ways.append(("(type = 'int' and text = ?)", str(int(value))))
    try:
        real = float(value)
    except OverflowError:
        return ways
    if real == value or math.isnan(real):
        ways.append(("(type = 'float' and real = ?)", real))
    return ways


def _lying_at(store: Store, place: str) -> list[int]:
    """Return what has a uri, in any spelling that is the same by the standard of its scheme."""
    wanted = canonical(place)
    # Spellings differ by nothing but the case of ASCII letters.
    near = store.sql("select id, uri from uris where lower(uri) = lower(?)", [place])
    return sorted({row["id"] for row in near if canonical(row["uri"]) == wanted})


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
