"""Which commits a store is made of: by its own list, or, where its files are gone or damaged, by its archive alone.

The archive of a commit is marked before its snapshot is published, and again when that is done, and each names the
commit that it was built on. So what was left by a merge that did not come to its end can be told apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from braid_hpc.compaction.archived import base_of
from braid_hpc.snapshots.connect import list_snapshots
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.names import PUBLISHED
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError

__all__ = ["Published", "find_published"]

_TAG = re.compile("([1-9][0-9]*)-[0-9a-f]+")


@dataclass(slots=True)
class Published:
    """The commits of a store.

    Attributes
    ----------
    tags : dict of int to (str or None)
        The tag of each, by its number, from 1 without a gap; None where nothing is known of it.
    readable : int
        The newest of them that a file of the store has, and can be read; 0 if there is none.
    notes : list of str
        What a person should know of how they were found.
    """

    tags: dict[int, str | None] = field(default_factory=dict)
    readable: int = 0
    notes: list[str] = field(default_factory=list)


def find_published(files: StoreFiles) -> Published:
    """Find the commits of a store.

    Parameters
    ----------
    files : StoreFiles
        The store's; none of its own files need be there, or be readable.

    Returns
    -------
    Published
        Those that are a part of it.

    Raises
    ------
    FormatTooNewError
        If the store is of a newer format.
    """
    found = Published()
    named = _named(files)
    found.tags.update(named)
    found.readable = max(named, default=0)
    marked = _marked(files)
    # Also where there is a file that cannot be read, and no archive.
    highest = max([0, *marked, *files.snapshots()])
    for number in range(found.readable + 1, highest + 1):
        tag = _choose(files, marked.get(number, []), found.tags.get(number - 1), marked.get(number + 1, []))
        found.tags[number] = tag
        if tag is not None and files.mark_of(tag) != PUBLISHED:
            found.notes.append(
                f"the merge {tag} was ended while it published its snapshot: what it had taken is taken for published"
            )
    return found


def _named(files: StoreFiles) -> dict[int, str]:
    """Return what the newest file of the store that can be read names; most are damaged at all or not at all."""
    for path in [*(files.snapshot(number) for number in reversed(files.snapshots())), files.path]:
        try:
            return list_snapshots(path, files.path)
        except (StorageError, InvalidInputError):
            # It is not there, or damaged: that is what a store is made again for.
            continue
    return {}


def _marked(files: StoreFiles) -> dict[int, list[str]]:
    """Return the tags of archives that were published, or may have been, by their numbers."""
    found: dict[int, list[str]] = {}
    for path in sorted(files.archive.glob("*-*")):
        if (tag := _TAG.fullmatch(path.name)) is not None and files.mark_of(path.name):
            found.setdefault(int(tag[1]), []).append(path.name)
    return found


def _choose(files: StoreFiles, tags: list[str], base: str | None, after: list[str]) -> str | None:
    """Return which of the archives with one number was published: the one that the next one was built on."""
    built_on = {base_of(files.archive / tag) for tag in after}

    def likely(tag: str) -> tuple[bool, bool, bool]:
        return tag in built_on, files.mark_of(tag) == PUBLISHED, base_of(files.archive / tag) == base

    return max(tags, key=likely, default=None)


def archive_of(files: StoreFiles, number: int, tag: str | None) -> Path:
    """Return where the archive of a commit is.

    Parameters
    ----------
    files : StoreFiles
        The store's.
    number : int
        Of the snapshot.
    tag : str or None
        As :class:`Published` has it.

    Returns
    -------
    Path
        It need not exist.
    """
    return files.archive / (tag or f"{number}-unknown")
