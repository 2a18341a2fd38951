"""Which executions of tasks do not hold: as ``braid_hpc.lineage.validity`` finds it, over the tables of a commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from braid_hpc.vocabulary.barriers import Barriers
from braid_hpc.vocabulary.codes import Relation

__all__ = ["find_invalid"]

#: What an invalidation follows, from parent to child.
_CASCADED = (Relation.DERIVED, Relation.USED, Relation.GENERATED)

_STANDING = """
    select uid, id, cause, cascade from stated_invalidations i
    where id not in (select id from filled) and not exists (
        from stated_revalidations r where r.id = i.id and r.despite is null and (r.time, r.uid) > (i.time, i.uid))
    order by time, uid
"""
_REACHED = """
    insert into braid_invalid
    with recursive reached(id) as (
        select unnest($roots::bigint[])
        union
        select e.child from reached r join braid_cascade e on e.parent = r.id
        where $cascade and e.child not in (select id from braid_invalid where whole)
            and e.child not in (select unnest($barred::bigint[])))
    select id, $cause, len($barred::bigint[]) = 0 and $cascade from reached
"""


def find_invalid(connection: Any) -> None:
    """Make a temporary table ``braid_invalid_tasks`` of the executions of tasks that do not hold.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store. The table has the columns ``begun_by``, ``begun_at`` and ``cause``: that of the earliest
        statement that reached the execution, or its result.
    """
    execute = connection.execute
    execute("create temp table braid_invalid_tasks (begun_by varchar, begun_at bigint, cause varchar)")
    if not (standing := execute(_STANDING).fetchall()):
        return
    barriers = Barriers(execute("select id, despite from stated_revalidations where despite is not null").fetchall())
    relations = ", ".join(f"'{relation}'" for relation in _CASCADED)
    execute(f"create temp table braid_cascade as select child, parent from edges where relation in ({relations})")
    execute("create temp table braid_invalid (id bigint, cause varchar, whole boolean)")
    try:
        for (cause, cascade, barred), roots in _together(standing, barriers):
            given = {"roots": roots, "cause": cause, "cascade": cascade, "barred": sorted(barred)}
            execute(_REACHED, given)
        execute(
            "insert into braid_invalid_tasks select t.begun_by, t.begun_at, first(i.cause order by i.rowid) "
            "from task_rows t join activity_rows a on a.writer = t.begun_by and a.sequence = t.begun_at "
            "left join task_ends e on e.begun_by = t.begun_by and e.begun_at = t.begun_at "
            "left join occurrences o on o.writer = e.writer and o.sequence = e.record_sequence "
            "join braid_invalid i on i.id = a.id or i.id = o.id group by all"
        )
    finally:
        execute("drop table braid_cascade")
        execute("drop table braid_invalid")


def _together(
    standing: Iterable[tuple[str, int, str, bool]], barriers: Barriers
) -> Iterator[tuple[tuple[str, bool, frozenset[int]], list[int]]]:
    """Yield statements that follow each other and say the same, with what they stand on: a denial makes thousands."""
    held = [(root, (cause, cascade, barriers.of(uid))) for uid, root, cause, cascade in standing]
    for said, group in groupby((each for each in held if each[0] not in each[1][2]), key=itemgetter(1)):
        yield said, [root for root, _ in group]
