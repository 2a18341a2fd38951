"""Row edges in a store: each once, the same in whatever order logs came, and nothing silent about damage."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.compaction import row_edge_store
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.row_edges import EdgeReader
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.survey import read_writer
from braid_hpc.run import row_edges
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.encoding import encode
from tests.faults.stores import check_rebuilt, flip
from tests.jobs import Job, deliver, digests, one, rows
from tests.rank_logs import small_tails

Edge = tuple[str, str, int, str, str | None, int]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture(autouse=True)
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lists stand in files that are no longer than a test needs them."""
    monkeypatch.setattr(row_edges, "INLINE_BYTES", 1000)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


def edges(store: Store | Path) -> set[Edge]:
    """Give each pair: whose children and their row, whose parents and their row; or the text in place of the writer."""
    found = rows(
        store,
        "select child_stream, child_writer, child_first + k * child_step, parent_stream, "
        "coalesce(parent_writer, said), parent_first + k * parent_step "
        "from row_edges, unnest(range(count)) as pairs(k)",
    )
    return {tuple(row) for row in found}


def say(job: Job, turn: int, many: int = 400) -> set[Edge]:
    """State edges of every form on all ranks; give the pairs that they are."""
    random = np.random.default_rng(turn)
    said: set[Edge] = set()
    for rank, run in enumerate(job.runs):
        frames, peaks = run.stream("frames", {"a": "int64"}), run.stream("peaks", {"b": "int64"})
        above, below = frames.extend({"a": np.arange(100)}), peaks.extend({"b": np.arange(many)})
        parents = random.integers(0, 100, many)
        run.derive_rows(below, above, parent_index=parents)
        other = job[rank - 1].writer
        run.derive_rows(above, type(above)(other, "raw", 3, 100))
        run.derive_rows(above, "raw@1#7")
        run.derive_rows(below, above, child_index=[4, 4, 3], parent_index=[1, 1, 90])
        mine = run.writer.hex()
        first, top = below.first or 0, above.first or 0
        said |= {("peaks", mine, first + k, "frames", mine, top + int(p)) for k, p in enumerate(parents)}
        said |= {("frames", mine, top + k, "raw", other.hex(), 3 + k) for k in range(100)}
        said |= {("frames", mine, top + k, "raw", "raw@1", 7) for k in range(100)}
        said |= {("peaks", mine, first + k, "frames", mine, top + p) for k, p in ((4, 1), (3, 90))}
    return said


def test_every_edge_of_every_rank_is_there(logs: Path, store: Path) -> None:
    """Against sets that the test itself made."""
    with Job(logs, 3) as job:
        said = say(job, 0) | say(job, 1)
    compact(logs, store)
    assert edges(store) == said


def test_merging_again_changes_nothing(logs: Path, store: Path) -> None:
    """Each event is taken once."""
    with Job(logs, 2) as job:
        say(job, 0)
    compact(logs, store)
    before = digests(store)
    assert not compact(logs, store).new
    assert digests(store) == before
    assert before["row_edges"].partition(":")[0] != "0"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_merges_does_not_matter(logs: Path, store: Path, tmp_path: Path, order: tuple[int, ...]) -> None:
    """Digests are those of one merge, also where rows come before what they are related to."""
    with Job(logs, 3) as job:
        say(job, 0)
    compact(logs, tmp_path / "at-once.duckdb")
    some = tmp_path / "some"
    for rank in order:
        deliver(job.folder(rank), some)
        compact(some, store)
    assert digests(store, numbers=False) == digests(tmp_path / "at-once.duckdb", numbers=False)


@pytest.mark.slow
def test_a_log_that_grows_is_taken_in_parts_and_made_again(
    logs: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linked and copied, sealed and not; the store that is made of the archive is the same in every row."""
    monkeypatch.setattr(row_edge_store, "ROWS_AT_ONCE", 300)
    monkeypatch.setattr(row_edges, "EDGES_AT_ONCE", 150)
    small_tails(monkeypatch)
    said = set()
    with Job(logs, 2) as job:
        for turn in range(3):
            said |= say(job, turn)
            compact(logs, store)
    compact(logs, store)
    shutil.rmtree(logs)
    assert edges(store) == said
    check_rebuilt(store, tmp_path / "new.duckdb")
    assert edges(tmp_path / "new.duckdb") == said


def long_lists(logs: Path, store: Path) -> tuple[Path, list[set[Edge]]]:
    """Give the directory of a log with three long lists and a range, and the pairs of each."""
    with one(logs) as job:
        run = job[0]
        below = run.stream("peaks", {"b": "int64"}).extend({"b": np.arange(2000)})
        mine = run.writer.hex()
        said: list[set[Edge]] = []
        for turn in range(3):
            parents = np.random.default_rng(turn).integers(0, 10**9, 2000)
            run.derive_rows(below, "raw", parent_index=parents)
            said.append({("peaks", mine, k, "raw", "raw", int(p)) for k, p in enumerate(parents)})
        run.derive_rows(below, "raw#5")
        said.append({("peaks", mine, k, "raw", "raw", 5) for k in range(2000)})
    return job.folder(0), said


def problems(store: Path) -> list[str]:
    return [message for (message,) in rows(store, "select message from problems where code = 'stream' order by 1")]


@pytest.mark.parametrize("archived", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_flipped_bit_costs_its_own_list(logs: Path, store: Path, tmp_path: Path, archived: bool) -> None:
    """It is named with its edges, in the log, in the store and where that is made again; all others are there."""
    folder, said = long_lists(logs, store)
    path = folder / "stream-0000.arrows"
    flip(path, path.stat().st_size // 2)
    log = read_writer(folder)
    check_batches(log)
    assert log.state is WriterState.CORRUPT
    assert [fault.startswith("row edges 2000 to 3999 cannot be read") for fault in log.faults] == [True]
    assert compact(logs, store).states[folder.name] is WriterState.CORRUPT
    if archived:
        check_rebuilt(store, tmp_path / "new.duckdb")
        store = tmp_path / "new.duckdb"
    assert [message[:42] for message in problems(store)] == ["row edges 2000 to 3999 cannot be read: the"]
    assert edges(store) == said[0] | said[2] | said[3]


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_file_that_was_cut_costs_the_lists_behind_the_cut(logs: Path, store: Path, part: float) -> None:
    """Which ones is said."""
    folder, said = long_lists(logs, store)
    path = folder / "stream-0000.arrows"
    os.truncate(path, int(path.stat().st_size * part))
    compact(logs, store)
    whole = int(3 * part)
    assert edges(store) == set().union(*said[:whole], said[3])
    assert [message.split(" cannot")[0] for message in problems(store)] == [
        f"row edges {2000 * turn} to {2000 * turn + 1999}" for turn in range(whole, 3)
    ]


def test_a_missing_file_is_no_missing_edge_silently(logs: Path, store: Path) -> None:
    """Each list is named; the range, which needs no file, is there."""
    folder, said = long_lists(logs, store)
    (folder / "stream-0000.arrows").unlink()
    compact(logs, store)
    assert edges(store) == said[3]
    assert len(problems(store)) == 3


GOOD: dict[str, Any] = {"child": [0, 1], "parent": [5, 1]}


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        (GOOD | {"child": []}, 3),
        (GOOD | {"child": [0, 1, 2]}, 3),
        (GOOD | {"child": [-1, 1]}, 3),
        (GOOD | {"child": [0, -1]}, 3),
        (GOOD | {"child": [2**63, 1]}, 3),
        (GOOD | {"child": [2**63 - 2, 1]}, 3),
        (GOOD | {"child": [0, 2**62]}, 3),
        (GOOD | {"child": ["a", 1]}, 3),
        (GOOD | {"child": [0], "listed": bytes(16)}, 3),
        (GOOD | {"child": [0], "listed": bytes(17)}, 3),
        (GOOD | {"listed": bytes(24)}, 3),
        (GOOD | {"child": [0], "listed": b"\xff" * 24}, 3),
        (GOOD | {"child": [2**63 - 1], "listed": b"\x01" + bytes(23)}, 3),
        (GOOD | {"parent_writer": b"short"}, 3),
        (GOOD, 0),
        (GOOD, 2**63),
        ([1, 2], 3),
        ({}, 3),
    ],
)
def test_what_no_writer_of_ours_says_is_told(logs: Path, store: Path, payload: Any, count: int) -> None:
    """A log may hold anything under a right check: it is named and costs nothing else."""
    with one(logs) as job:
        run = job[0]
        names = run._log.intern("peaks"), run._log.intern("frames")
        run._log.append(Code.ROW_EDGES, names[0], 0, count, names[1], 0, encode(payload))
        run._log.append(Code.ROW_EDGES, 77, 3, 3, names[1], 0, encode(GOOD))
        run._log.append(Code.ROW_EDGES, names[0], 6, 3, names[1], 0, b"\xc1")
        run._log.append(Code.ROW_EDGES, names[0], 9, 3, names[1], 1, encode(GOOD | {"child": [0]}))
        run._log.append(Code.ROW_EDGES, names[0], 12, 3, names[1], 0, encode(GOOD))
    compact(logs, store)
    mine = run.writer.hex()
    assert edges(store) == {("peaks", mine, k, "frames", mine, 5 + k) for k in range(3)}
    assert len(problems(store)) == 4


def test_a_reader_asks_for_no_names_where_there_are_no_edges(logs: Path) -> None:
    """A long log of other rows is not read twice for its texts."""
    with one(logs) as job:
        job[0].data("frames")
    log = read_writer(job.folder(0))

    def no_names() -> dict[int, str]:
        raise AssertionError("the names were asked for")

    reader = EdgeReader(log, no_names, [], lambda *given: None)
    assert not [stated for events in log.each() for stated in reader.stated(events, log.utc)]
