"""Macros of a store, for whoever asks it with DuckDB alone: ``from lineage('model:braggnn')``.

They are recursive queries, which read the whole table of edges once for each level. :meth:`braid_hpc.Store.lineage`
walks the index instead; both give the same nodes.
"""

from __future__ import annotations

from braid_hpc.snapshots.schema import NODE_TIMES, SPACE, reference_of

__all__ = ["MACROS", "PARSED"]

#: What a text refers to, by the rules of :mod:`braid_hpc.vocabulary.references`.
PARSED = rf"""
    text_given as (
        select regexp_replace(regexp_replace(reference::varchar, '^[{SPACE}]+', ''), '[{SPACE}]+$', '') as said),
    text_split as (
        select said, starts_with(said, 'id:') as by_id,
            not by_id and regexp_full_match(said, '(?s)[a-z][a-z0-9_-]{{0,31}}:.+') as with_kind,
            case when with_kind then said[strpos(said, ':') + 1:] else said end as rest,
            starts_with(rest, '"') as quoted,
            regexp_extract(rest, '(?s)^"((?:[^"\\]|\\.)*)"(@.*)?$', ['inside', 'behind']) as parts,
            length(rest) - strpos(reverse(rest), '@') as before
        from text_given),
    meant as (
        select case
                when said is null or said = '' then error('an empty reference names nothing')
                when by_id and not regexp_full_match(lower(said[4:]), '[0-9a-f]{{4,32}}')
                    then error(said || ' is not an id: after id: come 4 to 32 hexadecimal digits')
                when not by_id and regexp_matches(said, '#[0-9]{{1,18}}$')
                    then error(said || ' names a row of a stream: a record or an activity is needed here')
                when not by_id and quoted and not regexp_full_match(rest, '(?s)"(?:[^"\\]|\\.)*"(@.*)?')
                    then error('the quotes in ' || said || ' are not closed, or more than @version follows them')
                when not by_id and digits is not null and not regexp_full_match(digits, '[1-9][0-9]{{0,17}}|latest')
                    then error('what follows the last @ in ' || said || ' is not a version: it is a number, or latest')
                else said end as said,
            case when by_id then lower(said[4:]) end as identity,
            case when with_kind then said[:strpos(said, ':') - 1] end as kind,
            case when not by_id then name end as name,
            case when not by_id and digits <> 'latest' then try_cast(digits as bigint) end as version
        from (
            select *, case when quoted then regexp_replace(parts.inside, '(?s)\\(.)', '\1', 'g')
                when contains(rest, '@') then rest[:before] else rest end as name,
                case when quoted then nullif(parts.behind, '')[2:] when contains(rest, '@') then rest[before + 2:] end
                as digits
            from text_split))"""

#: Later than any time, for a question without one.
_FOREVER = (1 << 63) - 1

#: The nodes that are meant, and where a walk begins, by the rules of :mod:`braid_hpc.store.resolve`.
_RESOLVED = f"""
    asked as (
        select case when as_of is null then {_FOREVER}
            when typeof(as_of) like '%INT' then try_cast(as_of::varchar as bigint)
            else epoch_ns(try_cast(as_of::varchar as timestamp_ns)) end as time),
    events as (
        select epoch_ns(min(first)) as first, greatest(epoch_ns(max(last)), epoch_ns(now())) as last from (
            select min(begin_time) as first, max(greatest(last_time, end_time)) as last from writer_states
            union all select min(time), max(time) from {NODE_TIMES} t
            union all select null, max(committed) from snapshots)
        where as_of is not null),
    until as (
        select case when "at" is null then newest
            when "at"::integer between 1 and newest then "at"::integer
            else error('there is no snapshot ' || "at" || ': this store has 1 to ' || newest) end as last,
            case when as_of is null then {_FOREVER}
                when a.time is null then error(as_of::varchar || ' is not a time: give one such as '
                    || '2026-11-21T10:30:00, which is UTC if it names no zone')
                when a.time < e.first then error(as_of::varchar || ' is before the first event of this store')
                when a.time > e.last then error(as_of::varchar || ' is still to come: leave as_of away')
                else a.time end as moment
        from (select coalesce(max(snapshot), 0) as newest from snapshots), asked a, events e),
    holding as (
        select child, parent, relation from edge_rows e
        where snapshot <= (select last from until) and epoch_ns(time) <= (select moment from until) and not exists (
            from retraction_rows r where r.child = e.child and r.parent = e.parent
            and (r.relation is null or r.relation = e.relation) and r.snapshot <= (select last from until)
            and epoch_ns(r.time) <= (select moment from until) and r.time >= e.time)),
    later as (
        select id from {NODE_TIMES} t where as_of is not null and snapshot <= (select last from until)
        group by id having epoch_ns(min(time)) > (select moment from until)),
    gone as (select id from filled where snapshot <= (select last from until) union all select id from later),
    fitting as (
        select coalesce(f.record, n.id) as id, m.said, m.version is null and m.identity is null as newest,
            m.version is null or n.version = m.version as numbered
        from meant m, nodes n left join filled f on f.id = n.id and f.snapshot <= (select last from until)
        where n.snapshot <= (select last from until)
            and case when m.identity is not null then starts_with(n.uid, m.identity)
                else n.name = m.name and (m.kind is null or n.kind = m.kind) end),
    named as (
        select n.id, n.uid, n.kind, n.name, n.version, f.said, f.newest, f.numbered
        from fitting f join nodes n using (id)),
    numbered as (select * from named where numbered),
    chosen as (select * from numbered where id not in (from later)),
    checked as (
        select case
            when (select count(*) from named) = 0 then error(said || ' is not in this store')
            when identity is not null and (select count(*) from named) > 1
                then error(said || ' is the beginning of several ids')
            when (select count(distinct kind) from named) > 1
                then error(said || ' fits several records: say of which kind')
            when (select count(*) from numbered) = 0 then error(said || ': there is no version of that number')
            when (select count(*) from chosen) = 0 then error(said || ' was not there at ' || as_of::varchar)
            else true end as fine
        from meant),
    heads as (
        select c.*, (
                select max(epoch_us(o.time)) from occurrences o
                where o.id = c.id and o.snapshot <= (select last from until)
                    and epoch_ns(o.time) <= (select moment from until)) as declared,
            exists (from holding e where e.parent = c.id and e.relation = 'wasDerivedFrom'
                and e.child in (select id from chosen)) as revised
        from chosen c where (select fine from checked)),
    ranked as (
        select *, row_number() over (order by
            case when kind = 'activity' or not newest then false else revised end,
            case when kind = 'activity' then null else declared end desc nulls last, version desc) as place
        from heads),
    starts as (
        select id from ranked where place = 1
        union
        select o.id from ranked r join ranked o on o.place > 1
        where r.place = 1 and r.newest and r.kind <> 'activity' and (not o.revised or r.revised)
            and exists (from occurrences a join occurrences b on a.run = b.run and a.step = b.step
                where a.id = r.id and b.id = o.id))"""

_FOLLOWED = """
    followed as (
        select child, parent from holding where relation in ('wasDerivedFrom', 'used', 'wasGeneratedBy', 'same-content')
        union
        select child, parent from content_rows where snapshot <= (select last from until))"""


def _macro(name: str, *, near: str, far: str) -> str:
    return rf"""
create macro {name}(reference, "at" := null, as_of := null) as table
    with recursive {PARSED}, {_RESOLVED}, {_FOLLOWED},
    reached(id, distance) using key (id) as (
        select id, 0 from starts
        union
        select f.{far}, min(r.distance) + 1 from reached r join followed f on f.{near} = r.id
        where f.{far} not in (from gone) and not exists (from recurring.reached k where k.id = f.{far})
        group by f.{far})
    select n.id, {reference_of("n")} as ref, n.kind, n.name, n.version, r.distance
    from reached r join nodes n on n.id = r.id
    order by r.distance, n.id not in (select id from ranked where place = 1), n.kind, n.name, n.version;
"""


#: ``lineage(reference)`` and ``impact(reference)``, each with an optional snapshot ``at`` and time ``as_of``.
MACROS = _macro("lineage", near="child", far="parent") + _macro("impact", near="parent", far="child")
