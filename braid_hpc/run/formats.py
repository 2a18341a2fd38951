"""What files of NumPy and HDF5 say of the arrays in them, without reading these."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any, BinaryIO

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["DATASETS", "arrays_in", "stamp_hdf5"]

#: How many datasets of an HDF5 file are named.
DATASETS = 64

_NUMPY = b"\x93NUMPY"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def arrays_in(file: BinaryIO, path: Path) -> tuple[str | None, list[int] | None, dict[str, str]]:
    """Return what a file says of its arrays.

    Parameters
    ----------
    file : binary file
        Open for reading; where it stands is changed.
    path : Path
        Where it is.

    Returns
    -------
    str or None, list of int or None, dict
        dtype and shape of the one array of a file of NumPy; tags with those of the datasets of an HDF5 file, which
        is looked into only where the program has imported h5py.

    Raises
    ------
    InvalidInputError
        If the header of a file of NumPy cannot be read.
    OSError
        If the file cannot be read.
    """
    file.seek(0)
    magic = file.read(8)
    if magic.startswith(_NUMPY) and len(magic) == 8:
        return (*_numpy_header(file, magic[6]), {})
    h5py = sys.modules.get("h5py")
    if magic == _HDF5 and h5py is not None and hasattr(h5py, "File"):
        return None, None, _datasets(h5py, path)
    return None, None, {}


def _numpy_header(file: BinaryIO, major: int) -> tuple[str | None, list[int] | None]:
    length = int.from_bytes(file.read(2 if major == 1 else 4), "little")
    if length > 1 << 16:
        raise InvalidInputError(f"its header claims {length} bytes")
    try:
        header = ast.literal_eval(file.read(length).decode("utf-8" if major >= 3 else "latin-1"))
        descr, shape = header["descr"], [int(size) for size in header["shape"]]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidInputError(f"its header cannot be read ({type(error).__name__})") from None
    return descr if isinstance(descr, str) else repr(descr), shape


def _datasets(h5py: Any, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}

    def visit(name: str, thing: Any) -> bool | None:
        if isinstance(thing, h5py.Dataset):
            found[f"hdf5.{name.replace('/', '.')}"] = f"{thing.dtype} {thing.shape}"
        return True if len(found) >= DATASETS else None

    with h5py.File(path, "r", locking=False) as opened:
        opened.visititems(visit)
    return found


def stamp_hdf5(path: Path, about: dict[str, str]) -> None:
    """Write where an HDF5 file comes from into an attribute of it.

    Parameters
    ----------
    path : Path
        A file that nobody has open.
    about : dict of str to str
        What is written into the attribute ``braid_hpc``, as JSON.

    Raises
    ------
    InvalidInputError
        If it is no HDF5 file, or h5py is not installed.
    OSError
        If it cannot be written.
    """
    import json

    try:
        import h5py
    except ImportError as error:
        raise InvalidInputError("a stamp needs h5py: pip install 'braid_hpc[arrays]'") from error
    with path.open("rb") as file:
        if file.read(8) != _HDF5:
            raise InvalidInputError(f"{path.name} is no HDF5 file")
    with h5py.File(path, "r+") as opened:
        opened.attrs["braid_hpc"] = json.dumps(about)
