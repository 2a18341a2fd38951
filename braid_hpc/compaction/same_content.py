"""Where a run took up what an earlier one made: versions of one content, made here and a source there."""

from __future__ import annotations

from braid_hpc.compaction.write import Writer

__all__ = ["link_same_content"]

# A source is a version without parents, so what made it is not known from its own declarations. Where a version that
# was made before it was first declared has the same content, that is where it comes from. Contents that anything may
# have (nothing at all, a declared value, a file that was not read) say nothing of the kind.
_LINKS = """
    insert into content_rows
    with seen as (
        select id, min(time) as first_time, max(size) as size, bool_or(value is not null) as by_value
        from occurrences group by id)
    select s.id, m.id, ?::integer
    from version_rows s join seen a on a.id = s.id
    join version_rows m on m.digest = s.digest and m.id <> s.id join seen b on b.id = m.id
    where s.run is null and m.run is not null and not s.weak and not a.by_value and coalesce(a.size, 1) > 0
        and not (s.kind = 'fact' and a.size is null) and b.first_time < a.first_time
        and not exists (select 1 from content_rows c where c.child = s.id and c.parent = m.id)
"""


def link_same_content(out: Writer) -> None:
    """Link the sources in a store to the versions that were made before with the same content.

    Every commit looks again, because the log of the run that made something may come later than that of the run that
    used it.

    Parameters
    ----------
    out : Writer
        The commit, after its occurrences were written.
    """
    out.connection.execute(_LINKS, [out.snapshot])
