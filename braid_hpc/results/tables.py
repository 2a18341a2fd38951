"""Tables in files: Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from braid_hpc.results.packages import package
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Parquet"]


@dataclass(frozen=True, slots=True)
class Parquet:
    """Tables as Parquet; they come back as tables of pyarrow.

    Those of pyarrow, polars, pandas and DuckDB are taken, and mappings of names to columns.

    Parameters
    ----------
    compression : str
        ``zstd``, ``snappy`` or ``none``.
    """

    compression: str = "zstd"

    @property
    def suffix(self) -> str:
        """``.parquet``."""
        return ".parquet"

    @property
    def media_type(self) -> str:
        """``application/vnd.apache.parquet``."""
        return "application/vnd.apache.parquet"

    def ready(self) -> None:
        """Load pyarrow.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        package("pyarrow.parquet", "Parquet files")

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write a table.

        Parameters
        ----------
        value : table
            With ``__arrow_c_stream__``, or a mapping of names to columns.
        file : binary file
            Takes it.

        Raises
        ------
        InvalidInputError
            If it is no table.
        """
        pyarrow = package("pyarrow", "Parquet files")
        table = self._table(value)
        try:
            package("pyarrow.parquet", "Parquet files").write_table(table, file, compression=self.compression)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
            raise InvalidInputError(f"Parquet has no place for this table: {error}") from error

    def read(self, file: BinaryIO) -> Any:
        """Read a table.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        pyarrow.Table
            With the columns and types that were written.

        Raises
        ------
        ValueError
            If it holds none.
        """
        return package("pyarrow.parquet", "Parquet files").read_table(file)

    def content(self, value: Any) -> str | None:
        """Return None: how an Arrow table lies in memory does not say whether two are equal.

        Parameters
        ----------
        value : table
            What it takes.

        Returns
        -------
        None
            Equal tables give equal bytes, so the digest of the file serves.

        Raises
        ------
        InvalidInputError
            If it is no table.
        """
        self._table(value)
        return None

    def _table(self, value: Any) -> Any:
        pyarrow = package("pyarrow", "Parquet files")
        try:
            if isinstance(value, Mapping):
                return pyarrow.table(dict(value))
            if hasattr(value, "__arrow_c_stream__"):
                # In one piece, whatever pieces it came in.
                return pyarrow.table(value).combine_chunks()
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, ValueError, TypeError) as error:
            raise InvalidInputError(f"Parquet cannot make a table of this {type(value).__name__}: {error}") from error
        raise InvalidInputError(f"Parquet writes tables and mappings of columns, not a {type(value).__name__}")
