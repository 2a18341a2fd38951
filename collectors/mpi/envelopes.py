"""What a program gives as a rank, a tag or a root, as mpi4py takes it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["envelope", "rank_of"]

MPI: Any = import_module("mpi4py.MPI")
_PROC_NULL = MPI.PROC_NULL
_LIMIT = 1 << 31


def rank_of(given: Any) -> int | None:
    """Return a number that was given to MPI.

    Parameters
    ----------
    given : int or object
        Also a number of NumPy's, and whatever else mpi4py takes for one.

    Returns
    -------
    int or None
        None if MPI takes no such number, and says so itself.
    """
    if given.__class__ is not int:
        if isinstance(given, (str, bytes, bytearray)):
            return None
        try:
            given = int(given)
        except Exception:  # Whatever its conversion raises, mpi4py raises its own error.
            return None
    return given if -_LIMIT <= given < _LIMIT else None


def envelope(peer: Any, tag: Any) -> tuple[int, int]:
    """Return the other side and the tag of a message, as numbers.

    Parameters
    ----------
    peer, tag : int or object
        As the program gave them.

    Returns
    -------
    peer, tag : int
        The peer is ``PROC_NULL``, so that nothing is written down, if either is none that MPI takes.
    """
    if peer.__class__ is int and tag.__class__ is int and -_LIMIT <= peer < _LIMIT and -_LIMIT <= tag < _LIMIT:
        return peer, tag
    its_peer, its_tag = rank_of(peer), rank_of(tag)
    return (_PROC_NULL, 0) if its_peer is None or its_tag is None else (its_peer, its_tag)
