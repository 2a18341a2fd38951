"""Answers that are things in their order: as in a list for Python, a table for everything else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.times import nanoseconds

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Listed", "typed_table"]

T = TypeVar("T")


class Listed(Generic[T]):
    """Things in their order, as in a list; pandas, polars, pyarrow and DuckDB take it as the table that it is.

    It is not a list, because pyarrow and polars take those for something else.

    Subclasses say in ``COLUMNS`` which attributes are columns, and of which type: ``text``, ``int``, ``float``,
    ``bool``, ``time``, lists of these (``texts``, ``ints``), or ``json`` for what may be of any type.

    Parameters
    ----------
    things : iterable
        Dataclasses with these attributes.
    """

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, things: Iterable[T] = ()) -> None:
        self._things = list(things)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._things)

    def __iter__(self) -> Iterator[T]:
        """Yield them in order."""
        return iter(self._things)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        """Return one, or those of a slice as a list."""
        return self._things[place]

    def __eq__(self, other: object) -> bool:
        """Whether the other one, which may be a list, has the same things in this order."""
        if isinstance(other, Listed):
            return self._things == other._things
        return self._things == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show them as a list."""
        return repr(self._things)

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return the rows of the table.

        Returns
        -------
        columns : tuple of str
            Names, also where there are no rows.
        rows : list of dict
            The attributes of each.
        """
        names = tuple(name for name, _ in self.COLUMNS)
        return names, [{name: getattr(each, name) for name in names} for each in self]

    def table(self) -> Table:
        """Return it as a table.

        Returns
        -------
        Table
            A row for each; the columns have their types also where there are no rows.
        """
        return Table(typed_table(self.COLUMNS, self.rows()[1]))

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as an ArrowArrayStream capsule (Arrow PyCapsule interface)."""
        return self.table().__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return self.table()._repr_html_()


def typed_table(columns: tuple[tuple[str, str], ...], rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as an Arrow table, whose types do not depend on them.

    Parameters
    ----------
    columns : tuple of (str, str)
        Names and types, as of :class:`Listed`.
    rows : list of dict
        Plain values.

    Returns
    -------
    pyarrow.Table
        In that order, also where there are no rows.
    """
    import pyarrow as pa

    made = {}
    for name, kind in columns:
        values = [_as_json(row[name]) if kind == "json" else row[name] for row in rows]
        # Of its own accord pyarrow takes microseconds of a datetime.
        values = [nanoseconds(value) for value in values] if kind == "time" else values
        made[name] = pa.array(values, _type(pa, kind))
    return pa.table(made)


def _type(pa: Any, kind: str) -> pa.DataType:
    types = {
        "text": pa.string(),
        "json": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("ns"),
    }
    return types[kind] if kind in types else pa.list_(types[kind.removesuffix("s")])


def _as_json(value: Any) -> str | None:
    return None if value is None else json.dumps(to_jsonable(value), ensure_ascii=False)
