"""The arrays of a commit: copied from the logs into an HDF5 file beside the store, as named datasets.

``<store>.d/arrays/<snapshot>-<random>.h5`` is complete and on disk before the snapshot is published. Bytes pass
through memory a few MiB at a time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from braid_hpc.compaction.array_file import PatientFile
from braid_hpc.compaction.array_forms import boxes, stored_form
from braid_hpc.compaction.rows import BIGINT, TEXT, Rows
from braid_hpc.reading.arrays import BLOCK, LoggedArray, dtype_of, logged_arrays, lose_array
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.modes import seal_file
from braid_hpc.vocabulary.arrays import array_digest
from braid_hpc.vocabulary.errors import CorruptLogError, MissingExtraError, StorageError

__all__ = ["ArrayCopies", "write_arrays"]

#: Bytes of a chunk in a dataset.
CHUNK = 256 << 10


@dataclass(slots=True)
class ArrayCopies:
    """What one commit copies.

    Attributes
    ----------
    path : Path
        The file; it is there once an array is in it.
    rows : list of tuple
        Digest, file, dataset, dtype, shape and bytes of each array that was copied.
    holders : set of str
        Writers that arrays were copied from.
    lost : list of (str, str)
        Writer, and a sentence on an array that cannot be read.
    """

    path: Path
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    holders: set[str] = field(default_factory=set)
    lost: list[tuple[str, str]] = field(default_factory=list)
    _file: Any = None
    _disk: PatientFile | None = None

    @classmethod
    def begin(cls, files: StoreFiles, tag: str) -> ArrayCopies:
        """Return the copies of a commit to be.

        Parameters
        ----------
        files : StoreFiles
            The store's.
        tag : str
            What the commit's files have in their names.

        Returns
        -------
        ArrayCopies
            Without any; nothing is created yet.
        """
        return cls(files.arrays / f"{tag}.h5")

    def take(self, connection: Any, logs: list[WriterLog], progress: Callable[[str, int, int], None]) -> None:
        """Copy what the store does not have yet; what cannot be read becomes a fault of its log.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            Open on the snapshot that the commit builds on.
        logs : list of WriterLog
            Their faults and states are added to.
        progress : callable
            As for :func:`braid_hpc.compaction.compact.compact`.

        Raises
        ------
        MissingExtraError
            If there are arrays and h5py is not installed.
        StorageError
            If the copy cannot be written.
        """
        with ArrayReader() as reader:
            for done, log in enumerate(logs):
                progress("arrays", done, len(logs))
                if not (arrays := logged_arrays(log)):
                    continue
                known = _known_digests(connection, [array.entry.digest for array in arrays])
                known.update(row[0] for row in self.rows)
                for array in arrays:
                    if array.entry.digest not in known:
                        self._take_one(reader, log, array)
        self._finish()
        # Told once, though an array that is lost is looked for in each commit: a whole copy of the log may be there.
        told = set(connection.execute("select writer, message from problem_rows where code = 'array'").fetchall())
        self.lost = [each for each in self.lost if each not in told]

    def _take_one(self, reader: ArrayReader, log: WriterLog, array: LoggedArray) -> None:
        reason = ""
        for directory in (directory for _ in array.places() for directory in (log.directory, *log.copies)):
            try:
                self._copy(reader, directory, array)
                self._see_that_it_fits()
            except CorruptLogError as error:
                reason = reason or str(error)
            except (MissingExtraError, StorageError):
                raise
            except Exception as error:
                # Behind what the disk refused HDF5 reads zeros, and may say anything.
                if isinstance(error, (OSError, RuntimeError)) or self._refused:
                    raise self._refusal(error) from error
                raise
            else:
                self.holders.add(log.writer)
                return
        self.lost.append((log.writer, lose_array(log, array, reason)))

    def _copy(self, reader: ArrayReader, directory: Path, array: LoggedArray) -> None:
        _h5py()
        entry = array.entry
        dtype = dtype_of(entry.dtype)
        form, shape = stored_form(dtype, tuple(entry.shape))
        name = entry.digest.partition(":")[2]
        digest = array_digest(entry.dtype, entry.shape)
        file = self._opened()
        dataset = None
        try:
            if not entry.size:
                dataset = file.create_dataset(name, shape=shape, dtype=form)
            first = 0
            for box in boxes(shape, form.itemsize, BLOCK) if entry.size else ():
                lengths = [part.stop - part.start for part in box]
                count = form.itemsize * int(np.prod(lengths, dtype=np.int64))
                data = array.read(reader, directory, first, count)
                first += count
                digest.update(data)
                if len(data) != count:
                    raise CorruptLogError(f"{len(data)} of {count} bytes are there")
                # Only now: of an array that cannot be read at all, nothing stays behind.
                dataset = dataset if dataset is not None else _create(file, name, form, shape)
                dataset[box] = np.frombuffer(data, form).reshape(lengths)
                self._see_that_it_fits()
            if f"blake3:{digest.hexdigest()}" != entry.digest:
                raise CorruptLogError("its bytes do not carry its digest")
        except CorruptLogError:
            if dataset is not None:
                del file[name]
            raise
        assert dataset is not None
        dataset.attrs["names"] = [_attribute(each) for each in array.names]
        dataset.attrs["dtype"] = _attribute(entry.dtype)
        if array.unit is not None:
            dataset.attrs["unit"] = _attribute(array.unit)
        self.rows.append((entry.digest, self.path.name, name, entry.dtype, list(entry.shape), entry.size))

    def _opened(self) -> Any:
        if self._file is None:
            h5py = _h5py()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._disk = PatientFile(self.path)
            self._file = h5py.File(self._disk, "w", libver=("v110", "v110"), locking=False)
        return self._file

    @property
    def _refused(self) -> OSError | None:
        return self._disk.refused if self._disk is not None else None

    def _see_that_it_fits(self) -> None:
        if (refused := self._refused) is not None:
            raise self._refusal(refused) from refused

    def _refusal(self, error: Exception) -> StorageError:
        """Return the error to raise; what the disk said first comes before what HDF5 makes of it."""
        return StorageError(f"cannot write {self.path} ({_short(self._refused or error)})")

    def _finish(self) -> None:
        """Close the file and bring it to the disk."""
        file, self._file = self._file, None
        if file is None:
            return
        if not self.rows:
            file.close()
            self.discard()
            return
        try:
            file.close()
            self._see_that_it_fits()
            for path in (self.path, self.path.parent):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            seal_file(self.path)
        except StorageError:
            raise
        except (OSError, RuntimeError) as error:
            raise self._refusal(error) from error
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._disk is not None:
            self._disk.close()

    def discard(self) -> None:
        """Remove the file of a commit that was not published."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):
                file.close()
        self._let_go()
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def write_arrays(out: Rows, rows: list[tuple[Any, ...]]) -> None:
    """Write the rows of ``array_rows``.

    Parameters
    ----------
    out : Rows
        Of the commit.
    rows : list of tuple
        As :class:`ArrayCopies` has them.
    """
    columns = (
        ("digest", TEXT),
        ("file", TEXT),
        ("dataset", TEXT),
        ("dtype", TEXT),
        ("shape", pa.list_(BIGINT)),
        ("bytes", BIGINT),
    )
    out.rows("array_rows", columns, rows)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("logs with arrays need h5py: pip install 'braid_hpc[arrays]'") from error
    return h5py


def _create(file: Any, name: str, form: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        # HDF5 has no checksum for a scalar; the digest is checked whenever it is read.
        return file.create_dataset(name, shape=shape, dtype=form)
    first = next(boxes(shape, form.itemsize, CHUNK))
    chunks = tuple(part.stop - part.start for part in first)
    return file.create_dataset(name, shape=shape, dtype=form, chunks=chunks, fletcher32=True)


def _known_digests(connection: Any, digests: list[str]) -> set[str]:
    rows = connection.execute(
        "select digest from array_rows where list_contains(?::varchar[], digest)", [digests]
    ).fetchall()
    return {digest for (digest,) in rows}


def _attribute(text: str) -> str:
    """Return text as HDF5 can hold it: UTF-8 without zeros."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _short(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]
