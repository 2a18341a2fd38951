"""Making the adjacency index of a snapshot from its tables."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from braid_hpc.snapshots.adjacency import Adjacency, open_adjacency
from braid_hpc.snapshots.adjacency_layers import Fresh, commit_of, fresh_since
from braid_hpc.snapshots.adjacency_rows import EdgeRows, Sorted
from braid_hpc.snapshots.adjacency_times import Retracted, earlier_times, node_times
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.halves import NEVER, Times
from braid_hpc.snapshots.segment import (
    ALIGN,
    HEAD,
    HEADER,
    MAGIC,
    MAJOR,
    MINOR,
    PAGE,
    SECTION,
    SECTIONS,
    SUMMED,
    Segment,
)
from braid_hpc.vocabulary.errors import CorruptLogError

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["adjacency_in_memory", "remake_adjacency", "write_adjacency"]

#: Ids and numbers of edges are 32 bits wide, those of snapshots 28; a larger graph has no index.
_LARGEST = (1 << 32) - 2
_LAST = (1 << 28) - 1


def write_adjacency(connection: Any, path: Path, snapshot: int, *, below: Adjacency | None = None) -> bool:
    """Write the index of the edges that a store holds, and bring it to the disk.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    path : Path
        Made here; it must not exist.
    snapshot : int
        The newest snapshot.
    below : Adjacency, optional
        The index of an earlier one, from :func:`braid_hpc.snapshots.adjacency_layers.ground_for`: only what is new is
        written, to be laid over it, unless it turns out to be damaged or too much of it is no longer as it was.

    Returns
    -------
    bool
        False, and no file, if ids, edges or snapshots are too many for it.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left.
    StorageError
        If an edge names a node that is not there.
    """
    nodes, edges = _sizes(connection, below)
    if max(nodes, edges) > _LARGEST or snapshot > _LAST:
        return False
    try:
        with path.open("x+b") as file:
            _write(file, snapshot, EdgeRows(connection, nodes, _fresh(connection, snapshot, nodes, below)))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def adjacency_in_memory(connection: Any, snapshot: int) -> Adjacency | None:
    """Make an index that lasts as long as this process.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    snapshot : int
        The newest snapshot.

    Returns
    -------
    Adjacency or None
        None if ids, edges or snapshots are too many for it.
    """
    nodes, edges = _sizes(connection, None)
    if max(nodes, edges) > _LARGEST or snapshot > _LAST:
        return None
    with os.fdopen(os.memfd_create("adjacency"), "w+b") as file:
        _write(file, snapshot, EdgeRows(connection, nodes, _fresh(connection, snapshot, nodes, None)))
        file.flush()
        return Adjacency([Segment(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), "in memory")])


def remake_adjacency(connection: Any, files: StoreFiles, snapshot: int) -> Adjacency | None:
    """Make the index of a published snapshot again, and put it where it belongs.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on that snapshot.
    files : StoreFiles
        Of the store.
    snapshot : int
        Its number.

    Returns
    -------
    Adjacency or None
        None where nothing can be written beside the store, or if ids, edges or snapshots are too many for it.
    """
    try:
        with files.replacing_adjacency(snapshot) as aside:
            if not write_adjacency(connection, aside, snapshot):
                return None
        return open_adjacency(files.adjacency(snapshot))
    except OSError:
        return None


def _sizes(connection: Any, below: Adjacency | None) -> tuple[int, int]:
    """Return the highest id and the number of edges; ids of a snapshot are higher than those before it."""
    nodes, edges = connection.execute(
        "select greatest($nodes, (select coalesce(max(id), 0) from version_rows where snapshot > $since), "
        "(select coalesce(max(id), 0) from activity_rows where snapshot > $since)), "
        "(select count(*) from edge_rows) + (select count(*) from content_rows)",
        {"since": 0 if below is None else below.snapshot, "nodes": 0 if below is None else below.nodes},
    ).fetchall()[0]
    return int(nodes), int(edges)


@dataclass(slots=True)
class _Sections:
    """Where sections are put, one behind the other, and their sums; the pieces of each come in order."""

    file: BinaryIO
    table: dict[str, list[int]] = field(default_factory=dict)
    sums: dict[str, Any] = field(default_factory=dict)
    end: int = HEAD

    def begin(self, name: str, room: int) -> None:
        self.table[name] = [-(-self.end // ALIGN) * ALIGN, 0]
        self.sums[name] = xxhash.xxh3_128()
        self.end = self.table[name][0] + room

    def add(self, name: str, values: NDArray[Any]) -> None:
        begin, size = self.table[name]
        data = np.ascontiguousarray(values).data.cast("B") if values.size else memoryview(b"")
        self.file.seek(begin + size)
        self.file.write(data)
        self.sums[name].update(data)
        self.table[name][1] += len(data)

    def put(self, name: str, values: NDArray[Any]) -> None:
        kind = np.dtype(SECTIONS[name] or values.dtype)
        self.begin(name, values.size * kind.itemsize)
        self.add(name, values.astype(kind, copy=False))

    def pack(self) -> bytes:
        return b"".join(SECTION.pack(*self.table[name], self.sums[name].digest()) for name in SECTIONS)


def _fresh(connection: Any, snapshot: int, nodes: int, below: Adjacency | None) -> Fresh:
    """Return what is to be written: what is new over another index, or all."""
    if below is not None:
        try:
            if (fresh := fresh_since(connection, below, snapshot, nodes)) is not None:
                return fresh
        except CorruptLogError:
            # Whoever asks it is told; here it is not needed.
            below = None
    times, nothing = node_times(connection, nodes), np.empty(0, np.int64)
    whole = Times(times, nothing)
    again = {"child": nothing, "parent": nothing}
    return Fresh(0, 0, whole, times, (nothing, nothing), earlier_times(connection), again)


@dataclass(frozen=True, slots=True)
class _Marks:
    """What the marks of an index are made of."""

    retracted: Retracted
    #: Snapshot, relation, dead, exception of each mark in one number, ascending.
    keys: NDArray[np.uint64]

    @classmethod
    def of(cls, rows: EdgeRows) -> _Marks:
        """Every mark that an edge may have."""
        retracted, said = rows.retracted(), rows.said() << np.uint64(33)
        return cls(retracted, np.unique(np.concatenate([said, said | np.uint64(1), retracted.key])))

    @property
    def width(self) -> int:
        return 1 if len(self.keys) <= 1 << 8 else 2 if len(self.keys) <= 1 << 16 else 4

    def columns(self) -> NDArray[np.uint64]:
        keys = self.keys
        parts = (keys >> np.uint64(36), keys >> np.uint64(33) & np.uint64(7), keys >> np.uint64(1), keys)
        columns: NDArray[np.uint64] = np.stack(parts, axis=1) & np.array([(1 << 28) - 1, 7, (1 << 32) - 1, 1], "u8")
        return columns


def _write(file: BinaryIO, snapshot: int, rows: EdgeRows) -> None:
    fresh, marks, sections = rows.fresh, _Marks.of(rows), _Sections(file)
    sections.put("marks", marks.columns().reshape(-1))
    for name, values in (
        ("times", fresh.tail),
        *zip(("changed_node", "changed_time"), fresh.changed, strict=True),
        *zip(("earlier_node", "earlier_until", "earlier_time"), fresh.earlier, strict=True),
    ):
        sections.put(name, values)
    down = _write_half(sections, "down", rows, marks)
    up = _write_half(sections, "up", rows, marks)
    _write_exceptions(sections, down, up, shared=not fresh.since)
    file.truncate(sections.end)
    numbers = MAJOR, MINOR, snapshot, rows.nodes, marks.width, fresh.since, fresh.before
    head = HEADER.pack(MAGIC, bytes(16), *numbers, commit_of(rows.connection, snapshot)) + sections.pack()
    file.seek(0)
    file.write(head[: len(MAGIC)] + xxhash.xxh3_128_digest(head[SUMMED:]) + head[SUMMED:])


@dataclass(slots=True)
class _Part:
    """The exceptions of one direction: where each stands, what it is, and when that edge was stated and retracted."""

    place: NDArray[np.int64]
    edge: NDArray[np.uint64]
    what: NDArray[np.uint64]
    stated: NDArray[np.int64]
    retracted: NDArray[np.int64]
    snapshot: NDArray[np.int64]


def _write_half(sections: _Sections, way: str, rows: EdgeRows, marks: _Marks) -> _Part:
    """Write the edges in one direction, each of a mark once; return its exceptions."""
    near = "parent" if way == "down" else "child"
    fresh, edges = rows.fresh, rows.count(near)
    for name, room in (("far", 4 * edges), ("mark", marks.width * edges)):
        sections.begin(f"{way}_{name}", room)
    kept, parts, found = 0, [], []
    for between in rows.ranges(near):
        edge = rows.read(near, between)
        here, there = edge.edge >> np.uint64(32), edge.edge & np.uint64(0xFFFFFFFF)
        mark, part = _marked(edge, fresh.times, marks, near, between)
        part.place += kept
        found.append(_rows_of(here, between, sparse=fresh.since > 0))
        sections.add(f"{way}_far", there.astype("<u4"))
        sections.add(f"{way}_mark", mark.astype(f"<u{marks.width}"))
        parts.append(part)
        kept += len(here)
    sections.end = sum(sections.table[f"{way}_mark"])
    nodes, counts = (np.concatenate(column) for column in zip(*found, strict=True))
    sections.put(f"{way}_offsets", np.cumsum(np.concatenate([[0], counts])))
    if not fresh.since:
        nodes = nodes[:0]
    pages = np.arange(rows.nodes // PAGE + 2) * PAGE
    sections.put(f"{way}_pages", np.searchsorted(nodes, pages) if fresh.since else nodes)
    sections.put(f"{way}_near", nodes)
    sections.put(f"{way}_instead", np.isin(nodes, fresh.again[near]))
    columns = zip(*([getattr(part, name) for name in _Part.__slots__] for part in parts), strict=True)
    return _Part(*(np.concatenate(column) for column in columns))


def _rows_of(
    here: NDArray[np.uint64], between: tuple[int, int], *, sparse: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return nodes and how many edges each has: all of a range, or only those that have some."""
    if sparse:
        begin = np.flatnonzero(np.concatenate([[True], here[1:] != here[:-1]])) if len(here) else np.empty(0, np.int64)
        return here[begin].astype(np.int64), np.diff(begin, append=len(here))
    first, after = between
    return np.arange(first, after), np.bincount(here.astype(np.int64) - first, minlength=after - first)


def _marked(
    edges: Sorted, times: Times, marks: _Marks, near: str, between: tuple[int, int]
) -> tuple[NDArray[np.int64], _Part]:
    """Return the marks of some edges, and those that are exceptions."""
    here, there = (edges.edge >> np.uint64(32)).astype(np.int64), (edges.edge & np.uint64(0xFFFFFFFF)).astype(np.int64)
    exception = edges.time > np.maximum(times.of(here), times.of(there))
    key = (edges.what << np.uint64(33)) | exception
    late = np.flatnonzero(exception)
    name = edges.edge[late]
    if near == "parent":
        name = (name << np.uint64(32)) | (name >> np.uint64(32))
    never = np.full(len(late), NEVER), np.zeros(len(late), np.int64)
    part = _Part(late, name, edges.what[late], edges.time[late], *never)
    if len(marks.retracted.edge):
        key, part = marks.retracted.settle(edges.edge, edges.what, key, part, between, near)
    return np.searchsorted(marks.keys, key), part


def _write_exceptions(sections: _Sections, down: _Part, up: _Part, *, shared: bool) -> None:
    """Write the rows of the exceptions, and for each direction which of them belong to which edges."""
    if shared:
        # Both directions have the same rows: sorted alike, they tell which is which.
        sorts = [np.lexsort((part.snapshot, part.stated, part.what, part.edge)) for part in (up, down)]
        rows = np.empty(len(up.place), np.int64)
        rows[sorts[1]] = sorts[0]
        columns = {name: getattr(up, name) for name in ("stated", "retracted", "snapshot")}
    else:
        rows = np.arange(len(down.place)) + len(up.place)
        columns = {
            name: np.concatenate([getattr(up, name), getattr(down, name)])
            for name in ("stated", "retracted", "snapshot")
        }
    sections.put("stated", columns["stated"])
    sections.put("retracted", columns["retracted"])
    sections.put("retracted_snapshot", columns["snapshot"])
    sections.put("down_places", down.place)
    sections.put("down_rows", rows)
    sections.put("up_places", up.place)
    sections.put("up_rows", rows[:0])
