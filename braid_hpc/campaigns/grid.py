"""Grids of parameters that nobody writes out: a cell is a number until somebody asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Cells", "Grid", "as_grid"]


class Grid:
    """All combinations of some values, the last name turning fastest; or rows of columns.

    Parameters
    ----------
    axes : mapping of str to sequence
        Values by name.
    together : bool
        Whether the values go side by side, as columns of one length, instead of in all combinations.

    Raises
    ------
    InvalidInputError
        If there is none, or something is no sequence, or columns are not of one length.

    Examples
    --------
    >>> grid = Grid({"number": range(1000), "source": range(8)})
    >>> len(grid), {name: values.tolist() for name, values in grid.columns([9, 7999]).items()}
    (8000, {'number': [1, 999], 'source': [1, 7]})
    """

    def __init__(self, axes: Mapping[str, Any], *, together: bool = False) -> None:
        if not hasattr(axes, "items") or not axes:
            raise InvalidInputError("a grid is a mapping of parameter to its values, with one at least")
        self._axes = {str(name): _axis(str(name), values) for name, values in axes.items()}
        self._together = together
        lengths = {name: len(values) for name, values in self._axes.items()}
        if together and len(set(lengths.values())) > 1:
            raise InvalidInputError(f"the columns of cells are not of one length: {lengths}")
        self._length = next(iter(lengths.values())) if together else prod(lengths.values())

    def __len__(self) -> int:
        """Return how many cells there are."""
        return self._length

    @property
    def names(self) -> list[str]:
        """The parameters."""
        return list(self._axes)

    def columns(self, cells: Any) -> dict[str, Any]:
        """Return the values of some cells.

        Parameters
        ----------
        cells : sequence of int
            Numbers of cells, shape (n,).

        Returns
        -------
        dict of str to numpy.ndarray
            Shape (n,) each.
        """
        left = np.asarray(cells, np.int64)
        if self._together:
            return {name: values[left] for name, values in self._axes.items()}
        found: dict[str, Any] = {}
        for name, values in reversed(self._axes.items()):
            left, at = np.divmod(left, max(len(values), 1))
            found[name] = values[at]
        return dict(reversed(found.items()))


class Cells:
    """Some cells of a grid, as a grid of their own.

    Parameters
    ----------
    grid : Grid or Cells
        Of which they are.
    cells : numpy.ndarray
        Their numbers, int64, shape (n,).
    """

    def __init__(self, grid: Grid | Cells, cells: Any) -> None:
        self._grid, self._cells = grid, np.asarray(cells, np.int64)

    def __len__(self) -> int:
        """Return how many cells there are."""
        return len(self._cells)

    @property
    def names(self) -> list[str]:
        """The parameters."""
        return self._grid.names

    def columns(self, cells: Any) -> dict[str, Any]:
        """Return the values of some cells; as :meth:`Grid.columns`.

        Parameters
        ----------
        cells : sequence of int
            Numbers of cells among these, shape (n,).

        Returns
        -------
        dict of str to numpy.ndarray
            Shape (n,) each.
        """
        return self._grid.columns(self._cells[np.asarray(cells, np.int64)])


def as_grid(given: Any) -> Grid | Cells:
    """Return what a caller gave as a grid.

    Parameters
    ----------
    given : Grid, mapping of str to sequence, or table
        A mapping means all combinations; a table (of Arrow, pandas, or an answer of a store) its rows.

    Returns
    -------
    Grid
        Of it.

    Raises
    ------
    InvalidInputError
        If it is something else.
    """
    if isinstance(given, (Grid, Cells)):
        return given
    if hasattr(given, "to_arrow"):
        given = given.to_arrow()
    if hasattr(given, "column_names"):
        return Grid({name: given.column(name).to_pylist() for name in given.column_names}, together=True)
    if hasattr(given, "columns") and hasattr(given, "iloc"):
        return Grid({name: given[name].tolist() for name in given.columns}, together=True)
    if not isinstance(given, Mapping):
        raise InvalidInputError(
            f"a grid is a mapping of parameter to its values, or a table of cells, not a {type(given).__name__}"
        )
    return Grid(given)


def _axis(name: str, values: Any) -> Any:
    is_row = isinstance(values, Sequence) or (isinstance(values, np.ndarray) and values.ndim == 1)
    if isinstance(values, (str, bytes)) or not is_row:
        kind = type(values).__name__
        raise InvalidInputError(f"the values of {name!r} are a {kind}: give a list, a range or an array of them")
    if isinstance(values, range):
        return _Range(values)
    if isinstance(values, np.ndarray):
        return values
    found = np.empty(len(values), object)
    found[:] = list(values)
    return found


class _Range:
    """The numbers of a range, which are not written out."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, at: Any) -> Any:
        return self._numbers.start + at * self._numbers.step
