"""Where a path begins that is given to ``os.open``: its audit event does not tell the descriptor of a directory.

So ``os.open`` is wrapped while somebody looks. A relative path that reaches the system by another way may begin
anywhere.
"""

from __future__ import annotations

import functools
import os
from _thread import get_ident
from collections.abc import Callable
from typing import Any

__all__ = ["OPEN_AT", "placed", "watch_open"]

#: An event of our own: given path, flags, absolute path or None, whether ``open(opener=)`` told the path just before.
OPEN_AT = "open at"

_NOT_SEEN = object()
#: The descriptor that ``os.open`` was given, or None, by the thread that is in it.
_beginning: dict[int, Any] = {}
#: What a thread gave to :func:`open` as its latest attempt.
_latest: dict[int, Any] = {}
_watching = 0
_undo: list[Callable[[], None]] = []


def watch_open() -> Callable[[], None]:
    """Wrap ``os.open`` until the last one who asked for it ends that.

    Returns
    -------
    callable
        Ends it; once.
    """
    global _watching
    _watching += 1
    if not _undo:
        _undo.append(_wrap())

    def forget() -> None:
        global _watching
        _watching -= 1
        if not _watching:
            _latest.clear()
            while _undo:
                _undo.pop()()

    return forget


def _wrap() -> Callable[[], None]:
    own = os.open

    @functools.wraps(own)
    def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        thread = get_ident()
        before = _beginning.get(thread, _NOT_SEEN)
        _beginning[thread] = dir_fd
        try:
            return own(path, flags, mode, dir_fd=dir_fd)
        finally:
            if before is _NOT_SEEN:
                _beginning.pop(thread, None)
            else:
                _beginning[thread] = before

    opened.__module__ = "os"
    os.open = opened
    os.supports_dir_fd.add(opened)

    def undo() -> None:
        # Somebody else may have wrapped it once more: then it stays.
        if os.open is opened:
            os.open = own
            os.supports_dir_fd.discard(opened)

    return undo


def placed(event: str, args: Any) -> tuple[str, Any]:
    """Return an attempt, with the place where its path begins if it is one of ``os.open``; called by the hook.

    Parameters
    ----------
    event : str
        Of the audit hook.
    args : tuple
        Its arguments.

    Returns
    -------
    (str, tuple)
        The same, or :data:`OPEN_AT` and its arguments.
    """
    thread = get_ident()
    if event != "open" or args[1] is not None:
        _latest[thread] = args[0] if event == "open" else None
        return event, args
    latest, path = _latest.pop(thread, None), args[0]
    if not isinstance(path, (str, bytes)) or os.path.isabs(path):
        return event, args
    at = _beginning.get(thread, _NOT_SEEN)
    if at is None:
        return event, args
    return OPEN_AT, (path, args[2], None if at is _NOT_SEEN else _below(at, path), latest == path)


def _below(descriptor: Any, path: str | bytes) -> str | None:
    try:
        return os.path.join(os.readlink(f"/proc/self/fd/{int(descriptor)}"), os.fsdecode(path))
    except (OSError, TypeError, ValueError):
        # It is no directory that has a path: the call fails, or it cannot be followed.
        return None
