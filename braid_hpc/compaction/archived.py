"""The archive of a commit, read again: every sum is checked, and what does not verify is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_intdigest, xxh3_128_digest

from braid_hpc.compaction.archive import ARCHIVE, MAJOR
from braid_hpc.compaction.archive_files import file_sum
from braid_hpc.compaction.archive_part import part_file
from braid_hpc.log.header import unpack_header
from braid_hpc.log.layout import SUM, SUM_BYTES
from braid_hpc.reading.events import Events
from braid_hpc.reading.parts import Part
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.sealed import Segment, read_batch, read_rows
from braid_hpc.reading.survey import notes_of, read_writer
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["ArchivedCommit", "ArchivedWriter", "Batches", "base_of", "read_commit", "read_ipc"]

#: A large batch of a stream: where it stands, by what the event in the log names it.
Batches = dict[bytes, tuple[Path, Segment]]


@dataclass(slots=True)
class ArchivedWriter:
    """What a commit took of one writer, as its archive has it.

    Attributes
    ----------
    about : dict
        Its line of ``writers.jsonl``.
    taken, there : Ranges
        Sequences that were taken, and those that the log had then.
    parts : list of Part
        Where the rows that were taken are.
    notes : Events
        Those of them that tell of the log itself.
    batches : dict
        Large batches of its streams.
    """

    about: dict[str, Any]
    taken: Ranges
    there: Ranges
    parts: list[Part] = field(default_factory=list)
    notes: Events = field(default_factory=Events.empty)
    batches: Batches = field(default_factory=dict)

    @property
    def writer(self) -> str:
        """Its id."""
        return str(self.about["writer"])

    @property
    def found(self) -> Ranges:
        """The sequences of the rows that verify."""
        found = Ranges.none()
        for part in self.parts:
            found = found | part.ranges
        return found


@dataclass(slots=True)
class ArchivedCommit:
    """The archive of a commit.

    Attributes
    ----------
    folder : Path
        Its directory.
    about : dict
        What ``commit.json`` says.
    lines : list of dict
        ``writers.jsonl``.
    arrays : list of tuple
        Rows of ``array_rows``.
    numbers : Path or None
        The file of numbers; None where it is damaged.
    damage : list of str
        A sentence for each damage.
    """

    folder: Path
    about: dict[str, Any]
    lines: list[dict[str, Any]]
    arrays: list[tuple[Any, ...]]
    numbers: Path | None
    damage: list[str] = field(default_factory=list)

    def each_writer(self) -> Iterator[tuple[ArchivedWriter, list[str]]]:
        """Read the rows that were taken, writer by writer, all of them once.

        Yields
        ------
        writer : ArchivedWriter
            What is there of it.
        damage : list of str
            A sentence for each damage.

        Raises
        ------
        FormatTooNewError
            If a log is of a newer major format.
        """
        parts: dict[int, tuple[_Summed, _Summed]] = {}
        for about in self.lines:
            if (part := about.get("part", 0)) not in parts:
                parts[part] = self._summed("events", part), self._summed("batches", part)
            rows, batches = parts[part]
            found = ArchivedWriter(about, Ranges.unflat(about["taken"]), Ranges.unflat(about["there"]))
            damage = self._read_linked(found) if about["linked"] else _read_copied(found, rows, batches)
            if missing := found.taken - found.found:
                spans = ", ".join(
                    f"{first} to {after - 1}" for first, after in zip(missing.first, missing.after, strict=True)
                )
                damage.append(f"events {spans} of writer {found.writer} are not in {self.folder}")
            yield found, damage

    def _summed(self, name: str, part: int) -> _Summed:
        return _Summed(self.folder / f"{part_file(name, part)}.arrows")

    def _read_linked(self, found: ArchivedWriter) -> list[str]:
        folder = self.folder / found.writer
        if not folder.is_dir():
            return [f"{folder} is missing"]
        log = read_writer(folder)
        for part in log.parts:
            part.ranges = part.ranges & found.taken
        found.parts = [part for part in log.parts if part.ranges]
        found.notes = log.notes.take(found.taken.mask(log.notes["sequence"]))
        # What the log has been without since it was archived; its own losses and damage were said then.
        return [f"{folder}: {fault}" for fault in log.faults] if found.taken - found.found else []


class _Summed:
    """An Arrow file of the archive with its sums."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sums = path.with_suffix(".sums")
        try:
            self._data = self._sums.read_bytes()
        except OSError:
            self._data = b""

    def segment(self, number: int) -> Segment:
        """Return a record by its place: one that is damaged moves none of the others."""
        record = self._data[SUM_BYTES * number :][:SUM_BYTES]
        if len(record) < SUM_BYTES:
            raise CorruptLogError(f"{self._sums.name} ends before its record {number}")
        *fields, check = SUM.unpack(record)
        if check != xxh3_64_intdigest(record[:-8]):
            raise CorruptLogError(f"record {number} of {self._sums.name} does not carry its check sum")
        return Segment(*fields)


def _read_copied(found: ArchivedWriter, rows: _Summed, batches: _Summed) -> list[str]:
    damage = []
    notes = []
    for number in range(*found.about["rows"]):
        try:
            segment = rows.segment(number)
            events = read_rows(rows.path, segment)
        except CorruptLogError as error:
            damage.append(f"{rows.path.parent}: {error}")
            continue
        part = Part.of(rows.path, (segment.first, segment.after), events, segment)
        found.parts.append(part)
        notes.append(notes_of(part, events))
    found.notes = Events.join(notes)
    for number in range(*found.about["batches"]):
        try:
            segment = batches.segment(number)
            ipc = read_ipc(batches.path, segment)
        except CorruptLogError as error:
            damage.append(f"{batches.path.parent}: {error}: a batch of a stream of writer {found.writer}")
            continue
        found.batches[xxh3_128_digest(ipc)] = batches.path, segment
    return damage


def read_ipc(path: Path, segment: Segment) -> bytes:
    """Read a large batch of a stream.

    Parameters
    ----------
    path : Path
        ``batches.arrows``.
    segment : Segment
        Where it stands.

    Returns
    -------
    bytes
        Schema message and batch, as they stood in the log.

    Raises
    ------
    CorruptLogError
        If it cannot be believed.
    """
    table = read_batch(path, segment.offset, segment.length, segment.digest)
    return bytes(table["ipc"][0].as_buffer())


def base_of(folder: Path) -> str | None:
    """Return the commit that a commit was built on, as far as its archive can be read.

    Parameters
    ----------
    folder : Path
        The archive.

    Returns
    -------
    str or None
        A tag; None for the first commit, and where it is not known.
    """
    try:
        base = _about(folder).get("base")
    except CorruptLogError:
        return None
    return None if base is None else str(base)


def read_commit(folder: Path) -> ArchivedCommit:
    """Read what an archive says of its commit; the rows are not read yet.

    Parameters
    ----------
    folder : Path
        The archive.

    Returns
    -------
    ArchivedCommit
        With what is damaged of it.

    Raises
    ------
    CorruptLogError
        If nothing of it can be used.
    FormatTooNewError
        If it is of a newer major format.
    """
    about = _about(folder)
    faults = {name: fault for name, expected in about["files"].items() if (fault := _fault(folder / name, expected))}
    if fault := faults.get("writers.jsonl"):
        raise CorruptLogError(fault)
    found = ArchivedCommit(
        folder,
        about,
        [json.loads(line) for line in (folder / "writers.jsonl").read_text().splitlines()],
        [],
        folder / "numbers.tsv" if "numbers.tsv" not in faults else None,
        list(faults.values()),
    )
    if "arrays.jsonl" not in faults:
        found.arrays = [tuple(json.loads(line)) for line in (folder / "arrays.jsonl").read_text().splitlines()]
    return found


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = unpack_header((folder / "commit.json").read_bytes())
    except OSError as error:
        raise CorruptLogError(f"{folder / 'commit.json'} cannot be read ({error.strerror})") from None
    except FormatTooNewError:
        raise FormatTooNewError(
            f"{folder} is of a newer archive format than {MAJOR}, which this braid_hpc reads: update braid_hpc"
        ) from None
    except CorruptLogError as error:
        raise CorruptLogError(f"{folder}: {str(error).replace('header.json', 'commit.json')}") from None
    if about.get("format") != ARCHIVE:
        raise CorruptLogError(f"{folder / 'commit.json'} is not of an archive")
    return about


def _fault(path: Path, expected: dict[str, Any]) -> str | None:
    try:
        found = file_sum(path)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if found == expected:
        return None
    if found["bytes"] < expected["bytes"]:
        return f"{path} ends within its text, after {found['bytes']} of {expected['bytes']} bytes"
    return f"{path} does not carry its check sum"
