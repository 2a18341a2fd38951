"""Edges that were stated wrongly: on a rank, afterwards, before their records are seen, and stated again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import Job, one


def refs(store: Store, reference: str, at: int | None = None, as_of: int | None = None) -> list[str]:
    return [node.ref for node in store.lineage(reference, at=at, as_of=as_of).nodes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with one(tmp_path / "logs") as job:
        scan, other = (job[0].data(name, digest=name) for name in ("scan", "other"))
        with job[0].activity("fit", used=scan) as fit:
            fit.model("net", digest="w", derived_from=[scan, other])
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


def test_it_is_not_followed_and_carries_nothing(path: Path) -> None:
    """Only that edge, and only of that relation; at the snapshot before, and as of a time before, it holds."""
    with Store(path) as store:
        store.invalidate("data:other", cause="bad")
        assert not store.lineage("model:net").nodes[0].valid
        before = time.time_ns()
        uid = store.retract("model:net", "data:other", cause="not used")
        assert refs(store, "model:net") == ["model:net@1", "activity:fit@1", "data:scan@1"]
        assert store.lineage("model:net").nodes[0].valid
        assert "data:other@1" in refs(store, "model:net", at=1)
        assert "data:other@1" in refs(store, "model:net", as_of=before)
        assert not store.lineage("model:net", as_of=before).nodes[0].valid
        assert refs(store, "data:other") == ["data:other@1"]
        (row,) = store.sql("select * from retractions")
        assert (row["uid"], row["relation"], row["cause"], row["restated"]) == (
            uid,
            "wasDerivedFrom",
            "not used",
            False,
        )
        store.retract("model:net", "activity:fit", relation="wasGeneratedBy", cause="by hand")
        store.retract("activity:fit", "data:scan", cause="by hand")
        assert refs(store, "model:net") == ["model:net@1", "data:scan@1"]
        assert len(store.sql("select * from edge_rows")) == 4
        assert len(store.sql("select * from edges")) == 1


def test_what_is_refused(path: Path) -> None:
    """Nothing is stated then."""
    with Store(path) as store:
        with pytest.raises(
            NotFoundError,
            match=r"data:scan@1 has no edge to model:net@1; its parents are: none",
        ):
            store.retract("data:scan", "model:net", cause="x")
        with pytest.raises(
            NotFoundError,
            match=r"model:net@1 has no edge used to data:scan@1; its parents are: activity:fit@1 \(wasGeneratedBy\), "
            r"data:other@1 \(wasDerivedFrom\), data:scan@1 \(wasDerivedFrom\)",
        ):
            store.retract("model:net", "data:scan", relation="used", cause="x")
        with pytest.raises(InvalidInputError, match="'same-content' is no relation that is stated: these are wasD"):
            store.retract("model:net", "data:scan", relation="same-content", cause="x")
        with pytest.raises(InvalidInputError, match="the cause of a retraction is a text"):
            store.retract("model:net", "data:scan", cause="")
        assert store.snapshot == 1


def test_stated_again_it_holds_again(tmp_path: Path) -> None:
    """On one rank, in the order in which it was said."""
    with one(tmp_path / "logs") as job:
        run = job[0]
        scan = run.data("scan", digest="s")
        net = run.model("net", digest="w", derived_from=scan)
        other = run.model("other", digest="o", derived_from=scan)
        run.retract(net, scan, cause="wrong")
        run.retract(other, "data:scan", cause="wrong")
        run.derive(net, scan)
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        assert refs(store, "model:net") == ["model:net@1", "data:scan@1"]
        assert refs(store, "model:other") == ["model:other@1"]
        assert store.sql("select restated from retractions r join nodes n on n.id = r.child order by n.name")[
            "restated"
        ] == [True, False]
        (said,) = store.sql("select epoch_ns(min(time)) as t from retraction_rows")["t"]
        assert refs(store, "model:net", as_of=said) == ["model:net@1"]
        assert refs(store, "model:net", as_of=said - 1) == ["model:net@1", "data:scan@1"]
        assert store.sql("select statements from edges")["statements"] == [1]


def test_it_waits_for_records_that_come_in_another_log(tmp_path: Path) -> None:
    """The store says so until then; in parts or at once, the stores are the same."""
    logs, path = tmp_path / "logs", tmp_path / "prov.duckdb"
    with Job(logs, 2) as job:
        first, second = job.runs
        scan = second.data("scan", digest="s")
        net = second.model("net", digest="w", derived_from=scan)
        first.retract(net, scan, cause="wrong")
    held = shutil.move(job.folder(1), tmp_path / job.folder(1).name)
    compact(logs, path)
    with Store(path) as store:
        (message,) = store.sql("select message from problems")["message"]
        assert "an edge was retracted: no record of the reference" in message
    shutil.move(held, job.folder(1))
    compact(logs, path)
    compact(logs, tmp_path / "once.duckdb")
    with Store(path) as store, Store(tmp_path / "once.duckdb") as once:
        assert refs(store, "model:net") == refs(once, "model:net") == ["model:net@1"]
        assert store.digests()["retractions"] == once.digests()["retractions"]
        assert store.digests()["retractions"] != "0:0"


def test_on_a_rank_bad_input_is_kept_and_not_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every recording call."""
    monkeypatch.delenv("BRAID_STRICT")
    with one(tmp_path / "logs") as job:
        run = job[0]
        scan = run.data("scan", digest="s")
        wrong: list[Callable[[], str]] = [
            lambda: run.retract(scan, scan, cause=""),
            lambda: run.retract(3, scan, cause="x"),
            lambda: run.retract(scan, scan, cause="x", relation="same-content"),
        ]
        for call in wrong:
            assert call() == ""
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        assert len(store.sql("select * from problems where code = 'rejected'")) == 3
