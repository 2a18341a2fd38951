"""Which declarations are one version: ruling by ruling, on real logs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.versions import activity_uid, occurrence_uid, plain_name, unseen_uid
from braid_hpc.run.handles import Record
from braid_hpc.store.store import Store
from tests.faults.campaign import many
from tests.jobs import Job, count, edges_of, has_cycle, made, one, rows


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


def versions(opened: Store, name: str) -> list[tuple[int, int | None, int]]:
    """Give number, step and number of occurrences of each version of a record."""
    query = "select version, step, occurrences from versions where name = ? order by version"
    return [(version, step, found) for version, step, found in rows(opened, query, name)]


# sources


def test_a_configuration_read_by_four_ranks_is_one_version(logs: Path, store: Path, tmp_path: Path) -> None:
    """The same file on all ranks is one version with four occurrences, and each rank is told."""
    config = tmp_path / "scan7.toml"
    config.write_text("threshold = 40\n")
    with Job(logs, 4) as job:
        for run in job.runs:
            run.fact("config", path=config, tags={"energy_keV": 71.7})
    with made(logs, store) as opened:
        assert versions(opened, "config") == [(1, None, 4)]
        assert rows(opened, "select distinct rank from occurrences join writers using (writer) order by 1") == [
            (0,),
            (1,),
            (2,),
            (3,),
        ]


def test_a_source_is_one_version_over_all_runs(logs: Path, store: Path) -> None:
    """Equal content under one name is one version, whichever run declared it; other content is another one."""
    for value in (1, 1, 2):
        with one(logs) as job:
            job[0].fact("config", {"threshold": value})
    with made(logs, store) as opened:
        assert versions(opened, "config") == [(1, None, 2), (2, None, 1)]


def test_the_order_of_keys_in_a_value_is_not_its_content(logs: Path, store: Path) -> None:
    """A mapping has no order, so two ranks that built it differently share the version."""
    with Job(logs, 2) as job:
        job[0].fact("config", {"a": 1, "b": [1.5, None]})
        job[1].fact("config", {"b": [1.5, None], "a": 1})
    with made(logs, store) as opened:
        assert versions(opened, "config") == [(1, None, 2)]


def test_tags_uris_and_times_are_no_part_of_an_identity(logs: Path, store: Path) -> None:
    """They are statements about the version: all of them are kept on the one version."""
    with Job(logs, 2) as job:
        for rank, run in enumerate(job.runs):
            run.data("frames", digest="sha256:07", uri=f"s3://bucket/{rank}", tags={"rank": rank})
    with made(logs, store) as opened:
        assert versions(opened, "frames") == [(1, None, 2)]
        assert rows(opened, "select text from tags order by 1") == [("0",), ("1",)]
        assert rows(opened, "select uri from uris order by 1") == [("s3://bucket/0",), ("s3://bucket/1",)]


# what is made


def test_ranks_share_a_model_at_each_step(logs: Path, store: Path) -> None:
    """An SPMD loop makes one version for each step, to which each rank adds its own parents."""
    with Job(logs, 3) as job:
        peaks = [run.data(f"peaks/{rank}", digest=f"x:{rank}") for rank, run in enumerate(job.runs)]
        models: list[Record | None] = [None, None, None]
        for step in range(4):
            for rank, run in enumerate(job.runs):
                models[rank] = run.model(
                    "net", digest=f"w:{step}", derived_from=[peaks[rank], *filter(None, [models[rank]])]
                )
    with made(logs, store) as opened:
        assert versions(opened, "net") == [(n + 1, n, 3) for n in range(4)]
        above = {parent for child, parent in edges_of(opened) if child == "model:net@4"}
        assert above == {"model:net@3", "data:peaks/0@1", "data:peaks/1@1", "data:peaks/2@1"}
        assert not has_cycle(opened)


def test_restored_weights_are_a_new_version(logs: Path, store: Path) -> None:
    """Content that comes back is the same content, and not the same version: the graph stays without cycles."""
    with one(logs) as job:
        run = job[0]
        source = run.data("source", digest="x:0")
        a = run.model("net", digest="w:a", derived_from=source)
        b = run.model("net", digest="w:b", derived_from=a)
        run.model("net", digest="w:a", derived_from=b)
    with made(logs, store) as opened:
        assert versions(opened, "net") == [(1, 0, 1), (2, 1, 1), (3, 2, 1)]
        assert edges_of(opened) == {
            ("model:net@1", "data:source@1"),
            ("model:net@2", "model:net@1"),
            ("model:net@3", "model:net@2"),
        }
        assert count(opened, "(select distinct digest from versions where name = 'net')") == 2


def test_a_skipped_step_is_a_version_of_its_own(logs: Path, store: Path) -> None:
    """An optimiser step that changed nothing is still the next step on every rank."""
    with Job(logs, 2) as job:
        for run in job.runs:
            model = run.model("net", digest="w:0", derived_from=run.data("d", digest="x:0"))
            for _ in range(3):
                model = run.model("net", digest="w:0", derived_from=model)
    with made(logs, store) as opened:
        assert versions(opened, "net") == [(n + 1, n, 2) for n in range(4)]
        assert not has_cycle(opened)


def test_a_declaration_repeated_unchanged_joins_its_version(logs: Path, store: Path) -> None:
    """The same content of the same parents says the same thing twice."""
    with one(logs) as job:
        data = job[0].data("d", digest="x:0")
        for _ in range(3):
            job[0].model("net", digest="w:0", derived_from=data)
    with made(logs, store) as opened:
        assert versions(opened, "net") == [(1, 0, 3)]


def test_ranks_that_disagree_make_siblings(logs: Path, store: Path) -> None:
    """Other content at the same step is a sibling; a question by name is answered for all of them, with their ranks."""
    with Job(logs, 3) as job:
        for rank, run in enumerate(job.runs):
            run.model("net", digest=f"w:{rank % 2}", derived_from=run.data(f"peaks/{rank}", digest=f"x:{rank}"))
    with made(logs, store) as opened:
        assert sorted(versions(opened, "net")) in ([(1, 0, 2), (2, 0, 1)], [(1, 0, 1), (2, 0, 2)])
        answer = opened.lineage("model:net")
        assert {node.name for node in answer.nodes} == {"net", "peaks/0", "peaks/1", "peaks/2"}
        assert len(answer.others) == 1


def test_sources_of_one_name_that_differ_by_rank_are_asked_together(logs: Path, store: Path) -> None:
    """A rank need never be in a name: what came of `frames` is what came of the frames of all ranks."""
    with Job(logs, 2) as job:
        for rank, run in enumerate(job.runs):
            frames = run.data("frames", digest=f"x:{rank}")
            run.data(f"peaks/{rank}", digest=f"y:{rank}", derived_from=frames)
    with made(logs, store) as opened:
        found = {node.name for node in opened.lineage("data:frames", down=True).nodes}
        assert found == {"frames", "peaks/0", "peaks/1"}


def test_the_same_name_made_in_two_runs_is_two_versions(logs: Path, store: Path) -> None:
    """What was made belongs to its run, also if its content is equal."""
    for _ in range(2):
        with one(logs) as job:
            job[0].model("net", digest="w:0", derived_from=job[0].data("d", digest="x:0"))
    with made(logs, store) as opened:
        assert versions(opened, "net") == [(1, 0, 1), (2, 0, 1)]
        assert versions(opened, "d") == [(1, None, 2)]


def test_an_activity_makes_a_step(logs: Path, store: Path) -> None:
    """Made again by another activity is another version, though content and parents are equal."""
    with one(logs) as job:
        for _ in range(2):
            with job[0].activity("write") as activity:
                activity.data("out", digest="x:0")
    with made(logs, store) as opened:
        assert versions(opened, "out") == [(1, 0, 1), (2, 1, 1)]
        assert edges_of(opened, "wasGeneratedBy") == {
            ("data:out@1", "activity:write@1"),
            ("data:out@2", "activity:write@2"),
        }


# without content


def test_without_content_each_declaration_is_a_version(logs: Path, store: Path) -> None:
    """Nothing is taken for the same thing without a reason: not over ranks, not over runs, not within one rank."""
    with Job(logs, 2) as job:
        for run in job.runs:
            run.data("peaks")
            run.data("peaks")
    with one(logs) as job:
        job[0].data("peaks")
    with made(logs, store) as opened:
        assert len(versions(opened, "peaks")) == 5


def test_same_on_all_ranks_is_one_version(logs: Path, store: Path) -> None:
    """What the program says to be the same on all ranks is, within its run."""
    for _ in range(2):
        with Job(logs, 3) as job:
            for run in job.runs:
                run.data("grid", same_on_all_ranks=True)
    with made(logs, store) as opened:
        assert versions(opened, "grid") == [(1, 0, 3), (2, 0, 3)]


def test_steps_without_content_move_on(logs: Path, store: Path) -> None:
    """Each is a version, so each is a step: a late-bound link of one turn of a loop does not mean the others."""
    with Job(logs, 2) as job:
        for turn in range(3):
            parts = [run.data("part") for run in job.runs]
            job[0].data("whole", digest=f"x:{turn}", derived_from=parts[0].on_all_ranks())
    with made(logs, store) as opened:
        assert [step for _, step, _ in versions(opened, "part")] == [0, 0, 1, 1, 2, 2]
        for turn in range(3):
            above = opened.lineage(f"data:whole@{turn + 1}")
            assert len(above.nodes) == 3, above.tree()


# numbers and ids


def test_numbers_follow_causes_and_not_clocks(logs: Path, store: Path) -> None:
    """Numbers are dense for each kind and name, a parent's is the smaller one, and kinds do not share them."""
    with one(logs) as job:
        run = job[0]
        last = run.data("x", digest="x:0")
        run.model("x", digest="x:0")
        for step in range(1, 6):
            last = run.data("x", digest=f"x:{step}", derived_from=last)
    with made(logs, store) as opened:
        assert [n for n, _, _ in versions(opened, "x")] == [1, 1, 2, 3, 4, 5, 6]
        assert edges_of(opened) == {(f"data:x@{n + 1}", f"data:x@{n}") for n in range(1, 6)}


def test_ids_are_the_same_in_every_store(logs: Path, tmp_path: Path) -> None:
    """`id:<hex>` is a digest of the key: two stores of the same logs agree on it, whatever else they hold."""
    with one(tmp_path / "other") as job:
        job[0].data("d", digest="x:9")
    with one(logs) as job:
        job[0].model("net", digest="w:0", derived_from=job[0].data("d", digest="x:0"))
    compact(tmp_path / "other", tmp_path / "two.duckdb")
    for store in (tmp_path / "one.duckdb", tmp_path / "two.duckdb"):
        compact(logs, store)
    query = "select uid from versions where name = 'net'"
    assert rows(tmp_path / "one.duckdb", query) == rows(tmp_path / "two.duckdb", query)


def test_ids_of_kinds_of_things_never_meet() -> None:
    """An occurrence's own id, an activity's and a placeholder's differ for the same place."""
    place = ("00" * 16, 7)
    assert len({occurrence_uid(*place), activity_uid(*place), unseen_uid(place)}) == 3


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("net", (None, "net")),
        ("model:net", ("model", "net")),
        ("model:net@latest", ("model", "net")),
        ('"model:net"', (None, "model:net")),
        ("model:net@3", None),
        ("id:0f3a", None),
        ('"open', None),
    ],
)
def test_plain_names(text: str, means: tuple[str | None, str] | None) -> None:
    """A reference without a version is a name, which a name that only looks like one is not."""
    assert plain_name(text) == means


def test_a_name_with_a_colon_is_not_a_kind(logs: Path, store: Path) -> None:
    """`model:x` in text means the model x, and not data that is called `model:x`."""
    with one(logs) as job:
        run = job[0]
        run.data("model:x", digest="x:0")
        run.model("x", digest="x:1")
        run.data("model:x", digest="x:2")
        run.data("of-model", digest="x:3", derived_from="model:x")
        run.data("of-data", digest="x:4", derived_from='"model:x"')
    with made(logs, store) as opened:
        assert edges_of(opened) == {("data:of-model@1", "model:x@1"), ("data:of-data@1", "data:model:x@2")}


def test_weak_content_stands_in_for_a_large_file(
    logs: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file beyond the limit is known by size, time and inode, which is marked; a copy of it is another version."""
    monkeypatch.setattr("braid_hpc.run.contents.HASH_LIMIT", 10)
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, ns=(1, 1))
    with Job(logs, 2) as job:
        for run in job.runs:
            run.data("big", path=tmp_path / "one")
        job[0].data("big", path=tmp_path / "two")
    with made(logs, store) as opened:
        assert rows(opened, "select weak, size, occurrences from versions order by version") == [
            (True, 100, 2),
            (True, 100, 1),
        ]


# properties

PROGRAM = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 2)), st.integers(0, 5)),
    max_size=25,
)


@settings(max_examples=many(200, 10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=PROGRAM, cuts=st.sets(st.integers(0, 24), max_size=3))
def test_no_program_makes_a_version_its_own_ancestor(
    program: list[tuple[int, str, int | None, int]], cuts: set[int], tmp_path: Path
) -> None:
    """Whatever three ranks declare and derive, by handles that pass between them, the graph has no cycle.

    No declaration loses a parent, also where its version was kept apart, and however many commits there were.
    """
    folder = tmp_path / os.urandom(8).hex()
    logs, store = folder / "logs", folder / "prov.duckdb"
    handles: list[Record] = []
    stated: set[tuple[Record, Record]] = set()
    with Job(logs, 3) as job:
        for step, (rank, name, content, back) in enumerate(program):
            parents = handles[-back:] if back else []
            digest = None if content is None else f"x:{content}"
            handles.append(job[rank].data(name, digest=digest, derived_from=parents))
            stated.update((handles[-1], parent) for parent in parents)
            if step in cuts:
                compact(logs, store)
    with made(logs, store) as opened:
        assert not has_cycle(opened)
        ids = {(writer, n): i for writer, n, i in rows(opened, "select writer, sequence, id from occurrences")}
        assert len(ids) == len(handles)
        found = set(rows(opened, "select child, parent from edges where relation = 'wasDerivedFrom'"))
        assert found == {(ids[c.writer.hex(), c.sequence], ids[p.writer.hex(), p.sequence]) for c, p in stated}
        assert count(opened, "problems", "code <> 'cycle'") == 0
