"""The adjacency index of a snapshot: the edges of the graph by their ends, in a file that is mapped and never changed.

``docs/adjacency-format.md`` has the format. The index is made from the tables when a snapshot is made, and holds
nothing that they do not: without it every walk is taken over the tables, only slower.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["MAJOR", "MINOR", "RELATIONS", "Adjacency", "Half", "open_adjacency", "write_adjacency"]

MAGIC = b"BRAIDADJ"
MAJOR = 1
MINOR = 0

#: Magic, and XXH3-128 of everything behind it; major, minor, snapshot, highest id, how many marks, bytes of a mark; and
#: of each half how many edges, and where its three sections begin.
_HEADER = struct.Struct("<8s16sHHIQII8Q")
_SUMMED = len(MAGIC) + 16
_ALIGN = 64

#: Numbers of the relations in the file.
RELATIONS: dict[Relation, int] = {
    Relation.DERIVED: 1,
    Relation.USED: 2,
    Relation.GENERATED: 3,
    Relation.SAME_CONTENT: 4,
    Relation.CALLED: 5,
}
_OTHER = 0

#: How many edges are sorted at once, at about 50 bytes each: what bounds the memory.
EDGES_AT_ONCE = 1 << 23

#: Ids and numbers of edges are 32 bits wide; a larger graph has no index.
_LARGEST = (1 << 32) - 2

_EDGES = """(
    select child, parent, relation, snapshot from edge_rows
    union all select child, parent, 'same-content' as relation, snapshot from content_rows)
"""


@dataclass(frozen=True, slots=True)
class Half:
    """The edges in one direction, by the node they are met at.

    Attributes
    ----------
    offsets : ndarray of uint32, shape (nodes + 2,)
        Those of node `i` stand at ``offsets[i]:offsets[i + 1]``; ids begin with 1.
    far : ndarray of uint32, shape (edges,)
        The node at the other end, ascending for each node.
    mark : ndarray of uint16 or uint32, shape (edges,)
        Which relation it is and which snapshot brought it: a row of :attr:`Adjacency.marks`.
    """

    offsets: NDArray[np.uint32]
    far: NDArray[np.uint32]
    mark: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Adjacency:
    """An open index.

    Attributes
    ----------
    snapshot : int
        The newest one whose edges it holds; earlier ones are a filter.
    nodes : int
        The highest id.
    marks : ndarray of uint32, shape (marks, 2)
        Snapshot and number of the relation (:data:`RELATIONS`), ascending.
    down, up : Half
        From parents to children, and from children to parents.
    """

    snapshot: int
    nodes: int
    marks: NDArray[np.uint32]
    down: Half
    up: Half

    def allowed(self, relations: tuple[Relation, ...], at: int) -> NDArray[np.bool_]:
        """Return which marks a walk may follow.

        Parameters
        ----------
        relations : tuple of Relation
            The relations to follow.
        at : int
            Edges of later snapshots are not followed.

        Returns
        -------
        ndarray of bool, shape (marks,)
            By mark.
        """
        numbers = [RELATIONS[relation] for relation in relations if relation in RELATIONS]
        return (self.marks[:, 0] <= at) & np.isin(self.marks[:, 1], numbers)


# ---------------------------------------------------------------------------------------------------- writing


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
    marks = _marks(connection)
    try:
        with path.open("x+b") as file:
            _write(file, connection, (snapshot, nodes, edges), marks)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _sizes(connection: Any) -> tuple[int, int]:
    nodes, edges = connection.execute(
        "select greatest((select coalesce(max(id), 0) from version_rows), "
        "(select coalesce(max(id), 0) from activity_rows)), "
        "(select count(*) from edge_rows) + (select count(*) from content_rows)"
    ).fetchall()[0]
    return int(nodes), int(edges)


def _marks(connection: Any) -> NDArray[np.uint32]:
    names = {str(relation): number for relation, number in RELATIONS.items()}
    rows = connection.execute(f"select distinct snapshot, relation from {_EDGES}").fetchall()
    found = sorted({(snapshot, names.get(relation, _OTHER)) for snapshot, relation in rows})
    return np.array(found, np.uint32).reshape(len(found), 2)


def _write(file: BinaryIO, connection: Any, sizes: tuple[int, int, int], marks: NDArray[np.uint32]) -> None:
    snapshot, nodes, edges = sizes
    kind = np.dtype("<u2" if len(marks) <= 1 << 16 else "<u4")
    file.seek(_place(_HEADER.size))
    file.write(marks.astype("<u4").tobytes())
    halves: list[int] = []
    for near, other in (("parent", "child"), ("child", "parent")):
        begin = _place(file.tell())
        places = [begin]
        for length in (4 * (nodes + 2), 4 * edges):
            places.append(_place(places[-1] + length))
        kept = _write_half(file, connection, (near, other), (nodes, edges), marks, kind, places)
        halves.extend((kept, *places))
        file.seek(places[-1] + kept * kind.itemsize)
    file.truncate()
    file.seek(0)
    file.write(_HEADER.pack(MAGIC, bytes(16), MAJOR, MINOR, snapshot, nodes, len(marks), kind.itemsize, *halves))
    file.flush()
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as written:
        total = _sum(written)
    file.seek(len(MAGIC))
    file.write(total)


def _sum(data: mmap.mmap) -> bytes:
    with memoryview(data) as view:
        return xxhash.xxh3_128_digest(view[_SUMMED:])


def _place(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN


def _write_half(
    file: BinaryIO,
    connection: Any,
    ends: tuple[str, str],
    sizes: tuple[int, int],
    marks: NDArray[np.uint32],
    kind: np.dtype[Any],
    places: list[int],
) -> int:
    """Write the three sections of one direction; return how many edges they hold, each of a mark once."""
    nodes, edges = sizes
    counts = np.zeros(nodes + 2, np.uint32)
    kept = 0
    for first, after in _ranges(connection, ends[0], nodes, edges):
        here, there, mark = _sorted_edges(connection, ends, (first, after), marks)
        counts[first + 1 : after + 1] = np.bincount(here.astype(np.int64) - first, minlength=after - first)
        file.seek(places[1] + 4 * kept)
        file.write(there.astype("<u4").tobytes())
        file.seek(places[2] + kind.itemsize * kept)
        file.write(mark.astype(kind).tobytes())
        kept += len(here)
    file.seek(places[0])
    file.write(np.cumsum(counts, dtype=np.uint64).astype("<u4").tobytes())
    return kept


def _ranges(connection: Any, near: str, nodes: int, edges: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids (first, after) that cover all, each with about as many edges as are sorted at once."""
    parts = -(-edges // EDGES_AT_ONCE)
    cuts: list[int] = []
    if parts > 1:
        at = [index / parts for index in range(1, parts)]
        (found,) = connection.execute(f"select approx_quantile({near}, ?::float[]) from {_EDGES}", [at]).fetchall()[0]
        cuts = sorted({int(cut) for cut in found if 1 <= int(cut) < nodes})
    bounds = [0, *(cut + 1 for cut in cuts), nodes + 1]
    yield from pairwise(bounds)


def _sorted_edges(
    connection: Any, ends: tuple[str, str], between: tuple[int, int], marks: NDArray[np.uint32]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    """Return near end, far end and mark of the edges of some nodes, by near end, then far end; each only once."""
    near, far = ends
    cases = " ".join(f"when '{relation}' then {number}" for relation, number in RELATIONS.items())
    columns = connection.execute(
        f"select ({near}::ubigint << 32) | {far}::ubigint as edge, "
        f"(snapshot::ubigint << 8) | (case relation {cases} else {_OTHER} end) as mark "
        f"from {_EDGES} where {near} >= ? and {near} < ?",
        list(between),
    ).fetchnumpy()
    keys = (marks[:, 0].astype(np.uint64) << np.uint64(8)) | marks[:, 1]
    edge = np.asarray(columns["edge"])
    order = np.argsort(edge)
    edge, mark = edge[order], np.searchsorted(keys, columns["mark"][order])
    same = edge[1:] == edge[:-1]
    if same.any():
        # What several ranks stated in one commit is one edge of the index. Only these are sorted by mark.
        twice = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
        mark[twice] = mark[twice][np.lexsort((mark[twice], edge[twice]))]
        fresh = np.concatenate([[True], ~same | (mark[1:] != mark[:-1])])
        edge, mark = edge[fresh], mark[fresh]
    return edge >> np.uint64(32), edge & np.uint64(0xFFFFFFFF), mark


# ---------------------------------------------------------------------------------------------------- reading


def open_adjacency(path: Path) -> Adjacency:
    """Map an index, having seen that it is whole.

    Parameters
    ----------
    path : Path
        Made by :func:`write_adjacency`.

    Returns
    -------
    Adjacency
        Its arrays are views of the mapped file, and cannot be written.

    Raises
    ------
    FileNotFoundError
        If there is none.
    FormatTooNewError
        If it is of a newer major format.
    CorruptLogError
        If it is not an index, ends early, or does not carry its sum.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _HEADER.size:
            raise _corrupt(path, "ends within its header")
        data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    magic, total, major, _, snapshot, nodes, marks, width, *halves = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise _corrupt(path, "is not one")
    if _sum(data) != total:
        raise _corrupt(path, "does not carry its sum")
    if major > MAJOR:
        raise FormatTooNewError(
            f"{path} is of adjacency format {major}, this braid_hpc reads up to {MAJOR}: update braid_hpc"
        )

    def half(edges: int, offsets: int, far: int, mark: int) -> Half:
        return Half(
            np.frombuffer(data, "<u4", nodes + 2, offsets),
            np.frombuffer(data, "<u4", edges, far),
            np.frombuffer(data, f"<u{width}", edges, mark),
        )

    table = np.frombuffer(data, "<u4", 2 * marks, _place(_HEADER.size)).reshape(marks, 2)
    return Adjacency(snapshot, nodes, table, half(*halves[:4]), half(*halves[4:]))


def _corrupt(path: Path, what: str) -> CorruptLogError:
    return CorruptLogError(f"the adjacency index {path} {what}: remove it, and walks are taken over the tables")
