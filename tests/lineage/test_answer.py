"""Answers: what fed something, what came of it, and how sure that is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import Job, deliver, made, one, rows


def workflow(logs: Path, size: int = 2) -> Job:
    """Configuration, frames and peaks of each rank, a model in three steps, predictions of it."""
    with Job(logs, size) as job:
        for rank, run in enumerate(job.runs):
            config = run.fact("config", {"threshold": 40})
            frames = run.data(f"frames/{rank}", digest=f"f:{rank}", derived_from=config)
            with run.activity("find-peaks", used=frames) as activity:
                peaks = activity.data(f"peaks/{rank}", digest=f"p:{rank}")
            model = run.model("net", digest="w:start", derived_from=config)
            for step in range(2):
                model = run.model("net", digest=f"w:{step}", derived_from=[model, peaks])
            run.data(f"positions/{rank}", digest=f"q:{rank}", derived_from=model)
    return job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    workflow(tmp_path / "logs")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        yield opened


def test_what_fed_a_model(store: Store) -> None:
    """Every ancestor once, by its shortest distance, through derivation, generation and use."""
    answer = store.lineage("model:net")
    assert answer.root == "model:net@3"
    assert [(node.ref, node.distance) for node in answer.nodes] == [
        ("model:net@3", 0),
        ("data:peaks/0@1", 1),
        ("data:peaks/1@1", 1),
        ("model:net@2", 1),
        ("activity:find-peaks@1", 2),
        ("activity:find-peaks@2", 2),
        ("model:net@1", 2),
        ("data:frames/0@1", 3),
        ("data:frames/1@1", 3),
        ("fact:config@1", 3),
    ]
    assert answer.complete
    assert answer.counts == {"model": 3, "data": 4, "activity": 2, "fact": 1}


def test_what_came_of_a_fact(store: Store) -> None:
    answer = store.lineage("fact:config", down=True)
    assert {node.name for node in answer.nodes if node.distance == 1} == {"frames/0", "frames/1", "net"}
    assert {"positions/0", "positions/1"} <= {node.name for node in answer.nodes}


def test_depth(store: Store) -> None:
    """0 is the thing itself; the edges are those between the nodes that are shown."""
    assert [node.ref for node in store.lineage("model:net", depth=0).nodes] == ["model:net@3"]
    near = store.lineage("model:net", depth=1)
    assert len(near.nodes) == 4
    # The edge between two of them is there although it leads from the last level that was reached.
    assert {(edge.child, edge.parent) for edge in near.edges} == {
        ("model:net@3", "model:net@2"),
        ("model:net@3", "data:peaks/0@1"),
        ("model:net@3", "data:peaks/1@1"),
        ("model:net@2", "data:peaks/0@1"),
        ("model:net@2", "data:peaks/1@1"),
    }
    assert len(store.lineage("model:net", depth=100).nodes) == len(store.lineage("model:net").nodes)
    for wrong in (-1, True, 1.5, "all"):
        with pytest.raises(InvalidInputError, match="a depth is a number from 0, or nothing for all"):
            store.lineage("model:net", depth=wrong)  # type: ignore[arg-type]


def test_the_plain_form_is_the_documented_one(store: Store) -> None:
    """Key by key, in the documented order, references as text; and it is JSON."""
    plain = store.lineage("model:net").to_dict()
    assert list(plain) == ["root", "direction", "nodes", "edges", "complete", "missing"]
    assert list(plain["nodes"][0]) == ["ref", "kind", "name", "version", "distance", "valid", "cause"]
    assert list(plain["edges"][0]) == ["child", "parent", "relation"]
    assert plain["nodes"][0] == {
        "ref": "model:net@3",
        "kind": "model",
        "name": "net",
        "version": 3,
        "distance": 0,
        "valid": True,
        "cause": None,
    }
    assert (plain["direction"], plain["complete"], plain["missing"]) == ("up", True, [])
    refs = {node["ref"] for node in plain["nodes"]}
    assert all(edge["child"] in refs and edge["parent"] in refs for edge in plain["edges"])
    assert json.loads(json.dumps(plain)) == plain


def test_an_answer_is_a_table_too(store: Store) -> None:
    answer = store.lineage("model:net")
    assert answer.table()["ref"] == [node.ref for node in answer.nodes]
    assert pl.DataFrame(answer)["distance"].max() == 3
    assert str(answer) == answer.tree()


def test_activities_have_lineages(store: Store) -> None:
    """Up to what they used, down to what they generated."""
    assert [node.ref for node in store.lineage("activity:find-peaks@1", depth=1).nodes][1:] == ["data:frames/0@1"]
    assert [node.ref for node in store.impact("activity:find-peaks@1", depth=1).nodes][1:] == ["data:peaks/0@1"]


def test_a_reference_that_names_nothing(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.lineage("model:nothing")


# how sure


def test_every_incomplete_rank_is_named(tmp_path: Path) -> None:
    """Absent, torn and open ranks of the runs in the answer; those of other runs are not."""
    logs = tmp_path / "logs"
    job = workflow(logs, 4)
    other = workflow(tmp_path / "other", 2)
    shutil.rmtree(job.folder(1))
    (tail,) = job.folder(2).glob("tail-*")
    with tail.open("r+b") as file:
        file.truncate(4096)
    shutil.rmtree(other.folder(0))
    deliver(other.folder(1), logs)
    with made(logs, tmp_path / "prov.duckdb") as opened:
        answer = opened.lineage("data:positions/3")
        assert not answer.complete
        found = [(each.rank, each.writer, each.state) for each in answer.missing]
        assert found[0][:2] == (2, job[2].writer.hex())
        assert found[1] == (1, None, "absent")
        assert len(found) == 2
        assert {each.run for each in answer.missing} == {
            run for (run,) in rows(opened, "select run from writers where writer = ?", job[3].writer.hex())
        }
        plain = answer.to_dict()
        assert plain["complete"] is False
        assert list(plain["missing"][0]) == ["run", "rank", "writer", "state", "first_lost", "last_lost"]


def test_a_rank_that_lost_events_says_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range of the losses is in the answer, in UTC."""
    logs = tmp_path / "logs"
    job = workflow(logs, 2)

    def lossy(directory: Path) -> WriterLog:
        log = read_writer(directory)
        if log.writer == job[1].writer.hex():
            log.lost = [(3, 1_700_000_000_000_000_000, 1_700_000_001_000_000_000)]
            log.state = WriterState.LOSSY
        return log

    monkeypatch.setattr("braid_hpc.compaction.compact.read_writer", lossy)
    with made(logs, tmp_path / "prov.duckdb") as opened:
        (missing,) = opened.lineage("model:net").missing
        assert (missing.rank, missing.state) == (1, "lossy")
        assert missing.first_lost == "2023-11-14T22:13:20.000000000Z"
        assert missing.last_lost == "2023-11-14T22:13:21.000000000Z"
        assert rows(opened, "select lost from runs") == [(3,)]


def test_what_came_of_it_may_be_in_damaged_runs_that_began_later(tmp_path: Path) -> None:
    """A later run whose log is not whole may hold more of the answer; an earlier one cannot."""
    logs = tmp_path / "logs"
    before = workflow(tmp_path / "before", 2)
    deliver(before.folder(0), logs)
    with one(logs) as job:
        job[0].data("scan", digest="x:0")
    after = workflow(tmp_path / "after", 2)
    deliver(after.folder(0), logs)
    with made(logs, tmp_path / "prov.duckdb") as opened:
        assert opened.lineage("data:scan").complete
        answer = opened.impact("data:scan")
        assert [(each.rank, each.state) for each in answer.missing] == [(1, "absent")]
        ((run,),) = rows(opened, "select run from writers where writer = ?", after[0].writer.hex())
        assert answer.missing[0].run == run


def test_an_earlier_snapshot_tells_what_was_known_then(tmp_path: Path) -> None:
    """Nodes, edges and the state of the ranks: all of them as of that snapshot."""
    logs, store = tmp_path / "some", tmp_path / "prov.duckdb"
    job = workflow(tmp_path / "logs", 2)
    for rank in (0, 1):
        deliver(job.folder(rank), logs)
        compact(logs, store)
    with Store(store) as opened:
        then = opened.lineage("model:net", at=1)
        assert {node.name for node in then.nodes} == {"net", "peaks/0", "find-peaks", "frames/0", "config"}
        assert [(each.rank, each.state) for each in then.missing] == [(1, "absent")]
        now = opened.lineage("model:net")
        assert now.complete
        assert len(now.nodes) == len(then.nodes) + 3


def test_a_notebook_shows_a_picture_and_the_first_rows(tmp_path: Path) -> None:
    """With names as they are and not as markup; what is not drawn and the further rows are counted."""
    with one(tmp_path / "logs") as job:
        few = job[0].data("<b>few</b>", digest="x:0")
        job[0].data("many", derived_from=[job[0].data(f"part/{n}", digest="x:0", derived_from=few) for n in range(300)])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        shown = opened.lineage("data:<b>few</b>")._repr_html_()
        assert shown.startswith("<div")
        assert "data:&lt;b&gt;few&lt;/b&gt;@1" in shown
        assert "<b>" not in shown
        shown = opened.lineage("data:many")._repr_html_()
        assert ">300 data<" in shown
        assert "302 nodes, 600 edges; 301 nodes not drawn" in shown
        assert "282 more rows" in shown


def test_relations_are_followed_as_named(store: Store) -> None:
    """A walk along derivations alone meets no activity; one that is not followed otherwise can be named."""
    kinds = {node.kind for node in store.lineage("model:net", relations="wasDerivedFrom").nodes}
    assert kinds == {"model", "data", "fact"}
    assert len(store.impact("fact:config", relations=["wasDerivedFrom", "used"]).counts) == 4
    assert [node.ref for node in store.lineage("model:net", relations="wasStartedBy").nodes] == ["model:net@3"]
    with pytest.raises(InvalidInputError, match="'informed' cannot be followed: relations are wasDerivedFrom"):
        store.impact("fact:config", relations="informed")


def test_no_name_is_a_problem(tmp_path: Path) -> None:
    """Quotes, line breaks, emoji and words of the grammar in names, from the root to the edges."""
    names = ['a "b"', "two\nlines", "🧵", "model:x@3", "x#1", "ü" * 300]
    with one(tmp_path / "logs") as job:
        last = None
        for name in names:
            last = job[0].data(name, digest="x:0", derived_from=last)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        answer = opened.lineage(f'data:"{names[-1]}"')
        assert [node.name for node in answer.nodes] == names[::-1]
        for node in answer.nodes:
            assert opened.get(node.ref).name == node.name


def test_a_parent_that_is_not_known_makes_an_answer_incomplete(tmp_path: Path) -> None:
    """A reference in text that nothing answers to is named with the rank that wrote it."""
    with braid.job("unresolved", log_dir=tmp_path / "logs") as run:
        run.model("net", digest="x:1", derived_from=["data:lost"])
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        answer = store.lineage("model:net")
        assert not answer.complete
        assert [each.state for each in answer.missing] == ["unresolved"]
        assert "named a parent that is not known" in answer.tree()


def test_the_types_of_a_table_do_not_depend_on_its_rows(tmp_path: Path) -> None:
    """What is made of the answers of many records fits together: nothing invalid, nothing missing, no row at all."""
    with Job(tmp_path / "logs", 2) as job:
        scan = job[0].data("scan", digest="s:1")
        with job[0].activity("find", used=[scan], params={"n": 1}) as find:
            find.data("peaks", digest="s:2")
        job[1].data("other", digest="s:3", derived_from=scan)
        shutil.copytree(job.folder(0), tmp_path / "some" / job.folder(0).name)
    with (
        made(tmp_path / "logs", tmp_path / "prov.duckdb") as whole,
        made(tmp_path / "some", tmp_path / "b") as open_one,
    ):
        whole.invalidate("data:other", cause="noise")
        for some, none in (
            (whole.lineage("data:other"), whole.lineage("data:peaks")),
            (whole.graph("data:other"), whole.graph("data:other", at=1)),
            (whole.why("data:other", "data:scan"), whole.why("data:peaks", "data:scan")),
            (whole.how("data:peaks"), whole.how("data:scan")),
            (whole.how("data:peaks"), whole.how("data:other")),
            (whole.where("data:other"), whole.where("data:peaks")),
            (whole.stale("data:other"), whole.stale("data:peaks")),
            (open_one.complete("data:peaks"), whole.complete("data:peaks")),
        ):
            table = pa.concat_tables([pa.table(some), pa.table(none)])
            assert table.num_rows == len(some.rows()[1]) + len(none.rows()[1])
            assert table.column_names == list(some.rows()[0])
            assert "null" not in map(str, table.schema.types)
