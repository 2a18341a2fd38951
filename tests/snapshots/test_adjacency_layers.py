"""Merges lay small files over the index of an earlier snapshot; answers are those of a whole one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.snapshots import adjacency_layers
from braid_hpc.snapshots.adjacency import Adjacency, open_adjacency
from braid_hpc.snapshots.adjacency_write import adjacency_in_memory
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidWarning, StorageError
from tests.jobs import Job, deliver


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    """Let merges of a few edges be laid over others, though a whole index would be as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adjacency_layers, "SMALLEST", 0)
        patch.setattr(adjacency_layers, "FACTOR", 1)
        yield


def merges(folder: Path, count: int) -> Path:
    """A store of one merge of some edges and further ones of few."""
    store = folder / "prov.duckdb"
    with Job(folder / "logs", 2) as job:
        first = [job[0].data(f"raw/{number}") for number in range(12)]
        job[0].data("all", derived_from=first)
        late = job[1].data("from-1", derived_from=first[:6])
        for number in range(count):
            if number == 1:
                # Its own log, which brings an earlier time of a node that is known, comes with a later merge.
                job[1].data("seen-by-1", derived_from=[late])
            job[0].data(f"step/{number}", derived_from=[late, first[number]])
            for rank in (0, 1) if number > 1 else (0,):
                job[rank].flush("held")
                deliver(job.folder(rank), folder / "there")
            compact(folder / "there", store)
    return store


def told(store: Store, at: int) -> dict[str, Any]:
    """What a store says of everything, down and up, at a snapshot and as of some times."""
    query = "select distinct epoch_ns(time) as time from occurrences where snapshot <= ? order by time"
    times = store.sql(query, [at])["time"]
    moments = [None, times[len(times) // 2], times[-2]]
    ids = store.sql("select uid from nodes where snapshot <= ? order by uid", [at])["uid"][::3]
    return {
        f"{uid} {down} {moment}": store.lineage(f"id:{uid}", down=down, at=at, as_of=moment).to_dict()
        for uid in ids
        for down in (True, False)
        for moment in moments
        if moment is None or not gone(store, uid, at, moment)
    }


def gone(store: Store, uid: str, at: int, as_of: Any) -> bool:
    """Whether there was no such thing at that moment."""
    known = store.sql(
        "select count(*) as n from occurrences join version_rows using (id) "
        "where uid = ? and occurrences.snapshot <= ? and epoch_ns(time) <= ?",
        [uid, at, as_of],
    )
    return known["n"] == [0]


def files_of(index: Adjacency | None) -> list[int]:
    """The snapshots of its files."""
    assert index is not None
    return [segment.snapshot for segment in index.segments]


@pytest.mark.slow
def test_small_merges_are_laid_over_the_index(tmp_path: Path) -> None:
    """Only what is needed stays, and a whole index answers the same at every snapshot and time."""
    store = merges(tmp_path, 5)
    files = StoreFiles(store)
    with Store(store) as opened:
        assert files_of(opened.adjacency)[0] < opened.snapshot == 5
        layered = {at: told(opened, at) for at in range(2, 6)}
        opened.__dict__["adjacency"] = adjacency_in_memory(opened._connected, opened.snapshot)
        assert files_of(opened.adjacency) == [5]
        assert {at: told(opened, at) for at in range(2, 6)} == layered
    needed = {4, 5}
    for number in (4, 5):
        while number := open_adjacency(files.adjacency(number)).segments[-1].over:
            needed.add(number)
    assert {int(path.stem) for path in files.directory.glob("*.adjacency")} == needed
    assert needed > {4, 5}


def test_as_many_files_as_their_sizes_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is twice as large as the next at least, so they are few; at some point the lowest is written again."""
    monkeypatch.setattr(adjacency_layers, "FACTOR", 2)
    store = merges(tmp_path, 12)
    with Store(store) as opened:
        assert opened.adjacency is not None
        sizes = [segment.edges for segment in opened.adjacency.segments]
        for size, following in pairwise(sizes):
            assert size >= 2 * following
        assert len(sizes) < 6
        assert opened.adjacency.segments[0].snapshot > 1


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["gone", "cut", "flipped", "of another store", "a directory", "a pipe"])
def test_a_damaged_lower_file_is_noticed(tmp_path: Path, harm: str) -> None:
    """The index is made again as a whole, with a warning, and the next merge can be laid over it."""
    store = merges(tmp_path, 3)
    with Store(store) as opened:
        expected = told(opened, 3)
        lowest = opened.adjacency
        assert lowest is not None
        place = StoreFiles(store).adjacency(lowest.segments[0].snapshot)
        begin, *_ = lowest.segments[0]._table["up_far"]
    assert place.name != "3.adjacency"
    whole = place.read_bytes()
    place.unlink()
    if harm == "cut":
        place.write_bytes(whole[: begin + 1])
    elif harm == "flipped":
        place.write_bytes(whole[:begin] + bytes([whole[begin] ^ 1]) + whole[begin + 1 :])
    elif harm == "of another store":
        other = merges(tmp_path / "other", 3)
        shutil.copy(StoreFiles(other).adjacency(int(place.stem)), place)
    elif harm == "a directory":
        place.mkdir()
    elif harm == "a pipe":
        os.mkfifo(place)
    with Store(store) as opened:
        with pytest.warns(BraidWarning, match="it was made again from the tables, and lies beside the store"):
            assert told(opened, 3) == expected
        assert files_of(opened.adjacency) == [3]
    with Job(tmp_path / "there", 1, name="more") as job:
        job[0].data("more", derived_from=[job[0].data("raw/more")])
    compact(tmp_path / "there", store)
    with Store(store) as opened:
        assert files_of(opened.adjacency) == [3, 4]
        assert told(opened, 3) == expected


def test_a_merge_over_a_damaged_index_writes_a_whole_one(tmp_path: Path) -> None:
    """What is damaged is not needed for it."""
    store = merges(tmp_path, 2)
    files = StoreFiles(store)
    for path in files.directory.glob("*.adjacency"):
        path.write_bytes(b"nothing")
    with Job(tmp_path / "there", 1, name="more") as job:
        job[0].data("more", derived_from=[job[0].data("raw/more")])
    compact(tmp_path / "there", store)
    with Store(store) as opened:
        assert files_of(opened.adjacency) == [3]
        assert len(opened.lineage("more").nodes) == 2


def test_a_rebuilt_store_has_a_whole_index(tmp_path: Path) -> None:
    """And none of the files of the old one."""
    store = merges(tmp_path, 4)
    with Store(store) as opened:
        expected = told(opened, 4)
    rebuild(store)
    assert [path.name for path in StoreFiles(store).directory.glob("*.adjacency")] == ["4.adjacency"]
    with Store(store) as opened:
        assert told(opened, 4) == expected


def test_a_handle_on_a_snapshot_that_has_gone_answers_from_memory(tmp_path: Path) -> None:
    """That nothing of it lies beside the store is no damage."""
    store = merges(tmp_path, 1)
    with Store(store) as opened:
        for number in range(3):
            with Job(tmp_path / "there", 1, name=f"more {number}") as job:
                job[0].data(f"more/{number}")
            compact(tmp_path / "there", store)
        assert not StoreFiles(store).snapshot(1).exists()
        assert len(opened.lineage("all").nodes) == 13
        assert files_of(opened.adjacency) == [1]


def test_an_edge_to_nothing_is_said(tmp_path: Path) -> None:
    """A store that somebody else made may hold one."""
    import duckdb

    store = merges(tmp_path, 1)
    shutil.copy(store, tmp_path / "theirs.duckdb")
    os.chmod(tmp_path / "theirs.duckdb", 0o644)
    with duckdb.connect(str(tmp_path / "theirs.duckdb")) as connection:
        connection.execute("update edge_rows set parent = 777 where parent = 1")
    with Store(tmp_path / "theirs.duckdb") as opened, pytest.raises(StorageError, match="names a node 777"):
        opened.lineage("all")
