"""Statements of a rank that records do not hold, or do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.run.null import NullRun
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, one


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


def invalid(path: Path, **when: Any) -> dict[str, str]:
    """Cause by reference."""
    with Store(path) as opened:
        refs = {row["id"]: f"{row['kind']}:{row['name']}@{row['version']}" for row in opened.sql("from nodes")}
        return {refs[node]: judgement.cause for node, judgement in opened.judgements(**when).items()}


def test_what_came_of_it_falls_and_what_it_came_from_does_not(logs: Path, store: Path) -> None:
    """By a handle; through an activity; what is made afterwards is born invalid."""
    with one(logs) as job:
        run = job[0]
        scan = run.data("scan", digest="x:1")
        peaks = run.data("peaks", digest="x:2", derived_from=scan)
        run.invalidate(peaks, cause="wrong threshold")
        with run.activity("train", used=peaks):
            run.model("net", digest="x:3")
    compact(logs, store)
    assert invalid(store) == dict.fromkeys(["data:peaks@1", "activity:train@1", "model:net@1"], "wrong threshold")


def test_a_name_means_what_this_rank_declared_or_used_last(logs: Path, store: Path) -> None:
    """Not what another rank did, and not a version that comes later."""
    with Job(logs, 2) as job:
        first, second = job.runs
        for step in range(3):
            first.model("net", digest=f"x:{step}", derived_from=first.data(f"d{step}", digest=f"d:{step}"))
        two = second.model("net", digest="y:0", derived_from=second.data("e", digest="d:9"))
        second.data("other", derived_from=two)
        first.invalidate("model:net", cause="first", cascade=False)
        second.invalidate("net", cause="second", cascade=False)
        first.model("net", digest="x:9", derived_from=first.data("d9", digest="d:99"))
    compact(logs, store)
    with Store(store) as opened:
        digests = opened.sql("select v.digest, i.cause from invalidations i join versions v using (id) order by cause")
        assert [tuple(row.values()) for row in digests] == [("x:2", "first"), ("y:0", "second")]


def test_all_versions_up_to_now(logs: Path, store: Path) -> None:
    """A later one is not meant."""
    with one(logs) as job:
        run = job[0]
        for step in range(2):
            net = run.model("net", digest=f"x:{step}", derived_from=run.data("d", digest=f"d:{step}"))
        run.invalidate(net, cause="all", all_versions=True)
        run.model("net", digest="x:9", derived_from=run.data("d", digest="d:9"))
    compact(logs, store)
    assert invalid(store) == {"model:net@1": "all", "model:net@2": "all"}


def test_it_is_taken_back_or_stopped(logs: Path, store: Path) -> None:
    with one(logs) as job:
        run = job[0]
        scan = run.data("scan", digest="x:1")
        one_, two = (run.data(name, digest=name, derived_from=scan) for name in ("one", "two"))
        run.data("below", digest="b", derived_from=one_)
        statement = run.invalidate(scan, cause="beam off")
        run.revalidate(one_, despite=statement)
        run.invalidate(two, cause="noise")
        run.revalidate(two)
    compact(logs, store)
    assert invalid(store) == {"data:scan@1": "beam off", "data:two@1": "beam off"}
    with Store(store) as opened:
        (before,) = opened.sql("select epoch_ns(min(time)) - 1 as time from invalidations")["time"]
    assert invalid(store, as_of=before) == {}


def test_a_record_that_comes_later_in_another_log(logs: Path, store: Path, tmp_path: Path) -> None:
    """The statement waits for it, and the store says so until then."""
    with Job(logs, 2) as job:
        first, second = job.runs
        scan = second.data("scan", digest="x:1")
        first.invalidate(scan, cause="bad")
        first.close()
        second.close()
        later = job.folder(1).rename(tmp_path / job.folder(1).name)
        compact(logs, store)
        assert invalid(store) == {}
        with Store(store) as opened:
            assert [row["code"] for row in opened.sql("from problems")] == ["unresolved"]
        later.rename(logs / later.name)
        compact(logs, store)
    assert invalid(store) == {"data:scan@1": "bad"}
    compact(logs, tmp_path / "at-once")
    assert invalid(tmp_path / "at-once") == {"data:scan@1": "bad"}


@pytest.mark.parametrize("wrong", [{"cause": ""}, {"cause": None}, {"cause": 7}])
def test_a_cause_is_a_text(logs: Path, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, kept, and the program goes on."""
    with one(logs) as job:
        record = job[0].data("d")
        with pytest.raises(InvalidInputError, match="the cause of an invalidation is a text"):
            job[0].invalidate(record, **wrong)
        monkeypatch.delenv("BRAID_STRICT")
        assert job[0].invalidate(record, **wrong) == ""
        assert job[0].invalidate(7, cause="x") == ""
        assert job[0].revalidate(record, despite="no id") == ""
        assert job[0]._rejected == 3


def test_without_a_run_nothing_happens() -> None:
    assert NullRun().invalidate("x", cause="y") == NullRun().revalidate("x") == ""
    assert braid.current_run().invalidate("x", cause="y") == ""
