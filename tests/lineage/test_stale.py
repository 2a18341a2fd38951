"""Whether something is still good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.compaction.compact import compact
from braid_hpc.lineage.stale import stale
from braid_hpc.lineage.walk import FOLLOWED
from braid_hpc.snapshots.adjacency import open_adjacency
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.store.store import Store
from tests.jobs import Job, made, one
from tests.lineage import judged
from tests.lineage.graphs import as_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A model in three steps from a configuration and scans, of which one was taken again later."""
    with one(tmp_path / "logs") as job:
        run = job[0]
        config = run.fact("config", {"n": 1})
        scan = run.data("scan", digest="s:1", derived_from=config)
        model = run.model("net", digest="w:0", derived_from=scan)
        for step in (1, 2):
            model = run.model("net", digest=f"w:{step}", derived_from=[model, scan])
        run.data("report", digest="r:1", derived_from=model)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        yield opened


def reasons(store: Store, ref: str, **then: object) -> list[tuple[str, str, str | None, tuple[str, ...]]]:
    return [
        (each.what, each.ref, each.cause or each.newer, each.way.nodes)
        for each in store.stale(ref, **then).reasons  # type: ignore[arg-type]
    ]


def test_earlier_steps_of_what_led_to_it_are_no_reason(store: Store) -> None:
    """Steps 1 and 2 are superseded by step 3, which the report was made of."""
    answer = store.stale("data:report")
    assert (answer.stale, answer.reasons, answer.complete, bool(answer)) == (False, [], True, False)
    assert str(answer) == "data:report@1: still good"


def test_a_version_that_is_not_the_newest_is_superseded(store: Store) -> None:
    assert reasons(store, "model:net@1") == [("superseded", "model:net@1", "model:net@3", ("model:net@1",))]


def test_a_newer_version_of_an_ancestor(store: Store, tmp_path: Path) -> None:
    """Of a later run, by its time; as of before, and at the snapshot before, all was good."""
    with one(tmp_path / "later") as job:
        job[0].data("scan", digest="s:2")
    compact(tmp_path / "later", store.path)
    store.refresh()
    way = ("data:report@1", "model:net@3", "data:scan@1")
    assert reasons(store, "data:report") == [("superseded", "data:scan@1", "data:scan@2", way)]
    (before,) = store.sql("select epoch_ns(time) - 1 as t from versions where name = 'scan' and version = 2")["t"]
    assert reasons(store, "data:report", as_of=before) == []
    assert reasons(store, "data:report", at=1) == []


def test_an_invalid_ancestor_with_the_way_to_it(store: Store) -> None:
    store.invalidate("data:scan", cause="the beam was off")
    way = ("data:report@1", "model:net@3", "data:scan@1")
    assert reasons(store, "data:report") == [("invalid", "data:scan@1", "the beam was off", way)]
    assert reasons(store, "fact:config") == []
    text = str(store.stale("data:report"))
    assert text.splitlines()[:3] == [
        "data:report@1: stale",
        "data:scan@1: invalid: the beam was off",
        "  data:report@1",
    ]


def test_statements_that_do_not_reach_it(store: Store) -> None:
    """What holds in spite of a statement is good; a statement on an ancestor alone is a reason all the same."""
    (statement,) = store.invalidate("data:scan", cause="the beam was off")
    store.revalidate("model:net@3", despite=statement)
    # model:net@3 holds, and so does what came of it.
    assert reasons(store, "data:report") == []
    store.invalidate("fact:config", cause="a comment was wrong", cascade=False)
    assert [each[:3] for each in reasons(store, "data:report")] == [
        ("invalid", "fact:config@1", "a comment was wrong"),
    ]


def test_a_statement_that_stops_on_the_way_is_no_reason_beside_one_that_arrives(tmp_path: Path) -> None:
    """Each is looked at by itself."""
    with one(tmp_path / "logs") as job:
        run = job[0]
        near = run.data("near", digest="x:1", derived_from=run.data("bad", digest="x:2"))
        run.data("end", digest="x:3", derived_from=[near, run.data("other", digest="x:4")])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        (statement,) = opened.invalidate("data:bad", cause="the beam was off")
        opened.revalidate("data:near", despite=statement)
        opened.invalidate("data:other", cause="noise")
        assert [each[:3] for each in reasons(opened, "data:end")] == [("invalid", "data:other@1", "noise")]


def test_every_statement_that_reaches_it_is_told(store: Store) -> None:
    """That on itself beside an earlier one on what fed it, and two on one thing; what is said twice is told once."""
    for ref, cause in (("data:scan", "off"), ("data:report", "misprint"), ("data:scan", "noise"), ("data:scan", "off")):
        store.invalidate(ref, cause=cause)
    assert sorted(each[1:3] for each in reasons(store, "data:report")) == [
        ("data:report@1", "misprint"),
        ("data:scan@1", "noise"),
        ("data:scan@1", "off"),
    ]


@settings(deadline=None, max_examples=40)
@given(
    edges=judged.EDGES,
    bads=judged.BADS,
    goods=judged.GOODS,
    at=judged.SNAPSHOT,
    as_of=judged.TIME,
    asked=judged.NODE,
    indexed=st.booleans(),
)
def test_reasons_are_what_the_definition_says(
    judged_tables: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    edges: list[judged.Edge],
    bads: list[judged.Bad],
    goods: list[judged.Good],
    at: int,
    as_of: int,
    asked: int,
    indexed: bool,
) -> None:
    """On any graph, at any snapshot and time, over the tables and over the index.

    What is not valid has a reason; what has one is not valid, but for statements on an ancestor alone.
    """
    judged.fill(judged_tables, edges, bads, goods)
    index = None
    if indexed:
        path = tmp_path_factory.mktemp("index") / "index"
        write_adjacency(judged_tables, path, 3)
        index = open_adjacency(path)
    store = as_store(judged_tables, index)
    answer = stale(store, f"data:n{asked}", at=at, as_of=as_of)
    fed = {asked}
    while ahead := {p for c, p, r, snapshot in edges if c in fed and snapshot <= at and r in FOLLOWED} - fed:
        fed |= ahead
    expected = set()
    for cause, bad, barred in judged.statements(bads, goods, at, as_of):
        if bad.node in fed and (not bad.cascade or asked in judged.reached(edges, bad, barred, at)):
            expected.add((f"data:n{bad.node}@1", cause))
    assert {(each.ref, each.cause) for each in answer.reasons} == expected
    assert len(answer.reasons) == len(expected)
    cascading = {(f"data:n{bad.node}@1", f"cause {place}") for place, bad in enumerate(bads) if bad.cascade}
    itself = {(ref, cause) for ref, cause in expected if ref == f"data:n{asked}@1"}
    assert (asked in store.judgements(at=at, as_of=as_of)) == bool(expected & (cascading | itself))


def test_an_invalidation_of_itself(store: Store) -> None:
    store.invalidate("data:report", cause="misprint")
    assert reasons(store, "data:report") == [("invalid", "data:report@1", "misprint", ("data:report@1",))]


def test_siblings_of_one_step_are_as_new_as_each_other(tmp_path: Path) -> None:
    """Ranks that made different models at one step: what came of the one is not stale because of the other."""
    with Job(tmp_path / "logs", 2) as job:
        nets = [run.model("net", digest=f"w:{rank}", derived_from="fact:c") for rank, run in enumerate(job.runs)]
        job[0].data("report", digest="r:1", derived_from=nets[0])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert len(opened.history("model:net")) == 2
        assert opened.stale("data:report").reasons == []


def test_an_answer_is_plain_values_a_table_and_a_graph(store: Store) -> None:
    store.invalidate("data:scan", cause="the <beam>")
    answer = store.stale("data:report")
    plain = answer.to_dict()
    assert list(plain) == ["ref", "stale", "reasons", "complete", "missing"]
    assert json.loads(json.dumps(plain)) == plain
    assert pa.table(answer).column("way").to_pylist() == [["data:report@1", "model:net@3", "data:scan@1"]]
    assert set(answer.to_networkx().edges()) == {("data:scan@1", "model:net@3"), ("model:net@3", "data:report@1")}
    assert "the &lt;beam&gt;" in answer._repr_html_()
