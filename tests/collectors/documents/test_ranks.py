"""A RunEngine on each of four ranks."""

from __future__ import annotations

from pathlib import Path

from tests.jobs import made, rows
from tests.ranks import RunRanks

ENGINE = """
import braid_hpc as braid
from mpi4py import MPI
from bluesky import RunEngine
from bluesky.plans import scan
from ophyd.sim import det, motor
from braid_hpc.collectors.documents import DocumentCollector
with braid.job("engines") as run:
    engine = RunEngine({}, context_managers=[])
    engine.subscribe(DocumentCollector(run))
    (uid,) = engine(scan([det], motor, 0, 1, 5), owner=f"rank {run.rank}")
    MPI.COMM_WORLD.barrier()
    print(f" {uid} ", flush=True)
"""


def test_a_run_engine_on_each_of_four_ranks(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Four scans of one job, each whole, each on its own rank."""
    printed = run_ranks(4, ENGINE, timeout=110).stdout.split()
    assert len(set(printed)) == 4
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        for uid in printed:
            found = store.documents(uid)
            assert found.whole
            assert [name for name, _ in found] == ["start", "descriptor", *["event"] * 5, "stop"]
        assert rows(store, "select ranks, status from runs") == [(4, "ok")]
        owners = rows(store, "select t.text from tags t join versions v using (id) where t.key = 'owner' order by 1")
        assert owners == [(f"rank {rank}",) for rank in range(4)]
        ranks = rows(store, 'select _rank, count(*) from stream."bluesky/primary" group by 1 order by 1')
        assert ranks == [(rank, 5) for rank in range(4)]
