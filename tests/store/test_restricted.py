"""What some groups may see of a store: what one of their runs' logs alone holds, and nothing of any other run."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.schema import PUBLIC_VIEWS
from braid_hpc.store import kept
from braid_hpc.store.restricted import export_restricted
from braid_hpc.store.store import Store, open_store
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError, ReadOnlyError
from tests.jobs import Job, one


def asked(store: Store, query: str, *values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in store.sql(query, list(values))]


class Shared:
    """A store of runs of two proposals, of both, and of nobody; what is secret has `secret` in every text of it."""

    def __init__(self, folder: Path) -> None:
        self.logs, self.path = folder / "logs", folder / "shared.duckdb"
        with one(self.logs, "secret-job") as job:
            run = job[0]
            run.fact("access", ["secret-group"])
            scan = run.data("secret-scan", digest="s", uri="file:///secret/uri", tags={"secret-tag": "secret"})
            run.stream("secret-stream", {"secret_column": "text"}).append("secret")
            run.array("secret-array", np.arange(5.0))
            run.array("secret-name", np.arange(7.0))
            with run.activity("secret-activity", used=scan) as activity:
                activity.model("net", digest="secret", derived_from=[scan])
            run.statement("secret-test", about=scan, value=1, passed=False)
        compact(self.logs, self.path)
        with one(self.logs, "open-job") as job:
            run = job[0]
            run.fact("access", "ours")
            data = run.data("scan", digest="o", tags={"sample": "Ni"})
            run.stream("hits", {"n": "int64"}).append(1)
            run.array("array", np.arange(7.0), unit="mm")
            run.model("net", digest="open", derived_from=[data, "data:scan"])
        compact(self.logs, self.path)
        with one(self.logs, "both-job") as job:
            record = job[0].model("both", digest="both", derived_from=["data:scan"])
            job[0].tag(record, "access", "ours")
            job[0].tag(record, "access", "secret-group")
        with one(self.logs, "secret-later") as job:
            job[0].data("secret-nobody", digest="n")
        compact(self.logs, self.path)
        with Store(self.path) as store:
            store.invalidate("data:secret-scan", cause="secret cause")
            store.invalidate("data:scan", cause="beam off")


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


def texts_of(store: Store) -> str:
    """Give everything that SQL can show."""
    tables = asked(store, "select table_schema, table_name from information_schema.tables order by all")
    found = [str(tables)]
    for schema, table in tables:
        if schema not in ("information_schema", "pg_catalog"):
            found.append(str(store.sql(f'select * from "{schema}"."{table}"').to_pylist()))
    return "\n".join(found)


def test_nothing_of_others_is_shown(shared: Shared) -> None:
    with open_store(shared.path, groups=["ours"]) as store:
        everything = texts_of(store).replace("'secret-group'", "")
        assert "open-job" in everything
        assert "beam off" in everything
        assert "secret" not in everything
        assert sorted(asked(store, "select job from runs where job <> 'statements'")) == [("both-job",), ("open-job",)]
        assert asked(store, "select kind, name, version from versions where name in ('net', 'scan') order by 1") == [
            ("data", "scan", 1),
            ("model", "net", 1),
        ]
        assert [node.name for node in store.impact("data:scan").nodes] == ["scan", "both", "net"]
        assert not store.lineage("model:both").nodes[0].valid
        # Ids and snapshots count what is shown.
        assert asked(store, "select min(id), max(id) - count(*) from nodes") == [(1, 0)]
        assert asked(store, "select list(snapshot order by snapshot) from snapshots") == [([1, 2, 3],)]
        for reference in ("data:secret-scan", "secret-activity"):
            with pytest.raises(NotFoundError, match=r"is not in this store$"):
                store.get(reference)
        np.testing.assert_array_equal(np.asarray(store.array("array")), np.arange(7.0))


def test_an_array_of_both_has_the_names_of_one(shared: Shared, tmp_path: Path) -> None:
    """Content that others recorded first is shown with what its own run called it, in a file that has nothing else."""
    made = export_restricted(shared.path, "ours", tmp_path / "ours.duckdb")
    (path,) = StoreFiles(made.store).arrays.glob("*.h5")
    with h5py.File(path) as file:
        (dataset,) = file.values()
        assert (list(dataset.attrs["names"]), dataset.attrs["unit"]) == (["array"], "mm")
        np.testing.assert_array_equal(dataset[:], np.arange(7.0))


def test_the_bytes_of_an_exported_store_hold_nothing_of_others(shared: Shared, tmp_path: Path) -> None:
    """Of its tables, its archive and its arrays; and it is a whole store: it can be made again and merged into."""
    made = export_restricted(shared.path, "ours", tmp_path / "ours.duckdb")
    assert (made.snapshot, made.writers, made.damage) == (3, 3, [])
    for path in [made.store, *StoreFiles(made.store).directory.rglob("*")]:
        if path.is_file():
            data = path.read_bytes().replace(b"secret-group", b"")
            assert b"secret" not in data, path
    assert "secret" not in str(sorted(StoreFiles(made.store).directory.rglob("*")))
    with Store(made.store) as store:
        before = store.digests()
        assert [node.name for node in store.impact("data:scan").nodes] == ["scan", "both", "net"]
    rebuild(made.store)
    with Store(made.store) as store:
        assert store.digests() == before
    with one(tmp_path / "more", "more") as job:
        job[0].model("more", digest="more", derived_from=["model:net"])
    compact(tmp_path / "more", made.store)
    with Store(made.store) as store:
        assert {node.name for node in store.lineage("model:more").nodes} == {"more", "net", "scan"}


@pytest.mark.parametrize(
    ("groups", "runs"),
    [
        ("ours", {"open-job", "both-job"}),
        ("secret-group", {"secret-job", "both-job"}),
        (["ours", "secret-group"], {"open-job", "both-job", "secret-job"}),
        ("strangers", set()),
    ],
)
def test_who_sees_which_runs(shared: Shared, groups: Any, runs: set[str]) -> None:
    with Store(shared.path) as whole, whole.restricted(groups) as store:
        assert {job for (job,) in asked(store, "select job from runs")} - {"statements"} == runs
        for view in PUBLIC_VIEWS if not runs else ():
            assert asked(store, f"select count(*) from {view}") == [(1 if view == "snapshots" else 0,)], view


def test_a_run_of_scans_of_several_proposals_is_shown_to_who_may_see_them_all(tmp_path: Path) -> None:
    with one(tmp_path / "logs", "shift") as job:
        for number, group in enumerate(("a", "b")):
            job[0].fact("access", [group, "staff"], tags={"n": number})
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    for groups, runs in (("a", 0), ("b", 0), (("a", "b"), 1), ("staff", 1)):
        with open_store(tmp_path / "s.duckdb", groups=groups) as store:
            assert asked(store, "select count(*) from runs") == [(runs,)], groups


@pytest.mark.parametrize("value", [None, 3, [], [3], {"group": "a"}, ""])
def test_what_names_no_groups_shows_nothing(tmp_path: Path, value: Any) -> None:
    """Rather than everything."""
    with one(tmp_path / "logs") as job:
        job[0].fact("access", value)
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    with open_store(tmp_path / "s.duckdb", groups="a") as store:
        assert asked(store, "select count(*) from runs") == [(0,)]


@pytest.mark.parametrize("job", ["statements", "actions", "inspect files"])
@pytest.mark.parametrize("access", ["theirs", None])
def test_a_job_that_is_called_as_a_log_of_ours_is_a_run_as_any_other(
    tmp_path: Path, job: str, access: str | None
) -> None:
    """Also where all that it used is shown: what it made is its own, and so are its activities and streams."""

    def made(run: Any, number: int) -> None:
        if number == 0:
            run.model("secret-net", digest="s", derived_from="data:scan")
        elif number == 1:
            with run.activity("secret-fit", used="data:scan"):
                pass
        else:
            run.stream("secret-stream", {"secret": "text"}).append("secret")

    with one(tmp_path / "logs", "open-job") as first:
        first[0].fact("access", "ours")
        first[0].data("scan", digest="o")
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    for number in range(3):
        with one(tmp_path / "logs", job) as later:
            if access is not None:
                later[0].fact("access", access)
            made(later[0], number)
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as whole:
        whole.tag("data:scan", quality="good")
        whole.invalidate("data:scan", cause="beam off")
    with open_store(tmp_path / "s.duckdb", groups="ours") as store:
        assert "secret" not in texts_of(store)
        assert "theirs" not in texts_of(store)
        assert not store.lineage("data:scan").nodes[0].valid
        assert [(each.key, each.value) for each in store.annotations("data:scan")] == [("quality", "good")]


def test_a_statement_about_something_of_others_is_not_shown(shared: Shared) -> None:
    """Also where it is about something of ours as well, or names a thing that only others have."""
    with Store(shared.path) as whole:
        whole.invalidate(["data:secret-scan", "model:both"], cause="mixed cause")
        whole.invalidate("data:secret-scan", cause="all causes", all_versions=True)
        whole.invalidate("model:net@1", cause="their net", all_versions=True)
        with whole.restricted("ours") as store:
            causes = [cause for (cause,) in asked(store, "select distinct cause from invalidations order by 1")]
            assert causes == ["beam off", "their net"]


def test_annotations_are_shown_with_what_they_are_about(shared: Shared) -> None:
    """One of ours is; what is said in one call of one of others is not, nor what they called it."""
    with Store(shared.path) as whole:
        whole.tag("data:scan", quality="good")
        whole.note("data:secret-scan", "a secret note")
        whole.tag("data:secret-scan", secret_key="secret value")
        with whole.restricted("ours") as store:
            assert [(each.key, each.value) for each in store.annotations("data:scan")] == [("quality", "good")]
            assert [row["name"] for row in store.find(tags={"quality": "good"})] == ["scan"]
            assert "secret" not in texts_of(store).replace("'secret-group'", "")


def test_an_annotation_stands_over_the_tag_of_a_run(shared: Shared) -> None:
    """The newest word on who may see a run is what holds, and to take it back hides the run again."""

    def jobs(groups: str) -> set[str]:
        with open_store(shared.path, groups=groups) as store:
            return {job for (job,) in asked(store, "select job from runs")} - {"statements"}

    with Store(shared.path) as whole:
        whole.tag("data:secret-nobody", access="late")
        assert jobs("late") == {"secret-later"}
        whole.tag("model:both", access="late")
        assert (jobs("late"), jobs("ours")) == ({"secret-later", "both-job"}, {"open-job"})
        whole.untag("data:secret-nobody", "access")
        assert jobs("late") == {"both-job"}


def test_it_follows_the_store(shared: Shared) -> None:
    """A run that names its groups later is shown from then on, and one that names others besides is not any more."""
    with open_store(shared.path, groups="ours") as store:
        with one(shared.logs, "more") as job:
            job[0].fact("access", "ours")
        compact(shared.logs, shared.path)
        assert asked(store, "select count(*) from runs where job = 'more'") == [(0,)]
        store.refresh()
        assert asked(store, "select count(*) from runs where job = 'more'") == [(1,)]
        with pytest.raises(ReadOnlyError, match="is only read"):
            store.invalidate("data:scan", cause="no")


def test_several_stores_restricted(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with one(tmp_path / "logs-2", "second") as job:
        job[0].fact("access", "ours")
        job[0].data("second", digest="2")
    with one(tmp_path / "logs-2", "secret-second") as job:
        job[0].data("secret-second", digest="2")
    compact(tmp_path / "logs-2", tmp_path / "second.duckdb")
    for place in (kept.cache_directory, lambda: None):
        monkeypatch.setattr(kept, "cache_directory", place)
        with braid.open([shared.path, tmp_path / "second.duckdb"], groups="ours") as store:
            assert "secret" not in texts_of(store).replace("'secret-group'", "")
            assert sorted(asked(store, "select job, origin from runs where job <> 'statements'")) == [
                ("both-job", ["shared"]),
                ("open-job", ["shared"]),
                ("second", ["second"]),
            ]


def test_a_view_gives_no_view_of_more(shared: Shared, tmp_path: Path) -> None:
    """A program that was given what somebody may see cannot ask it for the rest."""
    with one(tmp_path / "logs-2", "second") as job:
        job[0].fact("access", "theirs")
    compact(tmp_path / "logs-2", tmp_path / "second.duckdb")
    for which in (shared.path, [shared.path, tmp_path / "second.duckdb"]):
        with braid.open(which, groups=["ours", "theirs"]) as store:
            for more in ("secret-group", ["ours", "secret-group"]):
                with pytest.raises(InvalidInputError, match="shows nothing to 'secret-group'"):
                    store.restricted(more)
            with store.restricted("ours") as fewer:
                assert {job for (job,) in asked(fewer, "select job from runs")} == {
                    "open-job",
                    "both-job",
                    "statements",
                }
                with pytest.raises(InvalidInputError, match="shows nothing to 'theirs'"):
                    fewer.restricted("theirs")


def test_a_prov_document_is_of_what_is_shown(shared: Shared) -> None:
    """What the whole store calls by the same number is of others, and so are its content, times and agents."""
    with open_store(shared.path, groups="ours") as store:
        said = store.lineage("model:net").to_prov().serialize()
    assert "open" in said
    assert "secret" not in said


def test_what_is_wrong_is_said(shared: Shared, tmp_path: Path) -> None:
    wrong: list[Any] = [[], "", [3], [""]]
    for groups in wrong:
        with pytest.raises(InvalidInputError, match="names no groups"):
            open_store(shared.path, groups=groups)
    with pytest.raises(ConflictError, match="is there already"):
        export_restricted(shared.path, "ours", shared.path)
    with pytest.raises(NotFoundError, match="there is no store"):
        export_restricted(tmp_path / "gone.duckdb", "ours", tmp_path / "new.duckdb")
    shutil.rmtree(StoreFiles(shared.path).archive)
    with pytest.raises(NotFoundError, match="has no archive of its merge 1"):
        export_restricted(shared.path, "ours", tmp_path / "new.duckdb")
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_a_store_of_the_visible_logs_is(tmp_path: Path, seed: int) -> None:
    """Random runs of random groups, merged in random parts: tables and answers equal those of a store of our logs."""
    chosen = random.Random(seed)
    whole, ours = tmp_path / "whole.duckdb", tmp_path / "ours.duckdb"
    handles: list[Any] = []
    mine = set(chosen.sample("abc", chosen.randint(1, 2)))
    for number in range(6):
        groups = set(chosen.sample("abc", chosen.randint(0, 2)))
        logs = tmp_path / "logs" / str(number)
        with Job(logs, chosen.randint(1, 2), name=f"job-{number}") as job:
            for rank in range(job.size):
                run = job[rank]
                if groups and rank == 0:
                    run.fact("access", sorted(groups))
                for step in range(chosen.randint(1, 3)):
                    parents = chosen.sample(handles, min(len(handles), chosen.randint(0, 2)))
                    name = f"d{chosen.randint(0, 2)}"
                    digest = chosen.choice([None, f"{chosen.randint(0, 3)}"])
                    handles.append(run.data(name, digest=digest, derived_from=parents, tags={"step": step}))
                    if chosen.random() < 0.4:
                        with run.activity(f"a{chosen.randint(0, 1)}", used=chosen.sample(handles, 1)) as activity:
                            handles.append(activity.model("net", digest=f"{chosen.randint(0, 5)}"))
                if chosen.random() < 0.5:
                    run.stream(f"s{chosen.randint(0, 1)}", {"n": "int64"}).extend({"n": np.arange(3)})
                if chosen.random() < 0.5:
                    run.array("array", np.arange(float(chosen.randint(1, 3))))
        is_mine = bool(groups & mine)
        for source, store in ((logs, whole), *(((logs, ours),) if is_mine else ())):
            compact(source, store)
    if not ours.exists():
        return
    with open_store(whole, groups=mine) as shown, Store(ours) as alone:
        # Numbers too: they are given in the order of merges, of which the others leave no gaps.
        assert shown.digests() == alone.digests()
        for view in PUBLIC_VIEWS:
            columns = [name for name in shown.sql(f"select * from {view} limit 0").columns if name not in UNEQUAL]
            query = f"select {', '.join(json.dumps(name) for name in columns)} from {view}"
            assert sorted(map(str, asked(shown, query))) == sorted(map(str, asked(alone, query))), view
        named = "kind || ':' || name || '@' || version"
        known = asked(alone, f"select {named} from nodes where kind <> 'unseen' order by 1")
        for (reference,) in chosen.sample(known, min(4, len(known))):
            for question in ("lineage", "impact"):
                one_way, other = (getattr(store, question)(reference) for store in (shown, alone))
                assert sorted(map(str, one_way.nodes)) == sorted(map(str, other.nodes))
                assert sorted(map(str, one_way.edges)) == sorted(map(str, other.edges))


#: When a merge was made, and what its files are called.
UNEQUAL = ("committed", "archive", "file")
