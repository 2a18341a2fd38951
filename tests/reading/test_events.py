"""Rows as columns: taking some, and putting parts together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.log.layout import ROW, ROW_BYTES
from braid_hpc.reading.events import COLUMNS, ROW_DTYPE, Events


def made(numbers: list[int], *, salt: str = "") -> Events:
    """Give rows with these sequences, each with a payload that says so."""
    table = np.zeros(len(numbers), ROW_DTYPE)
    heap = b"head"
    for row, number in enumerate(numbers):
        payload = f"{number}{salt}".encode() * (number % 3)
        table[row]["heap"], table[row]["length"] = len(heap), len(payload)
        table[row]["subject"], table[row]["code"] = number * 7, number % 5
        heap += payload
    return Events.from_table(table, np.array(numbers, np.uint64), heap)


def listed(events: Events) -> list[tuple[int, int, bytes]]:
    return [(int(events["sequence"][n]), int(events["subject"][n]), events.payload(n)) for n in range(len(events))]


def wanted(numbers: list[int]) -> list[tuple[int, int, bytes]]:
    return [(number, number * 7, str(number).encode() * (number % 3)) for number in numbers]


def test_the_row_of_the_reader_is_that_of_the_writer() -> None:
    """Field by field: the two descriptions are of one format."""
    row = ROW.pack(-1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11) + (12).to_bytes(8, "little")
    table = np.frombuffer(row, ROW_DTYPE)
    assert ROW_DTYPE.itemsize == len(row) == ROW_BYTES
    fields = (
        "time",
        "subject",
        "object",
        "name",
        "other",
        "code",
        "flags",
        "thread",
        "heap",
        "length",
        "reserved",
        "word",
    )
    assert [int(table[field][0]) for field in fields] == [-1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_no_rows() -> None:
    """An empty part has all columns, with their types."""
    empty = Events.empty()
    assert len(empty) == 0
    assert set(empty.columns) == set(COLUMNS)
    assert {name: column.dtype for name, column in empty.columns.items()} == {
        name: column.dtype for name, column in made([1]).columns.items()
    }
    assert len(Events.join([])) == len(Events.join([empty, empty])) == 0


@given(st.lists(st.lists(st.integers(1, 60), unique=True, max_size=20), max_size=5))
def test_parts_are_put_together_once_and_in_order(parts: list[list[int]]) -> None:
    """Whatever parts overlap and in whatever order they come."""
    whole = Events.join([made(numbers) for numbers in parts])
    assert listed(whole) == wanted(sorted({number for numbers in parts for number in numbers}))


def test_the_first_of_two_equal_rows_counts() -> None:
    """Tails come before sealed batches, as they are read."""
    whole = Events.join([made([4, 5], salt="first"), made([3, 4, 5], salt="second")])
    assert [whole.payload(row) for row in range(3)] == [b"", b"4first", b"5first5first"]


@given(st.lists(st.integers(1, 60), unique=True, max_size=20), st.data())
def test_rows_can_be_taken(numbers: list[int], data: st.DataObject) -> None:
    """By a mask or by positions; payloads stay with their rows."""
    events = made(numbers)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers))), bool)
    assert listed(events.take(mask)) == wanted([number for number, kept in zip(numbers, mask, strict=True) if kept])
    assert listed(events.take(np.flatnonzero(mask)[::-1])) == listed(events.take(mask))[::-1]


def test_positions_of_codes() -> None:
    """In order, of one code or several."""
    events = made([5, 1, 6, 2, 10])
    assert list(events.positions(1)) == [1, 2]
    assert list(events.positions(0, 2)) == [0, 3, 4]
    assert list(events.positions(9)) == []


def test_any_code_that_a_row_can_have_may_be_asked_for() -> None:
    """A code is 16 bits, and a newer minor version may have others than this one."""
    events = made([1, 2])
    events.columns["code"] = np.array([0xFFFF, 7], np.uint16)
    assert events.having(0xFFFF).tolist() == [True, False]
    assert events.having(7, 8).tolist() == [False, True]
    assert events.having().tolist() == [False, False]
