"""The large batches of streams, which stand in files of their own: whether each is whole."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from braid_hpc.reading.events import Events
from braid_hpc.reading.sealed import check_sums, read_sums, sealed_files, stream_batch
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import BATCH_IN_FILE, BATCH_PLACE, EDGES_FILE
from braid_hpc.vocabulary.encoding import decoder
from braid_hpc.vocabulary.errors import CorruptLogError
from braid_hpc.vocabulary.payloads import RowEdges

__all__ = ["check_batches"]

_ROW_EDGES = decoder(RowEdges)


def check_batches(log: WriterLog) -> None:
    """Verify every batch that a log's events point at, and every sum beside them.

    :func:`braid_hpc.reading.survey.read_writer` reads events and not what they point at; compaction reads each
    batch when it needs it.

    Parameters
    ----------
    log : WriterLog
        Its `faults` and `state` say afterwards what is wrong.
    """
    summed: set[bytes] = set()
    names = {"-".join(path.stem.split("-")[:2]) for path in log.directory.glob("stream-*.sums")}
    for name in sorted(names):
        corrupt, cut = check_sums(log.directory, name)
        for fault in corrupt:
            log.damage([fault], torn=False)
        for fault in cut:
            log.damage([fault], torn=True)
        for path in sealed_files(log.directory, name):
            summed.update(segment.digest for segment in read_sums(path.with_suffix(".sums"))[0])
    for events, row in _batches(log):
        number, first, count = (int(events[name][row]) for name in ("other", "subject", "object"))
        try:
            payload = events.payload(row)
            if events["code"][row] == Code.ROW_EDGES:
                number, payload = EDGES_FILE, _place_of(payload)
            _, path, _ = stream_batch(log.directory, number, payload)
            if BATCH_PLACE.unpack(payload)[2] not in summed:
                # The event vouches for the batch; shipping goes by the sums, and would leave it behind.
                raise CorruptLogError(f"its record is missing in {path.stem}.sums")
        except CorruptLogError as error:
            what = f"rows {first} to {first + count - 1} of stream {number}"
            if events["code"][row] == Code.ROW_EDGES:
                what = f"row edges {first} to {first + count - 1}"
            fault = f"{what} cannot be read: {error}"
            log.damage([fault], torn="missing" in str(error) or "ends within" in str(error))


def _batches(log: WriterLog) -> Iterator[tuple[Events, int]]:
    for events in log.each(Code.BATCH, Code.ROW_EDGES):
        for row in np.flatnonzero(events["flags"] == BATCH_IN_FILE).tolist():
            yield events, row


def _place_of(payload: bytes) -> bytes:
    try:
        return _ROW_EDGES.decode(payload).listed
    except msgspec.DecodeError as error:
        raise CorruptLogError(f"what it says cannot be decoded ({error})") from None
