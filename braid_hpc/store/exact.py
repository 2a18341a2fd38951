"""Rows of statements of ours, without Arrow, and with times to the nanosecond."""

from __future__ import annotations

from typing import Any

from braid_hpc.vocabulary.times import Moment

__all__ = ["rows_of"]

#: Statements by which times come as numbers, and which of their columns those are; by the statement without.
_EXACT: dict[str, tuple[str, frozenset[str]]] = {}


def rows_of(connection: Any, query: str, parameters: Any = None) -> list[dict[str, Any]]:
    """Return the rows of a statement.

    Arrow has the nanoseconds too, but takes longer to import than a question to answer.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    query : str
        One of a few: what is known of it is kept.
    parameters : sequence or mapping, optional
        Its values.

    Returns
    -------
    list of dict
        By column; times are :class:`~braid_hpc.vocabulary.times.Moment`.
    """
    if query not in _EXACT:
        kinds = {name: str(kind) for name, kind, *_ in connection.execute(query, parameters).description}
        times = [name for name, kind in kinds.items() if kind == "TIMESTAMP_NS"]
        counts = ", ".join(f'epoch_ns("{name}") as "{name}"' for name in times)
        # DuckDB gives datetimes of microseconds.
        _EXACT[query] = f"select * replace ({counts}) from ({query})" if times else query, frozenset(times)
    statement, moments = _EXACT[query]
    found = connection.execute(statement, parameters)
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    for name in moments:
        for row in rows:
            row[name] = None if row[name] is None else Moment.of(row[name])
    return rows
