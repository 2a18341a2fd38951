"""Rows of declared tables as numbers, beside what a loop over them finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import braid_hpc as braid
from braid_hpc.campaigns.items import _among, _expanded, read_items
from braid_hpc.vocabulary.places import FileState
from tests.jobs import made, one


@braid.table(key="name", file="name")
class Output:
    name: str


#: First number, step, and how many numbers there are; some lie beyond 32 bits.
RANGES = st.tuples(st.sampled_from([0, 7, 1 << 33]), st.integers(0, 1000), st.integers(-3, 3), st.integers(1, 5))


@given(st.lists(RANGES, max_size=30))
def test_ranges_are_the_numbers_in_them(ranges: list[tuple[int, int, int, int]]) -> None:
    """Rising, falling, of one number that stays the same, of one number alone."""
    first = np.array([base + at + 20 for base, at, _, _ in ranges], np.int64)
    step = np.array([step for _, _, step, _ in ranges], np.int64)
    count = np.array([count for *_, count in ranges], np.int64)
    found = _expanded(first, first + step * (count - 1), count)
    expected = [
        int(begin) + at * int(by) for begin, by, often in zip(first, step, count, strict=True) for at in range(often)
    ]
    assert found.tolist() == expected


@given(st.lists(st.sampled_from(list(FileState))), st.sets(st.sampled_from(list(FileState))))
def test_states_are_among_some(states: list[FileState], wanted: set[FileState]) -> None:
    """As Python says."""
    found = _among(np.array(states, np.uint8), *wanted)
    assert found.tolist() == [state in wanted for state in states]


def test_files_were_made_when_they_were_changed_or_else_when_that_was_said(tmp_path: Path) -> None:
    """Files of which the time of change is known, and others, in one mark and in several."""
    names = [f"{at}.h5" for at in range(5)]
    with one(tmp_path / "logs") as job:
        job[0].declare(Output, {"name": names})
        job[0].mark(Output, "exists", names=names[:2], modified=[1_000, 0])
        job[0].mark(Output, "exists", names=names[2:3])
        job[0].mark(Output, "exists", names=names[3:4], modified=2_000)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        items = read_items(store)
        marks = store.sql("select row, epoch_ns(time) as time from marks where row is not null")
        said = {mark["row"]: mark["time"] for mark in marks}
    assert items.made.tolist() == [1_000, said[1], said[2], 2_000, 0]


def test_the_last_word_counts_at_whichever_place_it_was_said(tmp_path: Path) -> None:
    """And what is not to be relied on is no better for a copy of it on tape."""
    names = [f"{at}.h5" for at in range(4)]
    with one(tmp_path / "logs") as job:
        job[0].declare(Output, {"name": names})
        job[0].mark(Output, "exists", names=names)
        job[0].mark(Output, "invalid", names=names[:1], place="tape")
        job[0].mark(Output, "valid", names=names[:1])
        job[0].mark(Output, "valid", names=names[1:2], place="tape")
        job[0].mark(Output, "invalid", names=names[1:3])
        job[0].mark(Output, "exists", names=names[2:3], place="tape")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        items = read_items(store)
    assert (items.doubted > 0).tolist() == [False, True, True, False]
    assert items.stale.tolist() == [False, True, True, False]
