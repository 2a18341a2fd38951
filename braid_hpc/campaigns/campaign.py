"""A campaign: the files of declared tables, what is there, what is to be made, and what can be made now."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.campaigns.items import Items, Stage, read_items
from braid_hpc.run.tables import declared_table
from braid_hpc.store.selection import Selection, select_rows
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.places import FileState

if TYPE_CHECKING:
    from braid_hpc.campaigns.plan import Plan
    from braid_hpc.store.store import Store
    from braid_hpc.tasks.task import Task

__all__ = ["STATES", "Campaign", "items_of"]

Array = np.ndarray[Any, Any]

#: What a summary counts, in its order.
STATES = (
    *("total", "exists", "consumed", "archived", "expected", "missing", "corrupt", "growing", "stale"),
    *("to_do", "runnable", "blocked"),
)


class Campaign:
    """What a store knows of declared tables and the files that their rows stand for.

    Everything is asked of the store; no file is looked at.

    Parameters
    ----------
    store : Store
        Open.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: what had been recorded and said by then.

    Raises
    ------
    InvalidInputError
        If there is no such snapshot, or nothing can be asked as of that time.
    """

    def __init__(self, store: Store, *, at: int | None = None, as_of: Any = None) -> None:
        self.store = store
        self._at, self._as_of = at, as_of
        self._then = store._then(at, as_of)

    @cached_property
    def items(self) -> Items:
        """All rows, as arrays; read once for a snapshot and a time."""
        key = ("items", self._then["at"], self._then["as_of"])
        return self.store._once(key, lambda: read_items(self.store, at=self._at, as_of=self._as_of))

    @property
    def stages(self) -> list[str]:
        """Names of the tables whose rows stand for files; what is made of files of one stands behind it."""
        return [name for name, stage in self.items.stages.items() if stage.is_file]

    @cached_property
    def _of_state(self) -> dict[str, Array]:
        """For each state, whether an item is in it."""
        items = self.items
        files = items.is_file & items.counts
        found = {"total": files, "stale": files & items.stale}
        for state in (FileState.EXISTS, FileState.CONSUMED, FileState.ARCHIVED):
            found[state.word] = files & (items.state == state)
        # What is not there is missing, whether somebody has looked for it or not; why is said of it too.
        for state in (FileState.EXPECTED, FileState.CORRUPT, FileState.GROWING):
            found[state.word] = files & (items.state == state)
        found["missing"] = items.is_missing
        found["to_do"] = items.is_to_do
        lacks = items.lacking > 0
        found["runnable"] = found["to_do"] & ~lacks & (items.state != FileState.GROWING)
        found["blocked"] = found["to_do"] & lacks
        return found

    def of_state(self, state: str) -> Array:
        """Return which items are in a state.

        Parameters
        ----------
        state : str
            One of :data:`STATES`.

        Returns
        -------
        array of bool, shape (n,)
            One value for each of :attr:`items`.

        Raises
        ------
        InvalidInputError
            If there is no such state.
        """
        if state not in self._of_state:
            raise InvalidInputError(f"{state!r} is no state of files: there are {', '.join(STATES)}")
        return self._of_state[state]

    # ------------------------------------------------------------------ counts

    def summary(self) -> Table:
        """Count the files of each table by state.

        Returns
        -------
        Table
            ``table``, then a column for each of :data:`STATES`.
        """
        import nanoarrow as na
        import pyarrow as pa

        stages = [self.items.stages[name] for name in self.stages]
        # To take a list pyarrow loads pandas, where it is, which takes longer than the answer.
        columns: dict[str, Any] = {"table": pa.array(na.c_array([stage.name for stage in stages], na.string()))}
        for state in STATES:
            which = self._of_state[state]
            found = [int(np.count_nonzero(which[stage.first : stage.last])) for stage in stages]
            columns[state] = pa.array(na.c_array(found, na.int64()))
        return Table(pa.table(columns))

    def counts(self, table: Any, *by: str, worst_first: bool = False, **conditions: Any) -> Table:
        """Count files by state for each group of them.

        Parameters
        ----------
        table : type or str
            As for :meth:`missing`.
        *by : str
            Columns that a group has in common; ``field__column`` for one of what rows belong to.
        worst_first : bool
            The groups of which least is done come first, instead of the order of `by`.
        **conditions
            As for :meth:`missing`.

        Returns
        -------
        Table
            The columns of `by`, a column for each of :data:`STATES`, and ``done``: the share that is not to be done,
            from 0 to 1.

        Raises
        ------
        NotFoundError, InvalidInputError
            As :meth:`list`.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        stage = self._stage(table)
        rows = self.select(table, **conditions).some(*by, ordered=False).to_arrow()
        mine = items_of(stage, rows)
        data = rows.drop_columns(["_writer", "_row"])
        for state in STATES:
            data = data.append_column(f"_{state}", pa.array(self._of_state[state][mine].astype(np.int64)))
        sums = [(f"_{state}", "sum") for state in STATES]
        found = data.group_by(list(by)).aggregate(sums) if by else data.group_by([]).aggregate(sums)
        found = found.select([*by, *(f"_{state}_sum" for state in STATES)]).rename_columns([*by, *STATES])
        found = pa.table(
            [
                pc.fill_null(each, 0) if name in STATES else each
                for name, each in zip(found.column_names, found.columns, strict=True)
            ],
            names=found.column_names,
        )
        total = pc.cast(pc.max_element_wise(found["total"], 1), pa.float64())
        done = pc.subtract(1.0, pc.divide(pc.cast(found["to_do"], pa.float64()), total))
        found = found.append_column("done", done)
        order = [("done", "ascending")] if worst_first else []
        order += [(name, "ascending") for name in by]
        return Table(found.sort_by(order) if order else found)

    # ------------------------------------------------------------------ lists

    def missing(self, table: Any, **conditions: Any) -> Table:
        """Return the files that are still to be made.

        Parameters
        ----------
        table : type or str
            A declared class, or the name of the table.
        **conditions
            As for :meth:`braid_hpc.store.selection.Selection.filter`.

        Returns
        -------
        Table
            The columns of the table, and ``state``: ``expected``, ``missing``, ``corrupt`` or ``growing``.

        Raises
        ------
        NotFoundError
            If no such table was declared.
        InvalidInputError
            If a condition cannot be asked.
        """
        return self.list("missing", table, **conditions)

    def runnable(self, table: Any, **conditions: Any) -> Table:
        """Return the files that are to be made, and for which all is ready that they are made of.

        A file that was consumed counts as ready; how many of them there are is said, because they have to be made
        again first.

        Parameters
        ----------
        table : type or str
            As for :meth:`missing`.
        **conditions
            As for :meth:`missing`.

        Returns
        -------
        Table
            As from :meth:`missing`, with ``inputs``, ``consumed`` and ``archived``: of how many items each is made, and
            how many of those were consumed, or have to be read back.

        Raises
        ------
        NotFoundError, InvalidInputError
            As :meth:`missing`.
        """
        return self.list("runnable", table, **conditions)

    def blocked(self, table: Any, **conditions: Any) -> Table:
        """Return the files that are to be made, and for which something is not ready.

        Parameters
        ----------
        table : type or str
            As for :meth:`missing`.
        **conditions
            As for :meth:`missing`.

        Returns
        -------
        Table
            As from :meth:`runnable`, and ``lacking``: how many items are not ready.

        Raises
        ------
        NotFoundError, InvalidInputError
            As :meth:`missing`.
        """
        return self.list("blocked", table, **conditions)

    def list(self, state: str, table: Any, **conditions: Any) -> Table:
        """Return the files of a table that are in a state, as :meth:`missing` and :meth:`runnable` do.

        Parameters
        ----------
        state : str
            One of :data:`STATES`.
        table : type or str
            As for :meth:`missing`.
        **conditions
            As for :meth:`missing`.

        Returns
        -------
        Table
            As from :meth:`blocked`.

        Raises
        ------
        NotFoundError, InvalidInputError
            As :meth:`missing`; also InvalidInputError if there is no such state, or rows of the table are no files.
        """
        import pyarrow as pa

        items, which = self.items, self.of_state(state)
        stage = self._stage(table)
        rows = self.select(table, **conditions).rows(system=True).to_arrow()
        mine = items_of(stage, rows)
        rows = rows.drop_columns(["_run", "_rank", "_writer", "_row", "_time", "_snapshot"])
        keep = np.flatnonzero(which[mine])
        mine = mine[keep]
        found = rows.take(pa.array(keep))
        words = np.array([each.word for each in FileState], object)
        found = found.append_column("state", pa.array(words[items.state[mine]], pa.string()))
        if state in ("runnable", "blocked", "to_do", "stale"):
            for name, each in self._counted.items():
                found = found.append_column(name, pa.array(each[mine]))
        return Table(found)

    @cached_property
    def _counted(self) -> dict[str, Array]:
        items = self.items
        return {
            "inputs": items.inputs(items.counts),
            "consumed": items.inputs(items.state == FileState.CONSUMED),
            "archived": items.inputs(items.state == FileState.ARCHIVED),
            "lacking": items.lacking,
        }

    def plan(self, task: Task, grid: Any) -> Plan:
        """Hold every cell of a grid of parameters against what the store knows to be done.

        Parameters
        ----------
        task : Task
            What is called for each cell.
        grid : Grid, mapping of str to sequence, or table
            A mapping means all combinations, which are not written out; a table, such as :meth:`runnable` returns, its
            rows.

        Returns
        -------
        Plan
            Of the newest snapshot, whatever the moment of the campaign.

        Raises
        ------
        InvalidInputError
            If it is no task or no grid, or names a parameter that the task does not have.
        """
        from braid_hpc.campaigns.plan import make_plan

        return make_plan(task, grid, self.store.path, opened=self.store)

    def select(self, table: Any, **conditions: Any) -> Selection:
        """Return the rows of a table of which something holds.

        Parameters
        ----------
        table : type or str
            As for :meth:`missing`.
        **conditions
            As for :meth:`missing`.

        Returns
        -------
        Selection
            Of this moment.

        Raises
        ------
        NotFoundError, InvalidInputError
            As :meth:`missing`.
        """
        found = select_rows(self.store, table, at=self._at, as_of=self._as_of)
        return found.filter(**conditions) if conditions else found

    def _stage(self, table: Any) -> Stage:
        """Return a table whose rows stand for files."""
        name = table if isinstance(table, str) else declared_table(table).name
        stage = self.items.stages.get(name)
        if stage is None:
            known = ", ".join(self.items.stages) or "none"
            raise NotFoundError(f"no table {name!r} was declared in {self.store.path.name}; there are: {known}")
        if not stage.is_file:
            raise InvalidInputError(f"rows of {stage.name} stand for no files: declare the table with file=")
        return stage


def items_of(stage: Stage, rows: Any) -> Array:
    """Return the item of each row of a table.

    Parameters
    ----------
    stage : Stage
        The table.
    rows : pyarrow.Table
        With ``_writer`` and ``_row``; of writers that the stage has.

    Returns
    -------
    array of int64, shape (n,)
        Numbers among all items.
    """
    writers = rows.column("_writer").combine_chunks().dictionary_encode()
    if not len(writers):
        return np.zeros(0, np.int64)
    begin = np.array([stage.holders[writer][0] for writer in writers.dictionary.to_pylist()], np.int64)
    found: Array = begin[writers.indices.to_numpy()] + rows.column("_row").to_numpy()
    return found
