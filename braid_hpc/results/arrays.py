"""Arrays in files: NumPy's own, HDF5, Zarr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from braid_hpc.results.packages import package
from braid_hpc.vocabulary.arrays import array_bytes
from braid_hpc.vocabulary.encoding import encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_value

__all__ = ["Hdf5", "Npy", "Zarr", "array_content", "as_array"]


def as_array(value: Any, taker: str) -> Any:
    """Give a value as an array of NumPy.

    Parameters
    ----------
    value : object
        An array, or what has ``__array__``: one of dask is computed here.
    taker : str
        The serializer, for the message.

    Returns
    -------
    ndarray
        In the byte order and of the shape that it has.

    Raises
    ------
    InvalidInputError
        If it is no array, holds Python objects, or has masked values.
    MissingExtraError
        If NumPy is not installed.
    """
    numpy = package("numpy", "arrays")
    if not hasattr(value, "__array__"):
        raise InvalidInputError(f"{taker} writes arrays, not a {type(value).__name__}")
    if numpy.ma.is_masked(value):
        raise InvalidInputError(f"{taker} has no place for a mask: give filled(), or data and mask as two arrays")
    array = numpy.asarray(value)
    if array.dtype.hasobject:
        raise InvalidInputError(f"{taker} writes numbers and text, not an array of Python objects")
    return array


def array_content(value: Any, taker: str) -> str:
    """Give the digest of an array: that which :meth:`braid_hpc.Run.array` gives it.

    Parameters
    ----------
    value, taker
        As for :func:`as_array`.

    Returns
    -------
    str
        ``"blake3:<hex>"``, of dtype, shape and elements.

    Raises
    ------
    InvalidInputError
        If it is no array.
    """
    return array_bytes(as_array(value, taker)).content().digest


@dataclass(frozen=True, slots=True)
class Npy:
    """Arrays of any dtype but objects as ``.npy``."""

    @property
    def suffix(self) -> str:
        """``.npy``."""
        return ".npy"

    @property
    def media_type(self) -> str:
        """``application/x-npy``."""
        return "application/x-npy"

    def ready(self) -> None:
        """Load NumPy.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        package("numpy", "arrays")

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write an array.

        Parameters
        ----------
        value : array
            What has ``__array__``.
        file : binary file
            Takes it.

        Raises
        ------
        InvalidInputError
            If it is no array.
        """
        array = as_array(value, "Npy")
        format_ = package("numpy.lib.format", "arrays")
        # Fields of a dtype that NumPy does not have itself would come back as bytes.
        try:
            format_.write_array(file, array, allow_pickle=False)
        except UserWarning as error:
            raise InvalidInputError(f"Npy cannot keep the dtype {array.dtype}: {error}") from error

    def read(self, file: BinaryIO) -> Any:
        """Read an array.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        ndarray
            As it was written.

        Raises
        ------
        ValueError
            If there is none.
        """
        return package("numpy", "arrays").load(file, allow_pickle=False)

    def content(self, value: Any) -> str | None:
        """Give an array's digest.

        Parameters
        ----------
        value : array
            What has ``__array__``.

        Returns
        -------
        str
            Of dtype, shape and elements.

        Raises
        ------
        InvalidInputError
            If it is no array.
        """
        return array_content(value, "Npy")


@dataclass(frozen=True, slots=True)
class _Trees:
    """An array, or a mapping of names to arrays and further mappings."""

    def _has_type(self, dtype: Any) -> bool:
        """Whether the format has a type for elements."""
        raise NotImplementedError

    def _leaves(self, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
        """Give the arrays with their paths, by name."""
        taker = type(self).__name__
        if not isinstance(value, Mapping):
            array = as_array(value, taker)
            if not self._has_type(array.dtype):
                raise InvalidInputError(f"{taker} has no type for {path or 'an array'} of {array.dtype}")
            yield path, array
            return
        for name in sorted(value, key=str):
            if not isinstance(name, str) or not name or "/" in name or "\0" in name or name in (".", ".."):
                raise InvalidInputError(f"{taker} names arrays by text without a slash, not by {name!r}")
            yield from self._leaves(value[name], f"{path}/{name}")

    def content(self, value: Any) -> str | None:
        """Give the digest of an array or of a mapping of arrays.

        Parameters
        ----------
        value : array or mapping
            What it takes.

        Returns
        -------
        str
            Of names, dtypes, shapes and elements, in whatever order the mapping has them.

        Raises
        ------
        InvalidInputError
            If it takes no such value.
        """
        taker = type(self).__name__
        found = {path: array_content(array, taker) for path, array in self._leaves(value)}
        return found[""] if "" in found else content_of_value(encode_canonical(found)).digest


def _tree(leaves: Mapping[str, Any]) -> Any:
    """Put arrays at paths together to mappings again."""
    if set(leaves) == {""}:
        return leaves[""]
    whole: dict[str, Any] = {}
    for path, array in leaves.items():
        *folders, name = path.strip("/").split("/")
        inner = whole
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = array
    return whole


#: The name of an array that is alone in its file.
_ALONE = "data"


@dataclass(frozen=True, slots=True)
class Hdf5(_Trees):
    """An array, or a mapping of names to arrays (and to further mappings, as groups), as HDF5.

    The file is made in memory. Each dataset has Fletcher's check sum. A mapping without any array in it is not kept.

    Parameters
    ----------
    compression : int or None
        Of gzip, 1 to 9.
    """

    compression: int | None = None

    @property
    def suffix(self) -> str:
        """``.h5``."""
        return ".h5"

    @property
    def media_type(self) -> str:
        """``application/x-hdf5``."""
        return "application/x-hdf5"

    def ready(self) -> None:
        """Load h5py.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        package("h5py", "HDF5 files")

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write arrays.

        Parameters
        ----------
        value : array or mapping
            What has ``__array__``, or names of such.
        file : binary file
            Takes them.

        Raises
        ------
        InvalidInputError
            If it is neither, or HDF5 has no type for it.
        """
        leaves = dict(self._leaves(value))
        h5py = package("h5py", "HDF5 files")
        # Made in memory: where HDF5 itself meets a full disk, its objects fail once more when they are given up.
        with h5py.File("x", "w", driver="core", backing_store=False, libver="v108", track_order=False) as opened:
            opened.attrs["alone"] = "" in leaves
            for path, array in leaves.items():
                filters = {"compression": self.compression, "fletcher32": True} if array.size and array.ndim else {}
                opened.create_dataset(path or _ALONE, data=array, track_times=False, **filters)
            opened.flush()
            file.write(opened.id.get_file_image())

    def _has_type(self, dtype: Any) -> bool:
        try:
            package("h5py", "HDF5 files").h5t.py_create(dtype, logical=True)
        except TypeError:
            return False
        return True

    def read(self, file: BinaryIO) -> Any:
        """Read arrays.

        Parameters
        ----------
        file : binary file
            Holds them.

        Returns
        -------
        ndarray or dict
            As it was written; of another file a mapping.

        Raises
        ------
        OSError
            If it is no HDF5 file, or a check sum is wrong.
        """
        h5py = package("h5py", "HDF5 files")
        leaves: dict[str, Any] = {}

        def take(name: str, found: Any) -> None:
            if isinstance(found, h5py.Dataset):
                leaves[name] = found[()] if found.ndim else package("numpy", "arrays").asarray(found[()])

        with h5py.File(file, "r") as opened:
            opened.visititems(take)
            alone = bool(opened.attrs.get("alone", False))
        return leaves[_ALONE] if alone else _tree(leaves)


@dataclass(frozen=True, slots=True)
class Zarr(_Trees):
    """An array, or a mapping of names to arrays (and to further mappings, as groups), as Zarr in one ZIP file.

    The file is made in memory. One file has one digest; ``zarr.open("x.zarr.zip")`` reads it too.

    Parameters
    ----------
    chunks : tuple of int, or None
        Lengths of a chunk; by default Zarr's own.
    """

    chunks: tuple[int, ...] | None = None

    @property
    def suffix(self) -> str:
        """``.zarr.zip``."""
        return ".zarr.zip"

    @property
    def media_type(self) -> str:
        """``application/zip``."""
        return "application/zip"

    def ready(self) -> None:
        """Load Zarr.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        package("zarr", "Zarr files")

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write arrays.

        Parameters
        ----------
        value : array or mapping
            What has ``__array__``, or names of such.
        file : binary file
            Takes them.

        Raises
        ------
        InvalidInputError
            If it is neither, or of other elements than numbers.
        """
        import zipfile

        zarr = package("zarr", "Zarr files")
        held: dict[str, Any] = {}
        store = zarr.storage.MemoryStore(held)
        leaves = dict(self._leaves(value))
        if "" not in leaves:
            zarr.create_group(store)
        for path, array in leaves.items():
            zarr.create_array(store, name=path.strip("/") or None, data=array, chunks=self.chunks or "auto")
        # By names, and without times: equal arrays give equal bytes.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(held):
                archive.writestr(zipfile.ZipInfo(name), held[name].to_bytes())

    def _has_type(self, dtype: Any) -> bool:
        # Text and records have no settled type there yet.
        return dtype.kind in "biufc"

    def read(self, file: BinaryIO) -> Any:
        """Read arrays.

        Parameters
        ----------
        file : binary file
            Holds them.

        Returns
        -------
        ndarray or dict
            As it was written.

        Raises
        ------
        ValueError
            If it is no such file.
        """
        import zipfile

        zarr = package("zarr", "Zarr files")
        buffers = package("zarr.core.buffer.cpu", "Zarr files")
        try:
            with zipfile.ZipFile(file) as archive:
                held = {name: buffers.Buffer.from_bytes(archive.read(name)) for name in archive.namelist()}
        except zipfile.BadZipFile as error:
            raise ValueError(f"not a Zarr file: {error}") from error
        opened = zarr.open(zarr.storage.MemoryStore(held), mode="r")
        if isinstance(opened, zarr.Array):
            return package("numpy", "arrays").asarray(opened[...])
        return _tree(dict(_arrays_below(zarr, opened)))


def _arrays_below(zarr: Any, group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    numpy = package("numpy", "arrays")
    for name, found in group.members():
        if isinstance(found, zarr.Array):
            yield f"{path}/{name}", numpy.asarray(found[...])
        else:
            yield from _arrays_below(zarr, found, f"{path}/{name}")
