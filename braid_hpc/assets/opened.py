"""The readers of a run's resources, each opened once, after its file was held against what was recorded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from braid_hpc.assets.paths import Place, RootMap, place_of
from braid_hpc.assets.references import References
from braid_hpc.assets.registry import Readers
from braid_hpc.store.recorded_files import RecordedFile
from braid_hpc.vocabulary.errors import BraidError, ConflictError, InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.identity import content_of_file

__all__ = ["MOST_OPEN", "Opened", "check_unchanged", "told"]

#: Resources whose readers are kept at once.
MOST_OPEN = 64


class Opened:
    """Readers of resources.

    Parameters
    ----------
    references : References
        The documents.
    roots : RootMap
        What was moved.
    readers : Readers
        What reads what.
    verify : bool
        Whether files are held against what was recorded of them.
    """

    def __init__(self, references: References, roots: RootMap, readers: Readers, *, verify: bool) -> None:
        self._references, self._roots, self._readers, self._verify = references, roots, readers, verify
        self._open: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._verified: set[str] = set()
        self._lock = threading.RLock()

    def handler(self, resource: dict[str, Any]) -> Any:
        """Return what reads the datums of a resource.

        Parameters
        ----------
        resource : dict
            The document.

        Returns
        -------
        callable
            Called with the kwargs of a datum.

        Raises
        ------
        NotFoundError, InvalidInputError, StorageError, ConflictError, MissingExtraError
            If there is no reader, or the file is not what it was.
        """
        kwargs = resource.get("resource_kwargs") or {}
        return self._reader("resource", resource, kwargs, lambda: self._readers.by_spec(resource.get("spec")))

    def rows(self, uid: str) -> Any:
        """Return what reads a stream resource.

        Parameters
        ----------
        uid : str
            Of it.

        Returns
        -------
        RowReader
            Of its rows.

        Raises
        ------
        NotFoundError, InvalidInputError, StorageError, ConflictError, MissingExtraError
            As :meth:`handler`.
        """
        document = self._references.stream_resources.get(uid)
        if document is None:
            raise NotFoundError(f"stream resource {uid!r} is not among the documents")
        return self._reader(
            "stream resource", document, parameters_of(document), lambda: self._readers.by_mimetype(document)
        )

    def place(self, document: Mapping[str, Any]) -> Place:
        """Return where a resource's data are; see :func:`~braid_hpc.assets.paths.place_of`.

        Parameters
        ----------
        document : mapping
            A resource or a stream resource.

        Returns
        -------
        Place
            Today.
        """
        return place_of(document, self._roots)

    def _reader(self, what: str, document: dict[str, Any], kwargs: Any, find: Callable[[], Any]) -> Any:
        key = (what, str(document.get("uid")))
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
            reader, place = find(), self.place(document)
            if self._verify:
                self.check(document, place)
            if not isinstance(kwargs, Mapping):
                raise InvalidInputError(f"{what} {key[1]!r} has no mapping of parameters")
            with told(f"the reader of {place.path}"):
                made = reader(place.path, **kwargs)
            self._open[key] = made
            if len(self._open) > MOST_OPEN:
                _close(self._open.popitem(last=False)[1])
            return made

    def check(self, document: Mapping[str, Any], place: Place) -> None:
        """Hold a file against what was recorded of it, once.

        Parameters
        ----------
        document : mapping
            Its resource.
        place : Place
            Where it is.

        Raises
        ------
        ConflictError
            If it has other bytes now.
        StorageError
            If it cannot be read.
        """
        if place.path in self._verified or not os.path.isfile(place.path):
            return
        if known := recorded_of(self._references, document, place):
            check_unchanged(place, known)
        self._verified.add(place.path)

    def close(self) -> None:
        """Close all readers."""
        with self._lock:
            while self._open:
                _close(self._open.popitem()[1])


def recorded_of(references: References, document: Mapping[str, Any], place: Place) -> list[RecordedFile]:
    """Return what was recorded of a resource's file.

    Parameters
    ----------
    references : References
        The documents.
    document : mapping
        The resource.
    place : Place
        Where it was.

    Returns
    -------
    list of RecordedFile
        With a digest; several where it was looked at several times.
    """
    known = [each for each in references.files if each.digest is not None]
    own = [each for each in known if each.resource == document.get("uid")]
    return own or [each for each in known if _path(each.uri) == place.recorded]


def _path(uri: str) -> str:
    rest = uri.removeprefix("file://")
    return str(PurePosixPath(unquote("/" + rest.partition("/")[2]))) if rest != uri else uri


def check_unchanged(place: Place, known: list[RecordedFile]) -> None:
    """Hold a file against what was recorded of it.

    Parameters
    ----------
    place : Place
        Where it is.
    known : list of RecordedFile
        What was recorded: one of them has to fit.

    Raises
    ------
    ConflictError
        If none does.
    StorageError
        If it cannot be read.
    """
    try:
        with open(place.path, "rb") as file:
            stat = os.fstat(file.fileno())
            sizes = {each.size for each in known if each.size is not None}
            if sizes and stat.st_size not in sizes and all(each.size is not None for each in known):
                said = " or ".join(map(str, sorted(sizes)))
                raise ConflictError(
                    f"{place.path} was changed after its run: it has {stat.st_size} bytes, and {said} were recorded"
                )
            if any(each.weak and _stands_in(stat, each.digest or "", place) for each in known):
                return
            digests = {str(each.digest).lower() for each in known if not each.weak}
            if not digests:
                raise ConflictError(f"{place.path} was changed after its run: its size or time is another one")
            found = {_digest_as(file, each) for each in digests}
    except OSError as error:
        if isinstance(error, BraidError):
            raise
        raise StorageError(f"{place.path} cannot be read: {error.strerror or error}") from error
    if not digests & found and None not in found:
        raise ConflictError(f"{place.path} was changed after its run: its bytes do not carry the digest recorded then")


def _digest_as(file: BinaryIO, digest: str) -> str | None:
    """Return the digest of a file by the algorithm of another one; None where there is none here."""
    file.seek(0)
    algorithm = digest.partition(":")[0]
    if algorithm == "blake3":
        return content_of_file(file).digest
    if algorithm not in hashlib.algorithms_available or algorithm.startswith("shake"):
        return None
    return f"{algorithm}:{hashlib.file_digest(cast(io.BufferedReader, file), algorithm).hexdigest()}"


def _stands_in(stat: os.stat_result, digest: str, place: Place) -> bool:
    size, _, rest = digest.removeprefix("stat:").partition("-")
    # A copy has a time and an inode of its own.
    return size == str(stat.st_size) and (place.mapped or rest.partition("-")[0] == str(stat.st_mtime_ns))


def parameters_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of a stream resource, also of an old one.

    Parameters
    ----------
    document : mapping
        The stream resource.

    Returns
    -------
    mapping
        For its reader.
    """
    found = document.get("parameters")
    if found is None:
        found = document.get("resource_kwargs")
    return found if found is not None else {}


@contextlib.contextmanager
def told(what: str) -> Any:
    """Give errors of others a sentence.

    Parameters
    ----------
    what : str
        What is called: the subject of the sentence.

    Yields
    ------
    None
        For what is called.

    Raises
    ------
    BraidError
        Of this package, as it came.
    NotFoundError
        If a file is not there.
    StorageError
        In place of any other error.
    """
    try:
        yield
    except BraidError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{error.filename or what} is not there: if files were moved, say where they are with root_map="
        ) from error
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise StorageError(f"{what} failed: {type(error).__name__}{': ' if text else ''}{text}") from error


def _close(reader: Any) -> None:
    close = getattr(reader, "close", None)
    if callable(close):
        with told("closing a reader"):
            close()
