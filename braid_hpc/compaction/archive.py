"""The archive beside a store: what each commit took from the logs, so that the store can be made again.

One directory for each commit, complete before the snapshot is published. The files of a log that nobody writes any
more are linked into it where the file system can, which costs nothing; else its rows are copied into
``events.arrows`` and its large batches into ``batches.arrows``, a part at a time, each with its sum in the file of
sums beside it. ``writers.jsonl`` says whose they are and what was found of each log, ``numbers.tsv`` which version
numbers were given, ``arrays.jsonl`` which arrays were copied, and ``commit.json``, written last, when, after which
commit, and the sums of these three. It is read again in :mod:`braid_hpc.compaction.archived`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from braid_hpc.compaction.archive_files import BATCHES, EVENTS, SummedFile, events_batch, file_sum, large_batch
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.ledger import may_live
from braid_hpc.log.header import pack_header
from braid_hpc.reading.events import Events
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import WriterState

if TYPE_CHECKING:
    from braid_hpc.compaction.commit import Commit
    from braid_hpc.compaction.write import Writer

__all__ = ["ARCHIVE", "MAJOR", "Archive"]

ARCHIVE = "braid archive"
MAJOR = 1
MINOR = 0

#: Files of a log that are linked; arrays are copied into files of their own.
_LINKED = ("header.json", "tail-*", "events*", "stream-*")


class Archive:
    """Writes the archive of one commit.

    Parameters
    ----------
    directory : Path
        Made here; it must not exist.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writers: list[dict[str, Any]] = []
        self._linked: set[str] = set()
        self._outs: list[SummedFile] = []
        directory.mkdir(parents=True)
        try:
            self._events = self._open("events.arrows", EVENTS)
            self._batches = self._open("batches.arrows", BATCHES)
        except BaseException:
            self.discard()
            raise

    def _open(self, name: str, schema: pa.Schema) -> SummedFile:
        self._outs.append(SummedFile(self.directory / name, schema))
        return self._outs[-1]

    def add_writer(self, facts: Speaker) -> None:
        """Begin with a writer: link its files, if they are final.

        Parameters
        ----------
        facts : Speaker
            What the commit takes of it.

        Raises
        ------
        OSError
            If the archive cannot be written.
        """
        log = facts.log
        linked = bool(log.sealed) and not log.copies and _is_final(log) and self._link(log)
        if linked:
            self._linked.add(facts.writer)
        directory = os.path.abspath(log.directory)
        about = {"writer": facts.writer, "run": facts.run, "directory": directory, "linked": linked}
        self._writers.append({**about, "rows": [len(self._events)], "batches": [len(self._batches)]})

    def _link(self, log: WriterLog) -> bool:
        target = self.directory / log.writer
        target.mkdir()
        try:
            for pattern in _LINKED:
                for path in log.directory.glob(pattern):
                    os.link(path, target / path.name)
        except OSError:
            # Another file system, or one without links: its rows are copied.
            shutil.rmtree(target)
            return False
        return True

    def add_events(self, facts: Speaker, events: Events) -> None:
        """Add rows of a writer.

        Parameters
        ----------
        facts : Speaker
            The writer, after :meth:`add_writer`.
        events : Events
            Rows that are taken.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        if facts.writer not in self._linked:
            first, last = int(events["sequence"][0]), int(events["sequence"][-1])
            self._events.write(events_batch(facts.writer, events), first, last + 1)

    def add_batch(self, facts: Speaker, number: int, first: int, ipc: bytearray) -> None:
        """Add a large batch of a stream.

        Parameters
        ----------
        facts : Speaker
            The writer, after :meth:`add_writer`.
        number : int
            The writer's number of the stream.
        first : int
            Number of its first row.
        ipc : bytearray
            Schema message and batch, as they stand in the log.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if facts.writer in self._linked:
            return
        self._batches.write(large_batch(facts.writer, number, first, ipc), first, first + 1)

    def end_writer(self, facts: Speaker, digest: str, faults: list[str]) -> list[str]:
        """End a writer.

        Parameters
        ----------
        facts : Speaker
            The writer, after its rows.
        digest : str
            XXH3-128 of their check words.
        faults : list of str
            What of its streams cannot be read.

        Returns
        -------
        list of str
            These.
        """
        about = self._writers[-1]
        about["rows"].append(len(self._events))
        about["batches"].append(len(self._batches))
        about |= {"digest": digest, "stream_faults": list(faults)}
        return faults

    def finish(self, commit: Commit, out: Writer) -> None:
        """Complete the archive and bring it to the disk.

        Parameters
        ----------
        commit : Commit
            What was taken.
        out : Writer
            Which has given the numbers.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        while self._outs:
            self._outs.pop().finish()
        for about, facts in zip(self._writers, commit.taken, strict=True):
            about |= {"apart": commit.apart.get(facts.writer), **_state(facts)}
        files = {
            "writers.jsonl": self._write("writers.jsonl", map(_line, self._writers)),
            "numbers.tsv": self._write("numbers.tsv", (f"{uid}\t{number}\n" for uid, number in out.numbering())),
            "arrays.jsonl": self._write("arrays.jsonl", (_line(row) for row in commit.arrays)),
        }
        about = {
            "format": ARCHIVE,
            "major": MAJOR,
            "minor": MINOR,
            "snapshot": commit.snapshot,
            "tag": commit.tag,
            "base": commit.base,
            "committed_ns": commit.committed,
            "braid_version": commit.version,
            "cuts": commit.cuts,
            "lost_arrays": commit.lost_arrays,
            "counts": commit.counted(out),
            "files": files,
        }
        (self.directory / "commit.json").write_bytes(pack_header(about))
        for place, _, names in os.walk(self.directory):
            for name in (*names, "."):
                _sync(os.path.join(place, name))
        # The name too: a published snapshot whose archive is gone after a power cut could not be made again.
        _sync(self.directory.parent)

    def _write(self, name: str, lines: Iterator[str]) -> dict[str, Any]:
        with (self.directory / name).open("x") as file:
            file.writelines(lines)
        return file_sum(self.directory / name)

    def discard(self) -> None:
        """Remove all of it; what refuses that has been told before."""
        while self._outs:
            self._outs.pop().discard()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return this archive."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *about: object) -> None:
        """Remove what was begun if it was not completed."""
        if kind is not None:
            self.discard()


def _line(value: Any) -> str:
    return json.dumps(value) + "\n"


def _state(facts: Speaker) -> dict[str, Any]:
    """Return what was found of a log that its rows do not say, and which of its rows were there."""
    log = facts.log
    return {
        "taken": facts.taken.flat(),
        "there": log.ranges.flat(),
        "state": str(log.state),
        "faults": log.faults,
        "lost": log.lost,
        "closed": None if log.close is None else {"outcome": log.outcome, "error": log.close.error},
        "header": log.header,
    }


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_final(log: WriterLog) -> bool:
    """Whether a log is whole and nobody can be writing it."""
    if log.state in (WriterState.OPEN, WriterState.LOSSY) and log.close is None:
        return not may_live(log.header)
    return log.state.complete or log.state is WriterState.LOSSY
