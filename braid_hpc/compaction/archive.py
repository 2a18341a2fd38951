"""The archive beside a store: what each commit took from the logs, so that the store can be made again.

One directory for each commit, complete before the snapshot is published. The files of a log that nobody writes any
more are linked into it where the file system can, which costs nothing; else its rows are copied into
``events.arrows`` and its large batches into ``batches.arrows``, a part at a time. ``headers.jsonl`` says whose they
are, and ``numbers.tsv`` which version numbers were given.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.ledger import may_live
from braid_hpc.reading.events import COLUMNS, Events
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import WriterState

__all__ = ["Archive"]

_EVENTS = pa.schema(
    [
        ("writer", pa.binary(16)),
        ("sequence", pa.uint64()),
        ("time", pa.int64()),
        ("subject", pa.uint64()),
        ("object", pa.uint64()),
        ("name", pa.uint32()),
        ("other", pa.uint32()),
        ("code", pa.uint16()),
        ("flags", pa.uint16()),
        ("thread", pa.uint32()),
        ("word", pa.uint64()),
        ("payload", pa.large_binary()),
    ]
)
_BATCHES = pa.schema(
    [("writer", pa.binary(16)), ("stream", pa.uint32()), ("first", pa.uint64()), ("ipc", pa.large_binary())]
)

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
        self._headers: list[str] = []
        self._linked: set[str] = set()
        self._outs: list[Any] = []
        directory.mkdir(parents=True)
        try:
            self._events = self._open("events.arrows", _EVENTS)
            self._batches = self._open("batches.arrows", _BATCHES)
        except BaseException:
            self.discard()
            raise

    def _open(self, name: str, schema: pa.Schema) -> Any:
        file = pa.OSFile(str(self.directory / name), "wb")
        self._outs.append(file)
        out = pa.ipc.new_stream(file, schema)
        self._outs.append(out)
        return out

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
        self._headers.append(json.dumps({"directory": str(log.directory), **log.header, "writer": facts.writer}))
        if log.sealed and not log.copies and _is_final(log) and self._link(log):
            self._linked.add(facts.writer)

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
            self._events.write_batch(_batch(facts.writer, events))

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
        arrays = [
            pa.array([bytes.fromhex(facts.writer)], pa.binary(16)),
            pa.array([number], pa.uint32()),
            pa.array([first], pa.uint64()),
            _binary(np.array([0, len(ipc)]), ipc),
        ]
        self._batches.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_BATCHES))

    def finish(self, numbering: Iterable[tuple[str, int]]) -> None:
        """Complete the archive and bring it to the disk.

        Parameters
        ----------
        numbering : iterable of (str, int)
            uid and number of each new version and activity.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._close()
        (self.directory / "headers.jsonl").write_text("".join(f"{line}\n" for line in self._headers))
        with (self.directory / "numbers.tsv").open("w") as file:
            file.writelines(f"{uid}\t{number}\n" for uid, number in numbering)
        for place, _, names in os.walk(self.directory):
            for name in (*names, "."):
                _sync(os.path.join(place, name))
        # The name too: a published snapshot whose archive is gone after a power cut could not be made again.
        _sync(self.directory.parent)

    def _close(self) -> None:
        while self._outs:
            self._outs.pop().close()

    def discard(self) -> None:
        """Remove all of it; what refuses that has been told before."""
        try:
            self._close()
        except OSError:
            self._outs.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return this archive."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *about: object) -> None:
        """Remove what was begun if it was not completed."""
        if kind is not None:
            self.discard()


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


def _batch(writer: str, events: Events) -> pa.RecordBatch:
    columns = [pa.array(events[name], _EVENTS.field(name).type) for name in COLUMNS]
    identity = pa.repeat(pa.scalar(bytes.fromhex(writer), pa.binary(16)), len(events))
    return pa.RecordBatch.from_arrays([identity, *columns, _payloads(events)], schema=_EVENTS)


def _payloads(events: Events) -> Any:
    """Return the payloads as Arrow holds them, by one copy at most: never an index for each byte."""
    starts, ends = events.start, events.start + events.length
    order = None
    if len(events) > 1 and bool((starts[1:] < ends[:-1]).any()):
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
    if bool((starts[1:] == ends[:-1]).all()):
        found = _binary(np.concatenate([starts[:1], ends]), events.heap)
    else:
        offsets = np.stack([starts, ends], 1).ravel()
        found = _binary(offsets, events.heap).take(pa.array(np.arange(0, len(offsets), 2)))
    if order is None:
        return found
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return found.take(pa.array(back))


def _binary(offsets: Any, heap: Any) -> Any:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(heap)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
