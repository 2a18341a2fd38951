"""Declaring files that a program reads and writes: content, size, time, and the shapes that are in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.run.activities import current_activity
from braid_hpc.run.formats import arrays_in, stamp_hdf5
from braid_hpc.run.guard import recording, shown
from braid_hpc.run.handles import Record
from braid_hpc.run.stating import Stating
from braid_hpc.vocabulary.codes import Code, check_kind
from braid_hpc.vocabulary.encoding import check_tags, encode
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import Content, content_of_file
from braid_hpc.vocabulary.payloads import Declaration, Inspection
from braid_hpc.vocabulary.regular import open_regular

if TYPE_CHECKING:
    from braid_hpc.run.activities import Activity

__all__ = ["DEFERRED", "Filing", "record_inspection"]

#: What `digest=` is for files whose bytes are to be read when logs are merged.
DEFERRED = "deferred"

#: Files whose record is remembered, so that one that was written here and is read here is one record.
_REMEMBERED = 4096


class Filing(Stating):
    """What declares files."""

    #: By path: the record of what this process wrote there, with its digest.
    _written: dict[str, tuple[Record, str]] | None = None

    @recording
    def input(
        self, path: Any, *, name: str | None = None, kind: str = "data", digest: bool | str = True, tags: Any = None
    ) -> Record:
        """Declare a file that is read; the activity that is open uses it.

        Parameters
        ----------
        path : path-like
            A file on this machine. All its bytes are read for the digest, 1 MiB at a time.
        name : str, optional
            The record's name; without it the path, from the working directory where it lies below.
        kind : str
            The record's kind.
        digest : bool or str
            False for a very large file: size, time and inode stand in for the digest, which is marked *weak*.
            ``"deferred"``: they do so until logs are merged; then the bytes are read, if size and time are still the
            same. So it is too with files of more bytes than ``BRAID_DEFER_DIGESTS`` says.
        tags : mapping, optional
            As for :meth:`record`, beside ``mtime_ns`` and what is known of the arrays in the file.

        Returns
        -------
        Record
            The handle; that of :meth:`output` if this process wrote the same bytes there. False if the file cannot be
            read, which is kept as a rejected event.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if `path` is no path, or `kind` none.
        OSError
            Only under ``BRAID_STRICT=1``: if the file cannot be read.
        """
        return self._input(path, None, name=name, kind=kind, digest=digest, tags=tags)

    def _input(
        self,
        path: Any,
        act: Activity | None,
        *,
        name: str | None = None,
        kind: str = "data",
        digest: bool | str = True,
        tags: Any = None,
    ) -> Record:
        absolute = _path(path)
        said = self._file(absolute, digest, tags, self._open)
        known = (self._written or {}).get(str(absolute))
        if known is not None and known[1] == said.digest:
            record = known[0]
        else:
            record = self._store_file(kind, name, absolute, said, None, made=False)
        if act is None:
            act = current_activity()
        if act is not None and act.run is self and record:
            self._link(Code.USE, act, record)
        return record

    @recording
    def output(
        self,
        path: Any,
        *,
        name: str | None = None,
        kind: str = "data",
        derived_from: Any = None,
        digest: bool | str = True,
        stamp: bool = False,
        tags: Any = None,
    ) -> Record:
        """Declare a file that was written and closed; the activity that is open generates it.

        Parameters
        ----------
        path, name, kind, digest, tags
            As for :meth:`input`.
        derived_from : Record, str, or list of these, optional
            Direct parents.
        stamp : bool
            Whether an HDF5 file gets an attribute ``braid_hpc`` first, with job and writer: it then tells by itself
            where it comes from. Needs h5py.

        Returns
        -------
        Record
            The handle.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if `path` is no path, `kind` none, or the file cannot be stamped.
        OSError
            Only under ``BRAID_STRICT=1``: if the file cannot be read.
        """
        about = {"derived_from": derived_from, "digest": digest, "stamp": stamp, "tags": tags}
        return self._output(path, None, name=name, kind=kind, **about)

    def _output(
        self,
        path: Any,
        act: Activity | None,
        *,
        name: str | None = None,
        kind: str = "data",
        derived_from: Any = None,
        digest: bool | str = True,
        stamp: bool = False,
        tags: Any = None,
    ) -> Record:
        absolute = _path(path)
        if stamp and self._open:
            open_regular(absolute).close()
            self._part(
                f"stamp of {absolute.name}",
                lambda at: stamp_hdf5(at, {"job": self.name, "writer": self._log.writer.hex()}),
                absolute,
            )
        said = self._file(absolute, digest, tags, self._open)
        said.parents = self._good_links(f"parents of {absolute.name}", derived_from)
        record = self._store_file(kind, name, absolute, said, act, made=True)
        if record and said.digest is not None:
            if self._written is None or len(self._written) >= _REMEMBERED:
                self._written = {}
            self._written[str(absolute)] = record, said.digest
        return record

    def _file(self, path: Path, digest: bool | str, tags: Any, needed: bool) -> Declaration:
        """Look at a file."""
        said = Declaration(uris=[path.as_uri()])
        if not isinstance(digest, bool) and digest != DEFERRED:
            raise InvalidInputError(f"digest= is True, False or {DEFERRED!r}, not {shown(digest)}")
        if not needed:
            return said
        with open_regular(path) as file:
            stat = os.fstat(file.fileno())
            if digest is True and stat.st_size > self._most_digested():
                digest = DEFERRED
            if digest is True:
                content = content_of_file(file)
            else:
                content = Content(f"stat:{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}", stat.st_size, weak=True)
            found = self._part(f"arrays in {path.name}", lambda at: arrays_in(file, at), path)
        said.digest, said.size, said.weak = content.digest, content.size, content.weak
        said.deferred = digest == DEFERRED
        shapes = {}
        if found is not None:
            said.dtype, said.shape, shapes = found
        given = self._part(f"tags of {path.name}", check_tags, tags) or {}
        said.tags = {"mtime_ns": stat.st_mtime_ns, **shapes, **given}
        return said

    def _most_digested(self) -> float:
        """Return how many bytes a file may have whose digest is taken here."""
        text = os.environ.get("BRAID_DEFER_DIGESTS", "")
        return float("inf") if not text else self._part("BRAID_DEFER_DIGESTS", _bytes_of, text, default=float("inf"))

    def _store_file(
        self, kind: str, name: Any, path: Path, said: Declaration, act: Activity | None, *, made: bool
    ) -> Record:
        called = _name_of(path) if name is None else name
        if not self._open:
            self._note_late()
            return Record(bytes(16), 0, shown(kind), shown(called))
        check_kind(kind)
        if not isinstance(called, str) or not called:
            raise InvalidInputError(f"a record's name is a text, not {called!r}")
        # What became of a file is looked at when the activity that wrote it has ended.
        return self._store_declaration(kind, called, said, act, made=made, ended=True)


def record_inspection(run: Filing, record: Record, inspection: Inspection) -> int:
    """Record what a file was found to be whose digest was left to the merge.

    Parameters
    ----------
    run : Run
        Of the process that looked.
    record : Record
        An occurrence that names the file.
    inspection : Inspection
        What was found.

    Returns
    -------
    int
        The sequence; 0 if it could not be recorded.
    """
    foreign = run._foreign_record(record)
    return run._log.append(Code.INSPECT, 0, record.sequence, foreign, 0, 0, encode(inspection))


def _bytes_of(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidInputError(f"BRAID_DEFER_DIGESTS is a number of bytes, not {text!r}")
    return int(text)


def _path(path: Any) -> Path:
    try:
        return Path(os.fsdecode(path)).absolute()
    except TypeError:
        raise InvalidInputError(f"a file is named by its path, not by a {type(path).__name__}") from None


def _name_of(path: Path) -> str:
    # A name that UTF-8 does not have is shown as it is escaped.
    try:
        text = str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        text = str(path)
    return text.encode("utf-8", "backslashreplace").decode()
