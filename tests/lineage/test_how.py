"""How something was made: steps in an order of replay, with code and environment."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import polars as pl
import pytest

import braid_hpc as braid
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidWarning
from tests.jobs import Job, made, one
from tests.lineage.test_answer import workflow
from tests.ranks import RunRanks


def test_steps_of_a_workflow(tmp_path: Path) -> None:
    """Activities and derivations outside of them, each after what made its inputs; what none made is a source."""
    workflow(tmp_path / "logs", 2)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        answer = store.how("model:net")
        place = {step.ref: index for index, step in enumerate(answer.steps)}
        assert set(place) == {
            *("activity:find-peaks@1", "activity:find-peaks@2", "data:frames/0@1", "data:frames/1@1"),
            *("model:net@1", "model:net@2", "model:net@3"),
        }
        made_by = {each: step.ref for step in answer.steps for each in step.outputs}
        for step in answer.steps:
            for each in step.inputs:
                assert each in answer.sources or place[made_by[each]] < place[step.ref]
        assert answer.sources == ["fact:config@1"]
        assert answer.cycles == []
        find = next(step for step in answer.steps if step.ref == "activity:find-peaks@2")
        assert (find.inputs, find.outputs, find.rank, find.status) == (
            ("data:frames/1@1",),
            ("data:peaks/1@1",),
            1,
            "ok",
        )
        assert find.begin is not None
        assert find.end is not None
        assert find.begin <= find.end
        (run,) = answer.runs
        assert (run.job, run.size, len(run.hosts)) == ("job", 2, 1)
        assert run.run == find.run


def test_a_recorded_program_can_be_read_off(tmp_path: Path, run_ranks: RunRanks) -> None:
    """Function, parameters, nesting, script with digest, packages: of a real job on two ranks."""
    script = """
        import os
        import braid_hpc as braid

        @braid.activity
        def double(x, scale=2):
            return [x * scale]

        with braid.job("fit", log_dir="logs") as run:
            config = run.fact("config", {"n": 1})
            with run.activity("outer", used=config, params={"rank": run.rank}) as outer:
                with run.activity("inner", used=config) as inner:
                    part = inner.data(f"part/{run.rank}", digest=f"x:{run.rank}")
                result = outer.data(f"result/{run.rank}", digest=f"y:{run.rank}", derived_from=part)
        """
    run_ranks(2, script, cwd=tmp_path)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        answer = store.how("data:result/1")
        # The outer one had begun, and used what was made within it: its result is of both.
        assert {step.ref.partition("@")[0] for step in answer.steps} == {"activity:inner", "activity:outer"}
        inner = next(step for step in answer.steps if "inner" in step.ref)
        outer = next(step for step in answer.steps if "outer" in step.ref)
        assert inner.within == outer.ref
        assert (inner.rank, outer.params) == (1, {"rank": 1})
        (run,) = answer.runs
        assert run.script is not None
        assert (run.script_digest or "").startswith("blake3:")
        assert run.packages["braid_hpc"] == braid.__version__
        text = str(answer)
        for said in (run.script, 'params {"rank": 1}', f"within {outer.ref}", "<- fact:config@1", "from fact:config@1"):
            assert said in text
        plain = answer.to_dict()
        assert json.loads(json.dumps(plain)) == plain
        assert list(plain) == ["ref", "steps", "sources", "runs", "cycles", "complete", "missing"]
        assert json.loads(pl.DataFrame(answer.table())["params"].drop_nulls()[0]) == {"rank": 1}


def test_a_decorated_function_is_named(tmp_path: Path) -> None:
    @braid.activity
    def double(x: int) -> int:
        return 2 * x

    with braid.job("fit", log_dir=tmp_path / "logs"):
        double(4)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        (step,) = store.how("activity:test_a_decorated_function_is_named.<locals>.double").steps
        assert (step.function or "").endswith("double")
        assert step.params == {"x": 4}


def test_what_feeds_itself_is_told_and_not_walked_for_ever(tmp_path: Path) -> None:
    """Merging keeps what would close a cycle apart, so it is put into a store by hand here."""
    with one(tmp_path / "logs") as job:
        with job[0].activity("update", used=job[0].data("state", digest="x:1")) as activity:
            after = activity.data("state", digest="x:2")
        job[0].model("net", digest="w:1", derived_from=after)
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    folder = tmp_path / "prov.duckdb.d"
    (folder / "1.duckdb").chmod(0o644)
    with duckdb.connect(folder / "1.duckdb") as connection:
        connection.execute(
            "insert into edge_rows select p.child, c.child, 'used', c.writer, c.sequence, null, c.time, 1 "
            "from edge_rows c join edge_rows p on p.relation = 'used' where c.relation = 'wasGeneratedBy'"
        )
    (folder / "1.adjacency").unlink()
    with Store(tmp_path / "prov.duckdb") as store:
        with pytest.warns(BraidWarning, match="there is no adjacency index"):
            answer = store.how("model:net")
        assert [step.ref for step in answer.steps] == ["activity:update@1", "model:net@1"]
        assert [sorted(cycle) for cycle in answer.cycles] == [["activity:update@1", "data:state@2"]]
        assert "they feed each other" in str(answer)


def test_an_earlier_moment_has_the_steps_of_then(tmp_path: Path) -> None:
    """An activity that has begun and not ended is unfinished as of then."""
    with one(tmp_path / "logs") as job:
        with job[0].activity("slow") as activity:
            early = activity.data("early", digest="x:1")
            job[0].model("net", digest="w:1", derived_from=early)
        job[0].model("net", digest="w:2", derived_from="model:net")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        (then,) = store.sql("select epoch_ns(time) as t from versions where name = 'net' and version = 1")["t"]
        answer = store.how("model:net", as_of=then)
        assert answer.ref == "model:net@1"
        assert answer.steps[0].status == "unfinished"
        assert answer.steps[0].end is None
        assert store.how("model:net").steps[0].status == "ok"


@pytest.mark.parametrize("size", [1, 3])
def test_ties_are_broken_by_time(tmp_path: Path, size: int) -> None:
    with Job(tmp_path / "logs", size) as job:
        parts = []
        for n in range(6):
            with job[n % size].activity(f"a{9 - n}") as activity:
                parts.append(activity.data(f"p{n}", digest=f"x:{n}"))
        job[0].model("net", digest="w:1", derived_from=parts)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        refs = [step.ref for step in store.how("model:net").steps]
        assert refs == [*(f"activity:a{9 - n}@1" for n in range(6)), "model:net@1"]
