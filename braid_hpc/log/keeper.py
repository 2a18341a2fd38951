"""The background thread of a log: prepares the next tail, records what lasts, seals what is full, syncs every second.

It shares no lock with the threads that record. It is woken through an eventfd, because the locks of
:class:`threading.Event` could be held by the very frame that a signal handler interrupted.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.log.writer import RankLog

__all__ = ["Keeper"]

#: Seconds between two looks at the log.
INTERVAL = 1.0

#: Seconds between two copies to the directory that a log is shipped to.
SHIP_INTERVAL = 60.0


class Keeper(threading.Thread):
    """The thread; it ends with :meth:`stop`, or when its log is gone.

    Parameters
    ----------
    log : RankLog
        Held weakly.
    """

    def __init__(self, log: RankLog) -> None:
        super().__init__(name="braid-keeper", daemon=True)
        self._log = weakref.ref(log)
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Not by the thread: its number could be another file's when somebody who still holds this object wakes it.
        weakref.finalize(self, os.close, self._wakeup).atexit = False
        self._stopping = False
        self._ship_at = time.monotonic() + SHIP_INTERVAL
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Look after the log until it is closed."""
        # Signals belong to the program's own threads: one that were delivered here would not interrupt their calls.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # poll and not select, which refuses descriptors from 1024 on.
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        sync_at = time.monotonic() + INTERVAL
        while not self._stopping:
            if poll.poll(min(INTERVAL, max(0.0, sync_at - time.monotonic())) * 1000):
                if not self._is_ours():
                    # Without it the thread looks every second.
                    poll.unregister(self._wakeup)
                    continue
                with contextlib.suppress(OSError):
                    os.eventfd_read(self._wakeup)
            log = self._log()
            if log is None or log.closed or self._stopping:
                break
            for step in (log.watch, log.prepare, log.seal, log.see_children, log.tell_troubles):
                self._take(step.__name__, step)
            # Not at each wake: what is sealed is on the disk, and a sync takes away from the present tail that its
            # pages can be stored into without a fault.
            if time.monotonic() >= sync_at:
                sync_at = time.monotonic() + INTERVAL
                self._take("sync", log.sync)
            if log.ship_to is not None and time.monotonic() >= self._ship_at:
                self._ship_at = time.monotonic() + SHIP_INTERVAL
                self._take("ship", log.ship)
            del log

    def _take(self, name: str, step: Callable[[], object]) -> None:
        """Take one step; a refusal of the file system is kept and the step tried again next time."""
        try:
            step()
        except Exception as error:
            # Whatever it is, nobody is above this frame but the thread's own end, which would print a traceback.
            self.failures[name] = reason = f"{type(error).__name__}: {error}"
            if (log := self._log()) is not None:
                log.trouble(name, reason, kind=(type(error).__name__, getattr(error, "errno", None)))

    def _is_ours(self) -> bool:
        """Whether the descriptor is still the one that was made here.

        A program that closes all descriptors, as daemons do, gives its number to one of its own files.
        """
        try:
            return os.readlink(f"/proc/self/fd/{self._wakeup}") == "anon_inode:[eventfd]"
        except OSError:
            return False

    def wake(self) -> None:
        """Have the thread look now; callable from anywhere, also from a signal handler."""
        if self._is_ours():
            with contextlib.suppress(OSError):
                os.eventfd_write(self._wakeup, 1)

    def stop(self, timeout: float = 0.5) -> None:
        """End the thread.

        Parameters
        ----------
        timeout : float
            Seconds to wait for a step that is under way. A step that is left behind does no harm: a tail is
            removed only when its sealed batch is on disk, and rows found in both count once.
        """
        self._stopping = True
        self.wake()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout)
