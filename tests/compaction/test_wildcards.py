"""Receives of any source or tag whose end nobody saw are settled where only one message can be theirs."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

from braid_hpc.collectors.mpi.journal import CANCELLING, POSTED, RECEIVED
from braid_hpc.compaction.wildcards import Envelope, eliminate
from tests.jobs import Job, deliver, made, rows
from tests.traffic import ANY, Ranks, informed


def assignments(receives: dict[Envelope, int], left: dict[Envelope, int]) -> list[dict[Envelope, set[Envelope]]]:
    """Every way in which all receives could have taken all messages: channels by receive."""
    each = [one for one, count in receives.items() for _ in range(count)]
    able = [[c for c in left if one[0] in (-1, c[0]) and one[1] in (-1, c[1])] for one in each]
    found = []
    for chosen in product(*able):
        if all(chosen.count(channel) == count for channel, count in left.items()):
            ways: dict[Envelope, set[Envelope]] = {}
            for one, channel in zip(each, chosen, strict=True):
                ways.setdefault(one, set()).add(channel)
            found.append(ways)
    return found


def test_what_is_settled_is_so_in_every_possible_assignment() -> None:
    chance = random.Random(5)
    settled = 0
    for _ in range(400):
        channels = [(chance.randrange(3), chance.randrange(3)) for _ in range(chance.randrange(1, 6))]
        left = {channel: channels.count(channel) for channel in channels}
        receives: dict[Envelope, int] = {}
        for source, tag in channels:
            one = chance.choice([(-1, tag), (source, -1), (-1, -1)])
            receives[one] = receives.get(one, 0) + 1
        found = eliminate(receives, left)
        settled += len(found)
        every = assignments(receives, left)
        assert every
        for one, channel in found.items():
            assert all(ways[one] == {channel} for ways in every)
    assert settled > 200


def test_numbers_that_do_not_agree_settle_nothing() -> None:
    assert eliminate({(-1, 5): 1}, {(0, 5): 2}) == {}
    assert eliminate({(-1, 5): 2}, {(0, 5): 1}) == {}
    assert eliminate({(-1, 5): 1, (-1, 6): 1}, {(0, 5): 3, (0, 6): -1}) == {}
    assert eliminate({}, {}) == {}


def _halo(job: Job) -> set[tuple[str, str]]:
    """Each rank of three posts a receive of any source from each side, and nobody sees them end."""
    ranks, truth = Ranks(job), set()
    for step in range(3):
        for rank, journal in enumerate(ranks.journals):
            with job[rank].activity(f"step-{rank}-{step}"):
                for tag in (0, 1):
                    journal.note(POSTED, ANY, tag, journal.post())
                for tag, dest in ((0, (rank + 1) % 3), (1, (rank - 1) % 3)):
                    journal.sent(dest, tag, 8, "d")
                    truth.add((f"activity:step-{dest}-{step}@1", f"activity:step-{rank}-{step}@1"))
    return truth


def test_a_halo_exchange_that_was_completed_unseen_is_settled(tmp_path: Path) -> None:
    """Once the logs of all ranks are there, and not before."""
    with Job(tmp_path / "logs", 3) as job:
        truth = _halo(job)
    for rank in (0, 1):
        deliver(job.folder(rank), tmp_path / "copies")
    with made(tmp_path / "copies", tmp_path / "prov.duckdb") as store:
        assert informed(store) == set()
        assert rows(store, "select distinct state from unmatched where side = 'posted'") == [("unresolved",)]
    deliver(job.folder(2), tmp_path / "copies")
    with made(tmp_path / "copies", tmp_path / "prov.duckdb") as store:
        assert informed(store) == truth
        assert rows(store, "select distinct state from channels") == [("matched",)]
        assert rows(store, "select count(*) from problems") == [(0,)]
        assert rows(store, "select count(*) from unmatched") == [(0,)]


def test_what_could_be_two_ways_stays_unsettled_and_so_does_what_is_behind_it(tmp_path: Path) -> None:
    """A channel of its own is followed all the same."""
    with Job(tmp_path / "logs", 3) as job:
        ranks = Ranks(job)
        receiver = ranks.journals[2]
        with job[2].activity("receiver"):
            for _ in range(2):
                receiver.note(POSTED, ANY, 0, receiver.post())
            receiver.note(POSTED, ANY, 7, receiver.post())
            receiver.note(RECEIVED, 0, 0, receiver.post(), 8, "d")
        for rank in (0, 1):
            with job[rank].activity(f"sender-{rank}"):
                ranks.journals[rank].sent(2, 0, 8, "d")
        with job[0].activity("second"):
            ranks.journals[0].sent(2, 0, 8, "d")
        with job[1].activity("apart"):
            ranks.journals[1].sent(2, 7, 8, "d")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert informed(store) == {("activity:receiver@1", "activity:apart@1")}
        found = rows(store, "select source, tag, state, side, first, last, messages from unmatched order by all")
        assert found == [
            (-1, 0, "unresolved", "posted", 0, 1, 2),
            (0, 0, "unmatched", "received", 0, 0, 1),
            (0, 0, "unmatched", "sent", 0, 1, 2),
            (1, 0, "unmatched", "sent", 0, 0, 1),
        ]


def test_a_receive_that_may_have_been_cancelled_settles_nothing(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        ranks = Ranks(job)
        with job[1].activity("receiver"):
            journal = ranks.journals[1]
            for what in (POSTED, CANCELLING):
                journal.note(what, ANY, 0, journal.post())
        with job[0].activity("sender"):
            ranks.journals[0].sent(1, 0, 8, "d")
            ranks.journals[0].sent(1, 0, 8, "d")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert informed(store) == set()
