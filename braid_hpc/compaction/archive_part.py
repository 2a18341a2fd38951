"""A part of an archive: what one process keeps of the writers that it works off, in a directory of its own.

The process that commits keeps the first part in the archive itself; where several share the work, the parts of the
others are moved there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from braid_hpc.compaction.archive_files import BATCHES, EVENTS, SummedFile, events_batch, large_batch
from braid_hpc.compaction.extract import Speaker
from braid_hpc.reading.events import Events
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.files import sync_path
from braid_hpc.snapshots.modes import may_be_linked
from braid_hpc.vocabulary.codes import WriterState

__all__ = ["ArchivePart", "part_file", "sync_tree"]

#: Files of a log that are linked; arrays are copied into files of their own.
_LINKED = ("header.json", "tail-*", "events*", "stream-*")


def part_file(name: str, number: int) -> str:
    """Return what a file of a part is called in the archive.

    Parameters
    ----------
    name : str
        ``events`` or ``batches``.
    number : int
        Of the part; 0 for that of the process that commits.

    Returns
    -------
    str
        Without its ending.
    """
    return f"{name}-{number:06d}" if number else name


class ArchivePart:
    """Keeps writers.

    Parameters
    ----------
    directory : Path
        Made here; it must not exist.

    Attributes
    ----------
    lines : list of dict
        What is to be said of each writer, as far as it is known here.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines: list[dict[str, Any]] = []
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
        self.lines.append({**about, "rows": [len(self._events)], "batches": [len(self._batches)]})

    def _link(self, log: WriterLog) -> bool:
        target = self.directory / log.writer
        target.mkdir()
        try:
            for pattern in _LINKED:
                for path in log.directory.glob(pattern):
                    if not may_be_linked(path, target):
                        raise PermissionError(f"{path} is not the group's to read")
                    os.link(path, target / path.name)
        except OSError:
            # Another file system, or one without links, or for other people: its rows are copied.
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
        about = self.lines[-1]
        about["rows"].append(len(self._events))
        about["batches"].append(len(self._batches))
        about |= {"digest": digest, "stream_faults": list(faults)}
        return faults

    def close(self) -> None:
        """End the files.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        while self._outs:
            self._outs.pop().finish()

    def discard(self) -> None:
        """Remove all of it; what refuses that has been told before."""
        while self._outs:
            self._outs.pop().discard()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return this part."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *about: object) -> None:
        """Remove what was begun if it was not completed."""
        if kind is not None:
            self.discard()


def sync_tree(directory: Path) -> None:
    """Bring files and names below a directory to the disk.

    Parameters
    ----------
    directory : Path
        It.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    for place, _, names in os.walk(directory):
        for name in (*names, "."):
            sync_path(Path(place, name))


def _is_final(log: WriterLog) -> bool:
    """Whether a log is whole and nobody can be writing it."""
    if log.state in (WriterState.OPEN, WriterState.LOSSY) and log.close is None:
        return log.process is not None
    return log.state.complete or log.state is WriterState.LOSSY
