"""One commit: what it takes, and how that is written in one transaction; from logs, or from the archive of a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from braid_hpc._version import __version__
from braid_hpc.compaction.actions import write_actions
from braid_hpc.compaction.array_copies import write_arrays
from braid_hpc.compaction.conversion import Conversion, RowKeeper
from braid_hpc.compaction.declared import settle_tables
from braid_hpc.compaction.denials import settle_denials
from braid_hpc.compaction.extract import Facts, Speaker
from braid_hpc.compaction.graph import build_graph
from braid_hpc.compaction.judgements import write_judgements
from braid_hpc.compaction.known import Known
from braid_hpc.compaction.ledger import Ledger, damage, write_writers
from braid_hpc.compaction.messages import match_messages
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.retractions import write_retractions
from braid_hpc.compaction.row_edge_store import RowEdgeTables
from braid_hpc.compaction.row_edges import Stated
from braid_hpc.compaction.same_content import link_same_content
from braid_hpc.compaction.slices import slices
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.compaction.tasks import finish_tasks, write_tasks
from braid_hpc.compaction.write import Writer

__all__ = ["Commit", "Converting", "Keeper", "write_commit", "write_table"]

Progress = Callable[[str, int, int], None]


class Keeper(RowKeeper, Protocol):
    """Is told what a commit takes of the logs, writer by writer."""

    def finish(self, commit: Commit, out: Writer) -> None:
        """Complete it: all writers were told of, and numbers were given."""


Converting = Callable[[Speaker, StreamTables, RowEdgeTables, Keeper], tuple[str, list[str]]]


@dataclass(slots=True)
class Commit:
    """What one commit takes, as far as its rows do not say it.

    Attributes
    ----------
    snapshot : int
        Its number.
    tag : str
        What its files have in their names.
    base : str or None
        Tag of the commit before it; None for the first one.
    taken : list of Speaker
        The writers that there is news of, each with what is taken of it.
    cuts : list of int
        UTC ns between the slices that it is worked off in.
    apart : dict of str to str
        Writers that stay runs of their own although they look like ranks, and why.
    arrays : list of tuple
        Rows of ``array_rows``.
    lost_arrays : list of (str, str, str)
        Writer, its run, and a sentence on an array that cannot be read.
    damage : list of str
        What of its archive cannot be read, where it is made again from there.
    committed : int
        UTC ns.
    version : str
        Of this package.
    """

    snapshot: int
    tag: str
    base: str | None
    taken: list[Speaker]
    cuts: list[int]
    apart: dict[str, str] = field(default_factory=dict)
    arrays: list[tuple[Any, ...]] = field(default_factory=list)
    lost_arrays: list[tuple[str, str, str]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    committed: int = field(default_factory=time.time_ns)
    version: str = __version__

    def counted(self, out: Writer) -> dict[str, int]:
        """Return what is added.

        Parameters
        ----------
        out : Writer
            After everything was written.

        Returns
        -------
        dict of str to int
            As the table ``snapshots`` has it, in the order of its columns.
        """
        return {
            "writers": len(self.taken),
            "events": sum(facts.taken.count for facts in self.taken),
            "versions": out.counts["versions"],
            "activities": out.counts["activity_rows"],
            "edges": out.counts["edge_rows"],
            "stream_rows": out.counts["stream rows"],
        }


def write_commit(
    out: Writer,
    commit: Commit,
    ledger: Ledger,
    keeping: Callable[[], AbstractContextManager[Keeper]],
    progress: Progress,
    *,
    converting: Converting | None = None,
    known: Known | None = None,
) -> None:
    """Write a commit within one transaction.

    Parameters
    ----------
    out : Writer
        Of this snapshot, on a file that nobody reads yet.
    commit : Commit
        What it takes.
    ledger : Ledger
        What was taken before.
    keeping : callable
        Gives the keeper that is told of everything.
    progress : callable
        As for :func:`braid_hpc.compaction.compact.compact`.
    converting : callable, optional
        Writes one writer's rows; returns the digest of what was taken, and what cannot be read. By default they are
        read here.
    known : Known, optional
        What the store holds; without it that is looked up here.
    """
    out.connection.execute("begin transaction")
    tables = StreamTables(out)
    _write_spoken(out, commit, tables, progress, known or Known(out.connection, out.snapshot))
    runs = {facts.writer: facts.run for facts in commit.taken}
    out.write_problems([Problem("run", why, runs[writer], writer) for writer, why in commit.apart.items()])
    with keeping() as keeper:
        digests = _write_streams(out, commit.taken, tables, keeper, progress, converting or _convert)
        write_arrays(out, commit.arrays)
        out.write_problems([Problem("array", fault, run, writer) for writer, run, fault in commit.lost_arrays])
        out.write_problems([Problem("archive", fault) for fault in commit.damage])
        write_writers(out, commit.taken, ledger, digests)
        # After all others, because it depends on which logs are complete; it gives numbers too.
        match_messages(out, sorted({facts.run for facts in commit.taken}))
        settle_denials(out, tables)
        keeper.finish(commit, out)
    _close_commit(out, commit)


def _close_commit(out: Writer, commit: Commit) -> None:
    about = [commit.snapshot, commit.committed, commit.version, commit.tag, *commit.counted(out).values()]
    out.connection.execute(
        "insert into snapshots (snapshot, committed, braid_version, archive, writers, events, versions, activities, "
        "edges, stream_rows) values (?, make_timestamp_ns(?), ?, ?, ?, ?, ?, ?, ?, ?)",
        about,
    )
    out.connection.execute("commit")
    out.connection.execute("checkpoint")


def _write_spoken(out: Writer, commit: Commit, tables: StreamTables, progress: Progress, known: Known) -> None:
    """Write everything but rows of streams, slice by slice: each is built on those before it as on earlier commits."""
    judging: list[Facts] = []
    retracting: list[Facts] = []
    acting: list[Facts] = []
    for done, facts in enumerate(slices(commit.taken, commit.cuts)):
        progress("resolve", done, done + 1)
        graph = build_graph(facts, known)
        out.write_graph(graph, facts, known.past)
        out.write_info(facts)
        out.write_inspections(facts)
        out.write_streams(facts, tables.place)
        write_tasks(out, facts)
        known.settle(graph)
        judging.extend(each for each in facts if each.judged)
        retracting.extend(each for each in facts if each.retracted)
        acting.extend(each for each in facts if each.acted)
    finish_tasks(out)
    link_same_content(out, known)
    write_judgements(out, judging)
    write_retractions(out, retracting)
    write_actions(out, acting)


def _write_streams(
    out: Writer,
    taken: list[Speaker],
    tables: StreamTables,
    keeper: Keeper,
    progress: Progress,
    converting: Converting,
) -> dict[str, str]:
    """Write the rows of streams and keep all rows that are taken, part by part; return the writers' digests."""
    problems: list[Problem] = []
    digests: dict[str, str] = {}
    edges = RowEdgeTables(out)
    for done, facts in enumerate(taken):
        progress("streams", done, len(taken))
        digests[facts.writer], faults = converting(facts, tables, edges, keeper)
        problems.extend(Problem("stream", fault, facts.run, facts.writer) for fault in faults)
        # Said of the log already where an earlier commit has met it, or this one was made before.
        if fresh := [fault for fault in faults if fault not in facts.log.faults]:
            damage(facts.log, fresh)
    tables.flush()
    out.write_problems(problems + settle_tables(out, tables, edges))
    edges.flush()
    return digests


def _convert(facts: Speaker, tables: StreamTables, edges: RowEdgeTables, keeper: Keeper) -> tuple[str, list[str]]:
    """Write one writer's rows; return the digest of what was taken, and what cannot be read."""
    conversion = Conversion(facts, keeper)
    for each in conversion.rows():
        if isinstance(each, Stated):
            edges.add(each)
        else:
            number, table = each
            write_table(facts, number, table, tables)
    return conversion.digest, conversion.faults


def write_table(facts: Speaker, number: int, table: pa.Table, tables: StreamTables) -> None:
    """Write rows of a writer's stream.

    Parameters
    ----------
    facts : Speaker
        The writer; what it said was read.
    number : int
        Its number of the stream.
    table : pyarrow.Table
        From :meth:`braid_hpc.compaction.conversion.Conversion.rows`.
    tables : StreamTables
        Takes them.
    """
    name, schema = facts.streams[number]
    tables.add(name, schema.columns, table, (facts.run, facts.log.header.get("rank"), facts.writer))
