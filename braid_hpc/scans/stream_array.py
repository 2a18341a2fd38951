"""The values of one data key over a stream as an array that is read when it is used."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from braid_hpc.scans.forms import PACKED
from braid_hpc.scans.packages import needed
from braid_hpc.scans.stream_table import StreamTable
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np

    from braid_hpc.scans.events import Events

__all__ = ["StreamArray", "declared_dtype", "lies_in_files", "stacked"]


class StreamArray:
    """The values of one data key: the first dimension is that of the events, in the order of their numbers.

    ``numpy.asarray`` reads all of it, a slice reads a part.

    Parameters
    ----------
    events : Events
        The stream.
    key : str
        The data key, or a column of the stream's table.

    Raises
    ------
    InvalidInputError
        If there is no such column, or it is none that an array can be made of.
    """

    def __init__(self, events: Events, key: str) -> None:
        self._events = events
        self.key = key
        table = StreamTable(events, columns=[key])
        if len(table.columns) > 1:
            raise InvalidInputError(
                f"{key!r} has values of several types, in the columns {', '.join(table.columns)}: name one of them"
            )
        (self._column,) = table._columns
        if self._column.form == PACKED:
            raise InvalidInputError(f"the values of {key!r} are no numbers or texts: read them as a table")
        self.name = self._column.name

    @property
    def unit(self) -> str | None:
        """Unit symbol; None if none was declared."""
        if self._column.item is None:
            return "s" if self.name == "time" else None
        unit = self._events.about(self._column.item[1]).get("units")
        return unit if type(unit) is str else None

    @functools.cached_property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Lengths of the parts that are read at once, for each dimension."""
        frames = StreamTable(self._events, columns=[self.name])._frames
        rows = tuple(count for window in self._events.windows(frames.wide) if (count := frames.count(window)))
        return (rows or (0,), *((each,) for each in self._inner))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of events, then the shape of the first value."""
        return (sum(self.chunks[0]), *self._inner)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return 1 + self._column.form.depth

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @functools.cached_property
    def _inner(self) -> tuple[int, ...]:
        depth = self._column.form.depth
        if not depth:
            return ()
        first = StreamTable(self._events, columns=[self.name], where=None)
        for batch in first.batches(1):
            value = batch.column(0)[0].as_py()
            if value is not None:
                return _shape_of(value, depth)
        shape = self._events.about(self._column.item[1] if self._column.item else "").get("shape")
        return tuple(shape) if isinstance(shape, (list, tuple)) and len(shape) == depth else (0,) * depth

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements: as the data key declares it (``dtype_numpy``), where that holds them."""
        import numpy as np

        kind = self._column.form.kind
        if kind == "text":
            longest = max((len(text) for text in _texts(self)), default=1)
            return np.dtype(f"<U{max(1, longest)}")
        natural = np.dtype({"bool": "bool", "null": "float64"}.get(kind, kind))
        found: np.dtype[Any] = declared_dtype(self._about, natural)
        return found

    @property
    def _about(self) -> dict[str, Any]:
        if self._column.item is None or self._column.item[0] != "data":
            return {}
        return self._events.about(self._column.item[1])

    def __len__(self) -> int:
        """Return the number of events."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Read all of it."""
        found = self[:]
        return found if dtype is None else found.astype(dtype)

    def __getitem__(self, index: Any) -> Any:
        """Read a part: an int, a slice, or a tuple that begins with one of these.

        Raises
        ------
        InvalidInputError
            If some of these events have no such value, or values differ in shape.
        IndexError
            If there is no such event.
        """
        import numpy as np

        first, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if first is Ellipsis or (isinstance(index, tuple) and not index):
            # An ellipsis may stand for no dimension at all.
            return self._read(slice(None))[index]
        reverse = isinstance(first, slice) and first.step is not None and first.step < 0
        if isinstance(first, slice):
            exact = range(len(self))[first]
            exact = exact[::-1] if reverse else exact
            found = self._read(slice(exact.start, max(exact.stop, exact.start), exact.step))
            return (found[::-1] if reverse else found)[(slice(None), *rest)]
        if isinstance(first, (int, np.integer)) and not isinstance(first, bool):
            at = range(len(self))[int(first)]
            return self._read(slice(at, at + 1, 1))[(0, *rest)]
        return self._read(slice(None))[index]

    def _read(self, rows: slice) -> Any:
        import numpy as np

        table = StreamTable(self._events, columns=[self.name, "seq_num"], rows=rows)
        parts = []
        for batch in table.batches(1 << 62):
            # A column is there once, that of the numbers too.
            parts.append(stacked(batch.column(0), batch.column(batch.num_columns - 1), self._inner, self.key))
        found = np.concatenate(parts) if parts else np.zeros((0, *self._inner), self.dtype)
        return found.astype(self.dtype, copy=False)

    def to_dask(self) -> Any:
        """Return a dask array over the same chunks.

        Returns
        -------
        dask.array.Array
            Each chunk is read when it is computed.

        Raises
        ------
        MissingExtraError
            If dask is not installed.
        """
        import numpy as np

        return needed("dask.array").from_array(
            self, chunks=self.chunks, meta=np.zeros((0,) * self.ndim, self.dtype), lock=True
        )

    def __repr__(self) -> str:
        """Say what it is."""
        return f"<StreamArray {self._events.name}/{self.key} {self.shape} {self.dtype}>"


def lies_in_files(events: Events, key: Any) -> bool:
    """Say whether events name where the values of a data key lie, and do not have them.

    Parameters
    ----------
    events : Events
        The stream.
    key : object
        The data key.

    Returns
    -------
    bool
        False for a key that was filled before it was recorded.
    """
    external = events.about(key).get("external") if key in events.keys else None
    if external is None:
        return False
    # Events have nothing of what stream datums say.
    if str(external).startswith("STREAM:"):
        return True
    return all(form.kind in ("text", "null") or not form.depth for form in events.forms(("data", key)))


def _texts(array: StreamArray) -> Any:
    def flat(value: Any) -> Any:
        if isinstance(value, list):
            for each in value:
                yield from flat(each)
        elif value is not None:
            yield value

    for batch in StreamTable(array._events, columns=[array.name]).batches():
        yield from flat(batch.column(0).to_pylist())


def _shape_of(value: Any, depth: int) -> tuple[int, ...]:
    shape = []
    for _ in range(depth):
        shape.append(len(value) if isinstance(value, list) else 0)
        value = value[0] if isinstance(value, list) and value else []
    return tuple(shape)


def declared_dtype(about: dict[str, Any], natural: Any) -> Any:
    """Return the type that a data key declares for its elements, if it holds what they are.

    Parameters
    ----------
    about : dict
        The data key, of a descriptor.
    natural : numpy.dtype
        What they are.

    Returns
    -------
    numpy.dtype
        The declared one if it is of the same kind, or wider, else the natural one.
    """
    import numpy as np

    said = about.get("dtype_numpy", about.get("dtype_str"))
    if type(said) is not str:
        return natural
    try:
        found = np.dtype(said)
    except TypeError:
        return natural
    if found.kind == natural.kind and found.kind in "iufb":
        return found
    return found if found.kind in "iufb" and np.can_cast(natural, found) else natural


def stacked(column: Any, numbers: Any, inner: tuple[int, ...], key: str) -> Any:
    """Return a column of Arrow as one array.

    Parameters
    ----------
    column : pyarrow.Array
        Numbers, texts, or lists of them.
    numbers : pyarrow.Array
        The events' numbers, for messages.
    inner : tuple of int
        Shape of each value.
    key : str
        The data key, for messages.

    Returns
    -------
    numpy.ndarray
        Of shape ``(events, *inner)``; where a float is missing, NaN.

    Raises
    ------
    InvalidInputError
        If some events have no such value and it is no float, or values differ in shape.
    """
    import numpy as np
    import pyarrow as pa

    if column.null_count and not pa.types.is_floating(column.type):
        event = numbers.filter(column.is_null())[0].as_py()
        raise InvalidInputError(
            f"event {event} has no value of {key!r}, which is no float: read it as a table, where such values are null"
        )
    found = column
    shape = [len(column)]
    for length in inner:
        lengths = np.diff(found.offsets.to_numpy())
        if np.any(lengths != length):
            odd = int(np.argmax(lengths != length)) // max(1, math.prod(shape[1:]))
            raise InvalidInputError(
                f"the value of {key!r} in event {numbers[odd].as_py()} is not of shape {inner}: read it as a table"
            )
        found = found.flatten()
        shape.append(length)
    if pa.types.is_string(found.type):
        return np.array(found.to_pylist(), dtype=np.str_).reshape(shape)
    return found.to_numpy(zero_copy_only=False).reshape(shape)
