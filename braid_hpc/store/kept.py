"""Stores that are made to be asked, and can be made again: in the user's cache, else for as long as they are open."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from braid_hpc._version import __version__
from braid_hpc.vocabulary.identity import key_digest

__all__ = ["NAME", "cache_directory", "keep"]

#: What such a store is called in its directory.
NAME = "store.duckdb"

#: How many states of one store stay, the newest; and of how many stores.
STATES, STORES = 2, 16

#: What the directories are called that are made here; nothing else in the place is ever removed.
_MADE = re.compile(r"[0-9a-f]{32}")


def cache_directory() -> Path | None:
    """Return where stores are kept that were made to be asked, and nobody else can look in.

    Returns
    -------
    Path or None
        ``BRAID_CACHE_DIR``, unless that is empty, else ``braid`` in ``XDG_CACHE_HOME`` or ``~/.cache``; None where it
        cannot be written, or is somebody else's.
    """
    given = os.environ.get("BRAID_CACHE_DIR")
    if not given:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        given = os.path.join(home, "braid")
    place = Path(given, "stores")
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
        if found.st_uid != os.geteuid():
            return None
        if found.st_mode & 0o077:
            place.chmod(0o700)
    except OSError:
        return None
    return place if os.access(place, os.W_OK) else None


def keep(key: list[object], state: list[object], make: Callable[[Path, Path | None], None]) -> tuple[Path, Path | None]:
    """Return a store that was made before, or make it.

    Parameters
    ----------
    key : list
        What the store is of, as JSON can hold it.
    state : list
        In which state that is now.
    make : callable
        Makes the store; given its path, and that of an earlier state where there is one, which may be gone meanwhile.

    Returns
    -------
    path : Path
        Of the store.
    temporary : Path or None
        The directory to remove when it is closed, where it could not be kept.

    Raises
    ------
    OSError
        If there is no place for it.
    """
    place = cache_directory()
    if place is None:
        temporary = Path(tempfile.mkdtemp(prefix="braid-"))
        try:
            make(temporary / NAME, None)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return temporary / NAME, temporary
    folder = place / key_digest(["store", __version__, json.dumps(key)])
    target = folder / key_digest(["state", json.dumps(state)])
    if not (target / NAME).is_file():
        folder.mkdir(mode=0o700, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix="building-", dir=folder))
        try:
            earlier = _states(folder)
            make(half / NAME, earlier[-1] / NAME if earlier else None)
            # Somebody else may have made it meanwhile: it is the same.
            with contextlib.suppress(OSError):
                os.rename(half, target)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.utime(target)
        os.utime(folder)
    _forget(place, folder, target)
    return target / NAME, None


def _states(folder: Path) -> list[Path]:
    """Return the states of a store, the one that was asked last at the end."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if _MADE.fullmatch(path.name):
                found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def _forget(place: Path, folder: Path, target: Path) -> None:
    """Remove the states and the stores that were not asked for the longest time; who has one open keeps its file."""
    for path in _states(folder)[:-STATES]:
        if path != target:
            shutil.rmtree(path, ignore_errors=True)
    for path in _states(place)[:-STORES]:
        if path != folder:
            shutil.rmtree(path, ignore_errors=True)
