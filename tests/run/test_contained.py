"""Records and arrays are found within arguments and results, whatever these are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.run.contained import MOST, results_of, used_by
from braid_hpc.run.handles import RECORDS, Record
from tests.jobs import edges_of, made


@dataclass
class Masked:
    frames: Any
    mask: Any = None


@dataclass(frozen=True, slots=True)
class Slotted:
    value: Any


class Pair(NamedTuple):
    one: Any
    two: Any


ONE, TWO = (Record(bytes(16), number, "data", str(number)) for number in (1, 2))


@pytest.mark.parametrize(
    "value",
    [
        [ONE, 1, TWO],
        (ONE, [TWO]),
        {"a": ONE, "b": {"c": [TWO, None]}},
        {7: ONE, (1, 2): TWO},
        Masked(ONE, {"x": TWO}),
        Slotted([ONE, TWO, ONE]),
        Pair(ONE, Masked(TWO)),
        [{"deep": [ONE, TWO]}],
    ],
)
def test_records_are_found_within(value: Any) -> None:
    """Each once, in order."""
    assert used_by([3, value, "x"]) == [ONE, TWO]


def test_sets_are_looked_into() -> None:
    assert set(used_by([{ONE, TWO}])) == set(used_by([frozenset([ONE, TWO])])) == {ONE, TWO}


def test_objects_that_stand_for_a_record_are_found_within() -> None:
    array, whole = np.zeros(3), Masked(None)
    RECORDS.remember(array, ONE)
    RECORDS.remember(whole, TWO)
    assert used_by([{"x": [array]}, [whole]]) == [ONE, TWO]


def test_what_is_large_or_deep_is_not_looked_into() -> None:
    """A call costs what it costs, whatever its arguments weigh."""
    assert used_by([[ONE] * MOST]) == [ONE]
    assert used_by([[ONE] * (MOST + 1), dict.fromkeys(range(MOST + 1), TWO)]) == []
    assert used_by([[[[ONE]]]]) == [ONE]
    assert used_by([[[[[ONE]]]]]) == []
    endless: list[Any] = []
    endless.append(endless)
    assert used_by([endless]) == []


@pytest.mark.parametrize(
    ("result", "suffixes"),
    [
        (None, []),
        (3.5, []),
        ("x", []),
        (np.zeros(1), [""]),
        ((np.zeros(1), 2, np.zeros(1)), ["[0]", "[2]"]),
        ({"mask": np.zeros(1), "n": 3}, ["[mask]"]),
        ([{"a": np.zeros(1)}], ["[0][a]"]),
        (Masked(np.zeros(1), "none"), ["", ".frames"]),
    ],
)
def test_parts_of_a_result_have_names(result: Any, suffixes: list[str]) -> None:
    assert [suffix for suffix, _ in results_of(result)] == suffixes


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    with braid.job("contained", log_dir=tmp_path / "logs"):
        yield tmp_path / "logs"


def test_functions_that_pass_dicts_and_dataclasses_are_connected(logs: Path, tmp_path: Path) -> None:
    """What one returns within a dict and the other takes within a dataclass leads from one to the other."""

    @braid.activity("read")
    def read() -> dict[str, Any]:
        return {"frames": np.ones(3), "count": 3}

    @braid.activity("mask")
    def mask(given: Masked) -> list[Any]:
        return [given.frames > 0]

    mask(Masked(read()["frames"]))
    with made(logs, tmp_path / "prov.duckdb") as opened:
        assert ("activity:mask@1", "data:read.result[frames]@1") in edges_of(opened, "used")
        generated = edges_of(opened, "wasGeneratedBy")
        assert generated == {
            ("data:read.result[frames]@1", "activity:read@1"),
            ("data:mask.result[0]@1", "activity:mask@1"),
        }
