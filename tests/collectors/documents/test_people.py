"""Whose a Bluesky run is, from its start document: groups, proposal, owner, session, project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.collectors.documents.people import groups_of, owners_of
from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store, open_store


def record(logs: Path, *starts: dict[str, Any]) -> None:
    with braid.job("beamline", log_dir=logs) as run, DocumentCollector(run) as collect:
        for start in starts:
            collect("start", start)
            collect(
                "stop",
                {"uid": f"stop-{start['uid']}", "run_start": start["uid"], "time": 2.0, "exit_status": "success"},
            )


@pytest.mark.parametrize(
    ("start", "groups", "owners"),
    [
        ({}, [], []),
        ({"data_groups": ["b", "a", "b"], "data_session": "s"}, ["a", "b"], [("session", "s")]),
        ({"data_groups": [], "data_session": "pass-1"}, ["pass-1"], [("session", "pass-1")]),
        ({"proposal": {"proposal_id": 17, "title": "x"}}, ["17"], [("proposal", "17")]),
        ({"proposal": "p", "proposal_id": "p"}, ["p"], [("proposal", "p")]),
        ({"owner": " anna ", "project": "bones"}, [], [("user", "anna"), ("project", "bones")]),
        ({"data_groups": "one"}, ["one"], []),
        ({"data_groups": [None, 3, "", {"x": 1}, "x" * 999], "owner": ["anna"], "proposal": {}}, ["3"], []),
        ({"data_groups": {"a": 1}, "owner": None, "project": 2**70, "data_session": True}, [], []),
    ],
)
def test_what_a_start_document_says(start: dict[str, Any], groups: list[str], owners: list[tuple[str, str]]) -> None:
    """In the ways of several facilities; what is not understood is passed over."""
    assert (groups_of(start), owners_of(start)) == (groups, owners)


def test_it_is_found_by_its_group_and_kept_word_for_word(tmp_path: Path) -> None:
    starts: list[dict[str, Any]] = [
        {"uid": "a" * 8, "time": 1.0, "data_groups": ["proposal12345", "staff"], "owner": "anna"},
        {
            "uid": "b" * 8,
            "time": 1.0,
            "data_groups": ["proposal777"],
            "proposal": {"proposal_id": "777"},
            "owner": "anna",
        },
        {"uid": "c" * 8, "time": 1.0, "access": "proposal777", "data_groups": ["proposal777"]},
    ]
    record(tmp_path / "logs", *starts)
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        assert [row["name"] for row in store.find(tags={"access": "proposal12345"})] == ["a" * 8]
        assert sorted(row["name"] for row in store.find(tags={"access": "proposal777"})) == ["b" * 8, "c" * 8]
        for start in starts:
            assert store.documents(start["uid"]).start == start
        assert store.sql(
            "select kind, name, versions from records where kind in ('user', 'proposal') order by 1"
        ).to_pylist() == [
            {"kind": "proposal", "name": "777", "versions": 1},
            {"kind": "user", "name": "anna", "versions": 1},
        ]
        used = {node.name for node in store.impact("user:anna").nodes}
        assert used == {"anna", "scan:aaaaaaaa", "scan:bbbbbbbb"}


def test_it_decides_who_is_shown_the_job(tmp_path: Path) -> None:
    """Of a job with scans of two proposals, who is in both; equal names in several jobs are one version."""
    for number, groups in enumerate((["p1"], ["p2"], ["p1"])):
        record(tmp_path / "logs", {"uid": f"{number}" * 8, "time": 1.0, "data_groups": groups})
    record(
        tmp_path / "logs",
        {"uid": "3" * 8, "time": 1.0, "data_groups": ["p1"]},
        {"uid": "4" * 8, "time": 1.0, "data_groups": ["p2"]},
    )
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    given: list[tuple[Any, str]] = [("p1", "02"), ("p2", "1"), (["p1", "p2"], "01234")]
    for groups, shown in given:
        with open_store(tmp_path / "s.duckdb", groups=groups) as store:
            names = store.sql("select name from records where kind = 'scan' order by name")["name"]
            assert names == [each * 8 for each in shown]
            for each in "01234":
                assert (each in shown) == (len(store.sql("select 1 from tags where text = ?", [each * 8])) > 0)
