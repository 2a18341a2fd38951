"""What is valid: computed from the statements, never stored (``docs/invalidation.md``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from braid_hpc.lineage.walk import CASCADED, walk
from braid_hpc.snapshots.adjacency import Adjacency
from braid_hpc.store.holding import FOREVER, filled_nodes
from braid_hpc.vocabulary.barriers import Barriers

__all__ = ["Judgement", "invalid_nodes", "standing"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A statement that something is not to be relied on.

    Attributes
    ----------
    uid : str
        Its id, 32 hexadecimal digits.
    node : int
        Dense id of what it stands on.
    cause : str
        Why.
    time : int
        When it was made, nanoseconds since 1970 UTC.
    cascade : bool
        Whether it reaches what came of it.
    """

    uid: str
    node: int
    cause: str
    time: int
    cascade: bool


def invalid_nodes(
    connection: Any, *, at: int, as_of: int | None = None, index: Adjacency | None = None
) -> dict[int, Judgement]:
    """Return everything that is invalid, each with the first statement that made it so.

    A node is invalid if a statement that was not taken back stands on it, or on something that it came from by
    derivation, use or generation. A statement does not pass a node that holds in spite of it.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    at : int
        Snapshot number: what the store knew then.
    as_of : int, optional
        Nanoseconds since 1970 UTC: what had been stated, declared and begun by then.
    index : Adjacency, optional
        Of the snapshot that the connection is open on.

    Returns
    -------
    dict of int to Judgement
        By dense id; of several statements the one with the earliest (time, id).
    """
    heard = standing(connection, at=at, as_of=as_of)
    if not heard:
        return {}
    filled = filled_nodes(connection, at)
    found: dict[int, Judgement] = {}
    # Whatever a statement without a barrier has reached, it has reached all that came of it: no later one need enter.
    reached: set[int] = set()
    for judgement, barred in heard:
        nodes = {judgement.node}
        if judgement.cascade and judgement.node not in reached:
            found_here = walk(
                connection,
                [judgement.node],
                down=True,
                at=at,
                as_of=as_of,
                relations=CASCADED,
                index=index,
                barred=barred | reached | filled,
                edges=False,
            ).nodes.tolist()
            nodes.update(found_here)
            if not barred:
                reached |= nodes
        for node in nodes:
            found.setdefault(node, judgement)
    return found


def standing(connection: Any, *, at: int, as_of: int | None = None) -> list[tuple[Judgement, frozenset[int]]]:
    """Return the statements of invalidation that were not taken back, each with the nodes that hold in spite of it.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    at, as_of
        As for :func:`invalid_nodes`.

    Returns
    -------
    list of (Judgement, frozenset of int)
        By time, then id; without those that what they stand on holds in spite of.
    """
    if not connection.execute("select 1 from invalidation_rows limit 1").fetchall():
        return []
    given = {"at": at, "as_of": FOREVER if as_of is None else as_of}
    until = "snapshot <= $at and epoch_ns(time) <= $as_of"
    rows = connection.execute(
        f"select uid, id, cause, epoch_ns(time), cascade from stated_invalidations i where {until} "
        "and id not in (select id from filled where snapshot <= $at) and not exists ("
        f"from (from stated_revalidations where {until}) r where r.id = i.id and r.despite is null "
        f"and (r.time, r.uid) > (i.time, i.uid)) order by time, uid",
        given,
    ).fetchall()
    barriers = Barriers(_barriers(connection, until, given) if rows else [])
    found = []
    for row in rows:
        judgement = Judgement(*row)
        barred = barriers.of(judgement.uid)
        if judgement.node not in barred:
            found.append((judgement, barred))
    return found


def _barriers(connection: Any, until: str, given: dict[str, Any]) -> list[tuple[int, str]]:
    rows: list[tuple[int, str]] = connection.execute(
        f"select id, despite from stated_revalidations where {until} and despite is not null", given
    ).fetchall()
    return rows
