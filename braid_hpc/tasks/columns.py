"""Tables and series as arrays that lose nothing of them: one for each column, and apart from that what is missing.

One array of a whole table has one type: beside floats, integers are floats, of which several integers are one. And
where a value is missing, the libraries put NaN, which is a value too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["columns_apart"]


def columns_apart(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the columns of a table, or a series as the only one, where one array does not say what is in it.

    Parameters
    ----------
    value : object
        Of pandas, polars or Arrow; others are not looked at.

    Returns
    -------
    list of (object, object) or None
        The values that are there, and which are missing, as arrays; None instead of the latter where none is. None
        instead of the list if the array of the whole says it all.
    """
    library = type(value).__module__.partition(".")[0]
    if library not in _COLUMNS or not (columns := _COLUMNS[library](value)):
        return None
    missing, present = _MISSING[library]
    masks = [missing(each) for each in columns]
    if len({str(each.dtype if hasattr(each, "dtype") else each.type) for each in columns}) == 1 and not any(
        mask is not None for mask in masks
    ):
        return None
    return [(each if mask is None else present(each), mask) for each, mask in zip(columns, masks, strict=True)]


def _of_pandas(value: Any) -> list[Any]:
    if hasattr(value, "iloc") and hasattr(value, "columns"):
        return [value.iloc[:, at] for at in range(value.shape[1])]
    # An index of several levels holds tuples.
    return [value] if hasattr(value, "isna") and hasattr(value, "dropna") and not hasattr(value, "levels") else []


def _of_polars(value: Any) -> list[Any]:
    if hasattr(value, "get_columns"):
        return list(value.get_columns())
    return [value] if hasattr(value, "null_count") else []


def _of_arrow(value: Any) -> list[Any]:
    if hasattr(value, "column_names"):
        return list(value.columns)
    return [value] if hasattr(value, "null_count") else []


def _missing_of_pandas(column: Any) -> Any:
    # Types of NumPy have no value that is missing; NaN and NaT are values.
    if type(column.dtype).__module__.partition(".")[0] == "numpy":
        return None
    mask = column.isna()
    return mask if mask.any() else None


def _missing_of_polars(column: Any) -> Any:
    return column.is_null() if column.null_count() else None


def _missing_of_arrow(column: Any) -> Any:
    return column.is_null() if column.null_count else None


_COLUMNS: dict[str, Callable[[Any], list[Any]]] = {"pandas": _of_pandas, "polars": _of_polars, "pyarrow": _of_arrow}
#: How each library says what is missing, and leaves it out.
_MISSING: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "pandas": (_missing_of_pandas, lambda column: column.dropna()),
    "polars": (_missing_of_polars, lambda column: column.drop_nulls()),
    "pyarrow": (_missing_of_arrow, lambda column: column.drop_null()),
}
