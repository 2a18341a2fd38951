"""Where a row came from, and what came of it: against sets of pairs, over streams, ranks, runs, and moments."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.lineage.row_answer import RowLineage
from braid_hpc.lineage.row_walk import intervals
from braid_hpc.run.handles import Rows
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from tests.jobs import Job, made, one

#: Stream, rank and number of a row.
Row = tuple[str, int, int]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


def named(answer: RowLineage) -> dict[Row, int]:
    """Give the distance of each row."""
    found = {(row.stream, row.rank or 0, row.row): row.distance for row in answer.rows}
    assert len(found) == len(answer.rows), "a row is there twice"
    return found


def edges(answer: RowLineage) -> set[tuple[Row, Row]]:
    rows = [(row.stream, row.rank or 0, row.row) for row in answer.rows]
    return {(rows[child], rows[parent]) for child, parent in answer.edges}


def walked(
    said: Iterable[tuple[Row, Row]], start: Row, depth: int | None
) -> tuple[dict[Row, int], set[tuple[Row, Row]]]:
    """Walk as slowly and simply as can be: from children to parents."""
    near: dict[Row, list[Row]] = {}
    for child, parent in said:
        near.setdefault(child, []).append(parent)
    found, ring = {start: 0}, [start]
    along = set()
    while ring and (depth is None or found[ring[0]] < depth):
        following = []
        for row in ring:
            for other in near.get(row, ()):
                along.add((row, other))
                if other not in found:
                    found[other] = found[row] + 1
                    following.append(other)
        ring = following
    return found, along


RANKS, ROWS = 3, 40
STREAMS = ("raw", "peaks", "fits")


def state_at_random(job: Job, seed: int) -> set[tuple[Row, Row]]:
    """State edges of every form between any streams of any ranks, cycles among them; give the pairs."""
    random = np.random.default_rng(seed)
    for run in job.runs:
        for name in STREAMS:
            run.stream(name, {"n": "int64"}).extend({"n": np.arange(ROWS)})
    said: set[tuple[Row, Row]] = set()
    for _ in range(40):
        speaker = job[int(random.integers(RANKS))]
        sides: list[tuple[str, int, Rows, Any, Any]] = []
        count = int(random.integers(1, 9))
        for _ in range(2):
            name, rank = str(random.choice(STREAMS)), int(random.integers(RANKS))
            whole = Rows(job[rank].writer, name, 0, ROWS)
            form = random.integers(4)
            if form == 0:
                first = int(random.integers(ROWS - count))
                sides.append((name, rank, Rows(whole.writer, name, first, count), None, first + np.arange(count)))
            elif form == 1:
                index = int(random.integers(3)) + np.arange(count) * int(random.integers(1, 4))
                sides.append((name, rank, whole, index, index))
            elif form == 2:
                index = np.array([int(random.integers(ROWS))])
                sides.append((name, rank, whole, index, np.repeat(index, count)))
            else:
                index = random.integers(0, ROWS, count)
                sides.append((name, rank, whole, index, index))
        (child, one_rank, below, below_at, children), (parent, other, above, above_at, parents) = sides
        if (child, one_rank) == (parent, other) and (children == parents).any():
            continue
        if below_at is not None and above_at is not None and len(below_at) == len(above_at) == 1:
            children, parents = children[:1], parents[:1]
        speaker.derive_rows(below, above, child_index=below_at, parent_index=above_at)
        said |= {((child, one_rank, int(a)), (parent, other, int(b))) for a, b in zip(children, parents, strict=True)}
    return said


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_against_sets_of_pairs(logs: Path, store: Path, seed: int) -> None:
    """Rows, distances and edges, up and down, to any depth, between streams and ranks that feed each other in rings."""
    with Job(logs, RANKS) as job:
        said = state_at_random(job, seed)
    turned = {(parent, child) for child, parent in said}
    with made(logs, store) as opened:
        far = 0
        for start in sorted({row for pair in said for row in pair})[::11]:
            name, rank, number = start
            for down, depth in ((False, None), (True, None), (False, 1), (True, 2), (False, 0)):
                answer = opened.row_lineage(f"{name}#{number}", rank=rank, down=down, depth=depth)
                found, along = walked(turned if down else said, start, depth)
                assert named(answer) == found
                assert edges(answer) == ({(b, a) for a, b in along} if down else along)
                assert answer.rows[0].distance == 0
                assert [row.distance for row in answer.rows] == sorted(found.values())
                assert answer.complete
                far = max(far, *found.values())
        assert far > 3, "no walk went anywhere"


def test_many_rows_at_once(logs: Path, store: Path) -> None:
    """One frame, its thousands of peaks, and what came of each; and back again, a range for all of them."""
    with one(logs) as job:
        run = job[0]
        frames = run.stream("frames", {"n": "int64"}).extend({"n": np.arange(10)})
        peaks = run.stream("peaks", {"n": "int64"}).extend({"n": np.arange(50_000)})
        fits = run.stream("fits", {"n": "int64"}).extend({"n": np.arange(50_000)})
        run.derive_rows(peaks, frames, parent_index=np.arange(50_000) // 5000)
        run.derive_rows(fits, peaks)
    with made(logs, store) as opened:
        down = named(opened.row_lineage("frames#3", down=True))
        expected: dict[Row, int] = {("frames", 0, 3): 0}
        expected |= {("peaks", 0, row): 1 for row in range(15_000, 20_000)}
        assert down == expected | {("fits", 0, row): 2 for row in range(15_000, 20_000)}
        assert named(opened.row_lineage("fits#19999")) == {
            ("fits", 0, 19_999): 0,
            ("peaks", 0, 19_999): 1,
            ("frames", 0, 3): 2,
        }
        assert len(opened.sql("from row_edge_rows")) == 11


def test_records_values_and_what_is_not_there(logs: Path, store: Path) -> None:
    """The versions that the streams are and what these came from, the columns on request, rows that nobody has."""
    with one(logs) as job:
        run = job[0]
        scan = run.data("scan", digest="s:1")
        frames = run.stream("frames", {"n": "int64", "t": "text"}, derived_from=scan)
        row = frames.append(7, "é")
        peaks = run.stream("peaks", {"x": "float64"}, derived_from=run.model("net", digest="m:1"))
        found = peaks.append(float("nan"))
        run.derive_rows(found, row)
        run.derive_rows(found, Rows(b"w" * 16, "lost", 5, 1))
        run.invalidate(scan, cause="shutter")
    with made(logs, store) as opened:
        answer = opened.row_lineage("stream:peaks@1#0", values=True)
        assert [(each.ref, each.there, each.values) for each in answer.rows[1:]] == [
            ("stream:frames@1#0", True, {"n": 7, "t": "é"}),
            ("stream:lost#5", False, None),
        ]
        assert (answer.rows[2].run, answer.rows[2].rank) == (None, None)
        assert np.isnan((answer.rows[0].values or {})["x"])
        assert [(node.ref, node.distance, node.valid) for node in answer.records] == [
            ("stream:frames@1", 0, False),
            ("stream:peaks@1", 0, True),
            ("data:scan@1", 1, False),
            ("model:net@1", 1, True),
        ]
        assert opened.row_lineage("peaks#0").rows[0].values is None
        assert "stream:lost#5  not in the store" in str(answer)
        assert answer.to_dict()["edges"] == [{"child": 0, "parent": 1}, {"child": 0, "parent": 2}]


def test_which_row_is_meant(logs: Path, store: Path) -> None:
    """Of several ranks one has to be named, unless only one has that row; what is no row is refused."""
    with Job(logs, 2) as job:
        for rank, run in enumerate(job.runs):
            stream = run.stream("hits", {"n": "int64"})
            for number in range(rank + 1):
                stream.append(number)
            run.data("hits", digest="h:1")
            run.stream("empty", {"n": "int64"})
    with made(logs, store) as opened:
        assert opened.row_lineage("hits#1").rows[0].rank == 1
        assert opened.row_lineage("hits#0", rank=1).rows[0].rank == 1
        assert opened.row_lineage("hits#0", writer=job[0].writer.hex()[:6]).rows[0].rank == 0
        with pytest.raises(ConflictError, match="several ranks"):
            opened.row_lineage("hits#0")
        for reference, given, error in (
            ("hits#2", {}, NotFoundError),
            ("hits#1", {"rank": 0}, NotFoundError),
            ("hits#0", {"rank": 5}, NotFoundError),
            ("hits#0", {"writer": "nonsense"}, NotFoundError),
            ("empty#0", {}, NotFoundError),
            ("nonsense#0", {}, NotFoundError),
            ("hits@2#0", {}, NotFoundError),
            ("hits", {}, InvalidInputError),
            ("data:hits#0", {}, InvalidInputError),
            ("hits#1", {"depth": -1}, InvalidInputError),
            ("hits#1", {"depth": True}, InvalidInputError),
            ("hits#1", {"at": 9}, InvalidInputError),
        ):
            with pytest.raises(error):
                opened.row_lineage(reference, **given)
        with pytest.raises(InvalidInputError, match="row_lineage is for rows"):
            opened.lineage("hits#1")


def test_moments(logs: Path, store: Path) -> None:
    """At a snapshot what had been merged, as of a time what had been said."""
    with one(logs) as job:
        run = job[0]
        frames = run.stream("frames", {"n": "int64"}).extend({"n": np.arange(9)})
        peaks = run.stream("peaks", {"n": "int64"}).extend({"n": np.arange(9)})
        run.derive_rows(peaks, frames)
        time.sleep(0.001)
        between = time.time_ns()
        time.sleep(0.001)
        run.derive_rows(peaks, frames, child_index=[4], parent_index=[8])
        compact(logs, store)
        run.derive_rows(peaks, frames, child_index=[4], parent_index=[0])
        late = run.stream("peaks", {"n": "int64"}).extend({"n": np.arange(9)})
        run.derive_rows(late, frames)
    with made(logs, store) as opened:

        def parents(**moment: Any) -> list[int]:
            return [row.row for row in opened.row_lineage("peaks#4", **moment).rows[1:]]

        assert parents() == [0, 4, 8]
        assert parents(at=1) == [4, 8]
        assert parents(at=1, as_of=between) == parents(as_of=between) == [4]
        with pytest.raises(NotFoundError):
            opened.row_lineage("peaks#10", at=1)
        with pytest.raises(NotFoundError):
            opened.row_lineage("peaks#10", as_of=between)


def test_texts_mean_this_run_or_the_last_one_before(logs: Path, store: Path) -> None:
    """A stream of the writer, of the run, of an earlier run; by its number; and nobody's, which is said."""
    with one(logs, "first") as job:
        job[0].stream("raw", {"n": "int64"}).extend({"n": np.arange(5)})
    with one(logs, "second") as job:
        job[0].stream("raw", {"n": "int64"}).extend({"n": np.arange(5)})
    with Job(logs, 2, name="third") as job:
        job[0].stream("mine", {"n": "int64"}).extend({"n": np.arange(5)})
        peaks = job[1].stream("peaks", {"n": "int64"}).extend({"n": np.arange(5)})
        job[1].derive_rows(peaks, "raw", parent_index=[0, 1, 2, 3, 4])
        job[1].derive_rows(peaks, "raw@1#3", child_index=[2])
        job[1].derive_rows(peaks, "mine#1", child_index=[2])
        job[1].derive_rows(peaks, "peaks#0", child_index=[2])
        job[1].derive_rows(peaks, "nowhere#0", child_index=[3])
    with made(logs, store) as opened:
        jobs = {row["run"]: row["job"] for row in opened.sql("select run, job from runs")}
        answer = opened.row_lineage("peaks#2", depth=1)
        assert {(jobs[row.run or ""], row.stream, row.row) for row in answer.rows} == {
            *(("third", "peaks", 2), ("second", "raw", 2), ("first", "raw", 3), ("third", "mine", 1)),
            ("third", "peaks", 0),
        }
        assert answer.complete
        lost = opened.row_lineage("peaks#3")
        assert (lost.unresolved, lost.complete) == (["nowhere"], False)
        assert "not known whose rows: nowhere" in str(lost)
        down = opened.row_lineage("raw@2#2", down=True)
        assert [(row.stream, row.row) for row in down.rows] == [("raw", 2), ("peaks", 2)]


def test_a_text_that_fits_rows_of_several_ranks_is_not_guessed(logs: Path, store: Path) -> None:
    """Two ranks of the run before have such rows: neither is taken, up or down."""
    with Job(logs, 2, name="before") as job:
        for run in job.runs:
            run.stream("raw", {"n": "int64"}).extend({"n": np.arange(5)})
    with one(logs, "after") as job:
        peaks = job[0].stream("peaks", {"n": "int64"}).extend({"n": np.arange(5)})
        job[0].derive_rows(peaks, "raw", parent_index=[0, 1, 2, 3, 4])
    with made(logs, store) as opened:
        up = opened.row_lineage("peaks#2")
        assert (len(up.rows), up.unresolved) == (1, ["raw"])
        down = opened.row_lineage("raw#2", rank=1, down=True)
        assert (len(down.rows), down.unresolved) == (1, ["raw"])


def test_an_answer_names_logs_that_are_not_whole(logs: Path, store: Path) -> None:
    """A rank that has not ended may still say more."""
    with Job(logs, 2) as job:
        rows = job[0].stream("raw", {"n": "int64"}).extend({"n": np.arange(5)})
        job[1].derive_rows(job[1].stream("peaks", {"n": "int64"}).append(1), rows, parent_index=[3])
        job[1].close()
        with made(logs, store) as opened:
            answer = opened.row_lineage("peaks#0")
            assert [(each.rank, each.state) for each in answer.missing] == [(0, "open")]
            assert not answer.complete
            assert "incomplete: rank 0" in str(answer)


def test_a_tree_follows_a_row_once(logs: Path, store: Path) -> None:
    """One that is reached twice is named twice, and a ring ends."""
    with one(logs) as job:
        run = job[0]
        rows = run.stream("s", {"n": "int64"}).extend({"n": np.arange(4)})
        run.derive_rows(rows, rows, child_index=[0, 0, 1, 2, 3], parent_index=[1, 2, 3, 3, 0])
    with made(logs, store) as opened:
        lines = str(opened.row_lineage("s#0")).splitlines()
    shown = [line.replace("stream:s@1#", "").split("  run")[0] + line.partition(" (above)")[1] for line in lines]
    assert shown[:-1] == ["0", "  1", "    3", "      0 (above)", "  2", "    3 (above)"]


@pytest.mark.parametrize(
    ("rows", "ranges"),
    [
        ([5], [(5, 5)]),
        ([1, 2, 3, 9, 10], [(1, 3), (9, 10)]),
        (list(range(100)), 8),
        ([*range(0, 1000, 2), 10**9], 8),
    ],
)
def test_rows_are_asked_for_in_a_few_ranges(rows: list[int], ranges: list[tuple[int, int]] | int) -> None:
    """All of them are in one, and the widest gaps are in none."""
    found = intervals(np.array(rows))
    assert [row for row in rows if any(low <= row <= high for low, high in found)] == rows
    assert found == ranges if isinstance(ranges, list) else len(found) <= ranges
    if rows[-1] == 10**9:
        assert found[-1] == (10**9, 10**9)


def test_a_snapshot_that_is_older_than_a_handle(logs: Path, store: Path) -> None:
    """What was read of the links is of the snapshot that was asked, also after the handle moves on."""
    with one(logs) as job:
        run = job[0]
        frames = run.stream("frames", {"n": "int64"}).extend({"n": np.arange(9)})
        peaks = run.stream("peaks", {"n": "int64"}).extend({"n": np.arange(9)})
        compact(logs, store)
        with Store(store) as opened:
            assert len(opened.row_lineage("peaks#4").rows) == 1
            run.derive_rows(peaks, frames)
            run.close()
            compact(logs, store)
            assert len(opened.row_lineage("peaks#4").rows) == 1
            opened.refresh()
            assert len(opened.row_lineage("peaks#4").rows) == 2
            assert len(opened.row_lineage("peaks#4", at=1).rows) == 1
