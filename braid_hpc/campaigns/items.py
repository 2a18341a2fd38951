"""The rows of all declared tables as numbers, with what they came from and what is known of them, in arrays.

Half a million files and a million edges are a few arrays of NumPy, so that what is asked of all of them takes
milliseconds, and no object is made for any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.lineage.row_links import RowLinks
from braid_hpc.store.declared import StoredTable, stored_table
from braid_hpc.vocabulary.places import ARCHIVES, FileState

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["Items", "Stage", "read_items"]

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Stage:
    """A declared table among the items.

    Attributes
    ----------
    table : StoredTable
        Where it is.
    first, last : int
        Its items are those from `first` on, before `last`.
    holders : dict of str to (int, int)
        The item of row 0 of each writer, and how many rows it has.
    is_file : bool
        Whether rows stand for files.
    """

    table: StoredTable
    first: int
    last: int
    holders: dict[str, tuple[int, int]]

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.table.name

    @property
    def is_file(self) -> bool:
        """Whether rows stand for files."""
        return self.table.schema.file is not None


@dataclass(slots=True)
class Items:
    """The rows of all declared tables at a moment.

    Attributes
    ----------
    stages : dict of str to Stage
        By name; what came of a table's rows stands behind it.
    counts : array of bool, shape (n,)
        Whether there is such a row, and it is not quarantined and no repetition.
    child, parent : array of int64, shape (edges,)
        Items at the ends of each edge.
    is_file : array of bool, shape (n,)
        Whether it stands for a file.
    state : array of uint8, shape (n,)
        :class:`~braid_hpc.vocabulary.places.FileState`, of all places together.
    on_disk, on_tape : array of bool, shape (n,)
        Whether it exists on a place that can be read at once, or on one that cannot.
    made : array of int64, shape (n,)
        When it was said last that it is there, nanoseconds since 1970 UTC; 0 if never.
    doubted : array of int64, shape (n,)
        When it was said that it is not to be relied on; 0 if never, or if that was taken back.
    """

    stages: dict[str, Stage]
    counts: Array
    child: Array
    parent: Array
    is_file: Array
    state: Array
    on_disk: Array
    on_tape: Array
    made: Array
    doubted: Array
    _stale: Array | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self.counts)

    # ------------------------------------------------------------------ what follows

    @property
    def is_done(self) -> Array:
        """Whether a file was made, whatever became of it."""
        return _among(self.state, FileState.EXISTS, FileState.CONSUMED, FileState.ARCHIVED) & self.is_file & self.counts

    @property
    def stale(self) -> Array:
        """Whether it was made, or is, and came of something that is not to be relied on, or is that itself."""
        if self._stale is None:
            self._stale = self._find_stale()
        return self._stale

    @property
    def is_missing(self) -> Array:
        """Whether a file is still to be made, or to be made again."""
        return self.is_file & self.counts & ~self.is_done

    @property
    def is_to_do(self) -> Array:
        """Whether a file is missing, or stale."""
        return self.is_missing | (self.is_file & self.counts & self.stale)

    @property
    def is_ready(self) -> Array:
        """Whether something can be made of it: a file that was made, or another row, that can be relied on."""
        return np.where(self.is_file, self.is_done, self.counts) & ~self.stale

    @property
    def lacking(self) -> Array:
        """How many of the items that it is made of are not ready."""
        lacks = self.child[~self.is_ready[self.parent]]
        return np.bincount(lacks, minlength=len(self))

    def inputs(self, which: Array) -> Array:
        """Return how many of the items that each is made of are among some.

        Parameters
        ----------
        which : array of bool, shape (n,)
            Those that count.

        Returns
        -------
        array of int64, shape (n,)
            Their number.
        """
        return np.bincount(self.child[which[self.parent]], minlength=len(self))

    def descendants(self, which: Array) -> Array:
        """Return all that came, or is to come, of some items.

        Parameters
        ----------
        which : array of bool, shape (n,)
            The items.

        Returns
        -------
        array of bool, shape (n,)
            Without themselves, unless one came of another.
        """
        return _closure(self.parent, self.child, which)

    def ancestors(self, which: Array) -> Array:
        """Return all that some items came, or are to come, from; as :meth:`descendants`."""
        return _closure(self.child, self.parent, which)

    def _find_stale(self) -> Array:
        stale = np.zeros(len(self), bool)
        roots = self.doubted > 0
        if not roots.any():
            return stale
        never = np.iinfo(np.int64).max
        made = np.where(self.is_file, self.made, 0)
        there = np.where(self.is_file, self.is_done, self.counts)
        reached = roots | self.descendants(roots)
        keep = reached[self.parent]
        child, parent = self.child[keep], self.parent[keep]
        # When an item must have been made to be fresh: after what it came from was made again, if it was.
        since = np.zeros(len(self), np.int64)
        while True:
            own = np.where(roots, self.doubted, 0)
            stale = there & ((since >= np.maximum(made, 1)) | (roots & (made <= own)))
            again = np.where((since > 0) | roots, np.maximum(made, 1), 0)
            passed = np.where(stale | (reached & ~there & (since > 0)), never, again)
            found = np.zeros(len(self), np.int64)
            np.maximum.at(found, child, passed[parent])
            if (found == since).all():
                return stale
            since = found


def _among(states: Array, *wanted: FileState) -> Array:
    # Some comparisons of small numbers are several times faster than one np.isin.
    found = np.zeros(len(states), bool)
    for state in wanted:
        found |= states == state
    return found


def _closure(of: Array, to: Array, which: Array) -> Array:
    """Follow edges from some items: all that is reached."""
    reached = np.zeros(len(which), bool)
    front = which
    while front.any():
        fresh = np.zeros(len(which), bool)
        fresh[to[front[of]]] = True
        front = fresh & ~reached
        reached |= front
    return reached


# ---------------------------------------------------------------------- reading them


def read_items(store: Opened, *, at: int | None = None, as_of: Any = None) -> Items:
    """Read what a store has of declared tables.

    Parameters
    ----------
    store : Opened
        The store.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: what had been recorded and said by then.

    Returns
    -------
    Items
        All rows of all tables.
    """
    then = store._then(at, as_of)
    connection = store._connected
    links = connection.execute(
        "select link, child_stream, child_writer, parent_stream, parent_writer from row_links "
        "where parent_writer is not null and snapshot <= ?",
        [then["at"]],
    ).fetchall()
    if connection.execute("select 1 from row_links where said is not null limit 1").fetchall():
        links += _resolved(connection, then)
    names = [
        name
        for (name,) in connection.execute(
            "select distinct stream from stream_rows where declared is not null and snapshot <= ? order by stream",
            [then["at"]],
        ).fetchall()
    ]
    stages: dict[str, Stage] = {}
    counts: list[Array] = []
    first = 0
    for name in _in_order(names, {(child, parent) for _, child, _, parent, _ in links}):
        table = stored_table(store, name, then["at"])
        stage, mine = _rows(connection, table, first, then)
        stages[name] = stage
        counts.append(mine)
        first = stage.last
    counted = np.concatenate(counts) if counts else np.zeros(0, bool)
    meant = _set_aside(connection, stages, counted, then)
    child, parent = _edges(connection, stages, links, then)
    if meant is not None:
        child, parent = meant[child], meant[parent]
    keep = counted[child] & counted[parent]
    if not keep.all():
        child, parent = child[keep], parent[keep]
    is_file = np.zeros(first, bool)
    for stage in stages.values():
        is_file[stage.first : stage.last] = stage.is_file
    return Items(stages, counted, child, parent, is_file, *_states(connection, stages, first, then))


def _resolved(connection: Any, then: dict[str, int]) -> list[tuple[Any, ...]]:
    """Return the links whose parents were named by a text that says whose rows they are."""
    known = RowLinks.of(connection, at=then["at"], as_of=then["as_of"])
    return [
        (link.number, *link.child, *parent)
        for found in known.children.values()
        for link, parent in found
        if link.said is not None
    ]


def _in_order(names: list[str], links: set[tuple[str, str]]) -> list[str]:
    """Return tables so that what came of a table's rows stands behind it."""
    order: dict[str, None] = {}

    def place(name: str, below: frozenset[str]) -> None:
        if name in order or name in below:
            return
        for parent in names:
            if (name, parent) in links:
                place(parent, below | {name})
        order[name] = None

    for name in names:
        place(name, frozenset())
    return list(order)


def _rows(connection: Any, table: StoredTable, first: int, then: dict[str, int]) -> tuple[Stage, Array]:
    where = "_snapshot <= $at" + ("" if then["as_of"] == (1 << 63) - 1 else " and epoch_ns(_time) <= $as_of")
    given = {name: then[name] for name in ("at", "as_of") if f"${name}" in where}
    found = connection.execute(
        f"select _writer, count(*), max(_row) + 1 from {table.place} where {where} group by _writer order by _writer",
        given,
    ).fetchall()
    holders: dict[str, tuple[int, int]] = {}
    last = first
    for writer, _, length in found:
        holders[writer] = (last, length)
        last += length
    counts = np.ones(last - first, bool)
    for writer, there, length in found:
        if there != length:
            # Some were lost, or are not there yet.
            begin = holders[writer][0] - first
            counts[begin : begin + length] = False
            rows = connection.execute(
                f"select _row from {table.place} where {where} and _writer = $writer", {**given, "writer": writer}
            ).fetchnumpy()["_row"]
            counts[begin + rows] = True
    return Stage(table, first, last, holders), counts


def _bases(stages: dict[str, Stage]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(stage.name, writer): place for stage in stages.values() for writer, place in stage.holders.items()}


def _set_aside(connection: Any, stages: dict[str, Stage], counts: Array, then: dict[str, int]) -> Array | None:
    """Take rows out that are quarantined; return which item is meant by each, if some say what others say."""
    found = connection.execute(
        "select stream, writer, other_writer, list(row) as rows, list(other_row) as others, repeats "
        "from quarantine_rows where snapshot <= ? group by all",
        [then["at"]],
    ).fetchall()
    bases = _bases(stages)
    meant: Array | None = None
    for stream, writer, other, rows, others, repeats in found:
        begin, length = bases.get((stream, writer), (0, 0))
        mine = np.asarray(rows, np.int64)
        there = mine < length
        counts[begin + mine[there]] = False
        target = bases.get((stream, other), (0, 0))
        if repeats and target[1]:
            if meant is None:
                meant = np.arange(len(counts), dtype=np.int64)
            instead = np.asarray(others, np.int64)
            there &= instead < target[1]
            meant[begin + mine[there]] = target[0] + instead[there]
    return meant


def _edges(
    connection: Any, stages: dict[str, Stage], links: list[tuple[Any, ...]], then: dict[str, int]
) -> tuple[Array, Array]:
    bases = _bases(stages)
    numbers = max((link[0] for link in links), default=0) + 1
    # Where the rows of each link begin among the items, and how many there are; none where a side is no such table.
    begin, length = np.zeros((2, numbers), np.int64), np.zeros((2, numbers), np.int64)
    for number, child_stream, child_writer, parent_stream, parent_writer in links:
        for side, key in enumerate(((child_stream, child_writer), (parent_stream, parent_writer))):
            begin[side, number], length[side, number] = bases.get(key, (0, 0))
    where = "snapshot <= $at" + ("" if then["as_of"] == (1 << 63) - 1 else " and epoch_ns(time) <= $as_of")
    given = {name: then[name] for name in ("at", "as_of") if f"${name}" in where}
    rows = connection.execute(
        f"select link, child_first, child_last, parent_first, parent_last, count from row_edge_rows where {where}",
        given,
    ).fetchnumpy()
    link, count = np.asarray(rows["link"]), np.asarray(rows["count"])
    ends = []
    there = np.ones(int(count.sum()), bool)
    for side, name in enumerate(("child", "parent")):
        first, last = np.asarray(rows[f"{name}_first"]), np.asarray(rows[f"{name}_last"])
        outside = last >= length[side][link]
        if outside.any():
            # Rows that nobody has, or that are of no declared table; of a range that is partly so all of it.
            there &= ~np.repeat(outside, count)
        base = begin[side][link]
        ends.append(_expanded(first + base, last + base, count))
    return (ends[0], ends[1]) if there.all() else (ends[0][there], ends[1][there])


def _expanded(first: Array, last: Array, count: Array) -> Array:
    """Return the numbers of ranges, one by one: each is the one before it and a step, so that one sum gives all."""
    if not len(count):
        return np.zeros(0, np.int64)
    dtype = np.int32 if int(last.max()) < 1 << 31 else np.int64
    if int(count.max()) == 1:
        return first.astype(dtype)
    # Most ranges are of one number, and division is slow.
    steps, several = np.zeros(len(count), dtype), np.flatnonzero(count > 1)
    steps[several] = (last[several] - first[several]) // (count[several] - 1)
    found: Array = np.repeat(steps, count)
    begins = np.cumsum(count) - count
    found[begins[0]] = first[0]
    found[begins[1:]] = first[1:] - last[:-1]
    return np.cumsum(found, out=found, dtype=dtype)


def _states(connection: Any, stages: dict[str, Stage], count: int, then: dict[str, int]) -> tuple[Array, ...]:
    """Return state, on disk, on tape, when it was made, and when it was doubted, of each item."""
    bases = _bases(stages)
    where = "m.snapshot <= $at" + ("" if then["as_of"] == (1 << 63) - 1 else " and epoch_ns(m.time) <= $as_of")
    given = {name: then[name] for name in ("at", "as_of") if f"${name}" in where}
    found = connection.execute("select holder, stream, writer from row_holders").fetchall()
    begin = np.full(max((number for number, _, _ in found), default=0) + 1, -1, np.int64)
    length = np.zeros(len(begin), np.int64)
    for number, stream, writer in found:
        begin[number], length[number] = bases.get((stream, writer), (-1, 0))
    places = connection.execute(f"select distinct place from mark_rows m where {where} order by 1", given).fetchall()
    best = np.zeros(count, np.uint8)
    on_disk, on_tape = np.zeros(count, bool), np.zeros(count, bool)
    made, doubted = np.zeros(count, np.int64), np.zeros(count, np.int64)
    judged: list[tuple[Array, Array, Array]] = []
    for (place,) in places:
        rows = connection.execute(
            "select m.holder, m.row, m.state, epoch_ns(m.time) as time, "
            'epoch_ns(coalesce(m.modified, m.time)) as "when" '
            f"from mark_rows m where m.holder is not null and m.place = $place and {where}",
            {**given, "place": place},
        ).fetchnumpy()
        holder, row, state, time, when = (np.asarray(rows[name]) for name in ("holder", "row", "state", "time", "when"))
        there = (begin[holder] >= 0) & (row < length[holder])
        item = begin[holder] + row
        order = np.flatnonzero(there)
        if (time[order][1:] < time[order][:-1]).any():
            order = order[np.argsort(time[order], kind="stable")]
        item, state, time, when = item[order], state[order], time[order], when[order]
        said = state >= FileState.INVALID
        judged.append((time[said], item[said], state[said] == FileState.INVALID))
        # Of several values for one item the last one stays.
        here = np.zeros(count, np.uint8)
        here[item[~said]] = state[~said]
        if place not in ARCHIVES:
            # Nothing is made anew by copying it to tape.
            fresh = state == FileState.EXISTS
            np.maximum.at(made, item[fresh], when[fresh])
        is_there = here == FileState.EXISTS
        if place in ARCHIVES:
            here[is_there] = FileState.ARCHIVED
        on_tape |= here == FileState.ARCHIVED
        on_disk |= here == FileState.EXISTS
        best = np.where(_RANK[here] > _RANK[best], here, best)
    if judged:
        time, item, invalid = (np.concatenate(parts) for parts in zip(*judged, strict=True))
        # The last word, at whichever place it was said.
        order = np.argsort(time, kind="stable")
        doubted[item[order]] = np.where(invalid[order], time[order], 0)
    return best, on_disk, on_tape, made, doubted


#: Of what is said of several places that counts which comes last here.
_PREFERRED = (
    *(FileState.EXPECTED, FileState.MISSING, FileState.GROWING, FileState.CORRUPT),
    *(FileState.CONSUMED, FileState.ARCHIVED, FileState.EXISTS),
)
_RANK = np.zeros(len(FileState), np.uint8)
_RANK[list(_PREFERRED)] = range(len(_PREFERRED))
