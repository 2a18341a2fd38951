"""Making the adjacency index of a snapshot from its tables."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from braid_hpc.snapshots.adjacency import (
    ALIGN,
    ALWAYS,
    HEAD,
    HEADER,
    MAGIC,
    MAJOR,
    MINOR,
    NEVER,
    RELATIONS,
    SECTION,
    SECTIONS,
    SUMMED,
    Adjacency,
    open_adjacency,
)
from braid_hpc.snapshots.adjacency_times import Retracted, node_times, retracted_edges
from braid_hpc.snapshots.files import StoreFiles

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["adjacency_in_memory", "remake_adjacency", "write_adjacency"]

_OTHER = 0

#: How many edges are sorted at once, at about 70 bytes each: what bounds the memory.
EDGES_AT_ONCE = 1 << 22

#: Ids and numbers of edges are 32 bits wide; a larger graph has no index.
_LARGEST = (1 << 32) - 2

_EDGES = """(
    select child, parent, relation, snapshot, time from edge_rows
    union all select child, parent, 'same-content' as relation, snapshot, null as time from content_rows)
"""
_CASES = " ".join(f"when '{relation}' then {number}" for relation, number in RELATIONS.items())
_NUMBER = f"case relation {_CASES} else {_OTHER} end"


def write_adjacency(connection: Any, path: Path, snapshot: int) -> bool:
    """Write the index of the edges that a store holds, and bring it to the disk.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    path : Path
        Made here; it must not exist.
    snapshot : int
        The newest snapshot.

    Returns
    -------
    bool
        False, and no file, if ids or edges do not fit 32 bits.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left.
    """
    nodes, edges = _sizes(connection)
    if max(nodes, edges) > _LARGEST:
        return False
    try:
        with path.open("x+b") as file:
            _write(file, connection, snapshot, (nodes, edges))
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
        None if ids or edges do not fit 32 bits.
    """
    nodes, edges = _sizes(connection)
    if max(nodes, edges) > _LARGEST:
        return None
    with os.fdopen(os.memfd_create("adjacency"), "w+b") as file:
        _write(file, connection, snapshot, (nodes, edges))
        file.flush()
        return Adjacency(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), "in memory")


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
        None where nothing can be written beside the store, or if ids or edges do not fit 32 bits.
    """
    try:
        with files.replacing_adjacency(snapshot) as aside:
            if not write_adjacency(connection, aside, snapshot):
                return None
        return open_adjacency(files.adjacency(snapshot))
    except OSError:
        return None


def _sizes(connection: Any) -> tuple[int, int]:
    nodes, edges = connection.execute(
        "select greatest((select coalesce(max(id), 0) from version_rows), "
        "(select coalesce(max(id), 0) from activity_rows)), "
        "(select count(*) from edge_rows) + (select count(*) from content_rows)"
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


@dataclass(frozen=True, slots=True)
class _Source:
    """What all parts of an index are made of."""

    connection: Any
    nodes: int
    edges: int
    times: NDArray[np.int64]
    retracted: Retracted
    #: Snapshot, relation, dead, exception of each mark in one number, ascending.
    keys: NDArray[np.uint64]


def _write(file: BinaryIO, connection: Any, snapshot: int, sizes: tuple[int, int]) -> None:
    nodes, edges = sizes
    times, *earlier = node_times(connection, nodes)
    retracted = retracted_edges(connection, _NUMBER)
    keys = _mark_keys(connection, retracted)
    width = 1 if len(keys) <= 1 << 8 else 2 if len(keys) <= 1 << 16 else 4
    source = _Source(connection, nodes, edges, times, retracted, keys)
    sections = _Sections(file)
    marks = np.stack([keys >> np.uint64(36), keys >> np.uint64(33) & np.uint64(7), keys >> np.uint64(1), keys], axis=1)
    marks = marks & np.array([(1 << 28) - 1, 7, (1 << 32) - 1, 1], np.uint64)
    sections.put("marks", marks.reshape(-1))
    sections.put("times", times)
    for name, values in zip(("earlier_node", "earlier_until", "earlier_time"), earlier, strict=True):
        sections.put(name, values)
    down = _write_half(sections, "down", source, width)
    up = _write_half(sections, "up", source, width)
    _write_exceptions(sections, down, up)
    file.truncate(sections.end)
    head = HEADER.pack(MAGIC, bytes(16), MAJOR, MINOR, snapshot, nodes, width, 0) + sections.pack()
    file.seek(0)
    file.write(head[: len(MAGIC)] + xxhash.xxh3_128_digest(head[SUMMED:]) + head[SUMMED:])


def _mark_keys(connection: Any, retracted: Retracted) -> NDArray[np.uint64]:
    """Return every mark that an edge may have."""
    rows = connection.execute(f"select distinct snapshot, {_NUMBER} from {_EDGES}").fetchall()
    plain = {(snapshot << 36) | (relation << 33) | exception for snapshot, relation in rows for exception in (0, 1)}
    return np.unique(np.concatenate([np.array(sorted(plain), np.uint64), retracted.key]))


@dataclass(slots=True)
class _Part:
    """The exceptions of one direction: where each stands, what it is, and when that edge was stated and retracted."""

    place: NDArray[np.int64]
    edge: NDArray[np.uint64]
    what: NDArray[np.uint64]
    stated: NDArray[np.int64]
    retracted: NDArray[np.int64]
    snapshot: NDArray[np.int64]


def _write_half(sections: _Sections, way: str, source: _Source, width: int) -> _Part:
    """Write the edges in one direction, each of a mark once; return its exceptions."""
    counts = np.zeros(source.nodes + 2, np.uint32)
    names = [f"{way}_{name}" for name in ("offsets", "far", "mark")]
    for name, room in zip(names, (4 * len(counts), 4 * source.edges, width * source.edges), strict=True):
        sections.begin(name, room)
    kept, parts = 0, []
    near = "parent" if way == "down" else "child"
    for first, after in _ranges(source, near):
        here, there, mark, part = _sorted_edges(source, near, (first, after), kept)
        counts[first + 1 : after + 1] = np.bincount(here.astype(np.int64) - first, minlength=after - first)
        sections.add(names[1], there.astype("<u4"))
        sections.add(names[2], mark.astype(f"<u{width}"))
        parts.append(part)
        kept += len(here)
    sections.add(names[0], np.cumsum(counts, dtype=np.uint64).astype("<u4"))
    sections.end = sum(sections.table[names[2]])
    columns = zip(*([getattr(part, name) for name in _Part.__slots__] for part in parts), strict=True)
    return _Part(*(np.concatenate(column) for column in columns))


def _ranges(source: _Source, near: str) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids (first, after) that cover all, each with about as many edges as are sorted at once."""
    parts = -(-source.edges // EDGES_AT_ONCE)
    cuts: list[int] = []
    if parts > 1:
        at = [index / parts for index in range(1, parts)]
        query = f"select approx_quantile({near}, ?::float[]) from {_EDGES}"
        (found,) = source.connection.execute(query, [at]).fetchall()[0]
        cuts = sorted({int(cut) for cut in found if 1 <= int(cut) < source.nodes})
    bounds = [0, *(cut + 1 for cut in cuts), source.nodes + 1]
    yield from pairwise(bounds)


def _sorted_edges(
    source: _Source, near: str, between: tuple[int, int], kept: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64], _Part]:
    """Return near end, far end and mark of the edges of some nodes, by near end, then far end; each only once."""
    far = "child" if near == "parent" else "parent"
    columns = source.connection.execute(
        f"select ({near}::ubigint << 32) | {far}::ubigint as edge, "
        f"(snapshot::ubigint << 3) | ({_NUMBER}) as what, coalesce(epoch_ns(time), ({ALWAYS})::bigint) as time "
        f"from {_EDGES} where {near} >= ? and {near} < ?",
        list(between),
    ).fetchnumpy()
    edge = np.asarray(columns["edge"])
    order = np.argsort(edge)
    edge, what, time = edge[order], columns["what"][order].astype(np.uint64), columns["time"][order]
    same = edge[1:] == edge[:-1]
    if same.any():
        # What several ranks stated in one commit is one edge of the index, stated when the first did. Only these are
        # sorted by what they say.
        twice = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
        again = twice[np.lexsort((time[twice], what[twice], edge[twice]))]
        what[twice], time[twice] = what[again], time[again]
        fresh = np.concatenate([[True], ~same | (what[1:] != what[:-1])])
        edge, what, time = edge[fresh], what[fresh], time[fresh]
    here, there = edge >> np.uint64(32), edge & np.uint64(0xFFFFFFFF)
    exception = time > np.maximum(source.times[here], source.times[there])
    key = (what << np.uint64(33)) | exception
    name = edge if near == "child" else (there << np.uint64(32)) | here
    late = np.flatnonzero(exception)
    part = _Part(late, name[late], what[late], time[late], np.full(len(late), NEVER), np.zeros(len(late), np.int64))
    if len(source.retracted.edge):
        key, part = source.retracted.settle(edge, what, key, part, between, near)
    part.place += kept
    return here, there, np.searchsorted(source.keys, key), part


def _write_exceptions(sections: _Sections, down: _Part, up: _Part) -> None:
    """Write the rows of the exceptions in the order of the one direction, and for each direction where they belong."""
    sections.put("stated", up.stated)
    sections.put("retracted", up.retracted)
    sections.put("retracted_snapshot", up.snapshot)
    # Both directions have the same rows: sorted alike, they tell which is which.
    sorts = [np.lexsort((part.snapshot, part.stated, part.what, part.edge)) for part in (up, down)]
    rows = np.empty(len(up.place), np.int64)
    rows[sorts[1]] = sorts[0]
    sections.put("down_places", down.place)
    sections.put("down_rows", rows)
    sections.put("up_places", up.place)
