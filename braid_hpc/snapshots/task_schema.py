"""The tables and views of a store that are about tasks (``docs/store-format.md``)."""

from __future__ import annotations

__all__ = ["ASTRA", "SUPERSEDED", "TASKS", "TASK_TABLES", "TASK_VIEWS"]

TASK_TABLES = """
create table task_rows (
    key varchar not null, task varchar not null, version varchar, module varchar not null, script varchar not null,
    function varchar not null, code varchar, reason varchar not null, detail varchar not null,
    result_table varchar not null, shared_ns bigint not null, begun_by varchar not null, begun_at bigint not null,
    writer varchar not null, sequence bigint not null, snapshot integer not null);

create table task_ends (
    begun_by varchar not null, begun_at bigint not null, record_sequence bigint, value blob, plain varchar,
    uri varchar, size bigint, mtime_ns bigint, digest varchar, content varchar, media_type varchar,
    unkept varchar not null, writer varchar not null, sequence bigint not null, snapshot integer not null);

create table task_skips (
    key varchar not null, task varchar not null, execution_writer varchar not null, execution_sequence bigint not null,
    detail varchar not null, called_by varchar, called_at bigint, run varchar not null, time timestamp_ns not null,
    writer varchar not null, sequence bigint not null, snapshot integer not null);

create table task_misses (
    task varchar not null, message varchar not null, called_by varchar, called_at bigint, run varchar not null,
    time timestamp_ns not null, writer varchar not null, sequence bigint not null, snapshot integer not null);

create table parameter_rows (
    pk bigint primary key, name varchar not null, type varchar not null, value varchar not null, form blob not null,
    snapshot integer not null);

create table task_parameter_rows (
    begun_by varchar not null, begun_at bigint not null, position integer not null, parameter bigint not null,
    role varchar not null, given varchar, snapshot integer not null);

create table result_columns (
    result_table varchar not null, name varchar not null, type varchar not null, position integer not null,
    snapshot integer not null);

create schema result;
create schema astra;
"""

#: Names in the schema ``astra`` that no table of results gets: its views, and what these are made of.
ASTRA = ("task", "parameter", "task_parameter", "output_interface", "tasks", "parameters", "task_parameters")

#: Writers of whom a scheduler has made an end: their batch job has a later attempt. Job ids come back, and two clusters
#: have the same ones, so it is the same user's program, and it began after all that these have written.
SUPERSEDED = """
    with tried as (
        select a.scheduler, a.scheduler_job, a.task, a.job, u."user", a.attempt, a.run, a.begin_time
        from attempts a join runs u on u.run = a.run)
    select distinct r.writer from tried a join ranks r on r.run = a.run
    join (select * exclude (run, begin_time), max(begin_time) as begun from tried group by all) b
        on b.scheduler = a.scheduler and b.scheduler_job = a.scheduler_job and b.task is not distinct from a.task
        and b.job is not distinct from a.job and b."user" is not distinct from a."user" and b.attempt > a.attempt
        and b.begun > r.last_time"""

#: Without an end on record: a log that is complete, or was closed and is damaged, one whose process was seen to end or
#: was not found any more, and that of an earlier attempt are of processes that have ended; any other may be at work.
_STATUS = """case a.status when 'ok' then 'done' when 'failed' then 'failed' when 'exited' then 'exited'
            else case when r.state in ('closed', 'ended') or r.outcome is not null or r.process is not null
                    or s.writer is not null then 'interrupted' else 'running' end end"""

#: Each execution; what it is taken from is filled in.
TASKS = f"""select a.id as pk, t.task, t.key, t.task || '_' || left(t.key, 8) as task_id, t.version,
        if(t.module = '', t.script, t.module) as task_module, t.function, {_STATUS} as status, t.reason, t.detail,
        a.begin_time as created, coalesce(a.end_time, r.last_time, a.begin_time) as modified,
        a.duration_ns / 1e9 as duration, t.shared_ns / 1e9 as overhead, a.error, o.id as output_pk, e.plain as value,
        e.uri, e.size, e.digest, e.unkept,
        t.code, t.result_table, a.run, r.rank, t.begun_by as writer, t.begun_at as sequence,
        greatest(t.snapshot, coalesce(e.snapshot, 0)) as snapshot
    from {{task_rows}} t join activities a on a.writer = t.begun_by and a.sequence = t.begun_at
    join ranks r on r.writer = t.begun_by
    left join ({SUPERSEDED}) s on s.writer = t.begun_by
    left join {{task_ends}} e on e.begun_by = t.begun_by and e.begun_at = t.begun_at
    left join {{occurrences}} o on o.writer = e.writer and o.sequence = e.record_sequence"""

TASK_VIEWS = f"""
create view tasks as
    {TASKS.format(task_rows="task_rows", task_ends="task_ends", occurrences="occurrences")};

create view parameters as
    select pk, name as parameter_name, value as parameter_value, type, snapshot from parameter_rows;

create view task_parameters as
    select a.id as task_pk, p.parameter as parameter_pk, p.position, p.role, p.given, p.snapshot
    from task_parameter_rows p join activity_rows a on a.writer = p.begun_by and a.sequence = p.begun_at;

create view task_calls as
    select task, key, status, reason, pk as execution, null as caller, created as time, run, writer, sequence, snapshot
    from tasks
    union all
    select s.task, s.key, 'skipped', s.detail, e.id, c.id, s.time, s.run, s.writer, s.sequence, s.snapshot
    from task_skips s
    left join activity_rows e on e.writer = s.execution_writer and e.sequence = s.execution_sequence
    left join activity_rows c on c.writer = s.called_by and c.sequence = s.called_at
    union all
    select m.task, null, 'missing', m.message, null, c.id, m.time, m.run, m.writer, m.sequence, m.snapshot
    from task_misses m left join activity_rows c on c.writer = m.called_by and c.sequence = m.called_at;

create view double_executions as
    select key, task, pk, first_pk, created as time, snapshot from (
        select t.*, max(end_time) over before as running_until, first(pk) over before as first_pk from (
            select t.*, coalesce(t.created + to_microseconds((t.duration * 1e6)::bigint), t.modified) as end_time
            from tasks t where status in ('done', 'running')) t
        window before as (
            partition by key order by created, pk rows between unbounded preceding and 1 preceding)) t
    where running_until > created;

create view astra.task as
    select row_number() over (order by pk) as pk, task_module, task_id,
        list_position(['running', 'done', 'failed', 'exited', 'interrupted'], status) - 1 as status_code, status,
        output_pk, duration, created, modified, pk as execution
    from tasks;

create view astra.parameter as
    select pk, parameter_name, parameter_value from parameters;

create view astra.task_parameter as
    select row_number() over (order by task_pk, position) as pk, dense_rank() over (order by task_pk) as task_pk,
        parameter_pk
    from (select pk as task_pk from tasks) left join task_parameters using (task_pk)
    qualify parameter_pk is not null;

create view astra.output_interface as
    select distinct output_pk as pk from tasks where output_pk is not null order by pk;
"""
