"""Declared tables: a frozen dataclass becomes a table of the store."""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from braid_hpc.vocabulary.columns import check_columns
from braid_hpc.vocabulary.conditions import Condition
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.payloads import TableParent, TableSchema
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.times import nanoseconds

__all__ = ["Column", "DeclaredTable", "Parent", "Type", "Unit", "declared_table", "table"]

_T = TypeVar("_T")
_TYPES: dict[Any, str] = {bool: "bool", int: "int64", float: "float64", str: "text", bytes: "bytes"}
_TYPES[datetime] = "timestamp"


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a field: ``Annotated[float, Unit("fm")]``.

    Attributes
    ----------
    symbol : str
        As people write it.
    """

    symbol: str


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a field's column, where it is not that of Python: ``Annotated[int, Type("int16")]``.

    Attributes
    ----------
    name : str
        One of :mod:`braid_hpc.vocabulary.columns`.
    """

    name: str


class Column(NamedTuple):
    """A column of a declared table.

    Attributes
    ----------
    name : str
        ``field``, or ``field__key`` for the key of what a row belongs to.
    kind : str
        Its type, as in :mod:`braid_hpc.vocabulary.columns`.
    unit : str or None
        Unit symbol.
    needed : bool
        Whether every row has a value.
    path : tuple of str
        The way to it from an instance.
    """

    name: str
    kind: str
    unit: str | None
    needed: bool
    path: tuple[str, ...]


class Parent(NamedTuple):
    """A field that holds an instance of another declared table.

    Attributes
    ----------
    field : str
        Its name.
    table : DeclaredTable
        The other table.
    needed : bool
        Whether every row has one.
    """

    field: str
    table: DeclaredTable
    needed: bool


@dataclass(frozen=True)
class DeclaredTable:
    """What a class that was declared as a table says.

    Attributes
    ----------
    cls : type
        The dataclass.
    name : str
        Of the table in the store.
    columns : tuple of Column
        In the order of the fields.
    parents : tuple of Parent
        What rows belong to.
    schema : TableSchema
        As it is recorded.
    conditions : tuple of (str, Condition)
        The checks, with what is said of a row that violates one.
    """

    cls: type
    name: str
    columns: tuple[Column, ...]
    parents: tuple[Parent, ...]
    schema: TableSchema
    conditions: tuple[tuple[str, Condition], ...]

    def values(self, instance: Any) -> list[Any]:
        """Return an instance as a row.

        Parameters
        ----------
        instance : object
            Of the class.

        Returns
        -------
        list
            One value for each column; times as nanoseconds since 1970 UTC.
        """
        found = [_at(instance, column.path) for column in self.columns]
        return [nanoseconds(value) if isinstance(value, datetime) else value for value in found]

    def name_of(self, instance: Any) -> str:
        """Return the name of the file that an instance stands for.

        Parameters
        ----------
        instance : object
            Of the class.

        Returns
        -------
        str
            The values of its key, with ``/`` between them, where no field is the name of a file; times as nanoseconds
            since 1970 UTC, bytes as hexadecimal digits. In texts of a key of several columns a backslash stands
            before each ``/`` and each backslash, so that no two keys have one name.
        """
        row = {column.name: (column, value) for column, value in zip(self.columns, self.values(instance), strict=True)}
        names = [_name(*row[each]) for each in ([self.schema.file] if self.schema.file else self.schema.key)]
        return names[0] if len(names) == 1 else "/".join(_escaped(name) for name in names)

    def violations(self, instance: Any) -> list[str]:
        """Return what is wrong with an instance.

        Parameters
        ----------
        instance : object
            Of the class.

        Returns
        -------
        list of str
            A sentence for each value that is needed and not there, and for each check that does not hold.
        """
        row = dict(zip((column.name for column in self.columns), self.values(instance), strict=True))
        found = [f"{column.name} is missing" for column in self.columns if column.needed and row[column.name] is None]

        def value(name: str) -> Any:
            return row[name] if name in row else _plain(_at(instance, tuple(name.split("."))))

        return found + [message for message, condition in self.conditions if condition.holds(value) is False]


def _name(column: Column, value: Any) -> str:
    """Return the text of a value, which compaction writes alike."""
    if isinstance(value, bytes):
        return value.hex()
    if column.kind in ("float32", "float64") and value is not None:
        return str(float(value) if column.kind == "float64" else _single(float(value)))
    return str(value)


def _single(value: float) -> float:
    """Return the shortest decimal, of six digits or more, that the store's number of 32 bits is."""
    try:
        kept = struct.pack("f", value)
    except OverflowError:
        kept = struct.pack("f", math.copysign(math.inf, value))
    (rounded,) = struct.unpack("f", kept)
    for digits in (6, 7, 8):
        if _fits(short := float(f"{rounded:.{digits}g}"), kept):
            return short
    return float(f"{rounded:.9g}")


def _fits(value: float, kept: bytes) -> bool:
    try:
        return struct.pack("f", value) == kept
    except OverflowError:
        return False


def _escaped(name: str) -> str:
    # Lone surrogates first: as their escapes they stand in the store, and compaction sees nothing else.
    return clean(name).replace("\\", "\\\\").replace("/", "\\/")


def _at(instance: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if instance is None:
            return None
        instance = getattr(instance, name)
    return instance


def _plain(value: Any) -> Any:
    return nanoseconds(value) if isinstance(value, datetime) else value


@dataclass_transform(frozen_default=True)
def table(
    given: Any = None,
    *,
    name: str | None = None,
    key: Any = None,
    unique: Any = (),
    checks: Any = (),
    file: str | None = None,
) -> Any:
    """Declare a frozen dataclass as a table of the store; a class that is none becomes one.

    Fields are bool, int, float, str, bytes, datetime, or another declared table, which the row then belongs to; ``X |
    None`` where there may be none; ``Annotated[float, Unit("fm")]`` with a unit. Rows are recorded by
    :meth:`braid_hpc.Run.declare`, and asked for by :meth:`braid_hpc.Store.table`.

    Parameters
    ----------
    given : type, optional
        The class.
    name : str, optional
        Of the table; without it the class's.
    key : str or sequence of str, optional
        Fields that say which row it is: two rows with one key are one row if they are equal, and else the second one
        is quarantined. Without it all fields.
    unique : sequence of str or of sequences of str, optional
        Further fields whose values no two rows have in common.
    checks : sequence or mapping of str to str, optional
        Conditions that hold for every row (:mod:`braid_hpc.vocabulary.conditions`); in a mapping, by what is said of
        a row that violates one.
    file : str, optional
        The field with the name of the file that a row stands for.

    Returns
    -------
    type
        The class.

    Raises
    ------
    InvalidInputError
        If it cannot be a table: a field of another type, a key or a unique field that it does not have, a check that
        is no condition on its fields.

    Examples
    --------
    >>> from typing import Annotated
    >>> @table(key=("ensemble", "number"), checks=["number >= 0"])
    ... class Configuration:
    ...     ensemble: str
    ...     number: int
    ...     spacing: Annotated[float, Unit("fm")] = 0.12
    >>> declared_table(Configuration).violations(Configuration("a12m310", -5))
    ['number >= 0 does not hold']
    """
    frame = sys._getframe(1)

    def declare(cls: type) -> type:
        made = cls if is_dataclass(cls) else dataclass(frozen=True)(cls)
        if not made.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise InvalidInputError(f"{cls.__name__} is a dataclass that can be changed: declare it with frozen=True")
        made.__braid_table__ = _describe(  # type: ignore[attr-defined]
            made, name or cls.__name__, _names(key), unique, checks, file, frame.f_locals
        )
        return made

    return declare if given is None else declare(given)


def declared_table(thing: Any) -> DeclaredTable:
    """Return what a class, or an instance of it, is declared as.

    Parameters
    ----------
    thing : object
        The class, or an instance.

    Returns
    -------
    DeclaredTable
        Its columns, parents and checks.

    Raises
    ------
    InvalidInputError
        If it was not declared.
    """
    cls = thing if isinstance(thing, type) else type(thing)
    found = cls.__dict__.get("__braid_table__")
    if not isinstance(found, DeclaredTable):
        raise InvalidInputError(f"{cls.__name__} is no declared table: put @braid.table above the class")
    return found


def _describe(
    cls: Any, name: str, key: list[str], unique: Any, checks: Any, file: str | None, names: dict[str, Any]
) -> DeclaredTable:
    columns: list[Column] = []
    parents: list[Parent] = []
    try:
        hints = get_type_hints(cls, localns={**names, cls.__name__: cls}, include_extras=True)
    except NameError as error:
        raise InvalidInputError(f"the types of {name} cannot be read: {error}") from None
    of_field: dict[str, list[str]] = {}
    for field in fields(cls):
        kind, unit, needed = _kind(name, field.name, hints[field.name])
        if isinstance(kind, DeclaredTable):
            parents.append(Parent(field.name, kind, needed))
            mine = [
                Column(f"{field.name}__{other.name}", other.kind, other.unit, needed, (field.name, *other.path))
                for other in kind.columns
                if other.name in kind.schema.key
            ]
        else:
            mine = [Column(field.name, kind, unit, needed, (field.name,))]
        columns += mine
        of_field[field.name] = [column.name for column in mine]
    check_columns([(column.name, column.kind) for column in columns])

    def meant(given: list[str], what: str) -> list[str]:
        given = list(dict.fromkeys(given))
        if unknown := [each for each in given if each not in of_field]:
            raise InvalidInputError(f"{what} of {name} names {unknown[0]!r}, and it has {', '.join(of_field)}")
        return [column for each in given for column in of_field[each]]

    schema = TableSchema(
        key=meant(key, "the key") if key else [column.name for column in columns],
        unique=[meant(_names(each), "unique=") for each in _listed(unique, "unique=")],
        needed=[column.name for column in columns if column.needed],
        checks=_checks(checks),
        parents=[
            # In the order of the columns, which need not be that of the key.
            TableParent(each.field, each.table.name, of_field[each.field], _keys(each.table))
            for each in parents
        ],
        file=meant([file], "file=")[0] if file else None,
    )
    types = {column.name: column.kind for column in columns} | _types_of_parents(parents)
    conditions = tuple((message, Condition(text, types)) for message, text in schema.checks)
    return DeclaredTable(cls, name, tuple(columns), tuple(parents), schema, conditions)


def _keys(table: DeclaredTable) -> list[str]:
    return [column.name for column in table.columns if column.name in table.schema.key]


def _types_of_parents(parents: list[Parent]) -> dict[str, str]:
    return {
        f"{parent.field}.{column.name}": column.kind
        for parent in parents
        for column in parent.table.columns
        if len(column.path) == 1
    }


def _kind(name: str, field: str, hint: Any) -> tuple[Any, str | None, bool]:
    """Return type or table, unit, and whether there is always a value."""
    unit, given, needed = None, None, True
    while get_origin(hint) in (Annotated, Union, UnionType):
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
            for note in notes:
                unit = note.symbol if isinstance(note, Unit) else unit
                given = note.name if isinstance(note, Type) else given
            continue
        options = [each for each in get_args(hint) if each is not NoneType]
        if len(options) != 1:
            break
        needed, hint = needed and len(options) == len(get_args(hint)), options[0]
    if isinstance(hint, type) and isinstance(hint.__dict__.get("__braid_table__"), DeclaredTable):
        return declared_table(hint), None, needed
    if given is None and hint not in _TYPES:
        raise InvalidInputError(
            f"field {field!r} of {name} is of type {getattr(hint, '__name__', hint)}: a field of a table is bool, int, "
            "float, str, bytes, datetime, or another declared table"
        )
    return given or _TYPES[hint], unit, needed


def _names(given: Any) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def _listed(given: Any, what: str) -> list[Any]:
    try:
        return [given] if isinstance(given, str) else list(given)
    except TypeError:
        raise InvalidInputError(f"{what} takes a list, not {given!r}") from None


def _checks(given: Any) -> list[tuple[str, str]]:
    if hasattr(given, "items"):
        return [(str(message), str(text)) for message, text in given.items()]
    return [(f"{text} does not hold", text) for text in _listed(given, "checks=")]
