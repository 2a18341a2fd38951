"""What is said of files of declared tables: each mark finds its row, whichever of the two comes first; set-wise."""

from __future__ import annotations

from typing import Any

from braid_hpc.compaction.rows import INTEGER, TEXT, Rows
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.vocabulary.payloads import TableSchema
from braid_hpc.vocabulary.places import MARK_COLUMNS, MARKS

__all__ = ["MarkedTable", "add_holders", "name_of_row", "place_marks"]

#: Name of a table, its place in SQL, how it is declared, and the store's column, quoted, and type of each declared one.
MarkedTable = tuple[str, str, TableSchema, dict[str, str], dict[str, str]]


def place_marks(out: Rows, tables: StreamTables, declared: list[MarkedTable], fresh: set[str]) -> None:
    """Find the rows that marks are about, where a mark or the row came with this commit.

    Parameters
    ----------
    out : Rows
        Of the commit; all rows of streams are inserted, and those that do not count are known.
    tables : StreamTables
        Where they are.
    declared : list of MarkedTable
        The declared tables that have rows.
    fresh : set of str
        Those that have new ones.
    """
    place = tables.own(MARKS, MARK_COLUMNS, ("table", "name", "place", "state"))
    if place is None:
        return
    ask, snapshot = out.connection.execute, out.snapshot
    said = bool(ask(f"select 1 from {place} where _snapshot = {snapshot} limit 1").fetchall())
    if not said and not fresh:
        return
    marked = {name for (name,) in ask(f'select distinct "table" from {place}').fetchall()}
    for each in declared:
        if each[0] in marked:
            add_holders(out, each)
            if said:
                _place(out, place, each, f"m._snapshot = {snapshot}")
            if each[0] in fresh:
                _place(out, place, each, f"m._snapshot < {snapshot} and t._snapshot = {snapshot}")
    if said:
        ask(
            f'insert into mark_rows select null, null, m."table", m.name, {_SAID}, {snapshot} from {place} m '
            f"where m._snapshot = {snapshot} and not exists (from mark_rows r where r.snapshot = {snapshot} "
            "and r.writer = m._writer and r.mark = m._row) order by m._writer, m._row"
        )


#: What a mark says, but of what.
_SAID = (
    "m.place, m.state, nullif(m.size, -1), if(epoch_ns(m.modified) = 0, null, m.modified), nullif(m.digest, ''), "
    "nullif(m.cause, ''), m._time, m._writer, m._row"
)


def _place(out: Rows, place: str, table: MarkedTable, which: str) -> None:
    name, rows, schema, stored, types = table
    of_row = name_of_row(schema, stored, types, "t")
    out.connection.execute(
        f"insert into mark_rows select h.holder, t._row, null, null, {_SAID}, {out.snapshot} "
        f"from {place} m join {rows} t on m.name = {of_row} "
        f'join row_holders h on h.stream = m."table" and h.writer = t._writer where m."table" = ? and {which} '
        "and not exists (from quarantine_rows q where q.stream = h.stream and q.writer = t._writer and q.row = t._row) "
        "order by m._time, m._writer, m._row",
        [name],
    )


def name_of_row(schema: TableSchema, stored: dict[str, str], types: dict[str, str], alias: str) -> str:
    """Return SQL of the name that marks know a row by.

    Parameters
    ----------
    schema : TableSchema
        Of its table.
    stored : dict of str to str
        The store's column, quoted, of each declared one.
    types : dict of str to str
        Its type.
    alias : str
        Of its table.

    Returns
    -------
    str
        The name of the file, or the key with ``/`` between its values, as
        :meth:`braid_hpc.run.tables.DeclaredTable.name_of` writes it.
    """
    named = [schema.file] if schema.file else schema.key
    columns = [_name_of_value(f"{alias}.{stored[column]}", types[column]) for column in named]
    if len(columns) == 1:
        return columns[0]
    # Of other types than text no value has a slash in it.
    escaped = [
        rf"replace(replace({value}, '\', '\\'), '/', '\/')" if types[column] == "text" else value
        for column, value in zip(named, columns, strict=True)
    ]
    return f"concat_ws('/', {', '.join(escaped)})"


def _name_of_value(column: str, kind: str) -> str:
    """Return SQL of a value's text."""
    said = {
        "bool": f"if({column}, 'True', 'False')",
        "timestamp": f"epoch_ns({column})::varchar",
        "bytes": f"lower(hex({column}))",
        "float32": f"if(isnan({column}), 'nan', ({_single(column)})::varchar)",
        # Of NaN the sign is no part of it.
        "float64": f"if(isnan({column}), 'nan', {column}::varchar)",
    }.get(kind, f"{column}::varchar")
    return f"if({column} is null, 'None', {said})"


def _single(column: str) -> str:
    """Return SQL of the shortest decimal, of six digits or more, that a number of 32 bits is."""
    texts = [f"format('{{:.{digits}g}}', {column})" for digits in (6, 7, 8, 9)]
    shorter = " ".join(f"when try_cast({text} as float) = {column} then {text}::double" for text in texts[:-1])
    return f"case {shorter} else {texts[-1]}::double end"


def add_holders(out: Rows, table: MarkedTable) -> None:
    """Give numbers to the writers that have rows of a table.

    Parameters
    ----------
    out : Rows
        Of the commit; all rows of streams are inserted.
    table : MarkedTable
        Which one.
    """
    name, rows, *_ = table
    found: list[tuple[Any, ...]] = out.connection.execute(
        f"select distinct t._writer from {rows} t where t._snapshot = {out.snapshot} or not exists "
        "(from row_holders where stream = ?) order by 1",
        [name],
    ).fetchall()
    known = out.connection.execute("select stream, writer from row_holders").fetchall()
    fresh = [writer for (writer,) in found if (name, writer) not in set(known)]
    numbered = [(len(known) + at, name, writer) for at, writer in enumerate(fresh, 1)]
    out.rows("row_holders", (("holder", INTEGER), ("stream", TEXT), ("writer", TEXT)), numbered)
