"""Row edges on a rank: what is stated is in the log, as little as can be; what cannot be is refused as a whole."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest

import braid_hpc as braid
from braid_hpc.log.batch_file import BatchFile
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.sealed import read_stream_batch
from braid_hpc.reading.survey import read_writer
from braid_hpc.run import row_edges
from braid_hpc.run.handles import NO_ROWS, Rows
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.columns import BATCH_IN_FILE, EDGES_FILE
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import parse_reference
from tests.rank_logs import read_logs, said

Pairs = set[tuple[int, int]]


def streams(run: braid.Run, *, frames: int = 100, peaks: int = 300) -> tuple[Rows, Rows]:
    """Give the rows of two streams."""
    above = run.stream("frames", {"a": "int64"}).extend({"a": np.arange(frames)})
    below = run.stream("peaks", {"b": "int64"}).extend({"b": np.arange(peaks)})
    return above, below


def cut(rows: Rows, *, first: int | None = None, count: int | None = None) -> Rows:
    """Give other rows of the same stream."""
    writer, stream, begin, there = rows
    return Rows(writer, stream, begin if first is None else first, there if count is None else count)


def stated(run: braid.Run) -> list[tuple[str, str, str, str | None, Pairs]]:
    """Give each event: both streams, whose parents they are, the text, and the pairs; by the words of the format."""
    log = read_writer(run._log.directory)
    names = log.names()
    found = []
    edges = 0
    for row in said(log, Code.ROW_EDGES):
        value, count = row.value, row.object
        assert row.subject == edges
        edges += count
        listed = value.get("listed", b"")
        if row.flags == BATCH_IN_FILE:
            numbers = read_stream_batch(log.directory, EDGES_FILE, listed)["row"].to_pylist()
        else:
            numbers = list(struct.unpack(f"<{len(listed) // 8}q", listed))
        sides = []
        for side in (value["child"], value["parent"]):
            if len(side) == 2:
                sides.append([side[0] + k * side[1] for k in range(count)])
            else:
                mine, numbers = numbers[:count], numbers[count:]
                sides.append([side[0] + number for number in mine])
        assert not numbers
        pairs = set(zip(*sides, strict=True))
        whose = value.get("parent_writer", b"").hex()
        found.append((row.name, names[row.other], whose, value.get("said"), pairs))
    return found


def only(run: braid.Run) -> Pairs:
    """Give the pairs of the one event."""
    ((*_, pairs),) = stated(run)
    return pairs


def test_ranges_are_written_as_ranges(run: braid.Run) -> None:
    """One to one, all from one, one from all: a short event whatever their number."""
    above, below = streams(run)
    huge = Rows(bytes(range(16)), "raw", 5, 10_000_000)
    run.derive_rows(cut(below, first=200, count=100), above)
    run.derive_rows(below, cut(above, first=7, count=1))
    run.derive_rows(cut(below, first=9, count=1), above)
    run.derive_rows(huge, cut(huge, first=6))
    events = said(read_writer(run._log.directory), Code.ROW_EDGES)
    assert [row.object for row in events] == [100, 300, 100, 10_000_000]
    assert [(row.value["child"], row.value["parent"]) for row in events] == [
        ([200, 1], [0, 1]),
        ([0, 1], [7, 0]),
        ([9, 0], [0, 1]),
        ([5, 1], [6, 1]),
    ]
    assert all(len(row.payload) < 120 and row.flags == 0 for row in events)
    assert events[3].value["child_writer"] == events[3].value["parent_writer"] == bytes(range(16))


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, pa.array, lambda v: np.array(v, np.uint8), lambda v: np.array(v, ">i4")]
)
def test_any_whole_numbers_name_rows(run: braid.Run, kind: Callable[[Any], Any]) -> None:
    """Numbers count from the range's first row; of a stream from its row 0; in any order, and again and again."""
    above, below = streams(run)
    child, parent = [5, 2, 2, 90], [1, 1, 99, 3]
    run.derive_rows(cut(below, first=100, count=91), above, child_index=kind(child), parent_index=kind(parent))
    frames, peaks = (run.stream(name, {column: "int64"}) for name, column in (("frames", "a"), ("peaks", "b")))
    run.derive_rows(peaks, frames, child_index=kind(child), parent_index=kind(parent))
    assert [each[4] for each in stated(run)] == [
        {(105, 1), (102, 1), (102, 99), (190, 3)},
        {(5, 1), (2, 1), (2, 99), (90, 3)},
    ]


def test_numbers_that_follow_a_rule_are_written_as_it(run: braid.Run) -> None:
    """Every third row is two numbers, and what only looks like it is a list."""
    above, below = streams(run)
    run.derive_rows(below, cut(above, count=100), child_index=3 * np.arange(100))
    run.derive_rows(below, above, child_index=[0, 3, 4, 9], parent_index=[0, 1, 2, 3])
    run.derive_rows(below, above, child_index=np.array([255, 0, 1], np.uint8), parent_index=[5, 5, 5])
    sides = [row.value["child"] for row in said(read_writer(run._log.directory), Code.ROW_EDGES)]
    assert sides == [[0, 3], [0], [0]]
    assert [each[4] for each in stated(run)][2] == {(255, 5), (0, 5), (1, 5)}


def test_long_lists_stand_in_a_file(run: braid.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part by part, with sums; the file is read with the log, and ``braid check`` looks into it."""
    monkeypatch.setattr(row_edges, "EDGES_AT_ONCE", 5000)
    above, below = streams(run, peaks=12_000)
    parents = np.random.default_rng(1).integers(0, 100, 12_000)
    run.derive_rows(below, above, parent_index=parents)
    found = stated(run)
    assert [len(each[4]) for each in found] == [5000, 5000, 2000]
    assert set().union(*(each[4] for each in found)) == set(zip(range(12_000), parents.tolist(), strict=True))
    assert (run._log.directory / "stream-0000.sums").stat().st_size == 2 * 64, "2000 numbers have room in the tail"
    log = read_writer(run._log.directory)
    check_batches(log)
    assert not log.faults


def test_other_writers_and_texts(run: braid.Run) -> None:
    """A range of another writer carries its id; a text is kept as it says, without the row."""
    _, below = streams(run)
    run.derive_rows(below, Rows(b"w" * 16, "raw", 50, 300))
    run.derive_rows(below, "stream:raw@2#17")
    run.derive_rows(below, '"a#3"', child_index=[1, 0], parent_index=[8, 9])
    (one, two, three) = stated(run)
    assert one[1:4] == ("raw", (b"w" * 16).hex(), None)
    assert (two[1], two[3], two[4]) == ("raw", "raw@2", {(k, 17) for k in range(300)})
    assert (three[1], three[3], three[4]) == ("a#3", '"a#3"', {(1, 8), (0, 9)})
    assert parse_reference(three[3] or "").name == "a#3"


def rows_of(run: braid.Run, **given: Any) -> Rows:
    about: dict[str, Any] = {"writer": run.writer, "stream": "peaks", "first": 0, "count": 10} | given
    return Rows(*about.values())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lambda run, a, b: (b, a), "300 children and 100 parents"),
        (lambda run, a, b: (b, cut(a, first=90, count=11)), "which has 100"),
        (lambda run, a, b: (rows_of(run, writer=b"short"), a), "no range of rows"),
        (lambda run, a, b: (rows_of(run, writer=b"w" * 16, first=2**63 - 5), a), "no range of rows"),
        (lambda run, a, b: (rows_of(run, stream="nonsense"), a), "was not declared in this run"),
        (lambda run, a, b: (b, b), "derived from itself"),
        (lambda run, a, b: (cut(b, count=100), cut(b, first=50, count=1)), "derived from itself"),
        (lambda run, a, b: (b, "nonsense"), "say which rows"),
        (lambda run, a, b: (b, "data:frames#1"), "does not name a stream"),
        (lambda run, a, b: (b, "id:0f3a"), "does not name a stream"),
        (lambda run, a, b: (b, "frames@0#1"), "not a version"),
        (lambda run, a, b: ("peaks#1", a), "what append or extend returned"),
        (lambda run, a, b: (b, 7), "what append or extend returned"),
        (lambda run, a, b: (b, None), "what append or extend returned"),
        (lambda run, a, b: (run.stream("peaks", {"b": "int64"}), a), "say which rows"),
    ],
)
def test_what_names_no_rows_is_refused(run: braid.Run, given: Callable[..., Any], why: str) -> None:
    """Nothing of it is written."""
    above, below = streams(run)
    children, parents = given(run, above, below)
    with pytest.raises(InvalidInputError, match=why):
        run.derive_rows(children, parents)
    assert stated(run) == []


class PlainRows(NamedTuple):
    """As Rows is where nothing is compiled; the compiled one does not take what is no number of rows."""

    writer: bytes
    stream: str
    first: int
    count: int  # type: ignore[assignment]


@pytest.mark.parametrize("wrong", [{"first": -1}, {"count": -1}, {"first": 1.5}, {"first": True}, {"stream": 7}])
def test_ranges_that_cannot_be_are_refused(
    run: braid.Run, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever somebody made one of."""
    streams(run)
    monkeypatch.setattr(row_edges, "Rows", PlainRows)
    about: dict[str, Any] = {"writer": run.writer, "stream": "peaks", "first": 0, "count": 10}
    with pytest.raises(InvalidInputError, match="no range of rows"):
        run.derive_rows(PlainRows(**(about | wrong)), "frames#1")
    assert stated(run) == []


@pytest.mark.parametrize(
    ("child", "parent", "why"),
    [
        ([1, 2], [1, 2, 3], "2 children and 3 parents"),
        ([], [1, 2], "0 children and 2 parents"),
        ([1, -1], [1, 2], "the number -1"),
        ([1, 300], [1, 2], "there are 300 rows"),
        ([1, 2], np.array([1, 100]), "there are 100 rows"),
        ([1, 2.5], [1, 2], "does not fit"),
        (np.array([1.0, 2.0]), [1, 2], "of dtype float64"),
        (np.array([True, False]), [1, 2], "of dtype bool"),
        (np.array([[1, 2]]), [1, 2], "shape"),
        (np.array([1, 2**63], np.uint64), [1, 2], "the number 9223372036854775808"),
        ([1, 2**70], [1, 2], "does not fit"),
        (np.ma.masked_array([1, 2], [True, False]), [1, 2], "masked"),
        ([1, None], [1, 2], "does not fit"),
        ("ab", [1, 2], "does not fit"),
        (5, [1, 2], "does not fit"),
    ],
)
def test_what_is_no_row_is_refused(run: braid.Run, child: Any, parent: Any, why: str) -> None:
    """Nothing of it is written, also where the wrong number is the last of many."""
    above, below = streams(run)
    with pytest.raises(InvalidInputError, match=why):
        run.derive_rows(below, above, child_index=child, parent_index=parent)
    assert stated(run) == []


def test_a_row_that_is_its_own_parent_is_found_in_lists(run: braid.Run) -> None:
    """In one pair of many."""
    _, below = streams(run)
    child = np.arange(100)
    parent = child + 5
    parent[77] = 77
    with pytest.raises(InvalidInputError, match="derived from itself"):
        run.derive_rows(below, below, child_index=child, parent_index=parent)
    run.derive_rows(below, below, child_index=child + 150, parent_index=parent)
    assert len(only(run)) == 100


def test_rows_of_a_stream_that_was_declared_again_are_named(run: braid.Run) -> None:
    """They are counted on with those of the first declaration, so a number means one row."""
    above, _ = streams(run)
    more = run.stream("peaks", {"c": "text"}).extend({"c": ["a", "b"]})
    assert tuple(more)[2:] == (300, 2)
    run.derive_rows(more, above, parent_index=[7, 9])
    run.derive_rows(run.stream("peaks", {"b": "int64"}), above, child_index=[0, 301], parent_index=[1, 2])
    with pytest.raises(InvalidInputError, match="the number 302, and there are 302 rows"):
        run.derive_rows(run.stream("peaks", {"c": "text"}), above, child_index=[302], parent_index=[1])
    assert [pairs for *_, pairs in stated(run)] == [{(300, 7), (301, 9)}, {(0, 1), (301, 2)}]


def test_nothing_to_say_is_nothing(run: braid.Run) -> None:
    """No numbers on both sides, and rows that were refused, of which that was said."""
    above, below = streams(run)
    run.derive_rows(below, above, child_index=[], parent_index=np.array([]))
    run.derive_rows(cut(below, count=0), cut(above, count=0))
    run.derive_rows(NO_ROWS, above)
    run.derive_rows(below, NO_ROWS)
    assert stated(run) == []


def test_the_program_goes_on(run: braid.Run, lenient: None, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal is kept as an event, told once, and the next call is recorded."""
    above, below = streams(run)
    run.derive_rows(below, above)
    run.derive_rows(below, object())

    class Evil:
        def __len__(self) -> int:
            raise RuntimeError("no")

    run.derive_rows(below, above, child_index=Evil(), parent_index=[1])
    run.derive_rows(below, cut(above, count=1))
    log = read_writer(run._log.directory)
    assert [row.value["call"] for row in said(log, Code.REJECTED)] == 3 * ["derive_rows"]
    assert len(stated(run)) == 1
    assert capsys.readouterr().err.count("derive_rows") == 1


def test_a_run_that_has_ended(tmp_path: Path, lenient: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written, and that is said once."""
    with braid.job("ended", log_dir=tmp_path / "ended") as run:
        above, below = streams(run)
    run.derive_rows(below, cut(above, count=1))
    run.derive_rows(below, cut(above, count=1))
    assert stated(run) == []
    assert capsys.readouterr().err.count("has ended") == 1


def test_a_full_disk_loses_edges_and_counts_them(run: braid.Run, lenient: None) -> None:
    """Each list that finds no room is counted by its edges, and later ones are recorded."""
    above, below = streams(run, peaks=12_000)
    parents = np.arange(12_000) * 7 % 100
    with patch.object(BatchFile, "append", side_effect=OSError(28, "No space left on device")):
        run.derive_rows(below, above, parent_index=parents)
    run.derive_rows(below, above, parent_index=parents)
    assert run._log.lost == 12_000
    log = read_writer(run._log.directory)
    assert log.state is WriterState.LOSSY
    assert len(said(log, Code.ROW_EDGES)) == 1


def test_a_rank_without_numpy(tmp_path: Path) -> None:
    """Lists and arrays of the standard library are enough, and nothing else is imported."""
    script = """
import sys, array
import braid_hpc as braid
with braid.job("plain", log_dir="logs") as run:
    above, below = run.stream("frames", {"a": "int64"}), run.stream("peaks", {"b": "int64"})
    for number in range(50):
        above.append(number)
        below.append(number)
    run.derive_rows(below, above, child_index=[3, 1, 2], parent_index=array.array("q", [9, 8, 8]))
    run.derive_rows(below, above, child_index=range(0, 50, 2), parent_index=array.array("q", range(25)))
    try:
        run.derive_rows(below, above, child_index=[3, 50], parent_index=[1, 1])
    except braid.InvalidInputError:
        assert "numpy" not in sys.modules and "pyarrow" not in sys.modules
        print(run._log.directory)
"""
    script = script.replace("braid.InvalidInputError", "ValueError")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    log = read_writer(Path(done.stdout.strip()))
    (one, two) = said(log, Code.ROW_EDGES)
    assert struct.unpack("<6q", one.value["listed"]) == (3, 1, 2, 9, 8, 8)
    assert (two.value["child"], two.value["parent"]) == ([0, 2], [0, 1])


def test_threads_that_list_rows_at_once(run: braid.Run) -> None:
    """Each list is there, whoever came first and made the file."""
    above, below = streams(run, peaks=12_000)
    parents = [np.random.default_rng(seed).integers(0, 100, 12_000) for seed in range(8)]
    gate = threading.Barrier(8)

    def state(seed: int) -> None:
        gate.wait()
        run.derive_rows(below, above, parent_index=parents[seed])

    threads = [threading.Thread(target=state, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = read_writer(run._log.directory)
    check_batches(log)
    assert not log.faults
    events = said(log, Code.ROW_EDGES)
    found = [read_stream_batch(log.directory, EDGES_FILE, row.value["listed"])["row"].to_pylist() for row in events]
    assert sorted(found) == sorted(each.tolist() for each in parents)
    assert sorted(row.subject for row in events) == [12_000 * number for number in range(8)]


def test_a_forked_child_lists_into_its_own_log(run: braid.Run) -> None:
    """And the parent goes on with its file."""
    above, below = streams(run, peaks=12_000)
    parents = np.random.default_rng(1).integers(0, 100, 12_000)
    run.derive_rows(below, above, parent_index=parents)
    child = os.fork()
    if not child:
        run.derive_rows(below, above, parent_index=parents[::-1])
        run.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    run.derive_rows(below, above, parent_index=parents)
    assert len(stated(run)) == 2
    (other,) = (log for log in read_logs(run.log_dir) if log.writer != run.writer.hex())
    (row,) = said(other, Code.ROW_EDGES)
    assert row.value["parent_writer"] == row.value["child_writer"] == run.writer
    check_batches(other)
    assert not other.faults
