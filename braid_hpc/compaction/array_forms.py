"""How an array stands in a store's HDF5 file: its type there, its chunks, and the parts it is read and written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["boxes", "stored_form"]

_REALS = {("f", 2), ("f", 4), ("f", 8), ("c", 8), ("c", 16)}


def boxes(shape: tuple[int, ...], item: int, most: int) -> Iterator[tuple[slice, ...]]:
    """Cut an array into parts that follow each other in memory.

    Parameters
    ----------
    shape : tuple of int
        Lengths, none of them 0.
    item : int
        Bytes of an element.
    most : int
        Bytes of a part; one element is always one.

    Yields
    ------
    tuple of slice
        One for each dimension, in row-major order.
    """
    whole = [slice(0, length) for length in shape]
    axis, row = len(shape), item
    while axis and row * shape[axis - 1] <= most:
        axis -= 1
        row *= shape[axis]
    if not axis:
        yield tuple(whole)
        return
    step = max(1, most // row)
    for outer in np.ndindex(*shape[: axis - 1]):
        for first in range(0, shape[axis - 1], step):
            part = slice(first, min(first + step, shape[axis - 1]))
            yield (*(slice(index, index + 1) for index in outer), part, *whole[axis:])


def stored_form(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return how an array stands in HDF5.

    Parameters
    ----------
    dtype : numpy.dtype
        Any but of objects.
    shape : tuple of int
        Lengths.

    Returns
    -------
    dtype, shape
        The same where HDF5 has that type, bit for bit; else uint8, with the bytes of an element as a last dimension.
    """
    if _known(dtype) and _survives(dtype):
        return dtype, shape
    return np.dtype("u1"), (*shape, dtype.itemsize)


def _known(dtype: np.dtype[Any]) -> bool:
    if dtype.subdtype is not None:
        return _known(dtype.subdtype[0])
    if dtype.fields is not None:
        parts = [part[0] for part in dtype.fields.values()]
        # Without padding: HDF5 does not say what it does with bytes between the fields.
        return all(map(_known, parts)) and sum(part.itemsize for part in parts) == dtype.itemsize > 0
    # Not bool: of one that is neither 0 nor 1, HDF5's kind of it forgets the bits.
    return (dtype.kind in "iuS" and dtype.itemsize > 0) or (dtype.kind, dtype.itemsize) in _REALS


def _survives(dtype: np.dtype[Any]) -> bool:
    import h5py

    try:
        return bool(h5py.h5t.py_create(dtype, logical=True).dtype == dtype)
    except (TypeError, ValueError):
        return False
