"""Whether the process that wrote a log has certainly ended: as its parent has seen it, or this machine can tell.

A process is named by its pid among those of its namespace, and by when it started. So it is looked for only where the
pid means the same here as in the log: on the same machine, in the same boot, among the same process ids. Everywhere
else it may be at work.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.log.children import write_end
from braid_hpc.log.header import boot_id, pid_namespace
from braid_hpc.log.layout import ENDED_NAME, GONE_NAME
from braid_hpc.reading.directories import read_header
from braid_hpc.vocabulary.codes import Ending

__all__ = ["ProcessEnd", "find_end", "tell_end", "told_end"]

#: The inode of the namespace of process ids that a kernel begins with: nobody in it is in a container of its own.
FIRST_NAMESPACE = 0xEFFFFFFC

#: Fields of ``/proc/<pid>/stat`` behind the command (proc(5)): state, number of threads, start.
_STATE, _THREADS, _START = 0, 17, 19


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How it is known that a process has ended.

    Attributes
    ----------
    how : Ending
        Who has seen it, and how.
    code : int or None
        What it exited with; None if nobody can tell.
    utc_ns : int
        When that was seen, nanoseconds since 1970 UTC: it has ended before.
    """

    how: Ending
    code: int | None
    utc_ns: int


def find_end(header: dict[str, Any]) -> ProcessEnd | None:
    """Look for the process that wrote a log.

    Parameters
    ----------
    header : dict
        Of the log.

    Returns
    -------
    ProcessEnd or None
        None if it may be at work: it is there, or nobody can tell from here.

    See Also
    --------
    braid_hpc.log.children : what its parent writes when it sees it exit.
    """
    boot, space, pid = (header.get(name) for name in ("boot_id", "pid_namespace", "pid"))
    mine = pid_namespace()
    if not isinstance(boot, str) or not boot or not boot_id() or not space or not mine:
        return None
    host = socket.gethostname()
    if header.get("host") != host:
        return None
    if boot != boot_id():
        # Containers may bear one name on several machines, and so do machines without a name of their own.
        alone = space == mine == FIRST_NAMESPACE and not host.startswith("localhost")
        return _before_this_boot(header) if alone else None
    now = time.time_ns()
    if space == mine and isinstance(pid, int) and not _may_live(pid, header.get("process_start")):
        return ProcessEnd(Ending.GONE, None, now)
    return None


def tell_end(directory: Path) -> bool:
    """Write into a log that its process is not there any more, for those who cannot see it from where they are.

    Parameters
    ----------
    directory : Path
        The writer's directory.

    Returns
    -------
    bool
        False, and nothing is written, if the process may be at work, or if somebody has said how it ended. Where it
        cannot be written, nobody is told: less is said than is true.

    Raises
    ------
    FormatTooNewError
        If the log is of a newer major format.
    """
    if any((directory / name).exists() for name in (ENDED_NAME, GONE_NAME)):
        return False
    header, _ = read_header(directory)
    end = find_end(header)
    if end is None:
        return False
    try:
        write_end(directory, str(header["writer"]), {}, utc_ns=end.utc_ns)
    except OSError:
        return False
    return True


def told_end(about: dict[str, Any]) -> ProcessEnd:
    """Read what ``ended.json`` or ``gone.json`` says.

    Parameters
    ----------
    about : dict
        Its members.

    Returns
    -------
    ProcessEnd
        How the process has ended; of a signal the code is its number, below zero.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing, or is no number.
    """
    if (signal := about.get("signal")) is not None:
        return ProcessEnd(Ending.KILLED, -int(signal), int(about["utc_ns"]))
    status = about.get("status")
    return ProcessEnd(Ending.GONE if status is None else Ending.EXITED, status and int(status), int(about["utc_ns"]))


def _before_this_boot(header: dict[str, Any]) -> ProcessEnd | None:
    booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    began = (header.get("clock") or {}).get("utc_ns")
    return ProcessEnd(Ending.REBOOTED, None, booted) if isinstance(began, int) and 0 < began < booted else None


def _may_live(pid: int, start: object) -> bool:
    if pid <= 0:
        return True
    try:
        # Not by a look into /proc: that may be of other processes, or hide those of other people.
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return True
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return True
    # One that has been killed, and that its parent has not waited for. The first thread may end before the others.
    over = fields[_STATE] in "ZX" and int(fields[_THREADS]) <= 1
    return not over and (not start or int(fields[_START]) == start)
