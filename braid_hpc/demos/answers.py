"""What the reports of the demos share: the run they are about, its events, and questions with their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Rows", "answered", "has_stream", "heading", "latest", "rows", "spoken"]

Rows = list[Mapping[str, Any]]


def rows(store: Any, query: str, *values: object) -> Rows:
    """Ask in SQL.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    query : str
        With ``?`` for values.
    *values : object
        The values.

    Returns
    -------
    list of mapping
        A row each, by column.
    """
    found: Rows = store.sql(query, list(values)).to_pylist()
    return found


def latest(store: Any, job: str) -> str:
    """Give the run of a job that began last: a store may hold several.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    job : str
        Name of the job.

    Returns
    -------
    str
        Its id.

    Raises
    ------
    LookupError
        The store has none.
    """
    found = rows(store, "select run from runs where job = ? order by begin_time desc limit 1", job)
    if not found:
        raise LookupError(f"there is no run of {job} in this store")
    return str(found[0]["run"])


def heading(store: Any, run: str) -> str:
    """Say how many events of how many ranks a run left.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    run : str
        Id of the run.

    Returns
    -------
    str
        One line.
    """
    (found,) = rows(store, "select sum(events) as events, count(*) as ranks from ranks where run = ?", run)
    return f"{found['events'] or 0:,} events from {spoken(found['ranks'], 'rank')}"


def has_stream(store: Any, name: str) -> bool:
    """Say whether a stream has a table in the store, which a run that ended early may not have made.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    name : str
        Of the stream.

    Returns
    -------
    bool
        Whether rows of it were recorded.
    """
    query = "select 1 from information_schema.tables where table_schema = 'stream' and table_name = ?"
    return bool(rows(store, query, name))


def spoken(number: int, noun: str) -> str:
    """Give a number of things in words.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        One of them.

    Returns
    -------
    str
        For instance ``1 rank`` or ``4 ranks``.

    Examples
    --------
    >>> spoken(1, "rank"), spoken(4_000, "event")
    ('1 rank', '4,000 events')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def answered(question: str, lines: Iterable[str], *, missing: Sequence[Any] = ()) -> list[str]:
    """Set the answer below the question.

    Parameters
    ----------
    question : str
        As its scientist asks it.
    lines : iterable of str
        The answer.
    missing : sequence of Missing
        Logs without which the answer is not complete.

    Returns
    -------
    list of str
        Lines, the answer indented.
    """
    said = ["", question, *(f"  {line}" for line in lines)]
    if missing:
        said.append(f"  not complete: {spoken(len(missing), 'log')} without all that was recorded")
    return said
