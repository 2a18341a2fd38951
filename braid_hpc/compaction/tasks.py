"""What a commit brings of tasks: executions, their parameters and results, calls that did not run (``docs/tasks.md``).

Each pair of a parameter's name and value is one row, whatever many tasks have it. Results of a kind that declares
columns stand in a typed table: a view over what the executions returned.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from braid_hpc.compaction.extract import Facts, Tasked
from braid_hpc.compaction.rows import BIGINT, INTEGER, TEXT, TIME, as_json
from braid_hpc.compaction.write import Writer
from braid_hpc.snapshots.task_schema import ASTRA
from braid_hpc.tasks.forms import encode_form
from braid_hpc.tasks.tables import SQL_TYPES, sql_type
from braid_hpc.tasks.values import plain_value
from braid_hpc.vocabulary.sql import quoted
from braid_hpc.vocabulary.task_payloads import TaskBegun, TaskEnded, TaskMissing, TaskSkipped
from braid_hpc.vocabulary.texts import clean

__all__ = ["finish_tasks", "write_tasks"]

_BLOB = pa.binary()
_PLACE = (("writer", TEXT), ("sequence", BIGINT))
_BEGUN = (("begun_by", TEXT), ("begun_at", BIGINT))
_CALLED = (("called_by", TEXT), ("called_at", BIGINT), ("run", TEXT), ("time", TIME), *_PLACE)

_TABLES: dict[type, tuple[str, tuple[tuple[str, pa.DataType], ...]]] = {
    TaskBegun: (
        "task_rows",
        (
            *((name, TEXT) for name in ("key", "task", "version", "module", "script", "function", "code", "reason")),
            ("detail", TEXT),
            ("result_table", TEXT),
            ("shared_ns", BIGINT),
            *_BEGUN,
            *_PLACE,
        ),
    ),
    TaskEnded: (
        "task_ends",
        (
            *_BEGUN,
            ("record_sequence", BIGINT),
            ("value", _BLOB),
            ("plain", TEXT),
            ("uri", TEXT),
            ("size", BIGINT),
            ("mtime_ns", BIGINT),
            ("digest", TEXT),
            ("content", TEXT),
            ("media_type", TEXT),
            ("unkept", TEXT),
            *_PLACE,
        ),
    ),
    TaskSkipped: (
        "task_skips",
        (
            ("key", TEXT),
            ("task", TEXT),
            ("execution_writer", TEXT),
            ("execution_sequence", BIGINT),
            ("detail", TEXT),
            *_CALLED,
        ),
    ),
    TaskMissing: ("task_misses", (("task", TEXT), ("message", TEXT), *_CALLED)),
}

_STAGED = "braid_task_parameters"
_PARAMETERS = (
    *_BEGUN,
    ("position", INTEGER),
    ("name", TEXT),
    ("type", TEXT),
    ("value", TEXT),
    ("form", _BLOB),
    ("role", TEXT),
    ("given", TEXT),
)
_COLUMNS = (("result_table", TEXT), ("name", TEXT), ("type", TEXT), ("position", INTEGER))


def write_tasks(out: Writer, writers: list[Facts]) -> None:
    """Write what a slice of a commit says of tasks.

    Parameters
    ----------
    out : Writer
        The commit.
    writers : list of Facts
        What was said.
    """
    tasked = [(facts, each) for facts in writers for each in facts.tasked]
    if not tasked:
        return
    rows: dict[type, list[tuple[Any, ...]]] = {kind: [] for kind in _TABLES}
    parameters: list[tuple[Any, ...]] = []
    columns: dict[tuple[Any, ...], None] = {}
    for facts, each in tasked:
        rows[type(each.about)].append(_row(facts, each))
        if isinstance(each.about, TaskBegun):
            begun = each.about
            parameters += [(*each.place, *row) for row in _parameters(begun)]
            # A later version may know more types.
            columns |= dict.fromkeys(
                (begun.table, name, kind, at)
                for at, (name, kind) in enumerate(begun.columns)
                if begun.table and name and kind.removesuffix("[]") in SQL_TYPES
            )
    for kind, (table, names) in _TABLES.items():
        out.rows(table, names, rows[kind])
    _write_columns(out, list(columns))
    if parameters:
        out.connection.execute(
            f"create temp table if not exists {_STAGED} (begun_by varchar, begun_at bigint, position integer, "
            "name varchar, type varchar, value varchar, form blob, role varchar, given varchar, snapshot integer)"
        )
        out.rows(_STAGED, _PARAMETERS, parameters)


def _row(facts: Facts, each: Tasked) -> tuple[Any, ...]:
    about, where = each.about, (facts.writer, each.sequence)
    if isinstance(about, TaskBegun):
        place = (about.module, about.script, about.function, about.code, about.reason, about.detail)
        return (about.key.hex(), about.task, about.version, *place, about.table, about.shared, *each.place, *where)
    if isinstance(about, TaskEnded):
        out = about.output
        written = (None,) * 6 if out is None else (out.uri, out.size, out.mtime_ns, out.digest, out.content)
        written = written if out is None else (*written, out.media_type)
        return (*each.place, about.record or None, about.value, _plain(about.value), *written, about.unkept, *where)
    called = (*(each.place if each.place[1] else (None, None)), facts.run, each.time, *where)
    if isinstance(about, TaskSkipped):
        writer, sequence = about.execution[:16].hex(), int.from_bytes(about.execution[16:24], "little")
        return (about.key.hex(), about.task, writer, sequence, about.detail, *called)
    return (about.task, about.message, *called)


def _plain(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        plain = _plain_form(msgspec.msgpack.decode(value))
    except msgspec.DecodeError:
        return None
    # None itself is a result too, and not the absence of one.
    return "null" if plain is None else as_json(plain)


def _plain_form(form: Any) -> Any:
    try:
        return plain_value(form)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        # A log that this package did not write may say anything.
        return str(form)


def _parameters(begun: TaskBegun) -> list[tuple[Any, ...]]:
    return [
        (at, each.name, *_told(each.form), encode_form(each.form), each.role, each.given)
        for at, each in enumerate(begun.parameters)
    ]


def _told(form: Any) -> tuple[str, str]:
    """Return type and text of a parameter's value."""
    if isinstance(form, str):
        return "str", form
    if isinstance(form, list):
        plain = _plain_form(form)
        return str(form[0]) if form else "list", plain if isinstance(plain, str) else clean(as_json(plain) or "null")
    return "none" if form is None else type(form).__name__, as_json(form) or "null"


def _write_columns(out: Writer, columns: list[tuple[Any, ...]]) -> None:
    """Write columns of result tables that are new; the type that a column was declared with first stays."""
    if not columns:
        return
    known = {(table.lower(), name.lower()) for table, name in _known(out)}
    fresh: dict[tuple[str, str], tuple[Any, ...]] = {}
    for column in columns:
        if (place := (column[0].lower(), column[1].lower())) not in known:
            fresh.setdefault(place, column)
    out.rows("result_columns", _COLUMNS, list(fresh.values()))


def _known(out: Writer) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = out.connection.execute("select result_table, name from result_columns").fetchall()
    return found


def finish_tasks(out: Writer) -> None:
    """Give parameters their numbers, and make the tables of results that are new.

    Parameters
    ----------
    out : Writer
        The commit, when all of its slices were written.
    """
    execute = out.connection.execute
    if execute("select 1 from duckdb_tables() where table_name = ? and temporary", [_STAGED]).fetchall():
        execute(
            "insert into parameter_rows select (select coalesce(max(pk), 0) from parameter_rows) + "
            "row_number() over (order by first, name, form), name, type, value, form, ? from ("
            "select name, form, any_value(type) as type, any_value(value) as value, "
            f"min((begun_by, begun_at, position)) as first from {_STAGED} s where not exists ("
            "from parameter_rows p where p.name = s.name and p.form = s.form) group by name, form)",
            [out.snapshot],
        )
        execute(
            "insert into task_parameter_rows select s.begun_by, s.begun_at, s.position, p.pk, s.role, s.given, ? "
            f"from {_STAGED} s join parameter_rows p on p.name = s.name and p.form = s.form order by all",
            [out.snapshot],
        )
        execute(f"drop table {_STAGED}")
    # Names that differ in upper and lower case only are one to DuckDB: the table has the first one's.
    tables = execute(
        "select first(result_table order by snapshot, result_table) from result_columns "
        "group by lower(result_table) having max(snapshot) = ? order by 1",
        [out.snapshot],
    )
    for (table,) in tables.fetchall():
        _make_view(out, table)


def _make_view(out: Writer, table: str) -> None:
    columns = out.connection.execute(
        "select name, type from result_columns where lower(result_table) = lower(?) order by snapshot, position, name",
        [table],
    ).fetchall()
    chosen = "".join(f", {_column(name, kind)} as {quoted(name)}" for name, kind in columns)
    text = table.replace("'", "''")
    out.connection.execute(
        f"create or replace view result.{quoted(table)} as select o.id as output_pk, t.key, t.task{chosen}, "
        "greatest(t.snapshot, e.snapshot) as snapshot from task_rows t "
        "join task_ends e on e.begun_by = t.begun_by and e.begun_at = t.begun_at "
        "join occurrences o on o.writer = e.writer and o.sequence = e.record_sequence "
        f"where lower(t.result_table) = lower('{text}') and e.plain is not null"
    )
    if table.lower() not in ASTRA:
        out.connection.execute(
            f"create or replace view astra.{quoted(table)} as "
            f"select * exclude (key, task, snapshot) from result.{quoted(table)}"
        )


def _column(name: str, kind: str) -> str:
    # A pointer, because DuckDB's paths have no way to write each name.
    path = "/" + name.replace("~", "~0").replace("/", "~1").replace("'", "''")
    get = "json_extract_string" if kind == "text" else "json_extract"
    return f"try_cast({get}(e.plain, '{path}') as {sql_type(kind)})"
