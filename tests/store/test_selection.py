"""Rows of declared tables as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest

import braid_hpc as braid
from braid_hpc.run.tables import Unit
from braid_hpc.store.declared import stored_table
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.sql import quoted
from tests.jobs import made, one


@braid.table(key="name")
class Ensemble:
    name: str
    spacing: Annotated[float, Unit("fm")]


@braid.table(key=("ensemble", "configuration"))
class File:
    ensemble: Ensemble
    configuration: int
    path: str
    made: datetime | None = None


DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
ENSEMBLES = [Ensemble("fine", 0.06), Ensemble("coarse", 0.15)]
FILES = [
    File(ensemble, number, f"{ensemble.name}/{number}.h5", DAYS[number] if number < 3 else None)
    for ensemble in ENSEMBLES
    for number in range(5)
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("selection")
    with one(folder / "logs") as job:
        for each in FILES:
            job[0].declare(each)
    with made(folder / "logs", folder / "prov.duckdb") as found:
        yield found


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({}, lambda file: True),
        ({"configuration": 3}, lambda file: file.configuration == 3),
        ({"configuration__gt": 1, "configuration__lte": 3}, lambda file: 1 < file.configuration <= 3),
        ({"configuration__ne": 1}, lambda file: file.configuration != 1),
        ({"configuration__in": [0, 4]}, lambda file: file.configuration in (0, 4)),
        ({"path__startswith": "fine", "path__endswith": "2.h5"}, lambda file: file.path == "fine/2.h5"),
        ({"path__contains": "oar"}, lambda file: file.ensemble.name == "coarse"),
        ({"made__isnull": True}, lambda file: file.made is None),
        ({"made": DAYS[1]}, lambda file: file.made == DAYS[1]),
        ({"made__gte": DAYS[1]}, lambda file: file.made is not None and file.made >= DAYS[1]),
        ({"made__in": DAYS[:2]}, lambda file: file.made in DAYS[:2]),
        ({"ensemble__name": "fine"}, lambda file: file.ensemble.name == "fine"),
        ({"ensemble__spacing__lt": 0.1}, lambda file: file.ensemble.spacing < 0.1),
        ({"path": "'; drop table versions; --"}, lambda file: False),
    ],
)
def test_a_filter_keeps_what_python_keeps(store: Store, asked: dict[str, Any], kept: Any) -> None:
    """Equal, compared, in a list, of texts, of times, of what a row belongs to."""
    found = store.table(File).filter(**asked)
    assert list(found) == [file for file in FILES if kept(file)]
    assert found.count() == len(list(found)) == len(found.to_pylist()) == found.to_arrow().num_rows


def test_filters_add_up(store: Store) -> None:
    """Each one leaves fewer rows, and the one it was made from is as it was."""
    fine = store.table(File).filter(ensemble__name="fine")
    assert (fine.filter(configuration__gt=2).count(), fine.count()) == (2, 5)


def test_a_summary_counts_groups(store: Store) -> None:
    """By columns, also of what rows belong to, with aggregates beside the count."""
    found = store.table(File).filter(configuration__gt=0).summary("ensemble__spacing", top="max(configuration)")
    assert found.to_pylist() == [
        {"ensemble__spacing": 0.06, "count": 4, "top": 4},
        {"ensemble__spacing": 0.15, "count": 4, "top": 4},
    ]
    assert store.table(File).summary(fine="avg(ensemble__spacing)")["count"] == [10]
    for wrong in ("max(nothing)", "drop(path)", "max", "max(path) from versions; --("):
        with pytest.raises(InvalidInputError):
            store.table(File).summary(wrong=wrong)


def test_one_instance_is_found_or_not(store: Store) -> None:
    """With what it belongs to; none and several are told apart."""
    assert store.table(File).get(ensemble__name="fine", configuration=1) == FILES[1]
    with pytest.raises(NotFoundError, match="no row of File has configuration=9"):
        store.table(File).get(configuration=9)
    with pytest.raises(ConflictError, match="2 rows of File have configuration=1"):
        store.table(File).get(configuration=1)


def test_units_and_frames(store: Store) -> None:
    """The unit stands in the column's metadata, and pandas gets the same rows."""
    table = store.table(Ensemble)
    assert table.to_arrow().schema.field("spacing").metadata == {b"unit": b"fm"}
    assert table.units == {"spacing": "fm"}
    assert table.to_pandas()["name"].tolist() == ["fine", "coarse"]


def test_all_tables_are_found_by_two_statements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, each with its own columns; one without rows too, and one beside streams of no table."""

    @braid.table(key="x")
    class Empty:
        x: int

    with one(tmp_path / "logs") as job:
        for each in FILES:
            job[0].declare(each)
        job[0].declare(Empty, {"x": []})
        job[0].stream("readings", {"x": "float64"}).append(x=1.0)
    statements: list[str] = []
    ask = Store._asked

    def counted(store: Store, query: str, parameters: Any = None) -> Any:
        statements.append(query)
        return ask(store, query, parameters)

    monkeypatch.setattr(Store, "_asked", counted)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = {name: stored_table(store, name) for name in ("Ensemble", "File", "Empty")}
        assert len(statements) == 2
        for name in ("Ensemble", "File"):
            described = store.sql(f"describe stream.{quoted(name)}")
            assert found[name].columns == dict(zip(described["column_name"], described["column_type"], strict=True))
        assert (found["Ensemble"].units, found["File"].units) == ({"spacing": "fm"}, {})
        assert [found[name].schema.key for name in ("Ensemble", "Empty")] == [["name"], ["x"]]
        assert store.sql(f"from {found['Empty'].place}").to_pylist() == []
        with pytest.raises(NotFoundError, match=r"there are: Empty, Ensemble, File$"):
            stored_table(store, "readings")


def test_what_is_not_there_is_said(store: Store) -> None:
    """A table, a column, a comparison, a value of another type."""

    @braid.table
    class Nowhere:
        x: int

    with pytest.raises(
        NotFoundError, match=r"no table 'Nowhere' was declared in prov\.duckdb; there are: Ensemble, File"
    ):
        store.table(Nowhere)
    for name in ("nothing", "path__near", "ensemble__nothing", "_writer"):
        with pytest.raises(InvalidInputError, match="table File has no column"):
            store.table(File).filter(**{name: 1})
    with pytest.raises(InvalidInputError):
        store.table(File).filter(configuration="x").count()
    with pytest.raises(InvalidInputError, match=r"put @braid\.table above the class"):
        store.table(int)
