"""``header.json``: what a reader must know of a writer before its first row."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from braid_hpc.log.layout import FORMAT, HEADER_NAME, MAJOR, MINOR

__all__ = ["boot_id", "process_start", "make_header", "write_header"]


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot: it tells two machines apart that bear one host name.

    Returns
    -------
    str
        A UUID, or an empty text where the kernel offers none.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_start(pid: int) -> int:
    """Return when a process started, in clock ticks since boot: with its pid this names it for good.

    Parameters
    ----------
    pid : int
        A process on this host.

    Returns
    -------
    int
        Field 22 of ``/proc/<pid>/stat`` (proc(5)), or 0 where it cannot be read.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The second field is the command in parentheses and may hold anything, spaces and parentheses included.
    return int(stat.rpartition(")")[2].split()[19])


def make_header(writer: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Put a header together.

    Parameters
    ----------
    writer : bytes
        The writer's 16-byte id.
    facts : dict
        What the room above knows of the run: job, rank, size, launcher and its evidence, store.

    Returns
    -------
    dict
        Ready for :mod:`json`.
    """
    pid = os.getpid()
    return {
        "format": FORMAT,
        "major": MAJOR,
        "minor": MINOR,
        "writer": writer.hex(),
        "clock": {"monotonic_ns": time.monotonic_ns(), "utc_ns": time.time_ns()},
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": pid,
        "process_start": process_start(pid),
        "byteorder": sys.byteorder,
        **facts,
    }


def write_header(directory: Path, header: dict[str, Any]) -> None:
    """Write ``header.json`` so that it is there whole or not at all.

    Parameters
    ----------
    directory : Path
        The writer's directory.
    header : dict
        From :func:`make_header`.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    aside = directory / (HEADER_NAME + ".new")
    aside.write_text(json.dumps(header, indent=1, default=str) + "\n", encoding="utf-8", errors="surrogateescape")
    os.rename(aside, directory / HEADER_NAME)
