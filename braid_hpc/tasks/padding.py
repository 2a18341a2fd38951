"""Arrays without the bytes that belong to no value: those between fields, and those that fill up long doubles.

NumPy compares the values, and leaves in between whatever was in memory. A key is made of bytes, so there they are zero.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["without_padding"]


def without_padding(array: Any) -> Any:
    """Return an array, or a scalar of NumPy, whose bytes are those of its values.

    Parameters
    ----------
    array : object
        Anything with ``__array__``.

    Returns
    -------
    object
        The same where each of its bytes belongs to a value; else a copy.
    """
    numpy = sys.modules.get("numpy")
    dtype = getattr(array, "dtype", None)
    if numpy is None or not isinstance(dtype, numpy.dtype) or dtype.hasobject or not _has_padding(numpy, dtype):
        return array
    found = numpy.asarray(array)
    clean = numpy.zeros(found.shape, dtype)
    _copy(numpy, clean, found)
    return clean


def _has_padding(numpy: Any, dtype: Any) -> bool:
    if dtype.subdtype is not None:
        return _has_padding(numpy, dtype.subdtype[0])
    if dtype.names is None:
        return dtype.kind in "fc" and dtype.char in "gG" and _bytes_of_long(numpy) < numpy.dtype("g").itemsize
    used = sum(field.itemsize for field, *_ in dtype.fields.values())
    return used != dtype.itemsize or any(_has_padding(numpy, field) for field, *_ in dtype.fields.values())


def _bytes_of_long(numpy: Any) -> int:
    """Return how many bytes of a long double are its value: 10 where it is the extended format of x87."""
    return 10 if numpy.finfo(numpy.longdouble).nmant == 63 else int(numpy.dtype("g").itemsize)


def _copy(numpy: Any, clean: Any, found: Any) -> None:
    dtype = found.dtype
    if dtype.names is not None:
        for name in dtype.names:
            _copy(numpy, clean[name], found[name])
    elif dtype.char in "gG" and dtype.kind in "fc":
        size, used = numpy.dtype("g").itemsize, _bytes_of_long(numpy)
        flat = numpy.ascontiguousarray(found).reshape(-1)
        parts = flat.view("u1").reshape(-1, size).copy()
        # The other byte order has its padding in front.
        swapped = not dtype.isnative
        parts[:, : size - used] *= not swapped
        parts[:, used:] *= swapped
        clean[...] = parts.reshape(-1).view(dtype).reshape(found.shape)
        return
    else:
        clean[...] = found
