"""What a serializer is, and which one belongs to a file's ending."""

from __future__ import annotations

from typing import Any, BinaryIO, Protocol, runtime_checkable

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Serializer", "serializer_for"]


@runtime_checkable
class Serializer(Protocol):
    """Writes values of some kind into a file, and reads them back.

    One's own are welcome: :class:`braid_hpc.results.testing.SerializerContract` has the tests of what is said here.
    A serializer holds no open file and can be pickled. Where it needs a package, a method ``ready()`` says so before
    a task runs, by raising :class:`~braid_hpc.vocabulary.errors.MissingExtraError`.
    """

    @property
    def suffix(self) -> str:
        """How names of its files end, for instance ``.npy``."""
        ...

    @property
    def media_type(self) -> str:
        """What kind of file it is, for instance ``image/png``."""
        ...

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write a value.

        Parameters
        ----------
        value : object
            Of the kind that it takes.
        file : binary file
            Empty, open for writing, reading and seeking; it has no ``fileno``.

        Raises
        ------
        InvalidInputError
            If the value is not of that kind, or would not come back as it is.
        """
        ...

    def read(self, file: BinaryIO) -> Any:
        """Read a value.

        Parameters
        ----------
        file : binary file
            Open for reading and seeking, at its beginning; it is closed afterwards, so the value must not need it.

        Returns
        -------
        object
            Equal to what was written.
        """
        ...

    def content(self, value: Any) -> str | None:
        """Give the digest of a value: the same for what was written and what is read.

        Parameters
        ----------
        value : object
            Of the kind that it takes.

        Returns
        -------
        str or None
            ``"blake3:<hex>"``; None if that cannot be said.

        Raises
        ------
        InvalidInputError
            If the value is not of that kind.
        """
        ...


#: Endings, and the module and class that they belong to. Longer ones come first.
_ENDINGS = {
    ".ome.tiff": ("images", "OmeTiff"),
    ".ome.tif": ("images", "OmeTiff"),
    ".zarr.zip": ("arrays", "Zarr"),
    ".parquet": ("tables", "Parquet"),
    ".hdf5": ("arrays", "Hdf5"),
    ".json": ("texts", "Json"),
    ".npy": ("arrays", "Npy"),
    ".png": ("images", "Png"),
    ".txt": ("texts", "Text"),
    ".bin": ("texts", "Raw"),
    ".h5": ("arrays", "Hdf5"),
}


def serializer_for(path: str) -> Serializer:
    """Give the serializer that belongs to a file's ending.

    Parameters
    ----------
    path : str
        Name of the file.

    Returns
    -------
    Serializer
        With its defaults.

    Raises
    ------
    InvalidInputError
        If none belongs to it.

    Examples
    --------
    >>> serializer_for("cells/3.npy")
    Npy()
    """
    from importlib import import_module

    for ending, (module, name) in _ENDINGS.items():
        if path.lower().endswith(ending):
            made: Serializer = getattr(import_module(f"braid_hpc.results.{module}"), name)()
            return made
    raise InvalidInputError(
        f"no serializer belongs to the ending of {path!r}: give serializer=, or one of {', '.join(_ENDINGS)}"
    )
