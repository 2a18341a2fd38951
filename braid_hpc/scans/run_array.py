"""A column of a stream of a program as an array that is read when it is used."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from braid_hpc.scans.packages import needed
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np

    from braid_hpc.scans.program_run import RunTable

__all__ = ["RunArray", "column_values"]

#: Rows of a chunk.
ROWS = 1 << 18


class RunArray:
    """The values of one column, by rank, writer and number; ``numpy.asarray`` reads all of it, a slice reads a part.

    Parameters
    ----------
    table : RunTable
        Of this column alone.

    Raises
    ------
    InvalidInputError
        If its values are no numbers, texts, truth values or times.
    """

    ndim = 1

    def __init__(self, table: RunTable) -> None:
        import pyarrow as pa

        self._table = table
        (field,) = table.schema
        self.key = str(field.name)
        self.unit: str | None = (field.metadata or {}).get(b"unit", b"").decode() or None
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise InvalidInputError(f"the values of {self.key!r} are of type {field.type}: read them as a table")

    @functools.cached_property
    def shape(self) -> tuple[int]:
        """Number of rows."""
        return (self._table.count(),)

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements: float64 for integers of which some are missing."""
        found: np.dtype[Any] = self._read(slice(None)).dtype if self._missing_or_text else self._read(slice(0, 1)).dtype
        return found

    @functools.cached_property
    def _missing_or_text(self) -> bool:
        """Whether the type follows from all values, and not from the column's alone."""
        import pyarrow as pa

        if pa.types.is_string(self._table.schema.field(0).type):
            return True
        return any(batch.column(0).null_count for batch in self._table.batches(ROWS))

    @property
    def chunks(self) -> tuple[tuple[int, ...]]:
        """Lengths of the parts that are read at once."""
        (count,) = self.shape
        return (tuple(min(ROWS, count - at) for at in range(0, count, ROWS)) or (0,),)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Read all of it."""
        found = self._read(slice(None))
        return found if dtype is None else found.astype(dtype)

    def __getitem__(self, index: Any) -> Any:
        """Read a part: an int, a slice, or anything that an array of NumPy takes.

        Raises
        ------
        IndexError
            If there is no such row.
        """
        import numpy as np

        (only,) = index if isinstance(index, tuple) and len(index) == 1 else (index,)
        if isinstance(only, slice) and (only.step is None or only.step > 0):
            exact = range(len(self))[only]
            return self._read(slice(exact.start, max(exact.start, exact.stop), exact.step)).astype(self.dtype)
        if isinstance(only, (int, np.integer)) and not isinstance(only, bool):
            at = range(len(self))[int(only)]
            return self._read(slice(at, at + 1)).astype(self.dtype)[0]
        return self._read(slice(None))[index]

    def _read(self, rows: slice) -> Any:
        return column_values(self._table.chosen(rows).to_arrow().column(0))

    def to_dask(self) -> Any:
        """Return a dask array over the same chunks.

        Returns
        -------
        dask.array.Array
            Each chunk is read when it is computed.

        Raises
        ------
        MissingExtraError
            If dask is not installed.
        """
        import numpy as np

        return needed("dask.array").from_array(self, chunks=self.chunks, meta=np.zeros((0,), self.dtype), lock=True)

    def __repr__(self) -> str:
        """Say what it is."""
        return f"<RunArray {self._table.name}/{self.key} {self.shape} {self.dtype}>"


def column_values(column: Any) -> Any:
    """Return a column as an array of NumPy.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Of numbers, texts, truth values, times, or anything else.

    Returns
    -------
    numpy.ndarray
        Shape (rows,): float64 for integers of which some are missing, texts of one length, and objects where no other
        type holds all values.
    """
    import numpy as np
    import pyarrow as pa

    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_string(array.type) and not array.null_count:
        return np.array(array.to_pylist(), dtype="U") if len(array) else np.zeros(0, "<U1")
    return array.to_numpy(zero_copy_only=False)
