"""Results at a url, through fsspec: object stores, memory, and whatever else it knows."""

from __future__ import annotations

import datetime
import io
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from braid_hpc.results.digesting import DigestingFile
from braid_hpc.results.packages import package
from braid_hpc.results.storage import failed
from braid_hpc.results.written import Seen, Stored
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, MissingExtraError, NotFoundError, StorageError

if TYPE_CHECKING:
    from braid_hpc.results.storage import Fill

__all__ = ["RemoteStorage"]

#: Places where an object is there when all of it has arrived, and not before.
_WHOLE = frozenset({"abfs", "abfss", "adl", "az", "gcs", "gs", "memory", "oci", "oss", "s3", "s3a"})

#: What is held in memory until it is sent; more goes through a file of this machine.
_IN_MEMORY = 16 << 20


@dataclass(frozen=True, slots=True)
class RemoteStorage:
    """A url.

    A file is made on this machine and sent when it is whole. Object stores show an object when all of it has arrived;
    at other places it is sent aside and moved.

    Parameters
    ----------
    url : str
        For instance ``s3://bucket/cells`` or ``memory://cells``.
    options : tuple of (str, object)
        For fsspec, such as ``endpoint_url``. They go to other processes with the tasks, and into no log.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    def ready(self) -> None:
        """Load what the url needs.

        Raises
        ------
        InvalidInputError
            If fsspec does not know such urls.
        MissingExtraError
            If fsspec, or the package that it needs for them, is not installed.
        """
        self._there("")

    def uri(self, path: str) -> str:
        """Return the uri of a file.

        Parameters
        ----------
        path : str
            Below the url.

        Returns
        -------
        str
            The url with the path.
        """
        return f"{self.url.rstrip('/')}/{path}" if not self.url.endswith("://") else f"{self.url}{path}"

    def put(self, path: str, fill: Fill) -> Stored:
        """Store a file whole, or not at all.

        Parameters
        ----------
        path : str
            Below the url.
        fill : callable
            Writes the bytes.

        Returns
        -------
        Stored
            Size and digest; the time only of object stores that list one for each object, by their clock.

        Raises
        ------
        StorageError
            If the place refuses, or holds fewer bytes than it was sent.
        """
        uri = self.uri(path)
        system, place = self._there(path)
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as made:
            file = DigestingFile(cast(BinaryIO, made))
            try:
                fill(cast(BinaryIO, file))
                digest, size = file.finish()
            except BaseException as error:
                problem = failed(uri, file, error)
                if problem is error:
                    raise
                raise problem from file.failure
            made.seek(0)
            with _refusals(uri, "written"):
                time = self._send(system, place, cast(BinaryIO, made), size)
        return Stored(size, time, digest)

    def look(self, path: str) -> Seen | None:
        """Say how a file is listed.

        Parameters
        ----------
        path : str
            Below the url.

        Returns
        -------
        Seen or None
            Its size, and the time that an object store lists; None if there is none.

        Raises
        ------
        StorageError
            If the place does not answer.
        """
        system, place = self._there(path)
        with _refusals(self.uri(path), "looked at"):
            # A listing may be one that another process has outdated.
            system.invalidate_cache()
            try:
                found = system.info(place)
            except FileNotFoundError:
                return None
        if found.get("type") != "file":
            return None
        if found.get("size") is None:
            raise StorageError(f"{self.uri(path)} does not say how many bytes it has: take a copy of it")
        return Seen(int(found["size"]), _time_of(found))

    def open(self, path: str) -> BinaryIO:
        """Fetch a file.

        Parameters
        ----------
        path : str
            Below the url.

        Returns
        -------
        binary file
            In memory.

        Raises
        ------
        NotFoundError
            If there is none.
        StorageError
            If the place refuses.
        """
        system, place = self._there(path)
        with _refusals(self.uri(path), "read"):
            try:
                return io.BytesIO(system.cat_file(place))
            except FileNotFoundError:
                raise NotFoundError(f"there is no file at {self.uri(path)}") from None

    def names(self) -> list[str]:
        """List what is below the url.

        Returns
        -------
        list of str
            Paths of files, in order.

        Raises
        ------
        StorageError
            If the place does not answer.
        """
        system, place = self._there("")
        place = place.rstrip("/")
        with _refusals(self.url, "listed"):
            system.invalidate_cache()
            try:
                found = system.find(place)
            except FileNotFoundError:
                return []
        return sorted(str(name).removeprefix(f"{place}/") for name in found if name != place)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files below the url.

        Parameters
        ----------
        paths : iterable of str
            Below the url; what is not there is passed over.

        Raises
        ------
        StorageError
            If the place refuses.
        """
        for path in paths:
            system, place = self._there(path)
            with _refusals(self.uri(path), "removed"), suppress(FileNotFoundError):
                system.rm_file(place)

    def _there(self, path: str) -> tuple[Any, str]:
        """Give fsspec's file system, and its name for a file."""
        core = package("fsspec.core", "urls")
        try:
            system, place = core.url_to_fs(self.uri(path), **dict(self.options))
        except ImportError as error:
            raise MissingExtraError(f"{self.url}: {' '.join(str(error).split())}") from error
        except ValueError as error:
            raise InvalidInputError(f"{self.url}: {' '.join(str(error).split())}") from error
        return system, str(place)

    def _send(self, system: Any, place: str, made: BinaryIO, size: int) -> int | None:
        names = (system.protocol,) if isinstance(system.protocol, str) else system.protocol
        whole = not _WHOLE.isdisjoint(names)
        parent, slash, _ = place.rpartition("/")
        if slash and not whole:
            system.makedirs(parent, exist_ok=True)
        aside = place if whole else f"{parent}/.braid-{uuid.uuid4().hex}"
        try:
            _upload(system, aside, made, size)
            found = system.info(aside)
            if found["size"] != size:
                if whole:
                    return None  # what another process has written there since
                raise StorageError(f"{self.url} holds {found['size']} bytes of {place}, and was sent {size}: try again")
            if not whole:
                system.mv(aside, place)
            return _time_of(found)
        except BaseException:
            if not whole and system.exists(aside):
                system.rm_file(aside)
            raise


def _upload(system: Any, place: str, made: BinaryIO, size: int) -> None:
    if size <= _IN_MEMORY:
        system.pipe_file(place, made.read())
        return
    # A file that is left in the middle is completed by fsspec as if it were whole, so it gets all of it by name.
    with tempfile.NamedTemporaryFile() as named:
        while chunk := made.read(1 << 20):
            named.write(chunk)
        named.flush()
        system.put_file(named.name, place)


def _time_of(found: dict[str, Any]) -> int | None:
    """Give when an object was written, nanoseconds since 1970, where its store says so: S3, and what speaks as it."""
    said = found.get("LastModified")
    return int(said.timestamp()) * 1_000_000_000 if isinstance(said, datetime.datetime) else None


@contextmanager
def _refusals(uri: str, what: str) -> Iterator[None]:
    """Turn what a place answers into one sentence: each package has errors of its own for it."""
    try:
        yield
    except BraidError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(f"{uri} cannot be {what}: {said}") from error
