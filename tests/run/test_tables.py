"""Declared tables on a rank: what a class says, and what becomes of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.run.null import NullRun
from braid_hpc.run.tables import Type, Unit, declared_table
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, made, one, rows


@braid.table(key=("name", "number"), unique=["path"], checks={"counted from 0": "number >= 0"}, file="path")
class Configuration:
    name: str
    number: int
    path: str | None = None
    spacing: Annotated[float, Unit("fm")] = 0.12
    nt: Annotated[int | None, Type("int16")] = None
    made: datetime | None = None


@braid.table
@dataclass(frozen=True)
class Source:
    configuration: Configuration
    t: int


def test_a_class_says_its_columns() -> None:
    """Types, units, what is needed, and the key of what a row belongs to."""
    declared = declared_table(Configuration)
    assert [(each.name, each.kind, each.unit, each.needed) for each in declared.columns] == [
        ("name", "text", None, True),
        ("number", "int64", None, True),
        ("path", "text", None, False),
        ("spacing", "float64", "fm", True),
        ("nt", "int16", None, False),
        ("made", "timestamp", None, False),
    ]
    source = declared_table(Source)
    assert [each.name for each in source.columns] == ["configuration__name", "configuration__number", "t"]
    assert source.schema.key == ["configuration__name", "configuration__number", "t"]
    assert source.values(Source(Configuration("a", 3), 7)) == ["a", 3, 7]


def test_what_cannot_be_a_table_is_refused() -> None:
    """When the class is declared, in one sentence that names it."""
    for about, message in (
        ({"key": "other"}, "the key of Bad names 'other', and it has x"),
        ({"unique": ["y"]}, "unique= of Bad names 'y'"),
        ({"file": "y"}, "file= of Bad names 'y'"),
        ({"checks": ["y > 1"]}, "there is no column 'y'"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            braid.table(**about)(type("Bad", (), {"__annotations__": {"x": int}}))
    for kind in (list, "list[int]", int | str, object):
        with pytest.raises(InvalidInputError, match="field 'x' of Bad is of type"):
            braid.table(type("Bad", (), {"__annotations__": {"x": kind}}))
    with pytest.raises(InvalidInputError, match="frozen=True"):
        braid.table(dataclass(type("Bad", (), {"__annotations__": {"x": int}})))
    with pytest.raises(InvalidInputError, match=r"put @braid\.table above"):
        declared_table(Path)


def test_instances_and_columns_are_the_same_rows(tmp_path: Path) -> None:
    """What is left out has its default, one value stands for all rows, and what rows belong to is declared once."""
    with one(tmp_path / "logs") as job:
        moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
        first = Configuration("a", 0, "a/0", nt=48, made=moment)
        for t in range(3):
            assert job[0].declare(Source(first, t)).count == 1
        bulk = job[0].declare(Configuration, {"name": "a", "number": np.arange(1, 5), "path": list("wxyz"), "nt": 3})
        assert (bulk.stream, bulk.first, bulk.count) == ("Configuration", 1, 4)
        more = job[0].declare(Configuration, {"name": ["b", "b"], "number": [1, 2], "path": ["b/1", None]})
        assert (more.first, more.count) == (5, 2)
        assert job[0].declare(Source, {"configuration": first, "t": np.arange(3, 6)}).count == 3
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = list(store.table(Configuration))
        assert found[0] == first
        assert found[1] == Configuration("a", 1, "w", nt=3)
        assert found[5:] == [Configuration("b", 1, "b/1"), Configuration("b", 2, None)]
        assert list(store.table(Source)) == [Source(first, t) for t in range(6)]


def test_what_does_not_fit_is_refused_and_nothing_else(tmp_path: Path) -> None:
    """A recording call raises nothing: it is kept as a rejected event, and returns no rows."""
    bad = (
        {"number": [1]},
        {"name": "a", "number": [1], "other": 2},
        {"name": ["a", "b"], "number": [1]},
        {"name": "a", "number": ["x"]},
        {"name": 3, "number": [1]},
        [1, 2],
    )
    with one(tmp_path / "logs") as job, pytest.MonkeyPatch.context() as patch:
        for given in bad:
            with pytest.raises(InvalidInputError):
                job[0].declare(Configuration, given)
        patch.setenv("BRAID_STRICT", "0")
        for given in bad:
            assert job[0].declare(Configuration, given).count == 0
        assert job[0].declare(3).count == job[0].declare(Source("not one", 1)).count == 0  # type: ignore[arg-type]
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert rows(store, "select count(*) from problems where code = 'rejected'") == [(len(bad) + 2,)]
    assert NullRun().declare(Configuration, {}).count == job[0].declare(Configuration("a", 1)).count == 0


def test_a_violation_is_recorded_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Python evaluates the check of an instance at once, and the row is there all the same."""
    with one(tmp_path / "logs") as job, pytest.MonkeyPatch.context() as patch:
        with pytest.raises(InvalidInputError, match="counted from 0"):
            job[0].declare(Configuration("a", -1))
        patch.setenv("BRAID_STRICT", "0")
        assert job[0].declare(Configuration("a", -2)).count == 1
    assert "counted from 0" in capfd.readouterr().err
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert store.table("Configuration")["number"] == [-1, -2]
        assert store.table(Configuration).count() == 0


def test_two_tables_of_a_name_are_told_apart(tmp_path: Path) -> None:
    """Rows are known by table, writer and number, so a writer has one table of a name."""
    other = braid.table(name="Source")(type("Other", (), {"__annotations__": {"x": int}}))
    with Job(tmp_path / "logs", 1) as job:
        job[0].declare(Source(Configuration("a", 1), 1))
        with pytest.raises(InvalidInputError, match="Source is declared otherwise in this run"):
            job[0].declare(other, {"x": [1]})
