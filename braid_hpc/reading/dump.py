"""Any file of a log as plain values, one for each row: for ``braid log parse``, and for tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from braid_hpc.log.layout import EVENTS_NAME, HEADER_NAME, TAIL_PREFIX
from braid_hpc.reading.events import COLUMNS, Events
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.sealed import read_sealed, read_sums
from braid_hpc.reading.tails import read_tail
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import decode, to_jsonable
from braid_hpc.vocabulary.errors import CorruptLogError, InvalidInputError

__all__ = ["dump"]


def dump(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a file of a rank log holds.

    Parameters
    ----------
    path : Path
        ``header.json``, ``tail-<n>``, ``events.arrows``, ``arrays-<n>.h5`` or a file of sums; it may be damaged.

    Yields
    ------
    dict
        ``{"header": ...}``, ``{"tail": ...}``, ``{"segment": ...}``, ``{"pools": ...}``, ``{"array": ...}``,
        ``{"fault": ...}``, or a row with its columns, the name of its code, and its payload decoded.

    Raises
    ------
    InvalidInputError
        If its name is none of these.
    MissingExtraError
        If it holds arrays and h5py is not installed.
    """
    if path.name == HEADER_NAME:
        yield from _dump_header(path)
    elif path.name.startswith(TAIL_PREFIX):
        yield from _dump_tail(path)
    elif path.suffix == ".sums":
        yield from _dump_sums(path)
    elif path.name == EVENTS_NAME:
        for segment, events, fault in read_sealed(path.parent, path.name):
            yield {"segment": _segment(segment)}
            if fault is not None or events is None:
                yield {"fault": fault}
            else:
                yield from _rows(events)
    elif path.suffix == ".h5":
        yield from _dump_arrays(path)
    else:
        raise InvalidInputError(
            f"{path} is not a file of a rank log: give header.json, a tail, events.arrows, an arrays file or a file of "
            f"sums"
        )


def _dump_header(path: Path) -> Iterator[dict[str, Any]]:
    try:
        yield {"header": json.loads(path.read_bytes())}
    except ValueError as error:
        yield {"fault": f"{path.name} is not JSON ({error})"}


def _dump_tail(path: Path) -> Iterator[dict[str, Any]]:
    try:
        scan = read_tail(path)
    except CorruptLogError as error:
        yield {"fault": str(error)}
        return
    if scan.header is None:
        yield {"fault": scan.torn or "this tail was never begun"}
        return
    header = {name: getattr(scan.header, name) for name in scan.header.__slots__}
    header["writer"] = scan.header.writer.hex()
    yield {"tail": header}
    if scan.torn:
        yield {"fault": scan.torn}
    if scan.loss:
        yield {"loss": dict(zip(("count", "first", "last"), scan.loss, strict=True))}
    for sequence in scan.corrupt:
        yield {"fault": f"row {sequence} does not carry its check sum"}
    yield from _rows(scan.events)


def _dump_sums(path: Path) -> Iterator[dict[str, Any]]:
    segments, corrupt, torn = read_sums(path)
    for segment in segments:
        yield {"segment": _segment(segment)}
    for fault in [*corrupt, *([torn] if torn else [])]:
        yield {"fault": fault}


def _dump_arrays(path: Path) -> Iterator[dict[str, Any]]:
    with ArrayReader() as reader:
        try:
            extents = reader.extents(path)
        except CorruptLogError as error:
            yield {"fault": str(error)}
            return
        yield {"pools": {name: length for name, length in extents.items() if length}}
        for row in reader.index(path):
            yield {"fault": row} if isinstance(row, str) else {"array": row}


def _segment(segment: Any) -> dict[str, Any]:
    return {name: to_jsonable(getattr(segment, name)) for name in segment.__slots__}


def _rows(events: Events) -> Iterator[dict[str, Any]]:
    for row in range(len(events)):
        line: dict[str, Any] = {name: int(events[name][row]) for name in COLUMNS}
        code = line["code"]
        line["code"] = Code(code).name if code in Code._value2member_map_ else code
        line["payload"] = _payload(code, events.payload(row))
        yield line


def _payload(code: int, payload: bytes) -> Any:
    if code == Code.NAME:
        return payload.decode("utf-8", "backslashreplace")
    if not payload or code in (Code.ROW, Code.BATCH):
        return payload.hex()
    try:
        return to_jsonable(decode(payload))
    except msgspec.DecodeError:
        return payload.hex()
