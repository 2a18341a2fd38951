"""The archive beside a store: what each commit took from the logs, so that the store can be made again.

One directory for each commit, complete before the snapshot is published: ``events.arrows`` (the rows as they stood
in the logs, with the writer), ``batches.arrows`` (large batches of streams, byte for byte), ``headers.jsonl``, and
``numbers.tsv`` (the version numbers that were given).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from braid_hpc.compaction.extract import Facts
from braid_hpc.reading.events import COLUMNS, Events
from braid_hpc.reading.sealed import stream_batch
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import BATCH_IN_FILE
from braid_hpc.vocabulary.errors import CorruptLogError

__all__ = ["write_archive"]

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


def write_archive(directory: Path, writers: list[Facts], numbering: list[tuple[str, int]]) -> None:
    """Write the archive of one commit.

    Parameters
    ----------
    directory : Path
        Made here; it must not exist.
    writers : list of Facts
        What the commit takes, with the sequences that are new.
    numbering : list of (str, int)
        uid and number of each new version and activity.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left.
    """
    directory.mkdir(parents=True)
    try:
        with pa.OSFile(str(directory / "events.arrows"), "wb") as file, pa.ipc.new_stream(file, _EVENTS) as out:
            for facts in writers:
                events = facts.log.events
                out.write_batch(_batch(facts.writer, events.take(np.isin(events["sequence"], _fresh(facts)))))
        with pa.OSFile(str(directory / "batches.arrows"), "wb") as file, pa.ipc.new_stream(file, _BATCHES) as out:
            for facts in writers:
                _write_batches(out, facts)
        lines = [json.dumps({"directory": str(f.log.directory), **f.log.header, "writer": f.writer}) for f in writers]
        (directory / "headers.jsonl").write_text("\n".join(lines) + "\n")
        (directory / "numbers.tsv").write_text("".join(f"{uid}\t{number}\n" for uid, number in numbering))
        # The names too: a published snapshot whose archive is gone after a power cut could not be made again.
        for path in (*directory.iterdir(), directory, directory.parent):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _fresh(facts: Facts) -> Any:
    return np.fromiter(facts.fresh, np.uint64, len(facts.fresh))


def _batch(writer: str, events: Events) -> pa.RecordBatch:
    count = len(events)
    offsets = np.concatenate([[0], np.cumsum(events.length)]).astype(np.int64)
    heap = np.frombuffer(events.heap, np.uint8)
    index = np.repeat(events.start - offsets[:-1], events.length) + np.arange(offsets[-1])
    payload = pa.Array.from_buffers(
        pa.large_binary(), count, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(heap[index].tobytes())]
    )
    columns = [pa.array(events[name], _EVENTS.field(name).type) for name in COLUMNS]
    identity = pa.array([bytes.fromhex(writer)] * count, pa.binary(16))
    return pa.RecordBatch.from_arrays([identity, *columns, payload], schema=_EVENTS)


def _write_batches(out: Any, facts: Facts) -> None:
    events = facts.log.events
    for row in events.positions(Code.BATCH):
        if events["flags"][row] != BATCH_IN_FILE or int(events["sequence"][row]) not in facts.fresh:
            continue
        number = int(events["other"][row])
        try:
            ipc, _, _ = stream_batch(facts.log.directory, number, events.payload(row))
        except CorruptLogError:
            # Already named as a fault of the writer; what is gone cannot be archived.
            continue
        arrays = [
            pa.array([bytes.fromhex(facts.writer)], pa.binary(16)),
            pa.array([number], pa.uint32()),
            pa.array([int(events["subject"][row])], pa.uint64()),
            pa.array([ipc], pa.large_binary()),
        ]
        out.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_BATCHES))
