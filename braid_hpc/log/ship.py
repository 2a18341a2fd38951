"""Shipping: a writer's files are copied to another directory, read again there, and compared.

The source may be written at the same time. Sealed batches are appended to what was shipped before and each is
checked by its own sum where it arrived; tails and arrays files are copied whole under another name and renamed.
A tail is removed at the target only when the batch that replaced it is there.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xxhash import xxh3_64_intdigest, xxh3_128

from braid_hpc.log.batch_file import batch_digest
from braid_hpc.log.layout import ENDED_NAME, GONE_NAME, HEADER_NAME, SUM, SUM_BYTES, TAIL_PREFIX
from braid_hpc.vocabulary.errors import CorruptLogError, StorageError

__all__ = ["Shipped", "ship_writer"]

_CHUNK = 4 << 20

#: Bytes within which an Arrow stream's schema message ends.
SCHEMA_ROOM = 64 << 10


@dataclass(frozen=True, slots=True)
class Shipped:
    """What was done for one writer.

    Attributes
    ----------
    writer : str
        Name of its directory.
    files : int
        Files that were written or grew.
    bytes : int
        Bytes that were written at the target.
    """

    writer: str
    files: int
    bytes: int


def ship_writer(source: Path, target: Path) -> Shipped:
    """Copy one writer's log.

    Parameters
    ----------
    source : Path
        The writer's directory.
    target : Path
        The directory of all writers' directories to copy into; made if it does not exist.

    Returns
    -------
    Shipped
        Nothing written if all of it was there.

    Raises
    ------
    StorageError
        If the target cannot be written.
    CorruptLogError
        If what arrived is not what was read.
    """
    place = target / source.name
    try:
        place.mkdir(parents=True, exist_ok=True)
        return _ship(source, place)
    except OSError as error:
        raise StorageError(
            f"cannot ship {source.name} to {target} ({error.strerror or error}): nothing was removed at its source"
        ) from error


def _ship(source: Path, place: Path) -> Shipped:
    written: list[int] = []
    # Tails before batches: a tail that is sealed in between is then in the batches.
    tails = sorted(path.name for path in source.glob(f"{TAIL_PREFIX}*"))
    for name in [HEADER_NAME, ENDED_NAME, GONE_NAME, *tails, *sorted(path.name for path in source.glob("arrays-*"))]:
        with contextlib.suppress(FileNotFoundError):
            written.append(_copy_whole(source / name, place / name))
    # Before the batches: a tail that is gone by now has its rows in a batch that is copied below; one that goes only
    # afterwards may not.
    left = {path.name for path in source.glob(f"{TAIL_PREFIX}*")}
    for sums in sorted(source.glob("*.sums")):
        written.append(_extend_batches(sums, place / sums.name))
    for path in place.glob(f"{TAIL_PREFIX}*"):
        if path.name not in left:
            os.unlink(path)
    return Shipped(source.name, sum(1 for count in written if count), sum(written))


def _copy_whole(source: Path, target: Path) -> int:
    """Copy a file unless it is there already; return the bytes written."""
    aside = target.with_name(f".{target.name}.{os.getpid()}.new")
    digest = xxh3_128()
    size = 0
    try:
        with source.open("rb") as read, aside.open("wb") as write:
            alike = target.exists() and target.stat().st_size == os.fstat(read.fileno()).st_size
            if alike and _digest(target) == _digest(source):
                return 0
            while chunk := read.read(_CHUNK):
                digest.update(chunk)
                write.write(chunk)
                size += len(chunk)
            write.flush()
            os.fsync(write.fileno())
        if _digest(aside) != digest.digest():
            raise CorruptLogError(f"{target} does not hold what was written to it: the target is not to be trusted")
        os.rename(aside, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
    return size


def _digest(path: Path) -> bytes:
    digest = xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()


def _records(path: Path) -> list[bytes]:
    """Return the whole records of a file of sums, up to the first that does not carry its own check."""
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        records = [data[at : at + SUM_BYTES] for at in range(0, len(data) - SUM_BYTES + 1, SUM_BYTES)]
        good = []
        for record in records:
            if SUM.unpack(record)[-1] != xxh3_64_intdigest(record[:-8]):
                break
            good.append(record)
        return good
    return []


def _extend_batches(sums: Path, target_sums: Path) -> int:
    """Append the batches that the target lacks; return the bytes written."""
    wanted, there = _records(sums), _records(target_sums)
    source, target = sums.with_suffix(".arrows"), target_sums.with_suffix(".arrows")
    if wanted[: len(there)] != there or not _holds(target, there):
        # Another writer's file, or a damaged one: begin again.
        there = []
    fresh = wanted[len(there) :]
    if not fresh:
        return 0
    count = 0
    with source.open("rb") as read, _open_for_growth(target) as write:
        schema = read.read(SCHEMA_ROOM)
        schema = schema[: 8 + int.from_bytes(schema[4:8], "little")]
        write.write(schema)
        # Batch by batch: threads may write two at once, and only what has its sum is whole.
        for record in fresh:
            offset, length, *_ = SUM.unpack(record)
            read.seek(offset)
            write.seek(offset)
            while length and (chunk := read.read(min(_CHUNK, length))):
                count += write.write(chunk)
                length -= len(chunk)
        write.flush()
        os.fsync(write.fileno())
    with target.open("rb") as again:
        again.seek(0)
        schema = again.read(len(schema))
        for record in fresh:
            offset, length, _, _, _, digest, _ = SUM.unpack(record)
            again.seek(offset)
            if batch_digest(schema, again.read(length)) != digest and not _given_up(source, record):
                raise CorruptLogError(f"the batch at byte {offset} of {target} does not carry its sum after the copy")
    aside = target_sums.with_name(f".{target_sums.name}.{os.getpid()}.new")
    with aside.open("wb") as write_sums:
        write_sums.write(b"".join([*there, *fresh]))
        write_sums.flush()
        os.fsync(write_sums.fileno())
    os.rename(aside, target_sums)
    return count + len(fresh) * SUM_BYTES


def _holds(path: Path, records: list[bytes]) -> bool:
    """Whether a file is as long as its records say: one that was removed or cut off since it was shipped is not."""
    ends = [sum(SUM.unpack(record)[:2]) for record in records]
    try:
        return path.stat().st_size >= max(ends, default=0)
    except FileNotFoundError:
        return not records


def _given_up(path: Path, record: bytes) -> bool:
    """Whether a batch is damaged where it was first written, and stands in a later file of its name as well."""
    offset, length, _, _, _, digest, _ = SUM.unpack(record)
    with path.open("rb") as file:
        schema = file.read(SCHEMA_ROOM)
        schema = schema[: 8 + int.from_bytes(schema[4:8], "little")]
        file.seek(offset)
        if batch_digest(schema, file.read(length)) == digest:
            return False
    others = (sums for sums in path.parent.glob("*.sums") if sums.stem != path.stem)
    return any(SUM.unpack(other)[5] == digest for sums in others for other in _records(sums))


def _open_for_growth(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640), "r+b")
