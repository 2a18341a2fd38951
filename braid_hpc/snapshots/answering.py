"""What a store does wrong that somebody else made: one error, whatever it is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, StorageError

__all__ = ["REFUSED", "answering", "unlike"]

#: What Python raises where a value is missing, or is none that a store has.
_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, struct.error)

#: The attribute of an error that says a statement was refused by DuckDB, for whatever reason.
REFUSED = "refused_by_duckdb"


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """Ask a store of ours: what its tables, views and macros do wrong is said as of the store.

    Its file may be anybody's: columns may be missing, values null, numbers without meaning, and views SQL that fails.

    Parameters
    ----------
    path : Path
        What the store is called, for messages.

    Yields
    ------
    None
        For the time of the question.

    Raises
    ------
    StorageError
        If the store does not answer as a store does.
    """
    import duckdb

    try:
        yield
    except InvalidInputError as error:
        if getattr(error, REFUSED, False):
            raise unlike(path, error.__cause__ or error) from error
        raise
    except BraidError:
        raise
    except (*_UNFIT, duckdb.Error) as error:
        raise unlike(path, error) from error


def unlike(path: Path, error: BaseException) -> StorageError:
    """Return the error for a store that does not answer as one.

    Parameters
    ----------
    path : Path
        What the store is called.
    error : BaseException
        What it led to.

    Returns
    -------
    StorageError
        Of one line.
    """
    first = (str(error).splitlines() or [""])[0]
    # DuckDB says itself of which kind its errors are.
    kind = "" if type(error).__module__.startswith(("duckdb", "_duckdb")) else f"{type(error).__name__}: "
    return StorageError(f"{path} does not answer as a store does: {kind}{first:.300}")
