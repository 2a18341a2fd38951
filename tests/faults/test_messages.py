"""Random traffic between ranks, of which parts come to the store at random moments."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from tests.faults.campaign import seeds
from tests.jobs import Job, deliver, digests, made, rows
from tests.traffic import Ranks, informed


@pytest.mark.slow
def test_random_traffic_gives_its_edges_in_whatever_parts_it_comes(tmp_path: Path) -> None:
    """Wildcards, cancelled receives, completion in another order; merged at once, in parts, and rebuilt."""
    for seed in seeds(30, 1):
        folder, chance = tmp_path / str(seed), random.Random(seed)
        with Job(folder / "logs", 3) as job:
            ranks = Ranks(job)
            for turn in range(180):
                ranks.step(chance)
                if turn % 80 == 79:
                    for rank in chance.sample(range(3), chance.randrange(1, 4)):
                        deliver(job.folder(rank), folder / "copies")
                    with made(folder / "copies", folder / "parts.duckdb") as store:
                        assert informed(store) <= ranks.truth
            ranks.finish()
        for rank in range(3):
            deliver(job.folder(rank), folder / "copies")
        compact(folder / "copies", folder / "parts.duckdb")
        with made(folder / "logs", folder / "whole.duckdb") as store:
            assert informed(store) == ranks.truth
            assert sum(number for (number,) in rows(store, "select messages from messages")) == len(ranks.truth)
        whole = digests(folder / "whole.duckdb", numbers=False)
        assert digests(folder / "parts.duckdb", numbers=False) == whole
        rebuild(folder / "parts.duckdb", into=folder / "again.duckdb")
        assert digests(folder / "again.duckdb", numbers=False) == whole


@pytest.mark.slow
def test_random_collective_calls_in_random_parts_give_what_all_at_once_gives(tmp_path: Path) -> None:
    """And a store that is rebuilt from its archive is the same to its numbers, without a note."""
    size = 3
    for seed in seeds(20, 1):
        folder, chance = tmp_path / str(seed), random.Random(seed)
        plan = [(chance.choice(["allreduce", "barrier", "scan"]), -1) for _ in range(20)]
        plan += [("bcast", chance.randrange(size)) for _ in range(10)]
        chance.shuffle(plan)
        with Job(folder / "logs", size) as job:
            for rank, journal in enumerate(Ranks(job).journals):
                done = 0
                while done < len(plan):
                    with job[rank].activity(f"part-{rank}-{done}"):
                        for call, root in plan[done : (done := done + chance.randrange(1, 6))]:
                            journal.call(call, root, 8)
                if rank == 1:
                    deliver(job.folder(chance.randrange(size)), folder / "copies")
                    compact(folder / "copies", folder / "parts.duckdb")
        for rank in chance.sample(range(size), size):
            deliver(job.folder(rank), folder / "copies")
            compact(folder / "copies", folder / "parts.duckdb")
        compact(folder / "logs", folder / "whole.duckdb")
        whole = digests(folder / "whole.duckdb", numbers=False)
        assert digests(folder / "parts.duckdb", numbers=False) == whole
        assert rebuild(folder / "parts.duckdb", into=folder / "again.duckdb").notes == []
        assert digests(folder / "again.duckdb") == digests(folder / "parts.duckdb")
