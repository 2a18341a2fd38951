"""Children that this process forked: when one of them exits, its log says that it ended, and is complete.

One that a signal has ended may have been about to record more: its log stays open, and says what ended it.

A forked child that leaves by ``os._exit``, as workers do, runs nothing that could close its log. Everything it
recorded is held all the same, so it is enough that somebody saw it exit, and not die of a signal: the background
thread of its parent, which looks at a descriptor of the process and never takes the exit away from the program that
waits for it. Where the program has waited first, newer kernels (6.15) still tell; on others the log stays open.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from braid_hpc.log.header import pack_header, process_start
from braid_hpc.log.layout import ENDED_NAME, FORMAT, GONE_NAME, HEADER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Children", "write_end"]

#: Descriptors that are kept at most; children beyond are not looked after.
MOST = 256

#: ``ioctl(pidfd, PIDFD_GET_INFO)`` with the first version of ``struct pidfd_info``, and the bit that asks for the exit.
_GET_INFO = 0xC040FF0B
_INFO = struct.Struct("<QQ11Ii")
_INFO_EXIT = 8


class _Child(NamedTuple):
    """A process that was forked from this one."""

    pid: int
    start: int
    descriptor: int


class Children:
    """The children of one process.

    Parameters
    ----------
    log_dir : Path
        Where their logs would be.
    writer : bytes
        The log that they would name as their parent.
    """

    def __init__(self, log_dir: Path, writer: bytes) -> None:
        self._log_dir = log_dir
        self._writer = writer.hex()
        self._known: dict[int, _Child] = {}

    def add_newest(self) -> None:
        """Take note of the child that this thread has just forked; where that cannot be known, nothing happens."""
        try:
            with open("/proc/thread-self/children", encoding="ascii") as file:
                pids = [int(word) for word in file.read().split()]
            if pids and pids[-1] not in self._known and len(self._known) < MOST:
                pid = pids[-1]
                self._known[pid] = _Child(pid, process_start(pid), os.pidfd_open(pid))
        except (OSError, ValueError):
            pass

    def look(self) -> None:
        """Write into the logs of children that have ended how they did.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        for child in list(self._known.values()):
            poll = select.poll()
            poll.register(child.descriptor, select.POLLIN)
            if not poll.poll(0):
                continue
            status = _status(child.descriptor)
            del self._known[child.pid]
            os.close(child.descriptor)
            if status is not None:
                self._tell(child, status)

    def _tell(self, child: _Child, status: int) -> None:
        for directory in self._directories():
            try:
                header = json.loads((directory / HEADER_NAME).read_bytes())
            except (OSError, ValueError):
                continue
            about = (header.get("parent"), header.get("pid"), header.get("process_start"))
            if about == (self._writer, child.pid, child.start):
                seen = {"parent": self._writer, **({"status": status} if status >= 0 else {"signal": -status})}
                write_end(directory, header["writer"], seen, utc_ns=time.time_ns())

    def _directories(self) -> Iterable[Path]:
        with contextlib.suppress(OSError):
            yield from list(self._log_dir.iterdir())

    def forget(self) -> None:
        """Let go of all of them: at the end, and in a child, whose siblings they are."""
        known, self._known = self._known, {}
        for child in known.values():
            with contextlib.suppress(OSError):
                os.close(child.descriptor)


def write_end(directory: Path, writer: str, seen: dict[str, object], *, utc_ns: int) -> None:
    """Write into a log that its process has ended: ``ended.json`` if it has exited, else ``gone.json``.

    Parameters
    ----------
    directory : Path
        The writer's directory.
    writer : str
        Its id.
    seen : dict
        Who has seen what: `parent`, `status`, `signal`.
    utc_ns : int
        When, nanoseconds since 1970 UTC.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    name = ENDED_NAME if "status" in seen else GONE_NAME
    # Its parent is one, others may be several at once.
    aside = directory / f"{name}.{'' if 'parent' in seen else f'{os.getpid()}.'}new"
    aside.write_bytes(pack_header({"format": FORMAT, "writer": writer, **seen, "utc_ns": utc_ns}))
    os.rename(aside, directory / name)


def _status(descriptor: int) -> int | None:
    """Return what a process exited with, or the signal that ended it, below zero; None if nobody can tell any more."""
    try:
        seen = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        # The program has waited for it already.
        return _reaped_status(descriptor)
    if seen is None:
        return None
    return int(seen.si_status) if seen.si_code == os.CLD_EXITED else -int(seen.si_status)


def _reaped_status(descriptor: int) -> int | None:
    asked = bytearray(_INFO.pack(_INFO_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(descriptor, _GET_INFO, asked)
    except OSError:
        return None
    mask, *_, status = _INFO.unpack(asked)
    return os.waitstatus_to_exitcode(status) if mask & _INFO_EXIT else None
