"""Actions that a rank attaches: kept with the record, refused as other input is, run by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.run.null import NullRun
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, made, one


def test_equal_actions_of_all_ranks_are_one(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 3) as job:
        for run in job.runs:
            run.model("net", digest="n:1", on_invalid=["touch", "{name}"])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert [(row["name"], row["command"]) for row in store.sql("from actions")] == [("net", ["touch", "{name}"])]


def test_every_way_of_declaring_takes_them(tmp_path: Path) -> None:
    """Also by reference, and by a handle that another rank made."""
    with Job(tmp_path / "logs", 2) as job:
        run, other = job.runs
        run.fact("config", 3, on_invalid="m:fact")
        run.array("image", bytearray(b"1"), on_invalid="m:array")
        with run.activity("reduce") as activity:
            activity.data("peaks", on_invalid=["a"])
            activity.array("sums", bytearray(b"2"), on_invalid=["b"])
        run.on_invalid("data:peaks", ["c"])
        other.on_invalid(run.data("later"), run.action({"command": ["d"], "name": "of another"}))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = {(row["name"], row["entry"] or row["command"][0]) for row in store.sql("from actions")}
        assert found == {
            ("config", "m:fact"),
            ("image", "m:array"),
            ("peaks", "a"),
            ("sums", "b"),
            ("peaks", "c"),
            ("later", "d"),
        }
        assert store.sql("from problems").to_pylist() == []


def test_what_is_no_action_is_kept_as_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is declared all the same."""
    monkeypatch.delenv("BRAID_STRICT")
    with one(tmp_path / "logs") as job:
        assert job[0].data("scan", on_invalid=["echo", "{nmae}"])
        job[0].on_invalid("data:scan", "rm -rf /")
        assert not job[0].action([])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert store.sql("from problems")["message"][0].startswith("on_invalid of data:scan: {nmae} in")
        assert len(store.sql("from problems")) == 3
        assert (len(store.sql("from actions")), len(store.sql("from versions"))) == (0, 1)


def test_under_strict_it_raises(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        with pytest.raises(InvalidInputError, match="nmae"):
            job[0].data("scan", on_invalid=["{nmae}"])
        with pytest.raises(InvalidInputError, match="not a record"):
            job[0].on_invalid(3, ["a"])


def test_what_names_nothing_is_said_until_its_record_comes(tmp_path: Path) -> None:
    """The record of a handle may stand in a log that comes later."""
    with one(tmp_path / "later") as job:
        handle = job[0].data("scan")
    with one(tmp_path / "logs") as job:
        job[0].on_invalid(handle, ["a"])
        job[0].on_invalid("data:nowhere", ["b"])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert store.sql("select count(*) as n from problems where code = 'unresolved'")["n"] == [2]
        assert len(store.sql("from actions")) == 0
    braid.compact(tmp_path / "later", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert store.sql("select given from problems where code = 'unresolved'")["given"] == ["data:nowhere"]
        assert store.sql("select name, command from actions").to_pylist() == [{"name": "scan", "command": ["a"]}]


def test_no_run_and_an_ended_one_take_them_and_do_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = NullRun()
    assert not run.action(["a"])
    run.on_invalid(run.data("x", on_invalid=["a"]), ["a"])
    with one(tmp_path / "logs") as job:
        pass
    assert not job[0].action(["a"])
    job[0].on_invalid("data:x", ["a"])
    assert "has ended" in capsys.readouterr().err
