"""Whether something is still good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.jobs import Job, made, one


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
