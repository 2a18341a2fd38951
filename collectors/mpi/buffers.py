"""What is known of a buffer that a program gives to MPI: its size and its type."""

from __future__ import annotations

from typing import Any

__all__ = ["describe", "size_of", "type_of"]


def describe(buffer: Any) -> tuple[int, str]:
    """Return size and type of a buffer given to MPI.

    Parameters
    ----------
    buffer : object
        As for :func:`size_of`.

    Returns
    -------
    size : int
        As from :func:`size_of`.
    kind : str
        As from :func:`type_of`.
    """
    try:
        return buffer.nbytes, buffer.dtype.char
    except AttributeError:
        # No array of NumPy's.
        return size_of(buffer), type_of(buffer)


def size_of(buffer: Any) -> int:
    """Return how many bytes a buffer given to MPI has, as far as that can be told.

    Parameters
    ----------
    buffer : object
        A buffer, or a list of buffer, count and datatype as mpi4py takes it.

    Returns
    -------
    int
        Bytes; -1 if that cannot be told.
    """
    try:
        if buffer.__class__ is bytes or buffer.__class__ is bytearray:
            return len(buffer)
        if hasattr(buffer, "nbytes"):
            return int(buffer.nbytes)
        if not isinstance(buffer, (list, tuple)):
            return memoryview(buffer).nbytes
        parts = list(buffer)
        # mpi4py takes buffer, count, displacement and datatype, of which those in the middle may be left out.
        kind = parts.pop() if len(parts) > 1 and hasattr(parts[-1], "Get_size") else None
        count = parts[1] if len(parts) > 1 else None
        if isinstance(count, int) and kind is not None:
            return count * int(kind.Get_size())
        # Without a count all of it is meant; with a type that has gaps, or one said by its letter, who knows.
        if len(parts) == 1 and (kind is None or kind.Get_size() == kind.Get_extent()[1]):
            return size_of(parts[0])
    except (TypeError, ValueError, AttributeError, BufferError):
        # Whatever it is, MPI is given it as it is, and says what is wrong with it.
        return -1
    return -1


def type_of(buffer: Any) -> str:
    """Return what a message consists of.

    Parameters
    ----------
    buffer : object
        As for :func:`size_of`.

    Returns
    -------
    str
        A letter of NumPy's, or the name of an MPI datatype; empty if it cannot be told.
    """
    kind = getattr(buffer, "dtype", None)
    if kind is not None:
        return str(getattr(kind, "char", kind))
    if isinstance(buffer, (list, tuple)) and buffer:
        last = buffer[-1]
        if isinstance(last, str):
            return last
        return str(last.Get_name()) if hasattr(last, "Get_name") else type_of(buffer[0])
    return "B" if isinstance(buffer, (bytes, bytearray)) else ""
