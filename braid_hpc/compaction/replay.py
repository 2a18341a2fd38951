"""Commits again from their archives, one after the other, into a file that nobody reads yet."""

from __future__ import annotations

import contextlib
import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from braid_hpc.compaction.archived import ArchivedCommit, ArchivedWriter, Batches, read_commit, read_ipc
from braid_hpc.compaction.array_check import lost_arrays
from braid_hpc.compaction.commit import Commit, write_commit
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.ledger import Ledger
from braid_hpc.compaction.published import Published, archive_of
from braid_hpc.compaction.write import Writer
from braid_hpc.reading.events import Events
from braid_hpc.reading.parts import Part
from braid_hpc.reading.process import ProcessEnd
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.codes import Ending, WriterState
from braid_hpc.vocabulary.columns import BATCH_PLACE
from braid_hpc.vocabulary.errors import CorruptLogError
from braid_hpc.vocabulary.payloads import Close

__all__ = ["Before", "Replay", "log_of"]


@dataclass(slots=True)
class Before:
    """What earlier commits took of a writer.

    Attributes
    ----------
    parts : list of Part
        Where its rows are.
    notes : Events
        Those that tell of the log itself.
    found : Ranges
        The sequences of the rows that verify.
    damage : list of str
        A sentence for each damage of their archives.
    """

    parts: list[Part] = field(default_factory=list)
    notes: Events = field(default_factory=Events.empty)
    found: Ranges = field(default_factory=Ranges.none)
    damage: list[str] = field(default_factory=list)


class Replay:
    """Writes commits anew.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a file with the tables of a store, and nothing in them.
    files : StoreFiles
        Of the store whose archive is read.
    progress : callable
        As for :func:`braid_hpc.compaction.compact.compact`.

    Attributes
    ----------
    done : int
        How many commits were written.
    damage : list of str
        What of their archives cannot be read, a sentence for each.
    notes : list of str
        What else a person should know.
    counts : Counter
        What all commits added.
    """

    def __init__(self, connection: Any, files: StoreFiles, progress: Callable[[str, int, int], None]) -> None:
        self._connection = connection
        self._files = files
        self._progress = progress
        self._before: dict[str, Before] = {}
        self._committed = 0
        self.done = 0
        self.damage: list[str] = []
        self.notes: list[str] = []
        self.counts: Counter[str] = Counter()

    def go_on(self, published: Published) -> None:
        """Write the commits that were not written yet.

        Parameters
        ----------
        published : Published
            All of them.

        Raises
        ------
        FormatTooNewError
            If an archive, or a log in it, is of a newer format.
        """
        numbering = _Numbering(self._connection, self._files, published)
        folders = {number: archive_of(self._files, number, tag) for number, tag in published.tags.items()}
        last = _last_of_each(folders)
        for number in range(self.done + 1, len(published.tags) + 1):
            self._progress("rebuild", number - 1, len(published.tags))
            try:
                found = read_commit(folders[number])
            except CorruptLogError as error:
                why = str(error) if folders[number].exists() else f"its archive is not in {self._files.archive}"
                self._write_lost(number, folders[number].name, f"what snapshot {number} took is lost: {why}")
            else:
                numbering.load(found.numbers)
                self._write(number, found, numbering)
            self.done = number
            for writer in [writer for writer in self._before if last.get(writer, 0) <= number]:
                del self._before[writer]

    def _write_lost(self, number: int, tag: str, why: str) -> None:
        self.damage.append(why)
        commit = Commit(number, tag, None, [], [], damage=[why], committed=self._committed)
        out = Writer(self._connection, number)
        write_commit(out, commit, Ledger.read(self._connection), _keeping_nothing, self._progress)

    def _write(self, number: int, found: ArchivedCommit, numbering: _Numbering) -> None:
        damage = list(found.damage)
        speakers, damaged = [], set()
        for writer, faults in found.each_writer():
            before = self._before.setdefault(writer.writer, Before())
            before.damage.extend(faults)
            damage.extend(faults)
            if before.damage:
                damaged.add(writer.writer)
            log = log_of(found.folder, writer, before)
            speakers.append(Speaker(log, str(writer.about["run"]), writer.taken & before.found))
        lost = lost_arrays(self._files.arrays, found.arrays, self._progress)
        damage.extend(lost.values())
        self._committed = int(found.about["committed_ns"])
        commit = Commit(
            snapshot=number,
            tag=found.folder.name,
            base=found.about["base"],
            taken=speakers,
            cuts=found.about["cuts"],
            apart={line["writer"]: line["apart"] for line in found.lines if line["apart"]},
            arrays=[row for row in found.arrays if row[0] not in lost],
            lost_arrays=[(writer, run, fault) for writer, run, fault in found.about["lost_arrays"]],
            damage=damage,
            committed=self._committed,
            version=str(found.about["braid_version"]),
        )
        out = Writer(self._connection, number, numbering)
        check = _Check({line["writer"]: line for line in found.lines}, damaged)
        ledger = Ledger.read(self._connection)
        write_commit(out, commit, ledger, lambda: contextlib.nullcontext(check), self._progress)
        self.damage.extend([*damage, *(f"{found.folder}: {each}" for each in check.differ)])
        self.counts.update(commit.counted(out), arrays=out.counts["array_rows"])
        self._compare(found, commit.counted(out), out.anew)

    def _compare(self, found: ArchivedCommit, counted: dict[str, int], anew: int) -> None:
        """Say where a commit is not what it was, although its archive is whole."""
        if self.damage:
            return
        about = found.about
        differ = [
            f"{counted[name]} {name}, not {count}" for name, count in about["counts"].items() if counted[name] != count
        ]
        if anew or differ:
            what = [*differ, *([f"{anew} ids that are new"] if anew else [])]
            made = f"what braid_hpc {about['braid_version']} made of it"
            self.notes.append(f"snapshot {about['snapshot']} is not {made}: {', '.join(what)}")


def _last_of_each(folders: dict[int, Path]) -> dict[str, int]:
    """Return the last commit that took something of each writer: until then its earlier rows are asked for."""
    last: dict[str, int] = {}
    for number, folder in folders.items():
        # What is damaged is said when the commit is read.
        with contextlib.suppress(OSError, ValueError), (folder / "writers.jsonl").open() as file:
            last.update((json.loads(line)["writer"], number) for line in file)
    return last


def log_of(folder: Path, found: ArchivedWriter, before: Before) -> WriterLog:
    """Return a writer's log as a commit found it.

    Parameters
    ----------
    folder : Path
        The archive of the commit.
    found : ArchivedWriter
        What is there of the writer.
    before : Before
        What earlier commits took of it; what this one took is added.

    Returns
    -------
    WriterLog
        Its rows are read from the archives.
    """
    about = found.about
    before.parts.extend(found.parts)
    before.parts.sort(key=lambda part: part.first)
    before.notes = Events.join([before.notes, found.notes])
    before.found = before.found | found.found
    directory = folder / found.writer if about["linked"] else Path(about["directory"])
    log = WriterLog(directory, found.writer, about["header"])
    log.parts = list(before.parts)
    log.ranges = found.there & before.found
    log.notes = before.notes.take(log.ranges.mask(before.notes["sequence"]))
    log.state = WriterState(about["state"])
    log.faults = list(about["faults"])
    log.lost = [(count, first, last) for count, first, last in about["lost"]]
    if (closed := about["closed"]) is not None:
        log.outcome, log.close = closed["outcome"], Close(error=closed["error"])
    if (process := about.get("process")) is not None:
        how, code, seen = process
        log.process = ProcessEnd(Ending(how), code, seen)
    if not about["linked"]:
        log.batches = partial(_batch, found.batches)
    if before.damage:
        log.damage(before.damage, torn=False)
    return log


def _batch(batches: Batches, payload: bytes) -> tuple[bytearray, Path]:
    try:
        _, _, digest, _ = BATCH_PLACE.unpack(payload)
        path, segment = batches[digest]
    except (struct.error, KeyError):
        raise CorruptLogError("the archive does not have it") from None
    return bytearray(read_ipc(path, segment)), path


class _Check:
    """Compares what is taken from an archive with what was taken when it was written."""

    def __init__(self, lines: dict[str, dict[str, Any]], damaged: set[str]) -> None:
        self._lines = lines
        self._damaged = damaged
        self.differ: list[str] = []

    def add_writer(self, facts: Speaker) -> None:
        return

    def add_events(self, facts: Speaker, events: Events) -> None:
        return

    def add_batch(self, facts: Speaker, number: int, first: int, ipc: bytearray) -> None:
        return

    def end_writer(self, facts: Speaker, digest: str, faults: list[str]) -> list[str]:
        """Compare the sum of the rows; return what was said of the streams then."""
        line = self._lines[facts.writer]
        told: list[str] = line["stream_faults"]
        if facts.writer not in self._damaged:
            if digest != line["digest"] or len(faults) != len(told):
                self.differ.append(f"what was taken of writer {facts.writer} does not carry its digest")
            return told
        # Of a batch that could not be read then either, the reason is the one that was said.
        known = {fault.partition(" cannot be read")[0] for fault in told}
        return told + [fault for fault in faults if fault.partition(" cannot be read")[0] not in known]

    def finish(self, commit: Commit, out: Writer) -> None:
        return


@contextlib.contextmanager
def _keeping_nothing() -> Iterator[_Check]:
    yield _Check({}, set())


class _Numbering:
    """The numbers that were given, commit by commit: in a table of the file that is built, not in memory."""

    def __init__(self, connection: Any, files: StoreFiles, published: Published) -> None:
        self._connection = connection
        self._folders = [archive_of(files, number, tag) for number, tag in published.tags.items()]
        self._floor: int | None = None

    def load(self, path: Path | None) -> None:
        """Take the numbers of the next commit; none where their file is damaged."""
        self._connection.execute("create or replace temp table braid_numbers (uid varchar, number integer)")
        if path is not None:
            for rows in _read_numbers(path):
                # DuckDB finds the table by its name.
                braid_incoming = pa.table({"uid": [uid for uid, _ in rows], "number": [n for _, n in rows]})
                self._connection.execute("insert into braid_numbers select uid, number from braid_incoming")
                del braid_incoming

    def of(self, uids: list[str]) -> dict[str, int]:
        """Return the number of each that has one."""
        if not uids:
            return {}
        braid_incoming = pa.table({"uid": pa.array(uids, pa.string())})
        found = self._connection.execute(
            "select uid, number from braid_numbers join braid_incoming using (uid)"
        ).fetchall()
        del braid_incoming
        return dict(found)

    def floor(self) -> int:
        """Return the highest number in all of the files that can be read."""
        if self._floor is None:
            self._floor = 0
            for folder in self._folders:
                with contextlib.suppress(CorruptLogError):
                    if (path := read_commit(folder).numbers) is not None:
                        self._floor = max([self._floor, *(n for rows in _read_numbers(path) for _, n in rows)])
        return self._floor


def _read_numbers(path: Path) -> Iterator[list[tuple[str, int]]]:
    with path.open() as file:
        while lines := file.readlines(4 << 20):
            yield [(uid, int(number)) for uid, number in (line.split("\t") for line in lines)]
