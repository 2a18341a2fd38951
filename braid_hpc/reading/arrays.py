"""Reading the arrays of a log: each is believed only with its digest, and a damaged file costs arrays, never events.

Arrays files are opened by :class:`~braid_hpc.reading.h5reader.ArrayReader`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from braid_hpc.log.array_pools import ARRAYS_NAME
from braid_hpc.vocabulary.arrays import EXTENSIONS, array_digest
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import decoder
from braid_hpc.vocabulary.errors import CorruptLogError
from braid_hpc.vocabulary.payloads import ARRAY_IN_FILE, ARRAY_LOST, ArrayEntry, Declaration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid_hpc.reading.h5reader import ArrayReader
    from braid_hpc.reading.writer_log import WriterLog

__all__ = ["BLOCK", "LoggedArray", "check_arrays", "dtype_of", "logged_arrays", "lose_array"]

_ENTRY = decoder(ArrayEntry)
_DECLARATION = decoder(Declaration)

#: Bytes that are read at once.
BLOCK = 4 << 20


def dtype_of(text: str) -> np.dtype[Any]:
    """Return the dtype that a text stands for.

    Parameters
    ----------
    text : str
        From :func:`braid_hpc.vocabulary.arrays.dtype_text`, or a buffer's format.

    Returns
    -------
    numpy.dtype
        The same; in place of one that needs the package ml_dtypes, where that is not installed, bytes of its length.

    Raises
    ------
    CorruptLogError
        If it is none.
    """
    if text in EXTENSIONS:
        try:
            import ml_dtypes
        except ImportError:
            return np.dtype(f"V{EXTENSIONS[text]}")
        return np.dtype(getattr(ml_dtypes, text, f"V{EXTENSIONS[text]}"))
    try:
        if text.startswith("["):
            return np.lib.format.descr_to_dtype(ast.literal_eval(text))
        return np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        raise CorruptLogError(f"{text!r} is not a dtype NumPy knows") from None


@dataclass(slots=True)
class LoggedArray:
    """An array of a log: one content, under all the names it was declared by.

    Attributes
    ----------
    entry : ArrayEntry
        Where its bytes are.
    others : list of ArrayEntry
        Where they are as well: the disk may have refused the first file, and the array was written again.
    names : list of str
        ``kind:name``, each once.
    unit : str or None
        The first that was declared.
    """

    entry: ArrayEntry
    names: list[str] = field(default_factory=list)
    unit: str | None = None
    others: list[ArrayEntry] = field(default_factory=list)

    def places(self) -> Iterator[None]:
        """Go through the places where its bytes may be; `entry` is each of them in turn.

        Yields
        ------
        None
            Once for each.
        """
        first = self.entry
        for place in (first, *self.others):
            self.entry = place
            yield
        self.entry = first

    def path(self, directory: Path) -> Path:
        """Return the arrays file it lies in.

        Parameters
        ----------
        directory : Path
            The writer's directory.

        Returns
        -------
        Path
            Of no meaning for an array whose bytes are in its entry.
        """
        return directory / ARRAYS_NAME.format(self.entry.file)

    def read(self, reader: ArrayReader, directory: Path, first: int, count: int) -> bytes:
        """Read some of its bytes.

        Parameters
        ----------
        reader : ArrayReader
            Reads arrays files.
        directory : Path
            The writer's directory.
        first, count : int
            Bytes, whole elements.

        Returns
        -------
        bytes
            As they stand in the log, which proves nothing: compare the digest.

        Raises
        ------
        CorruptLogError
            If they cannot be read.
        """
        entry = self.entry
        if not entry.file:
            return bytes(entry.data or b"")[first : first + count]
        item = entry.size // max(entry.length, 1) or 1
        return reader.read(self.path(directory), entry.pool, entry.offset + first // item, count // item)


def logged_arrays(log: WriterLog) -> list[LoggedArray]:
    """Return the arrays that a writer stored.

    Parameters
    ----------
    log : WriterLog
        Its log.

    Returns
    -------
    list of LoggedArray
        In the order of their storing, each content once; those that could not be stored are left out.
    """
    found: dict[str, LoggedArray] = {}
    names: dict[int, str] = {}
    for events in log.each(Code.ARRAY):
        names = names or log.names()
        for row in range(len(events)):
            if int(events["flags"][row]) & ARRAY_LOST:
                continue
            try:
                entry = _ENTRY.decode(events.payload(row))
            except msgspec.DecodeError:
                # Of a later version of the format; nothing here can tell where the array is.
                continue
            if (int(events["flags"][row]) & ARRAY_IN_FILE) == bool(entry.file):
                array = found.setdefault(entry.digest, LoggedArray(entry))
                if array.entry is not entry:
                    array.others.append(entry)
                _name(array, names.get(int(events["other"][row])), names.get(int(events["name"][row])))
    if found:
        _add_declared(log, names, found)
    return list(found.values())


def _name(array: LoggedArray, kind: str | None, name: str | None) -> None:
    full = f"{kind or '?'}:{name or '?'}"
    if full not in array.names:
        array.names.append(full)


def _add_declared(log: WriterLog, names: dict[int, str], found: dict[str, LoggedArray]) -> None:
    for events in log.each(Code.DECLARE):
        for row in range(len(events)):
            try:
                about = _DECLARATION.decode(events.payload(row))
            except msgspec.DecodeError:
                continue
            array = found.get(about.digest or "")
            if array is not None:
                _name(array, names.get(int(events["other"][row])), names.get(int(events["name"][row])))
                array.unit = array.unit or about.unit


def check_arrays(log: WriterLog, reader: ArrayReader) -> None:
    """Read every array of a log, and compare its digest; those that are damaged become faults of the log.

    Parameters
    ----------
    log : WriterLog
        Its faults and its state are added to.
    reader : ArrayReader
        Reads arrays files.

    Raises
    ------
    MissingExtraError
        If there are arrays files and h5py is not installed.
    """
    for array in logged_arrays(log):
        reason = ""
        for _ in array.places():
            if not (fault := _fault(array, reader, log.directory)):
                break
            reason = reason or fault
        else:
            lose_array(log, array, reason)


def _fault(array: LoggedArray, reader: ArrayReader, directory: Path) -> str:
    """Return what is wrong with an array where it is said to be."""
    entry = array.entry
    digest = array_digest(entry.dtype, entry.shape)
    try:
        for first in range(0, entry.size, BLOCK):
            digest.update(array.read(reader, directory, first, min(BLOCK, entry.size - first)))
    except CorruptLogError as error:
        return str(error)
    return "" if f"blake3:{digest.hexdigest()}" == entry.digest else "its bytes do not carry its digest"


def lose_array(log: WriterLog, array: LoggedArray, reason: str) -> str:
    """Make a damaged array a fault of its writer's log.

    Parameters
    ----------
    log : WriterLog
        Its faults and its state are changed.
    array : LoggedArray
        The array.
    reason : str
        A clause.

    Returns
    -------
    str
        The fault.
    """
    fault = f"array {', '.join(array.names)} ({array.entry.digest[:19]}) is lost: {reason}"
    try:
        torn = array.path(log.directory).stat().st_size < array.entry.end
    except OSError:
        torn = True
    log.damage([fault], torn=torn and bool(array.entry.file))
    return fault
