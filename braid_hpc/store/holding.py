"""What holds at a snapshot and a time, asked of a store's tables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from braid_hpc.snapshots.schema import NODE_TIMES

__all__ = ["FOREVER", "HOLDING", "LATER", "absent_nodes", "appeared", "filled_nodes"]

#: Later than any time that a store holds, in nanoseconds since 1970.
FOREVER = (1 << 63) - 1

#: Child, parent and relation of every edge that the store knew at snapshot ``$at`` and that was stated by the time
#: ``$as_of`` and not retracted after that. One of equal content is no statement: it holds as
#: soon as both its ends are there.
HOLDING = """(
    select child, parent, relation from edge_rows e
    where snapshot <= $at and epoch_ns(time) <= $as_of and not exists (
        from retraction_rows r where r.child = e.child and r.parent = e.parent
        and (r.relation is null or r.relation = e.relation)
        and r.snapshot <= $at and epoch_ns(r.time) <= $as_of and r.time >= e.time)
    union all select child, parent, 'same-content' from content_rows where snapshot <= $at)
"""

#: The nodes that were not there yet at ``$as_of``, as far as the store knew at ``$at``.
LATER = f"select id from {NODE_TIMES} where snapshot <= $at group by id having epoch_ns(min(time)) > $as_of"


def filled_nodes(connection: Any, at: int) -> set[int]:
    """Return the placeholders whose records were seen: edges lead to the records themselves since then.

    What a placeholder stands for is known or not whatever the time that is asked for, so there is no ``as_of``.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    at : int
        Snapshot number.

    Returns
    -------
    set of int
        Dense ids.
    """
    # By the statistics alone, in a store without any.
    if not connection.execute("select 1 from version_rows where placeholder is not null limit 1").fetchall():
        return set()
    return {row[0] for row in connection.execute("select id from filled where snapshot <= ?", [at]).fetchall()}


def absent_nodes(connection: Any, ids: Collection[int], *, at: int, as_of: int) -> set[int]:
    """Return those of some nodes that were not there yet.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    ids : collection of int
        Dense ids.
    at : int
        Snapshot number.
    as_of : int
        Nanoseconds since 1970 UTC: what had been declared or begun by then was there.

    Returns
    -------
    set of int
        Dense ids.
    """
    return {node for node, time in appeared(connection, ids, at=at).items() if time > as_of}


def appeared(connection: Any, ids: Collection[int], *, at: int) -> dict[int, int]:
    """Return when nodes were first declared or begun, as far as a snapshot knew.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    ids : collection of int
        Dense ids.
    at : int
        Snapshot number.

    Returns
    -------
    dict of int to int
        Nanoseconds since 1970 UTC; placeholders are not in it.
    """
    rows = connection.execute(
        f"select id, epoch_ns(min(time)) from {NODE_TIMES} where snapshot <= $at "
        "and id in (select unnest($ids::bigint[])) group by id",
        {"at": at, "ids": list(ids)},
    ).fetchall()
    return dict(rows)
