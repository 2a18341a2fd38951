"""Several processes hold the documents of one run, and some of them are killed; a RunEngine on each of four ranks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from tests.collectors.documents.instrument import Pair, check, folded, page, scan
from tests.faults.campaign import seeds, trial
from tests.jobs import made, rows
from tests.ranks import RunRanks

WRITER = """
import json, os, signal, sys
import braid_hpc as braid
from braid_hpc.collectors.documents import DocumentCollector
documents, until = json.load(open(sys.argv[1])), int(sys.argv[2])
run = braid.start("beamline")
collect = DocumentCollector(run)
for number, (name, document) in enumerate(documents):
    if number == until:
        os.kill(os.getpid(), signal.SIGKILL)
    collect(name, document)
"""

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


def dealt(documents: list[Pair], chance: random.Random, writers: int) -> list[list[Pair]]:
    """Deal documents to writers at random, each in an order of its own; some come twice."""
    parts: list[list[Pair]] = [[] for _ in range(writers)]
    for pair in [*documents, *chance.sample(documents, len(documents) // 5)]:
        parts[chance.randrange(writers)].append(pair)
    for part in parts:
        chance.shuffle(part)
    return parts


def test_eight_writers_of_one_run_of_which_two_are_killed(tmp_path: Path) -> None:
    """What is there is what the plain fold makes of all that was held, and what is missing is said."""
    for seed in seeds(40, 1):
        with trial(seed) as chance:
            folder = tmp_path / str(seed)
            folder.mkdir()
            run_of_one(folder, chance)


def run_of_one(folder: Path, chance: random.Random) -> None:
    whole = scan(60, streams=("primary", "dark"))
    plain = [pair for pair in whole if pair[0] == "event"]
    packed = [page(plain[at : at + 5]) for at in (0, 10, 60)]
    parts = dealt([*whole, *packed], chance, 8)
    killed = chance.sample(range(8), 2)
    held: list[Pair] = []
    environment = {**os.environ, "BRAID_RUN_ID": uuid.uuid4().hex, "BRAID_LOG_DIR": str(folder / "logs")}
    processes = []
    for rank, part in enumerate(parts):
        until = chance.randrange(len(part)) if rank in killed else -1
        held += part[:until] if rank in killed else part
        (folder / f"{rank}.json").write_text(json.dumps(part))
        command = [sys.executable, "-c", WRITER, str(folder / f"{rank}.json"), str(until)]
        processes.append(subprocess.Popen(command, env={**environment, "PMI_RANK": str(rank), "PMI_SIZE": "8"}))
    ended = [process.wait(60) for process in processes]
    assert ended == [-signal.SIGKILL if rank in killed else 0 for rank in range(8)]
    scan_uid = whole[0][1]["uid"]
    with made(folder / "logs", folder / "prov.duckdb") as store:
        found = store.documents(scan_uid)
        check(found, folded(held, scan_uid))
        assert sorted(writer["rank"] for writer in found.writers) == sorted(killed)
        assert {writer["state"] for writer in found.writers} == {"open"}


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
