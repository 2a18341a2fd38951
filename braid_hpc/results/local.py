"""Results in a directory of this machine, by plain calls of the operating system."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from braid_hpc.results.digesting import DigestingFile
from braid_hpc.results.storage import failed
from braid_hpc.results.written import Seen, Stored
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.regular import open_regular

if TYPE_CHECKING:
    from braid_hpc.results.storage import Fill

__all__ = ["ASIDE", "LocalStorage"]

#: How names of files begin that are being written. They take the place of their targets when they are whole.
ASIDE = ".braid-"

#: What file systems and kernels answer that have no files without a name.
_NO_UNNAMED = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """A directory.

    A file is written without a name, or aside where the file system needs one, brought to the disk, and given its
    name at last. A process that is killed leaves nothing at the name; where files need a name from the beginning it
    leaves one that begins with ``.braid-``.

    Parameters
    ----------
    folder : str
        The directory; made when something is stored. Links in it that lead out of it are not followed.
    """

    folder: str

    def __post_init__(self) -> None:
        """Make the path absolute: the program may change its working directory."""
        object.__setattr__(self, "folder", os.path.abspath(self.folder))

    def ready(self) -> None:
        """Return: a directory is made when it is needed."""

    def uri(self, path: str) -> str:
        """Return the absolute uri of a file.

        Parameters
        ----------
        path : str
            Below the directory.

        Returns
        -------
        str
            With the scheme ``file``.
        """
        return Path(self.folder, path).as_uri()

    def put(self, path: str, fill: Fill) -> Stored:
        """Store a file whole, or not at all.

        Parameters
        ----------
        path : str
            Below the directory.
        fill : callable
            Writes the bytes.

        Returns
        -------
        Stored
            Size, time and digest.

        Raises
        ------
        InvalidInputError
            If a link leads out of the directory.
        StorageError
            If the file system refuses.
        """
        uri = self.uri(path)
        with _refusals(uri):
            directory = os.open(self._inside(path, make=True), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _put(directory, os.path.basename(path), uri, fill)
        finally:
            os.close(directory)

    def look(self, path: str) -> Seen | None:
        """Say how a file is listed.

        Parameters
        ----------
        path : str
            Below the directory.

        Returns
        -------
        Seen or None
            None if there is no regular file.

        Raises
        ------
        InvalidInputError
            If a link leads out of the directory.
        StorageError
            If the file system refuses.
        """
        with _refusals(self.uri(path)):
            try:
                found = os.stat(self._followed(path))
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Seen(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading.

        Parameters
        ----------
        path : str
            Below the directory.

        Returns
        -------
        binary file
            For the caller to close.

        Raises
        ------
        InvalidInputError
            If a link leads out of the directory.
        NotFoundError
            If there is none.
        StorageError
            If the file system refuses.
        """
        uri = self.uri(path)
        with _refusals(uri):
            try:
                followed = self._followed(path)
                with open_regular(Path(followed)) as file:
                    # Again, so that it has its name: libraries ask for it.
                    return open(followed, "rb", opener=lambda *_: os.dup(file.fileno()))
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(f"there is no file at {uri}") from None

    def _followed(self, path: str) -> str:
        """Give the file itself, which links may name only within the directory."""
        whole = os.path.realpath(os.path.join(self.folder, path))
        if not whole.startswith(os.path.realpath(self.folder).rstrip("/") + "/"):
            raise InvalidInputError(f"{self.uri(path)} leads out of {self.folder} by a link: give a target inside it")
        return whole

    def _inside(self, path: str, *, make: bool) -> str:
        """Give the directory of a file, without links in it; what is asked for is made, and nothing elsewhere."""
        base = os.path.realpath(self.folder)
        folder = os.path.realpath(os.path.join(self.folder, os.path.dirname(path)))
        if folder != base and not folder.startswith(base.rstrip("/") + "/"):
            raise InvalidInputError(f"{self.uri(path)} leads out of {self.folder} by a link: give a target inside it")
        if make:
            os.makedirs(folder, exist_ok=True)
        return folder


@contextmanager
def _refusals(uri: str) -> Iterator[None]:
    """Turn what the operating system answers into one sentence."""
    try:
        yield
    except (StorageError, NotFoundError, InvalidInputError):
        raise
    except OSError as error:
        raise StorageError(f"{uri}: {error.strerror}") from error


def _put(directory: int, name: str, uri: str, fill: Fill) -> Stored:
    aside = f"{ASIDE}{uuid.uuid4().hex}"
    with _refusals(uri):
        descriptor, named = _create(directory, aside)
    try:
        # Closed below, where it is known whether the file system took everything.
        under = cast(BinaryIO, os.fdopen(descriptor, "w+b", closefd=False))
        stored = _fill(descriptor, under, uri, fill)
        with _refusals(uri):
            if not named:
                _name(descriptor, directory, aside)
                named = True
            os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
        named = False
    finally:
        os.close(descriptor)
        if named:
            os.unlink(aside, dir_fd=directory)
    with _refusals(uri):
        os.fsync(directory)
    return stored


def _fill(descriptor: int, under: BinaryIO, uri: str, fill: Fill) -> Stored:
    file = DigestingFile(under)
    try:
        fill(cast(BinaryIO, file))
        digest, size = file.finish()
    except BaseException as error:
        _drop(under)
        problem = failed(uri, file, error)
        if problem is error:
            raise
        raise problem from file.failure
    with _refusals(uri):
        under.close()
        os.fsync(descriptor)
        return Stored(size, os.fstat(descriptor).st_mtime_ns, digest)


def _drop(under: BinaryIO) -> None:
    """Close a file that nobody will see; on a full disk what it still holds cannot be written, and need not."""
    try:
        under.close()
    except OSError:
        pass


def _create(directory: int, aside: str) -> tuple[int, bool]:
    """Open a new file, without a name where that can be; say whether it has one."""
    flags = os.O_RDWR | os.O_CLOEXEC
    if os.path.isdir("/proc/self/fd"):
        try:
            return os.open(".", flags | os.O_TMPFILE, 0o666, dir_fd=directory), False
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise
    return os.open(aside, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=directory), True


def _name(descriptor: int, directory: int, aside: str) -> None:
    # A link cannot take the place of a file, so it gets another name first. With a directory given Python follows the
    # link under /proc to the file; without one it would link the link.
    os.link(f"/proc/self/fd/{descriptor}", aside, dst_dir_fd=directory, follow_symlinks=True)
