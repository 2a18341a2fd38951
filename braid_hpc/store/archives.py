"""Arrays as files that NumPy reads: ``.npy``, and ``.npz`` for several; the same arrays give the same bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO, Any

from braid_hpc.store.arrays import StoredArray
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["write_npy", "write_npz"]

#: The earliest time that a zip file knows.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def write_npy(file: IO[bytes], array: StoredArray) -> None:
    """Write an array as ``.npy``.

    Parameters
    ----------
    file : binary file
        Open for writing.
    array : StoredArray
        Read whole, and verified.

    Raises
    ------
    CorruptLogError, NotFoundError
        As :meth:`braid_hpc.store.arrays.StoredArray.read`.
    """
    import numpy as np

    np.lib.format.write_array(file, _plain(np, array.read()), allow_pickle=False)


def write_npz(file: IO[bytes], ref: str, arrays: Mapping[str, StoredArray]) -> None:
    """Write arrays as ``.npz``, uncompressed, one after the other.

    Parameters
    ----------
    file : binary file
        Open for writing.
    ref : str
        Whose they are, for messages.
    arrays : mapping of str to StoredArray
        By name; one at a time is in memory.

    Raises
    ------
    InvalidInputError
        If a zip file cannot hold one of the names, or NumPy could not tell two of them apart.
    CorruptLogError, NotFoundError
        As :meth:`braid_hpc.store.arrays.StoredArray.read`.
    """
    for name in arrays:
        if "\0" in name or len(name.encode()) > 60_000 or f"{name}.npy" in arrays:
            raise InvalidInputError(f"the name {name[:80]!r} in {ref} cannot stand in an npz file: use state()")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _NO_TIME)
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as member:
                write_npy(member, array)


def _plain(np: Any, array: Any) -> Any:
    """Return an array in which a dtype that NumPy does not have by itself is bytes."""
    return array.view(f"V{array.dtype.itemsize}") if array.dtype.isbuiltin == 2 else np.asarray(array)
