"""Reading sealed batches: each is believed only with its sum."""

from __future__ import annotations

import contextlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from braid_hpc.log.layout import SUM, SUM_BYTES, part_name
from braid_hpc.reading.directories import names_in
from braid_hpc.reading.events import COLUMNS, Events
from braid_hpc.vocabulary.columns import BATCH_PLACE
from braid_hpc.vocabulary.errors import CorruptLogError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Segment",
    "batch_bytes",
    "check_sums",
    "each_sealed",
    "open_batch",
    "read_batch",
    "read_rows",
    "read_sealed",
    "read_sealed_files",
    "read_stream_batch",
    "read_sums",
    "schema_message",
    "sealed_files",
    "stream_batch",
]


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


def check_sums(directory: Path, name: str) -> tuple[list[str], list[str]]:
    """Say what is wrong with the files of sums of one name.

    Parameters
    ----------
    directory : Path
        The writer's directory.
    name : str
        As for :func:`sealed_files`.

    Returns
    -------
    corrupt, torn : list of str
        Sentences. A part of a record at the end of a file that has a successor is none: there the writer was
        refused, and wrote the record again in the next file.
    """
    corrupt, torn = [], []
    files = sealed_files(directory, name)
    for path in files:
        _, bad, cut = read_sums(path.with_suffix(".sums"))
        corrupt += bad
        if cut and path == files[-1]:
            torn.append(cut)
    return corrupt, torn


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


def sealed_files(directory: Path, name: str) -> list[Path]:
    """List the files that hold the batches of one name.

    Parameters
    ----------
    directory : Path
        The writer's directory.
    name : str
        ``events`` or ``stream-<number>``.

    Returns
    -------
    list of Path
        ``<name>.arrows`` and its successors, in order; also one of which only the sums are there.
    """
    ours = re.compile(rf"({re.escape(name)}(?:-\d{{6,}})?)\.(?:arrows|sums)")
    stems = {found[1] for each in names_in(directory) if (found := ours.fullmatch(each))}
    return [directory / f"{stem}.arrows" for stem in sorted(stems, key=lambda stem: (len(stem), stem))]


def batch_bytes(path: Path, offset: int, length: int, digest: bytes) -> bytearray:
    """Read one batch of an Arrow file as a stream of its own.

    Parameters
    ----------
    path, offset, length, digest
        As for :func:`read_batch`.

    Returns
    -------
    bytearray
        The file's schema message and the batch.

    Raises
    ------
    CorruptLogError
        If it is cut off, or its bytes and the file's schema do not carry the sum.
    """
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(4 << 10)
            missing = min(8 + int.from_bytes(head[4:8], "little"), 64 << 10) - len(head)
            schema = schema_message(head + file.read(missing) if missing > 0 else head)
            found = bytearray(len(schema) + length)
            found[: len(schema)] = schema
            file.seek(offset)
            read = file.readinto(memoryview(found)[len(schema) :])
    except FileNotFoundError:
        raise CorruptLogError(f"{path.name} is missing") from None
    if read < length:
        raise CorruptLogError(f"{path.name} ends within the batch at byte {offset}")
    # Both in one buffer, so that nothing is copied: this is what batch_digest makes of the two.
    if xxh3_128_digest(found) != digest:
        raise CorruptLogError(f"the batch at byte {offset} of {path.name} does not carry its check sum")
    return found


def stream_batch(directory: Path, number: int, payload: bytes) -> tuple[bytearray, Path, int]:
    """Find the batch that a ``BATCH`` event points at.

    Parameters
    ----------
    directory : Path
        The writer's directory.
    number : int
        The stream's.
    payload : bytes
        The event's.

    Returns
    -------
    ipc : bytearray
        As :func:`batch_bytes` gives it.
    path, offset
        Where it was found: where the event says, or in a file that its writer wrote it into again later.

    Raises
    ------
    CorruptLogError
        If it is nowhere, as :func:`batch_bytes` says it for where the event points.
    """
    try:
        offset, length, digest, part = BATCH_PLACE.unpack(payload)
    except struct.error:
        raise CorruptLogError(f"its place is {len(payload)} bytes, not {BATCH_PLACE.size}") from None
    name = f"stream-{number:04d}"
    path = directory / f"{part_name(name, part)}.arrows"
    try:
        return batch_bytes(path, offset, length, digest), path, offset
    except CorruptLogError:
        for other in sealed_files(directory, name):
            for segment in read_sums(other.with_suffix(".sums"))[0]:
                if segment.digest == digest and other != path:
                    with contextlib.suppress(CorruptLogError):
                        return batch_bytes(other, segment.offset, segment.length, digest), other, segment.offset
        raise


def read_stream_batch(directory: Path, number: int, payload: bytes) -> Any:
    """Read the batch that a ``BATCH`` event points at.

    Parameters
    ----------
    directory, number, payload
        As for :func:`stream_batch`.

    Returns
    -------
    pyarrow.Table
        Its rows.

    Raises
    ------
    CorruptLogError
        If it is nowhere, or its schema cannot be read.
    """
    ipc, path, _ = stream_batch(directory, number, payload)
    return open_batch(ipc, path)


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
    return open_batch(batch_bytes(path, offset, length, digest), path)


def open_batch(ipc: bytes | bytearray, path: Path) -> Any:
    """Return the rows of a batch that was read.

    Parameters
    ----------
    ipc : bytes or bytearray
        From :func:`batch_bytes`; the rows are views of it.
    path : Path
        Where it stands, for messages.

    Returns
    -------
    pyarrow.Table
        Its rows.

    Raises
    ------
    CorruptLogError
        If Arrow cannot read it.
    """
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(pa.py_buffer(ipc)).read_all()
    except pa.ArrowInvalid as error:
        raise CorruptLogError(f"the schema of {path.name} cannot be read ({error})") from None


def read_sealed(directory: Path, name: str) -> Iterator[tuple[Segment, Events | None, str | None]]:
    """Yield the sealed segments of a writer's events.

    Parameters
    ----------
    directory : Path
        The writer's directory.
    name : str
        File name of the first Arrow stream; its successors are read as well.

    Yields
    ------
    segment : Segment
        What its sum says.
    events : Events or None
        Its rows; None if they cannot be believed.
    fault : str or None
        Why not.
    """
    yield from read_sealed_files(sealed_files(directory, name.removesuffix(".arrows")))


def read_sealed_files(files: list[Path]) -> Iterator[tuple[Segment, Events | None, str | None]]:
    """Yield the sealed segments that some files hold.

    Parameters
    ----------
    files : list of Path
        ``<name>.arrows`` and its successors, in order.

    Yields
    ------
    segment, events, fault
        As for :func:`read_sealed`.
    """
    for _, segment, events, fault in each_sealed(files):
        yield segment, events, fault


def each_sealed(files: list[Path]) -> Iterator[tuple[Path, Segment, Events | None, str | None]]:
    """Yield the sealed segments that some files hold, and the file of each.

    Parameters
    ----------
    files : list of Path
        ``<name>.arrows`` and its successors, in order.

    Yields
    ------
    path : Path
        The file.
    segment, events, fault
        As for :func:`read_sealed`.
    """
    found = [(path, segment) for path in files for segment in read_sums(path.with_suffix(".sums"))[0]]
    newest = {segment.first: path for path, segment in found}
    for path, segment in found:
        try:
            yield path, segment, read_rows(path, segment), None
        except CorruptLogError as error:
            # A batch that the disk may have refused was written again into a later file, which tells of these rows.
            if newest[segment.first] == path:
                yield path, segment, None, str(error)


def read_rows(path: Path, segment: Segment) -> Events:
    """Read one sealed batch of events.

    Parameters
    ----------
    path : Path
        One of :func:`sealed_files`.
    segment : Segment
        What its sum says.

    Returns
    -------
    Events
        Its rows.

    Raises
    ------
    CorruptLogError
        If they cannot be believed.
    """
    return _to_events(read_batch(path, segment.offset, segment.length, segment.digest))


def _to_events(table: Any) -> Events:
    import pyarrow as pa

    if not table.num_rows:
        # A tail that was left because a payload did not fit into it; its offsets have no bytes at all.
        return Events.empty()
    batch = table.combine_chunks()
    columns = {}
    for name in COLUMNS:
        columns[name] = batch.column(name).to_numpy()
    payload = batch.column("payload").chunk(0)
    _, offsets, heap = payload.buffers()
    # The archive of a store has large ones.
    width = np.dtype(np.int64 if pa.types.is_large_binary(payload.type) else np.int32)
    ends = np.frombuffer(offsets, width, len(payload) + 1, payload.offset * width.itemsize).astype(np.int64)
    return Events(columns, memoryview(heap) if heap is not None else b"", ends[:-1], np.diff(ends))
