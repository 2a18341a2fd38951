"""Random graphs with statements on what is bad and what holds, and what these reach, said in plain sets."""

from __future__ import annotations

from typing import NamedTuple

import duckdb
from hypothesis import strategies as st

from braid_hpc.lineage.walk import CASCADED
from braid_hpc.vocabulary.codes import Relation

__all__ = [
    *("BADS", "EDGES", "GOODS", "NODE", "NODES", "SNAPSHOT", "TIME", "Bad", "Edge", "Good"),
    *("by_definition", "fill", "reached", "statements", "uid"),
]

#: Child, parent, relation, snapshot.
Edge = tuple[int, int, Relation, int]

NODES = 7


class Bad(NamedTuple):
    node: int
    time: int
    cascade: bool
    snapshot: int


class Good(NamedTuple):
    node: int
    time: int
    despite: int | None
    snapshot: int


NODE, TIME, SNAPSHOT = st.integers(1, NODES), st.integers(1, 6), st.integers(1, 3)
EDGES = st.lists(st.tuples(NODE, NODE, st.sampled_from(list(Relation)), SNAPSHOT), max_size=16)
BADS = st.lists(st.builds(Bad, NODE, TIME, st.booleans(), SNAPSHOT), max_size=5)
GOODS = st.lists(st.builds(Good, NODE, TIME, st.one_of(st.none(), st.integers(0, 4)), SNAPSHOT), max_size=4)


def uid(index: int) -> str:
    return f"{index:032x}"


def fill(
    connection: duckdb.DuckDBPyConnection,
    edges: list[Edge],
    bads: list[Bad],
    goods: list[Good],
) -> None:
    for table in ("edge_rows", "invalidation_rows", "revalidation_rows"):
        connection.execute(f"delete from {table}")
    for child, parent, relation, snapshot in edges:
        row = [child, parent, str(relation), snapshot]
        connection.execute("insert into edge_rows values (?, ?, ?, 'w', 1, null, make_timestamp_ns(0), ?)", row)
    for index, bad in enumerate(bads):
        row = [uid(index), bad.node, f"cause {index}", bad.cascade, bad.time, bad.snapshot]
        connection.execute(
            "insert into invalidation_rows values (?, ?, null, null, '', ?, ?, make_timestamp_ns(?), 'w', 1, ?)", row
        )
    for index, good in enumerate(goods):
        despite = None if good.despite is None else uid(good.despite)
        connection.execute(
            "insert into revalidation_rows values (?, ?, null, null, '', ?, make_timestamp_ns(?), 'w', 1, ?)",
            [f"f{index:031x}", good.node, despite, good.time, good.snapshot],
        )


def statements(bads: list[Bad], goods: list[Good], at: int, as_of: int) -> list[tuple[str, Bad, set[int]]]:
    """Cause, statement, and what holds in spite of it, of each that stands: by time, then id."""
    heard = [good for good in goods if good.snapshot <= at and good.time <= as_of]
    found = []
    for index, bad in sorted(enumerate(bads), key=lambda each: (each[1].time, uid(each[0]))):
        if bad.snapshot > at or bad.time > as_of:
            continue
        # The ids of those who take back begin with f, so at one time they come later.
        if any(good.node == bad.node and good.despite is None and good.time >= bad.time for good in heard):
            continue
        barred = {good.node for good in heard if good.despite == index}
        if bad.node not in barred:
            found.append((f"cause {index}", bad, barred))
    return found


def reached(edges: list[Edge], bad: Bad, barred: set[int], at: int) -> set[int]:
    """Every node that a statement reaches, level by level."""
    children = [(p, c) for c, p, relation, snapshot in edges if snapshot <= at and relation in CASCADED]
    found = {bad.node}
    while bad.cascade and (ahead := {c for p, c in children if p in found} - found - barred):
        found |= ahead
    return found


def by_definition(edges: list[Edge], bads: list[Bad], goods: list[Good], at: int, as_of: int) -> dict[int, str]:
    """The cause of each invalid node: for each statement, whatever others say."""
    found: dict[int, str] = {}
    for cause, bad, barred in statements(bads, goods, at, as_of):
        for node in reached(edges, bad, barred, at):
            found.setdefault(node, cause)
    return found
