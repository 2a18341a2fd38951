"""Arrays over all events of a stream, of which only what is asked for is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from braid_hpc.vocabulary.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    import dask.array

__all__ = ["BLOCK", "LazyArray", "RowSource"]

#: Bytes that are read at once, about, where the order is ours.
BLOCK = 64 << 20


class RowSource(Protocol):
    """Where a lazy array has its rows from."""

    def read(self, rows: Any, inner: tuple[slice, ...]) -> Any:
        """Read some rows.

        Parameters
        ----------
        rows : numpy.ndarray
            Their numbers, ascending, each once.
        inner : tuple of slice
            What is wanted of each: a slice with start and stop for each of its axes.

        Returns
        -------
        numpy.ndarray
            In memory.
        """
        ...


class LazyArray:
    """The values of a data key, one row for each event; reading happens when it is indexed.

    Indexing is that of NumPy with integers, slices, ``...`` and ``None``, and with one array of integers or booleans on
    the first axis; ``numpy.asarray(array)`` reads everything. A key whose rows differ in shape has one axis, and its
    elements are arrays.

    Attributes
    ----------
    shape : tuple of int
        Events first.
    dtype : numpy.dtype
        Of the elements.
    seq_nums : numpy.ndarray
        int64: the number of each row's event.
    """

    def __init__(
        self,
        source: RowSource,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        seq_nums: np.ndarray[Any, Any],
        chunk_rows: int = 1,
        about: str = "",
    ) -> None:
        self._source, self._about = source, about
        self.shape, self.dtype, self.seq_nums = shape, np.dtype(dtype), seq_nums
        self._chunk_rows = max(chunk_rows, 1)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Lengths of what is best read at once along each axis, as dask has them; about 64 MiB, at least one row."""
        if not self.shape:
            return ()
        row = max(math.prod(self.shape[1:]) * self.dtype.itemsize, 1)
        fit = max(BLOCK // row, 1)
        # Whole chunks of the file, as many as fit.
        rows = fit if fit < self._chunk_rows else fit // self._chunk_rows * self._chunk_rows
        whole, rest = divmod(self.shape[0], rows)
        first = (rows,) * whole + ((rest,) if rest else ())
        return (first or (0,), *((length,) for length in self.shape[1:]))

    def __len__(self) -> int:
        """Return the number of events."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Read what an index names.

        Parameters
        ----------
        index : int, slice, ellipsis, None, array, or tuple of these
            As for NumPy.

        Returns
        -------
        numpy.ndarray or scalar
            In memory.

        Raises
        ------
        IndexError
            If it lies outside, as NumPy raises it.
        InvalidInputError
            If the index has arrays on further axes; or what is wrong with a file or with what is in it.
        NotFoundError, StorageError, ConflictError, MissingExtraError
            If a file cannot be read, or was changed; the sentence names it and the event.
        """
        entries = _expanded(index if isinstance(index, tuple) else (index,), self.ndim)
        axis = -1
        local: list[Any] = []
        rows: np.ndarray[Any, Any] = np.arange(0)
        inner: list[slice] = []
        for entry in entries:
            if entry is None:
                local.append(None)
                continue
            axis += 1
            length = self.shape[axis]
            if axis == 0:
                rows, own = _first_axis(entry, length)
                local.append(own)
                continue
            bound, own = _further_axis(entry, length, axis)
            inner.append(bound)
            local.append(own)
        block = self._source.read(rows, tuple(inner))
        return block[tuple(local)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Read everything.

        Parameters
        ----------
        dtype : numpy.dtype, optional
            What it becomes.
        copy : bool, optional
            As for NumPy.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        ValueError
            If no copy is to be made: reading makes one.
        """
        if copy is False:
            raise ValueError("reading an array from files makes a copy")
        found: np.ndarray[Any, Any] = self[...]
        return found if dtype is None else found.astype(dtype, copy=False)

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows; they are read as :meth:`blocks` reads them."""
        for _, block in self.blocks():
            yield from block

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Read everything, a bounded part at a time.

        Yields
        ------
        rows : slice
            Which rows.
        block : numpy.ndarray
            These, about 64 MiB; one row where that is larger.
        """
        lengths = self.chunks[0] if self.shape[0] else ()
        # Where reading goes through everything anyhow, it does so once.
        at_once = getattr(self._source, "blocks", None)
        found = at_once(lengths) if callable(at_once) else None
        first = 0
        for length in lengths:
            part = slice(first, first + length)
            yield part, self[part] if found is None else next(found)
            first += length

    def to_dask(self) -> dask.array.Array:
        """Return the array as one of dask, over the same chunks.

        Returns
        -------
        dask.array.Array
            Nothing is read before it is computed.

        Raises
        ------
        MissingExtraError
            If dask is not installed.
        """
        try:
            import dask.array
        except ImportError:
            raise MissingExtraError("an array of dask needs dask: pip install 'dask[array]'") from None
        return dask.array.from_array(
            self, chunks=self.chunks, asarray=False, meta=np.empty((0,) * self.ndim, self.dtype)
        )

    def __repr__(self) -> str:
        """Return stream and key, shape and dtype."""
        return f"<LazyArray {self._about} {self.shape} {self.dtype}>"


def _expanded(index: tuple[Any, ...], ndim: int) -> list[Any]:
    """Return an index with an entry for each axis."""
    used = sum(entry is not None and entry is not Ellipsis for entry in index)
    if used > ndim:
        raise IndexError(f"too many indices for array: array is {ndim}-dimensional, but {used} were indexed")
    if sum(entry is Ellipsis for entry in index) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    whole = [slice(None)] * (ndim - used)
    found: list[Any] = []
    for entry in index:
        if entry is Ellipsis:
            found += whole
            whole = []
        else:
            found.append(entry)
    return found + whole


def _first_axis(entry: Any, length: int) -> tuple[np.ndarray[Any, Any], Any]:
    """Return the rows that are wanted, ascending and each once, and how to index what was read of them."""
    if isinstance(entry, slice):
        rows = np.arange(length)[entry]
        return (rows[::-1], slice(None, None, -1)) if len(rows) > 1 and rows[0] > rows[-1] else (rows, slice(None))
    if _is_integer(entry):
        return np.array([_within(entry, length, 0)]), 0
    try:
        rows = np.arange(length)[np.asarray(entry)]
    except IndexError as error:
        raise IndexError(str(error)) from None
    if rows.ndim != 1:
        raise InvalidInputError("the index of events is of one dimension: ask numpy.asarray(array) with more")
    unique, places = np.unique(rows, return_inverse=True)
    return unique, places


def _further_axis(entry: Any, length: int, axis: int) -> tuple[slice, Any]:
    """Return what is read of an axis, and how to index that."""
    if isinstance(entry, slice):
        wanted = range(length)[entry]
        if not len(wanted):
            return slice(0, 0), slice(None)
        low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
        return slice(low, high + 1), slice(None, None, wanted.step)
    if _is_integer(entry):
        at = _within(entry, length, axis)
        return slice(at, at + 1), 0
    raise InvalidInputError(
        f"axis {axis} takes integers and slices: ask numpy.asarray(array) with {type(entry).__name__}"
    )


def _is_integer(entry: Any) -> bool:
    return isinstance(entry, (int, np.integer)) and not isinstance(entry, (bool, np.bool_))


def _within(entry: Any, length: int, axis: int) -> int:
    at = int(entry)
    if not -length <= at < length:
        raise IndexError(f"index {at} is out of bounds for axis {axis} with size {length}")
    return at % length
