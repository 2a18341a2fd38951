"""Tests about versions: which there are, what they come to, and what newly fails."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.store.stated import Statement, TestChange, verdict
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import Job, made, one

STATES = ("passed", "failed", "invalid", "absent")
NEWLY = {
    ("passed", "failed"),
    ("absent", "failed"),
    ("invalid", "failed"),
    ("passed", "invalid"),
    ("absent", "invalid"),
}


@pytest.fixture
def store(tmp_path: Path) -> braid.Store:
    """Two versions of a model, each with tests of its own; the second is trained on the first."""
    with one(tmp_path / "logs") as job:
        run = job[0]
        scan = run.data("scan", digest="d:1")
        first = run.model("net", digest="m:1", derived_from=scan)
        second = run.model("net", digest="m:2", derived_from=[first, run.data("more", digest="d:2")])
        for name, before, now in (
            ("kept", True, True),
            ("broken", True, False),
            ("still broken", False, False),
            ("repaired", False, True),
            ("new", None, False),
            ("gone", True, None),
        ):
            for net, passed in ((first, before), (second, now)):
                if passed is not None:
                    run.statement(name, about=net, passed=passed, value=name.upper())
        run.statement("a claim", about=second, value=7)
        run.statement("of something else", about=scan, passed=False)
    return made(tmp_path / "logs", tmp_path / "prov.duckdb")


def test_all_tests_about_a_version(store: braid.Store) -> None:
    """Without claims and without tests about anything else; without a number the newest version."""
    with store:
        found = store.tests("model:net@2")
        assert [(each.name, each.passed) for each in found] == [
            ("broken", False),
            ("kept", True),
            ("new", False),
            ("repaired", True),
            ("still broken", False),
        ]
        one_ = found[0]
        assert (one_.ref, one_.about, one_.value) == ("statement:broken@2", "model:net@2", "BROKEN")
        assert (one_.valid, one_.cause, one_.rank) == (True, None, None)
        assert one_.run == store.sql("select run from runs")["run"][0]
        assert store.tests("model:net") == found
        assert len(store.tests("model:net", all_versions=True)) == 10
        assert store.tests("data:more") == []


def test_what_newly_fails(store: braid.Store) -> None:
    """What passed before and fails, or was not tested and fails."""
    with store:
        found = store.newly_failing("model:net@2", against="model:net@1")
        assert [(change.name, change.before, change.now) for change in found] == [
            ("broken", "passed", "failed"),
            ("new", "absent", "failed"),
        ]
        assert [each.ref for each in found[0].statements] == ["statement:broken@2"]
        every = {c.name: (c.before, c.now) for c in store.compare_tests("model:net@2", against="model:net@1")}
        assert every["gone"] == ("passed", "absent")
        assert every["repaired"] == ("failed", "passed")
        assert len(every) == 6


def test_a_statement_about_something_invalid_is_invalid(store: braid.Store) -> None:
    """What passed is not relied on any more; that is news only where the older version still holds."""
    with store:
        store.invalidate("data:more", cause="wrong gain")
        assert {(each.valid, each.cause) for each in store.tests("model:net@2")} == {(False, "wrong gain")}
        assert {each.valid for each in store.tests("model:net@1")} == {True}
        assert store.describe("statement:a claim")["valid"] is False
        found = {c.name: (c.before, c.now) for c in store.newly_failing("model:net@2", against="model:net@1")}
        assert found == {"broken": ("passed", "invalid"), "kept": ("passed", "invalid"), "new": ("absent", "invalid")}
        store.invalidate("data:scan", cause="beam off")
        found = {c.name: (c.before, c.now) for c in store.newly_failing("model:net@2", against="model:net@1")}
        assert found == {"new": ("absent", "invalid")}


def test_one_invalid_statement_is_left_out(tmp_path: Path) -> None:
    """Of two ranks' statements the one that holds decides; a test that is wrong itself is not relied on."""
    with Job(tmp_path / "logs", 2) as job:
        for rank, run in enumerate(job.runs):
            net = run.model("net", digest="m:1", derived_from=run.data("d", digest="d:1"))
            run.statement("rmse", about=net, passed=rank == 0, value=rank)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert [c.now for c in store.compare_tests("model:net", against="data:d")] == ["failed"]
        failed = next(each for each in store.tests("model:net") if not each.passed)
        assert failed.rank == 1
        store.invalidate(failed.ref, cause="rank 1 had a broken card")
        assert [c.now for c in store.compare_tests("model:net", against="data:d")] == ["passed"]


def test_a_later_run_stands_for_the_earlier_ones(tmp_path: Path) -> None:
    """Stated again about what the store has, by name and number or by id; both stay listed."""
    with one(tmp_path / "logs") as job:
        net = job[0].model("net", digest="m:1", derived_from=job[0].data("d", digest="d:1"))
        job[0].statement("rmse", about=net, passed=False)
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    with braid.open(tmp_path / "prov.duckdb") as store:
        uid = store.get("model:net").uid
    with one(tmp_path / "logs", "again") as job:
        job[0].statement("rmse", about=f"id:{uid}", passed=True)
        job[0].statement("speed", about="model:net@1", passed=True)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert [(each.name, each.passed) for each in store.tests("net")] == [
            ("rmse", False),
            ("rmse", True),
            ("speed", True),
        ]
        assert {c.name: c.now for c in store.compare_tests("net", against="net")} == {
            "rmse": "passed",
            "speed": "passed",
        }


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("now", STATES)
def test_newly_failing_by_its_definition(before: str, now: str) -> None:
    assert TestChange("t", before, now, []).newly_failing == ((before, now) in NEWLY)


def test_verdicts() -> None:
    def stated(passed: bool, valid: bool) -> Statement:
        missing: Any = None
        return Statement("t", "r", "a", passed, None, valid, None, None, None, missing)

    good, bad, void = stated(True, True), stated(False, True), stated(True, False)
    assert [verdict(each) for each in ([], [void], [good], [good, bad], [good, void], [bad, void])] == [
        "absent",
        "invalid",
        "passed",
        "failed",
        "passed",
        "failed",
    ]


@pytest.fixture
def tested_twice(tmp_path: Path) -> braid.Store:
    """One version that a second run, with a snapshot of its own, tested again; a third statement takes one back."""
    with one(tmp_path / "logs") as job:
        scan = job[0].data("scan", digest="d:1")
        net = job[0].model("net", digest="m:1", derived_from=scan)
        job[0].statement("rmse", about=net, passed=True, value=1)
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    with one(tmp_path / "logs", "again") as job:
        job[0].statement("rmse", about="model:net@1", passed=False, value=2)
        job[0].statement("speed", about="model:net@1", passed=True)
        job[0].model("net", digest="m:2", derived_from="model:net@1")
    store = made(tmp_path / "logs", tmp_path / "prov.duckdb")
    store.invalidate("data:scan", cause="beam off")
    store.retract("statement:speed", "model:net@1", cause="of another model")
    return store


def _said(found: Iterable[Statement]) -> list[tuple[str, bool, Any, bool]]:
    return [(each.name, each.passed, each.value, each.valid) for each in found]


def test_what_a_snapshot_knew_of_tests(tested_twice: braid.Store) -> None:
    """Neither the later tests, nor what was said later against what they are about, nor a later version."""
    first, second = ("rmse", True, 1), ("rmse", False, 2)
    with tested_twice as store:
        assert store.snapshot == 4
        assert _said(store.tests("net@1")) == [(*first, False), (*second, False)]
        assert _said(store.tests("net@1", at=3)) == [(*first, False), (*second, False), ("speed", True, None, False)]
        assert _said(store.tests("net@1", at=2)) == [(*first, True), (*second, True), ("speed", True, None, True)]
        assert _said(store.tests("net", at=1)) == [(*first, True)]
        assert store.tests("net") == store.tests("net", at=2) == []
        assert len(store.tests("net", at=2, all_versions=True)) == 3
        assert [c.now for c in store.compare_tests("net@1", against="scan", at=1)] == ["passed"]
        assert [c.name for c in store.newly_failing("net@1", against="scan", at=2)] == ["rmse"]
        assert store.newly_failing("net@1", against="scan", at=1) == []
        with pytest.raises(InvalidInputError, match="there is no snapshot 9"):
            store.tests("net", at=9)


def test_what_had_been_tested_by_a_time(tested_twice: braid.Store) -> None:
    """Whichever snapshot brought it; with both, what a snapshot knew of that time."""
    with tested_twice as store:
        times = store.sql("select epoch_ns(time) as t from versions where kind = 'statement' order by time")["t"]
        (beam,) = store.sql("select epoch_ns(time) as t from invalidations")["t"]
        assert _said(store.tests("net", as_of=times[0])) == [("rmse", True, 1, True)]
        assert _said(store.tests("net", as_of=times[1])) == [("rmse", True, 1, True), ("rmse", False, 2, True)]
        assert _said(store.tests("net", as_of=times[1], at=1)) == [("rmse", True, 1, True)]
        assert [valid for *_, valid in _said(store.tests("net@1", as_of=beam))] == [False] * 3
        (scan,) = store.sql("select epoch_ns(time) as t from versions where name = 'scan'")["t"]
        with pytest.raises(NotFoundError, match="net was not there"):
            store.tests("net", as_of=scan)


def test_a_snapshot_is_asked_as_its_own_file_is(tested_twice: braid.Store, tmp_path: Path) -> None:
    """What the newest file says of snapshot 3 is what the file of that snapshot says."""
    alone = tmp_path / "alone.duckdb"
    with tested_twice as store:
        alone.write_bytes((store.path.parent / f"{store.path.name}.d" / "3.duckdb").read_bytes())
        with braid.open(alone) as then:
            assert then.tests("net", all_versions=True) == store.tests("net", all_versions=True, at=3) != []
