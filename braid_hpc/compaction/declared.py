"""Declared tables at a commit: every row is checked, and what a row belongs to becomes an edge; set-wise, in SQL.

Rows stay where they are. Which of them violate what is declared of them, or say again what another one has said, is
told by rows of ``quarantine_rows``. A row is judged by the declaration of its writer, with the commit that brings it;
where that depends on what it belongs to, with the commit that brings the later one of the two.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import pyarrow as pa

from braid_hpc.compaction.marks import MarkedTable, place_marks
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.row_edge_store import RowEdgeTables
from braid_hpc.compaction.rows import Rows
from braid_hpc.compaction.sets import settle_sets
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.vocabulary.conditions import Condition
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.payloads import TableParent, TableSchema
from braid_hpc.vocabulary.sql import quoted

__all__ = ["marked_tables", "settle_tables"]


@dataclass(slots=True)
class _Declaration:
    """How some writers declare a table.

    Attributes
    ----------
    types : dict of str to str
        Type of each column.
    stored : dict of str to str
        The column of the store, quoted, of each.
    writers : list of str
        Who declares it so.
    """

    stream: str
    place: str
    schema: TableSchema
    types: dict[str, str]
    stored: dict[str, str]
    writers: list[str] = field(default_factory=list)


def settle_tables(out: Rows, tables: StreamTables, edges: RowEdgeTables) -> list[Problem]:
    """Check the rows that this commit brings, and relate them to what they belong to.

    Parameters
    ----------
    out : Rows
        Of the commit; all rows of streams are inserted.
    tables : StreamTables
        Where they are.
    edges : RowEdgeTables
        Gives links their numbers.

    Returns
    -------
    list of Problem
        Conditions that cannot be understood.
    """
    declared = _declarations(out.connection, tables)
    settling = _Settling(out, edges, declared)
    for name in _parents_first(declared):
        settling.check(name)
        settling.check_unique(name)
        settling.relate(name)
    place_marks(out, tables, _marked(declared), {name for name in declared if settling.fresh[name]})
    settle_sets(out, tables)
    return settling.problems


def marked_tables(connection: Any, tables: StreamTables) -> list[MarkedTable]:
    """Return the declared tables that have rows, as marks are placed on them.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit; all rows of streams are inserted.
    tables : StreamTables
        Where they are.

    Returns
    -------
    list of MarkedTable
        As they were declared last.
    """
    return _marked(_declarations(connection, tables))


def _marked(declared: dict[str, list[_Declaration]]) -> list[MarkedTable]:
    newest = [each[-1] for each in declared.values()]
    return [
        (each.stream, each.place, each.schema, each.stored, each.types)
        for each in newest
        if each.schema.file or each.schema.key
    ]


def _parents_first(declared: dict[str, list[_Declaration]]) -> list[str]:
    """Return the tables so that what rows belong to is judged before them."""
    order: dict[str, None] = {}

    def place(name: str, below: tuple[str, ...]) -> None:
        # A name in `below` is declared in a circle, by versions of the code that do not agree.
        if name in declared and name not in order and name not in below:
            for each in declared[name]:
                for parent in each.schema.parents:
                    place(parent.table, (*below, name))
            order[name] = None

    for name in declared:
        place(name, ())
    return list(order)


def _declarations(connection: Any, tables: StreamTables) -> dict[str, list[_Declaration]]:
    """Return the declarations of each table that has rows, the newest last."""
    rows = connection.execute(
        "select stream, declared, columns, list(writer order by writer) from stream_rows where declared is not null "
        "group by all order by stream, min(snapshot), min(writer), declared, columns"
    ).fetchall()
    found: dict[str, list[_Declaration]] = {}
    for stream, declared, columns, writers in rows:
        types = dict(json.loads(columns))
        stored = tables.stored(stream, list(types.items()))
        if stored is None:
            continue
        place = f"stream.{quoted(tables.place(stream))}"
        schema = _known_columns(msgspec.json.decode(declared, type=TableSchema), types)
        names = {name: quoted(column) for name, column in stored.items()}
        found.setdefault(stream, []).append(_Declaration(stream, place, schema, types, names, writers))
    return found


def _known_columns(schema: TableSchema, types: dict[str, str]) -> TableSchema:
    """Return a schema that names no column that is not there: a log that we did not write may."""
    return msgspec.structs.replace(
        schema,
        key=[column for column in schema.key if column in types],
        needed=[column for column in schema.needed if column in types],
        parents=[each for each in schema.parents if all(column in types for column, _ in each.pairs)],
        file=schema.file if schema.file in types else None,
    )


class _Settling:
    """One commit's work on declared tables.

    Parameters
    ----------
    out : Rows
        Of the commit.
    edges : RowEdgeTables
        Gives links their numbers.
    declared : dict of str to list of _Declaration
        The tables.
    """

    def __init__(self, out: Rows, edges: RowEdgeTables, declared: dict[str, list[_Declaration]]) -> None:
        self._out, self._edges, self._declared = out, edges, declared
        self._ask = out.connection.execute
        self._others: dict[str, bool] = {}
        self.problems: list[Problem] = []
        self.fresh = {name: self._has_news(each[0].place) for name, each in declared.items()}

    def _has_news(self, place: str) -> bool:
        return bool(self._ask(f"select 1 from {place} where _snapshot = {self._out.snapshot} limit 1").fetchall())

    def _has_others(self, name: str) -> bool:
        """Whether somebody has a stream of that name that is no declared table."""
        if name not in self._others:
            query = "select 1 from stream_rows where stream = ? and declared is null limit 1"
            self._others[name] = bool(self._ask(query, [name]).fetchall())
        return self._others[name]

    def _writers(self, each: _Declaration, alias: str) -> str:
        """Return SQL for: the row is of one who declares the table so."""
        if len(self._declared[each.stream]) == 1:
            return self._any_writer(each.stream, alias)
        return f"{alias}._writer in ({', '.join(map(_text, each.writers))})"

    def _any_writer(self, name: str, alias: str) -> str:
        """Return SQL for: the row is of one who declares the table at all."""
        if not self._has_others(name):
            return "true"
        writers = sorted({writer for each in self._declared[name] for writer in each.writers})
        return f"{alias}._writer in ({', '.join(map(_text, writers))})"

    # ------------------------------------------------------------------ checks

    def check(self, name: str) -> None:
        """Find rows that lack what they need, or for which a check does not hold."""
        for each in self._declared[name]:
            types, parents = self._parents(each)
            alone: list[tuple[str, str]] = [
                (f"{column} is missing", f"{each.stored[column]} is not null") for column in each.schema.needed
            ]
            for message, text in each.schema.checks:
                try:
                    condition = Condition(text, types)
                except InvalidInputError as error:
                    if self.fresh[name]:
                        told = f"a check of table {name} cannot be made: {error}"
                        self.problems.append(Problem("quarantine", told))
                    continue
                used = sorted({column.partition(".")[0] for column in condition.names if "." in column})
                sql = condition.sql(partial(_column, each, parents))
                if used:
                    self._check_with(each, message, sql, [parents[parent] for parent in used])
                else:
                    alone.append((message, sql))
            if alone and self.fresh[name]:
                self._check_alone(each, alone)

    def _check_alone(self, each: _Declaration, checks: list[tuple[str, str]]) -> None:
        rules = ", ".join(f"case when not try({sql}) then {_text(message)} end" for message, sql in checks)
        snapshot = self._out.snapshot
        self._ask(
            "insert into quarantine_rows select ?, w, r, unnest(rules), false, null, null, ? from ("
            f"select _writer as w, _row as r, list_filter([{rules}], lambda x: x is not null) as rules "
            f"from {each.place} c where _snapshot = {snapshot} and {self._writers(each, 'c')}) "
            "where len(rules) > 0 order by w, r",
            [each.stream, snapshot],
        )

    def _check_with(self, each: _Declaration, message: str, sql: str, used: list[_Belonging]) -> None:
        if not (self.fresh[each.stream] or any(self.fresh[parent.of.stream] for parent in used)):
            return
        snapshot = self._out.snapshot
        joins = " ".join(parent.join(each) for parent in used)
        outside = " and ".join(_is_counted(parent.alias, parent.of.stream) for parent in used)
        news = " or ".join(f"{alias}._snapshot = {snapshot}" for alias in ("c", *(parent.alias for parent in used)))
        self._ask(
            f"insert into quarantine_rows select distinct ?, c._writer, c._row, ?, false, null, null, {snapshot} "
            f"from {each.place} c {joins} where ({news}) and {self._writers(each, 'c')} and {outside} "
            f"and not try({sql}) order by all",
            [each.stream, message],
        )

    def _parents(self, each: _Declaration) -> tuple[dict[str, str], dict[str, _Belonging]]:
        """Return the types of all names that a check may have, and what rows belong to, by the field's name."""
        types = dict(each.types)
        found: dict[str, _Belonging] = {}
        for number, parent in enumerate(each.schema.parents):
            if parent.table not in self._declared:
                continue
            newest = self._declared[parent.table][-1]
            pairs = parent.pairs
            if not pairs or not all(_alike(each.types.get(one), newest.types.get(other)) for one, other in pairs):
                # The code has changed between the two: what they hold cannot be compared.
                continue
            types |= {f"{parent.field}.{column}": kind for column, kind in newest.types.items()}
            found[parent.field] = _Belonging(f"p{number}", parent, newest)
        return types, found

    # ------------------------------------------------------------------ uniqueness

    def check_unique(self, name: str) -> None:
        """Find rows that have what only one may have."""
        if not self.fresh[name]:
            return
        newest = self._declared[name][-1]
        for number, columns in enumerate([newest.schema.key, *newest.schema.unique]):
            if columns and all(column in newest.stored for column in columns):
                self._check_key(newest, columns, is_key=not number)

    def _check_key(self, each: _Declaration, columns: list[str], *, is_key: bool) -> None:
        names = [each.stored[column] for column in columns]
        key = ", ".join(names)
        snapshot = self._out.snapshot
        # What is not known is unlike anything, except in the key, which all rows have.
        known = "true" if is_key else " and ".join(f"{each.stored[column]} is not null" for column in columns)
        who = self._any_writer(each.stream, "t")
        counted = f"from {each.place} t where {known} and {who} and {_is_counted('t', each.stream)}"
        fresh = f"select {key} from {each.place} where _snapshot = {snapshot}"
        same = " and ".join(f"t.{name} is not distinct from f.{name}" for name in names)
        among = counted
        if self._ask(f"select 1 from {each.place} where _snapshot < {snapshot} limit 1").fetchall():
            # Of a large table only the keys that came now are counted.
            among = f"from (select * {counted}) t semi join ({fresh}) f on {same}"
        # Told apart first by how often a key is there: that takes far less than to order the rows of each.
        twice = f"select {key} {among} group by all having count(*) > 1"
        first = (
            "over (partition by "
            + ", ".join(f"t.{name}" for name in names)
            + (" order by t._snapshot, t._time, t._writer, t._row)")
        )
        values = "struct_pack(" + ", ".join(f"v{at} := t.{c}" for at, c in enumerate(each.stored.values())) + ")"
        rule = f"{', '.join(columns)}: another row has the same"
        self._ask(
            f"insert into quarantine_rows select {_text(each.stream)}, w, r, "
            f"case when {'repeats' if is_key else 'false'} then 'said before' else {_text(rule)} end, "
            f"{'repeats' if is_key else 'false'}, ow, orow, {snapshot} from ("
            f"select t._writer as w, t._row as r, t._snapshot as s, row_number() {first} as n, "
            f"first_value(t._writer) {first} as ow, first_value(t._row) {first} as orow, "
            f"{values} is not distinct from first_value({values}) {first} as repeats "
            f"from (select * {counted}) t semi join (({twice}) intersect ({fresh})) f on {same}) "
            f"where n > 1 and s = {snapshot} order by w, r"
        )

    # ------------------------------------------------------------------ edges

    def relate(self, name: str) -> None:
        """Write an edge from each row to what it belongs to, once both are there."""
        snapshot = self._out.snapshot
        for each in self._declared[name]:
            for parent in self._parents(each)[1].values():
                if not (self.fresh[name] or self.fresh[parent.of.stream]):
                    continue
                outside = f"{_is_counted('c', name)} and {_is_counted(parent.alias, parent.of.stream)}"
                which = (
                    f"(c._snapshot = {snapshot} or {parent.alias}._snapshot = {snapshot}) "
                    f"and {self._writers(each, 'c')} and {outside}"
                )
                self._write(name, parent, f"{each.place} c {parent.join(each)}", which)

    def _write(self, name: str, parent: _Belonging, tables: str, which: str) -> None:
        writers = self._ask(
            f"select distinct c._writer, {parent.alias}._writer from {tables} where {which} order by all"
        ).fetchall()
        if not writers:
            return
        numbers = [self._edges.number((one, name, one, parent.of.stream, other, None)) for one, other in writers]
        braid_incoming = pa.table(
            {
                "link": pa.array(numbers, pa.int32()),
                "child": [one for one, _ in writers],
                "parent": [other for _, other in writers],
            }
        )
        assert len(braid_incoming)
        alias = parent.alias
        self._ask(
            f"insert into row_edge_rows select l.link, c._row, c._row, {alias}._row, {alias}._row, 1, 0, c._time, "
            f"{self._out.snapshot} from {tables} join braid_incoming l on l.child = c._writer and "
            f"l.parent = {alias}._writer where {which} order by 1, 2, 4"
        )


@dataclass(frozen=True, slots=True)
class _Belonging:
    """What rows of a table belong to.

    Attributes
    ----------
    alias : str
        Of its table in SQL.
    said : TableParent
        As declared.
    of : _Declaration
        The table.
    """

    alias: str
    said: TableParent
    of: _Declaration

    def join(self, child: _Declaration) -> str:
        """Return SQL that joins its rows to those of a table ``c``."""
        on = " and ".join(
            f"c.{child.stored[one]} = {self.alias}.{self.of.stored[other]}" for one, other in self.said.pairs
        )
        return f"join {self.of.place} {self.alias} on {on}"


def _column(each: _Declaration, parents: dict[str, _Belonging], name: str) -> str:
    parent, dot, column = name.partition(".")
    return f"{parents[parent].alias}.{parents[parent].of.stored[column]}" if dot else f"c.{each.stored[name]}"


def _alike(one: str | None, other: str | None) -> bool:
    """Whether values of two types can be equal."""
    if one is None or other is None:
        return False
    apart = {"text", "bytes", "bool", "timestamp"}
    return one == other if one in apart or other in apart else True


def _is_counted(alias: str, stream: str) -> str:
    return (
        f"not exists (from quarantine_rows q where q.stream = {_text(stream)} and q.writer = {alias}._writer "
        f"and q.row = {alias}._row)"
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
