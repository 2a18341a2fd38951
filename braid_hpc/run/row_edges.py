"""Saying which rows of a stream came from which rows of a stream: any number of pairs at once.

Pairs that follow a rule (row k from row k, every tenth row, many rows from one) are written as that rule, whatever
their number. Others are listed, so many at a time that the copy that is made of them stays small.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from braid_hpc.log.batch_file import BatchFile, batch_digest
from braid_hpc.log.seal import encode_batch
from braid_hpc.run.column_values import column_buffers
from braid_hpc.run.filing import Filing
from braid_hpc.run.guard import recording, shown
from braid_hpc.run.handles import Rows
from braid_hpc.run.streams import INLINE_BYTES, Stream
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import BATCH_IN_FILE, BATCH_PLACE, EDGES_FILE
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.payloads import RowEdges
from braid_hpc.vocabulary.references import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid_hpc.log.writer import RankLog

__all__ = ["EDGES_AT_ONCE", "Relating"]

#: Listed pairs that are written as one event.
EDGES_AT_ONCE = 1 << 20

_LAST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class _Side:
    """The children, or the parents.

    A range if `values` is None: `count` rows from `first` on, `step` apart. Else the rows are `first` and more.
    """

    stream: str
    writer: bytes
    said: str | None
    first: int
    count: int
    step: int = 1
    values: Any = None

    def part(self, begin: int, end: int) -> tuple[list[int], Any]:
        """Return how some of them are written: two numbers and nothing, or one number and a buffer of int64."""
        if self.values is None:
            return [self.first + begin * self.step, self.step], b""
        values = self.values[begin:end]
        if (numpy := sys.modules.get("numpy")) is not None:
            values = numpy.ascontiguousarray(values, "<i8")
        return [self.first], memoryview(values).cast("B")

    def numbers(self, begin: int, end: int) -> Any:
        """Return some of the rows, one by one."""
        numpy = sys.modules.get("numpy")
        if self.values is None:
            row = self.first + begin * self.step
            if not self.step:
                return numpy.full(end - begin, row) if numpy is not None else [row] * (end - begin)
            span = (row, row + (end - begin) * self.step, self.step)
            return numpy.arange(*span) if numpy is not None else range(*span)
        values = self.values[begin:end]
        return values.astype("int64") + self.first if numpy is not None else [self.first + each for each in values]


class Relating(Filing):
    """What relates rows to rows."""

    #: The streams that were declared, by name.
    _named_streams: dict[str, list[Stream]]
    #: Files of long lists by writer: a forked child has a log of its own.
    _edge_files: dict[bytes, _EdgeFile]
    _next_edge: int = 0

    def _note_stream(self, stream: Stream) -> None:
        """Remember a stream that was declared; rows of all of one name are numbered together."""
        found = self._named_streams.setdefault(stream.name, [])
        found.append(stream)
        stream._counter = found[0]

    @recording
    def derive_rows(self, children: Any, parents: Any, *, child_index: Any = None, parent_index: Any = None) -> None:
        """Say which rows came from which rows, one to one.

        Children and parents are as many, or one on either side: then all came from it, or it came from all. Any
        number of pairs is one call and one event, or a few.

        Parameters
        ----------
        children : Rows or Stream
            What ``append`` or ``extend`` returned, of this or any other writer. A stream of this run stands for all
            of its rows, and needs `child_index`.
        parents : Rows, Stream or str
            Likewise; or a reference to a stream of this or an earlier run, ``"frames"`` or ``"frames@2"`` with
            `parent_index`, or one row of it, ``"frames#17"``. It means this writer's stream of that name, else
            that of this run, else that of the last run before it, if only one writer has it there.
        child_index, parent_index : sequence of int, optional
            Numbers of rows, shape (n,), any integer dtype: counted from the first row of a range, and from row 0 of
            a stream. A row may be named many times.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if children and parents are not as many, a number is negative, none, or
            beyond the rows that there are, or something is neither a range nor a stream with numbers; if a stream of
            this run is not known. Nothing is written then.
        """
        if not self._open:
            self._note_late()
            return
        child = self._rows_of("children", children, child_index)
        parent = self._rows_of("parents", parents, parent_index)
        # Rows that were refused or lost: that was said then.
        if child is not None and parent is not None:
            child, parent = _as_many(child, parent)
            _see_that_none_is_its_own(child, parent)
            self._write_edges(child, parent)

    def _rows_of(self, what: str, given: Any, index: Any) -> _Side | None:
        """Return what a caller gave as children or parents; None for rows that were refused."""
        if isinstance(given, Rows):
            return self._of_range(what, given, index)
        if isinstance(given, Stream):
            return self._of_stream(what, given, index)
        if isinstance(given, str) and what == "parents":
            return _of_reference(given, index)
        raise InvalidInputError(
            f"{what} are what append or extend returned, or a stream with numbers of rows, not {shown(given)}"
        )

    def _of_range(self, what: str, rows: Rows, index: Any) -> _Side | None:
        writer, name, first, count = rows
        whole = all(type(number) is int and 0 <= number <= _LAST for number in (first, count))
        if type(writer) is not bytes or len(writer) != 16 or not isinstance(name, str) or not whole:
            raise InvalidInputError(f"{what} are no range of rows: {shown(rows)}")
        if not count and not any(writer):
            return None
        if not name or first + count > _LAST:
            raise InvalidInputError(f"{what} are no range of rows: {shown(rows)}")
        own = writer == self._log.writer
        if own and first + count > (there := self._stream_named(what, name)._next):
            raise InvalidInputError(f"{what} are rows {first} to {first + count - 1} of {name!r}, which has {there}")
        side = _Side(name, b"" if own else writer, None, first, count)
        return side if index is None else _indexed(side, what, index, count)

    def _of_stream(self, what: str, stream: Stream, index: Any) -> _Side | None:
        if not stream.columns:
            return None
        if index is None:
            raise InvalidInputError(f"{what} are a stream, {stream.name!r}: say which rows of it with their numbers")
        writer = stream._log.writer
        own = writer == self._log.writer
        if own:
            self._stream_named(what, stream.name)
        return _indexed(_Side(stream.name, b"" if own else writer, None, 0, 0), what, index, stream._counter._next)

    def _stream_named(self, what: str, name: str) -> Stream:
        """Return this writer's stream of a name, which counts the rows of all of that name."""
        if found := self._named_streams.get(name):
            return found[0]
        raise InvalidInputError(f"{what} are rows of stream {name!r}, which was not declared in this run")

    def _write_edges(self, child: _Side, parent: _Side) -> None:
        log = self._log
        names = log.intern(child.stream), log.intern(parent.stream)
        said = RowEdges([], [], child_writer=child.writer, parent_writer=parent.writer, said=parent.said)
        for begin, end in _parts(child, parent):
            said.child, one = child.part(begin, end)
            said.parent, two = parent.part(begin, end)
            flags, count = 0, end - begin
            # No call between these two lines, see braid_hpc.log.tail.
            first = self._next_edge
            self._next_edge = first + count
            said.listed = b"".join((one, two))
            if len(said.listed) > INLINE_BYTES:
                try:
                    said.listed, flags = self._edge_file(log).write(said.listed, first, count), BATCH_IN_FILE
                except OSError as error:
                    log.lose(error, count)
                    continue
            if not log.append(Code.ROW_EDGES, names[0], first, count, names[1], flags, encode(said)):
                self._note_late()
                return

    def _edge_file(self, log: RankLog) -> _EdgeFile:
        found = self._edge_files.get(log.writer)
        if found is None:
            made = _EdgeFile(log)
            # Whoever comes first makes it, and all threads write into the same one.
            found = self._edge_files.setdefault(log.writer, made)
            if found is made:
                log.attach(made.file)
        return found


class _EdgeFile:
    """The file of the lists of one log that are too long for its tails."""

    def __init__(self, log: RankLog) -> None:
        import nanoarrow as na

        self.file = BatchFile(log.directory / f"stream-{EDGES_FILE:04d}.arrows")
        self._form = na.int64()
        self._whole = na.struct([na.Schema(self._form, name="row", nullable=False)], nullable=False)

    def write(self, listed: bytes, first: int, count: int) -> bytes:
        """Write a list; return its place as an event has it."""
        import nanoarrow as na

        rows = len(listed) // 8
        column = na.c_array_from_buffers(self._form, rows, [None, listed], null_count=0)
        schema, batch = encode_batch(self._whole, [column], rows)
        part, offset, length = self.file.append(schema, batch, first, first + count, rows, sync=False)
        return BATCH_PLACE.pack(offset, length, batch_digest(schema, batch), part)


def _of_reference(text: str, index: Any) -> _Side:
    reference = parse_reference(text)
    if reference.name is None or reference.kind not in (None, "stream"):
        raise InvalidInputError(f"{shown(text)} does not name a stream: write its name, and '#k' behind it for one row")
    if (reference.row is None) == (index is None):
        raise InvalidInputError(f"say which rows of {shown(text)}: one as '#k' behind it, or several by their numbers")
    said = str(Reference(reference.name, version=reference.version, latest=reference.latest))
    side = _Side(reference.name, b"", said, reference.row or 0, 1)
    return side if index is None else _indexed(side, "parents", index, None)


def _indexed(side: _Side, what: str, index: Any, rows: int | None) -> _Side:
    """Return the rows of a side that some numbers name; all of them are below `rows`."""
    values = _integers(what, index)
    count = len(values)
    if not count:
        return replace(side, count=0)
    low, high = (int(values.min()), int(values.max())) if hasattr(values, "min") else (min(values), max(values))
    if low < 0:
        raise InvalidInputError(f"{what} have the number {low}: rows are counted from 0")
    if high > (_LAST - side.first if rows is None else rows - 1):
        there = "that is beyond 63 bits" if rows is None else f"there are {rows} rows"
        raise InvalidInputError(f"{what} have the number {high}, and {there}")
    first = int(values[0])
    if (step := _step_of(values)) is not None:
        return replace(side, first=side.first + first, count=count, step=step)
    return replace(side, count=count, values=values)


def _integers(what: str, index: Any) -> Any:
    """Return numbers as an array of NumPy's, where that is loaded, of the type they have; else as a buffer of int64."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(index, "__array__"):
        array = numpy.asarray(index)
        if (masks := sys.modules.get("numpy.ma")) is not None and masks.is_masked(index):
            raise InvalidInputError(f"the numbers of {what} are masked: give those that count")
        if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
            raise InvalidInputError(
                f"the numbers of {what} are of dtype {array.dtype} and shape {array.shape}: give whole ones, in a row"
            )
        return array
    if hasattr(index, "__len__") and not len(index):
        return ()
    (data,), _ = column_buffers(index, "int64", f"numbers of {what}")
    return numpy.frombuffer(data, "<i8") if numpy is not None else memoryview(data).cast("B").cast("q")


def _step_of(values: Any) -> int | None:
    """Return how far each number is from the one before it, if that is the same for all and not negative."""
    count = len(values)
    if count == 1:
        return 1
    first, last = int(values[0]), int(values[-1])
    step = int(values[1]) - first
    if step < 0 or last != first + step * (count - 1):
        return None
    for begin in range(0, count - 1, EDGES_AT_ONCE):
        part = values[begin : begin + EDGES_AT_ONCE + 1]
        # Differences of unsigned numbers wrap around, and are as unlike the step then.
        same = (
            bool((part[1:] - part[:-1] == step).all())
            if hasattr(part, "all")
            else all(two - one == step for one, two in pairwise(part))
        )
        if not same:
            return None
    return step


def _as_many(child: _Side, parent: _Side) -> tuple[_Side, _Side]:
    if child.count == parent.count:
        return child, parent
    if child.count == 1 and parent.count:
        return replace(child, count=parent.count, step=0), parent
    if parent.count == 1 and child.count:
        return child, replace(parent, count=child.count, step=0)
    raise InvalidInputError(f"there are {child.count} children and {parent.count} parents: give as many, or one")


def _parts(child: _Side, parent: _Side) -> Iterator[tuple[int, int]]:
    """Yield what is written as one event: all of it, unless rows are listed."""
    count = child.count
    size = max(count, 1) if child.values is None and parent.values is None else EDGES_AT_ONCE
    for begin in range(0, count, size):
        yield begin, min(begin + size, count)


def _see_that_none_is_its_own(child: _Side, parent: _Side) -> None:
    if (child.stream, child.writer, child.said) != (parent.stream, parent.writer, parent.said):
        return
    if child.values is None and parent.values is None:
        apart, faster = parent.first - child.first, child.step - parent.step
        own = apart == 0 if not faster else apart % faster == 0 and 0 <= apart // faster < child.count
        own = own and child.count > 0
    else:
        own = any(_share_one(child, parent, *part) for part in _parts(child, parent))
    if own:
        raise InvalidInputError(f"a row of stream {child.stream!r} cannot be derived from itself")


def _share_one(child: _Side, parent: _Side, begin: int, end: int) -> bool:
    one, two = child.numbers(begin, end), parent.numbers(begin, end)
    if hasattr(one, "any"):
        return bool((one == two).any())
    return any(a == b for a, b in zip(one, two, strict=True))
