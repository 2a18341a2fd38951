"""From what a program tried to do with files to what may have become of each path."""

from __future__ import annotations

import fnmatch
import os
import sys
import sysconfig
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from braid_hpc.collectors.beginnings import OPEN_AT

__all__ = ["PLACES", "Attempts", "Place", "is_own", "matches"]

#: How many paths are told apart until they are looked at.
PLACES = 100_000

_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib/", "/lib64/", "/run/")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND


@dataclass(slots=True)
class Place:
    """What was tried with a path.

    Attributes
    ----------
    read : bool
        It was opened for reading before it was written.
    written : bool
        It was opened for writing, or something was brought there.
    source : str
        From where, if that was not written here.
    """

    read: bool = False
    written: bool = False
    source: str = ""


class Attempts:
    """What was tried, path by path, in order.

    Parameters
    ----------
    cwd : str
        The working directory before the first attempt.

    Attributes
    ----------
    cwd : str
        That after the last one.
    places : dict of str to Place
        By absolute path, in the order of the first attempt.
    unfollowed : int
        How many could not be followed, because their path begins at a descriptor or is none.
    beyond : int
        How many were of paths beyond the first :data:`PLACES`.
    """

    def __init__(self, cwd: str) -> None:
        self.cwd = cwd
        self.places: dict[str, Place] = {}
        self.unfollowed = self.beyond = 0
        #: What was opened last, and what was known of it before.
        self._latest: tuple[str, Place | None] = "", None

    def replay(self, taken: list[tuple[str, Any]]) -> Attempts:
        """Follow attempts.

        Parameters
        ----------
        taken : list of (str, tuple)
            Event and arguments, as an audit hook gets them.

        Returns
        -------
        Attempts
            Itself.
        """
        for event, args in taken:
            try:
                self._follow(event, args)
            except (TypeError, ValueError, IndexError):
                self.unfollowed += 1
        return self

    def _follow(self, event: str, args: Any) -> None:
        if event == "open":
            if not isinstance(args[0], int):
                path = self._absolute(args[0])
                found = self.places.get(path)
                self._latest = path, None if found is None else replace(found)
                self._opened(path, *args[1:3])
        elif event == OPEN_AT:
            self._opened_at(*args)
        elif event == "os.truncate":
            if not isinstance(args[0], int):
                self._at(args[0]).written = True
        elif event == "os.chdir":
            if not isinstance(args[0], int):
                self.cwd = self._absolute(args[0])
        elif event == "os.remove":
            # What was removed by a way that cannot be followed is not there when somebody looks.
            if _begins_at_cwd(args[0], args[1]):
                self.places.pop(self._absolute(args[0]), None)
        elif self._followed(args[0], args[2]) and self._followed(args[1], args[3]):
            self._brought(self._absolute(args[0]), self._absolute(args[1]), keep=event == "os.link")

    def _opened(self, path: str, mode: Any, flags: Any) -> None:
        place = self._place(path)
        writes = any(letter in mode for letter in "wax+") if mode else bool(int(flags) & _WRITING)
        if writes:
            place.written = True
        elif not place.written:
            place.read = True

    def _opened_at(self, given: Any, flags: Any, path: str | None, told: bool) -> None:
        if told:
            # open(opener=) told of the path as if it began at the working directory.
            self._withdraw(self._absolute(given))
        if path is None:
            self.unfollowed += 1
        else:
            self._opened(os.path.normpath(path), None, flags)

    def _withdraw(self, path: str) -> None:
        latest, before = self._latest
        if latest == path and before is not None:
            self.places[path] = before
        else:
            self.places.pop(path, None)

    def _brought(self, source: str, target: str, *, keep: bool) -> None:
        found = self.places.get(source) if keep else self.places.pop(source, None)
        if found is None and not keep:
            # A directory takes along what is in it.
            head = f"{source}/"
            for path in [each for each in self.places if each.startswith(head)]:
                self.places[f"{target}/{path[len(head) :]}"] = self.places.pop(path)
        place = self._place(target)
        place.written = True
        place.source = source if found is None else found.source

    def _followed(self, path: Any, descriptor: Any) -> bool:
        if _begins_at_cwd(path, descriptor):
            return True
        self.unfollowed += 1
        return False

    def _at(self, path: Any) -> Place:
        return self._place(self._absolute(path))

    def _place(self, path: str) -> Place:
        found = self.places.get(path)
        if found is None:
            found = Place()
            if len(self.places) < PLACES:
                self.places[path] = found
            else:
                self.beyond += 1
        return found

    def _absolute(self, path: Any) -> str:
        return os.path.normpath(os.path.join(self.cwd, os.fsdecode(path)))


def _begins_at_cwd(path: Any, descriptor: Any) -> bool:
    # A path from the root needs no directory to begin at.
    return descriptor in (-1, None) or os.path.isabs(os.fsdecode(path))


def matches(path: str, patterns: list[str]) -> bool:
    """Return whether one of the patterns holds of a path or of its name.

    Parameters
    ----------
    path : str
        Absolute.
    patterns : list of str
        As :mod:`fnmatch` has them.

    Returns
    -------
    bool
        False without patterns.
    """
    name = os.path.basename(path)
    return any(fnmatch.fnmatchcase(path, each) or fnmatch.fnmatchcase(name, each) for each in patterns)


def is_own(path: str) -> bool:
    """Return whether a file is the interpreter's or the system's, and not of the program's data.

    Parameters
    ----------
    path : str
        Absolute.

    Returns
    -------
    bool
        Those below the system's directories, the interpreter and its packages, and every module that is imported.
    """
    if (path.startswith(_SYSTEM) and not path.startswith("/dev/shm/")) or path.endswith((".pyc", ".pyo")):
        return True
    if path.startswith(_roots()):
        return True
    # A source is read when its module is imported.
    return path.endswith(".py") and any(
        getattr(module, "__dict__", {}).get("__file__") == path for module in list(sys.modules.values())
    )


@cache
def _roots() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(f"{root.rstrip('/')}/" for root in {*paths, sys.prefix, sys.exec_prefix} if root and root != "/")
