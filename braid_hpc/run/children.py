"""Children of :mod:`multiprocessing` that open a run: it is a part of the run that started them.

A forked child has its parent's run in memory. One that is started by ``spawn`` or ``forkserver`` begins anew, so the
parent says in its environment whose children they will be. Programs that are started otherwise take no notice of it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import msgspec

__all__ = ["PARENT", "Parent", "announce_parent", "forget_parent", "is_worker", "parent_of_worker"]

#: Names the run that a child of multiprocessing belongs to.
PARENT = "BRAID_PARENT"


class Parent(msgspec.Struct, frozen=True):
    """The run that a worker belongs to.

    Attributes
    ----------
    writer : str
        Its writer, 32 hexadecimal digits.
    job : str
        Its name, and
    ordinal : int
        its number among those of this name; by both its ranks find each other.
    log_dir : str
        Where it writes.
    """

    writer: str
    job: str
    ordinal: int
    log_dir: str


#: The runs that are open in this process; workers belong to the one opened last.
_open: list[Parent] = []
#: What this process was given itself.
_given: str | None = None


def announce_parent(parent: Parent) -> None:
    """Name the run that workers started from now on belong to.

    Parameters
    ----------
    parent : Parent
        The run that was opened.
    """
    global _given
    if not _open:
        _given = os.environ.get(PARENT)
    _open.append(parent)
    _tell_workers()


def forget_parent(writer: str) -> None:
    """Name the run that was opened before; harmless for one that was not announced.

    Parameters
    ----------
    writer : str
        That of the run that ends, 32 hexadecimal digits.
    """
    left = [each for each in _open if each.writer != writer]
    if len(left) < len(_open):
        _open[:] = left
        _tell_workers()


def _tell_workers() -> None:
    if _open:
        # That of the standard library: names need not be UTF-8, and it writes what is not as an escape.
        os.environ[PARENT] = json.dumps(msgspec.to_builtins(_open[-1]))
    elif _given is not None:
        os.environ[PARENT] = _given
    else:
        os.environ.pop(PARENT, None)


def is_worker() -> bool:
    """Return whether this process was started by :mod:`multiprocessing`.

    Returns
    -------
    bool
        Also while such a process imports the main module, before it knows its parent.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    return process.parent_process() is not None or bool(getattr(process.current_process(), "_inheriting", False))


def parent_of_worker() -> Parent | None:
    """Return the run that this process belongs to.

    Returns
    -------
    Parent or None
        None if it is no worker, or of a program that records nothing.
    """
    text = os.environ.get(PARENT)
    if not text or not is_worker():
        return None
    try:
        return msgspec.convert(json.loads(text), Parent)
    except (ValueError, msgspec.ValidationError):
        # Somebody else's variable: then it is a run of its own.
        return None
