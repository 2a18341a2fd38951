"""A connection to a store that somebody else may have made: what its views do wrong is said as of the store."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from braid_hpc.snapshots.answering import REFUSED, answering, unlike
from braid_hpc.vocabulary.errors import InvalidInputError, ReadOnlyError

__all__ = ["Guarded", "check_reading", "guarded", "refusal"]

T = TypeVar("T")

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
            raise unlike(self._path, error) from error

    def __getattr__(self, name: str) -> Any:
        """Return what else the connection has."""
        return getattr(self._connection, name)


def guarded(kind: type[T]) -> type[T]:
    """Let each question to a handle be answered by one thread at a time, and with errors of this package.

    Parameters
    ----------
    kind : type
        A handle, with ``path`` and ``_asking``, a lock that a thread may take several times. ``sql`` is a question in a
        caller's words, so that what is wrong with it is the caller's.

    Returns
    -------
    type
        The same.
    """
    for name, value in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            setattr(kind, name, _waiting(value) if name == "sql" else _question(value))
    return kind


def _waiting(ask: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(ask)
    def wait(self: Any, *given: Any, **named: Any) -> T:
        # Its connection has one answer at a time: of two threads, one would get the rows of the other.
        with self._asking:
            return ask(self, *given, **named)

    return wait


def _question(ask: Callable[..., T]) -> Callable[..., T]:
    shape = inspect.signature(ask)

    @functools.wraps(ask)
    def question(self: Any, *given: Any, **named: Any) -> T:
        # Arguments that a question does not have are the caller's mistake.
        shape.bind(self, *given, **named)
        with self._asking, answering(self.path):
            return ask(self, *given, **named)

    return question


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
    # A value that DuckDB does not take is a caller's, whoever wrote the statement.
    setattr(found, REFUSED, "Python Conversion Failure" not in first and "transform python value" not in first)
    for line in rest:
        if line.strip():
            found.add_note(line)
    return found


def check_reading(statements: Sequence[Any]) -> None:
    """See that a caller's query is one statement that reads.

    Parameters
    ----------
    statements : sequence of duckdb.Statement
        What DuckDB takes it for.

    Raises
    ------
    InvalidInputError
        If there are several.
    ReadOnlyError
        If it does something else than read.
    """
    if len(statements) > 1:
        # DuckDB would do them all, and answer with the rows of the last one.
        raise InvalidInputError(f"these are {len(statements)} statements, and each has an answer: ask one at a time")
    for statement in statements:
        kind = statement.type.name
        if kind in ("CALL", "PRAGMA") and "checkpoint" in statement.query.lower():
            # To DuckDB it is the call of a function, which there is nothing to do for: its answer would say otherwise.
            kind = "CHECKPOINT"
        if kind not in _READING:
            raise ReadOnlyError(f"a store is only read: {kind} is no statement that reads, ask with select")
