"""Commands on rank logs: compact, check."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from braid_hpc.cli.cancelling import tidied_when_cancelled
from braid_hpc.cli.output import Command, emit, format_option, messages, stepper
from braid_hpc.reading.arrays import check_arrays
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.copies import join_copies
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.newer import refuse_newer, unknown_parts
from braid_hpc.reading.scratch import remove_scratch
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.times import shown_time

if TYPE_CHECKING:
    from braid_hpc.compaction.compact import Compacted

__all__ = ["check", "compact"]


@click.command(cls=Command, examples=["braid compact logs --store prov.duckdb"])
@click.argument("logs", type=click.Path(path_type=Path))
@click.option("--store", default=None, metavar="DB", help="The store; without it the one that the job named.")
@click.option("--no-digests", is_flag=True, help="Do not read the files whose digests were left to the merge.")
@click.option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write here what became of the job and its ranks, also if the merge fails; for people beside it as .txt.",
)
@click.option(
    "--group",
    default=None,
    metavar="NAME",
    help="Give the store to this group: what is there, and what later merges add, is its to read.",
)
@click.option("--alone", is_flag=True, help="Merge in this process, whatever launcher has started it.")
@click.pass_context
def compact(
    context: click.Context,
    logs: Path,
    store: str | None,
    no_digests: bool,
    summary: Path | None,
    group: str | None,
    alone: bool,
) -> None:
    """Merge the rank logs in directory LOGS into a store, each event once.

    Logs that are still written may be compacted; what comes later is taken next time. Nothing new in the logs:
    no new snapshot. Then files are read whose digests a program left to the merge.

    Under mpirun or srun the ranks share the work (with mpi4py): rank 0 commits, the others read the logs for it.
    """
    from braid_hpc.cli.launched_ranks import Place, find_place, speaking_for_all
    from braid_hpc.compaction.compact import compact as merge
    from braid_hpc.snapshots.files import discard_unfinished

    place = Place() if alone else find_place()
    if place.idle:
        return
    written = summary if place.leads else None
    with tidied_when_cancelled(discard_unfinished, remove_scratch), speaking_for_all(place, context):
        try:
            done = merge(logs, store, digests=not no_digests, group=group, progress=stepper(), comm=place.comm)
        except Exception as error:
            _summarise(written, logs, store, None, error)
            raise
    if place.leads:
        _summarise(written, logs, store, done)
        _tell(done, logs)


def _tell(done: Compacted, logs: Path) -> None:
    if not done.new:
        messages.print(f"nothing new in {logs}: {done.store} stays at snapshot {done.snapshot}", soft_wrap=True)
    else:
        messages.print(
            f"{done.store}: snapshot {done.snapshot}, {done.events:,} events of {done.writers} ranks, "
            f"{done.versions:,} versions, {done.activities:,} activities, {done.edges:,} edges, "
            f"{done.stream_rows:,} rows of streams",
            soft_wrap=True,
        )
    if done.inspected:
        counted = ", ".join(f"{count:,} {state}" for state, count in sorted(done.inspected.items()))
        messages.print(f"files whose digests were left to the merge: {counted}", soft_wrap=True)
    if done.problems:
        messages.print(
            f"{done.problems:,} problems: braid sql --store {done.store} "
            f"'select * from problems where snapshot = {done.snapshot}'",
            soft_wrap=True,
        )
    if done.unmatched:
        messages.print(
            f"messages of {done.unmatched:,} channels and communicators are not all matched: braid sql --store "
            f"{done.store} \"select * from problems where code in ('message', 'collective')\"",
            soft_wrap=True,
        )
    incomplete = [state for state in done.states.values() if not state.complete]
    incomplete += [WriterState.ABSENT] * len(done.absent)
    if incomplete:
        counted = ", ".join(f"{incomplete.count(state)} {state}" for state in sorted(set(incomplete)))
        total = len(done.states) + len(done.absent)
        messages.print(f"incomplete: {counted} of {total} logs; see 'braid check {logs}'", soft_wrap=True)


def _summarise(
    summary: Path | None, logs: Path, store: str | None, done: Compacted | None, error: Exception | None = None
) -> None:
    """Write the summary, where one is wanted."""
    if summary is not None:
        from braid_hpc.batch.summary import write_summary

        write_summary(summary, logs, store=store, done=done, error=error)


_COLUMNS = (
    "run",
    "rank",
    "writer",
    "host",
    "state",
    "events",
    "first",
    "last",
    "sealed",
    "tails",
    "torn",
    "corrupt",
    "lossy",
    "unclosed",
    "lost",
    "rejected",
    "unread",
    "faults",
)
#: What a table shows: as much as a line of a terminal holds.
_SHOWN_COLUMNS = ("run", "rank", "writer", "state", "events", "first", "last", "sealed", "tails", "lost", "rejected")


@click.command(
    cls=Command,
    examples=["braid check logs", "braid check logs --format json", "braid check --policy prov.duckdb"],
)
@click.argument("logs", type=click.Path(path_type=Path))
@click.option(
    "--policy", is_flag=True, help="LOGS is a store: whether its proposals and beamtimes are as they should be."
)
@format_option
@click.pass_context
def check(context: click.Context, logs: Path, policy: bool, form: str) -> None:
    """Verify every sum of the rank logs in directory LOGS and say what each rank's log amounts to.

    States: closed (complete), ended (complete: a forked process that was seen to exit), open (never closed: the rank
    was killed or still runs), lossy (events could not be written), torn (a part is missing), corrupt (bytes do not
    carry their sum), absent (no log of that rank).
    A log may be several of these at once; the state is the worst, and each has a column of its own. Then what is
    damaged, when events were lost, what a rank could not do in the background, what was refused, what a newer format
    added, what cannot be merged as it was meant, and which messages between ranks have no other half. Exit code 1 if
    there is any of it, or a log that is not complete.

    With --policy a store is checked: a proposal has at least one PI, a beamtime at least one PI and exactly one
    proposal. Exit code 1 if one has not.
    """
    if policy:
        _check_policy(context, logs, form)
        return
    from braid_hpc.compaction.runs import group_runs

    directories = context.with_resource(opened_logs(logs))
    for directory in directories:
        refuse_newer(directory)
    found = join_copies(_read(directories))
    grouping = group_runs({writer: log.header for writer, log in found.items()})
    rows = sorted(
        (_row(grouping.run[writer], log) for writer, log in found.items()), key=lambda row: (row[0], row[1] or 0)
    )
    rows.extend(_absent(grouping.run, found))
    _print(rows, form)
    notes = [f"{writer[:8]}: {message}" for writer, message in grouping.problems]
    notes += [f"{log.writer[:8]}: {note}" for log in found.values() for note in unknown_parts(log)]
    notes += [note for log in found.values() for note in _clock_steps(log)]
    notes += _told(found, grouping.run)
    notes += _messages(found, grouping.run)
    for note in [*(note for log in found.values() for note in _went_wrong(log)), *notes]:
        messages.print_as_is(note)
    sys.stdout.flush()
    at = {name: index for index, name in enumerate(_COLUMNS)}
    bad = [
        row
        for row in rows
        if not WriterState(row[at["state"]]).complete or row[at["lost"]] or row[at["rejected"]] or row[at["faults"]]
    ]
    if bad or notes:
        messages.print(f"{len(bad)} of {len(rows)} logs need a look", soft_wrap=True)
        context.exit(1)


def _check_policy(context: click.Context, store: Path, form: str) -> None:
    from braid_hpc.cli.ask import open_chosen

    with open_chosen(str(store)) as opened:
        found = opened.check_policy()
    columns, rows = found.rows()
    emit(columns, [(row["ref"], row["rule"], ", ".join(row["found"]), row["message"]) for row in rows], form)
    if found:
        context.exit(1)


def _print(rows: list[tuple[Any, ...]], form: str) -> None:
    """Print the rows; a table has all that a log is in one column, and a line below it for each fault."""
    if form != "table":
        emit(_COLUMNS, [(*row[:-2], _ranges(row[-2]), "; ".join(row[-1])) for row in rows], form)
        return
    found = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    # The run is not told where there is one: a line of a terminal is short.
    columns = [name for name in _SHOWN_COLUMNS if name != "run" or len({row["run"] for row in found}) > 1]
    emit(columns, [[_cell(row, name) for name in columns] for row in found], form)
    for row in found:
        whose = f"{row['writer'] or row['run']}" + (f" (rank {row['rank']})" if row["rank"] is not None else "")
        faults = row["faults"][:_SHOWN]
        if (rest := len(row["faults"]) - len(faults)) > 0:
            faults.append(f"and {rest} more, see --format json")
        if row["unread"]:
            faults.append(f"events that cannot be read: {_ranges(row['unread'])}")
        for fault in faults:
            click.echo(f"{whose}: {fault}")


def _cell(row: dict[str, Any], name: str) -> Any:
    """Return a value as a table shows it: all states in one, times to the second, the date of the last one once."""
    value = row[name]
    if name == "state":
        return _also(row)
    if name in ("first", "last") and value is not None:
        same_day = name == "last" and value[:10] == row["first"][:10]
        return f"{value[11 if same_day else 0 : 19]}Z"
    return value


def _also(row: dict[str, Any]) -> str:
    """Return the worst state, and what else the log is."""
    others = [name for name in ("corrupt", "torn", "lossy", "unclosed") if row[name]]
    if row["state"] in ("open", "absent"):
        return str(row["state"])
    return ", ".join(dict.fromkeys([row["state"], *others]))


def _ranges(unread: list[tuple[int, int]]) -> str:
    """Return ranges of sequences as text, those that touch joined."""
    joined: list[list[int]] = []
    for first, last in sorted(unread):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in joined)


def _read(directories: list[Path]) -> Iterator[WriterLog]:
    with ArrayReader() as reader:
        for directory in directories:
            log = read_writer(directory)
            check_batches(log)
            check_arrays(log, reader)
            yield log


def _row(run: str, log: WriterLog) -> tuple[Any, ...]:
    span = [shown_time(value) for value in log.span() or ()]
    return (
        run[:8],
        log.header.get("rank"),
        log.writer[:8],
        log.header.get("host"),
        str(log.state),
        log.count(),
        *(span or (None, None)),
        log.sealed,
        log.tails,
        log.torn,
        log.corrupt,
        bool(log.lost),
        log.close is None,
        sum(count for count, _, _ in log.lost),
        log.count(Code.REJECTED),
        log.unread,
        log.faults,
    )


def _absent(runs: dict[str, str], found: dict[str, WriterLog]) -> list[tuple[Any, ...]]:
    from braid_hpc.compaction.runs import absent_ranks

    return [
        (
            *(run[:8], rank, "", None, str(WriterState.ABSENT), 0, None, None, 0, 0),
            *(False, False, False, True, 0, 0, [], ["no log of this rank is here"]),
        )
        for run, rank in absent_ranks({writer: log.header for writer, log in found.items()}, runs)
    ]


#: How many problems are shown; the rest is counted.
_SHOWN = 20


def _told(found: dict[str, WriterLog], runs: dict[str, str]) -> list[str]:
    """Say what compaction would list as problems, but for references that a store may resolve."""
    from braid_hpc.compaction.extract import extract
    from braid_hpc.compaction.graph import build_graph
    from braid_hpc.compaction.known import Known
    from braid_hpc.snapshots.connect import connect_nothing

    facts = [extract(log, runs[writer], log.ranges) for writer, log in found.items()]
    with connect_nothing() as connection:
        problems = build_graph(facts, Known(connection)).problems
    counted = Counter(
        f"{problem.code}: {problem.place + ': ' if problem.place else ''}{problem.message}"
        for problem in problems
        if problem.code != "unresolved"
    )
    notes = [text + (f" ({times} times)" if times > 1 else "") for text, times in counted.most_common(_SHOWN)]
    if (rest := len(counted) - _SHOWN) > 0:
        notes.append(f"and {rest} more: braid compact, then braid sql 'from problems'")
    return notes


def _messages(found: dict[str, WriterLog], runs: dict[str, str]) -> list[str]:
    """Say which messages between ranks are not matched; what the program cancelled is told at once, and no fault."""
    from braid_hpc.compaction.told_messages import tell_messages

    told = tell_messages(found, runs)
    notes = [text for text, wrong in told if wrong]
    for text in [text for text, wrong in told if not wrong][:_SHOWN]:
        messages.print_as_is(text)
    if (rest := len(notes) - _SHOWN) > 0:
        notes[_SHOWN:] = [f"and {rest} more of messages: braid compact, then braid sql 'from problems'"]
    return notes


def _went_wrong(log: WriterLog) -> Iterator[str]:
    """Say when events were lost, and what the writer told of its own troubles, which need not have cost anything."""
    for count, first, last in log.lost:
        yield f"{log.writer[:8]}: {count} lost between {shown_time(first)} and {shown_time(last)}"
    for trouble in log.troubles:
        yield f"{log.writer[:8]}: {trouble}"


#: What two pairs of clocks may differ by without anybody having set a clock (ns).
_STEADY_NS = 1_000_000_000


def _clock_steps(log: WriterLog) -> Iterator[str]:
    """Say where somebody has set the wall clock during the run: times of events are off by that, never their order."""
    pairs = log.clock_pairs
    steps = np.diff(pairs[:, 1] - pairs[:, 0])
    for where in np.flatnonzero(np.abs(steps) > _STEADY_NS).tolist():
        way = "forth" if steps[where] > 0 else "back"
        before, after = (shown_time(int(pairs[number, 1])) for number in (where, where + 1))
        yield (
            f"{log.writer[:8]}: the wall clock was set {way} by {abs(int(steps[where])) / 1e9:.0f} s "
            f"between {before} and {after}"
        )
