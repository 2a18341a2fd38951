"""Any file of a log as plain values, one for each row: for ``braid log parse``, and for tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from braid_hpc.log.header import unpack_header
from braid_hpc.log.layout import ENDED_NAME, HEADER_NAME, PAGE, ROW, ROW_BYTES, TAIL_PREFIX, TailKind
from braid_hpc.reading.events import COLUMNS, Events
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.sealed import Segment, read_batch, read_sealed_files, read_sums, schema_message
from braid_hpc.reading.tails import read_tail
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import BATCH_IN_FILE, BATCH_PLACE, ROW_AS_LIST
from braid_hpc.vocabulary.encoding import decode, to_jsonable
from braid_hpc.vocabulary.errors import CorruptLogError, InvalidInputError

__all__ = ["dump"]

Lines = Iterator[dict[str, Any]]


def dump(path: Path) -> Lines:
    """Yield what a file of a rank log holds.

    Parameters
    ----------
    path : Path
        ``header.json``, ``tail-<n>``, sealed batches of events or of a stream (``.arrows``), ``arrays-<n>.h5`` or a
        file of sums; it may be damaged.

    Yields
    ------
    dict
        ``{"header": ...}``, ``{"tail": ...}``, ``{"segment": ...}``, ``{"pools": ...}``, ``{"array": ...}``, a row of
        events with its columns, the name of its code, and its payload decoded, or ``{"row": ..., "values": ...}`` of a
        stream. ``{"fault": ...}`` says what does not hold; where something can be shown of it all the same, that
        stands beside it as ``unverified``.

    Raises
    ------
    InvalidInputError
        If its name is none of these.
    FormatTooNewError
        If it is of a newer major format.
    MissingExtraError
        If it holds arrays and h5py is not installed.
    """
    if path.name in (HEADER_NAME, ENDED_NAME):
        yield from _dump_header(path)
    elif path.name.startswith(TAIL_PREFIX):
        yield from _dump_tail(path)
    elif path.suffix == ".sums":
        yield from _dump_sums(path)
    elif path.suffix == ".arrows":
        yield from _dump_batches(path)
    elif path.suffix == ".h5":
        yield from _dump_arrays(path)
    else:
        raise InvalidInputError(
            f"{path} is not a file of a rank log: give header.json, a tail, sealed batches (.arrows), a file of sums "
            f"or an arrays file"
        )


def _dump_header(path: Path) -> Lines:
    data = path.read_bytes()
    try:
        yield {"header": unpack_header(data)}
    except CorruptLogError as error:
        text = data.decode("utf-8", "backslashreplace")
        try:
            yield {"fault": str(error), "unverified": json.loads(text)}
        except ValueError:
            yield {"fault": str(error), "unverified": text}


def _dump_tail(path: Path) -> Lines:
    try:
        scan = read_tail(path)
    except CorruptLogError as error:
        with path.open("rb") as file:
            yield {"fault": str(error), "unverified": file.read(88).hex()}
        return
    if scan.header is None:
        yield {"fault": scan.torn or "this tail was never begun"}
        return
    header = {name: getattr(scan.header, name) for name in scan.header.__slots__}
    header["writer"] = scan.header.writer.hex()
    yield {"tail": header}
    for fault in filter(None, (scan.torn, scan.damaged)):
        yield {"fault": fault}
    if scan.loss:
        yield {"loss": dict(zip(("count", "first", "last"), scan.loss, strict=True))}
    for sequence in scan.corrupt:
        if scan.header.kind == TailKind.FRAMES:
            yield {"fault": "a frame does not carry its check sum: what follows it cannot be placed"}
        else:
            row = _raw_row(path, sequence - scan.header.first)
            yield {"fault": f"row {sequence} does not carry its check sum", "unverified": row}
    yield from _rows(scan.events)


def _raw_row(path: Path, slot: int) -> dict[str, Any]:
    """Return a row as it stands in the table, whatever it is worth."""
    with path.open("rb") as file:
        file.seek(PAGE + slot * ROW_BYTES)
        data = file.read(ROW_BYTES)
    names = ("time", "subject", "object", "name", "other", "code", "flags", "thread", "heap", "length", "reserved")
    row: dict[str, Any] = dict(zip(names, ROW.unpack(data[:56]), strict=True))
    return row | {"word": int.from_bytes(data[56:], "little")}


def _dump_sums(path: Path) -> Lines:
    segments, corrupt, torn = read_sums(path)
    for segment in segments:
        yield {"segment": _segment(segment)}
    for fault in [*corrupt, *([torn] if torn else [])]:
        yield {"fault": fault}


def _dump_batches(path: Path) -> Lines:
    sums = path.with_suffix(".sums")
    if not sums.exists():
        yield {"fault": f"{sums.name} is missing: no batch can be believed without it"}
    segments, corrupt, torn = read_sums(sums)
    for fault in [*corrupt, *([torn] if torn else [])]:
        yield {"fault": fault}
    if path.name.startswith("events"):
        for segment, events, wrong in read_sealed_files([path]):
            yield {"segment": _segment(segment)}
            if events is None:
                yield {"fault": wrong}
            else:
                yield from _rows(events)
    else:
        for segment in segments:
            yield {"segment": _segment(segment)}
            yield from _stream_rows(path, segment)
    for begin, end in _uncovered(path, segments):
        yield {"fault": f"bytes {begin} to {end - 1} have no record in {sums.name}: they do not count"}


def _stream_rows(path: Path, segment: Segment) -> Lines:
    try:
        table = read_batch(path, segment.offset, segment.length, segment.digest)
    except CorruptLogError as error:
        yield {"fault": str(error)}
        return
    # As whole numbers: Python's datetime has no nanoseconds.
    columns = [column.cast("int64") if str(column.type).startswith("timestamp") else column for column in table.columns]
    for row, values in enumerate(zip(*columns, strict=True), segment.first):
        yield {
            "row": row,
            "values": dict(zip(table.column_names, (to_jsonable(v.as_py()) for v in values), strict=True)),
        }


def _uncovered(path: Path, segments: list[Segment]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a file, behind its schema, that no sum speaks of."""
    with path.open("rb") as file:
        at = len(schema_message(file.read(64 << 10)))
    size = path.stat().st_size
    for segment in sorted(segments, key=lambda each: each.offset):
        if at < segment.offset:
            yield at, min(segment.offset, size)
        at = max(at, segment.offset + segment.length)
    if at < size:
        yield at, size


def _dump_arrays(path: Path) -> Lines:
    with ArrayReader() as reader:
        try:
            extents = reader.extents(path)
        except CorruptLogError as error:
            yield {"fault": str(error)}
            return
        yield {"pools": {name: length for name, length in extents.items() if length}}
        for row in reader.index(path):
            yield {"fault": row} if isinstance(row, str) else {"array": row}


def _segment(segment: Segment) -> dict[str, Any]:
    return {name: to_jsonable(getattr(segment, name)) for name in segment.__slots__}


def _rows(events: Events) -> Lines:
    for row in range(len(events)):
        line: dict[str, Any] = {name: int(events[name][row]) for name in COLUMNS}
        code, flags = line["code"], line["flags"]
        line["code"] = Code(code).name if code in Code._value2member_map_ else code
        line["payload"] = _payload(code, flags, events.payload(row))
        yield line


def _payload(code: int, flags: int, payload: bytes) -> Any:
    if code == Code.NAME:
        return payload.decode("utf-8", "backslashreplace")
    if code == Code.BATCH and flags == BATCH_IN_FILE and len(payload) == BATCH_PLACE.size:
        offset, length, digest, part = BATCH_PLACE.unpack(payload)
        return {"offset": offset, "length": length, "digest": digest.hex(), "file": part}
    if not payload or code == Code.BATCH or (code == Code.ROW and flags != ROW_AS_LIST):
        return payload.hex()
    try:
        return to_jsonable(decode(payload))
    except msgspec.DecodeError:
        return payload.hex()
