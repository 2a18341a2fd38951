"""A plan: every cell of a grid of parameters against what a store knows to be done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.campaigns.grid import Grid, as_grid
from braid_hpc.store.tables import Table
from braid_hpc.tasks.done_index import DoneIndex, newest_done
from braid_hpc.tasks.keys import columns_of
from braid_hpc.tasks.mapping import share_of
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.tasks.task import Task

__all__ = ["Plan", "make_plan"]

Array = np.ndarray[Any, Any]

#: Cells whose keys are made at once: memory is bounded by them, whatever the grid.
AT_ONCE = 1 << 17

#: Types whose values JSON gives back as they are.
_OF_JSON = {str, int, bool, float, type(None)}

#: What is not to be done again: it is done, or somebody has begun it.
_SETTLED = (State.DONE, State.RUNNING)


def make_plan(task: Task, grid: Any, store: Any) -> Plan:
    """Hold every cell of a grid against the done index of a store.

    Parameters
    ----------
    task : Task
        What is called for each cell.
    grid : Grid, mapping of str to sequence, or table
        Values of the task's parameters; see :func:`braid_hpc.campaigns.grid.as_grid`.
    store : path-like
        The store; no database is opened, and no file of results is looked at.

    Returns
    -------
    Plan
        Nothing is worked out before it is asked for.

    Raises
    ------
    InvalidInputError
        If it is no task or no grid, or names a parameter that the task does not have.
    """
    if not hasattr(task, "keys_of"):
        raise InvalidInputError(f"{task!r} is no task: put @braid.task above the function")
    found = as_grid(grid)
    if len(found):
        # What is wrong with the grid is said now, and not after a million cells.
        task.keys_of(found.columns([0]))
    return Plan(task, found, store)


class Plan:
    """What of a grid is done, and what is left; made by :func:`make_plan`.

    Attributes
    ----------
    task : Task
        What is called for each cell.
    grid : Grid
        The cells.
    """

    def __init__(self, task: Task, grid: Grid, store: Any) -> None:
        self.task, self.grid = task, grid
        self._store = store

    def __len__(self) -> int:
        """Return how many cells there are."""
        return len(self.grid)

    @cached_property
    def states(self) -> Array:
        """Numbers of :class:`~braid_hpc.tasks.states.State`, uint8, shape (cells,)."""
        found = np.zeros(len(self), np.uint8)
        path = newest_done(self._store)
        if path is None:
            return found
        index = DoneIndex(path)
        for first in range(0, len(self), AT_ONCE):
            cells = np.arange(first, min(first + AT_ONCE, len(self)))
            found[cells] = index.lookup(self._keys(cells))
        return found

    def _keys(self, cells: Array) -> Array:
        found: Array = self.task.keys_of(self.grid.columns(cells))
        return found

    def counts(self) -> dict[str, int]:
        """Count cells by state.

        Returns
        -------
        dict of str to int
            By the states' names in lower case, those that no cell is in too.
        """
        found = np.bincount(self.states, minlength=len(State))
        return {state.name.lower(): int(found[state]) for state in State}

    def _left(self) -> Array:
        return np.flatnonzero(~np.isin(self.states, [int(state) for state in _SETTLED]))

    def cells(self, *states: str) -> Table:
        """Return the cells that are in one of some states.

        Parameters
        ----------
        *states : str
            ``unknown``, ``done``, ``failed``, ``running``, ``invalid``, ``interrupted``, ``unrecorded``.

        Returns
        -------
        Table
            A column for each parameter, and ``state``; in the order of the grid.

        Raises
        ------
        InvalidInputError
            If there is no such state.
        """
        known = {state.name.lower(): state for state in State}
        if unknown := [each for each in states if each not in known]:
            raise InvalidInputError(f"{unknown[0]!r} is no state of a task: there are {', '.join(known)}")
        return self._table(np.flatnonzero(np.isin(self.states, [int(known[each]) for each in states])))

    def missing(self) -> Table:
        """Return the cells that are left: all but those that are done, or running as far as the store knows.

        Returns
        -------
        Table
            As from :meth:`cells`; what is ``invalid`` is there to be done again.
        """
        return self._table(self._left())

    def share(self, rank: int, size: int) -> Table:
        """Return what is left for one of several ranks; nothing is communicated, and no cell is dealt twice.

        Parameters
        ----------
        rank, size : int
            Of a communicator, or of the tasks of an array job.

        Returns
        -------
        Table
            As from :meth:`missing`: those whose key, as a number, modulo `size` is `rank`.

        Raises
        ------
        InvalidInputError
            If there is no such rank.
        """
        if not 0 <= rank < size:
            raise InvalidInputError(f"there is no rank {rank} among {size}")
        left = self._left()
        mine = [
            cells[share_of(self._keys(cells), rank, size)]
            for cells in np.array_split(left, len(left) // AT_ONCE + 1)
            if len(cells)
        ]
        return self._table(np.concatenate(mine) if mine else left)

    def calls(self) -> Iterator[Callable[[], Any]]:
        """Yield a call for each cell that is left.

        Yields
        ------
        callable
            Takes nothing, and calls the task.
        """
        left = self._left()
        for first in range(0, len(left), AT_ONCE):
            # As their keys are made of them.
            columns, _ = columns_of(self.task.identity, self.grid.columns(left[first : first + AT_ONCE]))
            for row in zip(*columns.values(), strict=True):
                yield partial(self.task, **dict(zip(columns, row, strict=True)))

    def array_job(
        self, command: str, *, into: Any, scheduler: str, per_task: int = 100, **fields: Any
    ) -> dict[str, Any]:
        """Write what is left as the tasks of an array job.

        Parameters
        ----------
        command : str
            What each task runs; ``{cells}`` in it is the file with its cells, one JSON object a line. Infinities are
            ``Infinity`` there, which Python reads.
        into : path-like
            A directory, which is made, for these files.
        scheduler : str
            Of :data:`braid_hpc.batch.specification.SCHEDULERS`.
        per_task : int
            Cells of each task.
        **fields
            Further fields of :class:`braid_hpc.batch.Specification`.

        Returns
        -------
        dict
            What :func:`braid_hpc.batch.submit` takes.

        Raises
        ------
        InvalidInputError
            If nothing is left, `per_task` is not positive, or `command` does not name the cells; or if cells that are
            read from JSON would be other calls than those that are left, as of tuples and times, and stay left.
        """
        from braid_hpc.batch.scheduler import scheduler as by_name

        left = self._left()
        if not len(left) or per_task < 1 or "{cells}" not in command:
            why = "nothing is left to do" if not len(left) else "per_task= is at least 1, and the command has {cells}"
            raise InvalidInputError(f"there is no array job to make: {why}")
        for first in range(0, len(left), AT_ONCE):
            self._check_json(left[first : first + AT_ONCE])
        folder = Path(into).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        tasks = range(0, len(left), per_task)
        for number, first in enumerate(tasks):
            rows = _rows(self.grid.columns(left[first : first + per_task]))
            text = "".join(_json(row) + "\n" for row in rows)
            (folder / f"cells-{number}.ndjson").write_text(text, encoding="utf-8")
        cells = f"{folder}/cells-{by_name(scheduler).shell.task}.ndjson"
        return {
            **fields,
            "command": command.replace("{cells}", cells),
            "scheduler": scheduler,
            "array": f"0-{len(tasks) - 1}",
        }

    def _check_json(self, cells: Array) -> None:
        """Refuse cells that JSON makes other calls of."""
        columns = self.grid.columns(cells)
        given, _ = columns_of(self.task.identity, columns)
        odd = [name for name, values in given.items() if not set(map(type, values)) <= _OF_JSON]
        if not odd:
            return
        keys = self._keys(cells)
        read = [json.loads(_json(row)) for row in _rows(columns)]
        for name in odd:
            try:
                same = bool((self.task.keys_of({**columns, name: [row[name] for row in read]}) == keys).all())
            except BraidError:
                same = False
            if not same:
                raise InvalidInputError(
                    f"there is no array job to make: values of {name!r} are no values of JSON, and a task that reads "
                    "them would make other calls: give numbers or texts, or deal the cells with share()"
                )

    def _table(self, cells: Array) -> Table:
        import pyarrow as pa

        columns = {
            name: pa.array(values.tolist() if values.dtype == object else values)
            for name, values in self.grid.columns(cells).items()
        }
        words = np.array([state.name.lower() for state in State], object)
        columns["state"] = pa.array(words[self.states[cells]], pa.string())
        return Table(pa.table(columns))

    def __repr__(self) -> str:
        """Name the task and the cells."""
        return f"<Plan of {self.task.name}, {len(self)} cells>"


def _json(row: dict[str, Any]) -> str:
    return json.dumps(to_jsonable(row, words=True), ensure_ascii=False)


def _rows(columns: dict[str, Any]) -> Iterator[dict[str, Any]]:
    lists = [values.tolist() for values in columns.values()]
    for row in zip(*lists, strict=True):
        yield dict(zip(columns, row, strict=True))
