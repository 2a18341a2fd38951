"""Streams: typed tables that a rank appends to, row by row or many rows at once as columns."""

from __future__ import annotations

import functools
import struct
import sys
from _thread import get_ident
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, TypeAlias

from xxhash import xxh3_64_intdigest

from braid_hpc.log.batch_file import BatchFile, batch_digest
from braid_hpc.log.interrupts import from_handler
from braid_hpc.log.layout import PAGE, ROW, ROW_BYTES
from braid_hpc.log.seal import give_back
from braid_hpc.log.stream_batches import StreamBatches
from braid_hpc.log.tail import MappedTail
from braid_hpc.run.column_values import column_buffers, is_truth
from braid_hpc.run.guard import recording
from braid_hpc.run.handles import NO_ROWS, Rows
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import (
    BATCH_IN_FILE,
    BATCH_PLACE,
    FIXED,
    ROW_AS_LIST,
    VARIABLE,
    item_bytes,
    row_struct,
)
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap

    from braid_hpc.log.writer import RankLog
    from braid_hpc.run.recorder import Run

__all__ = ["INLINE_BYTES", "NO_ROWS", "Rows", "Stream", "stream_type"]

#: Batches up to this many bytes go into the tail; larger ones into the stream's own Arrow file.
INLINE_BYTES = 32 << 10


class Stream:
    """A typed, append-only table; made by :meth:`braid_hpc.Run.stream`.

    Attributes
    ----------
    name : str
        Rows of all ranks and runs under this name are one table in the store.
    columns : list of (str, str)
        Names and types.
    """

    def __new__(cls, run: Run, log: RankLog, number: int, name: str, columns: list[tuple[str, str]]) -> Stream:
        """Take the class whose ``append`` is made for these columns."""
        kinds = tuple(kind for _, kind in columns)
        return object.__new__(_specialised(kinds) if cls is Stream and columns else cls)

    def __init__(self, run: Run, log: RankLog, number: int, name: str, columns: list[tuple[str, str]]) -> None:
        self._run = run
        # What is the same in all of its rows: object, name, other, code and flags.
        self._middle = _MIDDLE.pack(1, 0, number, Code.ROW, 0)
        self._log = log
        self._number = number
        # Rows are known by name and number: a stream that is declared again counts on with the first one's counter.
        self._counter: Stream = self
        self._next: int = 0
        self._pack = row_struct(columns).pack
        # Those that struct does not check: of texts it gets the length, and as a truth value it takes anything.
        self._checked = [(index, kind) for index, (_, kind) in enumerate(columns) if kind in _CHECKED]
        #: By writer: a forked child has a log of its own.
        self._files: dict[bytes, BatchFile] = {}
        self._place = _NOWHERE
        self._batches: StreamBatches | None = None
        # What batches of plain arrays are compared with.
        self._names: list[str] | None = None
        self._dtypes: list[Any] = []
        self._row_bytes = 0
        self.name = name
        self.columns = columns

    def _refused(self, call: str, error: Exception, given: str) -> Rows:
        self._run._refused(f"stream {self.name!r}: {call}", error, given)
        return NO_ROWS

    @recording
    def append(self, *values: Any, **named: Any) -> Rows:
        """Append one row.

        Parameters
        ----------
        *values, **named
            One value for each column, in order or by name; None where there is none.

        Returns
        -------
        Rows
            The row's place; count 0 if it was refused (a value of the wrong type, or too few or too many).
        """
        if named:
            values = self._in_order(values, named)
        try:
            payload = self._encode(values)
            flags = 0
        except (struct.error, TypeError, AttributeError, OverflowError, IndexError):
            payload = encode(self._check_row(values))
            flags = ROW_AS_LIST
        counter = self._counter
        # No call between these two lines, see braid_hpc.log.tail.
        first = counter._next
        counter._next = first + 1
        log = self._log
        if log.append(Code.ROW, 0, first, 1, self._number, flags, payload):
            return Rows(log.writer, self.name, first, 1)
        self._run._note_late()
        return NO_ROWS

    def _move(self) -> None:
        """Have the next rows stored into the tail that the log has now, where `append` can do that by itself."""
        tail = self._log.tail
        # A tail that is left takes no row any more, so that this is noticed by whoever still knows it.
        if tail.__class__ is MappedTail and tail.header.after < 1 << 32:
            self._place = (*tail.parts, self._middle, tail.writer, self.name)
        else:
            self._place = _NOWHERE

    def _encode(self, values: tuple[Any, ...]) -> bytes:
        checked = self._checked
        if not checked and self.columns:
            return self._pack(*values)
        fixed = list(values)
        tail = b""
        for index, kind in checked:
            value = fixed[index]
            if not _CHECKED[kind](value):
                raise TypeError
            if kind != "bool":
                data = value if kind == "bytes" else value.encode("utf-8", "surrogatepass")
                fixed[index] = len(data)
                tail += data
        if not fixed:
            raise TypeError
        return self._pack(*fixed) + tail

    def _in_order(self, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        names = [name for name, _ in self.columns]
        row = dict(zip(names, values, strict=False))
        for name, value in named.items():
            if name not in names:
                raise InvalidInputError(f"stream {self.name!r} has no column {name!r}: it has {', '.join(names)}")
            if name in row:
                raise InvalidInputError(f"column {name!r} of stream {self.name!r} is given twice")
            row[name] = value
        if missing := [name for name in names if name not in row]:
            raise InvalidInputError(f"a row of stream {self.name!r} lacks {', '.join(missing)}: give None if unknown")
        return tuple(row[name] for name in names)

    def _check_row(self, values: tuple[Any, ...]) -> list[Any]:
        """Return a row with None in it as a list, or say which value is wrong."""
        if not self.columns:
            raise InvalidInputError(f"stream {self.name!r} has no columns: its declaration was refused")
        if len(values) != len(self.columns):
            raise InvalidInputError(f"a row of stream {self.name!r} has {len(self.columns)} values, not {len(values)}")
        row: list[Any] = []
        for value, (name, kind) in zip(values, self.columns, strict=True):
            if value is None:
                row.append(None)
                continue
            try:
                if kind in _CHECKED and not _CHECKED[kind](value):
                    raise TypeError
                # As a row without None in it would have it: True is 1 among integers, and what a float rounds is
                # rounded here, because Arrow refuses both when logs are merged.
                if kind in FIXED:
                    value = struct.unpack("<" + FIXED[kind], struct.pack("<" + FIXED[kind], value))[0]
                row.append(value.item() if hasattr(value, "item") else value)
            except (struct.error, TypeError, OverflowError):
                raise InvalidInputError(
                    f"{value!r} is not of type {kind} (column {name!r} of stream {self.name!r})"
                ) from None
        if not any(value is None for value in values):
            raise InvalidInputError(f"a row of stream {self.name!r} could not be encoded")
        return row

    @recording
    def extend(self, columns: Any) -> Rows:
        """Append many rows, given as columns.

        Parameters
        ----------
        columns : mapping of str to sequence
            One sequence for each column, all of one length: NumPy or Arrow arrays, buffers, or lists. Values must
            fit the declared type: nothing is cut or rounded, except float64 to float32.

        Returns
        -------
        Rows
            The place of the rows; count 0 if they were refused.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if the columns are not those of the stream, or values do not fit.
        """
        if not self.columns:
            raise InvalidInputError(f"stream {self.name!r} has no columns: its declaration was refused")
        plain = self._plain(columns)
        if plain is not None:
            rows = len(plain[0])
            buffers, size = [plain], rows * self._row_bytes
        else:
            buffers, rows = self._buffers(columns)
            size = sum(len(data) for parts in buffers for data in parts)
        if not rows:
            return NO_ROWS
        counter = self._counter
        # No call between these two lines, see braid_hpc.log.tail.
        first = counter._next
        counter._next = first + rows
        if size <= INLINE_BYTES:
            payload, flags = b"".join(plain or [data for parts in buffers for data in parts]), 0
        else:
            if plain is not None:
                buffers = [[given.data.cast("B")] for given in plain]
            try:
                payload, flags = self._to_file(buffers, first, rows), BATCH_IN_FILE
            except OSError as error:
                self._log.lose(error, rows)
                return NO_ROWS
        log = self._log
        if log.append(Code.BATCH, 0, first, rows, self._number, flags, payload):
            return Rows(log.writer, self.name, first, rows)
        if rows > 1:
            # The log has counted one event, which stood for so many rows.
            log.lose(None, rows - 1)
        self._run._note_late()
        return NO_ROWS

    def _plain(self, columns: Any) -> list[Any] | None:
        """Return NumPy arrays of the very types and one length, which take no conversion; None for anything else."""
        numpy = sys.modules.get("numpy")
        if numpy is None or columns.__class__ is not dict:
            return None
        if self._names is None:
            kinds = ["int64" if kind == "timestamp" else kind for _, kind in self.columns]
            fixed = not set(kinds) & set(VARIABLE)
            self._dtypes = [numpy.dtype(kind) for kind in kinds] if fixed else []
            self._row_bytes = sum(map(item_bytes, kinds)) if fixed else 0
            # No names that anybody could give, where texts are among the columns.
            self._names = [name for name, _ in self.columns] if fixed else []
        if not columns or [*columns] != self._names:
            return None
        arrays = [*columns.values()]
        kind = numpy.ndarray
        for given in arrays:
            if given.__class__ is not kind or not given.flags.c_contiguous:
                return None
        shape = arrays[0].shape
        if len(shape) != 1 or not shape[0] or [given.dtype for given in arrays] != self._dtypes:
            return None
        for given in arrays:
            if given.shape != shape:
                return None
        return arrays

    def _buffers(self, columns: Any) -> tuple[list[list[Any]], int]:
        names = [name for name, _ in self.columns]
        try:
            if hasattr(columns, "keys"):
                given = list(columns.keys())
            else:
                # Arrow's tables name their columns so, the frames of others as `columns`.
                given = list(columns.column_names if hasattr(columns, "column_names") else columns.columns)
        except (TypeError, AttributeError):
            raise InvalidInputError(
                f"extend takes a mapping of column to values, not a {type(columns).__name__}"
            ) from None
        if set(given) != set(names):
            raise InvalidInputError(
                f"stream {self.name!r} has the columns {', '.join(names)}; given were {', '.join(map(str, given))}"
            )
        rows = -1
        buffers = []
        for name, kind in self.columns:
            parts, length = column_buffers(columns[name], kind, name)
            if rows not in (-1, length):
                raise InvalidInputError(f"column {name!r} has {length} values, the one before it {rows}")
            rows = length
            buffers.append(parts)
        return buffers, rows

    def _to_file(self, buffers: list[list[Any]], first: int, rows: int) -> bytes:
        log = self._log
        file = self._files.get(log.writer)
        if file is None:
            made = BatchFile(log.directory / f"stream-{self._number:04d}.arrows")
            # Of several threads one makes it, and all write into the same.
            file = self._files.setdefault(log.writer, made)
            if file is made:
                log.attach(file)
        if self._batches is None:
            self._batches = StreamBatches(self.columns)
        schema, batch = self._batches.encode(buffers, rows)
        digest = batch_digest(schema, batch)
        part, offset, length = file.append(schema, batch, first, first + rows, rows, sync=False, digest=digest)
        give_back(batch)
        return BATCH_PLACE.pack(offset, length, digest, part)


#: The fields of a row that stand between `subject` and `thread`; those of ROW with them as one, and what follows.
_MIDDLE = struct.Struct("<QIIHH")
_AROUND = "<qQ20sIII8x"


class _Refusing:
    """Stands where there is no tail that `append` can store into by itself."""

    __slots__ = ()
    _free = _next = _rows = 0


#: Tail, mapping, last words of the rows, heap, its end, first sequence; the stream's middle, writer and name.
_Place: TypeAlias = "tuple[Any, mmap | None, memoryview | None, int, int, int, bytes, bytes, str]"
_NOWHERE: _Place = (_Refusing(), None, None, 0, 0, 0, bytes(20), b"", "")

# One function for all of it, because each function that it called would cost as much as storing the row. It does what
# Stream.append and MappedTail.append do, for rows of which nothing is unusual, and leaves all others to these.
_APPEND = """
def append(self, {parameters}, *more, **named):
    if not more and not named:
        try:
            {checks}
            tail, mapped, words, heap, limit, number, middle, writer, name = self._place
            length = {length}
            thread = get_ident() & 0xFFFFFFFF
            counter = self._counter
            first, start = counter._next, tail._free
            data = pack(monotonic_ns(), first, middle, thread, start, length, {fixed}){texts}
            check = (digest(data) & 0xFFFFFFFF00000000) or 0x100000000
            # No call from here to the end of the stores, see braid_hpc.log.tail.
            slot = tail._next
            end = start + length
            if (
                start == tail._free
                and first == counter._next
                and slot < tail._rows
                and end <= limit
            ):
                at = heap + start
                mapped[at : at + length] = data[{body}:]
                counter._next = first + 1
                tail._next = slot + 1
                tail._free = end
                at = {page} + slot * {row}
                mapped[at : at + {body}] = data[:{body}]
                words[slot] = check | (number + slot)
                return {rows}
        except Exception as error:
            # Nothing was stored: a value of another type, None, a tail that was closed meanwhile.
            if from_handler(error):
                raise
            del error
    given = [value for value in ({names},) if value is not MISSING]
    result = Stream.append(self, *given, *more, **named)
    self._move()
    return result
"""


@functools.lru_cache(maxsize=256)
def _specialised(kinds: tuple[str, ...]) -> type[Stream]:
    """Return a stream whose ``append`` is made for columns of these types."""
    names = [f"_{index}" for index in range(len(kinds))]
    checks, fixed, texts, codes = [], [], [], _AROUND
    for name, kind in zip(names, kinds, strict=True):
        codes += FIXED.get(kind, "I")
        if kind == "bool":
            checks.append(f"if {name} is not True and {name} is not False: raise TypeError")
        elif kind == "bytes":
            checks.append(f"if {name}.__class__ is not bytes: raise TypeError")
            texts.append(name)
        elif kind == "text":
            checks.append(f"text{name} = encode({name})")
            texts.append(f"text{name}")
        if kind in VARIABLE:
            checks.append(f"size{name} = len({texts[-1]})")
        fixed.append(f"size{name}" if kind in VARIABLE else name)
    row = struct.Struct(codes)
    body = ROW.size
    sizes = [name for name in fixed if name.startswith("size")]
    source = _APPEND.format(
        parameters=", ".join(f"{name}=MISSING" for name in names),
        names=", ".join(names),
        checks="\n            ".join(checks) or "pass",
        length=" + ".join([str(row.size - body), *sizes]),
        fixed=", ".join(fixed),
        texts="".join(f" + {text}" for text in texts),
        body=body,
        page=PAGE,
        row=ROW_BYTES,
        # A named tuple made by its own constructor takes longer than storing the row.
        rows="new(Rows, (writer, name, first, 1))" if issubclass(Rows, tuple) else "Rows(writer, name, first, 1)",
    )
    known: dict[str, Any] = {
        "MISSING": object(),
        "Rows": Rows,
        "Stream": Stream,
        "digest": xxh3_64_intdigest,
        "encode": str.encode,
        "from_handler": from_handler,
        "get_ident": get_ident,
        "monotonic_ns": monotonic_ns,
        "new": tuple.__new__,
        "pack": row.pack,
    }
    # Nothing in it comes from outside: it is made of numbers and the names above.
    exec(compile(source, __file__, "exec"), known)
    append = functools.wraps(Stream.append)(known["append"])
    return type("Stream", (Stream,), {"append": append, "__doc__": Stream.__doc__, "__module__": Stream.__module__})


def stream_type(log: RankLog) -> type[Stream]:
    """Return what the streams of a log are made of.

    Parameters
    ----------
    log : RankLog
        The log they write to.

    Returns
    -------
    type
        :class:`Stream`, or its compiled form where the log's tail is compiled.
    """
    if log.cell is None:
        return Stream
    from braid_hpc.run.compiled import CompiledStream

    return CompiledStream


_CHECKED: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "bytes": lambda value: isinstance(value, bytes),
    "bool": is_truth,
}
