"""The rows of a data key: in datums, in stream datums, or in the events themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from braid_hpc.assets.lazy import BLOCK
from braid_hpc.assets.opened import Opened, parameters_of, told
from braid_hpc.assets.references import References, Segment
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError

__all__ = ["DatumRows", "EventRows", "StreamRows", "check_shape", "of_event", "said_shape"]


def of_event(error: BraidError, key: str, number: Any, stream: Any) -> BraidError:
    """Return an error that names the event it is of.

    Parameters
    ----------
    error : BraidError
        With a sentence.
    key : str
        The data key.
    number : int
        Of the event.
    stream : str
        Its name.

    Returns
    -------
    BraidError
        Of the same class.
    """
    found = type(error)(f"{key!r} of event {number} of stream {stream!r} cannot be read: {error}")
    for note in getattr(error, "__notes__", ()):
        found.add_note(note)
    return found


def said_shape(about: Any) -> tuple[int, ...] | None:
    """Return the shape that a data key has by its descriptor.

    Parameters
    ----------
    about : mapping
        The data key's.

    Returns
    -------
    tuple of int or None
        None where it says none, or one that differs from event to event.
    """
    shape = about.get("shape") if isinstance(about, Mapping) else None
    if not isinstance(shape, (list, tuple)) or not all(type(each) is int and each >= 0 for each in shape):
        return None
    return tuple(shape)


def check_shape(found: tuple[int, ...], said: tuple[int, ...] | None) -> None:
    """Hold the shape of a value against what its descriptor says; axes of length 1 do not count.

    Parameters
    ----------
    found : tuple of int
        Of the value.
    said : tuple of int or None
        By its descriptor.

    Raises
    ------
    InvalidInputError
        If they differ.
    """
    if said is not None and [n for n in found if n != 1] != [n for n in said if n != 1]:
        raise InvalidInputError(f"its shape is {found}, and the descriptor says {said}")


def _gathered(values: Iterator[Any], count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Put rows into one array, as they come.

    Parameters
    ----------
    values : iterator of array-like
        The rows.
    count : int
        How many there are.
    shape : tuple of int
        Of each.
    dtype : numpy.dtype
        Of the whole.

    Returns
    -------
    numpy.ndarray
        In memory.

    Raises
    ------
    InvalidInputError
        If a row has another shape or type.
    """
    whole = np.empty((count, *shape), dtype)
    for row, value in enumerate(values):
        if value.dtype != dtype and not np.can_cast(value.dtype, dtype, "safe"):
            raise InvalidInputError(f"its type is {value.dtype}, and that of others is {dtype}: ask with ragged=True")
        if value.shape != shape:
            raise InvalidInputError(f"its shape is {value.shape}, and that of others is {shape}: ask with ragged=True")
        whole[row] = value
    return whole


def _ragged(values: Iterator[Any], count: int) -> Any:
    """Put rows of any shape into an array of objects.

    Parameters
    ----------
    values : iterator of object
        The rows.
    count : int
        How many there are.

    Returns
    -------
    numpy.ndarray
        Of one axis.
    """
    whole = np.empty(count, object)
    for row, value in enumerate(values):
        whole[row] = value
    return whole


class DatumRows:
    """Rows that are datums: each event names one.

    Parameters
    ----------
    filler : object
        Its ``datum(id)`` reads one.
    names : sequence of str
        Of the datums, by row.
    seq_nums : numpy.ndarray
        Of the events.
    key, stream : str
        For sentences.
    """

    def __init__(
        self, filler: Any, names: Sequence[Any], seq_nums: np.ndarray[Any, Any], *, key: str, stream: str
    ) -> None:
        self._filler, self._names, self._seq_nums, self._key, self._stream = filler, names, seq_nums, key, stream
        self.shape: tuple[int, ...] | None = None
        self.dtype: np.dtype[Any] = np.dtype(object)
        self.said: tuple[int, ...] | None = None

    def one(self, row: int) -> Any:
        """Read a row.

        Parameters
        ----------
        row : int
            Its number.

        Returns
        -------
        object
            What the reader gives, as an array where it is one.

        Raises
        ------
        BraidError
            If it cannot be read; the sentence names the event.
        """
        try:
            value = np.asarray(self._filler.datum(self._names[row]))
            check_shape(value.shape, self.said)
        except BraidError as error:
            raise of_event(error, self._key, int(self._seq_nums[row]), self._stream) from error
        return value

    def read(self, rows: Any, inner: tuple[slice, ...]) -> Any:
        """Read rows; see :class:`~braid_hpc.assets.lazy.RowSource`.

        Parameters
        ----------
        rows : numpy.ndarray
            Their numbers.
        inner : tuple of slice
            What is wanted of each.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        BraidError
            As :meth:`one`.
        """
        if self.shape is None:
            return _ragged((self.one(int(row)) for row in rows), len(rows))
        whole = np.empty((len(rows), *(each.stop - each.start for each in inner)), self.dtype)
        for place, row in enumerate(rows):
            value = self.one(int(row))
            try:
                whole[place] = _gathered(iter([value]), 1, self.shape, self.dtype)[0][inner]
            except InvalidInputError as error:
                raise of_event(error, self._key, int(self._seq_nums[row]), self._stream) from error
        return whole


class StreamRows:
    """Rows that stream datums name, in stream resources.

    Parameters
    ----------
    opened : Opened
        Readers.
    references : References
        The documents.
    segments : list of Segment
        Where the rows are.
    about : mapping
        What the descriptor says of the key.
    key, stream : str
        For sentences.
    """

    def __init__(
        self,
        opened: Opened,
        references: References,
        segments: list[Segment],
        about: Any,
        *,
        key: str,
        stream: str,
    ) -> None:
        self._opened, self._references, self._segments = opened, references, segments
        self._key, self._stream = key, stream
        self.said = said_shape(about)
        lengths = [each.stop - each.first for each in segments]
        self._starts = np.cumsum([0, *lengths])
        self.seq_nums = np.concatenate([np.arange(each.first, each.stop) for each in segments] or [np.arange(0)])
        self.shape: tuple[int, ...] | None = None
        self.dtype: np.dtype[Any] = np.dtype(object)
        self._layouts: dict[str, tuple[int, tuple[int, ...]]] = {}

    def layout(self, segment: Segment) -> tuple[Any, int, tuple[int, ...]]:
        """Return how an event's value lies in a resource.

        Parameters
        ----------
        segment : Segment
            Events in it.

        Returns
        -------
        reader, rows, shape
            The reader, how many of its rows are the value of one event, and the shape of that value.

        Raises
        ------
        BraidError
            If it cannot be read, or has another shape than the descriptor says.
        """
        reader = self._opened.rows(segment.resource)
        if segment.resource not in self._layouts:
            parameters = parameters_of(self._references.stream_resources[segment.resource])
            row = self._row_shape(reader, segment.index, parameters)
            with told(f"the layout of {self._key!r}"):
                rows, shape = event_layout(row, self.said, parameters, reader.dtype)
            self._layouts[segment.resource] = rows, shape
        return (reader, *self._layouts[segment.resource])

    def _row_shape(self, reader: Any, index: int, parameters: Any) -> tuple[int, ...]:
        """Return the shape of rows; of a sequence of files by one that there surely is."""
        look_at = getattr(reader, "look_at", None)
        with told(f"the reader of {self._key!r}"):
            if callable(look_at):
                # How many rows an event has is not known before the shape of one is.
                most = int(parameters.get("multiplier") or (self.said or (1,))[0] or 1)
                look_at(index * most)
                try:
                    return tuple(reader.row_shape)
                except NotFoundError:
                    look_at(index)
            return tuple(reader.row_shape)

    @property
    def first(self) -> Segment:
        """The first events."""
        return self._segments[0]

    @property
    def chunk_rows(self) -> int:
        """How many events are best read together."""
        if not self._segments:
            return 1
        reader, rows, _ = self.layout(self._segments[0])
        return max(int(reader.chunk_rows) // rows, 1)

    def number(self, row: int) -> int:
        """Return the number of a row's event.

        Parameters
        ----------
        row : int
            The row.

        Returns
        -------
        int
            ``seq_num``.
        """
        return int(self.seq_nums[row])

    def parts(self, rows: np.ndarray[Any, Any]) -> Iterator[tuple[Segment, int, int]]:
        """Yield runs of rows that lie behind each other in one resource, and are not too many to be read at once.

        Parameters
        ----------
        rows : numpy.ndarray
            Ascending.

        Yields
        ------
        segment, first, stop
            Where, and from which row of this array to which.
        """
        at, most = 0, max(BLOCK // max(math.prod(self.shape or ()) * self.dtype.itemsize, 1), 1)
        while at < len(rows):
            place = int(np.searchsorted(self._starts, rows[at], "right")) - 1
            end = at + 1
            while (
                end < len(rows)
                and end - at < most
                and rows[end] == rows[end - 1] + 1
                and rows[end] < self._starts[place + 1]
            ):
                end += 1
            yield self._segments[place], int(rows[at]), int(rows[end - 1]) + 1
            at = end

    def read(self, rows: Any, inner: tuple[slice, ...]) -> Any:
        """Read rows; see :class:`~braid_hpc.assets.lazy.RowSource`.

        Parameters
        ----------
        rows : numpy.ndarray
            Their numbers.
        inner : tuple of slice
            What is wanted of each.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        BraidError
            If they cannot be read; the sentence names an event.
        """
        if self.shape is None:
            values = (row for part in self.parts(rows) for row in self._part(*part, None))
            return _ragged(values, len(rows))
        whole = np.empty((len(rows), *(each.stop - each.start for each in inner)), self.dtype)
        at = 0
        for segment, first, stop in self.parts(rows):
            part = self._part(segment, first, stop, inner)
            whole[at : at + stop - first] = part
            at += stop - first
        return whole

    def read_one(self, row: int) -> Any:
        """Read the value of one event, of whatever shape.

        Parameters
        ----------
        row : int
            Its row.

        Returns
        -------
        numpy.ndarray or scalar
            The value.

        Raises
        ------
        BraidError
            If it cannot be read; the sentence does not name the event.
        """
        ((segment, first, stop),) = self.parts(np.array([row]))
        return self._values(segment, first, stop, None)[0]

    def _part(self, segment: Segment, first: int, stop: int, inner: tuple[slice, ...] | None) -> Any:
        try:
            return self._values(segment, first, stop, inner)
        except BraidError as error:
            # Which of the events it is, each alone says.
            for at in range(first, stop) if stop - first > 1 else ():
                self._part(segment, at, at + 1, inner)
            raise of_event(error, self._key, self.number(first), self._stream) from error

    def _values(self, segment: Segment, first: int, stop: int, inner: tuple[slice, ...] | None) -> Any:
        """Read rows of one resource; where the array has a shape, it is theirs."""
        reader, rows, shape = self.layout(segment)
        index = segment.index + self.number(first) - segment.first
        start, end = index * rows, (index + stop - first) * rows
        if inner is not None and shape != self.shape:
            raise InvalidInputError(f"its shape is {shape}, and that of others is {self.shape}: ask with ragged=True")
        with told(f"the reader of {self._key!r}"):
            found = _read_inner(reader, start, end, (stop - first, *shape), inner)
        if inner is not None and found.dtype != self.dtype and not np.can_cast(found.dtype, self.dtype, "safe"):
            raise InvalidInputError(
                f"its type is {found.dtype}, and that of others is {self.dtype}: ask with ragged=True"
            )
        return found


def _read_inner(
    reader: Any, start: int, end: int, shape: tuple[int, ...], inner: tuple[slice, ...] | None
) -> np.ndarray[Any, Any]:
    """Read rows of a resource as values of events, and what is wanted of each; the reader leaves out what it can."""
    row = tuple(reader.row_shape)
    if inner is not None and shape[1:] == row:
        return np.asarray(reader.read(start, end, inner))
    if inner is not None and shape[1:] == (1, *row):
        return np.asarray(reader.read(start, end, inner[1:]))[:, None][:, inner[0]]
    found: np.ndarray[Any, Any] = np.asarray(reader.read(start, end)).reshape(shape)
    return found if inner is None else found[(slice(None), *inner)]


def event_layout(
    row: tuple[int, ...], said: tuple[int, ...] | None, parameters: Any, dtype: np.dtype[Any]
) -> tuple[int, tuple[int, ...]]:
    """Return how many rows of a resource are one event's value, and the value's shape.

    Parameters
    ----------
    row : tuple of int
        Shape of a row of the resource.
    said : tuple of int or None
        Shape of the value by its descriptor.
    parameters : mapping
        Of the stream resource: ``multiplier`` and ``join_method`` are looked at.
    dtype : numpy.dtype
        Of the elements; rows of objects have shapes of their own.

    Returns
    -------
    rows, shape
        Of one event.

    Raises
    ------
    InvalidInputError
        If the resource cannot hold values of that shape.
    """
    join, multiplier = parameters.get("join_method"), parameters.get("multiplier")
    if said is None or (dtype.hasobject and not row):
        rows = int(multiplier or 1)
        return (rows, row) if rows == 1 else (rows, (rows, *row))
    if join == "stack" or (join is None and multiplier is None and row == said):
        check_shape(row, said)
        return 1, (said if math.prod(row) == math.prod(said) else row)
    rows = int(multiplier or (said[0] if said else 1))
    if rows < 1:
        raise InvalidInputError(f"the descriptor says {said}, which is no value at all")
    if multiplier and (said[:1] != (rows,) or said == row):
        # Some say the shape of one image, and how many there are beside it.
        said = (rows, *(said[1:] if said[:1] == (1,) else said))
    check_shape((rows, *row), said)
    return rows, said


class EventRows:
    """Rows whose values stand in the events themselves; each reading goes through the events.

    Parameters
    ----------
    references : References
        The documents.
    descriptors : list of str
        Uids.
    key, stream : str
        Which value.
    """

    def __init__(self, references: References, descriptors: list[str], *, key: str, stream: str) -> None:
        self._references, self._descriptors, self._key, self._stream = references, descriptors, key, stream
        self.shape: tuple[int, ...] | None = None
        self.dtype: np.dtype[Any] = np.dtype(object)
        #: Row of this array by number of the event, and whether the events come in that order.
        self.rows: dict[int, int] = {}
        self.in_order = False

    def values(self) -> Iterator[tuple[int, Any]]:
        """Yield all values.

        Yields
        ------
        number : int
            Of the event.
        value : numpy.ndarray
            As an array.
        """
        for event in self._references.events(self._descriptors):
            if self._key in event.get("data", {}):
                value = event["data"][self._key]
                try:
                    array = np.asarray(value)
                except ValueError:
                    # Lists of lists that differ in length.
                    array = np.empty((), object)
                    array[()] = value
                yield event.get("seq_num", 0), array

    def blocks(self, lengths: tuple[int, ...]) -> Iterator[Any] | None:
        """Return everything in parts, in one go through the events.

        Parameters
        ----------
        lengths : tuple of int
            Rows of each part.

        Returns
        -------
        iterator of numpy.ndarray or None
            None where the events do not come in the order of their numbers.
        """
        return self._blocks(lengths) if self.in_order else None

    def _blocks(self, lengths: tuple[int, ...]) -> Iterator[Any]:
        values = self.values()
        for length in lengths:
            rows = list(itertools.islice(values, length))
            if len(rows) < length:
                raise NotFoundError(f"events of stream {self._stream!r} are not there any more")
            if self.shape is None:
                yield _ragged((value for _, value in rows), length)
                continue
            whole = np.empty((length, *self.shape), self.dtype)
            for row, (number, value) in enumerate(rows):
                try:
                    whole[row] = _gathered(iter([value]), 1, self.shape, self.dtype)[0]
                except InvalidInputError as error:
                    raise of_event(error, self._key, number, self._stream) from error
            yield whole

    def read(self, rows: Any, inner: tuple[slice, ...]) -> Any:
        """Read rows; see :class:`~braid_hpc.assets.lazy.RowSource`.

        Parameters
        ----------
        rows : numpy.ndarray
            Their numbers.
        inner : tuple of slice
            What is wanted of each.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        InvalidInputError
            If one has another shape or type than the first.
        NotFoundError
            If an event is not there any more.
        """
        places = {int(row): place for place, row in enumerate(rows)}
        found: list[Any] = [None] * len(places)
        left = set(places)
        for number, value in self.values():
            row = self.rows.get(number, -1)
            if row not in left:
                continue
            left.discard(row)
            if self.shape is None:
                found[places[row]] = value
                continue
            try:
                found[places[row]] = _gathered(iter([value]), 1, self.shape, self.dtype)[0][inner]
            except InvalidInputError as error:
                raise of_event(error, self._key, number, self._stream) from error
            if not left:
                break
        if left:
            raise NotFoundError(f"events of stream {self._stream!r} are not there any more")
        if self.shape is None:
            return _ragged(iter(found), len(found))
        shape = tuple(each.stop - each.start for each in inner)
        return np.array(found, self.dtype).reshape(len(found), *shape)
