"""Marks find their rows, and what is no mark disturbs none."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest

import braid_hpc as braid
from braid_hpc.run import recorder
from braid_hpc.run.tables import Type
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.places import MARK_COLUMNS, MARKS
from braid_hpc.vocabulary.sets import SET_COLUMNS, SETS
from tests.jobs import made, one, rows

OWN = ["braid.marks", "braid.sets", "braid.claims", "braid.attached"]


@braid.table(key="name")
class File:
    name: str


@pytest.mark.parametrize("name", OWN)
def test_the_names_of_our_own_streams_are_refused_for_others(tmp_path: Path, name: str) -> None:
    with one(tmp_path / "logs") as job:
        with pytest.raises(InvalidInputError, match="a stream of its own"):
            job[0].stream(name, {"state": "text"})
        with pytest.raises(InvalidInputError, match="a stream of its own"):
            job[0].declare(braid.table(type("T", (), {"__annotations__": {"state": str}}), name=name)("x"))


@pytest.mark.parametrize("columns", [{"state": "text", "a": "int64"}, {"state": "float32"}, {"place": "int64"}])
def test_another_stream_of_such_a_name_ends_no_merge(
    tmp_path: Path, columns: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier writers let it be; marks and sets of others are found beside it."""
    monkeypatch.setattr(recorder, "_OWN", {})
    values: dict[str, Any] = {"text": "x", "int64": 7, "float32": 1e9}
    with one(tmp_path / "logs") as job:
        for name in (MARKS, SETS):
            job[0].stream(name, columns).append(*(values[kind] for kind in columns.values()))
    with one(tmp_path / "logs") as job:
        job[0].declare(File("a"))
        job[0].mark(File("a"), "exists")
        job[0].collect("all", File("a"))
    with made(tmp_path / "logs", tmp_path / "store") as store:
        assert rows(store, "select state, place from mark_rows") == [(1, "disk")]
        assert rows(store, "select label, members from set_rows") == [("all", 1)]


def test_a_mark_with_nothing_in_it_is_none(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        job[0].declare(File("a"))
        job[0].mark(File("a"), "exists")
        job[0]._own_stream(MARKS, MARK_COLUMNS).append(None, None, None, None, None, None, None, None)
        job[0]._own_stream(SETS, SET_COLUMNS).append(None, None, None)
    with made(tmp_path / "logs", tmp_path / "store") as store:
        assert rows(store, "select state, place from mark_rows") == [(1, "disk")]


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        (bool, True, "True"),
        (bytes, b"a\xff", "61ff"),
        (datetime, datetime(2020, 1, 1, tzinfo=UTC), "1577836800000000000"),
        (float, 5, "5.0"),
        (float, 1e22, "1e+22"),
        (float, math.nan, "nan"),
        (float, -math.nan, "nan"),
        (int, -5, "-5"),
        (str | None, None, "None"),
        (str, "ä/b", "ä\\/b"),
    ],
)
def test_a_row_is_found_by_a_key_of_any_type(tmp_path: Path, kind: Any, value: Any, name: str) -> None:
    """Whether it is marked as an instance or by its name."""
    cls = braid.table(type("T", (), {"__annotations__": {"name": str, "x": kind}}), key=("name", "x"))
    with one(tmp_path / "logs") as job:
        job[0].declare(cls("n", value))
        job[0].mark(cls("n", value), "exists")
        job[0].mark(cls, "invalid", names=[f"n/{name}"])
    with made(tmp_path / "logs", tmp_path / "store") as store:
        assert rows(store, "select state from mark_rows where holder is not null order by mark") == [(1,), (7,)]


def test_keys_with_slashes_have_names_of_their_own(tmp_path: Path) -> None:
    """A mark on one is on no other, and sets of them are not the same set."""
    cls = braid.table(type("T", (), {"__annotations__": {"x": str, "y": str}}), key=("x", "y"))
    keys = [("a/b", "c"), ("a", "b/c"), ("a\\", "b/c"), ("a\\/b", "c"), ("a", "b\\/c"), ("\udce9/", "")]
    with one(tmp_path / "logs") as job:
        for key in keys:
            job[0].declare(cls(*key))
        for at, key in enumerate(keys):
            job[0].mark(cls(*key), "exists", size=at)
            job[0].collect(f"set {at}", cls(*key))
        job[0].mark(cls, "invalid", names=["a\\/b/c"])
    with made(tmp_path / "logs", tmp_path / "store") as store:
        assert rows(store, "select size from mark_rows where holder is not null and state = 1 order by row") == [
            (at,) for at in range(len(keys))
        ]
        assert rows(store, "select row from mark_rows where state = 7") == rows(
            store, "select row from mark_rows where size = 0"
        )
        assert len({row["digest"] for row in store.sets()}) == len(keys)
        assert store.sets_with(cls("a", "b/c"))["labels"] == [["set 1"]]


def test_a_key_of_one_column_is_its_name(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        job[0].declare(File("a/b\\c"))
        job[0].mark(File("a/b\\c"), "exists")
        job[0].mark(File, "invalid", names=["a/b\\c"])
    with made(tmp_path / "logs", tmp_path / "store") as store:
        assert rows(store, "select state from mark_rows where holder is not null order by mark") == [(1,), (7,)]


#: Numbers that 32 bits do not hold exactly, and their names.
SINGLE = [
    (1 / 3, "0.33333334"),
    (0.1, "0.1"),
    (5, "5.0"),
    (97474819.0, "97474820.0"),
    (2744867.75, "2744867.8"),
    (1e-45, "1.4013e-45"),
    (3.4028235e38, "3.4028235e+38"),
    (1e16, "1e+16"),
    (math.inf, "inf"),
    (math.nan, "nan"),
]


def test_keys_of_32_bits_are_called_what_the_store_has(tmp_path: Path) -> None:
    """A program gives numbers of 64 bits: the instance has the name of the row."""
    cls = braid.table(type("T", (), {"__annotations__": {"x": Annotated[float, Type("float32")]}}), key="x")
    with one(tmp_path / "logs") as job:
        for value, name in SINGLE:
            job[0].declare(cls(value))
            job[0].mark(cls(value), "exists")
            job[0].mark(cls, "invalid", names=[name])
    with made(tmp_path / "logs", tmp_path / "store") as store:
        found = rows(store, "select row, state from mark_rows where holder is not null order by all")
        assert found == [(row, state) for row in range(len(SINGLE)) for state in (1, 7)]
