"""Statements made after a run: through a log beside the store, each once, and no other way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.compaction import commit as committing
from braid_hpc.compaction import compact as compaction
from braid_hpc.compaction.compact import compact
from braid_hpc.run.recorder import Run
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from tests.jobs import one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with one(tmp_path / "logs") as job:
        run = job[0]
        scan = run.data("scan", digest="x:1")
        for step in range(2):
            run.model("net", digest=f"n:{step}", derived_from=[scan, run.data("part", digest=f"p:{step}")])
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


def valid(store: Store, reference: str, *, at: int | None = None) -> bool:
    return store.lineage(reference, depth=0, at=at).nodes[0].valid


def test_a_statement_is_in_the_next_snapshot(path: Path) -> None:
    """The handle goes on to it; the one before stays what it was; its log is archived, and gone from beside."""
    with Store(path) as store:
        (statement,) = store.invalidate("data:scan", cause="beam off")
        assert store.snapshot == 2
        assert not valid(store, "model:net@1")
        assert valid(store, "model:net@1", at=1)
        assert store.sql("select uid, cause, name, revoked from invalidations").to_pylist() == [
            {"uid": statement, "cause": "beam off", "name": "scan", "revoked": False}
        ]
    assert StoreFiles(path).statement_logs() == []


@pytest.mark.parametrize("within", ["_read", "_write_spoken"])
def test_a_statement_that_another_compaction_takes_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch, within: str
) -> None:
    """It is stated, once, and nobody is told of an error: two people may state at the same time."""
    module = compaction if within == "_read" else committing
    real = getattr(module, within)
    begun: list[bool] = []
    others: list[compaction.Compacted] = []

    def interrupted(*given: Any) -> Any:
        if within == "_read":
            found = real(*given)
        if not begun:
            begun.append(True)
            others.append(compaction.compact_statements(path))
        return found if within == "_read" else real(*given)

    monkeypatch.setattr(module, within, interrupted)
    with Store(path) as store:
        (statement,) = store.invalidate("data:scan", cause="beam off")
        assert others[0].new
        assert store.snapshot == 2
        assert store.sql("select uid from invalidations")["uid"] == [statement]
    assert list(StoreFiles(path).archive.glob("taken-*")) == StoreFiles(path).statement_logs() == []


def test_it_is_taken_back(path: Path) -> None:
    with Store(path) as store:
        (statement,) = store.invalidate("data:scan", cause="beam off")
        store.revalidate("model:net@2", despite=statement[:8])
        assert (valid(store, "model:net@1"), valid(store, "model:net@2")) == (False, True)
        store.revalidate("data:scan")
        assert valid(store, "model:net@1")
        assert valid(store, "model:net@1", at=2) is False


def test_several_and_all_versions(path: Path) -> None:
    with Store(path) as store:
        assert len(store.invalidate(["data:part@1", "data:scan"], cause="both")) == 2
        store.revalidate(["data:part@1", "data:scan"])
        store.invalidate("model:net@1", cause="all of them", all_versions=True)
        assert (valid(store, "model:net@1"), valid(store, "model:net@2")) == (False, False)


def test_what_is_wrong_is_said_before_anything_is_stated(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(NotFoundError, match="near it"):
            store.invalidate(["data:scan", "data:scam"], cause="x")
        with pytest.raises(InvalidInputError, match="cause"):
            store.invalidate("data:scan", cause="")
        with pytest.raises(InvalidInputError, match="no record is named"):
            store.invalidate([], cause="x")
        with pytest.raises(NotFoundError, match="no statement stands on data:scan@1"):
            store.revalidate("data:scan")
        with pytest.raises(NotFoundError, match="is the id of no statements"):
            store.revalidate("data:scan", despite="00ff00ff")
        with pytest.raises(InvalidInputError, match="is not the id of a statement"):
            store.revalidate("data:scan", despite=3)  # type: ignore[arg-type]
        store.invalidate("data:scan", cause="beam off")
        with pytest.raises(NotFoundError, match=r"it is invalid by statement id:[0-9a-f]{32} \(beam off\): name that"):
            store.revalidate("model:net@1")
        assert store.snapshot == 2
    assert StoreFiles(path).statement_logs() == []


def test_a_statement_whose_compaction_was_killed_is_taken_by_the_next(path: Path, tmp_path: Path) -> None:
    """Its log lies beside the store until a snapshot holds it."""
    files = StoreFiles(path)
    run = Run("statements", log_dir=files.archive, store=path, alone=True)
    run.invalidate("data:scan", cause="left")
    run.close()
    assert len(files.statement_logs()) == 1
    with one(tmp_path / "logs") as job:
        job[0].data("more")
    compact(tmp_path / "logs", path)
    assert files.statement_logs() == []
    with Store(path) as store:
        assert store.sql("select cause from invalidations")["cause"] == ["left"]
        assert not valid(store, "data:scan")


def test_a_statement_belongs_to_no_rank_of_a_job(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is made within a batch job, whose launcher numbers its ranks."""
    for name, value in (("PMI_RANK", "0"), ("PMI_SIZE", "4"), ("BRAID_RUN_ID", "x")):
        monkeypatch.setenv(name, value)
    with Store(path) as store:
        store.invalidate("data:scan", cause="x")
        assert store.sql("select rank, state from ranks where run = (select run from runs where job = 'statements')")[
            "rank"
        ] == [None]


def test_a_store_that_was_copied_without_its_directory_is_stated_on(path: Path, tmp_path: Path) -> None:
    """Through a handle that is open on the copy, while another one asks it; both go on."""
    alone = tmp_path / "alone" / "prov.duckdb"
    alone.parent.mkdir()
    shutil.copy(path, alone)
    with Store(alone) as other, Store(alone) as store:
        store.invalidate("data:scan", cause="beam off")
        store.retract("model:net@2", "data:part@2", cause="not used")
        store.on_invalid("model:net@2", ["echo", "{id}"])
        assert store.snapshot == 4
        assert not valid(store, "model:net@1")
        assert [state.state for state in store.actions()] == ["due"]
        assert (other.snapshot, valid(other, "model:net@1")) == (1, True)
        with pytest.raises(NotFoundError, match="has no edge to"):
            store.retract("model:net@2", "data:part@2", cause="not used")
        other.refresh()
        assert (other.snapshot, valid(other, "model:net@1")) == (4, False)
    with Store(path) as first:
        assert (first.snapshot, valid(first, "model:net@1")) == (1, True)


def test_a_copy_whose_place_cannot_be_written_says_so(path: Path, tmp_path: Path) -> None:
    """In one sentence, and it can be asked as before."""
    alone = tmp_path / "alone" / "prov.duckdb"
    alone.parent.mkdir()
    shutil.copy(path, alone)
    # What stands where its directory would be: nothing can be made there, whoever asks.
    (alone.parent / "prov.duckdb.d").write_text("a file")
    with Store(alone) as store:
        with pytest.raises(StorageError) as raised:
            store.invalidate("data:scan", cause="beam off")
        assert "\n" not in str(raised.value)
        assert str(alone) in str(raised.value)
        assert valid(store, "model:net@1")
