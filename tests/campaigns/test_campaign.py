"""What is there, what is missing and what can be made, against an oracle in plain Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.campaigns import Campaign
from braid_hpc.campaigns.campaign import STATES
from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.campaigns.world import STAGES, Configuration, World
from tests.faults.stores import check_rebuilt
from tests.jobs import Job, deliver, made, one, rows


def check(store: Store, world: World) -> None:
    """See that every list and every count is the oracle's."""
    campaign = Campaign(store)
    summary = {row["table"]: row for row in campaign.summary()}
    assert set(summary) == set(STAGES)
    for name in STAGES:
        for state, files in world.expected(name).items():
            assert campaign.list(state, name)["name"] == files, (name, state)
            assert summary[name][state] == len(files)
        counts = summary[name]
        assert counts["to_do"] == counts["runnable"] + counts["blocked"] + (counts["growing"] and 0)
        assert counts["total"] == counts["missing"] + counts["exists"] + counts["consumed"] + counts["archived"]


def test_a_world_is_what_its_oracle_says(tmp_path: Path) -> None:
    """Total, exists, consumed, missing, runnable, blocked of each stage, counted and listed; ranks say it in parts."""
    world = World(3)
    with Job(tmp_path / "logs", 3) as job:
        world.declare(job[0])
        world.simulate(job.runs, seed=1)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        check(store, world)
        campaign = Campaign(store)
        assert list(STAGES) == [name for name in campaign.stages if name in STAGES], (
            "what is made of files stands behind"
        )
        inputs = campaign.runnable("coherent")
        assert set(inputs["inputs"]) <= {5}, "four sinks and the configuration"
        one_sink = world.parents["coherent/0_0_0.h5"]
        found = campaign.list("to_do", "coherent").to_pylist()
        for row in found:
            parents = world.parents[row["name"]]
            assert row["consumed"] == sum(world.state.get(each) == "consumed" for each in parents)
            assert row["lacking"] == sum(not world.is_ready(each) for each in parents)
        assert len(one_sink) == 5


def test_a_summary_loads_no_pandas(tmp_path: Path) -> None:
    """It would take longer than the answer; of no tables there is a summary too, of the same columns."""
    with one(tmp_path / "logs") as job:
        job[0].stream("readings", {"x": "float64"}).append(x=1.0)
    with made(tmp_path / "logs", tmp_path / "empty.duckdb") as store:
        assert (len(Campaign(store).summary()), Campaign(store).summary().columns) == (0, ["table", *STATES])
    world = World(1)
    with one(tmp_path / "more") as job:
        world.declare(job[0])
    with made(tmp_path / "more", tmp_path / "prov.duckdb") as store:
        types = [str(each) for each in Campaign(store).summary().to_arrow().schema.types]
    assert types == ["string", *["int64"] * len(STATES)]
    program = (
        "import sys, braid_hpc as braid\nfrom braid_hpc.campaigns import Campaign\n"
        "with braid.open(sys.argv[1]) as store:\n    print(len(Campaign(store).summary()), 'pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "prov.duckdb")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.stdout.split(), done.stderr) == ([str(len(STAGES)), "False"], "")


@pytest.mark.slow
def test_exactly_the_descendants_are_stale(tmp_path: Path) -> None:
    """After one configuration is invalidated; what is made again is fresh once what it came from holds again."""
    world, store = World(3), tmp_path / "prov.duckdb"
    with one(tmp_path / "logs") as job:
        world.declare(job[0])
        for name, files in world.files.items():
            world.mark(job[0], name, "exists", files)
    with made(tmp_path / "logs", store) as opened:
        assert sum(Campaign(opened).summary()["stale"]) == 0
    with one(tmp_path / "logs") as job:
        job[0].mark(Configuration("a", 1), "invalid", cause="wrong gauge")
        world.invalid.add("a/1")
    with made(tmp_path / "logs", store) as opened:
        check(opened, world)
        stale = {row["table"]: row["stale"] for row in Campaign(opened).summary()}
        # Of one of three configurations; and both concatenations.
        assert {name: stale[name] * 3 for name in STAGES if name != "concat"} == {
            name: len(world.files[name]) for name in STAGES if name != "concat"
        }
        assert stale["concat"] == 2
        assert sum(Campaign(opened, at=1).summary()["stale"]) == 0, "not before it was said"
    with one(tmp_path / "logs") as job:
        job[0].mark(Configuration("a", 1), "valid")
        job[0].mark(STAGES["prop"], "invalid", names=["prop/2_3.h5"], cause="solver did not converge")
        world.invalid = {"prop/2_3.h5"}
    with made(tmp_path / "logs", store) as opened:
        check(opened, world)
        assert Campaign(opened).list("runnable", "prop")["name"] == ["prop/2_3.h5"]
        assert sum(Campaign(opened).summary()["runnable"]) == 1, "all below it waits"
    with one(tmp_path / "logs") as job:
        job[0].mark(STAGES["prop"], "exists", names=["prop/2_3.h5"])
    with made(tmp_path / "logs", store) as opened:
        found = {row["table"]: row for row in Campaign(opened).summary()}
        assert found["prop"]["stale"] == 0
        assert found["seqsink"]["runnable"] == SINKS
        assert found["coherent"]["blocked"] == found["coherent"]["stale"] == SINKS
    check_rebuilt(store, tmp_path / "again.duckdb")


SINKS = 4


def test_whichever_comes_first(tmp_path: Path) -> None:
    """A mark may come before the row, in another log and in another merge; what nobody declared is kept and listed."""
    store, there = tmp_path / "prov.duckdb", tmp_path / "there"
    with Job(tmp_path / "logs", 2) as job:
        job[0].mark(STAGES["src"], "exists", names=["src/0_0.h5", "src/nowhere.h5"], size=[3, 4])
        job[1].declare(
            STAGES["src"],
            dict(zip(("configuration", "s", "name"), (Configuration("a", 0), 0, ["src/0_0.h5"]), strict=True)),
        )
        deliver(job.folder(0), there)
        compact(there, store)
        deliver(job.folder(1), there)
    with made(there, store) as opened:
        assert Campaign(opened).list("exists", "src")["name"] == ["src/0_0.h5"]
        assert rows(opened, "select stream, name, size from marks where row is null order by name") == [
            ("src", "src/0_0.h5", 3),
            ("src", "src/nowhere.h5", 4),
        ]
        assert rows(opened, "select name from unplaced") == [("src/nowhere.h5",)]


def test_files_in_several_places(tmp_path: Path) -> None:
    """On disk, on tape, removed from disk: what can be read at once comes first, the newest word of each counts."""
    world = World(1)
    with one(tmp_path / "logs") as job:
        world.declare(job[0])
        run, src = job[0], STAGES["src"]
        files = world.files["src"]
        run.mark(src, "exists", names=files, size=10)
        run.mark(src, "exists", names=files[:2], place="tape", size=10)
        run.mark(src, "missing", names=files[1:3])
        run.mark(src, "growing", names=files[3:4])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        campaign = Campaign(store)
        assert campaign.items.on_tape.sum() == 2
        states = [campaign.list(state, "src")["name"] for state in ("exists", "archived", "missing", "growing")]
        assert states == [files[:1], files[1:2], files[2:4], files[3:4]]
        assert campaign.list("runnable", "src")["name"] == files[2:3], "one that is being written is left alone"
        assert campaign.list("runnable", "prop")["archived"] == [0, 1]


def test_a_tree_that_many_ranks_declare_is_one(tmp_path: Path) -> None:
    """Edges and marks of every rank are of the same files."""
    worlds = [World(1) for _ in range(3)]
    with Job(tmp_path / "logs", 3) as job:
        for world, run in zip(worlds, job.runs, strict=True):
            world.declare(run)
        worlds[0].simulate(job.runs, seed=3)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        check_lists(store, worlds[0])


def check_lists(store: Store, world: World) -> None:
    campaign = Campaign(store)
    for name in STAGES:
        for state, files in world.expected(name).items():
            assert sorted(campaign.list(state, name)["name"]) == sorted(files), (name, state)


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    """A state, a table, a table whose rows are no files."""
    with one(tmp_path / "logs") as job:
        World(1).declare(job[0])
        src = STAGES["src"]
        wrong: list[tuple[Any, str, dict[str, Any]]] = [
            (src, "gone", {"names": ["a"]}),
            (src, "exists", {}),
            (src, "exists", {"names": "src/0_0.h5"}),
            (Configuration("a", 0), "exists", {"names": ["a"]}),
            (src, "exists", {"names": ["a"], "size": ["b"]}),
            (int, "exists", {"names": ["a"]}),
        ]
        for thing, state, about in wrong:
            with pytest.raises(InvalidInputError):
                job[0].mark(thing, state, **about)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        campaign = Campaign(store)
        with pytest.raises(InvalidInputError, match="'lost' is no state of files: there are total, exists"):
            campaign.list("lost", "src")
        with pytest.raises(NotFoundError, match="no table 'source' was declared"):
            campaign.missing("source")
        with pytest.raises(InvalidInputError, match="rows of Configuration stand for no files"):
            campaign.missing(Configuration)
        assert campaign.missing("src", s__lt=2, configuration__number=0).columns[-1] == "state"
        assert set(STATES) == set(campaign.summary().columns) - {"table"}


def test_a_store_without_tables_is_empty(tmp_path: Path) -> None:
    """Nothing was declared, so there is nothing to do."""
    with braid.job("empty", log_dir=tmp_path / "logs"):
        pass
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert len(Campaign(store).summary()) == 0
        assert not np.any(Campaign(store).of_state("to_do"))
