"""Where a run took up what an earlier one made: versions of one content, made here and a source there."""

from __future__ import annotations

from braid_hpc.compaction.cycles import closing
from braid_hpc.compaction.known import Known
from braid_hpc.compaction.rows import BIGINT
from braid_hpc.compaction.write import Writer

__all__ = ["link_same_content"]

# A source is a version without parents, so what made it is not known from its own declarations. Where a version that
# another run made before it was first declared has the same content, that is where it comes from. Contents that
# anything may have (nothing at all, a declared value, a file that was not read) say nothing of the kind.
_LINKS = """
    with late as (
        select o.id, any_value(r.digest) as digest, max(r.snapshot) as snapshot
        from inspection_rows r join occurrences o on o.writer = r.about_writer and o.sequence = r.about_sequence
        where r.state = 'verified' group by o.id),
    contents as (
        select id, digest from version_rows where digest is not null and not weak
        union all select id, digest from late),
    touched as (
        select distinct digest from contents
        where id in (select id from occurrences where snapshot = $snapshot)
            or id in (select id from late where snapshot = $snapshot)),
    candidates as (
        select v.id, v.uid, v.kind, v.run, c.digest from contents c join version_rows v using (id)
        where c.digest in (select digest from touched)),
    shared as (
        select digest from candidates group by digest having bool_or(run is null) and bool_or(run is not null)),
    seen as (
        select id, arg_min(run, (time, writer, sequence)) as run, min(time) as first_time, max(size) as size,
            bool_or(value is not null) as by_value
        from occurrences where id in (select id from candidates where digest in (select digest from shared))
        group by id)
    select s.id, m.id, s.uid, m.uid
    from candidates s join seen a on a.id = s.id
    join candidates m on m.digest = s.digest and m.id <> s.id join seen b on b.id = m.id
    where s.run is null and m.run is not null and m.run <> a.run and not a.by_value
        and coalesce(a.size, 1) > 0 and not (s.kind = 'fact' and a.size is null) and b.first_time < a.first_time
        and not exists (select 1 from content_rows c where c.child = s.id and c.parent = m.id)
    order by s.uid, m.uid
"""


def link_same_content(out: Writer, known: Known) -> None:
    """Link the sources in a store to the versions that were made before with the same content.

    Every commit looks again, because the log of the run that made something may come later than that of the run that
    used it. A link that would make a version its own ancestor is left out: ranks may have joined versions of
    different ages, so that the times of their first occurrences do not order them.

    Parameters
    ----------
    out : Writer
        The commit, after its occurrences were written.
    known : Known
        The store.
    """
    found = out.connection.execute(_LINKS, {"snapshot": out.snapshot}).fetchall()
    if not found:
        return
    for one, other, child, parent in found:
        known.past.ids.update({child: one, parent: other})
    around = known.around((child for *_, child, _ in found), (parent for *_, parent in found))
    refused = set(closing(around, [(child, parent, (child, parent)) for *_, child, parent in found]))
    rows = [ids for *ids, child, parent in found if (child, parent) not in refused]
    out.rows("content_rows", (("child", BIGINT), ("parent", BIGINT)), rows)
