"""Declared tables in a store: every row is checked on every path, and none is dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.run.tables import DeclaredTable, declared_table
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.payloads import TableParent
from tests.faults.stores import check_rebuilt
from tests.jobs import Job, count, deliver, made, one, rows

TAGS = "none of the quarks' tags"


@braid.table(key=("ensemble", "number"), checks={TAGS: "tag in ('l', 's')"})
class Configuration:
    ensemble: str
    number: int
    tag: str = "l"
    nt: int = 64


@braid.table(
    key=("configuration", "t"), unique=["name"], checks=["0 <= t < configuration.nt", "configuration.tag == tag"]
)
class Source:
    configuration: Configuration
    t: int
    name: str
    tag: str = "l"


@pytest.fixture(autouse=True)
def relaxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what violates a check be recorded without an exception."""
    monkeypatch.setenv("BRAID_STRICT", "0")


def quarantined(store: Store) -> set[tuple[object, ...]]:
    return {tuple(row) for row in rows(store, "select stream, rank, row, rule from quarantined")}


def bulk(numbers: range, t: object, tag: object = "l", mark: str = "n") -> dict[str, object]:
    names = [f"{mark}{number}-{t if isinstance(t, int) else at}" for at, number in enumerate(numbers)]
    about = {"configuration__ensemble": "a", "configuration__number": np.arange(numbers.start, numbers.stop)}
    return about | {"t": t, "name": names, "tag": tag}


def test_every_path_is_checked(tmp_path: Path) -> None:
    """A wrong tag, an origin outside the lattice, a mixed ensemble: each with its rank and row, single and in bulk."""
    with Job(tmp_path / "logs", 2) as job:
        a = Configuration("a", 0)
        job[0].declare(Configuration("a", 99, "x"))
        job[0].declare(Source(a, 64, "outside"))
        job[0].declare(Source(a, 63, "inside"))
        job[0].declare(Source(a, 1, "mixed", "s"))
        job[1].declare(Configuration, {"ensemble": "a", "number": np.arange(10), "tag": ["l"] * 9 + ["q"]})
        job[1].declare(Source, bulk(range(8), np.array([0, 0, 0, 0, 0, 0, -1, 64]), ["l"] * 4 + ["s"] * 4))
    outside, mixed = "0 <= t < configuration.nt does not hold", "configuration.tag == tag does not hold"
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert quarantined(store) == {
            *{("Configuration", 0, 0, TAGS), ("Configuration", 1, 9, TAGS)},
            *{("Source", 0, 0, outside), ("Source", 0, 2, mixed)},
            *{("Source", 1, 6, outside), ("Source", 1, 7, outside)},
            *{("Source", 1, row, mixed) for row in range(4, 8)},
        }
        told = rows(store, "select message from problems where code = 'quarantine' and message like '%row 9%'")
        assert told == [(f"row 9 of table Configuration (rank 1) is quarantined: {TAGS}",)]
        assert len(store.table("Source")) == 11, "nothing is dropped"
        assert store.table(Source).count() == 5


def test_equal_rows_are_one_and_others_conflict(tmp_path: Path) -> None:
    """A tree that eight ranks declare is one tree; the second row of a key, or of a unique name, is quarantined."""
    with Job(tmp_path / "logs", 8) as job:
        for run in job.runs:
            for number in range(3):
                run.declare(Source(Configuration("a", number), 0, f"s{number}"))
        job[5].declare(Configuration("a", 1, nt=32))
        job[6].declare(Source(Configuration("a", 2), 1, "s0"))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert [each.number for each in store.table(Configuration)] == [0, 1, 2]
        assert [each.name for each in store.table(Source)] == ["s0", "s1", "s2"]
        assert quarantined(store) == {
            ("Configuration", 5, 3, "ensemble, number: another row has the same"),
            ("Source", 6, 3, "name: another row has the same"),
        }
        assert rows(store, "select count(*) from quarantine_rows where repeats") == [(2 * 7 * 3,)]
        assert rows(store, "select count(*) from row_edges") == [(3,)], "an edge for each row that counts"


def test_what_violates_a_check_holds_no_key(tmp_path: Path) -> None:
    """A row that was wrong may be recorded again, right."""
    with one(tmp_path / "logs") as job:
        job[0].declare(Source(Configuration("a", 0), 99, "s"))
        job[0].declare(Source(Configuration("a", 0), 9, "s"))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert [each.t for each in store.table(Source)] == [9]


@pytest.mark.slow
def test_logs_that_come_one_after_another(tmp_path: Path) -> None:
    """A later row is checked against those that are there, and one whose parent comes later when that one comes."""
    store = tmp_path / "prov.duckdb"
    with Job(tmp_path / "logs", 3) as job:
        job[0].declare(Source, bulk(range(4), np.array([0, 1, 99, 3])))
        job[1].declare(Configuration, {"ensemble": "a", "number": np.arange(4)})
        job[2].declare(Source, bulk(range(4), np.array([0, 1, 98, 4]), mark="m"))
        job[2].declare(Configuration, {"ensemble": "a", "number": np.arange(2, 6), "nt": [64, 64, 32, 64]})
    seen = []
    for rank in (0, 1, 2):
        deliver(job.folder(rank), tmp_path / "there")
        with made(tmp_path / "there", store) as opened:
            seen.append((opened.table(Source).count(), len(quarantined(opened)), len(rows(opened, "from row_edges"))))
    # Before its configuration is there, nothing is known of the origin outside.
    assert seen == [(4, 0, 0), (3, 1, 3), (4, 4, 4)]
    with Store(store) as opened:
        assert opened.table(Source, at=1).count() == 4
        assert opened.table(Source, at=2).count() == 3
    check_rebuilt(store, tmp_path / "again.duckdb")


def test_code_that_changes_keeps_what_was(tmp_path: Path) -> None:
    """A column that is added or removed is told, each row is judged by its own declaration, and nothing is lost."""
    with one(tmp_path / "logs") as job:
        job[0].declare(Configuration, {"ensemble": "a", "number": np.arange(3), "nt": np.arange(3)})

    @braid.table(name="Configuration", key=("ensemble", "number"), checks=["flavours > 0"])
    class Later:
        ensemble: str
        number: int
        tag: str = "any"
        flavours: int = 3

    with one(tmp_path / "logs") as job:
        job[0].declare(Later, {"ensemble": "b", "number": np.arange(3), "flavours": [2, 3, 0]})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert quarantined(store) == {("Configuration", None, 2, "flavours > 0 does not hold")}
        changes = store.table(Later).changes
        assert (changes.added, changes.removed) == ((), ("nt",))
        assert store.table(Later).rows()["flavours"] == [None, None, None, 2, 3]
        assert store.table("Configuration")["nt"].count(None) == 3
        assert store.table(Later, at=1).count() == 5


def test_a_key_of_another_type_is_no_parent(tmp_path: Path) -> None:
    """What rows belong to may be declared with other types by later code: nothing is compared, and all is kept."""
    with one(tmp_path / "logs") as job:
        job[0].declare(Source(Configuration("a", 0), 1, "s"))

    @braid.table(name="Configuration", key=("ensemble", "number"))
    class Later:
        ensemble: str
        number: str

    with one(tmp_path / "logs") as job:
        job[0].declare(Later("a", "not a number"))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert (len(store.table("Source")), len(store.table("Configuration"))) == (1, 2)
        assert store.table(Later).count() == 2
        # Which log is taken first, and so which column has the plain name, depends on their ids.
        rows = store.table("Configuration")
        said = {value for name in ("number", "number__2") for value in rows[name] if value is not None}
        assert said == {0, "not a number"}


@braid.table(key=("number", "ensemble", "number"))
class Turned:
    ensemble: str
    number: int
    nt: int = 64


@braid.table(key="t", checks=["t < turned.nt"])
class Below:
    turned: Turned
    t: int


@pytest.mark.parametrize("as_before", [False, True])
def test_a_key_that_is_named_in_any_order_and_twice(
    tmp_path: Path, as_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What rows belong to is found by all of its key, whichever of its fields is named first, and however often."""
    if as_before:
        keys = ["number", "ensemble", "number"]
        parent = TableParent("turned", "Turned", ["turned__ensemble", "turned__number"], keys)
        monkeypatch.setattr(declared_table(Below).schema, "parents", [parent])
    with one(tmp_path / "logs") as job:
        job[0].declare(Below(Turned("a", 1, 64), 3))
        job[0].declare(Below(Turned("b", 1, 64), 65))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert quarantined(store) == {("Below", None, 1, "t < turned.nt does not hold")}
        assert count(store, "row_edge_rows") == 1
        assert store.table(Below).filter(turned__nt=64).count() == 1


def test_a_stream_of_a_table_s_name_is_not_judged_as_the_table(tmp_path: Path) -> None:
    """Whoever has it declares nothing of its rows; in one run there is no such stream, whose rows would be mixed up."""
    with one(tmp_path / "logs") as job:
        plain = job[0].stream("Turned", {"a": "float64"})
        plain.append(1.0)
        plain.append(2.0)
    with one(tmp_path / "logs") as job:
        job[0].declare(Turned("a", 1, 64))
        assert job[0].stream("Turned", {"a": "float64"}).append(3.0).count == 0
        assert (
            job[0].stream("Turned", {"ensemble": "text", "number": "int64", "nt": "int64"}).append("b", 2, 64).count
            == 1
        )
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert (count(store, "stream.Turned"), quarantined(store)) == (4, set())


def test_a_declaration_of_columns_that_are_not_there_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that this package did not write may name any."""
    schema = declared_table(Below).schema
    for name, value in {
        "key": ["nowhere"],
        "needed": ["nowhere"],
        "file": "nowhere",
        "parents": [TableParent("turned", "Turned", ["nowhere"], ["number"])],
    }.items():
        monkeypatch.setattr(schema, name, value)
    with one(tmp_path / "logs") as job:
        job[0].declare(Below(Turned("a", 1, 64), 3))
        job[0].mark(Below, "exists", names=["x"])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert (count(store, "stream.Below"), quarantined(store)) == (1, set())


def test_a_check_that_cannot_be_understood_stops_nothing(tmp_path: Path) -> None:
    """A log that this package did not write may say anything; its rows are merged, and that is told."""
    with one(tmp_path / "logs") as job:
        stream = job[0]._table_stream(_strange())
        stream.append(1)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        (told,) = rows(store, "select message from problems where code = 'quarantine'")
        assert "a check of table Strange cannot be made" in told[0]
        assert len(store.table("Strange")) == 1


def _strange() -> DeclaredTable:
    declared = declared_table(braid.table(type("Strange", (), {"__annotations__": {"x": int}})))
    declared.schema.checks.append(("drop table versions", "(select 1)"))
    return declared


def test_nothing_new_is_no_snapshot(tmp_path: Path) -> None:
    """The same logs again change nothing."""
    with one(tmp_path / "logs") as job:
        job[0].declare(Configuration("a", 0))
    store = tmp_path / "prov.duckdb"
    assert compact(tmp_path / "logs", store).new
    assert not compact(tmp_path / "logs", store).new
