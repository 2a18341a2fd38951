"""The tables of a store, format 1 (``docs/store-format.md``).

Base tables are append-only and every row carries the snapshot that brought it; their names end in ``_rows``
where a view of the plain name gives the current state. Ids are dense over versions and activities together, in
the order of commits. Times are UTC.
"""

from __future__ import annotations

from braid_hpc.snapshots.task_schema import TASK_TABLES, TASK_VIEWS

__all__ = [
    "ATTEMPTS",
    "FORMAT",
    "MAJOR",
    "MINOR",
    "NODE_TIMES",
    "PUBLIC_VIEWS",
    "RANKS",
    "RUNS",
    "SPACE",
    "TABLES",
    "VIEWS",
    "reference_of",
]

FORMAT = "braid store"
MAJOR = 1
MINOR = 0

TABLES = (
    """
create table meta (key varchar primary key, value varchar not null);

create table snapshots (
    snapshot integer primary key, committed timestamp_ns not null, braid_version varchar not null,
    archive varchar not null, writers integer not null, events bigint not null, versions bigint not null,
    activities bigint not null, edges bigint not null, stream_rows bigint not null);

create table writers (
    writer varchar primary key, run varchar not null, rank integer, parent varchar, header varchar not null,
    snapshot integer not null);

create table writer_states (
    writer varchar not null, state varchar not null, outcome varchar, error varchar, begin_time timestamp_ns,
    end_time timestamp_ns, last_time timestamp_ns, events bigint not null, rejected bigint not null,
    lost bigint not null, first_lost timestamp_ns, last_lost timestamp_ns, faults varchar[] not null,
    process varchar, exit_code integer, ended_time timestamp_ns, snapshot integer not null);

create table ledger (
    writer varchar not null, first bigint not null, last bigint not null, events bigint not null,
    holes bigint[] not null, digest varchar not null, snapshot integer not null);

create table version_rows (
    id bigint primary key, uid varchar not null, kind varchar not null, name varchar not null,
    version integer not null, run varchar, step integer, digest varchar, size bigint, weak boolean not null,
    placeholder varchar, snapshot integer not null);

create table occurrences (
    writer varchar not null, sequence bigint not null, id bigint not null, run varchar not null, step integer not null,
    state ubigint not null, time timestamp_ns not null, dtype varchar, shape bigint[], unit varchar, value varchar,
    size bigint, deferred boolean not null default false, snapshot integer not null);

create table inspection_rows (
    about_writer varchar not null, about_sequence bigint not null, state varchar not null, digest varchar,
    size bigint, uri varchar not null, detail varchar not null, time timestamp_ns not null, writer varchar not null,
    sequence bigint not null, snapshot integer not null);

create table activity_rows (
    id bigint primary key, uid varchar not null, name varchar not null, version integer not null,
    run varchar not null, writer varchar not null, sequence bigint not null, function varchar, params varchar,
    begin_time timestamp_ns not null, snapshot integer not null);

create table activity_ends (
    begun_by varchar not null, begun_at bigint not null, status varchar not null, error varchar, result varchar,
    end_time timestamp_ns not null, duration_ns bigint, writer varchar not null, sequence bigint not null,
    snapshot integer not null);

create table edge_rows (
    child bigint not null, parent bigint not null, relation varchar not null, writer varchar not null,
    sequence bigint not null, said varchar, time timestamp_ns not null, snapshot integer not null);

create table late_links (
    child bigint not null, run varchar, kind varchar, name varchar, step integer, relation varchar not null,
    writer varchar not null, sequence bigint not null, place varchar, time timestamp_ns not null,
    snapshot integer not null);

create table unresolved_links (
    child bigint not null, run varchar not null, said varchar not null, time timestamp_ns not null,
    relation varchar not null, writer varchar not null, sequence bigint not null, snapshot integer not null);

create table tag_rows (
    id bigint not null, key varchar not null, type varchar not null, text varchar not null, integer hugeint,
    real double, boolean boolean, writer varchar not null, sequence bigint not null, time timestamp_ns not null,
    snapshot integer not null);

create table uri_rows (
    id bigint not null, position integer not null, uri varchar not null, writer varchar not null,
    sequence bigint not null, time timestamp_ns not null, snapshot integer not null);

create table stream_rows (
    stream varchar not null, place varchar not null, id bigint, run varchar not null, writer varchar not null,
    number integer not null, columns varchar not null, units varchar not null, declared varchar,
    snapshot integer not null);

create table quarantine_rows (
    stream varchar not null, writer varchar not null, row bigint not null, rule varchar not null,
    repeats boolean not null, other_writer varchar, other_row bigint, snapshot integer not null);

create table row_holders (
    holder integer primary key, stream varchar not null, writer varchar not null, snapshot integer not null);

create table mark_rows (
    holder integer, row bigint, stream varchar, name varchar, place varchar not null, state utinyint not null,
    size bigint, modified timestamp_ns, digest varchar, cause varchar, time timestamp_ns not null,
    writer varchar not null, mark bigint not null, snapshot integer not null);

create table member_rows (
    label varchar not null, run varchar not null, "table" varchar not null, member varchar not null,
    snapshot integer not null);

create table set_rows (
    label varchar not null, run varchar not null, digest varchar not null, members bigint not null,
    snapshot integer not null);

create table row_links (
    link integer primary key, writer varchar not null, child_stream varchar not null, child_writer varchar not null,
    parent_stream varchar not null, parent_writer varchar, said varchar, snapshot integer not null);

create table row_edge_rows (
    link integer not null, child_first bigint not null, child_last bigint not null, parent_first bigint not null,
    parent_last bigint not null, count bigint not null, sequence bigint not null, time timestamp_ns not null,
    snapshot integer not null);

create table run_info (
    run varchar not null, writer varchar not null, key varchar not null, value varchar not null,
    snapshot integer not null);

create table invalidation_rows (
    uid varchar not null, id bigint, kind varchar, name varchar, said varchar, cause varchar not null,
    cascade boolean not null, time timestamp_ns not null, writer varchar not null, sequence bigint not null,
    snapshot integer not null);

create table revalidation_rows (
    uid varchar not null, id bigint, kind varchar, name varchar, said varchar, despite varchar,
    time timestamp_ns not null, writer varchar not null, sequence bigint not null, snapshot integer not null);

create table retraction_rows (
    uid varchar not null, child bigint, parent bigint, relation varchar, child_said varchar not null,
    parent_said varchar not null, cause varchar not null, time timestamp_ns not null, writer varchar not null,
    sequence bigint not null, snapshot integer not null);

create table action_rows (
    uid varchar not null, name varchar, command varchar[] not null, entry varchar, timeout double,
    time timestamp_ns not null, writer varchar not null, sequence bigint not null, snapshot integer not null);

create table attachment_rows (
    id bigint, said varchar not null, action_writer varchar not null, action_sequence bigint not null,
    time timestamp_ns not null, writer varchar not null, sequence bigint not null, snapshot integer not null);

create table attempt_rows (
    statement varchar not null, record varchar not null, action varchar not null, time timestamp_ns not null,
    writer varchar not null, sequence bigint not null, snapshot integer not null);

create table result_rows (
    attempt bigint not null, ok boolean not null, code integer, signal integer, error varchar, output varchar not null,
    cut bigint not null, time timestamp_ns not null, writer varchar not null, sequence bigint not null,
    snapshot integer not null);

create table problem_rows (
    code varchar not null, message varchar not null, run varchar, writer varchar, sequence bigint,
    given varchar, place varchar, snapshot integer not null);

create table array_rows (
    digest varchar not null, file varchar not null, dataset varchar not null, dtype varchar not null,
    shape bigint[] not null, bytes bigint not null, snapshot integer not null);

create table state_rows (
    state varchar not null, tensor varchar, digest varchar, dtype varchar, shape bigint[], bytes bigint,
    snapshot integer not null);

create table content_rows (child bigint not null, parent bigint not null, snapshot integer not null);

create table message_rows (
    child bigint not null, parent bigint not null, messages bigint not null, bytes bigint not null,
    snapshot integer not null);

create table channel_rows (
    run varchar not null, comm ubigint not null, source integer not null, dest integer not null, tag integer not null,
    sent bigint not null, received bigint not null, matched bigint not null, cancelled bigint not null,
    pending bigint not null, state varchar not null, snapshot integer not null);

create table unmatched_rows (
    run varchar not null, comm ubigint not null, source integer not null, dest integer not null, tag integer not null,
    state varchar not null, side varchar not null, first bigint not null, last bigint not null,
    messages bigint not null, other varchar, snapshot integer not null);

create table collective_rows (
    id bigint not null, run varchar not null, comm ubigint not null, series varchar not null, start bigint not null,
    origin varchar not null, way integer not null, call varchar not null, root integer not null, size integer not null,
    number bigint not null, snapshot integer not null);

create table communicator_rows (
    run varchar not null, comm ubigint not null, size integer not null, ranks integer not null, calls bigint not null,
    matched bigint not null, state varchar not null, snapshot integer not null);

create schema stream;
"""
    + TASK_TABLES
)

#: What Python takes for white space, in a regular expression.
SPACE = r"\s\x{b}\x{1c}-\x{1f}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"

_MISREAD = rf'(?s)^$|^["{SPACE}]|[{SPACE}]$|#[0-9]{{1,18}}$|[@\n\\]'


def reference_of(table: str) -> str:
    r"""Return SQL for a reference, as :func:`braid_hpc.vocabulary.references.format_reference` writes it.

    Parameters
    ----------
    table : str
        Whose columns kind, name and version are meant.

    Returns
    -------
    str
        SQL of a text. Names that would be misread stand in quotes.
    """
    name = f"{table}.name"
    quoted = rf"""'"' || replace(replace({name}, '\', '\\'), '"', '\"') || '"'"""
    shown = f"case when regexp_matches({name}, '{_MISREAD}') then {quoted} else {name} end"
    return f"({table}.kind || ':' || {shown} || '@' || {table}.version)"


#: Each writer with its newest state; what the states are taken from is filled in.
RANKS = """select w.run, w.rank, w.writer, w.parent, s.state, s.outcome, s.error, w.header ->> '$.host' as host,
        (w.header ->> '$.pid')::bigint as pid, s.begin_time, s.end_time, s.last_time, s.events, s.rejected,
        s.lost, s.first_lost, s.last_lost, s.faults, s.process, s.exit_code, s.ended_time, s.snapshot
    from writers w join (
        select *, row_number() over (partition by writer order by snapshot desc) as newest from {writer_states}) s
        on w.writer = s.writer and s.newest = 1"""

#: Each run; what the ranks are taken from is filled in.
RUNS = """select r.run, arg_min(w.header ->> '$.job', order_key) as job,
        max((w.header ->> '$.size')::integer) as size, count(*) filter (where r.parent is null) as ranks,
        min(r.begin_time) as begin_time, max(coalesce(r.end_time, r.last_time)) as end_time,
        case when bool_or(r.outcome = 'failed') then 'failed'
            when count(*) filter (where r.parent is null) < coalesce(max((w.header ->> '$.size')::integer), 1)
                or not bool_and(r.outcome is not null) then 'incomplete'
            when bool_or(r.outcome = 'exited') then 'exited' else 'ok' end as status,
        sum(r.events)::bigint as events, sum(r.lost)::bigint as lost,
        arg_min(w.header -> '$.argv', order_key)::varchar as argv, arg_min(w.header ->> '$.cwd', order_key) as cwd,
        arg_min(w.header ->> '$.script', order_key) as script,
        arg_min(w.header ->> '$.script_digest', order_key) as script_digest,
        arg_min(w.header ->> '$.git', order_key) as git, arg_min(w.header ->> '$.user', order_key) as "user",
        arg_min(w.header ->> '$.launcher', order_key) as launcher,
        arg_min(w.header ->> '$.evidence.scheduler.job', order_key) as scheduler_job,
        arg_min((w.header ->> '$.evidence.scheduler.restart')::integer, order_key) as restart,
        min(w.snapshot) as snapshot
    from {ranks} r join (
        select *, (parent is not null, coalesce(rank, 0), writer) as order_key from writers) w on r.writer = w.writer
    group by r.run"""

#: Each run of a batch job. What a job script has said of itself (``BRAID_RUN_ID``) comes before what the scheduler's
#: variables say in its ranks: within Flux these are of the launch, and not every scheduler counts.
ATTEMPTS = r"""select coalesce(said.scheduler, w.scheduler) as scheduler,
        coalesce(said.job, w.scheduler_job) as scheduler_job, coalesce(nullif(said.task, ''), w.task) as task,
        coalesce(said.attempt::integer, w.attempt, 0) as attempt, r.run, r.job, r.size, r.ranks, w.states, r.status,
        r.begin_time, r.end_time, r.snapshot
    from runs r join (
        select k.run, list(k.state order by k.rank) as states,
            any_value(h.header ->> '$.evidence.run_id') as run_id,
            any_value(h.header ->> '$.evidence.scheduler.name') as scheduler,
            any_value(h.header ->> '$.evidence.scheduler.job') as scheduler_job,
            any_value(h.header ->> '$.evidence.scheduler.array') as task,
            any_value((h.header ->> '$.evidence.scheduler.restart')::integer) as attempt
        from ranks k join writers h on k.writer = h.writer where k.parent is null group by k.run) w on r.run = w.run
    left join (
        select run_id, unnest(regexp_extract(run_id,
            '^(slurm|pbs|lsf|flux|local)-(.+?)(?:-task-([0-9]+))?-attempt-([0-9]{1,9})$',
            ['scheduler', 'job', 'task', 'attempt']))
        from (select distinct header ->> '$.evidence.run_id' as run_id from writers)
        where regexp_matches(run_id, '^(slurm|pbs|lsf|flux|local)-.+-attempt-[0-9]{1,9}$')) said
        on w.run_id = said.run_id
    where coalesce(said.job, w.scheduler_job) is not null"""

VIEWS = (
    """
create view filled as
    select p.id, s.snapshot, s.id as record from (
        select id, split_part(placeholder, ':', 1) as writer, split_part(placeholder, ':', 2)::bigint as sequence
        from version_rows where placeholder is not null) p
    join (
        select writer, sequence, snapshot, id from occurrences
        union all select writer, sequence, snapshot, id from activity_rows) s
        on p.writer = s.writer and p.sequence = s.sequence;

create view edges as
    select child, parent, relation, count(*) as statements, min(snapshot) as snapshot
    from edge_rows e
    where parent not in (select id from filled) and child not in (select id from filled) and not exists (
        from retraction_rows r where r.child = e.child and r.parent = e.parent
        and (r.relation is null or r.relation = e.relation) and r.time >= e.time)
    group by child, parent, relation
    union all
    select child, parent, 'same-content', 1, snapshot from content_rows;

create view versions as
    select v.id, v.uid, v.kind, v.name, v.version, v.run, v.step, v.digest, coalesce(v.size, o.size) as size, v.weak,
        o.dtype, o.shape, o.unit, o.value, o.first_time as time, coalesce(o.occurrences, 0) as occurrences,
        v.placeholder is not null as placeholder, v.snapshot
    from version_rows v left join (
        select id, min(time) as first_time, count(*) as occurrences,
            arg_min(dtype, (writer, sequence)) filter (where dtype is not null) as dtype,
            arg_min(shape, (writer, sequence)) filter (where shape is not null) as shape,
            arg_min(unit, (writer, sequence)) filter (where unit is not null) as unit,
            arg_min(value, (writer, sequence)) filter (where value is not null) as value,
            max(size) as size
        from occurrences group by id) o on v.id = o.id
    where v.id not in (select id from filled);

create view inspections as
    select v.id, v.kind, v.name, v.version, coalesce(i.state, 'waiting') as state, i.digest, coalesce(i.size, o.size)
        as size, i.uri, i.detail, i.time, greatest(v.snapshot, coalesce(i.snapshot, 0)) as snapshot
    from version_rows v join (
        select id, max(size) as size from occurrences where deferred group by id) o on o.id = v.id
    left join (
        select s.id, r.* from inspection_rows r join occurrences s
            on s.writer = r.about_writer and s.sequence = r.about_sequence
        qualify row_number() over (
            partition by s.id order by r.state <> 'verified', r.time desc, r.writer, r.sequence desc) = 1) i
        on i.id = v.id
    where v.weak;

create view arrays as
    select v.id, v.kind, v.name, v.version, a.digest, a.dtype, a.shape, v.unit, a.bytes, a.file, a.dataset, a.snapshot
    from versions v join array_rows a on v.digest = a.digest;

create view tensors as
    select v.id, v.kind, v.name, v.version, s.tensor, s.digest, s.dtype, s.shape, s.bytes,
        s.digest in (select digest from array_rows) as stored, s.snapshot
    from versions v join state_rows s on v.digest = s.state
    where s.tensor is not null;

create view records as
    select kind, name, count(*) as versions, max(version) as latest, min(time) as first_time, max(time) as last_time
    from versions group by kind, name;

create view ranks as
    """
    + RANKS.format(writer_states="writer_states")
    + """;

create view runs as
    """
    + RUNS.format(ranks="ranks")
    + """;

create view attempts as
    """
    + ATTEMPTS
    + """;

create view latest_attempts as
    select * from attempts
    qualify attempt = max(attempt) over (partition by scheduler, scheduler_job, task);

create view activities as
    select a.id, a.uid, a.name, a.version, a.run, r.rank, a.writer, a.sequence, a.function, a.params, a.begin_time,
        e.end_time, e.duration_ns, coalesce(e.status, 'unfinished') as status, e.error, e.result, a.snapshot
    from activity_rows a left join (
        select *, row_number() over (
            partition by begun_by, begun_at order by writer <> begun_by, writer, sequence) as choice
        from activity_ends) e on a.writer = e.begun_by and a.sequence = e.begun_at and e.choice = 1
    left join writers r on a.writer = r.writer;

create view tags as
    select distinct id, key, type, text, integer, real, boolean from tag_rows where id not in (select id from filled);

create view uris as
    select distinct id, position, uri from uri_rows;

create view nodes as
    select id, uid, kind, name, version, run, snapshot from version_rows
    union all
    select id, uid, 'activity' as kind, name, version, run, snapshot from activity_rows;

create view stated_invalidations as
    select uid, id, cause, cascade, time, writer, sequence, snapshot from invalidation_rows where id is not null
    union all
    select i.uid, v.id, i.cause, i.cascade, i.time, i.writer, i.sequence, greatest(i.snapshot, v.snapshot)
    from invalidation_rows i join version_rows v on i.name = v.name and (i.kind is null or i.kind = v.kind)
    join (
        select id, min(time) as time from occurrences where id in (
            select n.id from version_rows n join invalidation_rows s on s.name = n.name) group by id) o
        on o.id = v.id and o.time <= i.time
    where v.placeholder is null;

create view stated_revalidations as
    select uid, id, despite, time, writer, sequence, snapshot from revalidation_rows where id is not null
    union all
    select r.uid, v.id, r.despite, r.time, r.writer, r.sequence, greatest(r.snapshot, v.snapshot)
    from revalidation_rows r join version_rows v on r.name = v.name and (r.kind is null or r.kind = v.kind)
    join (
        select id, min(time) as time from occurrences where id in (
            select n.id from version_rows n join revalidation_rows s on s.name = n.name) group by id) o
        on o.id = v.id and o.time <= r.time
    where v.placeholder is null;

create view invalidations as
    select i.uid, i.id, n.kind, n.name, n.version, i.cause, i.cascade, i.time,
        exists (from stated_revalidations r where r.id = i.id and r.despite is null
            and (r.time, r.uid) > (i.time, i.uid)) as revoked,
        w.header ->> '$.user' as "user", i.writer, i.sequence, i.snapshot
    from stated_invalidations i join nodes n using (id) left join writers w on w.writer = i.writer
    where i.id not in (select id from filled);

create view retractions as
    select r.uid, r.child, r.parent, e.relation, r.cause, r.time,
        exists (from edges n where n.child = r.child and n.parent = r.parent and n.relation = e.relation) as restated,
        w.header ->> '$.user' as "user", r.writer, r.sequence, r.snapshot
    from retraction_rows r join (select distinct child, parent, relation from edge_rows) e
        on e.child = r.child and e.parent = r.parent and (r.relation is null or r.relation = e.relation)
    left join writers w on w.writer = r.writer
    where r.child not in (select id from filled) and r.parent not in (select id from filled)
        and exists (from edge_rows s where s.child = r.child and s.parent = r.parent and s.relation = e.relation
            and s.time <= r.time);

create view actions as
    select d.uid as action, n.id, n.uid, n.kind, n.name, n.version, any_value(d.name) as label,
        any_value(d.command) as command, any_value(d.entry) as entry, any_value(d.timeout) as timeout,
        min(greatest(a.snapshot, d.snapshot)) as snapshot
    from attachment_rows a join action_rows d on d.writer = a.action_writer and d.sequence = a.action_sequence
    join nodes n on n.id = a.id
    where a.id not in (select id from filled)
    group by d.uid, n.id, n.uid, n.kind, n.name, n.version;

create view action_attempts as
    select t.action, t.statement, n.id, t.record as uid, n.kind, n.name, n.version,
        case when r.ok then 'ok' when not r.ok then 'failed' else 'interrupted' end as state, r.code, r.signal, r.error,
        r.output, r.cut, t.time as begin_time, r.time as end_time, t.writer, t.sequence,
        coalesce(greatest(t.snapshot, r.snapshot), t.snapshot) as snapshot
    from attempt_rows t left join result_rows r on r.writer = t.writer and r.attempt = t.sequence
    left join nodes n on n.uid = t.record;

create view messages as
    select child, parent, sum(messages)::bigint as messages, sum(bytes)::bigint as bytes, min(snapshot) as snapshot
    from message_rows group by child, parent;

create view channels as
    select * from (
        from channel_rows qualify row_number() over (
            partition by run, comm, source, dest, tag order by snapshot desc) = 1)
    where sent + received + cancelled + pending > 0;

create view unmatched as
    select * from (
        from unmatched_rows qualify row_number() over (
            partition by run, comm, source, dest, tag, state, side order by snapshot desc) = 1)
    where messages > 0;

create view communicators as
    from communicator_rows qualify row_number() over (partition by run, comm order by snapshot desc) = 1;

create view collectives as
    select c.id, n.version, c.run, c.comm, c.call, case when c.root >= 0 then c.root end as root, c.size, c.number,
        coalesce(e.ranks, 0) as ranks, coalesce(e.calls, 0) as calls, c.snapshot
    from collective_rows c join version_rows n using (id) left join (
        select id, count(distinct activity) as ranks, max(messages) as calls from (
            select child as id, parent as activity, messages from messages
            union all select parent, child, messages from messages)
        where id in (select id from collective_rows) group by id) e using (id);

"""
    + TASK_VIEWS
    + """
create view streams as
    select stream, min(place) as place, arg_min(columns, (snapshot, writer, number)) as columns,
        arg_min(units, (snapshot, writer, number)) as units, count(distinct run) as runs,
        count(distinct writer) as writers
    from stream_rows group by stream;

create view declared_tables as
    select stream, min(place) as place, arg_max(declared, (snapshot, writer, number)) as declared,
        count(distinct run) as runs, count(distinct writer) as writers, min(snapshot) as snapshot
    from stream_rows where declared is not null group by stream;

create view quarantined as
    select q.stream, w.run, w.rank, q.writer, q.row, q.rule, q.other_writer, q.other_row, q.snapshot
    from quarantine_rows q left join writers w using (writer) where not q.repeats;

create view marks as
    select coalesce(h.stream, m.stream) as stream, h.writer as row_writer, m.row, m.name, m.place,
        ['exists', 'consumed', 'missing', 'corrupt', 'archived', 'growing', 'invalid', 'valid'][m.state] as state,
        m.size, m.modified, m.digest, m.cause, m.time, m.writer, m.mark, m.snapshot
    from mark_rows m left join row_holders h using (holder);

create view unplaced as
    from marks m where row is null and not exists (
        from mark_rows r where r.writer = m.writer and r.mark = m.mark and r.row is not null);

create view sets as
    from set_rows qualify snapshot = max(snapshot) over (partition by label, run);

create view set_members as
    select distinct s.digest, m."table", m.member from sets s join member_rows m using (label, run);

create view row_edges as
    select l.child_stream, l.child_writer, e.child_first, e.child_last,
        (e.child_last - e.child_first) // greatest(e.count - 1, 1) as child_step,
        l.parent_stream, l.parent_writer, l.said, e.parent_first, e.parent_last,
        (e.parent_last - e.parent_first) // greatest(e.count - 1, 1) as parent_step,
        e.count, l.writer, e.sequence, e.time, e.snapshot
    from row_edge_rows e join row_links l using (link);

create view problems as
    select code, message, run, writer, sequence, given, place, snapshot from problem_rows p
    where code <> 'unresolved' or not exists (
        from edge_rows e where e.writer = p.writer and e.sequence = p.sequence and e.said = p.given)
        and not exists (
        from attachment_rows a where a.writer = p.writer and a.sequence = p.sequence and a.id is not null)
    union all
    select 'message', printf('%d %s from %s to rank %d with %s on communicator %s: %s, %s', messages,
            if(messages = 1, 'message', 'messages'), if(source < 0, 'any rank', printf('rank %d', source)), dest,
            if(tag < 0, 'any tag', printf('tag %d', tag)), format('{:x}', comm),
            side || if(first = last, printf(' as number %d', first), printf(' as numbers %d to %d', first, last)),
            state || case other when 'silent' then printf(' (rank %d has told nothing of this communicator)',
                if(side = 'sent', dest, source)) when 'open' then printf(' (the log of rank %d is not complete)',
                if(side = 'sent', dest, source)) else '' end),
        run, null, null, null, null, snapshot
    from unmatched where state <> 'cancelled'
    union all
    select 'content', printf('the digest of the file was left to the merge, and it is %s: %s%s', state, uri,
            case when detail = '' then '' else ' (' || detail || ')' end),
        null, null, null, kind || ':' || name || '@' || version, null, snapshot
    from inspections where state not in ('verified', 'waiting')
    union all
    select 'quarantine', printf('row %d of table %s%s is quarantined: %s', row, stream,
            coalesce(printf(' (rank %d)', rank), ''), rule), run, writer, null, null,
        null, snapshot
    from quarantined
    union all
    select 'set', printf('set %s has exactly the members of set %s, %d of them: it is the same set', label, first,
            members), run, null, null, label, null, snapshot
    from (select *, first_value(label) over (partition by digest order by snapshot, label, run) as first from sets)
    where label <> first
    union all
    select 'collective', printf('of %d collective calls on communicator %s, %d were made by all of its %d '
            || 'ranks; logs of %d are there (%s)', calls, format('{:x}', comm), matched, size, ranks, state),
        run, null, null, null, null, snapshot
    from communicators where state <> 'matched'
    union all
    select 'task', printf('execution %d of task %s began before execution %d of the same key had ended', pk, task,
            first_pk), null, null, null, key, null, snapshot
    from double_executions;
"""
)

#: When versions were declared and activities begun; a placeholder has no time, and is there always.
NODE_TIMES = """(
    select id, time, snapshot from occurrences union all select id, begin_time, snapshot from activity_rows)
"""

#: What ``docs/store-format.md`` promises to keep by name.
PUBLIC_VIEWS = (
    "records",
    "arrays",
    "tensors",
    "versions",
    "inspections",
    "activities",
    "edges",
    "tags",
    "uris",
    "runs",
    "attempts",
    "latest_attempts",
    "ranks",
    "streams",
    "invalidations",
    "retractions",
    "actions",
    "action_attempts",
    "messages",
    "channels",
    "unmatched",
    "row_edges",
    "declared_tables",
    "quarantined",
    "marks",
    "unplaced",
    "sets",
    "set_members",
    "collectives",
    "communicators",
    "snapshots",
    "tasks",
    "parameters",
    "task_parameters",
    "task_calls",
    "double_executions",
    "problems",
)
