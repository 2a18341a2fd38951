"""What ranks have converted, on its way to the rank that commits: Arrow streams in files beside the store.

A file is closed before anybody is told of it, because some file systems show others only then what is in it. It is
read once, in order, and removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from xxhash import xxh3_128_digest

from braid_hpc.compaction.row_edges import Stated
from braid_hpc.compaction.row_ranges import Segments
from braid_hpc.vocabulary.errors import StorageError

__all__ = ["BaleReader", "BaleWriter", "Ended", "Rows", "Slip"]

#: Bytes of a file that is not written further.
BYTES = 32 << 20

_HEADS = pa.schema(
    [
        *((name, pa.string()) for name in ("writer", "child", "child_writer", "parent", "parent_writer", "said")),
        *((name, pa.int64()) for name in ("sequence", "time", "edges", "segments")),
    ]
)
_RANGES = ("child_first", "child_last", "parent_first", "parent_last", "count")


@dataclass(frozen=True, slots=True)
class Rows:
    """Where rows of a writer are.

    Attributes
    ----------
    writer : str
        Its id.
    stream : int
        Its number of the stream; -1 for pairs of rows.
    offset, length : int
        Bytes in the file.
    digest : bytes
        XXH3-128 of these.
    """

    writer: str
    stream: int
    offset: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """All rows of a writer are converted.

    Attributes
    ----------
    writer : str
        Its id.
    digest : str
        XXH3-128 of the check words of the rows that were taken.
    faults : list of str
        What cannot be read.
    line : dict
        What the archive says of it.
    """

    writer: str
    digest: str
    faults: list[str]
    line: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slip:
    """What a file holds, in order.

    Attributes
    ----------
    path : Path
        The file.
    entries : list of Rows or Ended
        The rows, and which writers end.
    """

    path: Path
    entries: list[Rows | Ended]


class BaleWriter:
    """Writes what one rank converts.

    Parameters
    ----------
    directory : Path
        Where; it is there, and nobody else writes into it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._file: Any = None
        self._at = 0
        self._entries: list[Rows | Ended] = []
        self._stated: list[Stated] = []
        self._count = 0

    def add(self, writer: str, each: tuple[int, pa.Table] | Stated) -> Slip | None:
        """Write rows.

        Parameters
        ----------
        writer : str
            Whose.
        each : (int, pyarrow.Table) or Stated
            From :meth:`braid_hpc.compaction.conversion.Conversion.rows`.

        Returns
        -------
        Slip or None
            A file that is full.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if isinstance(each, Stated):
            self._stated.append(each)
            # What an event says beside its pairs is about as much as a few of them.
            self._count += len(each.segments) + 4
            if self._count < BYTES // 40:
                return None
            self._flush_stated(writer)
        else:
            self._write(writer, *each)
        return self.finish() if self._at >= BYTES else None

    def end(self, ended: Ended) -> Slip | None:
        """End a writer.

        Parameters
        ----------
        ended : Ended
            The writer.

        Returns
        -------
        Slip or None
            A file that is full.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._flush_stated(ended.writer)
        self._entries.append(ended)
        return self.finish() if self._at >= BYTES else None

    def finish(self) -> Slip | None:
        """End the file.

        Returns
        -------
        Slip or None
            None if there is nothing to tell of.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if not self._entries:
            return None
        slip = Slip(self._path, self._entries)
        self.close()
        self._number, self._at, self._entries = self._number + 1, 0, []
        return slip

    def close(self) -> None:
        """Close the file, which may be to be removed.

        Raises
        ------
        OSError
            If the file system refuses what it had taken.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @property
    def _path(self) -> Path:
        return self._directory / f"{self._number:06d}.bale"

    def _flush_stated(self, writer: str) -> None:
        stated, self._stated, self._count = self._stated, [], 0
        if stated:
            heads = [(*each.link, each.sequence, each.time, each.edges, len(each.segments)) for each in stated]
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*heads, strict=True), _HEADS, strict=True)
            ]
            self._write(writer, -1, pa.table(columns, schema=_HEADS))
            ranges = {name: pa.chunked_array([getattr(each.segments, name) for each in stated]) for name in _RANGES}
            self._write(writer, -1, pa.table(ranges))

    def _write(self, writer: str, stream: int, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(table)
        data = sink.getvalue()
        if self._file is None:
            self._file = self._path.open("xb")
        self._file.write(data)
        self._entries.append(Rows(writer, stream, self._at, data.size, xxh3_128_digest(data)))
        self._at += data.size


class BaleReader:
    """Reads what one rank has converted."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: Any = None
        self._heads: pa.Table | None = None

    def read(self, path: Path, rows: Rows) -> list[tuple[int, pa.Table] | Stated]:
        """Read rows.

        Parameters
        ----------
        path : Path
            The file; the one before it is removed.
        rows : Rows
            Where they are.

        Returns
        -------
        list of (int, pyarrow.Table) or Stated
            As they were written.

        Raises
        ------
        StorageError
            If they are not what was written.
        OSError
            If they cannot be read.
        """
        if path != self._path:
            self.close()
            self._path, self._file = path, path.open("rb", buffering=0)
        data = self._bytes(rows)
        if xxh3_128_digest(data) != rows.digest:
            raise StorageError(f"{path} is not what was written there: is the disk damaged?")
        table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
        if rows.stream >= 0:
            return [(rows.stream, table)]
        if self._heads is None:
            self._heads = table
            return []
        heads, self._heads = self._heads, None
        return _stated(heads, table)

    def _bytes(self, rows: Rows) -> bytearray:
        data = bytearray(rows.length)
        view, at = memoryview(data), 0
        self._file.seek(rows.offset)
        # The kernel gives 2 GiB at once at most.
        while count := self._file.readinto(view[at:]):
            at += count
        return data

    def close(self) -> None:
        """Remove the file that was read."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
            assert self._path is not None
            self._path.unlink(missing_ok=True)


def _stated(heads: pa.Table, ranges: pa.Table) -> list[tuple[int, pa.Table] | Stated]:
    columns = [ranges.column(name).to_numpy() for name in _RANGES]
    found: list[tuple[int, pa.Table] | Stated] = []
    at = 0
    for row in heads.to_pylist():
        *link, sequence, time, edges, count = row.values()
        segments = Segments(*(column[at : at + count] for column in columns))
        found.append(Stated(tuple(link), sequence, time, edges, segments))
        at += count
    return found
