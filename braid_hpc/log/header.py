"""``header.json``: what a reader must know of a writer before its first row.

Its last line but one is ``"check"``: XXH3-64 of all that stands before that line, so that a flipped bit cannot make
one rank another one. Every later version of the format keeps that line.
"""

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
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = [
    "boot_id",
    "make_header",
    "pack_header",
    "pid_namespace",
    "process_start",
    "unpack_header",
    "write_header",
]

_CHECK = b',\n "check": "'
_END = b'"\n}\n'


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


def pid_namespace() -> int:
    """Return which processes the pids of this process are among: containers have their own, on one boot.

    Returns
    -------
    int
        Inode of the namespace (namespaces(7)), or 0 where the kernel does not say.
    """
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


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
        # What is mounted there may know this process by another number.
        stat = Path(f"/proc/{'self' if pid == os.getpid() else pid}/stat").read_text()
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
        "pid_namespace": pid_namespace(),
        "process_start": process_start(pid),
        "byteorder": sys.byteorder,
        **facts,
    }


def pack_header(header: dict[str, Any]) -> bytes:
    """Return the bytes of ``header.json``.

    Parameters
    ----------
    header : dict
        From :func:`make_header`.

    Returns
    -------
    bytes
        JSON, one member on a line, with the check at its end.
    """
    from xxhash import xxh3_64_hexdigest

    members = {key: value for key, value in header.items() if key != "check"}
    body = json.dumps(members, indent=1, default=str).removesuffix("\n}").encode()
    return body + _CHECK + xxh3_64_hexdigest(body).encode() + _END


def unpack_header(data: bytes) -> dict[str, Any]:
    """Read the bytes of ``header.json``.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    dict
        What it says, without the check.

    Raises
    ------
    CorruptLogError
        If it is cut off, is not JSON, or does not carry its check.
    FormatTooNewError
        If it is of a newer major format.
    """
    from xxhash import xxh3_64_hexdigest

    try:
        header = json.loads(data)
    except ValueError as error:
        if not data.rstrip(b"\0").endswith(_END):
            raise CorruptLogError(f"{HEADER_NAME} ends within its text, after {len(data)} bytes") from None
        raise CorruptLogError(f"{HEADER_NAME} is not JSON ({error})") from None
    body, _, check = data.rpartition(_CHECK)
    holds = check == xxh3_64_hexdigest(body).encode() + _END
    if not isinstance(header, dict) or not (holds or "check" not in header):
        raise CorruptLogError(f"{HEADER_NAME} does not carry its check sum")
    major = header.get("major")
    if isinstance(major, int) and major > MAJOR:
        raise FormatTooNewError(f"this log is of format {major}, this braid_hpc reads up to {MAJOR}: update braid_hpc")
    if not holds:
        raise CorruptLogError(f"{HEADER_NAME} has no check sum")
    del header["check"]
    return header


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
    aside.write_bytes(pack_header(header))
    os.rename(aside, directory / HEADER_NAME)


def sync_header(directory: Path) -> None:
    """Bring ``header.json`` to the disk, and the names of the files beside it.

    Parameters
    ----------
    directory : Path
        The writer's directory.

    Raises
    ------
    OSError
        If the kernel could not write them.
    """
    for path in (directory / HEADER_NAME, directory, directory.parent):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
