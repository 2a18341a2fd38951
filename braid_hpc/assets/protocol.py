"""What reads files of detectors: two Protocols, each with a contract test class in :mod:`braid_hpc.assets.testing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Handler", "RowReader"]


@runtime_checkable
class Handler(Protocol):
    """What reads the datums of one resource; made by ``handler(path, **resource_kwargs)``.

    Classes that were written for databroker are such handlers as they are. Two further methods are used where a
    handler has them: ``get_file_list(datum_kwargs)``, which takes an iterable of mappings and returns paths, and
    ``close()``.
    """

    def __call__(self, **datum_kwargs: Any) -> Any:
        """Read one datum.

        Parameters
        ----------
        **datum_kwargs : object
            Of the datum.

        Returns
        -------
        object
            Mostly an array.
        """
        ...


@runtime_checkable
class RowReader(Protocol):
    """What reads a stream resource as an array whose rows follow each other; made by ``reader(path, **parameters)``.

    Attributes
    ----------
    dtype : numpy.dtype
        Of its elements.
    row_shape : tuple of int
        Of one row.
    chunk_rows : int
        How many rows are best read together, at least 1.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """What its elements are."""
        ...

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        ...

    @property
    def chunk_rows(self) -> int:
        """How many rows are best read together, at least 1."""
        ...

    def read(self, first: int, stop: int, inner: tuple[slice, ...] = ()) -> Any:
        """Read rows.

        Parameters
        ----------
        first, stop : int
            Rows ``first`` to ``stop - 1``; never negative.
        inner : tuple of slice
            What is wanted of each row: for each of its first axes a slice with a start and a stop within it, and
            without a step.

        Returns
        -------
        numpy.ndarray
            Of ``stop - first`` rows.

        Raises
        ------
        InvalidInputError
            If there are fewer rows.
        StorageError
            If the file cannot be read, or is damaged.
        """
        ...

    def files(self, first: int, stop: int) -> list[str]:
        """Return which files hold some rows.

        Parameters
        ----------
        first, stop : int
            As for :meth:`read`.

        Returns
        -------
        list of str
            Paths, whether they are there or not.
        """
        ...

    def close(self) -> None:
        """Let go of what it has open."""
        ...
