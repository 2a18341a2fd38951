"""What a store came to know between two snapshots."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, deliver
from tests.lineage.test_answer import workflow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Rank 0, then rank 1, then a statement."""
    tmp_path = tmp_path_factory.mktemp("snapshots")
    job = workflow(tmp_path / "logs", 2)
    for rank in (0, 1):
        deliver(job.folder(rank), tmp_path / "some")
        compact(tmp_path / "some", tmp_path / "prov.duckdb")
    shutil.rmtree(tmp_path / "some")
    with Store(tmp_path / "prov.duckdb") as opened:
        opened.invalidate("data:peaks/0", cause="wrong")
        yield opened


def test_what_came_and_what_it_changed(store: Store) -> None:
    found = store.diff_snapshots(1, 2)
    assert (found.a, found.b, found.only_a) == ("1", "2", ())
    assert set(found.only_b) == {
        *("data:peaks/1@1", "data:frames/1@1", "data:positions/1@1", "activity:find-peaks@2"),
    }
    facts = {(fact.what, fact.key): (fact.before, fact.after) for fact in found.facts}
    before, after = facts["count", "versions"]
    assert after - before == 3
    assert [key for what, key in facts if what == "rank"] == [
        key for what, key in facts if what == "rank" and key.startswith("rank 1 ")
    ]
    assert found.shared is None
    assert found.shared_count == before + facts["count", "activities"][0]


def test_statements_and_what_fell_with_them(store: Store) -> None:
    facts = {(fact.what, fact.key): (fact.before, fact.after) for fact in store.diff_snapshots(2, 3).facts}
    assert facts["count", "invalidations"] == (0, 1)
    fallen = {key for what, key in facts if what == "valid"}
    assert fallen == {node.ref for node in store.impact("data:peaks/0").nodes}
    assert all(facts["valid", key] == (True, False) for key in fallen)


def test_the_other_way_round_and_with_itself(store: Store) -> None:
    there, back = store.diff_snapshots(1, 3), store.diff_snapshots(3, 1)
    assert (there.only_b, there.only_a) == (back.only_a, back.only_b)
    assert [(f.before, f.after) for f in there.facts] == [(f.after, f.before) for f in back.facts]
    assert not store.diff_snapshots(2, 2)


def test_edges_between_what_was_known(tmp_path: Path) -> None:
    """One that is retracted, stated again, and one of a placeholder, which goes with it."""
    path = tmp_path / "prov.duckdb"

    def edges(store: Store, a: int, b: int) -> list[tuple[str, Any, Any]]:
        return [(f.key, f.before, f.after) for f in store.diff_snapshots(a, b).facts if f.what == "edge"]

    with Job(tmp_path / "all", 2) as job:
        scan = job[0].data("scan", digest="s:1")
        late = job[1].data("late", digest="s:2")
        peaks = job[0].data("peaks", digest="s:3", derived_from=[scan, late])
        for rank in (0, 1):
            deliver(job.folder(rank), tmp_path / "some")
            compact(tmp_path / "some", path)
        with Store(path) as store:
            store.retract("data:peaks", "data:scan", cause="of another one")
        job[0].derive(peaks, scan)
        deliver(job.folder(0), tmp_path / "some")
        compact(tmp_path / "some", path)
    edge = "data:peaks@1 wasDerivedFrom data:scan@1"
    with Store(path) as store:
        assert edges(store, 1, 2) == []
        assert edges(store, 2, 3) == [(edge, True, False)]
        assert edges(store, 3, 2) == edges(store, 3, 4) == [(edge, False, True)]
        assert edges(store, 1, 4) == []
        found = store.diff_snapshots(2, 3)
        facts = {(fact.what, fact.key): (fact.before, fact.after) for fact in found.facts}
        assert facts["count", "retractions"] == (0, 1)
        assert f"edge {edge}: True -> False" in str(found)


@pytest.mark.parametrize("wrong", [0, 4, -1, True, "2"])
def test_a_snapshot_that_is_none(store: Store, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"this store has 1 to 3|from 1 to 3 in this store"):
        store.diff_snapshots(1, wrong)
