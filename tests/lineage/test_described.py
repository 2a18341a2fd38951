"""All that is said of a thing, at any moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.store.store import open_store
from tests.jobs import made, one


def test_what_was_known_then_and_what_held_then(tmp_path: Path) -> None:
    """Tags, parents, children, validity of an earlier snapshot and of an earlier time."""
    with one(tmp_path / "first") as job:
        config = job[0].fact("config", {"n": 1}, tags={"a": 1})
        with job[0].activity("fit", used=config, params={"k": 2}) as activity:
            activity.model("net", digest="w:1")
    with made(tmp_path / "first", tmp_path / "prov.duckdb") as store:
        before = store.describe("fact:config")
        (time,) = store.sql("select epoch_ns(time) as t from versions where name = 'config'")["t"]
        with one(tmp_path / "second") as job:
            again = job[0].fact("config", {"n": 1}, tags={"a": 2})
            job[0].data("late", digest="d:1", derived_from=again)
        compact(tmp_path / "second", store.path)
        store.refresh()
        store.invalidate("fact:config", cause="wrong")
        now = store.describe("fact:config")
        assert (now["tags"], now["valid"], now["cause"], now["occurrences"]) == ({"a": [1, 2]}, False, "wrong", 2)
        assert now["children"] == ["activity:fit@1 (used)", "data:late@1 (wasDerivedFrom)"]
        assert store.describe("fact:config", at=1) == before
        then = store.describe("fact:config", as_of=time)
        assert (then["valid"], then["occurrences"], then["tags"]) == (True, 1, {"a": 1})
        assert "children" not in then
        ran = store.describe("activity:fit")
        assert (ran["params"], ran["status"], ran["parents"]) == (
            {"k": 2},
            "ok",
            ["fact:config@1 (used)"],
        )


def test_a_name_means_the_newest_of_then(tmp_path: Path) -> None:
    """For get, describe, array, model, history and checkout."""
    with one(tmp_path / "logs") as job:
        for n in range(2):
            job[0].array("image", np.array([float(n)]))
            job[0].model("net", state={"w": np.array([float(n)])})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        (time,) = store.sql("select epoch_ns(max(time)) as t from versions where version = 1")["t"]
        assert (store.get("image").version, store.get("image", as_of=time).version) == (2, 1)
        assert store.array("image", as_of=time).read().tolist() == [0.0]
        assert store.model("net", as_of=time).state()["w"].tolist() == [0.0]
        assert store.describe("net", as_of=time)["ref"] == "model:net@1"
        assert [each.ref for each in store.history("net", as_of=time)] == ["model:net@1"]
        assert len(store.history("net")) == 2
        assert store.checkout("image", into=tmp_path / "out", as_of=time).ref == "data:image@1"


def test_tags_and_uris_are_those_of_then(tmp_path: Path) -> None:
    """For describe, where, diff and find, whichever snapshot brought them; a digest counts their times."""
    with one(tmp_path / "logs") as job:
        scan = job[0].data("scan", digest="d:1", uri="s3://here/scan", tags={"n": 1})
        job[0].data("scan", digest="d:1", uri=["s3://here/scan", "s3://there/scan"], tags={"n": 1})
        job[0].tag(scan, "good", True)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        rows = store.sql("select uri, epoch_ns(time) as t from uri_rows order by t, position")
        assert rows["uri"] == ["s3://here/scan", "s3://here/scan", "s3://there/scan"]
        first, second, _ = rows["t"]
        assert rows["t"] == sorted(store.sql("select epoch_ns(time) as t from occurrences")["t"] + [second])
        (tagged,) = store.sql("select epoch_ns(time) as t from tag_rows where key = 'good'")["t"]
        for time, uris, tags in (
            (first, ["s3://here/scan"], {"n": 1}),
            (second, ["s3://here/scan", "s3://there/scan"], {"n": 1}),
            (tagged, ["s3://here/scan", "s3://there/scan"], {"n": 1, "good": True}),
        ):
            then = store.describe("scan", as_of=time)
            assert (then["uris"], then["tags"]) == (uris, tags)
            assert [each.where for each in store.where("scan", as_of=time).contents] == uris
            assert len(store.find(uri="s3://there/scan", as_of=time)) == (len(uris) > 1)
            facts = store.diff("scan", "scan", as_of=(time, tagged)).facts
            assert [each.what for each in facts] == ["tag"] * ("good" not in tags) + ["uri"] * (len(uris) < 2)
        assert store.describe("scan") == {**store.describe("scan", as_of=tagged)}


def test_a_rebuilt_store_has_the_times_of_uris(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        job[0].data("scan", digest="d:1", uri=["s3://here/scan", "file:///there"])
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    with open_store(tmp_path / "prov.duckdb") as store:
        rows, digests = store.sql("from uri_rows order by position").to_pylist(), store.digests()
    rebuild(tmp_path / "prov.duckdb")
    with open_store(tmp_path / "prov.duckdb") as store:
        assert store.sql("from uri_rows order by position").to_pylist() == rows
        assert store.digests() == digests
