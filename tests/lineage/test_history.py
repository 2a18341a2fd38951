"""The versions of a name, in order, with what made each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prov.model import ProvDerivation

from braid_hpc.compaction.compact import compact
from braid_hpc.lineage.history import HistoryEntry, history
from braid_hpc.store.store import Store, open_store
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import Job, made, one
from tests.lineage.graphs import GRAPHS, NODES, SNAPSHOTS, TIMES, Drawn, as_store, closed, fill, holding


def test_versions_come_with_run_step_activity_and_what_they_revise(tmp_path: Path) -> None:
    """Weights that are put back are a version of their own, which revises the one before."""
    with one(tmp_path / "logs", "fit") as job:
        run, model = job[0], None
        for number in (1, 2, 1):
            with run.activity("train"):
                model = run.model("net", state={"a": np.full(3, number)}, derived_from=[model, "data:x"])
        run.data("net", digest="x:1")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        entries = store.history("model:net")
        (run_id,) = store.sql("select run from runs")["run"]
        times = store.sql("select time from versions where kind = 'model' order by version")["time"]
    assert [(e.ref, e.made_by, e.revises, e.step) for e in entries] == [
        ("model:net@1", ("activity:train@1",), (), 0),
        ("model:net@2", ("activity:train@2",), ("model:net@1",), 1),
        ("model:net@3", ("activity:train@3",), ("model:net@2",), 2),
    ]
    assert {(e.run, e.job, e.ranks, e.size, e.valid) for e in entries} == {(run_id, "fit", (), 24, True)}
    assert entries[0].digest == entries[2].digest != entries[1].digest
    assert [e.time for e in entries] == times == sorted(times)


def test_ranks_that_share_a_version_are_named(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 3) as job:
        for rank, run in enumerate(job.runs):
            run.model("net", digest=f"x:{rank // 2}", derived_from="fact:x")
        job[1].fact("x", 1)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert sorted(entry.ranks for entry in store.history("net")) == [(0, 1), (2,)]
        (fact,) = store.history("fact:x")
        assert (fact.ranks, fact.step, fact.run) == ((1,), None, store.history("net")[0].run)


def test_an_earlier_snapshot_knows_fewer(tmp_path: Path) -> None:
    """And what was not invalid then."""
    store = tmp_path / "prov.duckdb"
    for number in (1, 2):
        with one(tmp_path / f"{number}") as job:
            job[0].model("net", digest=f"x:{number}", derived_from="net" if number == 2 else None)
        compact(tmp_path / f"{number}", store)
    with open_store(store) as opened:
        opened.invalidate("net@1", cause="seed")
        assert [(e.ref, e.valid, e.revises) for e in opened.history("net")] == [
            ("model:net@1", False, ()),
            ("model:net@2", False, ("model:net@1",)),
        ]
        assert [(e.ref, e.valid) for e in opened.history("net@1", at=1)] == [("model:net@1", True)]
        assert [e.valid for e in opened.history("net", at=2)] == [True, True]


def test_what_has_no_versions(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job, job[0].activity("train"):
        pass
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        with pytest.raises(InvalidInputError, match="activity:train@1 is an activity"):
            store.history("train")
        with pytest.raises(NotFoundError):
            store.history("nothing")


def test_get_takes_a_version(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        for number in range(3):
            job[0].model("braggnn", digest=f"x:{number}")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert isinstance(store, Store)
        assert store.get("model:braggnn@2").version == 2
        with pytest.raises(NotFoundError, match="it has 1 to 3"):
            store.get("model:braggnn@4")


def test_another_library_takes_it_as_a_table(tmp_path: Path) -> None:
    """With the types of its columns, also where one has no value at all."""
    with Job(tmp_path / "logs", 2) as job:
        for run in job.runs:
            run.data("scan")
            run.data("scan", digest="x:1")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = store.history("scan")
        table = pa.table(found)
        assert [str(each) for each in table.column("ref")] == [entry.ref for entry in found]
        assert table.column_names == list(HistoryEntry.__slots__)
        assert Table(table).to_pylist() == [
            {
                **dataclasses.asdict(each),
                **{name: list(getattr(each, name)) for name in ("ranks", "made_by", "revises")},
            }
            for each in found
        ]
        assert {name: str(table.schema.field(name).type) for name in ("time", "digest", "ranks", "made_by")} == {
            "time": "timestamp[ns]",
            "digest": "string",
            "ranks": "list<item: int64>",
            "made_by": "list<item: string>",
        }
        with duckdb.connect() as connection:
            assert connection.execute("select count(*) from found").fetchone() == (len(found),)


def test_it_is_a_graph_of_what_revises_and_made_what(tmp_path: Path) -> None:
    """For NetworkX and as a PROV document, of that moment."""
    with one(tmp_path / "logs", "fit") as job:
        run, model = job[0], None
        for number in (1, 2):
            with run.activity("train"):
                model = run.model("net", digest=f"x:{number}", derived_from=[model, "data:x"])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        store.invalidate("model:net@2", cause="seed", cascade=False)
        store.retract("model:net@2", "model:net@1", cause="from scratch")
        found = store.history("net", at=1)
        assert [(node.ref, node.distance, node.valid) for node in found.nodes] == [
            ("model:net@2", 0, True),
            ("model:net@1", 0, True),
            ("activity:train@1", 1, True),
            ("activity:train@2", 1, True),
        ]
        assert set(found.to_networkx().edges(keys=True)) == {
            ("activity:train@1", "model:net@1", "wasGeneratedBy"),
            ("activity:train@2", "model:net@2", "wasGeneratedBy"),
            ("model:net@1", "model:net@2", "wasDerivedFrom"),
        }
        assert len(list(found.to_prov().get_records(ProvDerivation))) == 1
        assert "<svg" in found._repr_html_()
        now = store.history("net")
        assert not list(now.to_prov().get_records(ProvDerivation))
        assert [(node.valid, node.cause) for node in now.nodes[:2]] == [(False, "seed"), (True, None)]


def test_what_was_retracted_later_is_there_before(tmp_path: Path) -> None:
    """At the snapshot before, and as of a time before, as everywhere."""
    with one(tmp_path / "logs") as job:
        first = job[0].model("net", digest="x:1")
        job[0].model("net", digest="x:2", derived_from=first)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        store.retract("model:net@2", "model:net@1", cause="from scratch")
        (retracted,) = store.sql("select epoch_ns(time) as t from retractions")["t"]
        assert store.history("net")[1].revises == store.history("net", as_of=retracted)[1].revises == ()
        assert store.history("net", at=1)[1].revises == ("model:net@1",)
        assert store.history("net", as_of=retracted - 1)[1].revises == ("model:net@1",)


@settings(deadline=None, max_examples=40)
@given(graph=GRAPHS, at=st.integers(1, SNAPSHOTS), as_of=st.integers(1, TIMES), asked=st.integers(1, NODES))
def test_it_is_what_the_definition_says(
    judged_tables: duckdb.DuckDBPyConnection, graph: Drawn, at: int, as_of: int, asked: int
) -> None:
    """Of any moment: which versions were there, what each revises and what made it, with placeholders and retractions.

    All nodes are versions of one name here, so that edges between them revise.
    """
    fill(judged_tables, graph)
    judged_tables.execute("update version_rows set name = 'net', version = id")
    shut, times = closed(graph, at=at, as_of=as_of)
    holds = holding(graph, at=at, as_of=as_of)
    there = sorted(set(range(1, NODES + 1)) - shut)
    if times.get(asked, as_of) > as_of:
        with pytest.raises(NotFoundError, match="was not there at"):
            history(as_store(judged_tables), f"data:net@{asked}", at=at, as_of=as_of)
        return
    found = history(as_store(judged_tables), f"data:net@{asked}", at=at, as_of=as_of)

    def parents(child: int, relation: Relation) -> tuple[str, ...]:
        return tuple(f"data:net@{p}" for p in there if (child, p, relation) in holds)

    assert [(each.ref, each.revises, each.made_by) for each in found] == [
        (f"data:net@{node}", parents(node, Relation.DERIVED), parents(node, Relation.GENERATED)) for node in there
    ]
