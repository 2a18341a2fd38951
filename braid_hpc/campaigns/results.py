"""Where the results of a plan's cells are: in the store, on disk, on tape; and a look at those on disk."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np

from braid_hpc.campaigns.checking import YOUNG, Folders, check_young, say_marks
from braid_hpc.store.tables import Table
from braid_hpc.tasks.done_index import KEY_BYTES
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.places import FileState

if TYPE_CHECKING:
    from braid_hpc.campaigns.plan import Plan
    from braid_hpc.store.store import Store
    from braid_hpc.vocabulary.task_payloads import Output

__all__ = ["Results"]

Array = np.ndarray[Any, Any]

#: Cells whose entries are read at once.
_AT_ONCE = 1 << 16

#: The newest word on what each key wrote, at each place, of those since it was written.
_SAID = """
    with written as (
        select t.key, e.uri, a.begin_time, coalesce(d.end_time, a.begin_time) as end_time from task_rows t
        join task_ends e on e.begun_by = t.begun_by and e.begun_at = t.begun_at
        join activity_rows a on a.writer = t.begun_by and a.sequence = t.begun_at
        left join activity_ends d on d.begun_by = t.begun_by and d.begun_at = t.begun_at and d.writer = d.begun_by
        where t.task = $task and e.uri is not null),
    newest as (select key, arg_max(uri, begin_time) as uri, max(end_time) as end_time from written group by key)
    select unhex(w.key) as key, m.place in ('tape', 'archive') as archive,
        arg_max(m.state, (m.time, m.writer, m.mark)) as state
    from mark_rows m join newest w on w.uri = m.name and m.time >= w.end_time
    where m.stream = $table and m.state < 7 group by all
"""


class Results:
    """What a store knows of the results of a plan; made by :attr:`braid_hpc.campaigns.plan.Plan.results`.

    What was said with ``run.mark(task, state, names=uris, place=...)`` since a result was written counts; without it a
    result is where it was written.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store

    @cached_property
    def _said(self) -> dict[bool, tuple[Any, Array]]:
        """Keys (fixed-size binary) and states of what was marked; of archives, and of other places."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self._plan.task.marks_as
        found = self._store._asked("select 1 from mark_rows where stream = ? limit 1", [table])
        if not len(found):
            return {}
        rows = self._store._asked(_SAID, {"task": self._plan.task.name, "table": table}).to_arrow()
        said = {}
        for archive in (False, True):
            some = rows.filter(pc.equal(rows.column("archive"), archive))
            keys = some.column("key").combine_chunks().cast(pa.binary(KEY_BYTES))
            said[archive] = keys, some.column("state").to_numpy()
        return said

    def _words(self, keys: Array, *, archive: bool) -> Array:
        """Return what was said of keys: numbers of FileState, 0 where nothing was."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = np.zeros(len(keys), np.uint8)
        if archive not in self._said:
            return found
        known, states = self._said[archive]
        asked = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(KEY_BYTES), len(keys), [None, pa.py_buffer(np.ascontiguousarray(keys))]
        )
        at = pc.index_in(asked, value_set=known)
        there = np.flatnonzero(at.is_valid().to_numpy(zero_copy_only=False))
        found[there] = states[at.drop_null().to_numpy()]
        return found

    def are_lost(self, keys: Array) -> Array:
        """Return whose results are not there any more, and on no tape either.

        Parameters
        ----------
        keys : numpy.ndarray
            uint8, shape (n, 16).

        Returns
        -------
        numpy.ndarray
            bool, shape (n,).
        """
        if not self._said:
            return np.zeros(len(keys), bool)
        here = np.isin(self._words(keys, archive=False), [FileState.MISSING, FileState.CORRUPT])
        return here & ~self._is_there(self._words(keys, archive=True))

    @staticmethod
    def _is_there(words: Array) -> Array:
        return np.isin(words, [FileState.EXISTS, FileState.ARCHIVED])

    def _done(self) -> Iterator[tuple[Array, Array, list[Any]]]:
        """Yield numbers, keys and entries of cells that are done."""
        index = self._plan._index
        done = np.flatnonzero(self._plan.states == State.DONE)
        for first in range(0, len(done), _AT_ONCE):
            cells = done[first : first + _AT_ONCE]
            keys = self._plan._keys(cells)
            assert index is not None
            yield cells, keys, [index.entry(at) for at in index.places(keys).tolist()]
            index.let_go()

    def _placed(self) -> Iterator[tuple[Array, Array, list[Output], Array, Array]]:
        """Yield numbers and keys of cells that wrote something, what that was, and the words on disk and tape."""
        for cells, keys, entries in self._done():
            wrote = np.array([each.output is not None for each in entries], bool)
            cells, keys = cells[wrote], keys[wrote]
            outputs = [each.output for each in entries if each.output is not None]
            yield cells, keys, outputs, self._words(keys, archive=False), self._words(keys, archive=True)

    def counts(self) -> dict[str, int]:
        """Count the results of cells that are done by where they are.

        Returns
        -------
        dict of str to int
            ``in_store``, ``on_disk`` and ``on_tape``.

        Raises
        ------
        CorruptLogError
            If an entry of the done index is damaged.
        """
        done = int(np.count_nonzero(self._plan.states == State.DONE))
        found = {"in_store": done, "on_disk": 0, "on_tape": 0}
        for cells, _, _, disk, tape in self._placed():
            found["in_store"] -= len(cells)
            found["on_disk"] += int(np.count_nonzero(_on_disk(disk)))
            found["on_tape"] += int(np.count_nonzero(self._is_there(tape)))
        return found

    def batches(self) -> Iterator[Table]:
        """Yield the cells that are done and have written something, with what and where.

        Yields
        ------
        Table
            The parameters; ``uri``, ``size`` (bytes), ``modified`` (nanoseconds since 1970 UTC) and ``digest``, as they
            were written; ``on_disk`` and ``on_tape``.

        Raises
        ------
        CorruptLogError
            If an entry of the done index is damaged.
        """
        import pyarrow as pa

        for cells, _, outputs, disk, tape in self._placed():
            if not len(cells):
                continue
            table = self._plan._table(cells).to_arrow().drop_columns(["state"])
            columns: dict[str, Any] = {
                "uri": pa.array([each.uri for each in outputs], pa.string()),
                "size": pa.array([each.size for each in outputs], pa.int64()),
                "modified": pa.array([each.mtime_ns for each in outputs], pa.int64()),
                "digest": pa.array([each.digest for each in outputs], pa.string()),
                "on_disk": pa.array(_on_disk(disk)),
                "on_tape": pa.array(self._is_there(tape)),
            }
            for name, values in columns.items():
                table = table.append_column(name, values)
            yield Table(table)

    def verify(self, *, young: float = YOUNG) -> dict[str, int]:
        """Look for the files that were written, and say in the store what has changed; a listing for each directory.

        A file is ``corrupt`` if its size is not the one that was recorded, ``growing`` if it is another one than was
        recorded and was changed lately, ``missing`` if it is not there. One that was ``consumed``, or is on tape, may
        be gone. No file is opened: what is in it is looked at by the call that reads it.

        Parameters
        ----------
        young : float
            Seconds after its last change for which a file counts as growing.

        Returns
        -------
        dict of str to int
            How many files were found in each state that they were not in before; and ``not looked at``, how many are
            in no file system of this machine, if there are any.

        Raises
        ------
        InvalidInputError
            If `young` is no number of seconds.
        StorageError
            If a directory cannot be listed, or nothing can be written beside the store.
        """
        since = time.time_ns() - check_young(young)
        folders = Folders(Path("/"))
        found: dict[FileState, list[tuple[str, int, int]]] = defaultdict(list)
        elsewhere = 0
        for _, _, outputs, disk, tape in self._everything():
            for output, before, archived in zip(outputs, disk.tolist(), tape.tolist(), strict=True):
                where = urlsplit(output.uri)
                if where.scheme != "file" or where.netloc:
                    elsewhere += 1
                    continue
                there = folders.look(unquote(where.path))
                state = _state(output, there, FileState(before), FileState(archived), since)
                if state is not None:
                    found[state].append((output.uri, *(there or (-1, 0))))
        if found:
            say_marks(self._store, self._plan.task.marks_as, "disk", found)
            self._plan._forget()
        counts = dict(Counter({state.word: len(each) for state, each in found.items()}))
        return counts | ({"not looked at": elsewhere} if elsewhere else {})

    def _everything(self) -> Iterator[tuple[Array, Array, list[Output], Array, Array]]:
        """As `_placed`, with the cells that are lost: they may have come back."""
        from braid_hpc.campaigns.plan import WORDS

        states = self._plan.states
        lost = states == WORDS.index("lost")
        states[lost] = State.DONE
        try:
            yield from self._placed()
        finally:
            states[lost] = WORDS.index("lost")


def _on_disk(words: Array) -> Array:
    return np.isin(words, [FileState.EXPECTED, FileState.EXISTS, FileState.GROWING])


def _state(
    output: Output, there: tuple[int, int] | None, before: FileState, archived: FileState, since: int
) -> FileState | None:
    """Return what is to be said of a file, None where that was said, or is as it should be."""
    if there is None:
        gone = before in (FileState.MISSING, FileState.CONSUMED, FileState.ARCHIVED)
        return None if gone or archived in (FileState.EXISTS, FileState.ARCHIVED) else FileState.MISSING
    size, modified = there
    state = FileState.EXISTS
    if modified > since and (size, modified) != (output.size, output.mtime_ns):
        state = FileState.GROWING
    elif size != output.size:
        state = FileState.CORRUPT
    as_before = before in (FileState.EXPECTED, FileState.EXISTS) if state is FileState.EXISTS else before is state
    return None if as_before else state
