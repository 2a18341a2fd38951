"""What ranks share: writers, each in a directory that all ranks see, or in node bundles that one of them unpacks."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from braid_hpc.reading.bundles import BundleIndex, find_bundles, index_bundles, tell_refused, unpack_writer
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.scratch import make_scratch
from braid_hpc.vocabulary.errors import NotFoundError

__all__ = ["Share", "Unpacked", "find_shares"]


@dataclass(frozen=True, slots=True)
class Share:
    """A writer, in one of the places where its log is.

    Attributes
    ----------
    place : Path
        The writer's directory; of one in bundles the first of these and below it the writer, as a name for it.
    index : BundleIndex or None
        What the bundles hold of it.
    """

    place: Path
    index: BundleIndex | None = None


def find_shares(logs: Path) -> list[Share]:
    """Find writers below a directory; of bundles only the headers are read.

    Parameters
    ----------
    logs : Path
        As for :func:`braid_hpc.reading.bundles.opened_logs`.

    Returns
    -------
    list of Share
        In the order in which that gives their directories.

    Raises
    ------
    NotFoundError
        If there is no such directory, or no log in it.
    CorruptLogError
        If a file that is called like a bundle is none, and there is no other log; else that is a warning.
    FormatTooNewError
        If a bundle is of a newer format.
    """
    bundles = find_bundles(logs)
    if not bundles:
        return [Share(directory) for directory in find_writers(logs)]
    found = []
    indexes = index_bundles(bundles)
    if logs.is_dir():
        with contextlib.suppress(NotFoundError):
            found = [Share(directory) for directory in find_writers(logs)]
    for index in indexes:
        for writer in sorted(index.writers):
            mine = replace(index, writers={writer: index.writers[writer]})
            found.append(Share(index.bundles[0] / writer, mine))
    tell_refused(indexes, logs, found=bool(found))
    return found


class Unpacked:
    """The directories of the writers that one rank reads; what was unpacked is removed at the end."""

    def __init__(self) -> None:
        self._found: dict[Path, Path] = {}
        self._temporary: list[Path] = []

    def directory(self, share: Share, shared: Path | None) -> Path:
        """Return a writer's directory, and unpack it the first time.

        Parameters
        ----------
        share : Share
            The writer.
        shared : Path or None
            A directory that all ranks see. Arrays are unpacked there, because the rank that commits copies them.

        Returns
        -------
        Path
            With the files of its log.

        Raises
        ------
        StorageError
            If there is no room.
        """
        if share.index is None:
            return share.place
        if share.place not in self._found:
            writer = share.place.name
            into = make_scratch()
            self._temporary.append(into)
            self._found[share.place] = unpack_writer(share.index, writer, into)
        directory = self._found[share.place]
        if shared is not None and not directory.is_relative_to(shared) and any(directory.glob("arrays-*")):
            into = Path(tempfile.mkdtemp(prefix="unpacked-", dir=shared))
            self._found[share.place] = Path(shutil.copytree(directory, into / directory.name))
        return self._found[share.place]

    def remove(self) -> None:
        """Remove what was unpacked; not what all ranks see, which the rank that commits removes."""
        self._found.clear()
        while self._temporary:
            shutil.rmtree(self._temporary.pop(), ignore_errors=True)
