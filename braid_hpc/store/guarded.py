"""A connection to a store that somebody else may have made: what its views do wrong is said as of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError, ReadOnlyError, StorageError

__all__ = ["Guarded", "check_reading", "refusal"]

#: Statements that read. DuckDB makes several of a ``pivot``.
_READING = frozenset(("SELECT", "EXPLAIN", "PRAGMA", "CALL", "MULTI"))


class Guarded:
    """A connection that raises errors of this package.

    A store's file holds views and macros, which run when they are asked. They are a stranger's: they may ask for a
    file, which is refused, lack a column, or fail in any other way.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    path : Path
        What the store is called, for messages.
    """

    def __init__(self, connection: Any, path: Path) -> None:
        self._connection = connection
        self._path = path

    def execute(self, query: str, parameters: Any = None) -> Any:
        """Do a statement of ours.

        Parameters
        ----------
        query : str
            SQL.
        parameters : sequence or mapping, optional
            Its values.

        Returns
        -------
        duckdb.DuckDBPyConnection
            With the rows.

        Raises
        ------
        StorageError
            If the store's tables, views or macros do not answer it.
        """
        import duckdb

        try:
            return self._connection.execute(query, parameters)
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise StorageError(f"{self._path} does not answer as a store does: {first}") from error

    def __getattr__(self, name: str) -> Any:
        """Return what else the connection has."""
        return getattr(self._connection, name)


def refusal(error: Exception) -> Exception:
    """Return the error for a statement of a caller that DuckDB refuses.

    Parameters
    ----------
    error : duckdb.Error
        DuckDB's.

    Returns
    -------
    ReadOnlyError or InvalidInputError
        Of one line; what DuckDB says beyond that, such as the place in the statement, are its notes.
    """
    first, *rest = str(error).splitlines() or [""]
    if any(word in first for word in ("read-only", "configuration has been locked", "disabled")):
        return ReadOnlyError(f"a store is only read: {first}")
    found = InvalidInputError(f"DuckDB refuses the query: {first}")
    for line in rest:
        if line.strip():
            found.add_note(line)
    return found


def check_reading(kinds: list[str]) -> None:
    """See that a caller's query is one statement that reads.

    Parameters
    ----------
    kinds : list of str
        What DuckDB calls its statements.

    Raises
    ------
    InvalidInputError
        If there are several.
    ReadOnlyError
        If it does something else than read.
    """
    if len(kinds) > 1:
        # DuckDB would do them all, and answer with the rows of the last one.
        raise InvalidInputError(f"these are {len(kinds)} statements, and each has an answer: ask one at a time")
    if kinds and kinds[0] not in _READING:
        raise ReadOnlyError(f"a store is only read: {kinds[0]} is no statement that reads, ask with select")
