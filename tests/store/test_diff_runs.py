"""What two runs differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.differences import Comparison, FactDifference
from braid_hpc.store.store import Store
from tests.jobs import Job, one


def fit(logs: Path, *, threshold: int, name: str, weight: float) -> None:
    with Job(logs, 2, name=name) as job:
        for rank, run in enumerate(job.runs):
            config = run.fact("config", {"threshold": threshold})
            same = run.fact("geometry", {"distance": 1.0})
            with run.activity("find", used=[config, same], params={"threshold": threshold, "rank": rank}) as activity:
                activity.data(f"peaks/{rank}", digest="p:0")
            if rank == 0:
                run.model("net", state={"w": np.full(4, weight), "frozen": np.ones(3)}, derived_from=config)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    tmp_path = tmp_path_factory.mktemp("runs")
    fit(tmp_path / "a", threshold=40, name="before", weight=1.0)
    fit(tmp_path / "b", threshold=50, name="after", weight=3.0)
    for logs in ("a", "b"):
        compact(tmp_path / logs, tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        yield opened


def test_parameters_inputs_and_what_was_made(store: Store) -> None:
    found = store.diff("run:before", "run:after")
    assert isinstance(found, Comparison)
    facts = {(fact.what, fact.key): (fact.before, fact.after) for fact in found.facts}
    assert facts["params", "find.threshold"] == (40, 50)
    assert ("params", "find.rank") not in facts
    assert facts["input", "fact:config"] == ("fact:config@1", "fact:config@2")
    assert ("input", "fact:geometry") not in facts
    assert facts["environment", "job"] == ("before", "after")
    assert ("environment", "python") not in facts
    assert facts["output", "model:net"][0] != facts["output", "model:net"][1]
    assert ("output", "data:peaks/0") not in facts
    (array,) = found.arrays
    assert (array.name, array.norm, array.differing) == ("model:net w", 4.0, 4)
    assert "fact:config@1" in found.only_a
    assert "fact:config@2" in found.only_b
    assert found.shared == ("fact:geometry@1",)
    assert found.shared_count == 1


def test_a_run_and_itself_do_not_differ(store: Store) -> None:
    same = store.diff("run:before", "run:before")
    assert not same
    assert (same.facts, same.arrays, same.only_a, same.only_b) == ((), (), (), ())
    assert "the same facts" in str(same)


def test_the_other_way_round_is_the_mirror(store: Store) -> None:
    there, back = store.diff("run:before", "run:after"), store.diff("run:after", "run:before")
    assert [(f.what, f.key, f.after, f.before) for f in there.facts] == [
        (f.what, f.key, f.before, f.after) for f in back.facts
    ]
    assert (there.only_a, there.only_b) == (back.only_b, back.only_a)


def test_an_answer_is_text_plain_values_and_a_table(store: Store) -> None:
    found = store.diff("run:before", "run:after")
    text = str(found)
    for said in ("params find.threshold: 40 -> 50", "changed model:net w", "only declared in", "+ fact:config@2"):
        assert said in text
    plain = found.to_dict()
    assert json.loads(json.dumps(plain))["facts"][0]["what"]
    table = pa.table(found)
    assert table.num_rows == len(found.facts) + len(found.arrays)
    assert table.column_names == ["what", "key", "before", "after"]
    assert "<td>find.threshold</td><td>40</td><td>50</td>" in found._repr_html_()


def test_activities_are_compared_with_what_fed_them(store: Store) -> None:
    found = store.diff("activity:find@1", "activity:find@3")
    assert isinstance(found, Comparison)
    facts = {(fact.what, fact.key): (fact.before, fact.after) for fact in found.facts}
    assert facts["params", "threshold"] == (40, 50)
    assert facts["input", ""] == (
        ["fact:config@1", "fact:geometry@1"],
        ["fact:config@2", "fact:geometry@1"],
    )
    assert (found.shared, found.shared_count) == (("fact:geometry@1",), 1)
    assert set(found.only_a) == {"activity:find@1", "fact:config@1"}
    # Two of one run, on other ranks.
    ranks = {f.key: (f.before, f.after) for f in store.diff("activity:find@1", "activity:find@2").facts}
    assert ranks["rank"] == (0, 1)
    assert "job" not in ranks


def test_versions_are_compared_with_what_fed_them(store: Store) -> None:
    """And one name at two snapshots."""
    found = store.diff("net@1", "net@2")
    assert set(found.only_a) == {"model:net@1", "fact:config@1"}
    assert set(found.only_b) == {"model:net@2", "fact:config@2"}
    moved = store.diff("net", "net", at=(1, 2))
    assert (moved.a, moved.b) == ("model:net@1", "model:net@2")
    assert moved.facts == found.facts


def test_what_was_said_later_is_seen_by_snapshot(tmp_path: Path) -> None:
    for at, tags in enumerate(({"n": 1}, {"n": 1, "good": True})):
        with one(tmp_path / str(at)) as job:
            job[0].fact("config", {"threshold": 40}, tags=tags)
        compact(tmp_path / str(at), tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        found = opened.diff("config", "config", at=(1, 2))
        assert found.facts == (FactDifference("tag", "good", None, True),)


def test_what_only_one_run_did_or_made_differs_in_what_is_there(tmp_path: Path) -> None:
    """An activity that is no function has no code that could differ; what has no digest was made all the same."""
    for name in ("before", "after"):
        with one(tmp_path / "logs", name) as job, job[0].activity("both"):
            if name == "after":
                with job[0].activity("extra") as extra:
                    extra.data("made", same_on_all_ranks=True)
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        for there, back in (("before", "after"), ("after", "before")):
            found = opened.diff(f"run:{there}", f"run:{back}")
            assert all(repr(fact.before) != repr(fact.after) for fact in found.facts)
            assert "nothing -> nothing" not in str(found)
        facts = {(fact.what, fact.key): (fact.before, fact.after) for fact in found.facts}
        assert facts["count", "activity:extra"] == (1, None)
        assert facts["output", "data:made"] == ("without a digest", None)
        assert not any(what == "code" for what, _ in facts)
