"""Arrays of a store, read when they are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.arrays import array_digest
from braid_hpc.vocabulary.errors import CorruptLogError, InvalidInputError, MissingExtraError, NotFoundError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ArrayFiles", "StoredArray", "find_array"]


class ArrayFiles:
    """The HDF5 files of a store, each opened once.

    Parameters
    ----------
    directory : Path
        ``<store>.d/arrays``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, Any] = {}
        self._closed = False

    def dataset(self, file: str, name: str) -> Any:
        """Return a dataset.

        Parameters
        ----------
        file : str
            Name of the file.
        name : str
            Name of the dataset.

        Returns
        -------
        h5py.Dataset
            Open until the store is closed.

        Raises
        ------
        InvalidInputError
            If the store was closed.
        NotFoundError
            If the file is not beside the store.
        CorruptLogError
            If HDF5 cannot read it.
        MissingExtraError
            If h5py is not installed.
        """
        if self._closed:
            raise InvalidInputError("the store was closed: read arrays while it is open")
        try:
            import h5py
        except ImportError as error:
            raise MissingExtraError("arrays are read with h5py: pip install 'braid_hpc[arrays]'") from error
        path = self._directory / os.path.basename(file)
        if not path.is_file():
            beside = self._directory.parent.name
            raise NotFoundError(f"{path} is not there: the directory {beside} belongs to the store")
        try:
            if file not in self._open:
                self._open[file] = h5py.File(path, "r", locking=False)
            return self._open[file][name]
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise CorruptLogError(f"{path} cannot be read: {_short(error)}") from None

    def close(self) -> None:
        """Close all of them; arrays cannot be read any more."""
        self._closed = True
        files, self._open = self._open, {}
        for file in files.values():
            file.close()


class StoredArray:
    """An array of a store; nothing of it is read before it is sliced or made a NumPy array.

    Made by :meth:`braid_hpc.store.store.Store.array`, and readable until that store is closed.

    Attributes
    ----------
    ref : str
        The reference of the version that it is the content of.
    digest : str
        ``"blake3:<hex>"``, over dtype, shape and bytes.
    shape : tuple of int
        Lengths.
    dtype : numpy.dtype
        As it was recorded, byte order included.
    unit : str or None
        Unit symbol.
    nbytes : int
        Bytes.
    """

    def __init__(self, files: ArrayFiles, ref: str, unit: str | None, row: tuple[Any, ...]) -> None:
        from braid_hpc.reading.arrays import dtype_of

        self._files = files
        self.ref, self.unit = ref, unit
        self.digest, self._file, self._dataset, self._text, shape, self.nbytes = row
        self.shape: tuple[int, ...] = tuple(shape)
        self.dtype: np.dtype[Any] = dtype_of(self._text)

    def read(self) -> npt.NDArray[Any]:
        """Read all of it.

        Returns
        -------
        numpy.ndarray
            Of :attr:`dtype` and :attr:`shape`, bit for bit what was recorded.

        Raises
        ------
        CorruptLogError
            If the bytes cannot be read, or do not carry the digest.
        NotFoundError
            If the file is not beside the store.
        InvalidInputError
            If the store was closed.
        """
        import numpy as np

        raw = self._take(())
        data = np.ascontiguousarray(raw).reshape(-1).view("u1") if raw.nbytes else np.zeros(0, "u1")
        digest = array_digest(self._text, list(self.shape))
        digest.update(data.data)
        if f"blake3:{digest.hexdigest()}" != self.digest:
            raise CorruptLogError(f"the bytes of {self.ref} do not carry their digest ({self._file})")
        return data.view(self.dtype).reshape(self.shape) if data.size else np.zeros(self.shape, self.dtype)

    def __getitem__(self, index: Any) -> Any:
        """Read a part; HDF5's checksums hold for it, the digest only for the whole.

        Parameters
        ----------
        index : int, slice, Ellipsis, or tuple of these
            Reads only that part; of any other index that NumPy knows, the whole array is read first.

        Returns
        -------
        numpy.ndarray or scalar
            What NumPy would give for that index.

        Raises
        ------
        CorruptLogError, NotFoundError, InvalidInputError
            As :meth:`read`.
        IndexError
            If it lies outside of the array.
        """
        parts = index if isinstance(index, tuple) else (index,)
        if self.nbytes and self.shape and all(map(_is_plain, parts)):
            read, kept = _explicit(parts, self.shape)
            raw = self._take(read)
            # Elements that HDF5 has no type for stand there as bytes, in a last dimension of their own.
            if raw.ndim > len(self.shape):
                raw = raw.view(self.dtype)[..., 0]
            return raw[kept]
        return self.read()[index]

    def _take(self, index: tuple[Any, ...]) -> Any:
        import numpy as np

        dataset = self._files.dataset(self._file, self._dataset)
        try:
            # An array also of a scalar: NumPy's scalars are in the byte order of the machine.
            return np.asarray(dataset[index or ...])
        except IndexError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise CorruptLogError(f"the bytes of {self.ref} cannot be read: {_short(error)}") from None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read all of it, for NumPy.

        Raises
        ------
        ValueError
            If a copy is not wanted.
        CorruptLogError, NotFoundError, InvalidInputError
            As :meth:`read`.
        """
        import numpy as np

        if copy is False:
            raise ValueError(f"{self.ref} lies in a file: an array of it is always a copy")
        whole = self.read()
        return whole if dtype is None else np.asarray(whole, dtype)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    def __len__(self) -> int:
        """Return the length of the first dimension.

        Raises
        ------
        TypeError
            If there are no dimensions.
        """
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        """Name it, without reading it."""
        lengths = "x".join(map(str, self.shape)) or "scalar"
        return f"<StoredArray {self.ref}, {self.dtype} {lengths}{f' in {self.unit}' if self.unit else ''}>"


def find_array(connection: Any, files: ArrayFiles, ref: str, identity: int) -> StoredArray:
    """Return the array that is the content of a version.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    files : ArrayFiles
        Its files.
    ref : str
        What the version is called.
    identity : int
        Its dense id.

    Returns
    -------
    StoredArray
        Not read yet.

    Raises
    ------
    NotFoundError
        If its bytes are not in the store.
    """
    found = connection.execute("select digest, unit from versions where id = ?", [identity]).fetchall()
    if not found:
        raise NotFoundError(f"{ref} is not a record: only records have arrays")
    digest, unit = found[0]
    rows = connection.execute(
        "select digest, file, dataset, dtype, shape, bytes from array_rows where digest = ? order by snapshot limit 1",
        [digest],
    ).fetchall()
    if not rows:
        raise NotFoundError(
            f"the bytes of {ref} are not in this store: it was not recorded with array(), or they were lost "
            f"(see the table problems)"
        )
    return StoredArray(files, ref, unit, rows[0])


def _is_plain(part: Any) -> bool:
    if isinstance(part, slice):
        return part.step is None or (isinstance(part.step, int) and part.step > 0)
    return part is Ellipsis or (isinstance(part, int) and not isinstance(part, bool))


def _explicit(parts: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[Any, ...]]:
    """Return the index as slices, one for each dimension, and what is then to be taken of the part they give."""
    ellipses = parts.count(Ellipsis)
    if ellipses > 1 or len(parts) - ellipses > len(shape):
        raise IndexError(f"the index has more parts than the array has dimensions ({len(shape)})")
    where = parts.index(Ellipsis) if ellipses else len(parts)
    rest = parts[where + 1 :]
    whole = (*parts[:where], *[slice(None)] * (len(shape) - where - len(rest)), *rest)
    read: list[slice] = []
    for part, length in zip(whole, shape, strict=True):
        if isinstance(part, slice):
            read.append(part)
        elif -length <= part < length:
            read.append(slice(part % length, part % length + 1))
        else:
            raise IndexError(f"{part} lies outside of a dimension of length {length}")
    kept = [slice(None) if isinstance(part, slice) else 0 for part in whole]
    # As in NumPy, an index with an Ellipsis gives an array even of a single element.
    return tuple(read), (*kept, Ellipsis) if ellipses else tuple(kept)


def _short(error: Exception) -> str:
    return str(error.args[0] if error.args else error).strip().partition("\n")[0]
