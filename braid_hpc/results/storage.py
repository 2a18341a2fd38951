"""Where results lie: what a place can do, and which one a url names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, Protocol, runtime_checkable

from braid_hpc.results.digesting import DigestingFile
from braid_hpc.results.written import Seen, Stored
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError

__all__ = ["Fill", "Storage", "failed", "storage_of"]

#: Writes a file's bytes.
Fill = Callable[[BinaryIO], object]


@runtime_checkable
class Storage(Protocol):
    """A place with files in it, named by paths below it.

    :class:`braid_hpc.results.testing.StorageContract` has the tests of what is said here. It can be pickled: tasks
    hand it to other processes.
    """

    def ready(self) -> None:
        """Raise one of our errors if the place cannot be used at all, for instance because a package is missing."""
        ...

    def uri(self, path: str) -> str:
        """Return the absolute uri of a file, whether or not it is there.

        Parameters
        ----------
        path : str
            Below the place.

        Returns
        -------
        str
            For instance ``file:///work/cells/3.npy``.
        """
        ...

    def put(self, path: str, fill: Fill) -> Stored:
        """Store a file: at its name there is all of it, or what was there before.

        Parameters
        ----------
        path : str
            Below the place.
        fill : callable
            Takes a binary file, open for writing, reading and seeking, and writes the bytes. What it raises is raised
            here, and nothing is stored.

        Returns
        -------
        Stored
            Size, time and digest of what was stored.

        Raises
        ------
        StorageError
            If the place refuses: no space, no permission, no such directory.
        """
        ...

    def look(self, path: str) -> Seen | None:
        """Say how a file is listed, without reading it.

        Parameters
        ----------
        path : str
            Below the place.

        Returns
        -------
        Seen or None
            None if there is no file.

        Raises
        ------
        StorageError
            If the place does not answer.
        """
        ...

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading and seeking.

        Parameters
        ----------
        path : str
            Below the place.

        Returns
        -------
        binary file
            For the caller to close.

        Raises
        ------
        NotFoundError
            If there is none.
        StorageError
            If the place refuses.
        """
        ...


def failed(uri: str, file: DigestingFile, error: BaseException) -> BaseException:
    """Give what is to be raised when a file could not be filled.

    Parameters
    ----------
    uri : str
        Of the file.
    file : DigestingFile
        What was written into.
    error : BaseException
        What came out of it.

    Returns
    -------
    BaseException
        A :class:`StorageError` if the file system had refused; else the error itself, with a note.
    """
    if file.failure is None:
        error.add_note(f"while {uri} was written; nothing was left there")
        return error
    return StorageError(f"{uri} cannot be written: {file.failure.strerror or file.failure}; nothing was left there")


def storage_of(url: object, options: dict[str, Any]) -> Storage:
    """Give the place that a url names.

    Parameters
    ----------
    url : str or path
        A directory of this machine (a path, or ``file://``), or a url that fsspec knows.
    options : dict
        For fsspec; a directory of this machine takes none.

    Returns
    -------
    Storage
        Nothing is made or asked yet.

    Raises
    ------
    InvalidInputError
        If it is neither, or there are options for a directory.
    """
    import os
    from urllib.parse import unquote, urlsplit

    from braid_hpc.results.local import LocalStorage
    from braid_hpc.results.remote import RemoteStorage

    if not isinstance(url, (str, os.PathLike)) or not os.fspath(url):
        raise InvalidInputError(f"results lie in a directory or at a url, not at {url!r}")
    text = os.fsdecode(url)
    scheme, colon, rest = text.partition("://")
    if colon and scheme != "file":
        return RemoteStorage(text.rstrip("/") if rest.strip("/") else text, tuple(sorted(options.items())))
    if options:
        raise InvalidInputError(f"{text} is a directory of this machine, which takes no {', '.join(sorted(options))}=")
    if not colon:
        return LocalStorage(text)
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise InvalidInputError(f"{text} names no directory of this machine: write file:///absolute/path")
    return LocalStorage(unquote(parts.path))
