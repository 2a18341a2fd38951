"""Reading sealed batches: each is believed only with its sum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_64_intdigest

from braid_hpc.log.batch_file import batch_digest
from braid_hpc.log.layout import SUM, SUM_BYTES
from braid_hpc.reading.events import COLUMNS, Events
from braid_hpc.vocabulary.errors import CorruptLogError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Segment", "read_batch", "read_sealed", "read_sums", "schema_message"]


@dataclass(frozen=True, slots=True)
class Segment:
    """One record of a file of sums; fields as in :func:`braid_hpc.log.layout.pack_sum`."""

    offset: int
    length: int
    first: int
    after: int
    rows: int
    digest: bytes


def read_sums(path: Path) -> tuple[list[Segment], list[str], str | None]:
    """Read a file of sums.

    Parameters
    ----------
    path : Path
        ``<name>.sums``; it need not exist.

    Returns
    -------
    segments : list of Segment
        Those that carry their own check.
    corrupt : list of str
        Sentences on records that do not.
    torn : str or None
        What is missing at the end.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], [], None
    segments, corrupt = [], []
    for at in range(0, len(data) - SUM_BYTES + 1, SUM_BYTES):
        record = data[at : at + SUM_BYTES]
        offset, length, first, after, rows, digest, check = SUM.unpack(record)
        if check != xxh3_64_intdigest(record[:-8]):
            corrupt.append(f"{path.name}: the record at byte {at} does not carry its check sum")
        else:
            segments.append(Segment(offset, length, first, after, rows, digest))
    rest = len(data) % SUM_BYTES
    return segments, corrupt, f"{path.name} ends within a record" if rest else None


def schema_message(file: bytes) -> bytes:
    """Return the schema message that an Arrow IPC stream begins with.

    Parameters
    ----------
    file : bytes
        The stream, or its beginning.

    Returns
    -------
    bytes
        The encapsulated message.
    """
    return file[: 8 + int.from_bytes(file[4:8], "little")]


def read_batch(path: Path, offset: int, length: int, digest: bytes) -> Any:
    """Read one batch of an Arrow file.

    Parameters
    ----------
    path : Path
        ``<name>.arrows``.
    offset, length : int
        Where it stands, bytes.
    digest : bytes
        XXH3-128 of the file's schema message and these bytes.

    Returns
    -------
    pyarrow.Table
        Its rows.

    Raises
    ------
    CorruptLogError
        If it is cut off, or its bytes and the file's schema do not carry the sum.
    """
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            schema = schema_message(file.read(64 << 10))
            file.seek(offset)
            batch = file.read(length)
    except FileNotFoundError:
        raise CorruptLogError(f"{path.name} is missing") from None
    if len(batch) < length:
        raise CorruptLogError(f"{path.name} ends within the batch at byte {offset}")
    if batch_digest(schema, batch) != digest:
        raise CorruptLogError(f"the batch at byte {offset} of {path.name} does not carry its check sum")
    try:
        return pa.ipc.open_stream(pa.py_buffer(schema + batch)).read_all()
    except pa.ArrowInvalid as error:
        raise CorruptLogError(f"the schema of {path.name} cannot be read ({error})") from None


def read_sealed(directory: Path, name: str) -> Iterator[tuple[Segment, Events | None, str | None]]:
    """Yield the sealed segments of a writer's events.

    Parameters
    ----------
    directory : Path
        The writer's directory.
    name : str
        File name of the Arrow stream.

    Yields
    ------
    segment : Segment
        What its sum says.
    events : Events or None
        Its rows; None if they cannot be believed.
    fault : str or None
        Why not.
    """
    path = directory / name
    segments, _, _ = read_sums(path.with_suffix(".sums"))
    for segment in segments:
        try:
            table = read_batch(path, segment.offset, segment.length, segment.digest)
            yield segment, _to_events(table), None
        except CorruptLogError as error:
            yield segment, None, str(error)


def _to_events(table: Any) -> Events:
    if not table.num_rows:
        # A tail that was left because a payload did not fit into it; its offsets have no bytes at all.
        return Events.empty()
    batch = table.combine_chunks()
    columns = {}
    for name in COLUMNS:
        columns[name] = batch.column(name).to_numpy()
    payload = batch.column("payload").chunk(0)
    _, offsets, heap = payload.buffers()
    ends = np.frombuffer(offsets, np.int32, len(payload) + 1, payload.offset * 4).astype(np.int64)
    return Events(columns, heap.to_pybytes() if heap is not None else b"", ends[:-1], np.diff(ends))
