"""NumPy's own files: one, or one for each datum."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from braid_hpc.assets.regular import open_file
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError

__all__ = ["NumpyFile", "NumpyRows", "NumpySequence", "npy_layout", "read_npy"]


def npy_layout(path: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Read the head of a ``.npy`` file.

    Parameters
    ----------
    path : str
        Of it.

    Returns
    -------
    dtype, shape, fortran_order, offset
        What it holds, and where in the file.

    Raises
    ------
    NotFoundError
        If it is not there.
    StorageError
        If it is no such file, or is shorter than it says.
    InvalidInputError
        If it holds objects.
    """
    with open_file(path) as file:
        try:
            version = np.lib.format.read_magic(file)
            heads: dict[Any, Any] = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in heads:
                raise StorageError(
                    f"{path} is of version {version[0]}.{version[1]} of NumPy's format, which is not read"
                )
            shape, fortran, dtype = heads[version](file)
        except StorageError:
            raise
        except Exception as error:
            raise StorageError(f"{path} is no file of NumPy's, or damaged: {_line(error)}") from error
        offset = file.tell()
        size = os.fstat(file.fileno()).st_size
    if dtype.hasobject:
        raise InvalidInputError(f"{path} holds pickled objects, which are never loaded")
    needed = offset + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise StorageError(f"{path} ends after {size} of {needed} bytes")
    return dtype, shape, fortran, offset


def read_npy(path: str, first: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
    """Read a ``.npy`` file, or some of its rows.

    Parameters
    ----------
    path : str
        Of it.
    first, stop : int
        Rows ``first`` to ``stop - 1``; without `stop` the whole array.

    Returns
    -------
    numpy.ndarray
        In memory.

    Raises
    ------
    NotFoundError, StorageError
        As :func:`npy_layout`.
    InvalidInputError
        If there are fewer rows, or it holds objects.
    """
    dtype, shape, fortran, offset = npy_layout(path)
    if stop is not None and (not shape or stop > shape[0]):
        raise InvalidInputError(f"{path} has {shape[0] if shape else 'no'} rows, and row {stop - 1} is asked for")
    row = math.prod(shape[1:]) if shape else 1
    with open_file(path) as file:
        if stop is None or fortran:
            file.seek(offset)
            whole = np.fromfile(file, dtype, math.prod(shape))
            whole = whole.reshape(shape[::-1]).T if fortran else whole.reshape(shape)
            return whole if stop is None else whole[first:stop]
        file.seek(offset + first * row * dtype.itemsize)
        return np.fromfile(file, dtype, (stop - first) * row).reshape(stop - first, *shape[1:])


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


class NumpySequence:
    """Handler of ``NPY_SEQ``: datum ``index`` is the file ``<path>_<index>.npy``.

    Parameters
    ----------
    path : str
        Beginning of the names.
    root : str
        A directory before it.
    """

    specs = frozenset({"NPY_SEQ", "RWFS_NPY"})

    def __init__(self, path: str, /, root: str = "") -> None:
        self._path = os.path.join(root, path)

    def __call__(self, index: int) -> np.ndarray[Any, Any]:
        """Read a datum.

        Parameters
        ----------
        index : int
            Of the file.

        Returns
        -------
        numpy.ndarray
            The whole file.

        Raises
        ------
        NotFoundError, StorageError, InvalidInputError
            As :func:`read_npy`.
        """
        return read_npy(self._file(index))

    def _file(self, index: Any) -> str:
        if type(index) is not int or index < 0:
            raise InvalidInputError(f"index {index!r} of a datum is no number of a file")
        return f"{self._path}_{index}.npy"

    def get_file_list(self, datum_kwargs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the files of some datums.

        Parameters
        ----------
        datum_kwargs : iterable of mapping
            Of the datums.

        Returns
        -------
        list of str
            Paths.
        """
        return [self._file(each["index"]) for each in datum_kwargs]


class NumpyFile:
    """Handler of ``npy``: a datum is the whole file, or one of its rows.

    Parameters
    ----------
    path : str
        The file.
    mmap_mode : object
        Of no meaning here.
    """

    specs = frozenset({"npy", "npy_FRAMEWISE"})

    def __init__(self, path: str, /, mmap_mode: Any = None) -> None:
        self._path = path

    def __call__(
        self, *, index: int | None = None, frame_no: int | None = None, point_number: int | None = None
    ) -> np.ndarray[Any, Any]:
        """Read a datum.

        Parameters
        ----------
        index, frame_no, point_number : int, optional
            The row, by any of these names; without it all.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        NotFoundError, StorageError, InvalidInputError
            As :func:`read_npy`.
        """
        row = next((each for each in (index, frame_no, point_number) if each is not None), None)
        if row is None:
            return read_npy(self._path)
        if type(row) is not int or row < 0:
            raise InvalidInputError(f"{row!r} is no row of {self._path}")
        found: np.ndarray[Any, Any] = read_npy(self._path, row, row + 1)[0]
        return found

    def get_file_list(self, datum_kwargs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the files of some datums.

        Parameters
        ----------
        datum_kwargs : iterable of mapping
            Of the datums.

        Returns
        -------
        list of str
            The one path.
        """
        return [self._path]


class NumpyRows:
    """Reads ``application/x-npy``: one file whose first axis is that of the rows.

    Parameters
    ----------
    path : str
        The file.
    **parameters : object
        Of no meaning here.

    Raises
    ------
    NotFoundError, StorageError, InvalidInputError
        As :func:`npy_layout`, and if it holds a single value.
    """

    mimetypes = frozenset({"application/x-npy"})

    def __init__(self, path: str, /, **parameters: Any) -> None:
        self._path = path
        self.dtype, shape, fortran, _ = npy_layout(path)
        if not shape:
            raise InvalidInputError(f"{path} holds a single value, which has no rows")
        self.row_shape = shape[1:]
        # One in Fortran's order is read as a whole each time.
        self.chunk_rows = max(shape[0], 1) if fortran else 1

    def read(self, first: int, stop: int, inner: tuple[slice, ...] = ()) -> np.ndarray[Any, Any]:
        """Read rows; see :meth:`RowReader.read <braid_hpc.assets.RowReader.read>`.

        Parameters
        ----------
        first, stop : int
            Rows.
        inner : tuple of slice
            What is wanted of each.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        NotFoundError, StorageError, InvalidInputError
            As :func:`read_npy`.
        """
        return read_npy(self._path, first, stop)[(slice(None), *inner)]

    def files(self, first: int, stop: int) -> list[str]:
        """Return the one path.

        Parameters
        ----------
        first, stop : int
            Rows.

        Returns
        -------
        list of str
            Of one.
        """
        return [self._path]

    def close(self) -> None:
        """Do nothing: nothing stays open."""
