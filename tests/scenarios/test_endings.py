"""Ranks that end badly, and logs that are compacted meanwhile, with each MPI of the test matrix."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.jobs import count, digests, has_cycle, made, rows
from tests.ranks import RunRanks, kill_rank, wait_for

pytestmark = pytest.mark.mpi_matrix

LOOP = """
import os, pathlib, sys, time
import braid_hpc as braid
from mpi4py import MPI
rank, folder, steps = MPI.COMM_WORLD.rank, pathlib.Path(sys.argv[1]), int(sys.argv[2])
with braid.job("fit") as run:
    config = run.fact("config", {"threshold": 40})
    model = run.model("net", digest="w:start", derived_from=config)
    stream = run.stream("losses", {"step": "int32", "loss": "float64"})
    for step in range(steps):
        with run.activity("train", used=model):
            peaks = run.data(f"peaks/{rank}", digest=f"x:{rank}:{step}")
            model = run.model("net", digest=f"w:{step}", derived_from=[model, peaks])
        stream.append(step, 1.0 / (step + 1))
        stream.extend({"step": [step] * 3000, "loss": [0.5] * 3000})
        if step == 5:
            (folder / f"pid-{rank}").write_text(f"{os.getpid()}\\n")
        while step == steps - 10 and (folder / "wait").exists():
            time.sleep(0.01)
        time.sleep(0.02)
"""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


def test_a_rank_that_is_killed_in_the_middle(run_ranks: RunRanks, logs: Path, store: Path, tmp_path: Path) -> None:
    """Everything compacts; the answer is not complete and names that rank, and whoever went down with it."""
    process = run_ranks.start(4, LOOP, tmp_path, 100_000)
    for rank in range(4):
        wait_for((tmp_path / f"pid-{rank}").exists, f"step 5 of rank {rank}")
    kill_rank(tmp_path / "pid-2")
    process.wait(60, check=False)
    done = compact(logs, store)
    assert len(done.states) == 4
    with Store(store) as opened:
        answer = opened.lineage("model:net")
        assert not answer.complete
        named = {each.rank: each for each in answer.missing}
        assert named[2].state == "open"
        assert named[2].writer is not None
        assert rows(opened, "select status from runs") == [("incomplete",)]
        # What rank 2 recorded before it died is there: six steps at least.
        assert count(opened, "versions v join occurrences o on o.id = v.id", "v.name = 'peaks/2'") >= 6
        assert not has_cycle(opened)
    assert compact(logs, store).new is False


def test_a_rank_whose_log_is_gone(run_ranks: RunRanks, logs: Path, store: Path, tmp_path: Path) -> None:
    """The whole directory of one rank, lost with its node: that rank is absent."""
    run_ranks(4, LOOP, tmp_path, 8)
    with made(logs, tmp_path / "whole.duckdb") as opened:
        assert opened.lineage("model:net").complete
        ((writer,),) = rows(opened, "select writer from ranks where rank = 1")
    shutil.rmtree(logs / writer)
    with made(logs, store) as opened:
        (missing,) = opened.lineage("model:net").missing
        assert (missing.rank, missing.writer, missing.state) == (1, None, "absent")
        assert opened.lineage("model:net").to_dict()["complete"] is False


def test_a_rank_that_fails(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Its exception is what its run ended with; its log is complete."""
    script = """
    import braid_hpc as braid
    with braid.job("fit") as run:
        run.data("d", digest="x:0")
        if run.rank == 1:
            raise ValueError("on purpose")
    """
    run_ranks(2, script, check=False)
    with made(logs, store) as opened:
        assert rows(opened, "select status from runs")[0][0] in ("failed", "incomplete")
        assert rows(opened, "select outcome, error from ranks where rank = 1") == [("failed", "ValueError: on purpose")]


def test_compaction_while_the_job_runs(run_ranks: RunRanks, logs: Path, store: Path, tmp_path: Path) -> None:
    """Again and again: the stable prefix is taken, the rest comes next time, and at the end nothing tells of it."""
    # However slow this machine is, some of it is taken before the ranks are at their end, and some after.
    (tmp_path / "wait").touch()
    process = run_ranks.start(3, LOOP, tmp_path, 60)
    wait_for(lambda: logs.exists() and len(list(logs.iterdir())) == 3, "the logs of three ranks")
    while process.pids():
        snapshots = compact(logs, store).snapshot
        if snapshots:
            (tmp_path / "wait").unlink(missing_ok=True)
        with Store(store) as opened:
            assert not has_cycle(opened)
            losses = rows(opened, "select step, count(*) from stream.losses group by 1") if snapshots else []
            assert all(found % 3001 == 0 or found % 3001 == 1 or found % 3000 == 1 for _, found in losses)
        time.sleep(0.05)
    process.wait(30)
    assert compact(logs, store).snapshot >= 2
    compact(logs, tmp_path / "whole.duckdb")
    assert digests(store, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)
    assert rows(store, "select count(*), count(distinct (_writer, _row)) from stream.losses") == [(3 * 60 * 3001,) * 2]
    with Store(store) as opened:
        assert opened.lineage("model:net").complete


def test_ranks_that_start_late(run_ranks: RunRanks, logs: Path, store: Path, tmp_path: Path) -> None:
    """Compacted when only some ranks have begun: the others join their run."""
    script = """
    import pathlib, sys, time
    import braid_hpc as braid
    from mpi4py import MPI
    rank, folder = MPI.COMM_WORLD.rank, pathlib.Path(sys.argv[1])
    if rank:
        while not (folder / "go").exists():
            time.sleep(0.01)
    with braid.job("fit") as run:
        run.model("net", digest="w:0", derived_from=run.data(f"d/{rank}", digest=f"x:{rank}"))
        if not rank:
            (folder / "begun").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    """
    process = run_ranks.start(3, script, tmp_path)
    wait_for((tmp_path / "begun").exists, "the beginning of rank 0")
    with made(logs, store) as opened:
        assert sorted((each.rank, each.state) for each in opened.lineage("model:net").missing) == [
            (0, "open"),
            (1, "absent"),
            (2, "absent"),
        ]
    (tmp_path / "go").touch()
    process.wait(60)
    with made(logs, store) as opened:
        assert opened.lineage("model:net").complete
        assert rows(opened, "select ranks, status from runs") == [(3, "ok")]
    compact(logs, tmp_path / "whole.duckdb")
    assert digests(store, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)


def test_a_log_directory_that_cannot_be_written(run_ranks: RunRanks) -> None:
    """The program runs on and says once on each rank why nothing is recorded; under BRAID_STRICT it ends."""
    script = """
    import braid_hpc as braid
    with braid.job("fit") as run:
        run.data("d", digest="x:0")
    print("done", bool(run))
    """
    done = run_ranks(2, script, env={"BRAID_LOG_DIR": "/proc/nowhere", "BRAID_STRICT": "0"})
    assert done.stdout.count("done False") == 2
    assert done.stderr.count("braid: job 'fit' is not recorded on this rank: ") == 2
    assert "Traceback" not in done.stderr
    strict = run_ranks(1, script, env={"BRAID_LOG_DIR": "/proc/nowhere"}, check=False)
    assert strict.returncode != 0
    assert "/proc/nowhere" in strict.stderr
