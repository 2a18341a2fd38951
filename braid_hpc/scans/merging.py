"""Events of several scans as one table, and a stream as several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.scans.aligning import _refuse_inexact
from braid_hpc.scans.derived import NUMBER, Batched, Derived, inner_names
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    from braid_hpc.queries.tree import Query
    from braid_hpc.scans.scan import Scan
    from braid_hpc.scans.stream_table import StreamTable

__all__ = ["merge", "merge_tables", "split"]


def merge(scans: Iterable[Scan], stream: str = "primary", *, columns: Iterable[str] | None = None) -> Derived:
    """Make one table of the events of a stream of several scans, ordered by time.

    Parameters
    ----------
    scans : iterable of Scan
        Each once; those without the stream have no rows.
    stream : str
        Its name.
    columns : iterable of str, optional
        Which columns, as for ``scan.table``; without it all that any of them has.

    Returns
    -------
    Derived
        ``scan``, the uid, then the columns; null where a scan has no such column.

    Raises
    ------
    InvalidInputError
        If no scan has the stream, or a column is of different types or units in two of them.

    Examples
    --------
    >>> merge([], "primary")
    Traceback (most recent call last):
    braid_hpc.vocabulary.errors.InvalidInputError: none of 0 scans has a stream 'primary'
    """
    given = {scan.uid: scan for scan in scans}
    wanted = None if columns is None else list(columns)
    tables: dict[str, Batched] = {
        uid: scan.table(stream, columns=wanted) for uid, scan in given.items() if stream in scan.streams
    }
    if not tables:
        raise InvalidInputError(f"none of {len(given)} scans has a stream {stream!r:.80}")
    return merge_tables(tables)


def merge_tables(tables: Mapping[str, Batched], *, label: str = "scan", on: str = "time") -> Derived:
    """Make one table of several, ordered by a column that all of them have.

    Parameters
    ----------
    tables : mapping of str to Batched
        By what their rows are labelled with.
    label : str
        What the column is called that says of each row which table it is of.
    on : str
        The column that orders rows; among equal ones, and where it is missing or NaN, they come as the tables have
        them, the last ones at the end.

    Returns
    -------
    Derived
        The label, then all columns; null where a table has no such column.

    Raises
    ------
    InvalidInputError
        If a column is of different types or units in two of them, one has no column to order by, or has one that is
        called as the label.
    """
    about: dict[str, dict[bytes, bytes] | None] = {}
    kinds: dict[str, dict[str, list[str]]] = {}
    units: dict[str, dict[bytes, str]] = {}
    for name, table in tables.items():
        for wrong in (each for each in (on,) if each not in table.schema.names):
            raise InvalidInputError(f"{name} has no column {wrong!r:.80} to order by")
        if label in table.schema.names:
            raise InvalidInputError(f"{name} has a column {label!r:.80}: call the label of tables otherwise")
        for field in table.schema:
            about.setdefault(field.name, field.metadata)
            kinds.setdefault(field.name, {}).setdefault(_kind(field.type), []).append(name)
            unit = (field.metadata or {}).get(b"unit")
            if unit is not None:
                units.setdefault(field.name, {}).setdefault(unit, name)
    _refuse_mixtures(tables, kinds, units)
    parts, sources, values = [], {}, {}
    united = {column: f"u{at}" for at, column in enumerate(about)}
    for at, (name, table) in enumerate(tables.items()):
        sources[f"tbl{at}"] = table
        values[f"name{at}"] = name
        # Integers beside floats of 32 bits would become such.
        listed = "".join(
            f"{inner}{'::double' if len(kinds[column]) > 1 else ''} as {united[column]}, "
            for column, inner in inner_names(table.schema).items()
        )
        parts.append(f"select $name{at}::varchar as label, {at} as _table, {listed}{quoted(NUMBER)} from tbl{at}")
    query = (
        f"select label, {', '.join(united.values())} from ({' union all by name '.join(parts)}) "
        f"order by {united[on]} nulls last, _table, {quoted(NUMBER)}"
    )
    return Derived(sources, query, [label, *about], values, about=about)


def _refuse_mixtures(
    tables: Mapping[str, Batched], kinds: dict[str, dict[str, list[str]]], units: dict[str, dict[bytes, str]]
) -> None:
    """Refuse columns of which one table says something else than another."""
    for column, mine in kinds.items():
        if len(mine) > 1 and mine.keys() != {"integers", "floats"}:
            (one, first), (other, second), *_ = mine.items()
            raise InvalidInputError(
                f"column {column!r:.80} holds {one} in {first[0]} and {other} in {second[0]}: name the columns to merge"
            )
        if len(mine) > 1:
            for name in mine["integers"]:
                _refuse_inexact(tables[name], column, name)
    for column, said in units.items():
        if len(said) > 1:
            (one_unit, one_table), (other_unit, other_table), *_ = said.items()
            raise InvalidInputError(
                f"column {column!r:.80} is in {one_unit.decode()} in {one_table} and in {other_unit.decode()} "
                f"in {other_table}: merge them apart"
            )


def _kind(kind: Any) -> str:
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return "integers"
    if pa.types.is_floating(kind):
        return "floats"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)


def split(
    scan: Scan,
    stream: str,
    parts: Mapping[str, Query | str | slice | range],
    *,
    rest: str | None = None,
    whole: bool = False,
) -> dict[str, StreamTable]:
    """Make several views of a stream.

    Parameters
    ----------
    scan : Scan
        Whose stream it is.
    stream : str
        Its name.
    parts : mapping of str to Query, str, slice or range
        By name, which events: a search in which names are columns, or which of the events, counted from 0:
        ``{"odd": slice(0, None, 2), "even": slice(1, None, 2)}``.
    rest : str, optional
        The name of one more view, of the events that no search finds.
    whole : bool
        Whether it is checked that each event is in exactly one of the views.

    Returns
    -------
    dict of str to StreamTable
        The views, which are read when they are used.

    Raises
    ------
    NotFoundError
        If there is no such stream.
    InvalidInputError
        If something is no search, a rest is asked for beside slices, or, with `whole`, events are in two views or in
        none.
    """
    from braid_hpc.scans.conditions import parsed

    views: dict[str, StreamTable] = {}
    searches = []
    for name, part in parts.items():
        if isinstance(part, (slice, range)):
            views[name] = scan.table(stream, rows=part)
        else:
            searches.append(parsed(part))
            views[name] = scan.table(stream, where=searches[-1])
    if rest is not None:
        if rest in views or len(searches) < len(views):
            raise InvalidInputError(f"a rest is what no search finds: {rest!r:.80} stands beside slices, or twice")
        others: Query | None = None
        for search in searches:
            others = ~search if others is None else others & ~search
        views[rest] = scan.table(stream, where=others)
    if whole:
        _refuse_overlaps(scan, stream, views)
    return views


def _refuse_overlaps(scan: Scan, stream: str, views: Mapping[str, StreamTable]) -> None:
    """Refuse views of which an event is in two or in none."""
    import numpy as np

    def numbers(**chosen: Any) -> Any:
        table = scan.table(stream, columns=["seq_num"], **chosen).to_arrow()
        return table.column(0).to_numpy()

    every = numbers()
    found = [view.to_arrow().column("seq_num").to_numpy() for view in views.values()]
    together, counts = np.unique(np.concatenate([*found, every[:0]]), return_counts=True)
    twice = together[counts > 1]
    if len(twice):
        names = [name for name, mine in zip(views, found, strict=True) if twice[0] in mine]
        raise InvalidInputError(f"{len(twice)} events are in two views, seq_num {twice[0]} in {' and '.join(names)}")
    none = np.setdiff1d(every, together)
    if len(none):
        raise InvalidInputError(f"{len(none)} events are in no view, the first is seq_num {none[0]}: name a rest=")
