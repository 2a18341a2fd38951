"""Declared tables as they are asked for: rows that hold, chosen by their columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from braid_hpc.run.tables import DeclaredTable, declared_table
from braid_hpc.store.declared import StoredTable, stored_table
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.payloads import TableParent
from braid_hpc.vocabulary.sql import quoted
from braid_hpc.vocabulary.times import nanoseconds

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened
    from braid_hpc.store.tables import Table

__all__ = ["Changes", "Selection", "select_rows"]

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_WORDS = {"contains": "contains", "startswith": "starts_with", "endswith": "ends_with"}
_OTHERS = ("ne", "in", "isnull")
_ORDER = " order by t._snapshot, t._time, t._writer, t._row"
_AGGREGATES = ("count", "sum", "min", "max", "avg", "median", "stddev")


@dataclass(frozen=True, slots=True)
class Changes:
    """How a class differs from what the store holds of its table.

    Attributes
    ----------
    added : tuple of str
        Columns of the class that no row in the store has.
    removed : tuple of str
        Columns of the store that the class does not have any more; their values stay.
    retyped : tuple of str
        Columns of the class of which the store has values of another type, that its own type has no place for.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is a difference."""
        return bool(self.added or self.removed or self.retyped)


def select_rows(store: Opened, table: Any, *, at: int | None = None, as_of: Any = None) -> Selection:
    """Return the rows of a declared table, to be filtered.

    Parameters
    ----------
    store : Opened
        The store.
    table : type or str
        The class, or the name of the table.
    at : int, optional
        A snapshot number.
    as_of : datetime, str or int, optional
        A time: rows that had been recorded by then.

    Returns
    -------
    Selection
        All rows that hold.

    Raises
    ------
    NotFoundError
        If no such table was declared.
    InvalidInputError
        If it is no declared class, or there is no such snapshot or time.
    """
    declared = None if isinstance(table, str) else declared_table(table)
    then = store._then(at, as_of)
    found = stored_table(store, table if declared is None else declared.name, then["at"])
    return Selection(store, found, declared, then)


@dataclass(frozen=True)
class Selection:
    """Rows of a declared table that hold, in the order in which they were declared; asked for when they are used.

    Rows that are quarantined, or say what another row says, are not among them.
    """

    store: Opened
    table: StoredTable
    declared: DeclaredTable | None
    then: dict[str, Any]
    conditions: tuple[tuple[str, Any], ...] = ()

    def filter(self, **conditions: Any) -> Selection:
        """Return those rows of which something holds.

        Parameters
        ----------
        **conditions
            ``column=value``, or ``column__gt``, ``gte``, ``lt``, ``lte``, ``ne``, ``in``, ``contains``,
            ``startswith``, ``endswith``, ``isnull``; ``field__column`` for a column of what rows belong to.

        Returns
        -------
        Selection
            Fewer rows.

        Raises
        ------
        InvalidInputError
            If there is no such column, or it cannot be compared so.
        """
        for name in conditions:
            self._meant(name)
        return replace(self, conditions=(*self.conditions, *conditions.items()))

    @property
    def columns(self) -> list[str]:
        """The columns: those of the class, and those of values that it had under other types; or all of the store's."""
        if self.declared is None:
            return [name for name in self.table.columns if not name.startswith("_")]
        return [*self._own, *self._former]

    @cached_property
    def _own(self) -> dict[str, str | None]:
        """The stored column of each column of the class; None if no row has values of its type."""
        columns = self.declared.columns if self.declared is not None else ()
        return {column.name: self.table.holding(column.name, column.kind) for column in columns}

    @cached_property
    def _former(self) -> dict[str, str]:
        """Stored columns with values that columns of the class had under other types, by the name they have here."""
        return {
            f"{name}__{self.table.columns[each].lower()}": each
            for name, own in self._own.items()
            for each in self.table.held.get(name.lower(), ())
            if each != own
        }

    @property
    def units(self) -> dict[str, str]:
        """Unit symbol by column, where one was declared."""
        return dict(self.table.units)

    @property
    def changes(self) -> Changes:
        """How the class differs from the table in the store; nothing if the table was named by a text."""
        there = [name for name in self.table.columns if not name.startswith("_")]
        if self.declared is None or not there:
            return Changes((), ())
        held = {name: self.table.held.get(name.lower(), ()) for name in self._own}
        mine = {each for columns in held.values() for each in columns}
        return Changes(
            tuple(name for name, columns in held.items() if not columns),
            tuple(name for name in there if name not in mine),
            tuple(name for name, own in self._own.items() if set(held[name]) - {own}),
        )

    def rows(self, *, system: bool = False) -> Table:
        """Return the rows.

        Parameters
        ----------
        system : bool
            With ``_run``, ``_rank``, ``_writer``, ``_row``, ``_time`` and ``_snapshot``.

        Returns
        -------
        Table
            A column that no row in the store has is null. Values that a column had under another type, which its own
            has no place for, are in a column of their own: ``name__varchar`` beside ``name``.
        """
        chosen = [f"t.{quoted(name)}" for name in self.table.columns if system and name.startswith("_")]
        chosen += [f"{self._column(name)} as {quoted(name)}" for name in self.columns]
        return self._ask(", ".join(chosen), _ORDER)

    def some(self, *columns: str, ordered: bool = True) -> Table:
        """Return some columns of the rows, and which rows they are.

        Parameters
        ----------
        *columns : str
            Of the table; ``field__column`` for one of what rows belong to.
        ordered : bool
            False: in any order, which takes less time.

        Returns
        -------
        Table
            ``_writer`` and ``_row``, then the columns, in the order of :meth:`rows`.

        Raises
        ------
        InvalidInputError
            If there is no such column.
        """
        chosen = ["t._writer", "t._row", *(f"{self._column(name)} as {quoted(name)}" for name in columns)]
        return self._ask(", ".join(chosen), _ORDER if ordered else "", columns)

    def to_arrow(self) -> Any:
        """Return the rows as a pyarrow table.

        Returns
        -------
        pyarrow.Table
            With the unit of each column in its field's metadata.
        """
        import pyarrow as pa

        found = self.rows().to_arrow()
        return found.cast(
            pa.schema(
                [
                    each.with_metadata({"unit": self.table.units[each.name]}) if each.name in self.table.units else each
                    for each in found.schema
                ]
            )
        )

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            A copy.
        """
        return self.rows().to_pandas()

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries.

        Returns
        -------
        list of dict
            One for each row.
        """
        return self.rows().to_pylist()

    def count(self) -> int:
        """Return how many rows there are.

        Returns
        -------
        int
            The number.
        """
        return int(self._ask("count(*) as n", "")["n"][0])

    def summary(self, *by: str, **aggregates: str) -> Table:
        """Return a row for each group.

        Parameters
        ----------
        *by : str
            Columns that a group has in common; ``field__column`` for one of what rows belong to.
        **aggregates
            Name of a column of the answer, to what it is: ``mean_spacing="avg(spacing)"``; of ``count``, ``sum``,
            ``min``, ``max``, ``avg``, ``median``, ``stddev``.

        Returns
        -------
        Table
            The groups in order, ``count``, and the aggregates.

        Raises
        ------
        InvalidInputError
            If there is no such column or aggregate.
        """
        groups = [f"{self._column(name)} as {quoted(name)}" for name in by]
        for name, text in aggregates.items():
            function, _, column = text.removesuffix(")").partition("(")
            if function not in _AGGREGATES or not text.endswith(")"):
                raise InvalidInputError(
                    f"{text!r} is no aggregate: write one of {', '.join(_AGGREGATES)}, as sum(column)"
                )
            groups.append(f"{function}({self._column(column)}) as {quoted(name)}")
        asked = [*groups[: len(by)], "count(*) as count", *groups[len(by) :]]
        order = f" group by all order by {', '.join(str(at + 1) for at in range(len(by)))}" if by else ""
        return self._ask(", ".join(asked), order, [*by, *(text.partition("(")[2][:-1] for text in aggregates.values())])

    def __iter__(self) -> Iterator[Any]:
        """Yield instances of the class; rows as dictionaries where the table was named by a text."""
        if self.declared is None:
            yield from self.rows()
            return
        parents = {
            parent.field: {
                _key_of(parent.table, each): each
                for each in Selection(self.store, stored_table(self.store, parent.table.name), parent.table, self.then)
            }
            for parent in self.declared.parents
        }
        former: dict[str, list[str]] = {}
        for name in self._own:
            mine = self.table.held.get(name.lower(), ())
            former[name] = [each for each, stored in self._former.items() if stored in mine]
        for row in self.rows():
            for name, others in former.items():
                if others and row[name] is None:
                    # As it was recorded, under the type that the column had then.
                    row[name] = next((row[each] for each in others if row[each] is not None), None)
            yield _instance(self.declared, row, parents)

    def get(self, **conditions: Any) -> Any:
        """Return the one instance of which something holds.

        Parameters
        ----------
        **conditions
            As for :meth:`filter`.

        Returns
        -------
        object
            An instance of the class; what it belongs to is there too.

        Raises
        ------
        NotFoundError
            If there is none.
        ConflictError
            If there are several.
        """
        found = list(self.filter(**conditions))
        if not found:
            raise NotFoundError(f"no row of {self.table.name} has {_shown(conditions)}")
        if len(found) > 1:
            raise ConflictError(f"{len(found)} rows of {self.table.name} have {_shown(conditions)}")
        return found[0]

    # ------------------------------------------------------------------ in SQL

    def _meant(self, name: str) -> tuple[str, str]:
        """Return column and comparison of a condition."""
        if self._known(name):
            return name, "eq"
        column, _, word = name.rpartition("__")
        if column and word in (*_SIGNS, *_WORDS, *_OTHERS) and self._known(column):
            return column, word
        raise InvalidInputError(
            f"table {self.table.name} has no column {name!r}: it has {', '.join(self.columns)}; comparisons are "
            f"{', '.join((*_SIGNS, *_WORDS, *_OTHERS))}, as {self.columns[0]}__gt"
        )

    def knows(self, name: str) -> bool:
        """Return whether something can be asked of rows.

        Parameters
        ----------
        name : str
            A column, or a condition's name, as :meth:`filter` takes it.

        Returns
        -------
        bool
            Whether there is such a column.
        """
        try:
            self._meant(name)
        except InvalidInputError:
            return False
        return True

    def _known(self, name: str) -> bool:
        if name in self.columns or (name in self.table.columns and not name.startswith("_")):
            return True
        return self._of_parent(name) is not None

    def _of_parent(self, name: str) -> tuple[TableParent, StoredTable, str] | None:
        for parent in self.table.schema.parents:
            column = name.removeprefix(f"{parent.field}__")
            if column != name:
                found = stored_table(self.store, parent.table, self.then["at"])
                column = found.holding(column) or column
                if column in found.columns and not column.startswith("_"):
                    return parent, found, column
        return None

    def _column(self, name: str) -> str:
        if not self._known(name):
            self._meant(name)
        stored = self._own.get(name) or self._former.get(name) or (None if name in self._own else name)
        if stored in self.table.columns:
            return f"t.{quoted(stored)}"
        found = None if name in self._own else self._of_parent(name)
        return f"{quoted(found[0].field)}.{quoted(found[2])}" if found is not None else "null"

    def _ask(self, chosen: str, rest: str, needed: Any = ()) -> Table:
        bound: dict[str, Any] = dict(self.then)
        where = [
            "t._snapshot <= $at",
            "epoch_ns(t._time) <= $as_of",
            _counted("t", "$name"),
        ]
        bound["name"] = self.table.name
        for number, (name, value) in enumerate(self.conditions):
            column, word = self._meant(name)
            where.append(_compared(self._column(column), word, value, f"v{number}", bound))
        joins: list[str] = []
        used = [*(self._meant(name)[0] for name, _ in self.conditions), *needed]
        for parent, found, _ in {
            each[0].field: each
            for name in used
            if name not in (*self.table.columns, *self.columns) and (each := self._of_parent(name)) is not None
        }.values():
            alias, key = quoted(parent.field), f"p{len(joins)}"
            bound[key] = parent.table
            on = [_equal(self.table.equal(a, found, b), alias) for a, b in parent.pairs] or ["false"]
            on += [f"{alias}._snapshot <= $at", f"epoch_ns({alias}._time) <= $as_of", _counted(alias, f"${key}")]
            joins.append(f" left join {found.place} {alias} on {' and '.join(on)}")
        return self.store.sql(
            f"select {chosen} from {self.table.place} t{''.join(joins)} where {' and '.join(where)}{rest}", bound
        )


def _equal(columns: list[tuple[str, str]], alias: str) -> str:
    """Return SQL of a row being equal to another one in some columns, of which it has a value in one."""
    return f"({' or '.join(f't.{quoted(mine)} = {alias}.{quoted(theirs)}' for mine, theirs in columns) or 'false'})"


def _counted(alias: str, name: str) -> str:
    return (
        f"not exists (from quarantine_rows q where q.stream = {name} and q.writer = {alias}._writer "
        f"and q.row = {alias}._row and q.snapshot <= $at)"
    )


def _compared(column: str, word: str, value: Any, name: str, bound: dict[str, Any]) -> str:
    """Return SQL of a comparison; its value goes into what is bound."""
    if word == "isnull":
        return f"{column} is {'' if value else 'not '}null"
    if word == "in":
        values = list(value)
        if any(isinstance(each, datetime) for each in values):
            values, column = [nanoseconds(each) for each in values], f"epoch_ns({column})"
        bound[name] = values
        return f"list_contains(${name}, {column})"
    if isinstance(value, datetime):
        bound[name], column = nanoseconds(value), f"epoch_ns({column})"
    elif hasattr(value, "item"):
        bound[name] = value.item()
    else:
        bound[name] = value
    if word in _WORDS:
        return f"{_WORDS[word]}({column}, ${name})"
    if word in _SIGNS:
        return f"{column} {_SIGNS[word]} ${name}"
    return f"{column} is {'' if word == 'ne' else 'not '}distinct from ${name}"


def _key_of(table: DeclaredTable, instance: Any) -> tuple[Any, ...]:
    values = dict(zip((column.name for column in table.columns), table.values(instance), strict=True))
    return tuple(values[name] for name in table.schema.key)


def _instance(table: DeclaredTable, row: dict[str, Any], parents: dict[str, dict[tuple[Any, ...], Any]]) -> Any:
    given = {column.name: _as_given(row[column.name]) for column in table.columns if len(column.path) == 1}
    for parent in table.parents:
        key = tuple(row[f"{parent.field}__{name}"] for name in parent.table.schema.key)
        given[parent.field] = parents[parent.field].get(key)
    return table.cls(**given)


def _as_given(value: Any) -> Any:
    # Times come from the store as UTC without saying so, and with nanoseconds that no program had.
    return datetime.fromisoformat(value.isoformat()[:26]).replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _shown(conditions: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in conditions.items()) or "nothing asked of it"
