"""A RunEngine on each of four ranks."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.collectors.documents.instrument import (
    Pair,
    check,
    descriptor,
    event,
    folded,
    key,
    scan,
    start,
    stop,
)
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


DEALT = """
import json, os, random, sys
import braid_hpc as braid
from braid_hpc.collectors.documents import DocumentCollector
with open(sys.argv[1]) as file:
    documents = json.load(file)
with braid.job("dealt") as run, DocumentCollector(run) as collect:
    chance = random.Random(run.rank)
    mine = documents[run.rank :: run.size] + chance.sample(documents, len(documents) // 4)
    chance.shuffle(mine)
    for name, document in mine:
        collect(name, document)
    assert (collect.taken, collect.losses.total) == (len(mine), 0)
"""


def of_all_kinds() -> list[Pair]:
    """Runs within each other: one of ragged lists and wide integers, one that never stops, one that is empty."""
    outer, endless, empty = start(wide=2**90, odd=float("inf")), start(of="a process that was killed"), start()
    keys = {"ragged": key("array"), "n": key("integer"), "t": key("string")}
    first, again = descriptor(outer, keys), descriptor(outer, {**keys, "late": key()})
    data = [{"ragged": list(range(n)), "n": 2**53 + n if n % 2 else 2**70 + n, "t": "Å" * n} for n in range(6)]
    events = [event(first, n + 1, each) for n, each in enumerate(data[:4])]
    events += [event(again, n + 5, {**each, "late": n / 3}) for n, each in enumerate(data[4:])]
    inner = descriptor(endless, {"x": key()})
    never = [event(inner, n, {"x": n}) for n in range(1, 8) if n != 4]
    begun = [outer, first, *events[:3], endless, inner, *never[:4], again, *events[3:], empty, stop(empty), *never[4:]]
    return [*begun, stop(outer, {"primary": 6}), *scan(20, streams=("primary", "dark"))]


@pytest.mark.mpi_matrix
def test_the_documents_of_runs_dealt_to_four_ranks(run_ranks: RunRanks, tmp_path: Path) -> None:
    """In any order, a quarter of them twice: each run is what the plain fold makes of the list."""
    documents = of_all_kinds()
    random.Random(5).shuffle(documents)
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    run_ranks(4, DEALT, str(tmp_path / "documents.json"))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        for first in [each for name, each in documents if name == "start"]:
            found = store.documents(first["uid"])
            check(found, folded(documents, first["uid"]))
            assert found.whole == ("of" not in first)
            assert not found.writers
        assert len(rows(store, "select distinct _rank from stream.bluesky")) == 4
