"""From rows of streams back to the events of an instrument, word for word."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.store.guarded import refusal
from braid_hpc.vocabulary.event_rows import (
    HEAD,
    ORPHANS,
    REST_CHANGED,
    REST_DATA,
    REST_KEYS,
    REST_LACKING,
    REST_TIMES,
    REST_WHOLE_DATA,
    REST_WHOLE_TIMES,
    key_of,
    written_keys,
)
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.verbatim import decode_words, encode_words

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["THEN", "EventTable", "canonical", "each_once", "event_tables", "order_of", "read_events"]

#: Rows that are read at once.
ROWS_AT_ONCE = 10_000

#: What holds of the rows of a stream at a moment, by the parameters ``$at`` and ``$as_of``.
THEN = "_snapshot <= $at and epoch_ns(_time) <= $as_of"

Order = tuple[float, int, str]


class EventTable:
    """One table of events in a store.

    Parameters
    ----------
    place : str
        Its name in SQL.
    columns : list of str
        Of it.
    """

    def __init__(self, place: str, columns: list[str]) -> None:
        self.place = place
        found = [(column, key_of(column)) for column in columns]
        self.values = [(column, about[1]) for column, about in found if about is not None and not about[0]]
        self.times = [(column, about[1]) for column, about in found if about is not None and about[0]]

    def rows(self, connection: Any, descriptors: list[str], then: dict[str, int]) -> Iterator[dict[str, Any]]:
        """Yield the rows of some descriptors, ordered by time, number and uid.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            Open on the store, for this alone; it is closed at the end.
        descriptors : list of str
            Uids.
        then : dict of str to int
            The moment: ``at`` and ``as_of``.

        Yields
        ------
        dict
            Column to value; every column of the table, those of other events as None.

        Raises
        ------
        InvalidInputError
            If the store was closed meanwhile.
        """
        import duckdb

        query = (
            f"select * exclude (_run, _rank, _writer, _row, _time, _snapshot) from {self.place} "
            f"where descriptor in (select unnest($descriptors::varchar[])) and {THEN} "
            "order by time nulls first, seq_num nulls first, uid nulls first"
        )
        try:
            for batch in connection.sql(query, params={"descriptors": descriptors, **then}).to_arrow_reader(
                ROWS_AT_ONCE
            ):
                yield from batch.to_pylist()
        except duckdb.Error as error:
            raise refusal(error) from error
        finally:
            connection.close()

    def event(self, row: dict[str, Any], described: dict[str, dict[str, str]]) -> dict[str, Any]:
        """Return the event that a row holds.

        Parameters
        ----------
        row : dict
            From :meth:`rows`.
        described : dict of str to dict
            How data keys are written, by descriptor.

        Returns
        -------
        dict
            The document.
        """
        rest = decode_words(row["rest"]) if row["rest"] else {}
        written = {**described.get(row["descriptor"], {}), **written_keys(rest.get(REST_KEYS, ()))}
        document: dict[str, Any] = {member: row[member] for member in HEAD if member != "rest"}
        for member, columns, over, wholes in (
            ("data", self.values, REST_DATA, REST_WHOLE_DATA),
            ("timestamps", self.times, REST_TIMES, REST_WHOLE_TIMES),
        ):
            found: dict[Any, Any] = {}
            for column, key in columns:
                value = row[column]
                if value is not None:
                    lower = key.lower()
                    found[written.get(lower, lower)] = decode_words(value) if type(value) is bytes else value
            for key in rest.get(wholes, ()):
                found[key] = int(found[key])
            found.update(rest.get(over, ()))
            document[member] = found
        document["filled"] = {}
        document.update(rest.get(REST_CHANGED, ()))
        for member in rest.get(REST_LACKING, ()):
            document.pop(member, None)
        return document


def event_tables(store: Opened) -> list[EventTable]:
    """Return the tables of events of a store.

    Parameters
    ----------
    store : Opened
        Open.

    Returns
    -------
    list of EventTable
        In order of their names.
    """
    rows = store.sql(
        "select c.table_name as place, list(c.column_name order by c.ordinal_position) as columns "
        "from information_schema.columns c "
        "where c.table_schema = 'stream' and c.table_name in (select place from streams where starts_with(stream, ?)) "
        "group by c.table_name order by c.table_name",
        [ORPHANS],
    )
    tables = []
    for row in rows:
        # A stream that somebody else called so has other columns.
        if {*HEAD, "_snapshot"}.issubset(row["columns"]):
            place = 'stream."' + row["place"].replace('"', '""') + '"'
            own = [name for name in row["columns"] if not name.startswith("_")]
            tables.append(EventTable(place, own))
    return tables


def order_of(document: dict[str, Any]) -> Order:
    """Return where an event stands among others: by time, number, and uid.

    Parameters
    ----------
    document : dict
        The event, or a row of one.

    Returns
    -------
    tuple
        Comparable with others.
    """
    time, number, uid = (document.get(member) for member in ("time", "seq_num", "uid"))
    good = type(time) in (int, float)
    return (
        -math.inf if not good else (math.inf if time != time else float(time)),  # type: ignore[arg-type]
        number if type(number) is int else -(1 << 63) - 1,
        uid if type(uid) is str else "",
    )


def canonical(document: Any) -> bytes:
    """Return bytes that are equal for equal documents, whatever the order of their members.

    Parameters
    ----------
    document : object
        It.

    Returns
    -------
    bytes
        MessagePack.
    """
    return encode_words(_sorted(document), 1 << 62)[0]


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (type(key).__name__, repr(key)))}
    if type(value) in (list, tuple):
        return type(value)(map(_sorted, value))
    return value


def read_events(
    connection: Any,
    tables: list[EventTable],
    others: list[dict[str, Any]],
    described: dict[str, dict[str, str]],
    then: dict[str, int],
) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the events of some descriptors, each once, ordered by time, number and uid.

    Parameters
    ----------
    connection : callable
        Makes a connection to the store; each table is read through one of its own.
    tables : list of EventTable
        Of the store.
    others : list of dict
        Events that do not stand in tables.
    described : dict of str to dict
        How data keys are written, by descriptor; these are the descriptors.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Yields
    ------
    document : dict
        The event.
    variants : int
        How many different ones have its uid; of these the first by their canonical bytes is yielded.
    """
    ways = [_way(table, table.rows(connection(), [clean(uid) for uid in described], then)) for table in tables]
    loose = sorted(((order_of(event), None, event) for event in others), key=lambda item: item[0])
    group: list[Any] = []
    last: Order | None = None
    for order, table, row in heapq.merge(*ways, loose, key=lambda item: item[0]):
        if order != last and group:
            yield from each_once(group, described)
            group = []
        last = order
        group.append((table, row))
    yield from each_once(group, described)


def _way(table: EventTable, rows: Iterator[dict[str, Any]]) -> Iterator[Any]:
    for row in rows:
        yield order_of(row), table, row


def each_once(group: list[Any], described: dict[str, dict[str, str]]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the different events among those of one time, number and uid: one for each uid.

    Parameters
    ----------
    group : list of (EventTable or None, dict)
        Rows with their tables, and documents that stand in none.
    described : dict of str to dict
        How data keys are written, by descriptor.

    Yields
    ------
    document : dict
        The event.
    variants : int
        How many different ones have its uid; of these the first by their canonical bytes is yielded.
    """
    made = [row if table is None else table.event(row, described) for table, row in group]
    if len(made) == 1:
        yield made[0], 1
        return
    found: dict[bytes, dict[str, Any]] = {}
    for event in made:
        found.setdefault(canonical(event), event)
    uids: dict[Any, list[bytes]] = {}
    for form in sorted(found):
        uid = found[form].get("uid")
        uids.setdefault(uid if type(uid) is str else form, []).append(form)
    for forms in uids.values():
        yield found[forms[0]], len(forms)
