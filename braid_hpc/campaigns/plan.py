"""A plan: every cell of a grid of parameters against what a store knows to be done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.campaigns.grid import Cells, Grid, as_grid
from braid_hpc.store.tables import Table
from braid_hpc.tasks.done_code import of_other_code
from braid_hpc.tasks.done_index import DoneIndex, newest_done
from braid_hpc.tasks.keys import columns_of
from braid_hpc.tasks.mapping import share_of
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.campaigns.results import Results
    from braid_hpc.store.store import Store
    from braid_hpc.tasks.task import Task

__all__ = ["WORDS", "Plan", "make_plan"]

Array = np.ndarray[Any, Any]

#: Cells whose keys are made at once: memory is bounded by them, whatever the grid.
AT_ONCE = 1 << 17

#: Types whose values JSON gives back as they are.
_OF_JSON = {str, int, bool, float, type(None)}

#: Cells that are looked up at once: each time the keys of the index are read.
_LOOKED_UP = 8 * AT_ONCE

#: What is not to be done again: it is done, or somebody has begun it.
_SETTLED = (State.DONE, State.RUNNING)

#: States of cells: those of the done index; done, but by other source than the task has now; done, and what was written
#: is not there any more.
WORDS = (*(state.name.lower() for state in State), "outdated", "lost")
_OUTDATED, _LOST = len(State), len(State) + 1


def make_plan(task: Task, grid: Any, store: Any, *, opened: Store | None = None) -> Plan:
    """Hold every cell of a grid against the done index of a store.

    Parameters
    ----------
    task : Task
        What is called for each cell.
    grid : Grid, mapping of str to sequence, or table
        Values of the task's parameters; see :func:`braid_hpc.campaigns.grid.as_grid`.
    store : path-like
        The store; its done index is read, and no file of results is looked at.
    opened : Store, optional
        The same one, open: what was said of results since they were written counts too.

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
    return Plan(task, found, store, opened)


class Plan:
    """What of a grid is done, and what is left; made by :func:`make_plan`.

    Attributes
    ----------
    task : Task
        What is called for each cell.
    grid : Grid
        The cells.
    """

    def __init__(self, task: Task, grid: Grid | Cells, store: Any, opened: Store | None = None) -> None:
        self.task, self.grid = task, grid
        self._store, self._opened = store, opened

    def __len__(self) -> int:
        """Return how many cells there are."""
        return len(self.grid)

    @cached_property
    def _index(self) -> DoneIndex | None:
        path = newest_done(self._store)
        return None if path is None else DoneIndex(path)

    @cached_property
    def states(self) -> Array:
        """Numbers of :data:`WORDS`, uint8, shape (cells,)."""
        found = np.zeros(len(self), np.uint8)
        if self._index is None:
            return found
        for first in range(0, len(self), _LOOKED_UP):
            last = min(first + _LOOKED_UP, len(self))
            keys = np.concatenate(
                [self._keys(np.arange(begin, min(begin + AT_ONCE, last))) for begin in range(first, last, AT_ONCE)]
            )
            found[first:last] = self._states(self._index, keys)
            self._index.let_go()
        return found

    def _states(self, index: DoneIndex, keys: Array) -> Array:
        places = index.places(keys)
        there = np.flatnonzero(places >= 0)
        found = np.zeros(len(keys), np.uint8)
        found[there] = index.table["state"][places[there]]
        done = there[found[there] == State.DONE]
        if self.task.options.code != "keep":
            for part in np.array_split(done, len(done) // AT_ONCE + 1):
                found[part[of_other_code(index, places[part], self.task.identity)]] = _OUTDATED
        if self._opened is not None and len(done):
            done = done[found[done] == State.DONE]
            found[done[self.results.are_lost(keys[done])]] = _LOST
        return found

    @cached_property
    def results(self) -> Results:
        """Where results are, as far as the store knows.

        Returns
        -------
        Results
            Of the cells of this plan.

        Raises
        ------
        InvalidInputError
            If the plan was made without an open store.
        """
        from braid_hpc.campaigns.results import Results

        return Results(self, self._need_store("where results are"))

    def _need_store(self, what: str) -> Store:
        if self._opened is None:
            raise InvalidInputError(f"{what} is not in the done index: make the plan with Campaign(store).plan(...)")
        return self._opened

    def _forget(self) -> None:
        """Ask again: the store has moved on."""
        for name in ("_index", "states", "results"):
            self.__dict__.pop(name, None)

    def _keys(self, cells: Array) -> Array:
        found: Array = self.task.keys_of(self.grid.columns(cells))
        return found

    def counts(self) -> dict[str, int]:
        """Count cells by state.

        Returns
        -------
        dict of str to int
            By :data:`WORDS`, those that no cell is in too.
        """
        found = np.bincount(self.states, minlength=len(WORDS))
        return {word: int(found[number]) for number, word in enumerate(WORDS)}

    def summary(self) -> dict[str, int]:
        """Count cells as people ask for them.

        Returns
        -------
        dict of str to int
            ``total``; ``done``, ``running``, ``failed``, ``missing`` (never done, left half-way, or lost) and ``stale``
            (done, and since then an input or it was invalidated, or the source is another one), which together are
            the total; ``to_do``; and of those that are done, how many have results ``in_store``, ``on_disk`` and
            ``on_tape``, where one may have several or, if what it made was consumed, none.

        Raises
        ------
        InvalidInputError
            If the plan was made without an open store.
        CorruptLogError
            If an entry of the done index is damaged.
        """
        counts = self.counts()
        found = {"total": len(self), **{word: counts[word] for word in ("done", "running", "failed")}}
        found["missing"] = sum(counts[word] for word in ("unknown", "interrupted", "unrecorded", "lost"))
        found["stale"] = counts["invalid"] + counts["outdated"]
        found["to_do"] = found["failed"] + found["missing"] + found["stale"]
        return found | self.results.counts()

    def _left(self) -> Array:
        return self._in(set(range(len(WORDS))) - {int(state) for state in _SETTLED})

    def _in(self, states: set[int]) -> Array:
        """Return the numbers of the cells that are in some states."""
        wanted = np.zeros(len(WORDS), bool)
        wanted[list(states)] = True
        return np.flatnonzero(wanted[self.states])

    def cells(self, *states: str) -> Table:
        """Return the cells that are in one of some states.

        Parameters
        ----------
        *states : str
            Of :data:`WORDS`: ``unknown``, ``done``, ``failed``, ``running``, ``invalid``, ``interrupted``,
            ``unrecorded``, ``outdated``, ``lost``.

        Returns
        -------
        Table
            A column for each parameter, and ``state``; in the order of the grid.

        Raises
        ------
        InvalidInputError
            If there is no such state.
        """
        if unknown := [each for each in states if each not in WORDS]:
            raise InvalidInputError(f"{unknown[0]!r} is no state of a task: there are {', '.join(WORDS)}")
        return self._table(self._in({WORDS.index(each) for each in states}))

    def missing(self) -> Table:
        """Return the cells that are left: all but those that are done, or running as far as the store knows.

        Returns
        -------
        Table
            As from :meth:`cells`; what is ``invalid`` is there to be done again.
        """
        return self._table(self._left())

    def batches(self, rows: int = AT_ONCE) -> Iterator[Table]:
        """Yield what :meth:`missing` returns, in parts: however many cells are left, memory is that of one part.

        Parameters
        ----------
        rows : int
            Of each part, at most.

        Yields
        ------
        Table
            As from :meth:`missing`; none where nothing is left.

        Raises
        ------
        InvalidInputError
            If `rows` is not positive.
        """
        if rows < 1:
            raise InvalidInputError(f"a part has one row at least, not {rows}")
        return self._parts(self._left(), rows)

    def _parts(self, cells: Array, rows: int) -> Iterator[Table]:
        for first in range(0, len(cells), rows):
            yield self._table(cells[first : first + rows])

    def claim(self, *, most: int | None = None, seconds: float | None = None, who: str = "") -> tuple[str, Plan]:
        """Take cells that are left, so that nobody else takes them.

        For those who submit jobs; the ranks of a job have their shares of what was claimed, see :meth:`share`, and
        wait for nobody. One who claims waits for another one, and then looks again at what is left. What is not done in
        time can be taken again.

        Parameters
        ----------
        most : int, optional
            How many cells at most, the first ones.
        seconds : float, optional
            How long the claim holds; :data:`braid_hpc.campaigns.claims.LEASE` without it.
        who : str
            For people.

        Returns
        -------
        id : str
            Of the claim, for :func:`braid_hpc.campaigns.claims.release`; empty if there was nothing to take.
        cells : Plan
            Of these cells alone.

        Raises
        ------
        InvalidInputError
            If `most` or `seconds` is not positive, `seconds` is more than 1e9, `who` is no text, or the plan was made
            without an open store.
        StorageError
            If nothing can be written beside the store; then nothing is taken.
        """
        from braid_hpc.campaigns.claims import LEASE, claim_cells

        store = self._need_store("what others have claimed")
        number, cells = claim_cells(store, self, most=most, seconds=LEASE if seconds is None else seconds, who=who)
        return number, Plan(self.task, Cells(self.grid, cells), self._store, store)

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

    def _keys_left(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and key of each cell that is left."""
        left = self._left()
        for first in range(0, len(left), AT_ONCE):
            cells = left[first : first + AT_ONCE]
            yield from zip(cells.tolist(), map(bytes, self._keys(cells)), strict=True)

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
        words = pa.DictionaryArray.from_arrays(pa.array(self.states[cells], pa.int8()), pa.array(WORDS))
        columns["state"] = words.dictionary_decode()
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
