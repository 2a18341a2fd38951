"""Names of streams and columns for events: each key has one column, and no two keys the same."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary import event_rows
from braid_hpc.vocabulary.columns import check_columns
from braid_hpc.vocabulary.event_rows import (
    DOCUMENT_COLUMNS,
    HEAD,
    ORPHANS,
    column_of,
    key_of,
    stream_of,
    time_column_of,
    written_keys,
)

PAGE = (Path(__file__).parents[2] / "docs" / "documents.md").read_text()

KEYS = st.one_of(
    st.text(min_size=1, max_size=6),
    st.builds("{}__{}".format, st.sampled_from(["a", "time", "_b", "data", "x__3"]), st.integers(0, 12)),
    st.sampled_from([*HEAD, "Time", "UID", "data", "time", "_row", "a b", "XF:23{Dif-Ax:Del}", "rest", "__2"]),
)


@given(st.lists(KEYS, unique_by=str.lower), st.integers(2, 9))
def test_a_column_says_which_key_it_holds_and_no_two_are_the_same(keys: list[str], number: int) -> None:
    """Also behind the number that a table in a store gives to another type of it."""
    columns: dict[str, str] = dict(HEAD)
    for key in keys:
        column = column_of(key)
        if column is None:
            continue
        times = time_column_of(key)
        assert key_of(column) == (False, key)
        assert key_of(f"{column}__{number}") == (False, key)
        assert key_of(times) == (True, key)
        assert not {column.lower(), times.lower()} & {each.lower() for each in columns}
        columns |= {column: "float64", times: "float64"}
    assert [name for name, _ in check_columns(columns)] == list(columns)


def test_columns_of_no_key() -> None:
    for column in (*HEAD, "_row", "_writer", "other.key"):
        assert key_of(column) is None
    for key in ("", "a.b", "a\0", "k" * 201, "\udcff", 5, None):
        assert column_of(key) is None


def test_streams() -> None:
    assert stream_of("primary") == "bluesky/primary"
    for name in ("", None, 5, "a\0", "\udcff", "n" * 201):
        assert stream_of(name) == ORPHANS


def test_keys_that_differ_in_case_only_are_not_told_from_their_column() -> None:
    assert written_keys(["Motor", "det", "DET", 5]) == {"motor": "Motor"}


def table(title: str) -> list[list[str]]:
    """Give the rows of the first table below a place in the page."""
    lines = PAGE[PAGE.index(title) :].splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([re.sub(r"[`*]", "", cell.strip()) for cell in line.strip("|").split("|")])
    return rows


def test_tables_are_those_of_the_page() -> None:
    assert [row[:2] for row in table("They are rows of the stream")] == [
        list(each) for each in DOCUMENT_COLUMNS.items()
    ]
    assert [row[:2] for row in table("## Events")[: len(HEAD)]] == [list(each) for each in HEAD.items()]
    members = [value for name, value in vars(event_rows).items() if name.startswith("REST_")]
    assert sorted(row[0] for row in table("The rest is a mapping")) == sorted(members)
