"""What a search means, in plain Python, over rows that were fetched from a store."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator
from typing import Any

from braid_hpc.queries.fields import OF_SCANS, Field, Holds
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.tree import And, Condition, Not, Or, Query
from braid_hpc.store.finding import typed
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.identifiers import canonical
from braid_hpc.vocabulary.times import nanoseconds

Row = dict[str, Any]


def holds(query: Query, row: Row) -> bool:
    """Say whether a search holds of a row."""
    if isinstance(query, And):
        return all(holds(part, row) for part in query.parts)
    if isinstance(query, Or):
        return any(holds(part, row) for part in query.parts)
    if isinstance(query, Not):
        return not holds(query.part, row)
    assert isinstance(query, Condition)
    found = list(_values(query.field, row))
    if query.operator is Operator.EXISTS:
        return bool(found)
    if query.operator is Operator.NE:
        return not any(compares(query, Operator.EQ, value, query.value) for value in found)
    if query.operator is Operator.IN:
        assert isinstance(query.value, tuple)
        return any(compares(query, Operator.EQ, value, one) for value in found for one in query.value)
    return any(compares(query, query.operator, value, query.value) for value in found)


def _values(field: Field, row: Row) -> Iterator[Any]:
    if field.name in OF_SCANS:
        # The stores that this is asked of have no documents; tests/store/scan_oracle.py is for those that have.
        return
    if field.key is None:
        given = row.get(field.name)
    elif field.name in ("param", "value"):
        given = _inside(row.get({"param": "params", "value": "value"}[field.name]), field.key)
    else:
        given = row[field.name + "."].get(field.key)
    yield from (each for each in (given if isinstance(given, list) else [given]) if each is not None)


def _inside(value: Any, key: str) -> list[Any]:
    whole = value.get(key) if isinstance(value, dict) else None
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return [whole, value]


def compares(query: Condition, operator: Operator, value: Any, given: Any) -> bool:
    kind = query.field.holds
    if kind is Holds.RUN:
        run, job = value
        if operator is not Operator.EQ:
            return any(_of_texts(query, operator, text, given) for text in (run, job))
        begins = len(given) >= 4 and run.startswith(given.lower()) and set(given.lower()) <= set("0123456789abcdef")
        return given == job or bool(begins)
    if kind is Holds.TIME:
        return _ordered(operator, value, nanoseconds(given))
    if kind is Holds.ID:
        return bool(value.startswith(given.lower()))
    if kind is Holds.URI and operator is Operator.EQ:
        return canonical(value) == canonical(given)
    if isinstance(value, str) or isinstance(given, str):
        return isinstance(value, str) and isinstance(given, str) and _of_texts(query, operator, value, given)
    if isinstance(value, bool) or isinstance(given, bool):
        return isinstance(value, bool) and isinstance(given, bool) and value == given
    if not isinstance(value, (int, float)):
        return False
    if value != value or given != given:
        return operator is Operator.EQ and value != value and given != given
    return _ordered(operator, value, given)


def _ordered(operator: Operator, value: Any, given: Any) -> bool:
    ways = {Operator.EQ: value == given, Operator.LT: value < given, Operator.LE: value <= given}
    return bool({**ways, Operator.GT: value > given, Operator.GE: value >= given}[operator])


def _of_texts(query: Condition, operator: Operator, value: str, given: str) -> bool:
    if operator is Operator.CONTAINS:
        return given in value
    if operator is Operator.LIKE:
        return fnmatch.fnmatchcase(value, given)
    if operator is Operator.MATCHES:
        return re.search(given, value) is not None
    if operator is Operator.SIMILAR:
        assert query.least is not None
        return jaro_winkler(value.encode(), given.encode()) >= query.least
    return _ordered(operator, value, given)


def jaro_winkler(one: bytes, other: bytes) -> float:
    """Give the similarity by its definition: equal letters near each other, less half of those out of order."""
    if not one or not other:
        return float(one == other)
    reach = max(max(len(one), len(other)) // 2 - 1, 0)
    taken: list[int] = []
    for at, letter in enumerate(one):
        near = range(max(0, at - reach), min(len(other), at + reach + 1))
        free = next((place for place in near if place not in taken and other[place] == letter), None)
        if free is not None:
            taken.append(free)
    if not taken:
        return 0.0
    left = list(_matched(one, other, reach))
    right = [other[place] for place in sorted(taken)]
    swapped = sum(a != b for a, b in zip(left, right, strict=True)) // 2
    same = len(taken)
    jaro = (same / len(one) + same / len(other) + (same - swapped) / same) / 3
    prefix = next((at for at, (a, b) in enumerate(zip(one[:4], other[:4], strict=False)) if a != b), None)
    prefix = min(len(one), len(other), 4) if prefix is None else prefix
    return jaro + prefix * 0.1 * (1 - jaro) if jaro > 0.7 else jaro


def _matched(one: bytes, other: bytes, reach: int) -> Iterator[int]:
    taken: set[int] = set()
    for at, letter in enumerate(one):
        for place in range(max(0, at - reach), min(len(other), at + reach + 1)):
            if place not in taken and other[place] == letter:
                taken.add(place)
                yield letter
                break


def rows_of(store: Store) -> dict[str, Row]:
    """Give every version and activity by its reference, with all that can be asked of it, from the public views."""
    runs = {row["run"]: row for row in _exact(store, "from runs")}
    members = {row["writer"]: row for row in _exact(store, "from ranks")}
    found: dict[int, Row] = {}
    for row in _exact(store, "from versions"):
        row["value"] = None if row["value"] is None else json.loads(row["value"])
        found[row["id"]] = row
    for row in _exact(store, "from activities"):
        row["params"] = None if row["params"] is None else json.loads(row["params"])
        found[row["id"]] = {**row, "kind": "activity", "time": row["begin_time"]}
    told: dict[int, set[str]] = {}
    for query in ("select id, writer from occurrences", "select id, writer from activities"):
        for row in _exact(store, query):
            told.setdefault(row["id"], set()).add(row["writer"])
    judged = store.judgements()
    for identity, row in found.items():
        writers = [members[writer] for writer in sorted(told.get(identity, ()))]
        mine = [runs[writer["run"]] for writer in writers]
        row |= {
            "valid": identity not in judged,
            "weak": bool(row.get("weak")),
            "placeholder": bool(row.get("placeholder")),
            "run": [(run["run"], run["job"]) for run in mine],
            "rank": [writer["rank"] for writer in writers],
            "host": [writer["host"] for writer in writers],
            "run.": {key: [run[key] for run in mine] for key in runs[next(iter(runs))]},
            "tag.": {},
            "uri": [],
        }
    for row in _exact(store, "from tags"):
        found[row["id"]]["tag."].setdefault(row["key"], []).append(typed(row["type"], row["text"]))
    for row in _exact(store, "from uris"):
        found[row["id"]]["uri"].append(row["uri"])
    return {store.get(f"id:{row['uid']}").ref: row for row in found.values()}


def _exact(store: Store, query: str) -> list[Row]:
    """Give rows with their times in nanoseconds."""
    table = store.sql(query)
    times = [name for name in table.columns if name.endswith("time")]
    if times:
        table = store.sql(
            f"select * replace ({', '.join(f'epoch_ns({name}) as {name}' for name in times)}) {query}"
            if query.startswith("from")
            else query
        )
    return table.to_pylist()
