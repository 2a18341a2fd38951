"""Tasks on real ranks: each does its own share, a job that was killed is taken up where it was."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import braid_hpc as braid
from tests.ranks import RunRanks

SHARES = """
import json, sys
import braid_hpc as braid
from mpi4py import MPI

@braid.task(version="1", name="cell")
def cell(number: int) -> int:
    return number * number

with braid.job("cells", store=sys.argv[1]) as run:
    mapped = cell.map({"number": list(range(24))}, comm=MPI.COMM_WORLD)
    assert list(mapped) == [at * at for at in mapped.cells]
"""

KILLED = """
import os, signal, sys, time
from pathlib import Path
import braid_hpc as braid
from braid_hpc.results import LocalResult

@braid.task(version="1", name="cell", result=LocalResult(sys.argv[2]), target="{number}.json")
def cell(number: int) -> dict:
    Path(sys.argv[3], f"ran-{number}-{os.getpid()}").touch()
    return {"square": number * number}

with braid.job("cells", store=sys.argv[1]) as run:
    for number in range(12):
        if number == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        assert cell(number)["square"] == number * number
"""


@pytest.mark.mpi_matrix
def test_ranks_divide_the_cells_and_the_next_job_runs_none(run_ranks: RunRanks, tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    for name in ("first", "second"):
        run_ranks(3, SHARES, store, env={"BRAID_LOG_DIR": str(tmp_path / name)})
        braid.compact(tmp_path / name, store)
    with braid.open(store) as opened:
        counts = "select status, count(*), count(distinct key) from task_calls group by status order by 1"
        assert [tuple(row.values()) for row in opened.sql(counts)] == [("done", 24, 24), ("skipped", 24, 24)]
        (ranks,) = opened.sql("select count(distinct rank) from tasks").to_pylist()
        assert list(ranks.values()) == [3]
        # A cell comes to the same rank each time.
        moved = (
            "select 1 from tasks t join task_skips s using (key) join writers w on w.writer = s.writer "
            "where w.rank <> t.rank"
        )
        assert len(opened.sql(moved)) == 0


def test_a_killed_job_is_taken_up_where_it_was(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Also what it had written and not yet merged is known, since its log outlived it."""
    store, staging, ran = tmp_path / "prov.duckdb", tmp_path / "staging", tmp_path / "ran"
    ran.mkdir()
    for name, at in (("first", 5), ("second", 12)):
        done = run_ranks(0, KILLED, store, staging, ran, at, env={"BRAID_LOG_DIR": str(tmp_path / name)}, check=False)
        assert done.returncode == (-signal.SIGKILL if at < 12 else 0)
        braid.compact(tmp_path / name, store)
    assert sorted(int(path.name.split("-")[1]) for path in ran.iterdir()) == list(range(12))
