"""Taking small files into the log: inputs, outputs and texts that would otherwise be thousands of small files."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

from braid_hpc.run.collecting import Collecting
from braid_hpc.run.guard import caller, recording, shown, tell
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_bytes
from braid_hpc.vocabulary.regular import open_regular
from braid_hpc.vocabulary.small_files import ATTACHED, ATTACHED_COLUMNS, LIMIT

__all__ = ["AttachingFiles"]

#: Digests of what this log has, the last ones.
_REMEMBERED = 65_536


class AttachingFiles(Collecting):
    """What takes files into the log."""

    #: By writer, because a forked child has a log of its own: digests of what it has.
    _attached: set[tuple[bytes, str]]
    _told_left: bool = False

    @recording
    def attach(
        self,
        path: Any,
        *,
        name: str | None = None,
        kind: str = "file",
        limit: int = LIMIT,
        derived_from: Any = None,
        tags: Any = None,
    ) -> Record:
        """Declare a small file, and take its bytes into the log.

        Equal bytes are taken once for each rank. ``braid files get`` gives them back, bit for bit; ``braid files
        remove`` removes files from disk whose bytes are in the store.

        Parameters
        ----------
        path : path-like
            A file on this machine.
        name : str, optional
            The record's name; without it the path as it is given.
        kind : str
            The record's kind.
        limit : int
            Bytes; a larger file stays where it is and is declared with its digest, which is told once.
        derived_from, tags : optional
            As for :meth:`record`.

        Returns
        -------
        Record
            The handle; false if the file cannot be read, which is kept as a rejected event.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if `path` is no path, or `limit` no number.
        OSError
            Only under ``BRAID_STRICT=1``: if the file cannot be read.
        """
        if not isinstance(path, (str, os.PathLike)) or isinstance(limit, bool) or not isinstance(limit, int):
            raise InvalidInputError(f"attach takes a path and a number of bytes, not {shown(path)} and {shown(limit)}")
        if not self._open:
            self._note_late()
            return Record(bytes(16), 0, kind, name or os.fspath(path))
        place = Path(path).absolute()
        with open_regular(place) as file:
            data = file.read(limit + 1)
        called = name or os.fspath(path)
        about = {"derived_from": derived_from, "tags": tags}
        if len(data) > limit:
            if not self._told_left:
                self._told_left = True
                tell(f"{caller()}: {place} has more than {limit} bytes, and stays where it is (told once)")
            record = self.record(kind, called, path=place, **about)
            self._write_attached(called, place, "", place.stat().st_size, record, "left", b"")
            return record
        content = content_of_bytes(data)
        record = self.record(kind, called, uri=str(place), digest=content.digest, size=len(data), **about)
        key = (self._log.writer, content.digest)
        if key in self._attached:
            form, kept = "before", b""
        else:
            packed = zlib.compress(data, 6)
            form, kept = ("zlib", packed) if len(packed) < len(data) else ("plain", data)
            if len(self._attached) >= _REMEMBERED:
                self._attached.clear()
        written = self._write_attached(called, place, content.digest, len(data), record, form, kept)
        if written:
            # Only now: a row that was lost is none that a later one could mean.
            self._attached.add(key)
        return record

    def _write_attached(
        self, name: str, place: Path, digest: str, size: int, record: Record, form: str, data: bytes
    ) -> bool:
        values = (name, str(place), digest, size, record.sequence, form, data)
        stream = self._own_stream(ATTACHED, ATTACHED_COLUMNS)
        columns = {column: [value] for (column, _), value in zip(stream.columns, values, strict=True)}
        return stream.extend(columns).count == 1
