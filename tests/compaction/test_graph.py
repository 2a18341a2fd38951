"""The graph of a commit: cycles kept out, links of every form resolved, placeholders filled."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.run.handles import Record
from tests.jobs import Job, count, deliver, digests, edges_of, has_cycle, made, one, rows


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


# cycles


def contradict(job: Job) -> None:
    """Let rank 0 derive b from a, and rank 1 a from b, with equal contents at equal steps."""
    for run, (first, second) in zip(job.runs, (("a", "b"), ("b", "a")), strict=True):
        seed = run.data("seed", digest="s:0")
        made_first = run.data(first, digest=f"x:{first}", derived_from=seed)
        run.data(second, digest=f"x:{second}", derived_from=made_first)


def test_occurrences_stay_apart_where_one_version_would_close_a_cycle(logs: Path, store: Path) -> None:
    """Ranks that declare things in contradicting order make versions of their own, and the problem is listed."""
    with Job(logs, 2) as job:
        contradict(job)
    with made(logs, store) as opened:
        assert not has_cycle(opened)
        assert count(opened, "versions", "name in ('a', 'b')") == 4
        assert count(opened, "versions", "name = 'seed'") == 1
        assert count(opened, "edges") == 4
        problems = rows(opened, "select code, message from problems")
        assert {code for code, _ in problems} == {"cycle"}
        assert any("data:a would be its own ancestor" in message for _, message in problems)


def test_a_rank_that_comes_later_cannot_close_a_cycle(logs: Path, store: Path, tmp_path: Path) -> None:
    """The first rank's versions stand as they were committed; the second one's stay apart from them."""
    with Job(logs, 2) as job:
        contradict(job)
    some = tmp_path / "some"
    deliver(job.folder(0), some)
    compact(some, store)
    before = rows(store, "select uid from versions order by 1")
    deliver(job.folder(1), some)
    with made(some, store) as opened:
        assert not has_cycle(opened)
        assert set(before) <= set(rows(opened, "select uid from versions"))
        assert count(opened, "versions", "name in ('a', 'b')") == 4
        assert count(opened, "problems", "code = 'cycle'") == 2


def test_a_cycle_that_closes_through_a_placeholder_is_seen(logs: Path, store: Path, tmp_path: Path) -> None:
    """Rank 0's b descends from rank 1's x by a handle; rank 1's x descends from what would be the same b."""
    with Job(logs, 2) as job:
        seed = [run.data("seed", digest="s:0") for run in job.runs]
        other_b = job[1].data("b", digest="x:b", derived_from=seed[1])
        x = job[1].data("x", digest="x:x", derived_from=other_b)
        job[0].data("b", digest="x:b", derived_from=x)
    some = tmp_path / "some"
    for rank in (0, 1):
        deliver(job.folder(rank), some)
        compact(some, store)
    with made(some, store) as opened:
        assert not has_cycle(opened)
        assert count(opened, "versions", "name = 'b'") == 2
        assert opened.lineage("data:b@1").complete
    whole = tmp_path / "whole.duckdb"
    with made(logs, whole) as opened:
        assert not has_cycle(opened)


def test_activities_can_close_a_cycle_too(logs: Path, store: Path) -> None:
    """Rank 0 makes b of a, rank 1 a of b, each by an activity: merged, a would feed itself."""
    with Job(logs, 2) as job:
        for run, (first, second) in zip(job.runs, (("a", "b"), ("b", "a")), strict=True):
            begun = run.data(first, digest=f"x:{first}", derived_from=run.data("seed", digest="s:0"))
            with run.activity("turn", used=begun) as activity:
                activity.data(second, digest=f"x:{second}")
    with made(logs, store) as opened:
        for name in ("data:a@1", "data:a@2", "data:b@1", "data:b@2"):
            answer = opened.lineage(name)
            assert [node.ref for node in answer.nodes].count(name) == 1
            assert not [edge for edge in answer.edges if edge.parent == name], answer.tree()


def test_a_derivation_stated_afterwards_closes_no_cycle(logs: Path, store: Path) -> None:
    """`derive` towards a descendant is left out, the one before it stays, and the problem says which was left out."""
    with one(logs) as job:
        run = job[0]
        a = run.data("a", digest="x:a")
        b = run.data("b", digest="x:b", derived_from=a)
        other = run.data("other", digest="x:o")
        run.derive(a, other)
        run.derive(a, b)
    with made(logs, store) as opened:
        assert edges_of(opened) == {("data:b@1", "data:a@1"), ("data:a@1", "data:other@1")}
        ((message,),) = rows(opened, "select message from problems where code = 'cycle'")
        assert message == "data:a was said to be derived from data:b, which descends from it: this edge is left out"


def test_a_derivation_stated_after_a_commit_closes_no_cycle(logs: Path, store: Path) -> None:
    """What the store holds counts, also through many generations."""
    with one(logs) as job:
        run = job[0]
        first = last = run.data("x", digest="x:0")
        for step in range(1, 200):
            last = run.data("x", digest=f"x:{step}", derived_from=last)
        compact(logs, store)
        run.derive(first, last)
    with made(logs, store) as opened:
        assert not has_cycle(opened)
        assert count(opened, "edges") == 199
        assert count(opened, "problems", "code = 'cycle'") == 1


def test_an_activity_that_returns_what_it_was_given_generates_nothing(logs: Path, store: Path) -> None:
    """Else every array that a function changes in place would be its own ancestor."""
    with one(logs) as job:
        run = job[0]
        frame = run.data("frame", digest="x:0")
        activity = run.activity("clean", used=frame)
        activity.end(generated=[frame])
    with made(logs, store) as opened:
        assert edges_of(opened, "wasGeneratedBy") == set()
        assert edges_of(opened, "used") == {("activity:clean@1", "data:frame@1")}


def test_late_bound_links_close_no_cycle(logs: Path, store: Path) -> None:
    """`on_all_ranks` of a record that another rank made of this one's descendant is bound to the others only."""
    with Job(logs, 2) as job:
        a = [
            run.data("a", digest=f"x:{rank}", derived_from=run.data("s", digest="s:0"))
            for rank, run in enumerate(job.runs)
        ]
        whole = job[0].data("whole", digest="x:w", derived_from=a[0].on_all_ranks())
        job[1].derive(a[1], whole)
    with made(logs, store) as opened:
        assert not has_cycle(opened)
        assert count(opened, "problems", "code = 'cycle'") == 1


# handles


def test_handles_travel_as_objects_pickles_and_tokens(logs: Path, store: Path) -> None:
    """A handle means the same occurrence however it reached the other rank."""
    with Job(logs, 2) as job:
        record = job[0].data("part", digest="x:0")
        ways = {
            "object": record,
            "pickle": pickle.loads(pickle.dumps(record)),
            "bytes": Record.from_bytes(bytes(record)),
            "token": Record.from_token(record.token),
        }
        for way, handle in ways.items():
            job[1].data(way, derived_from=handle)
    with made(logs, store) as opened:
        assert edges_of(opened) == {(f"data:{way}@1", "data:part@1") for way in ways}


def test_a_record_that_is_not_seen_is_a_placeholder_until_its_log_arrives(
    logs: Path, store: Path, tmp_path: Path
) -> None:
    """The answer is incomplete and names the writer; when the log has come, nothing tells that it came late."""
    with Job(logs, 2) as job:
        empty, full = job[1].data("empty"), job[1].data("full", digest="x:0")
        job[1].data("fed", digest="x:9", derived_from=job[1].data("seed", digest="x:8"))
        whole = job[0].data("whole", digest="x:1", derived_from=[empty, full])
        job[0].tag(full, "checked", True)
        with job[0].activity("use", used=full) as activity:
            activity.data("out", digest="x:2")
        job[0].data("child", digest="x:3", derived_from=whole)
    some = tmp_path / "some"
    deliver(job.folder(0), some)
    with made(some, store) as opened:
        answer = opened.lineage("data:child")
        assert not answer.complete
        assert [node.kind for node in answer.nodes].count("unseen") == 2
        assert {each.writer for each in answer.missing} == {None, job[1].writer.hex()}
    deliver(job.folder(1), some)
    with made(some, store) as opened:
        answer = opened.lineage("data:child")
        assert answer.complete, answer.missing
        assert {node.ref for node in answer.nodes} == {"data:child@1", "data:whole@1", "data:empty@1", "data:full@1"}
        assert rows(opened, "select n.name, t.key, t.text from tags t join nodes n using (id)") == [
            ("full", "checked", "true")
        ]
        # The earlier snapshot still tells what was known then.
        assert not opened.lineage("data:child", at=1).complete
        assert len(opened.lineage("data:child", at=1).nodes) == 4
    compact(logs, tmp_path / "whole.duckdb")
    assert digests(store, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)


def test_further_parents_of_a_record_that_is_not_seen(logs: Path, store: Path, tmp_path: Path) -> None:
    """An edge below a placeholder moves with it too."""
    with Job(logs, 2) as job:
        theirs = job[1].data("theirs", digest="x:0")
        job[0].derive(theirs, job[0].data("mine", digest="x:1"))
    some = tmp_path / "some"
    for rank in (0, 1):
        deliver(job.folder(rank), some)
        compact(some, store)
    with made(some, store) as opened:
        assert edges_of(opened) == {("data:theirs@1", "data:mine@1")}
    compact(logs, tmp_path / "whole.duckdb")
    assert digests(store, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)


# late-bound links


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_on_all_ranks_also_means_ranks_whose_logs_come_later(
    logs: Path, store: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    """In whatever order the logs arrive, the gathered record has the parts of all ranks, and of its step only."""
    with Job(logs, 3) as job:
        for turn in range(2):
            parts = [run.data("part", digest=f"x:{turn}{rank}") for rank, run in enumerate(job.runs)]
            job[0].data("whole", digest=f"x:{turn}", derived_from=parts[0].on_all_ranks())
    some = tmp_path / "some"
    for rank in order:
        deliver(job.folder(rank), some)
        compact(some, store)
    with made(some, store) as opened:
        whole = {child for child, _ in edges_of(opened)}
        assert whole == {"data:whole@1", "data:whole@2"}
        assert all(len([1 for child, _ in edges_of(opened) if child == each]) == 3 for each in whole)
        assert opened.lineage("data:whole").complete
    compact(logs, tmp_path / "whole.duckdb")
    assert digests(store, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)


def test_on_all_ranks_of_another_ranks_handle(logs: Path, store: Path, tmp_path: Path) -> None:
    """Late-bound by a rank that did not declare the record, before and after its log arrives."""
    with Job(logs, 2) as job:
        parts = [run.data("part", digest=f"x:{rank}") for rank, run in enumerate(job.runs)]
        job[1].data("whole", digest="x:w", derived_from=parts[0].on_all_ranks())
    some = tmp_path / "some"
    for rank in (1, 0):
        deliver(job.folder(rank), some)
        compact(some, store)
    with made(some, store) as opened:
        assert len(opened.lineage("data:whole").nodes) == 3
        assert opened.lineage("data:whole").complete
    compact(logs, tmp_path / "whole.duckdb")
    assert digests(store, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)


# references in text


def test_text_means_this_writers_last_earlier_declaration(logs: Path, store: Path) -> None:
    """Before this run's others and before the store's; a later declaration is not meant."""
    with one(logs) as job:
        job[0].data("x", digest="x:old")
    compact(logs, store)
    with Job(logs, 2) as job:
        job[1].data("x", digest="x:other")
        job[0].data("x", digest="x:mine")
        job[0].data("y", digest="y:0", derived_from="data:x")
        job[0].data("x", digest="x:later")
    with made(logs, store) as opened:
        query = "select p.digest, e.said from edge_rows e join version_rows p on p.id = e.parent"
        assert rows(opened, query) == [("x:mine", "data:x")]


def test_text_means_else_this_runs_last_declaration_before_it(logs: Path, store: Path) -> None:
    """By time: what another rank declares afterwards is not meant, for records and for activities."""
    with one(logs) as job:
        job[0].data("x", digest="x:old")
    compact(logs, store)
    with Job(logs, 2) as job:
        job[1].data("x", digest="x:first")
        job[1].data("x", digest="x:second")
        job[0].data("y", digest="y:0", derived_from="x")
        with job[0].activity("use", used="x"):
            pass
        job[1].data("x", digest="x:later")
    with made(logs, store) as opened:
        query = "select e.relation, p.digest from edge_rows e join version_rows p on p.id = e.parent order by 1"
        assert rows(opened, query) == [("used", "x:second"), ("wasDerivedFrom", "x:second")]


def test_text_means_else_the_stores_newest_as_of_the_runs_begin(logs: Path, store: Path) -> None:
    """What came into the store later, or was made by a run that began later, is not meant."""
    for digest in ("x:1", "x:2"):
        with one(logs) as job:
            job[0].data("x", digest=digest)
    with one(logs) as job, one(logs) as later:
        later[0].data("x", digest="x:3")
        compact(logs, store)
        job[0].data("y", digest="y:0", derived_from="data:x")
        job[0].data("z", digest="z:0", derived_from="data:x@1")
    with made(logs, store) as opened:
        query = (
            "select c.name, p.digest from edge_rows e join version_rows p on p.id = e.parent "
            "join version_rows c on c.id = e.child order by 1"
        )
        assert rows(opened, query) == [("y", "x:2"), ("z", "x:1")]


def test_text_that_names_nothing_is_listed(logs: Path, store: Path) -> None:
    """Every unresolved reference is a row, with what was given; the record itself is there."""
    with one(logs) as job:
        job[0].data("y", digest="y:0", derived_from=["data:nowhere", "model:net@7", "id:00ff00ff"])
    with made(logs, store) as opened:
        assert rows(opened, "select given from problems where code = 'unresolved' order by given") == [
            ("data:nowhere",),
            ("id:00ff00ff",),
            ("model:net@7",),
        ]
        assert len(opened.lineage("data:y").nodes) == 1


def test_text_is_resolved_when_the_other_ranks_log_arrives(logs: Path, store: Path, tmp_path: Path) -> None:
    """Listed as unresolved until then, and not afterwards: bit by bit gives what one go gives."""
    with Job(logs, 2) as job:
        job[1].data("x", digest="x:0")
        job[0].data("y", digest="y:0", derived_from="data:x")
        job[1].data("x", digest="x:later")
    some = tmp_path / "some"
    deliver(job.folder(0), some)
    with made(some, store) as opened:
        assert count(opened, "problems") == 1
    deliver(job.folder(1), some)
    with made(some, store) as opened:
        assert edges_of(opened) == {("data:y@1", "data:x@1")}
        assert count(opened, "problems") == 0
    compact(logs, tmp_path / "whole.duckdb")
    assert digests(store, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)


def test_text_is_resolved_though_the_other_rank_has_nothing_new(logs: Path, store: Path) -> None:
    """What an earlier commit took of this run counts, also if that rank is silent since."""
    with Job(logs, 2) as job:
        job[1].data("x", digest="x:0")
        compact(logs, store)
        job[0].data("y", digest="y:0", derived_from="data:x")
        compact(logs, store)
    with made(logs, store) as opened:
        assert edges_of(opened) == {("data:y@1", "data:x@1")}


def test_many_references_in_text_take_no_longer_each(logs: Path, store: Path) -> None:
    """Twenty thousand of them are resolved within seconds; a look through all declarations each took minutes."""
    with one(logs) as job:
        run = job[0]
        run.data("x", digest="x:0")
        for step in range(20_000):
            run.data("x", digest=f"x:{step}", derived_from="data:x")
    with made(logs, store) as opened:
        assert count(opened, "edges") == 20_000


# what cannot be read


def test_refused_calls_are_problems(logs: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose input was refused stands there with its message and the program's line."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    with one(logs) as job:
        job[0].data("y", digest="y:0", derived_from=object())
        assert job[0].data("z", digest="z:0")
    with made(logs, store) as opened:
        ((code, message, place),) = rows(opened, "select code, message, place from problems")
        assert code == "rejected"
        assert "is not a record" in message
        assert place.startswith(__file__)
        assert count(opened, "versions") == 2
