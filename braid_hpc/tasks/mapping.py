"""Many calls of a task: which of them run, on which rank, and whose the time of their set-up is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from braid_hpc.run.handles import record_of
from braid_hpc.tasks.deciding import index_of
from braid_hpc.tasks.keys import columns_of, keys_of_columns
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_bytes

if TYPE_CHECKING:
    from braid_hpc.tasks.task import Task

__all__ = ["Mapped", "run_cells", "share_of"]


class Mapped(Sequence[Any]):
    """The results of :meth:`braid_hpc.tasks.task.Task.map`.

    Attributes
    ----------
    results : list
        One for each cell that was this rank's, in their order; None where there is an error.
    cells : list of int
        Which cells these are, from 0.
    keys : list of bytes
        Their keys.
    errors : dict of int to Exception
        By cell, what calls raised.
    setup_ns : int
        How long set-up took.
    """

    def __init__(self, cells: list[int], keys: list[bytes]) -> None:
        self.cells, self.keys = cells, keys
        self.results: list[Any] = []
        self.errors: dict[int, Exception] = {}
        self.setup_ns = 0

    def __len__(self) -> int:
        """How many cells were this rank's."""
        return len(self.results)

    def __getitem__(self, at: Any) -> Any:
        """Return a result."""
        return self.results[at]


class _SetUp:
    """Arguments that are made once, if at all."""

    def __init__(self, task: Task, given: Any) -> None:
        self._makers: dict[str, Callable[[], Any]] = {}
        if given is not None:
            self._makers = _good_setup(task, given)
        self._made: dict[str, Any] | None = None
        self.nanoseconds = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._makers)

    @property
    def names(self) -> list[str]:
        """The arguments."""
        return list(self._makers)

    def arguments(self, run: Any, name: str) -> dict[str, Any]:
        """Make them, the first time as an activity of its own."""
        if self._made is None:
            began = time.monotonic_ns()
            with run.activity(f"set-up of {name}"):
                self._made = {each: make() for each, make in self._makers.items()}
            self.nanoseconds = time.monotonic_ns() - began
        return self._made


def _good_setup(task: Task, given: Any) -> dict[str, Callable[[], Any]]:
    if not isinstance(given, Mapping) or not all(callable(make) for make in given.values()):
        raise InvalidInputError(f"task {task.name}: setup= is a mapping of argument to what makes it, not {given!r}")
    if wrong := sorted(given.keys() - task.identity.ignore):
        raise InvalidInputError(
            f"task {task.name}: setup= makes {wrong[0]}, which counts: name it in ignore=, or give it as an argument"
        )
    return dict(given)


def share_of(keys: Any, rank: int, size: int) -> Any:
    """Return which keys are a rank's.

    Parameters
    ----------
    keys : numpy.ndarray
        uint8, shape (n, 16).
    rank, size : int
        In a communicator.

    Returns
    -------
    numpy.ndarray
        Their places: the first 8 bytes of the key, a little-endian number, modulo `size` are `rank`.
    """
    import numpy as np

    return np.flatnonzero(np.ascontiguousarray(keys[:, :8]).view("<u8").reshape(-1) % np.uint64(size) == rank)


def run_cells(task: Task, cells: Any, *, setup: Any, comm: Any, errors: str, common: Mapping[str, Any]) -> Mapped:
    """Call a task for many cells.

    Parameters
    ----------
    task : Task
        Which one.
    cells, setup, comm, errors, common
        As for :meth:`braid_hpc.tasks.task.Task.map`.

    Returns
    -------
    Mapped
        The results.

    Raises
    ------
    InvalidInputError
        If the cells, or what goes with them, cannot be used.
    """
    from braid_hpc.tasks.task import _open_run

    if errors not in ("raise", "keep"):
        raise InvalidInputError(f"task {task.name}: errors= is 'raise' or 'keep', not {errors!r}")
    making = _SetUp(task, setup)
    run = _open_run(task.name)
    columns = _as_columns(task, cells)
    common = {**dict.fromkeys(making.names), **common}
    keys = keys_of_columns(task.identity, columns, common)
    own = list(range(len(keys))) if comm is None else share_of(keys, comm.Get_rank(), comm.Get_size()).tolist()
    index = index_of(run) if run else None
    states = index.lookup(keys[own]) if index is not None and own else None
    planned = len(own) if states is None else int((states != State.DONE).sum())
    mapped = Mapped(own, [keys[at].tobytes() for at in own])
    params = {"cells": len(keys), "own": len(own), "not done": planned}

    def prepare() -> tuple[dict[str, Any], int]:
        made = making.arguments(run, task.name)
        return made, making.nanoseconds // max(planned, 1)

    with run.activity(f"map {task.name}", params=params) as act:
        for at in own:
            arguments = {**common, **{name: values[at] for name, values in columns.items()}}
            try:
                value = task._call((), arguments, prepare if making else None)
            except Exception as error:
                if errors == "raise":
                    raise
                mapped.errors[at], value = error, None
            mapped.results.append(value)
        mapped.setup_ns = making.nanoseconds
        _declare_batch(act, task, mapped)
    return mapped


def _as_columns(task: Task, cells: Any) -> dict[str, Sequence[Any]]:
    """Return cells as columns."""
    if isinstance(cells, Mapping):
        return columns_of(task.identity, cells)[0]
    rows = list(cells)
    if not all(isinstance(row, Mapping) for row in rows):
        raise InvalidInputError(
            f"task {task.name}: the cells of a map are mappings of argument to value, or a mapping of columns"
        )
    names = list(rows[0]) if rows else []
    if any(row.keys() != rows[0].keys() for row in rows):
        raise InvalidInputError(f"task {task.name}: the cells of a map have the same arguments: {', '.join(names)}")
    return {name: [row[name] for row in rows] for name in names}


def _declare_batch(act: Any, task: Task, mapped: Mapped) -> None:
    """Declare the set of the results: the same members, whenever they were made, are the same content."""
    if not mapped.keys or mapped.errors:
        return
    members = [record for value in mapped.results if (record := record_of(value)) is not None]
    content = content_of_bytes(b"".join(sorted(mapped.keys)), prefix=b"batch\0")
    act.record("batch", task.name, digest=content.digest, derived_from=members)
