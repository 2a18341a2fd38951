"""Results of tasks: where the values go, how they are written, and how a file is known again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from braid_hpc.results.lazy import Lazy, loaded
from braid_hpc.results.storage import Storage, storage_of
from braid_hpc.results.targets import TargetName, check_path, path_of
from braid_hpc.results.written import Found, Verify, Written
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError
from braid_hpc.vocabulary.identity import content_of_file

if TYPE_CHECKING:
    from braid_hpc.results.serializer import Serializer
    from braid_hpc.run.handles import Record

__all__ = ["LocalResult", "MemoryResult", "RemoteResult", "Result", "S3Result", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """The file of one result, whether or not it is there.

    Attributes
    ----------
    storage : Storage
        The place.
    path : str
        Below the place.
    serializer : Serializer
        What writes and reads the value.
    verify : Verify
        What is looked at before the file counts as the recorded one.
    """

    storage: Storage
    path: str
    serializer: Serializer
    verify: Verify = Verify.SIZE

    @property
    def uri(self) -> str:
        """The absolute uri."""
        return self.storage.uri(self.path)

    def write(self, value: Any) -> Written:
        """Write a value: at the file's name there is all of it, or what was there before.

        Parameters
        ----------
        value : object
            What the serializer takes; one that was not read yet is read.

        Returns
        -------
        Written
            What to record.

        Raises
        ------
        InvalidInputError
            If the serializer does not take such values, or what it says of them is no text; or a link leads out of
            the directory.
        StorageError
            If the place refuses.
        """
        return self._write(loaded(value))

    def _write(self, value: Any, before: Callable[[], object] | None = None) -> Written:
        """Write a value; `before` is called when all of it has been written, and has its name not yet."""

        def fill(file: BinaryIO) -> None:
            self.serializer.write(value, file)
            if before is not None:
                file.flush()
                before()

        # Before anything is written: what cannot be recorded is made in vain.
        content, media_type = self.serializer.content(value), self.serializer.media_type
        for name, said in (("content() is a text or None", content), ("media_type is a text", media_type)):
            if not (isinstance(said, str) or (said is None and name.endswith("None"))):
                raise InvalidInputError(f"of a serializer {name}, and that of {self.serializer!r} is {said!r}")
        stored = self.storage.put(self.path, fill)
        return Written(self.uri, stored.size, stored.mtime_ns, stored.digest, content, media_type=media_type)

    def there(self) -> bool:
        """Say whether there is a file at all, whoever made it.

        Returns
        -------
        bool
            By its listing.

        Raises
        ------
        StorageError
            If the place does not answer.
        """
        return self.storage.look(self.path) is not None

    def found(self, *, size: int, mtime_ns: int | None, digest: str, verify: Verify | str | None = None) -> Found:
        """Hold what is there against what was recorded.

        Parameters
        ----------
        size : int
            Bytes.
        mtime_ns : int or None
            Time of the last change; None if it was not recorded. A file of another time, that somebody copied or
            wrote again, is read: the digest decides.
        digest : str
            ``"blake3:<hex>"``.
        verify : Verify or str, optional
            ``"size"`` or ``"digest"``; by default the result's.

        Returns
        -------
        Found
            As recorded, changed, or missing.

        Raises
        ------
        InvalidInputError
            If `verify` is something else.
        StorageError
            If the place does not answer.
        """
        how = self.verify if verify is None else _verify(verify)
        seen = self.storage.look(self.path)
        if seen is None:
            return Found.MISSING
        if seen.size != size:
            return Found.CHANGED
        if how is Verify.SIZE and (mtime_ns is None or seen.mtime_ns is None or seen.mtime_ns == mtime_ns):
            return Found.AS_RECORDED
        with self.storage.open(self.path) as file:
            return Found.AS_RECORDED if content_of_file(file).digest == digest else Found.CHANGED

    def read(self, *, digest: str | None = None) -> Any:
        """Read the value.

        Parameters
        ----------
        digest : str, optional
            ``"blake3:<hex>"`` that the bytes must have.

        Returns
        -------
        object
            What the serializer gives.

        Raises
        ------
        NotFoundError
            If there is no file.
        ConflictError
            If it has another digest.
        StorageError
            If it cannot be read.
        """
        with self.storage.open(self.path) as file:
            if digest is not None:
                found = content_of_file(file).digest
                if found != digest:
                    raise ConflictError(
                        f"{self.uri} is not the file that was recorded ({digest}, now {found}): run its task again"
                    )
                file.seek(0)
            try:
                return self.serializer.read(file)
            except Exception as error:
                error.add_note(f"while {self.uri} was read")
                raise

    def lazy(
        self,
        written: Written,
        *,
        record: Record | None = None,
        otherwise: Callable[[], Any] | None = None,
        value: tuple[Any, ...] = (),
    ) -> Any:
        """Give the value without reading it yet.

        Parameters
        ----------
        written : Written
            What was recorded.
        record : Record, optional
            The recorded output.
        otherwise : callable, optional
            Makes the value where the file turns out not to be the recorded one.
        value : tuple of object
            The value itself, where it was just written; empty otherwise.

        Returns
        -------
        Lazy
            Read when something is asked of it; to a type checker it is any value.
        """
        return Lazy(self, written, record=record, otherwise=otherwise, value=value)


@dataclass(frozen=True)
class Result:
    """Where the results of a task lie, and how they are written.

    Parameters
    ----------
    url : str or path
        A directory of this machine, or a url that fsspec knows: ``s3://bucket/cells``, ``memory://cells``.
    serializer : Serializer, optional
        By default it is chosen by the ending of each target: ``.npy``, ``.h5``, ``.zarr.zip``, ``.ome.tiff``,
        ``.png``, ``.parquet``, ``.json``, ``.txt``, ``.bin``.
    verify : Verify or str
        ``"size"`` takes a file of the recorded size and time for the recorded one, and checks the digest when it is
        read; ``"digest"`` reads all bytes before.
    options : mapping, optional
        For fsspec, such as ``{"endpoint_url": ...}``.

    Raises
    ------
    InvalidInputError
        If one of them is something else.

    Examples
    --------
    >>> from braid_hpc.results import LocalResult
    >>> LocalResult("staging/cells").at("{cell_id}.json", {"cell_id": 3}).path
    '3.json'
    """

    url: str | os.PathLike[str]
    serializer: Serializer | None = field(default=None, kw_only=True)
    verify: Verify | str = field(default=Verify.SIZE, kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Check what was given.

        Raises
        ------
        InvalidInputError
            If something is wrong.
        """
        if self.serializer is not None and not all(
            hasattr(self.serializer, name) for name in ("write", "read", "content", "media_type", "suffix")
        ):
            raise InvalidInputError(f"serializer= writes and reads values, as Npy() does; {self.serializer!r} does not")
        object.__setattr__(self, "verify", _verify(self.verify))
        object.__setattr__(self, "options", dict(self.options))
        # Made now: a directory is meant from where the program was when it said so.
        object.__setattr__(self, "_storage", storage_of(self._place(), dict(self.options)))

    def _place(self) -> str | os.PathLike[str]:
        return self.url

    @property
    def storage(self) -> Storage:
        """The place."""
        storage: Storage = self.__dict__["_storage"]
        return storage

    def at(self, target: TargetName, arguments: Mapping[str, object]) -> Target:
        """Say where the result of a call lies, before it runs.

        Parameters
        ----------
        target : str or callable
            ``"{cell_id}.npy"``, or what gives such a text when it is called with arguments by name.
        arguments : mapping of str to object
            Of the call, defaults included.

        Returns
        -------
        Target
            Ready to be written: the packages that it needs are there.

        Raises
        ------
        InvalidInputError
            If the target cannot be made of the arguments, leads out of the directory, or has an ending that no
            serializer belongs to.
        MissingExtraError
            If a package is not installed.
        """
        return self._target(path_of(target, arguments))

    def default(self, task: str, key: str) -> Target:
        """Say where the result of a call lies that was given no target.

        Parameters
        ----------
        task : str
            The task's name.
        key : str
            The call's identity, in hexadecimal digits: no two calls meet.

        Returns
        -------
        Target
            ``<task>/<key><ending of the serializer>``.

        Raises
        ------
        InvalidInputError
            If there is no serializer to take the ending from.
        MissingExtraError
            If a package is not installed.
        """
        if self.serializer is None:
            raise InvalidInputError(f"results of {task} have no target: give target=, or serializer= to the result")
        folder = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in task).strip(".") or "task"
        return self._target(check_path(f"{folder[:200]}/{key}{self.serializer.suffix}", task))

    def _target(self, path: str) -> Target:
        from braid_hpc.results.serializer import serializer_for

        serializer = self.serializer or serializer_for(path)
        ready = getattr(serializer, "ready", None)
        if ready is not None:
            ready()
        self.storage.ready()
        return Target(self.storage, path, serializer, _verify(self.verify))


class LocalResult(Result):
    """Results in a directory of this machine; see :class:`Result`."""

    def __post_init__(self) -> None:
        """Check what was given.

        Raises
        ------
        InvalidInputError
            If it is no directory.
        """
        if "://" in os.fsdecode(self.url) and not os.fsdecode(self.url).startswith("file://"):
            raise InvalidInputError(f"LocalResult lies in a directory, not at {self.url}: take RemoteResult")
        super().__post_init__()


class RemoteResult(Result):
    """Results at a url; see :class:`Result`. A path without a scheme is in object storage: ``bucket/cells``."""

    #: What a url without a scheme begins with.
    scheme = "s3://"

    def _place(self) -> str:
        text = os.fsdecode(self.url)
        return text if "://" in text else f"{self.scheme}{text.lstrip('/')}"


class S3Result(RemoteResult):
    """Results in object storage that speaks S3: ``bucket/cells`` or ``s3://bucket/cells``; see :class:`Result`."""


class MemoryResult(RemoteResult):
    """Results in the memory of this process, for trying things out; see :class:`Result`."""

    scheme = "memory://"


def _verify(given: Verify | str) -> Verify:
    try:
        return Verify(given)
    except ValueError:
        raise InvalidInputError(f"verify= is 'size' or 'digest', not {given!r}") from None
