"""Which ranks' logs arrived, and in which state: from the store that took them, or from the logs where none did."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid_hpc.compaction.compact import Compacted
from braid_hpc.compaction.runs import group_runs
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.copies import join_copies
from braid_hpc.reading.survey import read_writer
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.codes import WriterState

__all__ = ["Arrived", "RunOfPart", "from_logs", "from_store", "runs_of"]

#: What a rank's log may amount to, in the words of a summary.
STATES = ("complete", "open", "lossy", "torn", "corrupt", "missing")


@dataclass(frozen=True, slots=True)
class Arrived:
    """One writer's log.

    Attributes
    ----------
    writer, run : str
        Their ids.
    state : str
        One of :class:`braid_hpc.vocabulary.codes.WriterState`.
    header : dict
        What it says; empty if it cannot be read.
    """

    writer: str
    run: str
    state: str
    header: dict[str, Any] = field(repr=False)

    @property
    def run_id(self) -> str:
        """``BRAID_RUN_ID`` of the process, or an empty text."""
        return str((self.header.get("evidence") or {}).get("run_id") or "")


@dataclass(slots=True)
class RunOfPart:
    """One run and its ranks.

    Attributes
    ----------
    run, job : str
        Its id and name.
    expected : int
        How many ranks there have to be.
    ranks : dict of str to list of int
        Ranks by the state of their logs, each of :data:`STATES`.
    workers : dict of str to int
        How many forked processes there are in each state.
    hosts : list of str
        Where it ran.
    """

    run: str
    job: str
    expected: int
    ranks: dict[str, list[int]]
    workers: dict[str, int]
    hosts: list[str]


def from_store(done: Compacted) -> list[Arrived]:
    """Read what a compaction took.

    Parameters
    ----------
    done : Compacted
        What it did.

    Returns
    -------
    list of Arrived
        The writers whose logs it read.

    Raises
    ------
    StorageError
        If the store cannot be read.
    """
    with Store(done.store) as store:
        rows = store.sql(
            "select r.writer, r.run, r.state, w.header from ranks r join writers w on r.writer = w.writer "
            "where r.writer in (select unnest($writers::varchar[]))",
            {"writers": list(done.states)},
        )
        found = [Arrived(row["writer"], row["run"], row["state"], json.loads(row["header"])) for row in rows]
    # Statements that were made beside the store are taken by every merge.
    return [each for each in found if each.header.get("job") != "statements"]


def from_logs(logs: Path) -> list[Arrived]:
    """Read the logs themselves.

    Parameters
    ----------
    logs : Path
        The directory of rank logs.

    Returns
    -------
    list of Arrived
        Its writers.

    Raises
    ------
    NotFoundError
        If there are no logs.
    FormatTooNewError
        If a log is of a newer format.
    """
    with opened_logs(logs) as directories:
        read = join_copies(read_writer(directory) for directory in directories)
    grouping = group_runs({writer: log.header for writer, log in read.items()})
    return [Arrived(writer, grouping.run[writer], str(log.state), log.header) for writer, log in read.items()]


def runs_of(arrived: Iterable[Arrived], expected: int | None) -> list[RunOfPart]:
    """Put the ranks of one part together.

    Parameters
    ----------
    arrived : iterable of Arrived
        Its writers.
    expected : int, optional
        How many ranks were asked for, where no log says it.

    Returns
    -------
    list of RunOfPart
        In the order of their names.
    """
    runs: dict[str, list[Arrived]] = defaultdict(list)
    for each in arrived:
        runs[each.run].append(each)
    found = [_one(run, members, expected) for run, members in runs.items()]
    return sorted(found, key=lambda each: (each.job, each.run))


def _one(run: str, members: list[Arrived], expected: int | None) -> RunOfPart:
    roots = [each for each in members if not each.header.get("parent")]
    sizes = [int(each.header["size"]) for each in roots if each.header.get("size")]
    size = max(sizes, default=0) or (expected if expected is not None and len(roots) <= expected else len(roots))
    ranks: dict[str, list[int]] = {state: [] for state in STATES}
    for each in roots:
        ranks[_state(each)].append(int(each.header.get("rank") or 0))
    there = {rank for each in ranks.values() for rank in each}
    ranks["missing"] = [rank for rank in range(size) if rank not in there]
    workers: dict[str, int] = defaultdict(int)
    for each in members:
        if each.header.get("parent"):
            workers[_state(each)] += 1
    job = next((str(each.header["job"]) for each in members if each.header.get("job")), "")
    hosts = sorted({str(each.header["host"]) for each in members if each.header.get("host")})
    return RunOfPart(run, job, size, {state: sorted(each) for state, each in ranks.items()}, dict(workers), hosts)


def _state(each: Arrived) -> str:
    return "complete" if WriterState(each.state).complete else each.state
