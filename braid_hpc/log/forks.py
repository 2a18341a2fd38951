"""What a fork does to a log: the files stay the parent's, and a child that records gets a log of its own.

Nothing is done for a child that records nothing. The first call of one that does opens its log, which repeats the rows
that explain numbers (texts, streams), so that these numbers mean the same in both.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from braid_hpc.log.losses import NO_TAIL, RETRY_NS, Losses
from braid_hpc.log.tail import Tail
from braid_hpc.vocabulary.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from braid_hpc.log.children import Children
    from braid_hpc.log.keeper import Keeper

__all__ = ["Forkable", "forget_forks", "multiprocessing_child", "watch_forks"]

_OPEN_LOGS: weakref.WeakSet[Forkable] = weakref.WeakSet()


class Forkable:
    """The part of :class:`braid_hpc.log.writer.RankLog` that knows of forks."""

    writer: bytes
    directory: Path
    tail: Tail
    lost: int
    _last: Tail
    _full: dict[int, Tail]
    _successors: dict[int, Tail]
    _keeper: Keeper | None
    _losses: Losses
    _children: Children
    _parent: bytes | None
    _forked: bool
    _replay: list[tuple[Any, ...]]
    _retry_at: int

    def append(self, code: int, *row: Any) -> int:
        """Store one row; see :meth:`braid_hpc.log.writer.RankLog.append`."""
        raise NotImplementedError

    def close(self) -> None:
        """Record the end; see :meth:`braid_hpc.log.writer.RankLog.close`."""
        raise NotImplementedError

    def _open(self) -> None:
        """Open a log under a new id; see :class:`braid_hpc.log.writer.RankLog`."""
        raise NotImplementedError

    def remember(self, *row: Any) -> int:
        """Store a row that a forked child must repeat in its own log (texts, declared streams).

        Parameters
        ----------
        *row
            All seven arguments of :meth:`append`.

        Returns
        -------
        int
            As for :meth:`append`.
        """
        sequence = self.append(*row)
        self._replay.append(row)
        if not sequence:
            self._losses.owed.append(row)
        return sequence

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's log that the child has not asked anything of yet."""
        return self._forked

    def __getattr__(self, name: str) -> Any:
        """Open a forked child's own log when it first asks whose log this is, or where it lies.

        Raises
        ------
        AttributeError
            If `name` is something else.
        """
        if name in ("writer", "directory") and self.__dict__.get("_forked"):
            self._reopen_in_child()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _leave_to_parent(self) -> None:
        """In a forked child: the files are the parent's; the first call opens a log of our own."""
        if self._forked:
            return
        self._forked = True
        self._parent = self.__dict__.pop("writer")
        del self.directory
        tails = {id(tail): tail for tail in (self._last, *self._full.values(), *self._successors.values())}
        self._keeper = None
        self.tail = self._last = NO_TAIL
        self._full, self._successors = {}, {}
        self.lost = self._retry_at = 0
        self._losses.forget()
        self._children.forget()
        for tail in tails.values():
            # The parent's thread may have been reading one when the process was forked: that one stays open here.
            with contextlib.suppress(BufferError, OSError):
                tail.close()

    def _reopen_in_child(self) -> bool:
        self._forked = False
        try:
            self._open()
        except StorageError as error:
            # Tried again later, as after any other refusal.
            self._forked = True
            self._losses.reason = f"{type(error).__name__}: {error}"
            self._retry_at = time.monotonic_ns() + RETRY_NS
            return False
        self._losses.tell(self.tail.append)
        if multiprocessing_child():
            from multiprocessing.util import Finalize

            # Such a child ends by os._exit, which runs nothing else.
            Finalize(None, self.close, exitpriority=0)
        return True


def multiprocessing_child() -> bool:
    """Return whether this process was started by :mod:`multiprocessing`.

    Returns
    -------
    bool
        False where that module was never imported.
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


_watching = threading.Lock()
_watched = False


def watch_forks(log: Forkable) -> None:
    """Have `log` left to its parent in every process that is forked from now on; held weakly."""
    global _watched
    _OPEN_LOGS.add(log)
    with _watching:
        if not _watched:
            _watched = True
            os.register_at_fork(after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)


def _after_fork_in_parent() -> None:
    for log in list(_OPEN_LOGS):
        if not log._forked:
            log._children.add_newest()


def _after_fork() -> None:
    for log in list(_OPEN_LOGS):
        log._leave_to_parent()


def forget_forks(log: Forkable) -> None:
    """Stop watching a log that is closed."""
    _OPEN_LOGS.discard(log)
