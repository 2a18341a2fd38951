"""Rows of declared tables: one by one as instances, and in bulk as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.run.guard import passes, shown
from braid_hpc.run.handles import NO_ROWS, Rows
from braid_hpc.run.row_edges import Relating
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.run.streams import Stream
    from braid_hpc.run.tables import Column, DeclaredTable

__all__ = ["DeclaringRows"]

#: Instances that others belong to which are remembered as declared, the last ones.
_REMEMBERED = 65_536


class DeclaringRows(Relating):
    """What declares rows of tables."""

    #: By writer: a forked child has a log of its own.
    _belonged: dict[tuple[bytes, Any], Rows]

    def _table_stream(self, declared: DeclaredTable) -> Stream:
        """Return the stream with a table's rows."""
        raise NotImplementedError

    def _own_stream(self, name: str, columns: dict[str, str]) -> Stream:
        """Return a stream of what is said about rows, records and files."""
        raise NotImplementedError

    def declare(self, thing: Any, columns: Any = None) -> Rows:
        """Record rows of a declared table (:class:`braid_hpc.table`).

        A row that violates a check is recorded, and quarantined when logs are merged; so is one whose key another row
        has. Rows that are equal are one row, whoever declares them.

        Parameters
        ----------
        thing : object or type
            An instance, which is one row; instances that it holds are declared too. Or a declared class.
        columns : mapping of str to sequence, optional
            With a class, any number of rows: a sequence for each column, all of one length, as NumPy or Arrow arrays,
            buffers or lists; one value where it is the same in all rows, an instance where all belong to it. The key
            of what rows belong to is columns ``field__key``. Columns that are left out have the field's default.

        Returns
        -------
        Rows
            The place of the rows; count 0 if they were refused.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if it is no declared table, columns do not fit, or a check does not hold
            for an instance. What violates a check is recorded all the same.
        """
        try:
            from braid_hpc.run.tables import declared_table

            if not self._open:
                self._note_late()
                return NO_ROWS
            declared = declared_table(thing)
            if isinstance(thing, type):
                if not hasattr(columns, "keys"):
                    raise InvalidInputError(f"give the rows of {declared.name} as a mapping of column to values")
                return self._declare_columns(declared, dict(columns.items()))
            if columns is not None:
                raise InvalidInputError(f"columns go with the class {declared.name}, and not with one of its instances")
            return self._declare_instance(declared, thing)
        except Exception as error:
            if passes(error):
                raise
            self._refused(f"declare {shown(thing)}", error, "" if columns is None else shown(columns))
            return NO_ROWS

    def _declare_instance(self, declared: DeclaredTable, instance: Any) -> Rows:
        for parent in declared.parents:
            if (held := getattr(instance, parent.field)) is not None:
                self._declare_parent(parent.table, held)
        rows = self._table_stream(declared).append(*declared.values(instance))
        if wrong := declared.violations(instance):
            self._part(f"{shown(instance)}", _say, "; ".join(wrong))
        return rows

    def _declare_parent(self, declared: DeclaredTable, instance: Any) -> None:
        """Declare what others belong to, once for each log."""
        if not isinstance(instance, declared.cls):
            raise InvalidInputError(f"{shown(instance)} is no {declared.name}")
        key = (self._log.writer, instance)
        if key not in self._belonged:
            if len(self._belonged) >= _REMEMBERED:
                self._belonged.clear()
            self._belonged[key] = self._declare_instance(declared, instance)

    def _declare_columns(self, declared: DeclaredTable, given: dict[str, Any]) -> Rows:
        for parent in declared.parents:
            held = given.get(parent.field)
            if isinstance(held, parent.table.cls):
                del given[parent.field]
                self._declare_parent(parent.table, held)
                mine = [column for column in declared.columns if column.path[0] == parent.field]
                given |= {column.name: _follow(held, column.path[1:]) for column in mine}
        names = [column.name for column in declared.columns]
        if unknown := [name for name in given if name not in names]:
            raise InvalidInputError(f"{declared.name} has no column {unknown[0]!r}: it has {', '.join(names)}")
        given = {column.name: _default(declared, column, given) for column in declared.columns}
        lengths = {name: len(values) for name, values in given.items() if _is_column(values)}
        if len(set(lengths.values())) > 1:
            raise InvalidInputError(f"the columns of {declared.name} are not of one length: {lengths}")
        count = next(iter(lengths.values()), 1)
        spread = {name: values if name in lengths else [values] * count for name, values in given.items()}
        stream = self._table_stream(declared)
        lacking = [
            column.name
            for column in declared.columns
            if not column.needed and isinstance(spread[column.name], list) and None in spread[column.name]
        ]
        if not lacking:
            return stream.extend(spread)
        # What is not there has no place in a batch.
        found = NO_ROWS
        for row in zip(*(_as_list(values) for values in spread.values()), strict=True):
            one = stream.append(*row)
            found = one if not found.count else Rows(one.writer, one.stream, found.first, found.count + 1)
        return found


def _say(message: str) -> None:
    raise InvalidInputError(message)


def _follow(instance: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        instance = getattr(instance, name)
    return instance


def _default(declared: DeclaredTable, column: Column, given: dict[str, Any]) -> Any:
    if column.name in given:
        return given[column.name]
    from dataclasses import MISSING, fields

    if len(column.path) == 1:
        field = next(each for each in fields(declared.cls) if each.name == column.name)
        if field.default is not MISSING:
            return field.default
    if not column.needed:
        return None
    raise InvalidInputError(f"the rows of {declared.name} lack the column {column.name!r}")


def _is_column(values: Any) -> bool:
    # An array of no dimensions is one value.
    return hasattr(values, "__len__") and not isinstance(values, (str, bytes)) and getattr(values, "shape", None) != ()


def _as_list(values: Any) -> list[Any]:
    for name in ("tolist", "to_pylist"):
        if hasattr(values, name):
            return list(getattr(values, name)())
    return list(values)
