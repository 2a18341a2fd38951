"""Tests about versions: which there are, what they come to, and what newly fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.store.stated import Statement, TestChange, verdict
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
