"""What executions return and are given is merged, whatever it is; a log that cannot be merged is lost."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.tasks import _plain
from tests.tasks.functions import RAN, anything, spectrum


class World:
    """A store, and runs whose logs it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.runs = folder, folder / "prov.duckdb", 0

    def run(self, call: Any) -> list[Any]:
        RAN.clear()
        self.runs += 1
        with braid.job("job", log_dir=self.folder / f"logs-{self.runs}", store=self.path):
            call()
        return RAN[:]

    def merge(self) -> None:
        braid.compact(self.folder / f"logs-{self.runs}", self.path)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with braid.open(self.path) as store:
            return [tuple(row.values()) for row in store.sql(query).to_pylist()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_integer_of_more_digits_than_are_read_here(world: World) -> None:
    """The limit is the program's to raise; what it returned is made again where this one cannot read it."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        world.run(lambda: anything(10**5000))
    finally:
        sys.set_int_max_str_digits(before)
    world.merge()
    assert world.sql("select length(parameter_value) from parameters where parameter_name = 'x'") == [(5001,)]
    (digits,) = world.sql("select plain from task_ends")[0]
    assert digits.strip('"') == "1" + "0" * 5000


def test_an_array_of_a_package_that_is_not_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ml_dtypes")
    import ml_dtypes

    value = np.zeros(2, ml_dtypes.bfloat16)
    world.run(lambda: anything(value))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    world.merge()
    assert world.sql("select plain from task_ends") == [('"array of bfloat16, shape [2]"',)]
    assert len(world.run(lambda: anything(value))) == 1


@pytest.mark.parametrize("name", ['a"b', "a\\", 'a\\"b', "*", "$", "a/b", "a~b", "a~1b", "a'b", "ä", " ", "a.b"])
def test_a_column_of_results_of_any_name(world: World, name: str) -> None:
    task = anything.with_options(table="t", columns={name: int})
    world.run(lambda: task({name: 3, "b": 4}))
    world.merge()
    quoted = name.replace('"', '""')
    assert world.sql(f'select "{quoted}" from result.t') == [(3,)]


@pytest.mark.parametrize("name", ["", 5, "\ud800", "a\0b"])
def test_what_no_table_can_be_called_is_refused(name: Any) -> None:
    with pytest.raises(braid.InvalidInputError, match="name of a table of results"):
        anything.with_options(table=name, columns={"x": int})


def test_a_table_without_a_name_ends_no_merge(world: World) -> None:
    """Earlier writers let it be."""
    task = anything.with_options(table="t", columns={"x": int})
    object.__setattr__(task.options, "table", "")
    world.run(lambda: task({"x": 3}))
    world.merge()
    assert world.sql("select plain from task_ends") == [('{"x": 3}',)]


def test_a_column_of_a_type_that_is_not_known_ends_no_merge(world: World) -> None:
    task = anything.with_options(table="t", columns={"x": int})
    task.options.columns.extend([("y", "decimal"), ("", "int64")])
    world.run(lambda: task({"x": 3}))
    world.merge()
    assert world.sql("select x from result.t") == [(3,)]


def test_a_file_whose_name_is_no_text(world: World, tmp_path: Path) -> None:
    """It is a parameter as any other, and its call is done once."""
    path = tmp_path / os.fsdecode(b"f\xff.txt")
    path.write_text("abc")
    assert len(world.run(lambda: spectrum(path))) == 1
    world.merge()
    assert world.run(lambda: spectrum(path)) == []


@pytest.mark.parametrize("value", [[], ["dict"], ["named", 5], ["array", 1, 2, b""], ["int", None], {"a": 1}])
def test_forms_that_nobody_made_end_no_merge(value: Any) -> None:
    assert _plain(msgspec.msgpack.encode(value)) is not None


def test_a_value_that_is_not_messagepack_is_none() -> None:
    assert _plain(b"\xc1") is None
