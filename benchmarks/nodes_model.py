"""What a job on very many nodes comes to: bytes, files, operations and seconds, from rates and a model of a site.

Nothing is measured here, and nothing but arithmetic is done. Where two things could go on at once and it is not known
that they do, their times are added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

#: What a piece of a bundle adds: three blocks of 512 bytes and half a block of filling (bundle-format.md).
PIECE_BYTES = 1_792
#: Pieces that each log makes even in one round: header, tail, sums, batches, once each.
PIECES = 4
#: Bytes that a further round brings again of a tail: half a piece of rows and one of payloads (bundle-format.md).
AGAIN_BYTES = 65_536
#: Operations of metadata for a log that lies straight on a parallel file system, beside one for each file: making the
#: directory, writing the header aside and renaming it, and removing a sealed tail (log-format.md).
LOG_OPERATIONS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """What runs."""

    nodes: int = 10_000
    ranks_per_node: int = 128
    events_per_second: float = 1.0
    hours: float = 12.0
    #: Seconds between two rounds of shipping; 0: once, when the job has ended.
    ship_every: float = 0.0

    @property
    def ranks(self) -> int:
        """Ranks of all nodes: each has a log."""
        return self.nodes * self.ranks_per_node

    @property
    def seconds(self) -> float:
        """How long it runs."""
        return self.hours * 3600

    @property
    def events(self) -> float:
        """Events of all ranks in all the time."""
        return self.ranks * self.events_per_second * self.seconds


@dataclass(frozen=True, slots=True)
class Site:
    """What the machine is assumed to have; all of it can be given. Where each comes from: :data:`SOURCES`."""

    creates_per_second: float = 50_000.0
    writes_per_second: float = 1_000_000.0
    client_gb_per_second: float = 2.0
    all_gb_per_second: float = 1_000.0
    local_gb_per_second: float = 2.0
    merging_ranks: int = 32
    stores: int = 1


SOURCES = {
    "creates_per_second": "metadata operations a second of the parallel file system, all servers together. Assumed; "
    "a vendor measured about 15,000 file creations a second with files over 24 targets (Dell Storage for HPC with "
    "Intel Enterprise Edition for Lustre, white paper, figure 12), Amazon FSx for Lustre offers 1,500 to 192,000",
    "writes_per_second": "small writes a second that it takes from all clients together. Assumed",
    "client_gb_per_second": "GB a second between one node and the parallel file system. Assumed",
    "all_gb_per_second": "GB a second of the parallel file system for all nodes together. Assumed",
    "local_gb_per_second": "GB a second of a node's own disk. Assumed: one NVMe drive",
    "merging_ranks": "ranks that share one merge, all on one node; chosen",
    "stores": "stores that the logs are merged into, each by ranks of its own node, all at once; chosen",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What something takes: anyhow, for each event, and for each log."""

    anyhow: float = 0.0
    event: float = 0.0
    log: float = 0.0

    def of(self, events: float, logs: float) -> float:
        """Return it for so many events in so many logs."""
        return self.anyhow + self.event * events + self.log * logs


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured: seconds are of CPU time, memory is MiB."""

    #: Bytes of a log while it is written, and those of them that are not the empty part of its tail.
    log_bytes: Cost
    files: float
    #: Of the rank that commits, and of all ranks together.
    first: Cost
    all: Cost
    memory: Cost
    store_bytes: Cost
    #: What ranks write for each other, with the store.
    parts_bytes: Cost
    #: Microseconds of CPU time that an event costs a rank, where there are few ranks and where there are many.
    record: tuple[float, float]
    #: Events a second that what all ranks share takes at best, by its name.
    shared: Mapping[str, float] = field(default_factory=dict)
    #: The most events, and the most logs, of any merge that the costs are fitted to.
    fitted: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What it comes to. Bytes, files, operations, seconds, MiB."""

    node_bytes: float
    node_files: float
    node_cores: float
    shipped_bytes: float
    shipped_files: float
    ship_seconds: float
    read_seconds: float
    convert_seconds: float
    commit_seconds: float
    move_seconds: float
    memory: float
    store_bytes: float

    @property
    def merge_seconds(self) -> float:
        """The merge alone."""
        return self.read_seconds + self.convert_seconds + self.commit_seconds + self.move_seconds

    @property
    def until_asked(self) -> float:
        """From the end of the job until the store, or the last of the stores, can be asked."""
        return self.ship_seconds + self.merge_seconds


def answer(job: Job, site: Site, rates: Rates) -> Answer:
    """Return what a job comes to with logs on the nodes, bundles, and stores that ranks share the merge of."""
    each = job.events / job.nodes
    node_bytes = rates.log_bytes.of(each, job.ranks_per_node)
    rounds = max(1, math.ceil(job.seconds / job.ship_every)) if job.ship_every else 1
    new = rates.log_bytes.event * each + job.ranks_per_node * PIECES * PIECE_BYTES
    shipped = new
    if rounds > 1:
        # Brought first as a tail and later as a batch; and rounds in which a rank was silent bring nothing.
        busy = min(1.0, job.events_per_second * job.ship_every)
        again = busy * (rounds - 1) * (AGAIN_BYTES + PIECES * PIECE_BYTES)
        shipped = new + rates.log_bytes.event * each + job.ranks_per_node * again
    # What is left to ship when the job has ended; all is written, and read again where it arrived.
    late = shipped / rounds
    speed = min(site.client_gb_per_second, site.all_gb_per_second / job.nodes) * 1e9
    ship = job.nodes / site.creates_per_second + 2 * late / speed
    events, logs, bundles = job.events / site.stores, job.ranks / site.stores, job.nodes / site.stores
    others = max(1, site.merging_ranks - 1)
    every = shipped * bundles
    fast = min(site.client_gb_per_second, site.all_gb_per_second / site.stores) * 1e9
    unpacked = new * bundles / (site.local_gb_per_second * 1e9)
    beside = rates.all.of(events, logs) - rates.first.of(events, logs) if site.merging_ranks > 1 else 0.0
    moved = rates.store_bytes.of(events, logs) + rates.parts_bytes.of(events, logs)
    return Answer(
        node_bytes=node_bytes,
        node_files=rates.files * job.ranks_per_node,
        node_cores=job.ranks_per_node * job.events_per_second * rates.record[1] * 1e-6,
        shipped_bytes=shipped * job.nodes,
        shipped_files=job.nodes,
        ship_seconds=ship,
        read_seconds=every / fast + unpacked + bundles / site.creates_per_second,
        convert_seconds=max(0.0, beside) / others,
        commit_seconds=rates.first.of(events, logs),
        move_seconds=moved / fast,
        memory=rates.memory.of(events, logs),
        store_bytes=rates.store_bytes.of(job.events, job.ranks),
    )


def most_events_a_second(job: Job, site: Site, rates: Rates) -> float:
    """Return at how many events a second of a rank a merge takes as long as the job: beyond it merges fall behind."""
    one, two = (answer(replace(job, events_per_second=rate), site, rates).merge_seconds for rate in (0.0, 1.0))
    return max(0.0, (job.seconds - one) / (two - one))


@dataclass(frozen=True, slots=True)
class Straight:
    """The same logs straight on the parallel file system: operations, and seconds in which nothing else is done."""

    files: float
    operations: float
    begin_seconds: float
    #: Small writes a second, as a part of what the file system takes.
    writes: float


def straight(job: Job, site: Site, rates: Rates) -> Straight:
    """Return what logs come to that lie on the parallel file system, where each event is a write (log-format.md)."""
    operations = job.ranks * (rates.files + LOG_OPERATIONS)
    return Straight(
        files=job.ranks * rates.files,
        operations=operations,
        begin_seconds=operations / site.creates_per_second,
        writes=job.ranks * job.events_per_second / site.writes_per_second,
    )


def behind(job: Job, rate: float) -> tuple[float, float]:
    """Return how many times as much as it takes one shared database is offered, and the seconds it needs for all."""
    return job.ranks * job.events_per_second / rate, job.events / rate


def sensitivity(job: Job, site: Site, rates: Rates) -> dict[str, tuple[float, float]]:
    """Return by what factor the time until the store can be asked changes with half and with twice of each input."""
    whole = answer(job, site, rates).until_asked
    found = {}
    for name, change in _changes(job, site, rates).items():
        found[name] = change(0.5) / whole, change(2.0) / whole
    return found


def _changes(job: Job, site: Site, rates: Rates) -> dict[str, Any]:
    def of_job(name: str) -> Any:
        return lambda by: answer(replace(job, **{name: _times(getattr(job, name), by)}), site, rates).until_asked

    def of_site(name: str) -> Any:
        return lambda by: answer(job, replace(site, **{name: _times(getattr(site, name), by)}), rates).until_asked

    def of_rates(name: str, part: str) -> Any:
        def changed(by: float) -> float:
            cost: Cost = getattr(rates, name)
            other = replace(cost, **{part: getattr(cost, part) * by})
            given = {name: other}
            if name == "first":
                # What the others do stays what it is.
                given["all"] = replace(
                    rates.all, **{part: getattr(rates.all, part) + getattr(other, part) - getattr(cost, part)}
                )
            return answer(job, site, replace(rates, **given)).until_asked

        return changed

    return {
        **{each.name: of_job(each.name) for each in fields(Job) if each.name != "ship_every"},
        **{each.name: of_site(each.name) for each in fields(Site)},
        "CPU of an event in the rank that commits": of_rates("first", "event"),
        "CPU of a log in the rank that commits": of_rates("first", "log"),
        "bytes of an event in a log": of_rates("log_bytes", "event"),
        "bytes of an event in a store": of_rates("store_bytes", "event"),
        "bytes of an event between ranks": of_rates("parts_bytes", "event"),
    }


def _times(value: float, by: float) -> float:
    return max(1, round(value * by)) if isinstance(value, int) else value * by
