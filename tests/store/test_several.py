"""Several stores asked as one: everything of them, each thing once, and which store has it."""

from __future__ import annotations

import os
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store import kept
from braid_hpc.store.several import Several
from braid_hpc.store.store import Store, open_store
from braid_hpc.vocabulary.errors import (
    ConflictError,
    FormatTooNewError,
    InvalidInputError,
    NotFoundError,
    ReadOnlyError,
)
from braid_hpc.vocabulary.references import format_reference
from tests.jobs import Job, deliver, one


def asked(store: Store, query: str, *values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in store.sql(query, list(values))]


class Three:
    """Three stores of four runs: b used what a made, and one run is in b and in c."""

    def __init__(self, folder: Path) -> None:
        logs = {name: folder / f"logs-{name}" for name in "abc"}
        with one(logs["a"], "measure") as job:
            run = job[0]
            scan = run.data("scan", digest="x:1", tags={"sample": "Ni"})
            hits = run.stream("hits", {"energy": "float64"})
            hits.extend({"energy": np.arange(4.0)})
            run.array("dark", np.arange(6.0))
            run.model("net", digest="old")
        with one(logs["b"], "fit") as job:
            run = job[0]
            with run.activity("train", used=scan) as activity:
                activity.model("net", digest="new", derived_from=[scan])
            hits = run.stream("hits", {"energy": "float64", "channel": "int64"})
            hits.append(9.0, 3)
            run.fact("threshold", 40)
            self.both = job.folder(0)
        with one(logs["c"], "later") as job:
            job[0].model("other", digest="other", derived_from=["scan"])
        deliver(self.both, logs["c"])
        self.logs = logs
        self.paths = {name: folder / f"{name}.duckdb" for name in "abc"}
        for name, path in self.paths.items():
            compact(logs[name], path)
        self.all = list(self.paths.values())
        self.together = folder / "together.duckdb"
        for name in "abc":
            compact(logs[name], self.together)


@pytest.fixture
def three(tmp_path: Path) -> Three:
    return Three(tmp_path)


def test_a_run_that_is_in_two_stores_counts_once_and_both_are_named(three: Three) -> None:
    with braid.open(three.all) as store:
        assert sorted(asked(store, "select job, origin from runs")) == [
            ("fit", ["b", "c"]),
            ("later", ["c"]),
            ("measure", ["a"]),
        ]
        assert sorted(asked(store, "select kind, digest, origin from versions where name = 'net'")) == [
            ("model", "new", ["b", "c"]),
            ("model", "old", ["a"]),
        ]
        assert asked(store, "select origin from records where name = 'net'") == [(["a", "b", "c"],)]
        assert asked(store, "select key, text, origin from tags where key = 'sample'") == [("sample", "Ni", ["a"])]
        assert asked(store, "select name, origin from activities") == [("train", ["b", "c"])]


def test_it_holds_what_one_store_of_all_logs_holds(three: Three) -> None:
    """The oracle: the same logs, merged into one store."""
    with open_store(three.all) as several, Store(three.together) as whole:
        assert several.digests(numbers=False) == whole.digests(numbers=False)


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_the_order_in_which_they_are_named_does_not_matter(three: Three, order: str) -> None:
    with open_store([three.paths[name] for name in order]) as several, Store(three.together) as whole:
        assert several.digests(numbers=False) == whole.digests(numbers=False)
        assert [node.name for node in several.lineage("model:other").nodes] == ["other", "scan"]


def test_what_one_made_and_another_used_is_walked_across(three: Three) -> None:
    """A placeholder of one store is filled by the other one."""
    with Store(three.paths["b"]) as alone:
        assert "scan" not in [node.name for node in alone.lineage("id:" + alone.get("model:net").uid).nodes]
    with braid.open(three.all) as store:
        (uid,) = asked(store, "select uid from versions where digest = 'new'")[0]
        assert {node.name for node in store.lineage(f"id:{uid}").nodes} == {"net", "scan", "train"}
        assert {node.name for node in store.impact("data:scan").nodes} == {"scan", "train", "net", "other"}
        origins = asked(
            store,
            "select distinct e.relation, e.origin from edges e join nodes p on p.id = e.parent where p.name = 'scan' "
            "order by 1, 2",
        )
        assert origins == [("used", ["b", "c"]), ("wasDerivedFrom", ["b", "c"]), ("wasDerivedFrom", ["c"])]


def test_streams_and_arrays(three: Three) -> None:
    with braid.open(three.all) as store:
        found = store.table("hits")
        assert sorted(zip(found["energy"], found["channel"], found["_origin"], strict=True), key=str) == sorted(
            [*((float(n), None, ["a"]) for n in range(4)), (9.0, 3, ["b", "c"])], key=str
        )
        assert asked(store, "select count(*) from stream.hits where list_contains(origin_of(_writer), 'c')") == [(1,)]
        assert asked(store, "select stream, origin from streams") == [("hits", ["a", "b", "c"])]
        np.testing.assert_array_equal(np.asarray(store.array("dark")), np.arange(6.0))


def test_every_promised_view_says_its_origin(three: Three) -> None:
    """In each row, a store that there is."""
    from braid_hpc.snapshots.schema import PUBLIC_VIEWS

    with braid.open(three.all) as store:
        for view in PUBLIC_VIEWS:
            for (origin,) in asked(store, f"select origin from {view}"):
                assert origin, view
                assert set(origin) <= {"a", "b", "c"}, view


def test_a_number_that_means_different_versions_is_refused_with_the_candidates(three: Three) -> None:
    with braid.open(three.all) as store:
        with pytest.raises(ConflictError, match=r"model:net@1 is not the same .* a::model:net@1 .* b::model:net@1"):
            store.get("model:net@1")
        with pytest.raises(ConflictError, match="say which of"):
            store.lineage("net@1")
        old, new = store.get("a::model:net@1"), store.get("b::model:net@1")
        assert old.uid != new.uid
        assert store.get("c::net@1") == new
        # As they are shown, they can be asked for.
        assert [store.get(node.ref) for node in (old, new)] == [old, new]
        assert store.get("a::model:net") == old
        # A number that means one thing only is as good as in its own store.
        assert store.get("scan@1").ref == "data:scan@1"
        with pytest.raises(NotFoundError, match=r"scan is not in .*b\.duckdb"):
            store.get("b::scan")
        with pytest.raises(NotFoundError):
            store.get("d::scan")


def test_numbers_are_the_stores_own_where_one_alone_has_given_them(tmp_path: Path) -> None:
    for name in "ab":
        with one(tmp_path / name) as job:
            for step in range(3):
                job[0].model(f"only-{name}", digest=f"{name}{step}")
                job[0].model("shared", digest=f"{name}{step}")
        compact(tmp_path / name, tmp_path / f"{name}.duckdb")
    with braid.open([tmp_path / "a.duckdb", tmp_path / "b.duckdb"]) as store:
        for name in "ab":
            assert asked(store, f"select version, digest from versions where name = 'only-{name}' order by 1") == [
                (n + 1, f"{name}{n}") for n in range(3)
            ]
        assert asked(store, "select version, digest from versions where name = 'shared' order by 1") == [
            (n + 4, digest) for n, digest in enumerate(["a0", "a1", "a2", "b0", "b1", "b2"])
        ]


def test_texts_mean_what_they_meant_to_their_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer version in another store does not take the place of what a store has found; nor does its number."""
    logs, paths = {}, {}
    for name in "ab":
        logs[name], paths[name] = tmp_path / name, tmp_path / f"{name}.duckdb"
        for step in range(2):
            with one(logs[name], "make") as job:
                job[0].data("scan", digest=f"{name}{step}")
            compact(logs[name], paths[name])
    with one(logs["a"], "use") as job:
        job[0].model("net", digest="net", derived_from=["scan", "data:scan@1"])
        job[0].model("lost", digest="lost", derived_from=["scan@7"])
    compact(logs["a"], paths["a"])
    # What is copied and what is told again must not make a difference.
    for place in "xy":
        monkeypatch.setenv("BRAID_CACHE_DIR", str(tmp_path / place))
        with braid.open(paths.values()) as store:
            found = asked(
                store,
                "select p.digest from edges e join versions p on p.id = e.parent join versions c on c.id = e.child "
                "where c.name = 'net' order by 1",
            )
            assert found == [("a0",), ("a1",)]
            assert len(store.lineage("model:lost").nodes) == 1
        with one(logs["b"], "more") as job:
            job[0].stream("rows", {"x": "float64"}).extend({"x": np.random.default_rng(0).random(1_000_000)})
        compact(logs["b"], paths["b"])
        assert paths["b"].stat().st_size > paths["a"].stat().st_size


def test_statements_of_each_are_of_all(three: Three) -> None:
    with Store(three.paths["a"]) as alone:
        alone.invalidate("data:scan", cause="beam off")
    with braid.open(three.all) as store:
        (uid,) = asked(store, "select uid from versions where digest = 'new'")[0]
        (node, *_) = store.lineage(f"id:{uid}").nodes
        assert (node.valid, node.cause) == (False, "beam off")
        assert asked(store, "select cause, origin from invalidations") == [("beam off", ["a"])]


def test_they_are_only_read(three: Three) -> None:
    before = [path.read_bytes() for path in three.all]
    with braid.open(three.all) as store:
        for state in (
            lambda: store.invalidate("data:scan", cause="no"),
            lambda: store.on_invalid("data:scan", "true"),
            lambda: store.run_actions(),
        ):
            with pytest.raises(ReadOnlyError, match="several stores together are only read"):
                state()
        with pytest.raises(ReadOnlyError):
            store.sql("create table x (y integer)")
        with pytest.raises(ReadOnlyError):
            store.sql(f"attach '{three.paths['a']}' as other")
    assert [path.read_bytes() for path in three.all] == before


def test_a_snapshot_number_is_refused_and_a_time_is_not(three: Three) -> None:
    with braid.open(three.all) as store:
        for at in (1, 2, int(store.snapshot)):
            with pytest.raises(InvalidInputError, match=r"at=\d+ means nothing to several stores.*as_of="):
                store.lineage("scan", at=at)
        time = asked(store, "select epoch_ns(max(last_time)) from ranks")[0][0]
        assert store.lineage("scan", as_of=time).nodes[0].name == "scan"
        with pytest.raises(InvalidInputError, match="before the first event"):
            store.lineage("scan", as_of=1)


def test_an_answer_of_several_is_a_prov_document(three: Three) -> None:
    with braid.open(three.all) as store:
        answer = store.lineage("b::model:net")
        document = answer.to_prov()
    labels = document.serialize()
    assert all(node.name in labels for node in answer.nodes)


def test_the_same_store_twice_is_one(three: Three, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.duckdb").symlink_to(three.paths["a"])
    with open_store([three.paths["a"], str(three.paths["a"]), tmp_path / "elsewhere" / "link.duckdb"]) as store:
        assert list(store.origins) == ["a"]  # type: ignore[attr-defined]
        with Store(three.paths["a"]) as alone:
            assert store.digests() == alone.digests()


def test_a_copy_of_a_store_adds_nothing_but_its_name(three: Three, tmp_path: Path) -> None:
    """Also one without its directory; stores of one file name are told apart by their directories."""
    (tmp_path / "copy").mkdir()
    shutil.copy(three.paths["a"], tmp_path / "copy" / "a.duckdb")
    with open_store([three.paths["a"], tmp_path / "copy" / "a.duckdb"]) as store, Store(three.paths["a"]) as alone:
        assert store.digests() == alone.digests()
        assert asked(store, "select origin from runs") == [([f"{tmp_path.name}/a", "copy/a"],)] or asked(
            store, "select origin from runs"
        ) == [(["copy/a", f"{tmp_path.name}/a"],)]


def test_names_may_be_given(three: Three) -> None:
    with braid.open({"shared": three.paths["a"], "mine": three.paths["b"]}) as store:
        assert sorted(asked(store, "select job, origin from runs")) == [("fit", ["mine"]), ("measure", ["shared"])]
        assert store.get("shared::scan").name == "scan"


@pytest.mark.parametrize("given", [[], {}, {"": "a"}, {"a::b": "a"}])
def test_names_that_are_none(given: Any, three: Three) -> None:
    paths = dict.fromkeys(given, three.paths["a"]) if isinstance(given, dict) else given
    with pytest.raises(InvalidInputError):
        braid.open(paths)


def test_one_is_missing(three: Three, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no store .*gone\.duckdb"):
        braid.open([three.paths["a"], tmp_path / "gone.duckdb"])
    assert not (tmp_path / "gone.duckdb.d").exists()


@pytest.mark.parametrize("key", ["major", "minor"])
def test_one_is_of_a_newer_format(three: Three, key: str) -> None:
    """A newer minor version can be asked alone; nothing here knows how its rows are told to another store."""
    files = StoreFiles(three.paths["b"])
    os.chmod(files.newest(), 0o644)
    with duckdb.connect(files.newest()) as connection:
        connection.execute("update meta set value = '9' where key = ?", [key])
    with pytest.raises(FormatTooNewError, match=r"b\.duckdb is of store format"):
        braid.open(three.all)


def test_two_without_archives(three: Three, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One may lack its archive, because it is copied as a whole."""
    shutil.rmtree(StoreFiles(three.paths["b"]).archive)
    with braid.open(three.all) as store, Store(three.together) as whole:
        assert store.digests(numbers=False)["versions"] == whole.digests(numbers=False)["versions"]
    shutil.rmtree(StoreFiles(three.paths["a"]).archive)
    monkeypatch.setenv("BRAID_CACHE_DIR", str(tmp_path / "another"))
    with pytest.raises(NotFoundError, match=r"a\.duckdb and .*b\.duckdb have no archive"):
        braid.open(three.all)


def test_a_merge_into_one_of_them_meanwhile(three: Three, tmp_path: Path) -> None:
    """The handle stays where it is until it is asked to go on; then only what is new is told."""
    with braid.open(three.all) as store:
        for number in range(3):
            with one(three.logs["a"], f"more-{number}") as job:
                job[0].data(f"more-{number}", digest="m", derived_from=["scan"])
            compact(three.logs["a"], three.paths["a"])
        assert asked(store, "select count(*) from runs") == [(3,)]
        assert len(store.impact("data:scan").nodes) == 4
        store.refresh()
        assert asked(store, "select count(*) from runs") == [(6,)]
        assert {node.name for node in store.impact("data:scan").nodes} >= {"more-0", "more-1", "more-2"}
        for name in "abc":
            compact(three.logs[name], three.together)
        with Store(three.together) as whole:
            assert store.digests(numbers=False) == whole.digests(numbers=False)


def test_many_ask_at_once_while_others_merge(three: Three) -> None:
    """Whoever opens them gets a whole answer."""
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(4):
                with open_store(three.all) as store:
                    assert asked(store, "select count(*) from versions where name = 'scan'") == [(1,)]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(4):
        with one(three.logs["a"], f"more-{number}") as job:
            job[0].data(f"more-{number}", digest="m")
        compact(three.logs["a"], three.paths["a"])
    for thread in threads:
        thread.join()
    assert not failed


def test_it_is_kept_for_the_next_one_and_only_for_oneself(
    three: Three, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with braid.open(three.all) as store:
        first = store._files.path
    made = first.stat().st_mtime_ns
    with braid.open(three.all) as store:
        assert (store._files.path, store._files.path.stat().st_mtime_ns) == (first, made)
    assert (tmp_path / "cache" / "stores").stat().st_mode & 0o077 == 0
    # Where nothing can be kept it lives as long as the handle.
    monkeypatch.setattr(kept, "cache_directory", lambda: None)
    with braid.open(three.all) as store:
        temporary = store._files.path
        assert temporary.exists()
        assert len(store.lineage("model:other").nodes) == 2
    assert not temporary.parent.exists()


def test_states_that_nobody_asks_for_are_removed(three: Three, tmp_path: Path) -> None:
    for number in range(4):
        with one(three.logs["a"], f"more-{number}") as job:
            job[0].data(f"more-{number}", digest="m")
        compact(three.logs["a"], three.paths["a"])
        braid.open(three.all).close()
    (folder,) = (tmp_path / "cache" / "stores").iterdir()
    assert len(list(folder.iterdir())) == kept.STATES


def test_what_else_lies_in_the_cache_directory_stays(
    three: Three, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have kept stores of their own there, with their directories."""
    monkeypatch.setenv("BRAID_CACHE_DIR", str(tmp_path / "mine"))
    others = [tmp_path / "mine" / "stores" / f"prov-{number}.duckdb.d" for number in range(kept.STORES + 2)]
    for other in others:
        other.mkdir(parents=True)
        (other / "1.duckdb").write_text("precious")
    with braid.open(three.paths):
        assert all((other / "1.duckdb").read_text() == "precious" for other in others)


def test_an_empty_variable_names_no_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the directory in which somebody works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAID_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert kept.cache_directory() == tmp_path / "home" / "braid" / "stores"
    assert not (tmp_path / "stores").exists()


def test_ranks_of_one_run_in_two_stores(tmp_path: Path) -> None:
    """The run is one, and what its ranks share is shared."""
    with Job(tmp_path / "all", 4) as job:
        for rank in range(4):
            config = job[rank].fact("config", {"steps": 3})
            peaks = job[rank].data(f"peaks/{rank}", digest=str(rank))
            job[rank].model("net", digest="net", derived_from=[config, peaks])
    for rank in range(4):
        deliver(job.folder(rank), tmp_path / "ab"[rank % 2])
    for name in "ab":
        compact(tmp_path / name, tmp_path / f"{name}.duckdb")
    compact(tmp_path / "all", tmp_path / "whole.duckdb")
    with braid.open([tmp_path / "a.duckdb", tmp_path / "b.duckdb"]) as store, Store(tmp_path / "whole.duckdb") as whole:
        assert store.digests(numbers=False) == whole.digests(numbers=False)
        assert asked(store, "select ranks, origin from runs") == [(4, ["a", "b"])]
        assert len(store.lineage("model:net").nodes) == 6


@pytest.mark.parametrize("seed", range(4))
def test_random_stores_hold_what_one_store_of_all_logs_holds(tmp_path: Path, seed: int) -> None:
    """Runs that use what others made, by handles, spread over stores at random, some in several, some in two halves."""
    chosen = random.Random(seed)
    handles: list[Any] = []
    names = "abc"[: chosen.randint(2, 3)]
    for number in range(6):
        logs = tmp_path / "all" / str(number)
        with Job(logs, chosen.randint(1, 2), name=f"job-{number}") as job:
            for rank in range(job.size):
                run = job[rank]
                for step in range(chosen.randint(1, 4)):
                    parents = chosen.sample(handles, min(len(handles), chosen.randint(0, 3)))
                    digest = chosen.choice([None, f"{chosen.randint(0, 4)}"])
                    handles.append(
                        run.data(f"d{chosen.randint(0, 3)}", digest=digest, derived_from=parents, tags={"step": step})
                    )
                    if chosen.random() < 0.4:
                        with run.activity(f"a{chosen.randint(0, 1)}", used=chosen.sample(handles, 1)) as activity:
                            handles.append(activity.model("net", digest=f"{chosen.randint(0, 9)}"))
                if chosen.random() < 0.5:
                    run.stream("hits", {"n": "int64"}).extend({"n": np.arange(chosen.randint(1, 5))})
        for name in chosen.sample(names, chosen.randint(1, 2)):
            for rank in range(job.size):
                if chosen.random() < 0.8:
                    deliver(job.folder(rank), tmp_path / "parts" / name)
        for name in names:
            if (tmp_path / "parts" / name).exists() and chosen.random() < 0.6:
                compact(tmp_path / "parts" / name, tmp_path / f"{name}.duckdb")
    given = []
    for name in names:
        if (tmp_path / "parts" / name).exists():
            compact(tmp_path / "parts" / name, tmp_path / f"{name}.duckdb")
            given.append(tmp_path / f"{name}.duckdb")
    for path in given:
        compact(tmp_path / "parts" / path.stem, tmp_path / "whole.duckdb")
    with Several(given) as store, Store(tmp_path / "whole.duckdb") as whole:
        assert store.digests(numbers=False) == whole.digests(numbers=False)
        ours, theirs = (
            {format_reference(*row[1:]): row[0] for row in asked(each, "select uid, kind, name, version from nodes")}
            for each in (store, whole)
        )
        known = asked(whole, "select name, uid from versions where not placeholder order by uid")
        for name, digest in chosen.sample(known, 2):
            for question in ("lineage", "impact"):
                found = {ours[node.ref] for node in getattr(store, question)(f"id:{digest}").nodes}
                assert found == {theirs[node.ref] for node in getattr(whole, question)(f"id:{digest}").nodes}, name


def test_private_annotations_are_answered_with_the_shared_store(three: Three, tmp_path: Path) -> None:
    """A small store of one's own, asked together with the shared one, whose file stays what it is byte by byte."""
    mine, shared = tmp_path / "mine.duckdb", three.paths["a"]
    before = shared.read_bytes()
    with open_store(shared, private=mine) as store:
        store.tag("data:scan", quality="good", private=True)
        store.note("data:scan", "look again", private=True)
    assert shared.read_bytes() == before
    with open_store([shared, mine]) as store:
        assert [row["name"] for row in store.find(tags={"quality": "good"})] == ["scan"]
        assert [(each.what, each.value) for each in store.annotations("data:scan")] == [
            ("tag", "good"),
            ("note", "look again"),
        ]
    with open_store(shared) as store:
        assert not len(store.find(tags={"quality": "good"}))
