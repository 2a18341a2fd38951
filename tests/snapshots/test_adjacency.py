"""The adjacency index: the edges of the tables, once each, in both directions, in a file that cannot lie."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.snapshots import adjacency_rows, adjacency_write, segment
from braid_hpc.snapshots.adjacency import Adjacency, open_adjacency
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.halves import RELATIONS, Half
from braid_hpc.snapshots.schema import TABLES
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError
from tests.faults.campaign import many

Edge = tuple[int, int, Relation, int]

NODES = 7
EDGES = st.lists(
    st.tuples(st.integers(1, NODES), st.integers(1, NODES), st.sampled_from(list(Relation)), st.integers(1, 4)),
    max_size=40,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        rows = [(node, "", "data", "x", node, False, 1) for node in range(1, NODES + 1)]
        connection.executemany(
            "insert into version_rows (id, uid, kind, name, version, weak, snapshot) values (?, ?, ?, ?, ?, ?, ?)", rows
        )
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, edges: list[Edge]) -> None:
    connection.execute("delete from edge_rows")
    connection.execute("delete from content_rows")
    for child, parent, relation, snapshot in edges:
        if relation is Relation.SAME_CONTENT:
            connection.execute("insert into content_rows values (?, ?, ?)", [child, parent, snapshot])
        else:
            row = [child, parent, str(relation), snapshot]
            connection.execute("insert into edge_rows values (?, ?, ?, 'w', 1, null, make_timestamp_ns(0), ?)", row)


def listed(index: Adjacency, half: Half) -> list[tuple[int, int, int, int]]:
    """Near end, far end, snapshot and number of the relation of each edge."""
    edges = half.edges_of(np.arange(index.nodes + 1))
    marks = half.marks[edges.mark]
    columns = (edges.near, edges.far, marks[:, 0], marks[:, 1])
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(deadline=None, max_examples=40)
@given(edges=EDGES, at_once=st.integers(1, 50))
def test_every_edge_stands_once_in_each_direction(
    connection: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, edges: list[Edge], at_once: int
) -> None:
    """Whatever is stated, however often, and in how many parts it is sorted."""
    fill(connection, edges)
    path = tmp_path_factory.mktemp("index") / "4.adjacency"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adjacency_rows, "EDGES_AT_ONCE", at_once)
        assert write_adjacency(connection, path, 4)
    index = open_adjacency(path)
    assert (index.snapshot, index.nodes) == (4, NODES)
    stated = {(child, parent, snapshot, RELATIONS[relation]) for child, parent, relation, snapshot in edges}
    assert listed(index, index.half(down=False)) == sorted(
        listed(index, index.half(down=False)), key=lambda edge: edge[:2]
    )
    assert sorted(listed(index, index.half(down=False))) == sorted(stated)
    assert sorted(listed(index, index.half(down=True))) == sorted((p, c, s, r) for c, p, s, r in stated)


def test_marks_become_wide_when_there_are_many(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """More than 65,536 pairs of a snapshot and a relation still have a number each."""
    fill(connection, [])
    connection.execute(
        "insert into edge_rows select 2, 1, 'used', 'w', 1, null, make_timestamp_ns(0), i from range(1, 70001) t(i)",
    )
    write_adjacency(connection, tmp_path / "index", 70_000)
    index = open_adjacency(tmp_path / "index")
    assert index.half(down=False).rows.mark.dtype.itemsize == 4
    assert [snapshot for _, _, snapshot, _ in listed(index, index.half(down=False))] == list(range(1, 70_001))


def test_a_graph_of_more_than_32_bits_has_no_index(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and no file is left."""
    monkeypatch.setattr(adjacency_write, "_LARGEST", NODES - 1)
    assert not write_adjacency(connection, tmp_path / "index", 1)
    assert not (tmp_path / "index").exists()


@pytest.fixture
def written(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Path:
    fill(connection, [(2, 1, Relation.USED, 1), (3, 2, Relation.DERIVED, 2)])
    write_adjacency(connection, tmp_path / "index", 2)
    return tmp_path / "index"


def read_all(index: Adjacency) -> list[Any]:
    """Everything that an index says."""
    found: list[Any] = [index.snapshot, index.nodes, index.times.first.tolist(), index.times.more.tolist()]
    found.append(index.later(0, 0).tolist())
    for down in (False, True):
        half = index.half(down=down, timed=True)
        assert half.timed is not None
        found.append(half.marks.tolist())
        for parts in (half.rows[:3], half.rows.over, half.timed.stated, half.timed.over):
            found.extend(part.tolist() for part in parts)
    return found


def test_no_flipped_bit_and_no_cut_is_believed(written: Path) -> None:
    """Every bit of the file, a quarter of them in `make test`, and every length; each section when it is read."""
    whole, between = written.read_bytes(), 0
    expected = read_all(open_adjacency(written))
    head = segment.HEAD
    step = 4 // many(4, 1)
    for bit in range(random.randrange(step), 8 * len(whole), step):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        written.write_bytes(flipped)
        try:
            content = read_all(open_adjacency(written))
        except CorruptLogError:
            continue
        # What lies between sections belongs to none.
        assert bit >= 8 * head
        assert content == expected
        between += 1
    assert between < 8 * segment.ALIGN * len(segment.SECTIONS)
    for length in range(len(whole)):
        written.write_bytes(whole[:length])
        with pytest.raises(CorruptLogError):
            read_all(open_adjacency(written))


def test_a_newer_major_is_refused(written: Path) -> None:
    """With a sentence that says what to do."""
    whole = bytearray(written.read_bytes())
    struct.pack_into("<H", whole, 24, segment.MAJOR + 1)
    import xxhash

    whole[8:24] = xxhash.xxh3_128_digest(bytes(whole[24 : segment.HEAD]))
    written.write_bytes(whole)
    with pytest.raises(FormatTooNewError, match="update braid_hpc"):
        open_adjacency(written)


def test_its_size_is_below_sixteen_bytes_an_edge(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Both directions together, where there are some edges for each node."""
    fill(connection, [])
    connection.execute(
        "insert into edge_rows select i % 7 + 1, (i // 7) % 7 + 1, 'used', 'w', 1, null, make_timestamp_ns(0), "
        "i // 49 + 1 from range(49 * 1000) t(i)"
    )
    seen = "insert into occurrences (writer, sequence, id, run, step, state, time, snapshot)"
    connection.execute(f"{seen} select 'w', 1, id, '', 1, 0, make_timestamp_ns(0), 1 from version_rows")
    write_adjacency(connection, tmp_path / "index", 1000)
    connection.execute("delete from occurrences")
    assert (tmp_path / "index").stat().st_size < 16 * 49_000
