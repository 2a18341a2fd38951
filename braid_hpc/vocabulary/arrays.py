"""The bytes of an array: one layout and one digest for equal arrays, and its dtype as a text that brings it back.

NumPy is never imported here; an object of NumPy's brings it along.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import Content, content_of_bytes

__all__ = ["EXTENSIONS", "ArrayBytes", "array_bytes", "array_digest", "digest_prefix", "dtype_text", "is_masked"]

#: Bytes of an element of the dtypes that the package ml_dtypes adds to NumPy; they go by their names, because their
#: ``dtype.str`` is that of other types.
EXTENSIONS = {
    "bfloat16": 2,
    "bcomplex32": 4,
    "complex32": 4,
    **dict.fromkeys(("float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "float8_e3m4", "float8_e4m3"), 1),
    **dict.fromkeys(("float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"), 1),
    **dict.fromkeys(("float8_e5m2fnuz", "float8_e8m0fnu", "int1", "int2", "int4", "uint1", "uint2", "uint4"), 1),
}


@dataclass(frozen=True, slots=True)
class ArrayBytes:
    """An array, laid out in row-major order.

    Attributes
    ----------
    data : memoryview
        uint8, one-dimensional; a view of the array itself where its memory is laid out like that.
    dtype : str
        NumPy's ``dtype.str``; of a structured array its list of fields; of a dtype of ml_dtypes its name; of another
        buffer its format.
    shape : list of int
        Lengths; empty for a scalar.
    """

    data: memoryview
    dtype: str
    shape: list[int]

    def content(self) -> Content:
        """Return digest and size in bytes."""
        return content_of_bytes(self.data, prefix=digest_prefix(self.dtype, self.shape))


def digest_prefix(dtype: str, shape: list[int]) -> bytes:
    """Return what is digested before an array's bytes.

    Parameters
    ----------
    dtype, shape
        As in :class:`ArrayBytes`.

    Returns
    -------
    bytes
        Equal bytes of another dtype or shape are another content.
    """
    return f"array\0{dtype}\0{list(shape)}\0".encode()


def array_digest(dtype: str, shape: list[int]) -> Any:
    """Return the beginning of an array's digest, for bytes that come in parts.

    Parameters
    ----------
    dtype, shape
        As in :class:`ArrayBytes`.

    Returns
    -------
    blake3.blake3
        With ``update`` and ``hexdigest``; the content's digest is ``"blake3:"`` and that.
    """
    from blake3 import blake3

    return blake3(digest_prefix(dtype, shape))


def dtype_text(dtype: Any) -> str:
    """Return the text that stands for a NumPy dtype.

    Parameters
    ----------
    dtype : numpy.dtype
        Not of objects.

    Returns
    -------
    str
        ``dtype.str``; of a structured dtype, whose ``str`` has no fields, the list that makes it
        (:func:`numpy.lib.format.dtype_to_descr`); of one of :data:`EXTENSIONS` its name.
    """
    if dtype.isbuiltin == 1:
        # NumPy makes the name anew each time, which takes longer than to digest a small array.
        return str(dtype.str)
    if dtype.name in EXTENSIONS:
        return str(dtype.name)
    if getattr(dtype, "fields", None) and not _has_extension(dtype):
        from numpy.lib.format import dtype_to_descr

        try:
            return repr(dtype_to_descr(dtype))
        except ValueError:
            # Fields that overlap have no such list; the bytes come back as bytes.
            pass
    return str(dtype.str)


def _has_extension(dtype: Any) -> bool:
    """Whether a field is of a type that the list of fields would not bring back; then bytes come back as bytes."""
    if dtype.subdtype is not None:
        return _has_extension(dtype.subdtype[0])
    if dtype.fields is None:
        return dtype.name in EXTENSIONS
    return any(_has_extension(part[0]) for part in dtype.fields.values())


def is_masked(array: Any) -> bool:
    """Return whether an array, or a scalar, has values that a mask of NumPy hides.

    Parameters
    ----------
    array : object
        Anything.

    Returns
    -------
    bool
        False for what has no mask.
    """
    masks = sys.modules.get("numpy.ma")
    return masks is not None and bool(masks.is_masked(array))


def array_bytes(array: Any) -> ArrayBytes:
    """Return the bytes of an array.

    Parameters
    ----------
    array : object
        Anything with the buffer protocol or ``__array__``; of any dtype but objects, any strides, any shape.

    Returns
    -------
    ArrayBytes
        Its bytes, dtype and shape.

    Raises
    ------
    InvalidInputError
        If it is no array, holds Python objects, or has masked values.
    """
    view = None
    if not hasattr(array, "dtype"):
        try:
            view = memoryview(array)
        except (TypeError, ValueError, BufferError):
            pass
    return _of_numpy(array) if view is None else _of_buffer(view)


def _of_numpy(array: Any) -> ArrayBytes:
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(array, "__array__"):
        raise InvalidInputError(f"array= has the buffer protocol or __array__; a {type(array).__name__} has neither")
    if is_masked(array):
        raise InvalidInputError("array= has masked values, which makes it two arrays: give filled(), or data and mask")
    array = numpy.asarray(array)
    if array.dtype.hasobject:
        raise InvalidInputError("array= holds Python objects, which have no bytes of their own")
    shape = [int(length) for length in array.shape]
    flat = numpy.ascontiguousarray(array).reshape(-1)
    data = memoryview(flat.view("u1")) if flat.nbytes else memoryview(b"")
    return ArrayBytes(data, dtype_text(array.dtype), shape)


def _of_buffer(view: memoryview) -> ArrayBytes:
    if "O" in view.format:
        raise InvalidInputError("array= holds Python objects, which have no bytes of their own")
    shape = list(view.shape or ())
    if not view.nbytes:
        return ArrayBytes(memoryview(b""), view.format, shape)
    # A buffer of one plain number for each element can be seen as bytes; tobytes knows every other one.
    plain = view.c_contiguous and len(view.format.lstrip("@")) == 1 and view.ndim > 0
    return ArrayBytes(view.cast("B") if plain else memoryview(view.tobytes()), view.format, shape)
