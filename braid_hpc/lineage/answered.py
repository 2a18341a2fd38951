"""What every answer can be made into: a table, plain values, a graph of another library, a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

from braid_hpc.store.listed import typed_table
from braid_hpc.store.tables import Table

__all__ = ["Answered", "plain"]


def plain(values: Iterable[Any]) -> list[dict[str, Any]]:
    """Return flat dataclasses as dictionaries.

    Parameters
    ----------
    values : iterable of dataclass
        Whose fields are plain values.

    Returns
    -------
    list of dict
        Each by the names of its fields.
    """
    return [{field.name: getattr(value, field.name) for field in dataclasses.fields(value)} for value in values]


class Answered:
    """An answer of which each row is a thing: the base of all answers.

    Subclasses say in ``COLUMNS`` what the columns of its table are, as those of
    :class:`~braid_hpc.store.listed.Listed` do.
    """

    __slots__ = ()

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return the rows of the answer's table.

        Returns
        -------
        columns : tuple of str
            Names, also where there are no rows.
        rows : list of dict
            Plain values.

        Raises
        ------
        NotImplementedError
            Until a kind of answer says what its rows are.
        """
        raise NotImplementedError

    def table(self) -> Table:
        """Return the answer as a table.

        Returns
        -------
        Table
            Its rows; the columns have their types also where there are no rows, or no value in one.
        """
        return Table(typed_table(self.COLUMNS, self.rows()[1]))

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as an ArrowArrayStream capsule (Arrow PyCapsule interface)."""
        return self.table().__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        """Show the answer in a notebook."""
        return self.table()._repr_html_()
