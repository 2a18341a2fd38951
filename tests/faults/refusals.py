"""A layer between the log and the operating system, in the tests alone.

It counts the calls that the modules of :mod:`braid_hpc.log` make, refuses one of them or a series, cuts a write short,
and keeps what a power cut would leave of each file: what it was when it was last brought to the disk, and after a
refused sync never anything else, because the kernel may have dropped the pages.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ERRNOS", "KINDS", "Layer"]

#: How the operating system refuses. ``once``: one call; ``full``: everything that takes space, from one call on, for
#: some time; ``short``: one write is cut; ``sync``: all syncs from one call on, for some time.
KINDS = ("once", "full", "short", "sync")
ERRNOS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)

_WRITES = ("os.write", "os.pwrite")
_SYNCS = ("os.fdatasync", "os.fsync")
_SPACE = (*_WRITES, "os.posix_fallocate", "Path.write_bytes", "Path.mkdir", "os.rename")
_OS = (
    *("open", "close", "write", "pwrite", "pread", "fdatasync", "fsync", "posix_fallocate", "ftruncate", "truncate"),
    *("unlink", "rename", "fstat", "fstatvfs", "statvfs", "dup", "dup2", "memfd_create", "eventfd"),
    *("readlink", "rmdir"),
)
_PATH = ("write_bytes", "read_bytes", "mkdir", "open")

#: For how many calls a series lasts.
SERIES = {"full": 60, "sync": 12}


def _inode(path: Any) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _in_place(name: str, args: Any) -> bool:
    """Whether a write goes where the file has bytes already, and so takes no room."""
    return name == "os.pwrite" and args[2] + len(args[1]) <= os.fstat(args[0]).st_size


@dataclass
class Layer:
    """What is refused, and what happened.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    number : int
        Which call, from 1; 0 for none. Counted are all calls, or under ``short`` writes, under ``sync`` syncs.
    error : int
        Its errno.
    counted : int
        How many of these calls were made.
    refused : list of str
        Which were refused.
    """

    kind: str = "once"
    number: int = 0
    error: int = errno.ENOSPC
    counted: int = 0
    refused: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _images: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _dropped: set[tuple[int, int]] = field(default_factory=set)

    def install(self) -> None:
        """Put the layer in place, for the rest of this process."""
        for name in _OS:
            setattr(os, name, self._wrapped(f"os.{name}", getattr(os, name)))
        for name in _PATH:
            setattr(Path, name, self._wrapped(f"Path.{name}", getattr(Path, name)))
        mapped = self._wrapped("mmap.mmap", mmap.mmap)
        mmap.mmap = mapped  # type: ignore[misc, assignment]

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if not sys._getframe(1).f_globals.get("__name__", "").startswith("braid_hpc.log."):
                return real(*args, **named)
            if self._is_due(name, args):
                self.refused.append(name)
                return self._refuse(name, real, args, named)
            # An inode that is free may be the next file's.
            freed = _inode(args[-1]) if name in ("os.unlink", "os.rename") else None
            answer = real(*args, **named)
            if freed is not None:
                self._images.pop(freed, None)
                self._dropped.discard(freed)
            if name in _SYNCS:
                self._remember(args[0])
            return answer

        return call

    def _is_due(self, name: str, args: Any) -> bool:
        counts = {"short": _WRITES, "sync": _SYNCS}.get(self.kind)
        if counts is None or name in counts:
            self.counted += 1
            self.names.append(name)
        if not self.number or (counts is not None and name not in counts):
            return False
        if self.kind in SERIES:
            inside = self.number <= self.counted < self.number + SERIES[self.kind]
            return inside and (self.kind != "full" or (name in _SPACE and not _in_place(name, args)))
        return self.counted == self.number

    def _refuse(self, name: str, real: Callable[..., Any], args: Any, named: Any) -> Any:
        if self.kind == "short":
            data = memoryview(args[1])
            return real(args[0], data[: len(data) // 2], *args[2:])
        if name == "os.close":
            # As the kernel does it: the descriptor is gone all the same.
            real(*args)
        if name in _SYNCS:
            stat = os.fstat(args[0])
            self._dropped.add((stat.st_dev, stat.st_ino))
        raise OSError(self.error, os.strerror(self.error))

    def _remember(self, descriptor: int) -> None:
        stat = os.fstat(descriptor)
        file = (stat.st_dev, stat.st_ino)
        if file not in self._dropped and not os.path.isdir(f"/proc/self/fd/{descriptor}"):
            with open(f"/proc/self/fd/{descriptor}", "rb") as again:
                self._images[file] = again.read()

    def power_cut(self, source: Path, target: Path) -> None:
        """Write what the disk would have of a directory's files if the power went now."""
        shutil.rmtree(target, ignore_errors=True)
        for path in source.rglob("*"):
            if path.is_file():
                stat = path.stat()
                image = self._images.get((stat.st_dev, stat.st_ino))
                if image is not None:
                    place = target / path.relative_to(source)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(image)
