"""The ledger of what was taken from each log, and the state each log was found in."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.rows import BIGINT, INTEGER, TEXT, TIME, Rows, json_text
from braid_hpc.reading.process import ProcessEnd
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, Ending, Outcome, WriterState

__all__ = ["Ledger", "damage", "settle", "write_writers"]

#: How long a writer that is at work may take to store a row whose number it has drawn already (ns).
STORING_NS = 10_000_000_000

_OUTCOMES: dict[int, str] = {Outcome.OK: "ok", Outcome.FAILED: "failed", Outcome.EXITED: "exited"}


@dataclass(slots=True)
class Ledger:
    """What earlier commits took.

    Attributes
    ----------
    runs : dict of str to str
        Run by writer.
    headers : dict of str to dict
        Header by writer.
    last : dict of str to int
        The last sequence taken of each writer.
    holes : dict of str to Ranges
        Sequences before that one that were not there.
    states : dict of str to (str, int)
        State and number of events when a writer was last looked at.
    ends : dict of str to ProcessEnd
        How it is known that a writer's process has ended.
    damaged : dict of str to list of str
        Faults of streams; their rows are not read again.
    """

    runs: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    holes: dict[str, Ranges] = field(default_factory=dict)
    states: dict[str, tuple[str, int]] = field(default_factory=dict)
    ends: dict[str, ProcessEnd] = field(default_factory=dict)
    damaged: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: Any) -> Ledger:
        """Read the ledger of a store.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            Open on it.

        Returns
        -------
        Ledger
            Empty for a new store.
        """
        found = cls()
        for writer, run, header in connection.execute("select writer, run, header from writers").fetchall():
            found.runs[writer], found.headers[writer] = run, json.loads(header)
        for writer, last, holes in connection.execute(
            "select writer, max(last), arg_max(holes, (snapshot, last)) from ledger group by writer"
        ).fetchall():
            found.last[writer], found.holes[writer] = last, Ranges.unflat(holes)
        for writer, state, events in connection.execute(
            "select writer, arg_max(state, snapshot), arg_max(events, snapshot) from writer_states group by writer"
        ).fetchall():
            found.states[writer] = (state, events)
        for writer, how, code, seen in connection.execute(
            "select writer, process, exit_code, epoch_ns(ended_time) from writer_states where process is not null "
            "qualify row_number() over (partition by writer order by snapshot desc) = 1"
        ).fetchall():
            found.ends[writer] = ProcessEnd(Ending(how), code, seen)
        for writer, faults in connection.execute(
            "select writer, list(message order by message) from problem_rows where code = 'stream' group by writer"
        ).fetchall():
            found.damaged[writer] = faults
        return found

    def fresh(self, log: WriterLog) -> Ranges:
        """Return the sequences of a log that no commit has taken.

        Parameters
        ----------
        log : WriterLog
            As it is now.

        Returns
        -------
        Ranges
            Those behind the last one taken, and those that filled a hole.
        """
        if log.writer not in self.last:
            return log.ranges
        behind = Ranges.span(self.last[log.writer] + 1, log.ranges.last + 1)
        return log.ranges & (behind | self.holes[log.writer])

    def is_news(self, log: WriterLog) -> bool:
        """Return whether a log without new rows is in a state that the store does not know.

        Parameters
        ----------
        log : WriterLog
            As it is now.

        Returns
        -------
        bool
            False also where less is there than was taken: the store has it.
        """
        if log.writer not in self.states:
            return True
        state, events = self.states[log.writer]
        ended = log.process is not None and log.writer not in self.ends
        return (state != str(log.state) or ended) and log.ranges.count >= events

    def recall_end(self, log: WriterLog) -> None:
        """Keep to what an earlier commit knew of the end of a log's process: nobody may be able to tell from here.

        Parameters
        ----------
        log : WriterLog
            Its `process` is changed.
        """
        known, span = self.ends.get(log.writer), log.span()
        if known is None or log.close is not None or (span is not None and span[1] > known.utc_ns):
            return
        if log.process is None or (log.process.code is None and known.code is not None):
            log.process = known

    def recall_damage(self, log: WriterLog) -> None:
        """Add the damage that an earlier commit found in a log's streams: it is not looked for twice.

        Parameters
        ----------
        log : WriterLog
            Its state and faults are changed.
        """
        if faults := [fault for fault in self.damaged.get(log.writer, ()) if fault not in log.faults]:
            damage(log, faults)


def damage(log: WriterLog, faults: list[str]) -> None:
    """Note that streams of a log cannot be read.

    Parameters
    ----------
    log : WriterLog
        Its state and faults are changed.
    faults : list of str
        One sentence for each batch.
    """
    log.damage(faults, torn=all("is missing" in fault or "ends within" in fault for fault in faults))


def settle(log: WriterLog) -> None:
    """Keep of a log that is still written what lies before the first row that a thread may be storing right now.

    What a declaration means depends on those before it, so none is taken while an earlier one may still come. A row
    that does not come (its process has ended, or it is long overdue) holds nothing up.

    Parameters
    ----------
    log : WriterLog
        Its events are cut.
    """
    if log.state is not WriterState.OPEN or not log.ranges:
        return
    gaps = Ranges.span(1, log.ranges.last + 1) - log.ranges
    if not gaps:
        return
    behind = Ranges.span(int(gaps.after[0]), int(gaps.after[0]) + 1)
    (row,) = log.each(within=behind)
    if time.time_ns() - int(log.utc(row["time"])[0]) < STORING_NS and log.process is None:
        log.cut(int(gaps.first[0]))


def write_writers(rows: Rows, writers: list[Speaker], ledger: Ledger, digests: dict[str, str]) -> None:
    """Write which writers there are, what was taken of each, and its state.

    Parameters
    ----------
    rows : Rows
        Of the commit.
    writers : list of Speaker
        What is taken.
    ledger : Ledger
        What was taken before.
    digests : dict of str to str
        XXH3-128 of the check words of the rows that are taken, by writer.
    """
    rows.rows(
        "writers",
        (("writer", TEXT), ("run", TEXT), ("rank", INTEGER), ("parent", TEXT), ("header", TEXT)),
        [
            (f.writer, f.run, f.log.header.get("rank"), f.log.header.get("parent"), json_text(f.log.header))
            for f in writers
            if f.writer not in ledger.runs
        ],
    )
    times = (("begin_time", TIME), ("end_time", TIME), ("last_time", TIME))
    counts = (("events", BIGINT), ("rejected", BIGINT), ("lost", BIGINT), ("first_lost", TIME), ("last_lost", TIME))
    texts = (("writer", TEXT), ("state", TEXT), ("outcome", TEXT), ("error", TEXT))
    ends = (("process", TEXT), ("exit_code", INTEGER), ("ended_time", TIME))
    columns = (*texts, *times, *counts, ("faults", pa.list_(pa.string())), *ends)
    rows.rows("writer_states", columns, [_state(facts.log) for facts in writers])
    numbers = (("first", BIGINT), ("last", BIGINT), ("events", BIGINT), ("holes", pa.list_(pa.int64())))
    rows.rows(
        "ledger",
        (("writer", TEXT), *numbers, ("digest", TEXT)),
        [_entry(facts, ledger, digests[facts.writer]) for facts in writers if facts.taken],
    )


def _state(log: WriterLog) -> tuple[Any, ...]:
    span = log.span() or (None, None)
    ended, process = log.close is not None, log.process
    return (
        log.writer,
        str(log.state),
        _OUTCOMES.get(log.outcome & 0xFF, "ok") if ended else None,
        log.close.error if log.close is not None else None,
        span[0],
        span[1] if ended else None,
        span[1],
        log.ranges.count,
        log.count(Code.REJECTED),
        sum(count for count, _, _ in log.lost),
        min((first for _, first, _ in log.lost), default=None),
        max((last for _, _, last in log.lost), default=None),
        log.faults,
        *((None, None, None) if process is None else (str(process.how), process.code, process.utc_ns)),
    )


def _entry(facts: Speaker, ledger: Ledger, digest: str) -> tuple[Any, ...]:
    taken = facts.taken
    before, holes = ledger.last.get(facts.writer, 0), ledger.holes.get(facts.writer, Ranges.none())
    # Places below the last row that hold none yet: a thread may still be storing there.
    gaps = (holes | Ranges.span(before + 1, taken.last + 1)) - taken
    return facts.writer, int(taken.first[0]), max(taken.last, before), taken.count, gaps.flat(), digest
