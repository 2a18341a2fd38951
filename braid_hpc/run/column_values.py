"""Columns of values, as a program has them, to the bytes that a batch of them consists of."""

from __future__ import annotations

import functools
import struct
import sys
from array import array
from itertools import accumulate
from typing import Any

from braid_hpc.vocabulary.columns import FIXED, VARIABLE, item_bytes
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["column_buffers", "is_truth"]


def column_buffers(values: Any, kind: str, name: str) -> tuple[list[Any], int]:
    """Return the buffers of a column and its length.

    Parameters
    ----------
    values : sequence
        NumPy or Arrow array, buffer, or list.
    kind : str
        Type of the column.
    name : str
        Of the column, for messages.

    Returns
    -------
    buffers : list of bytes-like
        As a batch has them.
    length : int
        How many values there are.

    Raises
    ------
    InvalidInputError
        If the values do not fit the type.
    """
    try:
        if kind in VARIABLE:
            return _variable(values, kind)
        data = _fixed(values, kind)
        return [data], len(data) // item_bytes(kind)
    except (TypeError, ValueError, OverflowError, AttributeError, struct.error) as error:
        raise InvalidInputError(f"column {name!r} does not fit its type {kind}: {error}") from None


def _variable(values: Any, kind: str) -> tuple[list[Any], int]:
    if isinstance(values, (str, bytes)):
        raise TypeError("a sequence of values is needed, not one value")
    if hasattr(values, "tolist"):
        values = values.tolist()
    elif hasattr(values, "to_pylist"):
        values = values.to_pylist()
    wanted = str if kind == "text" else bytes
    values = list(values)
    kinds = set(map(type, values))
    for each in kinds:
        if not issubclass(each, wanted):
            wrong = next(value for value in values if type(value) is each)
            raise TypeError(f"{wrong!r} is not {kind}")
    # Texts of ASCII, as most names are, have as many bytes as letters: they are encoded all at once.
    if kinds == {str} and (text := "".join(values)).isascii():
        parts, data = values, text.encode()
    else:
        parts = [value.encode("utf-8", "surrogatepass") for value in values] if kind == "text" else values
        data = b"".join(parts)
    offsets = array("I", [0])
    offsets.extend(accumulate(map(len, parts)))
    return [offsets.tobytes(), data], len(parts)


def _fixed(values: Any, kind: str) -> Any:
    """Return the bytes of a fixed-width column, without a copy where the buffer is already right."""
    numpy = sys.modules.get("numpy")
    if kind == "bool" and hasattr(values, "to_pylist"):
        # Arrow keeps truth values as bits.
        values = values.to_pylist()
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if numpy is not None and hasattr(values, "__array__"):
        if (masks := sys.modules.get("numpy.ma")) is not None and masks.is_masked(values):
            raise TypeError("some of its values are masked: give filled() or the rows that count")
        values = numpy.asarray(values)
        if values.ndim != 1:
            raise ValueError(f"it has {values.ndim} dimensions, not one")
        values = _numpy_column(numpy, values, kind)
    try:
        view = memoryview(values)
    except TypeError:
        values = list(values)
        if kind == "bool" and (wrong := [value for value in values if not is_truth(value)]):
            raise TypeError(f"{wrong[0]!r} is neither True nor False") from None
        # struct and not array, which makes infinities of what float32 cannot hold.
        return struct.pack(f"<{len(values)}{FIXED[kind]}", *values)
    if view.ndim != 1:
        raise ValueError(f"it has {view.ndim} dimensions, not one")
    if not _same_format(view.format, FIXED[kind]):
        raise TypeError(f"its buffer is of format {view.format!r}")
    return view.cast("B") if view.contiguous and view.nbytes else view.tobytes()


@functools.cache
def _same_format(given: str, wanted: str) -> bool:
    sizes = {form: (form.islower() or form == "?", struct.calcsize(form)) for form in "bhilqBHILQ"}
    given = given.lstrip("@=<")
    if given in sizes and wanted in sizes:
        return sizes[given] == sizes[wanted]
    return given == wanted


def _nanoseconds(numpy: Any, values: Any) -> Any:
    times = values.astype("datetime64[ns]")
    # NumPy takes what is beyond the years 1677 to 2262 round to the other end, and cuts what is finer.
    if times.dtype != values.dtype and bool(((times.astype(values.dtype) != values) & ~numpy.isnat(values)).any()):
        raise OverflowError("a time is out of the range of nanoseconds in 64 bits, or finer than they are")
    return times.astype("int64")


def _numpy_column(numpy: Any, values: Any, kind: str) -> Any:
    wanted = numpy.dtype("int64" if kind == "timestamp" else kind)
    if values.dtype.kind == "M":
        values = _nanoseconds(numpy, values)
    if values.dtype == wanted:
        return numpy.ascontiguousarray(values)
    if wanted.kind == "f" and values.dtype.kind in "fiu":
        with numpy.errstate(over="ignore"):
            cast = numpy.ascontiguousarray(values, dtype=wanted)
        if values.dtype.kind == "f" and bool((numpy.isfinite(cast) != numpy.isfinite(values)).any()):
            raise OverflowError("a value is out of its range")
        # Whole numbers up to this are kept exactly.
        exact = 1 << (numpy.finfo(wanted).nmant + 1)
        if values.dtype.kind in "iu" and values.size and (int(values.max()) > exact or int(values.min()) < -exact):
            raise OverflowError("a whole number would be rounded")
        return cast
    if wanted.kind in "iu" and values.dtype.kind in "iu":
        cast = numpy.ascontiguousarray(values, dtype=wanted)
        if bool((cast == values).all()):
            return cast
        raise OverflowError("a value is out of its range")
    raise TypeError(f"its values are {values.dtype}")


def is_truth(value: Any) -> bool:
    """Return whether a value is True or False, or NumPy's.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        False for numbers, 0 and 1 among them.
    """
    return type(value).__name__ in ("bool", "bool_")
