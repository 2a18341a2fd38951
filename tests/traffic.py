"""Messages between ranks for tests, written down as a traced communicator does, without an MPI."""

from __future__ import annotations

import random
from typing import Any

from braid_hpc.collectors.mpi.journal import CALLS, CANCELLED, CANCELLING, MESSAGES, POSTED, RECEIVED, Journal
from braid_hpc.vocabulary.codes import Relation
from tests.jobs import Job, edges_of

ANY = -1


class Ranks:
    """Ranks that write down messages as a traced communicator does, and a network between them as MPI describes it."""

    def __init__(self, job: Job, comm: int = 7) -> None:
        self.job = job
        self.journals = [
            Journal([run.stream(*MESSAGES), run.stream(*CALLS)], comm, (rank, job.size))
            for rank, run in enumerate(job.runs)
        ]
        self.count = 0
        #: On their way, in order, by source and destination.
        self.under_way: dict[tuple[int, int], list[tuple[int, str]]] = {}
        #: Arrived at a rank and not asked for: source, tag, activity that sent it.
        self.arrived: list[list[tuple[int, int, str]]] = [[] for _ in job.runs]
        #: Posted at a rank: number and what it takes; and those that have a message now.
        self.posted: list[list[tuple[int, int, int]]] = [[] for _ in job.runs]
        self.done: list[tuple[int, int, tuple[int, int, str]]] = []
        self.truth: set[tuple[str, str]] = set()

    def activity(self, rank: int) -> Any:
        self.count += 1
        return self.job[rank].activity(f"on-{rank}-{self.count}")

    def send(self, source: int, dest: int, tag: int, size: int = 8) -> None:
        with self.activity(source) as inside:
            self.journals[source].sent(dest, tag, size, "d")
        self.under_way.setdefault((source, dest), []).append((tag, inside.name))

    def deliver(self, source: int, dest: int) -> None:
        if waiting := self.under_way.get((source, dest)):
            tag, sender = waiting.pop(0)
            for one in self.posted[dest]:
                if one[1] in (ANY, source) and one[2] in (ANY, tag):
                    self.posted[dest].remove(one)
                    self.done.append((dest, one[0], (source, tag, sender)))
                    return
            self.arrived[dest].append((source, tag, sender))

    def post(self, rank: int, source: int, tag: int) -> None:
        journal = self.journals[rank]
        number = journal.post()
        with self.activity(rank):
            journal.note(POSTED, source, tag, number)
        for message in self.arrived[rank]:
            if source in (ANY, message[0]) and tag in (ANY, message[1]):
                self.arrived[rank].remove(message)
                self.done.append((rank, number, message))
                return
        self.posted[rank].append((number, source, tag))

    def complete(self, which: int) -> None:
        rank, number, (source, tag, sender) = self.done.pop(which)
        with self.activity(rank) as inside:
            self.journals[rank].note(RECEIVED, source, tag, number, 8, "d")
        self.truth.add((f"activity:{inside.name}@1", f"activity:{sender}@1"))

    def cancel(self, rank: int, which: int) -> None:
        number, source, tag = self.posted[rank].pop(which)
        self.journals[rank].note(CANCELLING, source, tag, number)
        self.journals[rank].note(CANCELLED, source, tag, number)

    def step(self, chance: random.Random) -> None:
        """Do something that ranks and networks do."""
        one, other = chance.randrange(self.job.size), chance.randrange(self.job.size)
        match chance.randrange(6):
            case 0 | 1:
                self.send(one, other, chance.randrange(2))
            case 2:
                self.post(one, chance.choice([ANY, other]), chance.choice([ANY, 0, 1]))
            case 3:
                self.deliver(one, other)
            case 4 if self.done:
                self.complete(chance.randrange(len(self.done)))
            case 5 if self.posted[one] and not chance.randrange(3):
                self.cancel(one, chance.randrange(len(self.posted[one])))
            case _:
                pass

    def finish(self) -> None:
        for source, dest in list(self.under_way):
            while self.under_way[source, dest]:
                self.deliver(source, dest)
        while self.done:
            self.complete(0)


def informed(store: Any) -> set[tuple[str, str]]:
    return edges_of(store, str(Relation.INFORMED))
