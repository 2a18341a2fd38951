"""What was said of a record before its log was seen is said of the record, when it comes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import NotFoundError
from tests.jobs import one


class Late:
    """A store of two jobs, of which the log of the first is to come: its scan, and what a fit made of that."""

    def __init__(self, folder: Path) -> None:
        self.logs, self.path = folder / "logs", folder / "prov.duckdb"
        with one(self.logs, "measure") as job:
            scan, dark = job[0].data("scan", digest="s"), job[0].data("dark", digest="d")
            self.folder = job.folder(0)
        self._aside = Path(shutil.move(self.folder, folder / "aside"))
        with one(self.logs, "fit") as job:
            job[0].model("net", digest="w", derived_from=[scan, dark])
        compact(self.logs, self.path)
        self.scan, self.dark = (f"unseen:{each.writer.hex()}:{each.sequence}" for each in (scan, dark))

    def arrive(self) -> None:
        """Let the log arrive."""
        shutil.move(self._aside, self.folder)
        compact(self.logs, self.path)


@pytest.fixture
def late(tmp_path: Path) -> Late:
    return Late(tmp_path)


@pytest.mark.parametrize("asked", ["model:net", "data:scan"])
def test_it_is_invalid(late: Late, asked: str) -> None:
    """In each answer with the same cause, also in those that look for it; what it stood beside is not."""
    with Store(late.path) as store:
        uid = store.sql("select uid from versions where name like $name", {"name": f"%{late.scan[7:]}"})["uid"][0]
        store.invalidate(f"id:{uid}", cause="shutter closed")
        before = store.snapshot
    late.arrive()
    with Store(late.path) as store:
        assert [(each.ref, each.cause) for each in store.stale(asked).reasons] == [("data:scan@1", "shutter closed")]
        assert [(node.valid, node.cause) for node in store.lineage(asked).nodes if node.name != "dark"] == [
            (False, "shutter closed")
        ] * (2 if asked == "model:net" else 1)
        assert [node.valid for node in store.lineage("data:dark").nodes] == [True]
        (row,) = store.sql("select * from invalidations")
        assert (row["name"], row["cause"], row["revoked"]) == ("scan", "shutter closed", False)
        # As it was known before.
        assert store.lineage("model:net", at=before).nodes[0].cause == "shutter closed"
        assert not store.lineage(late.scan, at=before).nodes[0].valid
        store.revalidate("data:scan")
        assert [node.valid for node in store.lineage("model:net").nodes] == [True] * 3
        assert store.lineage("model:net", at=before).nodes[0].cause == "shutter closed"
        (row,) = store.sql("select * from invalidations")
        assert row["revoked"]


def test_it_is_taken_back(late: Late) -> None:
    """A statement that holds again holds of the record too."""
    with Store(late.path) as store:
        store.invalidate(late.scan, cause="shutter closed")
        store.revalidate(late.scan)
        store.invalidate(late.dark, cause="light")
        store.revalidate(
            "model:net", despite=store.sql("select uid from invalidations where cause = 'light'")["uid"][0]
        )
    late.arrive()
    with Store(late.path) as store:
        valid = {node.name: node.valid for node in store.lineage("model:net").nodes}
        assert valid == {"net": True, "scan": True, "dark": False}


def test_an_edge_is_not_there(late: Late) -> None:
    """That was retracted while one end of it was not seen."""
    with Store(late.path) as store:
        store.retract("model:net", late.scan, cause="not used")
    late.arrive()
    with Store(late.path) as store:
        assert [node.name for node in store.lineage("model:net").nodes] == ["net", "dark"]
        assert [node["name"] for node in store.sql("from lineage('model:net')")] == ["net", "dark"]
        assert len(store.sql("select * from retractions")) == 1


def test_an_action_is_attached(late: Late) -> None:
    """Once, to the record."""
    with Store(late.path) as store:
        store.on_invalid(late.scan, ["true"])
    late.arrive()
    with Store(late.path) as store:
        assert [row["name"] for row in store.sql("select * from actions")] == ["scan"]


def test_its_reference_means_the_record(late: Late) -> None:
    """By name and by id, in SQL too, and statements that come later; at the snapshot before it was not known."""
    with Store(late.path) as store:
        uid = store.get(late.scan).uid
    late.arrive()
    with Store(late.path) as store:
        for reference in (late.scan, f"{late.scan}@1", f"id:{uid}"):
            assert store.get(reference).ref == "data:scan@1"
            assert [entry.ref for entry in store.history(reference)] == ["data:scan@1"]
            assert store.sql(f"from impact('{reference}')")["ref"] == ["data:scan@1", "model:net@1"]
            assert store.get(reference, at=1).kind == "unseen"
            assert store.sql(f"from impact('{reference}', 1)")["kind"] == ["unseen", "model"]
        store.invalidate(late.scan, cause="shutter closed")
        assert not store.lineage("model:net").nodes[0].valid
        assert store.sql("select name from invalidations")["name"] == ["scan"]
        with pytest.raises(NotFoundError, match="has no version 2"):
            store.get(f"{late.scan}@2")


def test_no_second_time(late: Late) -> None:
    """A merge that brings nothing else moves nothing again."""
    with Store(late.path) as store:
        store.invalidate(late.scan, cause="shutter closed")
        store.retract("model:net", late.dark, cause="not used")
        store.on_invalid(late.scan, ["true"])
    late.arrive()
    with one(late.logs, "more") as job:
        job[0].data("other", digest="o")
    compact(late.logs, late.path)
    with Store(late.path) as store:
        tables = ("invalidation_rows", "retraction_rows", "attachment_rows")
        assert [len(store.sql(f"select * from {table}")) for table in tables] == [2, 2, 2]
        assert not compact(late.logs, late.path).new
