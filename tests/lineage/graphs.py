"""Random graphs as a store's tables hold them, and what a walk over them must find, said in plain sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import strategies as st

from braid_hpc.lineage.validity import invalid_nodes
from braid_hpc.store.exact import rows_of
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.store.store import Store
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.codes import Relation

__all__ = [
    *("GRAPHS", "NODES", "SNAPSHOTS", "TIMES", "Drawn", "Stated", "Taken"),
    *("as_store", "closed", "fill", "highest", "holding", "reach", "until"),
]

NODES, SNAPSHOTS, TIMES = 7, 3, 9

#: The relations of edges that are stated.
STATED = [relation for relation in Relation if relation is not Relation.SAME_CONTENT]


@dataclass(frozen=True)
class Stated:
    """An edge, once said."""

    child: int
    parent: int
    relation: Relation
    snapshot: int
    time: int


@dataclass(frozen=True)
class Taken:
    """A retraction; of every relation where none is named."""

    child: int
    parent: int
    relation: Relation | None
    snapshot: int
    time: int


@dataclass(frozen=True)
class Drawn:
    """What the tables hold. `seen` has node, snapshot, time; `filled` has placeholder, node."""

    seen: list[tuple[int, int, int]]
    stated: list[Stated]
    taken: list[Taken]
    equal: list[tuple[int, int, int]]
    filled: list[tuple[int, int]]


_NODE, _SNAPSHOT, _TIME = st.integers(1, NODES), st.integers(1, SNAPSHOTS), st.integers(1, TIMES - 1)


@st.composite
def _graphs(draw: Any) -> Drawn:
    # A node without an occurrence is a placeholder; some of these are filled by the occurrences of another node.
    seen = draw(st.lists(st.tuples(_NODE, _SNAPSHOT, _TIME), max_size=14))
    stated = draw(st.lists(st.builds(Stated, _NODE, _NODE, st.sampled_from(STATED), _SNAPSHOT, _TIME), max_size=16))
    taken = draw(
        st.lists(
            st.builds(Taken, _NODE, _NODE, st.one_of(st.none(), st.sampled_from(STATED)), _SNAPSHOT, _TIME), max_size=3
        )
    )
    if stated:
        # Retractions of what was stated, and statements of what was stated before: alone they would hardly ever meet.
        for edge, kind, snapshot, time in draw(
            st.lists(st.tuples(st.sampled_from(stated), st.integers(0, 2), _SNAPSHOT, _TIME), max_size=6)
        ):
            if kind == 2:
                stated = [*stated, Stated(edge.child, edge.parent, edge.relation, snapshot, time)]
            else:
                taken.append(Taken(edge.child, edge.parent, edge.relation if kind else None, snapshot, time))
    first: dict[int, int] = {}
    for node, snapshot, _ in seen:
        first[node] = min(snapshot, first.get(node, snapshot))
    open_ones = [node for node in range(1, NODES + 1) if node not in first]
    filled = draw(st.lists(st.tuples(st.sampled_from(open_ones), _NODE), max_size=2)) if open_ones else []

    def known(child: int, parent: int, snapshot: int) -> int:
        """No snapshot brings an edge, or a statement about one, before its nodes."""
        brought: int = max(snapshot, first.get(child, 1), first.get(parent, 1))
        return brought

    return Drawn(
        seen,
        [replace(edge, snapshot=known(edge.child, edge.parent, edge.snapshot)) for edge in stated],
        [replace(each, snapshot=known(each.child, each.parent, each.snapshot)) for each in taken],
        [
            (child, parent, known(child, parent, snapshot))
            for child, parent, snapshot in draw(st.lists(st.tuples(_NODE, _NODE, _SNAPSHOT), max_size=3))
        ],
        [(place, node) for place, node in dict(filled).items() if node in first],
    )


GRAPHS = _graphs()


def until(graph: Drawn, snapshot: int) -> Drawn:
    """What the tables held at a snapshot."""
    return Drawn(
        [each for each in graph.seen if each[1] <= snapshot],
        [each for each in graph.stated if each.snapshot <= snapshot],
        [each for each in graph.taken if each.snapshot <= snapshot],
        [each for each in graph.equal if each[2] <= snapshot],
        graph.filled,
    )


def highest(graph: Drawn) -> int:
    """The highest node that anything is said of."""
    ends = [end for edge in graph.stated for end in (edge.child, edge.parent)]
    ends += [end for taken in graph.taken for end in (taken.child, taken.parent)]
    ends += [end for child, parent, _ in graph.equal for end in (child, parent)]
    return max([node for node, *_ in graph.seen] + ends, default=1)


def fill(connection: Any, graph: Drawn, nodes: int = NODES) -> None:
    """Let the tables hold a graph of so many nodes, and nothing else."""
    tables = ("version_rows", "occurrences", "edge_rows", "content_rows", "retraction_rows")
    connection.execute(";".join(f"delete from {table}" for table in tables))
    first: dict[int, int] = {}
    place = dict(graph.filled)
    sequence = {node: 100 + node for node in range(1, NODES + 1)}
    rows = [
        (node, f"{node:032x}", f"n{node}", f"w:{sequence[place[node]]}" if node in place else None)
        for node in range(1, nodes + 1)
    ]
    connection.execute(
        "insert into version_rows (id, uid, kind, name, version, weak, placeholder, snapshot) values "
        + ",".join(f"({i}, '{uid}', 'data', '{name}', 1, false, {quoted(at)}, 1)" for i, uid, name, at in rows)
    )
    seen: list[str] = []
    for node, snapshot, time in sorted(graph.seen, key=lambda each: each[1]):
        number = sequence[node] if node not in first else 1000 + len(seen)
        first.setdefault(node, snapshot)
        seen.append(f"('w', {number}, {node}, '', 1, 0, make_timestamp_ns({time}), {snapshot})")
    _insert(connection, "occurrences (writer, sequence, id, run, step, state, time, snapshot)", seen)
    _insert(
        connection,
        "edge_rows",
        [
            f"({e.child}, {e.parent}, '{e.relation}', 'w', 1, null, make_timestamp_ns({e.time}), {e.snapshot})"
            for e in graph.stated
        ],
    )
    _insert(connection, "content_rows", [f"({child}, {parent}, {at})" for child, parent, at in graph.equal])
    _insert(
        connection,
        "retraction_rows",
        [
            f"('{i}', {t.child}, {t.parent}, {quoted(t.relation)}, '', '', '', make_timestamp_ns({t.time}), 'w', 1, "
            f"{t.snapshot})"
            for i, t in enumerate(graph.taken)
        ],
    )


def quoted(text: str | None) -> str:
    """A literal of SQL."""
    return "null" if text is None else f"'{text}'"


def _insert(connection: Any, table: str, rows: list[str]) -> None:
    if rows:
        connection.execute(f"insert into {table} values {','.join(rows)}")


def as_store(
    connection: Any,
    index: Any = None,
    resolved: Callable[[str, int, int | None], tuple[Node, list[Node]]] | None = None,
) -> Store:
    """Give the part of a store that questions stand on, over tables that were filled by hand."""
    plain = SimpleNamespace(
        _connected=connection,
        adjacency=index,
        path=Path("none"),
        _files=SimpleNamespace(path=Path("none")),
        sql=lambda query, given: Table(connection.sql(query, params=given).to_arrow_table()),
        _rows=lambda query, given: rows_of(connection, query, given),
        _at=lambda at: at,
        _as_of=lambda as_of: as_of,
        _once=lambda key, ask: ask(),
        _resolved=resolved or (lambda text, at, as_of: resolve(connection, text, at, as_of)),
        judgements=lambda *, at, as_of: invalid_nodes(connection, at=at, as_of=as_of, index=index),
    )
    return cast("Store", plain)


def holding(graph: Drawn, *, at: int, as_of: int) -> set[tuple[int, int, Relation]]:
    """Every edge that was known, stated and not retracted: the definition, edge by edge."""
    found = {(c, p, Relation.SAME_CONTENT) for c, p, snapshot in graph.equal if snapshot <= at}
    for edge in graph.stated:
        gone = any(
            (t.child, t.parent) == (edge.child, edge.parent)
            and t.relation in (None, edge.relation)
            and t.snapshot <= at
            and edge.time <= t.time <= as_of
            for t in graph.taken
        )
        if edge.snapshot <= at and edge.time <= as_of and not gone:
            found.add((edge.child, edge.parent, edge.relation))
    return found


def closed(graph: Drawn, *, at: int, as_of: int) -> tuple[set[int], dict[int, int]]:
    """Nodes that are not entered, and when each node was first seen."""
    times: dict[int, int] = {}
    snapshots: dict[int, int] = {}
    for node, snapshot, time in graph.seen:
        snapshots[node] = min(snapshot, snapshots.get(node, snapshot))
        if snapshot <= at:
            times[node] = min(time, times.get(node, time))
    shut = {place for place, node in graph.filled if snapshots[node] <= at}
    return shut | {node for node, time in times.items() if time > as_of}, times


def reach(
    graph: Drawn, start: int, *, down: bool, at: int, as_of: int, relations: tuple[Relation, ...]
) -> tuple[dict[int, int], set[tuple[int, int, str]]]:
    """Distance of each node that a walk reaches, and the edges between them: the definition, edge by edge."""
    holds = holding(graph, at=at, as_of=as_of)
    shut, times = closed(graph, at=at, as_of=as_of)
    if times.get(start, as_of) > as_of:
        return {start: 0}, set()
    distance, frontier = {start: 0}, {start}
    while frontier:
        level = max(distance.values()) + 1
        ahead = {c if down else p for c, p, r in holds if (p if down else c) in frontier and r in relations}
        frontier = ahead - distance.keys() - shut
        distance.update(dict.fromkeys(frontier, level))
    kept = {(c, p, str(r)) for c, p, r in holds if r in relations and c in distance and p in distance}
    return distance, kept
