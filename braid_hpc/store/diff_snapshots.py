"""Comparing two snapshots: what the store came to know between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.store.diff import by_key
from braid_hpc.store.differences import Comparison, FactDifference
from braid_hpc.store.holding import FOREVER, HOLDING
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["diff_snapshots"]


def diff_snapshots(store: Store, a: int, b: int, *, invalid: tuple[set[int], set[int]]) -> Comparison:
    """Compare what a store knew at two snapshots.

    Parameters
    ----------
    store : Store
        Open.
    a, b : int
        Their numbers, in either order.
    invalid : tuple of set of int
        Dense ids of what was not valid at each.

    Returns
    -------
    Comparison
        From `a` to `b`. Of what is in both, validity and the edges between these are compared; nothing else of it
        changes.
    """
    facts = list(by_key("count", *(_counts(store, at) for at in (a, b))))
    facts += by_key("run", *(_runs(store, at) for at in (a, b)))
    facts += by_key("rank", *(_ranks(store, at) for at in (a, b)))
    facts += _edges(store, a, b)
    only = [_known(store, at, other) for at, other in ((a, b), (b, a))]
    facts += _validity(store, min(a, b), invalid)
    ((shared,),) = store._connected.execute(
        "select count(*) from nodes n where snapshot <= $at and not exists ("
        "from filled f where f.id = n.id and f.snapshot <= $until)",
        {"at": min(a, b), "until": max(a, b)},
    ).fetchall()
    return Comparison("snapshots", str(a), str(b), tuple(facts), (), only[0], only[1], None, shared)


def _counts(store: Store, at: int) -> dict[str, int]:
    rows = store._connected.execute(
        "select 'versions', count(*) from version_rows where snapshot <= $at "
        "union all select 'activities', count(*) from activity_rows where snapshot <= $at "
        "union all select 'edges', count(*) from (select distinct child, parent, relation from edge_rows "
        "where snapshot <= $at) "
        "union all select 'retractions', count(*) from retraction_rows where snapshot <= $at "
        "union all select 'tags', count(*) from tag_rows where snapshot <= $at "
        "union all select 'invalidations', count(*) from stated_invalidations where snapshot <= $at "
        "union all select 'revalidations', count(*) from stated_revalidations where snapshot <= $at",
        {"at": at},
    ).fetchall()
    return dict(rows)


def _runs(store: Store, at: int) -> dict[str, str]:
    rows = store._connected.execute(
        "select 'run:' || run, min(header ->> '$.job') from writers where snapshot <= $at group by run", {"at": at}
    ).fetchall()
    return {run: job or "" for run, job in rows}


def _ranks(store: Store, at: int) -> dict[str, str]:
    rows = store._connected.execute(
        "select w.run, w.rank, w.writer, s.state from writers w join writer_states s using (writer) "
        "where w.snapshot <= $at and s.snapshot <= $at "
        "qualify row_number() over (partition by w.writer order by s.snapshot desc) = 1",
        {"at": at},
    ).fetchall()
    return {
        f"{'a writer' if rank is None else f'rank {rank}'} ({writer[:8]}) of run:{run[:8]}": state
        for run, rank, writer, state in rows
    }


def _known(store: Store, at: int, other: int) -> tuple[str, ...]:
    """Return what was known at one snapshot and not at another, or was only referred to there."""
    rows = store._connected.execute(
        "with known as (select id, kind, name, version, snapshot from nodes n where snapshot <= $at and not exists ("
        "from filled f where f.id = n.id and f.snapshot <= $at)) "
        "select kind, name, version from known k where snapshot > $other or exists ("
        "from filled f where f.id = k.id and f.snapshot <= $other) order by id",
        {"at": at, "other": other},
    ).fetchall()
    return tuple(format_reference(*row) for row in rows)


def _edges(store: Store, a: int, b: int) -> list[FactDifference]:
    """Return the edges that hold at one snapshot only, between what is known at both."""
    given = {"first": min(a, b), "last": max(a, b), "as_of": FOREVER}
    between = "where snapshot > $first and snapshot <= $last"
    holding = [
        set(
            store._connected.execute(
                f"""
                with touched as (
                    select child, parent from edge_rows {between}
                    union select child, parent from retraction_rows {between}
                    union select child, parent from content_rows {between}),
                known as (
                    select id from nodes where snapshot <= $first
                    and id not in (select id from filled where snapshot <= $last))
                select distinct child, parent, relation from {HOLDING} semi join touched using (child, parent)
                where child in (from known) and parent in (from known)
                """,
                {**given, "at": at},
            ).fetchall()
        )
        for at in (a, b)
    ]
    changed = sorted(holding[0] ^ holding[1])
    ends = [end for child, parent, _ in changed for end in (child, parent)]
    rows = store._connected.execute(
        "select id, kind, name, version from nodes where id in (select unnest(?::bigint[]))", [ends]
    ).fetchall()
    refs = {row[0]: format_reference(*row[1:]) for row in rows}
    return [
        FactDifference("edge", f"{refs[edge[0]]} {edge[2]} {refs[edge[1]]}", edge in holding[0], edge in holding[1])
        for edge in changed
    ]


def _validity(store: Store, before: int, invalid: tuple[set[int], set[int]]) -> list[FactDifference]:
    changed = sorted(invalid[0] ^ invalid[1])
    rows: list[tuple[Any, ...]] = store._connected.execute(
        "select id, kind, name, version from nodes where snapshot <= $at and id in (select unnest($ids::bigint[])) "
        "order by id",
        {"at": before, "ids": changed},
    ).fetchall()
    return [
        FactDifference("valid", format_reference(*row[1:]), row[0] not in invalid[0], row[0] not in invalid[1])
        for row in rows
    ]
