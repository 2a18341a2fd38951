"""Temporary directories that somebody removes also where the process that made them was killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from braid_hpc.log.header import pid_namespace, process_start

__all__ = ["make_scratch", "remove_scratch"]

_PREFIX = "braid-logs-"
_NAME = re.compile(rf"{_PREFIX}([0-9]+)-([0-9]+)-([0-9]+)-.*")


def make_scratch() -> Path:
    """Make a directory below the temporary one, and remove those of processes of this user and host that are no more.

    Containers may share the temporary directory: those of another namespace of process ids are left alone.

    Returns
    -------
    Path
        The caller's to remove. Its name has the process's pid, when it started, and the namespace of its pid.

    Raises
    ------
    OSError
        If there is no room.
    """
    place = Path(tempfile.gettempdir())
    namespace = pid_namespace()
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            found = _NAME.fullmatch(entry.name)
            with contextlib.suppress(OSError):
                if found and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    pid, start = int(found[1]), int(found[2])
                    if 0 < namespace == int(found[3]) and process_start(pid) != start:
                        shutil.rmtree(entry.path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_prefix(), dir=place))


def remove_scratch() -> None:
    """Remove all that this process has made: for its end by a signal."""
    for path in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        shutil.rmtree(path, ignore_errors=True)


def _prefix() -> str:
    return f"{_PREFIX}{os.getpid()}-{process_start(os.getpid())}-{pid_namespace()}-"
