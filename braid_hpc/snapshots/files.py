"""The files of a store: numbered snapshots beside it, its name renamed to the newest last.

``prov.duckdb`` has a directory ``prov.duckdb.d`` with the snapshots ``<n>.duckdb`` and the archive of the logs they
were made of. A snapshot is complete before it has its number, and is never changed afterwards.

A compaction has a tag, ``<n>-<random>``, which all its files bear: ``building-<tag>.*`` until it is published, and what
it keeps, ``logs/<tag>`` and ``arrays/<tag>.h5``. As long as it lives it holds a lock on ``building-<tag>.lock``, so a
later one can tell what a dead one has left, and removes that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path

from braid_hpc.snapshots.locks import dead_lock, locked_directory, new_lock
from braid_hpc.snapshots.modes import follow_directory, make_directory, seal_file
from braid_hpc.snapshots.names import PUBLISHED, PUBLISHING, StoreNames
from braid_hpc.snapshots.segment import standing_on
from braid_hpc.vocabulary.errors import ConflictError, StorageError

__all__ = ["KEEP", "StoreFiles", "discard_unfinished", "sync_path"]

#: Snapshot files that stay: the newest, and the one before it for a reader that has just looked up its name.
KEEP = 2

_LOCK = re.compile(r"building-(([1-9][0-9]*)-[0-9a-f]+)\.lock")


class StoreFiles(StoreNames):
    """Builds, publishes and removes the files of one store.

    Parameters
    ----------
    path : path-like
        The store's own name.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._locks: dict[str, int] = {}
        self._published: set[str] = set()
        #: Of what each file that is being built began as a copy: the path, and which file it was.
        self._copied: dict[str, tuple[Path, os.stat_result]] = {}

    @contextlib.contextmanager
    def replacing_adjacency(self, number: int) -> Iterator[Path]:
        """Give a place for another adjacency index of a snapshot, and put what was written there into its place.

        Parameters
        ----------
        number : int
            From 1.

        Yields
        ------
        Path
            It does not exist. Where nothing is written to it, nothing is replaced.

        Raises
        ------
        OSError
            If nothing can be written beside the store.
        """
        with self._tagged(f"{number}-{os.urandom(4).hex()}") as tag:
            aside = self.directory / f"building-{tag}.adjacency"
            yield aside
            # Not beside a snapshot that has gone meanwhile: nobody would remove it.
            if aside.exists() and self.snapshot(number).exists():
                follow_directory(aside)
                os.replace(aside, self.adjacency(number))

    def begin(self, base: int) -> Path:
        """Return a new file to build the next snapshot in.

        Parameters
        ----------
        base : int
            The snapshot to begin with a copy of; 0 for nothing yet.

        Returns
        -------
        Path
            Beside the snapshots, under a name of its own.

        Raises
        ------
        ConflictError
            If that snapshot is gone, because others have published later ones.
        StorageError
            If the directory cannot be written, or the copy does not fit.
        """
        tag = f"{base + 1}-{os.urandom(4).hex()}"
        aside = self.directory / f"building-{tag}.duckdb"
        _building.add(self)
        try:
            make_directory(self.directory)
            self._locks[tag] = new_lock(self._lock_file(tag))
            if base:
                source = self.snapshot(base)
                source = source if source.exists() or self.snapshots() else self.path
                self._copied[tag] = source, _copy(source, aside)
        except OSError as error:
            self.discard(aside)
            if base and isinstance(error, FileNotFoundError):
                raise ConflictError(f"other compactions have gone beyond snapshot {base} of {self.path}") from None
            raise StorageError(f"cannot write beside {self.path} ({error.strerror}): choose another place") from error
        return aside

    @contextlib.contextmanager
    def parts(self, base: int) -> Iterator[Path]:
        """Give a directory for what the ranks of one compaction write for each other.

        Parameters
        ----------
        base : int
            The snapshot that is added to.

        Yields
        ------
        Path
            Empty; removed at the end, or by a later compaction if this process is killed.

        Raises
        ------
        StorageError
            If it cannot be made.
        """
        with contextlib.ExitStack() as stack:
            try:
                make_directory(self.directory)
                tag = stack.enter_context(self._tagged(f"{base + 1}-{os.urandom(4).hex()}"))
                directory = self.directory / f"building-{tag}.parts"
                directory.mkdir()
            except OSError as error:
                raise StorageError(
                    f"cannot write beside {self.path} ({error.strerror}): choose another place"
                ) from error
            yield directory

    def publish(self, aside: Path, number: int) -> None:
        """Give a finished file its number.

        Parameters
        ----------
        aside : Path
            From :meth:`begin`; complete, closed, and on disk.
        number : int
            The snapshot's number.

        Raises
        ------
        ConflictError
            If another compaction has published that number meanwhile.
        StorageError
            If the file system refuses.
        """
        target = self.snapshot(number)
        try:
            sync_path(aside)
            self._mark_publishing(self.tag(aside))
            self._let_read(aside)
            with locked_directory(self.directory):
                self._refuse_stale(self.tag(aside), number)
                # A link cannot replace a file, so of two compactions one gets the number and the other one an error.
                os.link(aside, target)
            self._published.add(self.tag(aside))
            # Only the one that has the number names its index.
            self._name_indices(aside, number)
            self.mark_published(self.tag(aside))
            sync_path(self.directory)
        except FileExistsError:
            raise ConflictError(f"another compaction has published snapshot {number} of {self.path}") from None
        except OSError as error:
            raise StorageError(f"cannot publish snapshot {number} of {self.path} ({error.strerror})") from error

    def name_done(self, aside: Path, number: int) -> None:
        """Give a snapshot that has lost it the index of what is done.

        Parameters
        ----------
        aside : Path
            From :meth:`begin`; its index is made of this snapshot.
        number : int
            Of the snapshot, which is published.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        with locked_directory(self.directory):
            # Not beside a snapshot that has gone meanwhile: nobody would remove it.
            if self.snapshot(number).exists() and not self.done(number).exists():
                follow_directory(self.done_of(aside))
                os.rename(self.done_of(aside), self.done(number))

    def _let_read(self, aside: Path) -> None:
        """Let those read what was built, and what is kept with it, whom the directory is for."""
        tag = self.tag(aside)
        for folder in (self.archive, self.arrays):
            follow_directory(folder, deep=False)
        for path in (aside, self.index_of(aside), self.done_of(aside), self.archive / tag, self.arrays / f"{tag}.h5"):
            follow_directory(path)
        seal_file(aside)

    def _name_indices(self, aside: Path, number: int) -> None:
        """Give the indices of a published file its number; of a graph that is too large, or without tasks, is none."""
        for made, named in ((self.index_of(aside), self.adjacency(number)), (self.done_of(aside), self.done(number))):
            with contextlib.suppress(FileNotFoundError):
                os.rename(made, named)

    def _refuse_stale(self, tag: str, number: int) -> None:
        """See that what a file began as a copy of is the newest snapshot still.

        The number may be free all the same: others have gone so far beyond it that its snapshot was removed. And the
        snapshot may have been made again from the archive meanwhile, because the one that was copied is wrong.
        """
        copied = self._copied.get(tag)
        beside = [] if copied is None or copied[0] == self.path else [int(copied[0].stem)]
        if self.snapshots()[-1:] != beside:
            raise ConflictError(f"another compaction has published snapshot {number} of {self.path}")
        if copied is not None and not os.path.samestat(copied[0].stat(), copied[1]):
            raise ConflictError(f"{copied[0]} was made again, or replaced, while it was added to")

    def replace(self, aside: Path, number: int, old: Collection[int]) -> Path:
        """Put a finished file, made anew, in the place of the snapshots that are there, which are kept elsewhere.

        Parameters
        ----------
        aside : Path
            From :meth:`begin`; complete, closed, and on disk.
        number : int
            The snapshot's number; at each moment there is a file of that number.
        old : collection of int
            The snapshots that it is to stand for.

        Returns
        -------
        Path
            A directory with the old files.

        Raises
        ------
        ConflictError
            If a later one has been published meanwhile.
        StorageError
            If the file system refuses.
        """
        tag = self.tag(aside)
        kept = self.directory / f"building-{tag}.replaced"
        target = self.directory / f"replaced-{tag}"
        try:
            sync_path(aside)
            self._let_read(aside)
            kept.mkdir()
            # Also an index whose snapshot has gone.
            indices = (*self.directory.glob("*.adjacency"), *self.directory.glob("*.done"))
            alone = [int(path.stem) for path in indices if path.stem.isdigit()]
            numbers = {*old, *(each for each in alone if each <= number)}
            files = [
                path
                for each in sorted(numbers)
                for path in (self.snapshot(each), self.adjacency(each), self.done(each))
            ]
            for path in (*files, self.path):
                with contextlib.suppress(FileNotFoundError):
                    os.link(path, kept / path.name)
            sync_path(kept)
            with locked_directory(self.directory):
                if self.snapshots()[-1:] > [number]:
                    raise ConflictError(f"another compaction has gone beyond snapshot {number} of {self.path}")
                os.rename(aside, self.snapshot(number))
            # What was there is of another file, also where there is none now.
            self.done(number).unlink(missing_ok=True)
            self._name_indices(aside, number)
            for path in files:
                if path not in (self.snapshot(number), self.adjacency(number), self.done(number)):
                    path.unlink(missing_ok=True)
            self.name_newest()
            os.rename(kept, target)
            sync_path(self.directory)
        except (ConflictError, StorageError):
            raise
        except OSError as error:
            raise StorageError(f"cannot replace the snapshots of {self.path} ({error.strerror})") from error
        return target

    def _mark_publishing(self, tag: str) -> None:
        if (self.archive / tag).is_dir():
            (self.archive / tag / PUBLISHING).touch()
            sync_path(self.archive / tag)

    def mark_published(self, tag: str) -> None:
        """Mark the archive of a commit that was published; a later commit does it where that is refused.

        Parameters
        ----------
        tag : str
            The commit's.
        """
        folder = self.archive / tag
        with contextlib.suppress(OSError):
            if not (folder / PUBLISHED).exists():
                (folder / PUBLISHING).touch()
                os.rename(folder / PUBLISHING, folder / PUBLISHED)

    def name_newest(self) -> None:
        """Let the store's own name mean the newest snapshot, and remove older ones.

        Raises
        ------
        StorageError
            If the file system refuses; the snapshot is there all the same, under its number.
        """
        done = 0
        try:
            # Again if another compaction has published in between: the last one to rename must have seen all.
            while (numbers := self.snapshots()) and numbers[-1] != done:
                done = numbers[-1]
                with contextlib.suppress(FileNotFoundError):
                    self._name(self.snapshot(done))
        except OSError as error:
            raise StorageError(f"cannot rename {self.path} to its newest snapshot ({error.strerror})") from error
        for number in numbers[:-KEEP]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.snapshot(number))
        self._drop_indices(numbers[-KEEP:])
        for path in self.directory.glob("*.done"):
            if path.stem.isdigit() and int(path.stem) < numbers[-KEEP:][0]:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(path)

    def _drop_indices(self, kept: list[int]) -> None:
        """Remove indices of earlier snapshots than those kept, but for what theirs are laid over."""
        needed = {*kept}
        for number in kept:
            while (number := standing_on(self.adjacency(number))) and number not in needed:
                needed.add(number)
        for path in self.directory.glob("*.adjacency"):
            if path.stem.isdigit() and int(path.stem) < kept[0] and int(path.stem) not in needed:
                # What is no file stays: it is somebody's.
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(path)

    def _name(self, newest: Path) -> None:
        if self.path.exists() and self.path.samefile(newest):
            return
        with self._tagged(f"{newest.stem}-{os.urandom(4).hex()}") as tag:
            fresh = self.directory / f"building-{tag}.name"
            os.link(newest, fresh)
            self._move_wal_aside()
            os.rename(fresh, self.path)
        sync_path(self.path.parent)

    @contextlib.contextmanager
    def _tagged(self, tag: str) -> Iterator[str]:
        self._locks[tag] = new_lock(self._lock_file(tag))
        try:
            yield tag
        finally:
            self._remove(tag, self._locks.pop(tag))

    def _move_wal_aside(self) -> None:
        """A write-ahead log that somebody left beside the name would make the new file unopenable."""
        wal = self.path.with_name(self.path.name + ".wal")
        if wal.exists():
            os.rename(wal, wal.with_name(f"{wal.name}.{os.urandom(4).hex()}.aside"))

    def discard(self, aside: Path) -> None:
        """Remove what a compaction has built in, whether it was published or not, and end its lock.

        Parameters
        ----------
        aside : Path
            From :meth:`begin`.
        """
        tag = self.tag(aside)
        self._copied.pop(tag, None)
        self._remove(tag, self._locks.pop(tag, None))

    def discard_kept(self, aside: Path) -> None:
        """Remove what a compaction has put where it is kept, archive and arrays, unless it was published all the same.

        Parameters
        ----------
        aside : Path
            From :meth:`begin`; :meth:`discard` comes after.
        """
        if (tag := self.tag(aside)) not in self._published and not self._has_number(aside, tag):
            self._remove_kept(tag)

    def _has_number(self, aside: Path, tag: str) -> bool:
        """Whether it was published a moment ago, and an interrupt came before that was noted."""
        with contextlib.suppress(OSError):
            return os.path.samefile(aside, self.snapshot(int(tag.partition("-")[0])))
        return False

    def sweep(self, base: int, published: Collection[str]) -> None:
        """Remove what compactions have left that ended before their time.

        Parameters
        ----------
        base : int
            A snapshot that was published.
        published : collection of str
            Tags of it and of all snapshots before it.
        """
        for tag in published:
            if tag.startswith(f"{base}-"):
                # It may have ended after the snapshot had its number, and before its indices had theirs.
                self._name_indices(self.directory / f"building-{tag}.duckdb", base)
                self.mark_published(tag)
        for name in sorted(os.listdir(self.directory)):
            found = _LOCK.fullmatch(name)
            if found is None or found[1] in self._locks:
                continue
            tag, number = found[1], int(found[2])
            if (lock := dead_lock(self.directory / name)) is None:
                continue
            # Looked up with the lock in hand: what is not published now and has no owner never will be.
            if number > base and self.snapshots()[-1:] >= [number]:
                os.close(lock)  # Somebody has published that number since; the next one knows who.
                continue
            if tag not in published:
                self._remove_kept(tag)
            self._remove(tag, lock)

    def _lock_file(self, tag: str) -> Path:
        return self.directory / f"building-{tag}.lock"

    def _remove(self, tag: str, lock: int | None) -> None:
        """Remove the files of a tag, its lock last: as long as there is one, somebody will come back for the rest."""
        mark = self._lock_file(tag)
        # Whatever refuses this has refused the writing before, and that is what is told.
        with contextlib.suppress(OSError):
            for path in self.directory.glob(f"building-{tag}.*"):
                if path != mark:
                    _remove_path(path)
            mark.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)

    def _remove_kept(self, tag: str) -> None:
        for path in (self.archive / tag, self.arrays / f"{tag}.h5"):
            with contextlib.suppress(OSError):
                _remove_path(path)


#: Whose files this process builds.
_building: weakref.WeakSet[StoreFiles] = weakref.WeakSet()


def discard_unfinished() -> None:
    """Remove what this process builds and has not published: for its end by a signal, at any moment."""
    for files in list(_building):
        for tag in list(files._locks):
            aside = files.directory / f"building-{tag}.duckdb"
            files.discard_kept(aside)
            files.discard(aside)


def _remove_path(path: Path) -> None:
    if path.is_dir():
        # DuckDB's own, where it has put aside what did not fit into memory; or an archive.
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> os.stat_result:
    """Copy by reference where the file system can, else byte by byte; return which file was copied."""
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), 0x40049409, old.fileno())  # FICLONE, ioctl_ficlone(2)
        except OSError:
            shutil.copyfileobj(old, new, 16 << 20)
        return os.fstat(old.fileno())


def sync_path(path: Path) -> None:
    """Bring a file, or the names in a directory, to the disk.

    Parameters
    ----------
    path : Path
        It.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
