"""Which of several stores each row is from: tables of names, and a column ``origin`` of every view."""

from __future__ import annotations

import re
from typing import Any

from braid_hpc.snapshots.schema import NODE_TIMES, PUBLIC_VIEWS, VIEWS

__all__ = ["note_origins"]

_TABLES = """
create or replace table origin_numbers (origin varchar, uid varchar, kind varchar, name varchar, version integer);
create or replace table origin_writers (origin varchar, writer varchar);
"""

#: By what the rows of views are known to be of a store; each table has a key and the names of the stores.
_ORIGINS = """
create or replace table node_origins as
    select n.id, list(distinct o.origin order by o.origin) as origin
    from origin_numbers o join nodes n using (uid) group by n.id;
create or replace table writer_origins as
    select writer, list(distinct origin order by origin) as origin from origin_writers group by writer;
create or replace table run_origins as
    select w.run, list(distinct o.origin order by o.origin) as origin
    from origin_writers o join writers w using (writer) group by w.run;
create or replace table stream_origins as
    select s.stream, list(distinct o.origin order by o.origin) as origin
    from stream_rows s join origin_writers o using (writer) group by s.stream;
create or replace macro origin_of(said_by) as (select w.origin from writer_origins w where w.writer = said_by);
"""

_BY_ID = "left join node_origins o on o.id = x.id"
_BY_WRITER = "left join writer_origins o on o.writer = x.writer"
_BY_RUN = "left join run_origins o on o.run = x.run"
_BY_STREAM = "left join stream_origins o on o.stream = x.stream"
_BY_CHILD = "left join node_origins o on o.id = x.child"

#: What each view is joined with; the column is `o.origin`.
_JOINS = {
    "records": """left join (
        select n.kind, n.name, list(distinct n.origin order by n.origin) as origin from origin_numbers n
        group by n.kind, n.name) o on o.kind = x.kind and o.name = x.name""",
    **dict.fromkeys(("arrays", "tensors", "versions", "inspections", "uris", "actions", "collectives"), _BY_ID),
    "activities": _BY_ID,
    "edges": """left join (
        select child, parent, relation, list(distinct w.origin order by w.origin) as origin
        from edge_rows join origin_writers w using (writer) group by child, parent, relation) o
        on o.child = x.child and o.parent = x.parent and o.relation = x.relation""",
    "tags": """left join (
        select id, key, type, text, integer, real, boolean, list(distinct w.origin order by w.origin) as origin
        from tag_rows join origin_writers w using (writer) group by all) o
        on o.id = x.id and o.key = x.key and o.type = x.type and o.text is not distinct from x.text
        and o.integer is not distinct from x.integer and o.real is not distinct from x.real
        and o.boolean is not distinct from x.boolean""",
    **dict.fromkeys(("streams", "declared_tables"), _BY_STREAM),
    **dict.fromkeys(
        ("ranks", "invalidations", "retractions", "action_attempts", "row_edges", "marks", "quarantined"), _BY_WRITER
    ),
    **dict.fromkeys(("tasks", "task_calls"), _BY_WRITER),
    **dict.fromkeys(("runs", "attempts", "channels", "unmatched", "sets", "communicators"), _BY_RUN),
    "messages": _BY_CHILD,
    "set_members": """left join (
        select s.digest, list(distinct w.origin order by w.origin) as origin
        from sets s join writers using (run) join origin_writers w using (writer) group by s.digest) o
        on o.digest = x.digest""",
    "parameters": """left join (
        select p.parameter, list(distinct w.origin order by w.origin) as origin
        from task_parameter_rows p join origin_writers w on w.writer = p.begun_by group by p.parameter) o
        on o.parameter = x.pk""",
    "task_parameters": "left join node_origins o on o.id = x.task_pk",
    "double_executions": "left join node_origins o on o.id = x.pk",
    "problems": """left join writer_origins w on w.writer = x.writer left join run_origins r on r.run = x.run""",
}
_COLUMNS = {"problems": "coalesce(w.origin, r.origin)"}

#: These show all columns of another one, its origin too.
_OF_ANOTHER = ("latest_attempts", "unplaced")

_VIEW = re.compile(r"^create view (\w+) as\s(.*?);\n", re.DOTALL | re.MULTILINE)

# A number that stores have given to two versions of a name means neither: each has another one here, behind all that
# were given; every other version keeps the number that its store gave it.
_NUMBERS = f"""
create temp table braid_numbered as
    with given as (
        select kind, name, version, count(distinct uid) as versions from origin_numbers group by all),
    kept as (
        select o.uid, min(o.version) filter (where g.versions = 1) as version
        from origin_numbers o join given g using (kind, name, version) group by o.uid),
    highest as (select kind, name, max(version) as version from origin_numbers group by kind, name),
    times as (select id, min(time) as time from {NODE_TIMES} group by id)
    select n.id, coalesce(k.version, coalesce(h.version, 0) + row_number() over (
        partition by n.kind, n.name, k.version is null order by t.time, n.uid)) as version
    from nodes n left join kept k using (uid) left join highest h on h.kind = n.kind and h.name = n.name
    left join times t on t.id = n.id;
update version_rows set version = m.version from braid_numbered m
    where m.id = version_rows.id and m.version <> version_rows.version;
update activity_rows set version = m.version from braid_numbered m
    where m.id = activity_rows.id and m.version <> activity_rows.version;
drop table braid_numbered;
"""


def note_origins(connection: Any, stores: dict[str, Any]) -> None:
    """Write which store has what, give versions the numbers that their stores gave them, and say it in the views.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a file with all that the stores hold, within a transaction.
    stores : dict of str to duckdb.DuckDBPyConnection
        The stores by their names.
    """
    connection.execute(_TABLES)
    for origin, store in stores.items():
        # DuckDB finds the tables by their names.
        braid_nodes = store.sql("select uid, kind, name, version from nodes where kind <> 'unseen'").to_arrow_table()
        braid_writers = store.sql("select writer from writers").to_arrow_table()
        connection.execute("insert into origin_numbers select ?, * from braid_nodes", [origin])
        connection.execute("insert into origin_writers select ?, * from braid_writers", [origin])
        del braid_nodes, braid_writers
    connection.execute(_NUMBERS)
    connection.execute(_ORIGINS)
    bodies = dict(_VIEW.findall(f"{VIEWS}\n"))
    for view in (view for view in bodies if view in PUBLIC_VIEWS and view not in _OF_ANOTHER):
        column = _COLUMNS.get(view, "o.origin")
        connection.execute(
            f"create or replace view {view} as select x.*, {column} as origin from ({bodies[view]}) x {_JOINS[view]}"
        )
    connection.execute("alter table snapshots add column if not exists origin varchar[]")
    connection.execute(
        "update snapshots set origin = o.origin from (select archive, list(distinct origin order by origin) as origin "
        "from joined_commits group by archive) o where o.archive = snapshots.archive"
    )
