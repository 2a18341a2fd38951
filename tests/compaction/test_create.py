"""An empty store: it can be asked and added to, and overwrites nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.create import create
from braid_hpc.vocabulary.errors import ConflictError, StorageError
from tests.jobs import count, digests, one


def record(logs: Path) -> None:
    with one(logs) as job:
        job[0].model("net", digest="m:1", derived_from=job[0].data("d", digest="d:1"))


def test_an_empty_store_is_asked_and_added_to(tmp_path: Path) -> None:
    """What is merged into it is what a store has that was made by merging."""
    made = create(tmp_path / "prov.duckdb")
    assert (made.snapshot, made.new, made.versions, made.writers) == (1, True, 0, 0)
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert (store.snapshot, count(store, "versions"), len(store.snapshots())) == (1, 0, 1)
        assert store.graph().nodes == []
        assert store.find(kind="data").to_pylist() == []
    record(tmp_path / "logs")
    assert compact(tmp_path / "logs", tmp_path / "prov.duckdb").snapshot == 2
    compact(tmp_path / "logs", tmp_path / "other.duckdb")
    assert digests(tmp_path / "prov.duckdb") == digests(tmp_path / "other.duckdb")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a store, nor one whose name was removed, nor any other file, link or directory."""
    record(tmp_path / "logs")
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    before = digests(tmp_path / "prov.duckdb")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for name in ("prov.duckdb", "text", "dangling", "folder"):
        with pytest.raises(ConflictError, match="is there already: it stays as it is"):
            create(tmp_path / name)
    assert digests(tmp_path / "prov.duckdb") == before
    assert (tmp_path / "text").read_text() == "hello"
    (tmp_path / "prov.duckdb").unlink()
    with pytest.raises(ConflictError):
        create(tmp_path / "prov.duckdb")
    with pytest.raises(StorageError):
        create(tmp_path / "text" / "inside")
