"""The names of a store's files, and which of them are there.

``prov.duckdb`` has a directory ``prov.duckdb.d`` with the snapshots ``<n>.duckdb``, the indices of each, and the
archive of the logs they were made of.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from braid_hpc.vocabulary.errors import NotFoundError

__all__ = ["PUBLISHED", "PUBLISHING", "StoreNames"]

#: Files in the archive of a commit: its snapshot is about to be published, and has been.
PUBLISHING, PUBLISHED = "publishing", "published"

_WRITER = re.compile("[0-9a-f]{32}")
_SNAPSHOT = re.compile(r"([1-9][0-9]*)\.duckdb")


class StoreNames:
    """Names the files of one store.

    Parameters
    ----------
    path : path-like
        The store's own name.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.directory = self.path.with_name(self.path.name + ".d")
        self.archive = self.directory / "logs"
        self.arrays = self.directory / "arrays"

    def snapshots(self) -> list[int]:
        """Return the numbers of the snapshot files that are there.

        Returns
        -------
        list of int
            Ascending; empty for a store that does not exist, or that was copied without its directory.
        """
        try:
            names = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(found[1]) for name in names if (found := _SNAPSHOT.fullmatch(name)))

    def snapshot(self, number: int) -> Path:
        """Return the file of a snapshot.

        Parameters
        ----------
        number : int
            From 1.

        Returns
        -------
        Path
            It need not exist.
        """
        return self.directory / f"{number}.duckdb"

    def adjacency(self, number: int) -> Path:
        """Return the adjacency index of a snapshot.

        Parameters
        ----------
        number : int
            From 1.

        Returns
        -------
        Path
            It need not exist: it can be made again from the tables.
        """
        return self.directory / f"{number}.adjacency"

    def done(self, number: int) -> Path:
        """Return the done index of a snapshot.

        Parameters
        ----------
        number : int
            From 1.

        Returns
        -------
        Path
            It need not exist: a store without tasks has none.
        """
        return self.directory / f"{number}.done"

    def statement_logs(self) -> list[Path]:
        """Return the logs of statements that were made beside the store, after the runs.

        Returns
        -------
        list of Path
            Directories of writers; those that a snapshot holds are removed by the compaction that took them.
        """
        try:
            names = os.listdir(self.archive)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(self.archive / name for name in names if _WRITER.fullmatch(name))

    def newest(self) -> Path:
        """Return the file to read.

        Returns
        -------
        Path
            The newest snapshot; the store's own name where it stands alone.

        Raises
        ------
        NotFoundError
            If there is no store.
        """
        numbers = self.snapshots()
        if numbers:
            return self.snapshot(numbers[-1])
        if self.path.is_file():
            return self.path
        raise NotFoundError(
            f"there is no store {self.path}: make one with 'braid compact LOGS --store {self.path.name}'"
        )

    def exists(self) -> bool:
        """Return whether there is a store of this name.

        Returns
        -------
        bool
            Whether :meth:`newest` finds one.
        """
        return bool(self.snapshots()) or self.path.is_file()

    def is_one(self) -> bool:
        """Return whether the store's own name stands for one of the snapshots beside it, as far as the files tell.

        Returns
        -------
        bool
            False where a copy has made two files of one, and where the name stands for another store.
        """
        if not self.path.is_file():
            return True
        for number in self.snapshots():
            with contextlib.suppress(FileNotFoundError):
                if self.path.samefile(self.snapshot(number)):
                    return True
        return False

    def tag(self, aside: Path) -> str:
        """Return what the files of one compaction have in their names.

        Parameters
        ----------
        aside : Path
            From :meth:`braid_hpc.snapshots.files.StoreFiles.begin`.

        Returns
        -------
        str
            ``<n>-<random>``.
        """
        return aside.name.removeprefix("building-").removesuffix(".duckdb")

    def index_of(self, aside: Path) -> Path:
        """Return where the adjacency index of a file that is being built is made.

        Parameters
        ----------
        aside : Path
            From :meth:`braid_hpc.snapshots.files.StoreFiles.begin`.

        Returns
        -------
        Path
            Beside it.
        """
        return aside.with_suffix(".adjacency")

    def done_of(self, aside: Path) -> Path:
        """Return where the done index of a file that is being built is made.

        Parameters
        ----------
        aside : Path
            From :meth:`braid_hpc.snapshots.files.StoreFiles.begin`.

        Returns
        -------
        Path
            Beside it.
        """
        return aside.with_suffix(".done")

    def mark_of(self, tag: str) -> str:
        """Return how far the commit came that an archive belongs to.

        Parameters
        ----------
        tag : str
            The commit's.

        Returns
        -------
        str
            :data:`PUBLISHED`, :data:`PUBLISHING`, or nothing.
        """
        return next((mark for mark in (PUBLISHED, PUBLISHING) if (self.archive / tag / mark).exists()), "")
