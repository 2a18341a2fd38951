"""The columns of typed tables of results, one table for each kind of task."""

from __future__ import annotations

import types
import typing
from typing import Any

from braid_hpc.vocabulary import sql
from braid_hpc.vocabulary.columns import FIXED, check_columns
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["SQL_TYPES", "check_table_columns", "sql_type"]

#: SQL types by the types of columns; results are no bytes.
SQL_TYPES = {kind: name for kind, name in sql.SQL_TYPES.items() if kind != "bytes"}

#: Names that the tables have beside those of the columns.
RESERVED = ("output_pk", "key", "task", "snapshot")


def check_table_columns(task: str, columns: Any) -> list[tuple[str, str]]:
    """Return the columns of a table of results.

    Parameters
    ----------
    task : str
        Name of the task.
    columns : mapping of str to type, or pairs of these
        Types as of streams, without bytes, and lists of them: ``"float32[]"``, ``list[float]``.

    Returns
    -------
    list of (str, str)
        Names and types.

    Raises
    ------
    InvalidInputError
        If there are none, or a name or type cannot be one.
    """
    try:
        split = {name: _element(kind) for name, kind in dict(columns).items()}
    except (TypeError, ValueError):
        raise InvalidInputError(f"task {task}: columns= is a mapping of name to type, not {columns!r}") from None
    plain = {name: kind for name, (kind, _) in split.items()}
    lists = {name for name, (_, many) in split.items() if many}
    checked = check_columns(plain)
    for name, kind in checked:
        if name.lower() in RESERVED:
            raise InvalidInputError(f"task {task}: a column of results cannot be called {name!r}")
        if kind not in SQL_TYPES:
            raise InvalidInputError(
                f"task {task}: {kind!r} is no type of a column of results ({name!r}): use one of {', '.join(FIXED)}, "
                f"text, or a list of one of these such as 'float32[]'"
            )
    return [(name, kind + "[]" if name in lists else kind) for name, kind in checked]


def _element(kind: Any) -> tuple[Any, bool]:
    if isinstance(kind, types.GenericAlias) and typing.get_origin(kind) is list:
        return typing.get_args(kind)[0], True
    if isinstance(kind, str) and kind.endswith("[]"):
        return kind.removesuffix("[]"), True
    return kind, False


def sql_type(kind: str) -> str:
    """Return the SQL type of a column.

    Parameters
    ----------
    kind : str
        From :func:`check_table_columns`.

    Returns
    -------
    str
        For DuckDB.
    """
    return SQL_TYPES[kind.removesuffix("[]")] + ("[]" if kind.endswith("[]") else "")
