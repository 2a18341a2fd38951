"""The events of one stream of a run: where they stand in the store, and what their values are."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from braid_hpc.scans.forms import DECLARED, Form, columns_for, form_of
from braid_hpc.scans.windows import Window, find_windows
from braid_hpc.snapshots.connect import READ
from braid_hpc.store.event_documents import THEN, EventTable, order_of
from braid_hpc.store.event_documents import each_once as _each_once
from braid_hpc.store.guarded import refusal
from braid_hpc.vocabulary.event_rows import (
    HEAD,
    REST_CHANGED,
    REST_DATA,
    REST_KEYS,
    REST_TIMES,
    REST_WHOLE_DATA,
    REST_WHOLE_TIMES,
)
from braid_hpc.vocabulary.sql import quoted
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    from braid_hpc.store.documents import Held
    from braid_hpc.store.opened import Opened

__all__ = ["Events", "Item", "Part"]

#: A value of an event: of which member, and of which data key.
Member = Literal["data", "timestamps"]
Item = tuple[Member, Any]

#: Rests that are looked for by their bytes; beyond that, every row with one is looked at.
MOST_RESTS = 1_000

#: Rows that are read at once, at most and at least: of large values, DuckDB reads 2,048 to give one.
MOST_ROWS, LEAST_ROWS = 1 << 15, 1 << 6

#: Columns, and bytes of 2,048 rows, up to which little memory will do.
MOST_COLUMNS, LITTLE = 48, 8 << 20

_OVER: dict[Member, tuple[str, str]] = {
    "data": (REST_DATA, REST_WHOLE_DATA),
    "timestamps": (REST_TIMES, REST_WHOLE_TIMES),
}

#: Types of columns by what DuckDB calls them.
_KINDS = {"DOUBLE": "float64", "BIGINT": "int64", "BOOLEAN": "bool", "VARCHAR": "text", "BLOB": "blob"}


@dataclass(slots=True)
class Part:
    """A table of the store that has events of a stream.

    Attributes
    ----------
    table : EventTable
        It.
    rows : int
        How many are of the stream, each as often as it was recorded.
    kinds : dict of str to str
        Type by column; ``blob`` for MessagePack.
    """

    table: EventTable
    rows: int
    kinds: dict[str, str]


@dataclass(slots=True)
class Rests:
    """What stands in the rests of rows.

    Attributes
    ----------
    over : dict of Item to set of Form
        Values that no column holds.
    whole : set of Item
        Of which there are integers in columns of float64.
    bodies : list of bytes or None
        The rests with such values, or None if there are too many to name them.
    heads : bool
        Whether a number or a time of an event is no number there.
    written : set of str
        Data keys whose letters no descriptor tells.
    """

    over: dict[Item, set[Form]] = field(default_factory=dict)
    whole: set[Item] = field(default_factory=set)
    bodies: list[bytes] | None = field(default_factory=list)
    heads: bool = False
    written: set[str] = field(default_factory=set)

    @property
    def odd(self) -> bool:
        """Whether a row's values are not all in its columns."""
        return self.bodies is None or bool(self.bodies)


class Events:
    """The events of one stream of a run.

    Parameters
    ----------
    store : Opened
        Open.
    held : Held
        The run.
    name : str
        Of the stream.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.
    """

    def __init__(self, store: Opened, held: Held, name: str, then: dict[str, int]) -> None:
        self.store, self.name, self.then = store, name, then
        self.scan = held.found.uid
        self.documents = [each for each in held.found.descriptors if each.get("name") == name]
        self.described = {uid: held.described[uid] for each in self.documents if type(uid := each.get("uid")) is str}
        self.descriptors = [uid for uid in self.described if clean(uid) == uid]
        self._tables = held.tables
        self.loose = [each for each in held.loose if each.get("descriptor") in self.described]
        self._forms: dict[Item, list[Form]] = {}
        self._windows: dict[int, list[Window]] = {}
        #: How many events there are in a range of numbers, as far as that was asked.
        self.counts: dict[Window, int] = {}

    # ------------------------------------------------------------------ asking

    def ask(self, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a statement about the events.

        Parameters
        ----------
        query : str
            SQL, with :attr:`where` in it.
        values : dict, optional
            Further parameters.

        Returns
        -------
        list of tuple
            All of them.

        Raises
        ------
        InvalidInputError
            If the store was closed.
        """
        return [row for rows in self.stream(query, values) for row in rows]

    def bound(self, values: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the parameters of a statement with :attr:`where` in it.

        Parameters
        ----------
        values : dict, optional
            Further ones.

        Returns
        -------
        dict
            All of them.
        """
        return {"descriptors": self.descriptors, **self.then, **(values or {})}

    #: What holds of the rows of these events.
    where = f"list_contains($descriptors::varchar[], descriptor) and {THEN}"

    def cursor(self, *, little: bool = True) -> Any:
        """Return a connection of its own, to read rows from bit by bit.

        Parameters
        ----------
        little : bool
            Whether little is read at a time, so that little memory will do.

        Returns
        -------
        duckdb.DuckDBPyConnection
            To be closed.
        """
        with self.store._asking:
            connected = self.store._connected
            reading = self.store._reading if little else None
            if reading is None:
                return connected.cursor()
            cursor = reading.cursor()
        cursor.execute(f"use {READ}")
        return cursor

    def stream(
        self, query: str, values: dict[str, Any] | None = None, *, little: bool = True
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a statement about the events, some at a time.

        Parameters
        ----------
        query : str
            SQL, with :attr:`where` in it.
        values : dict, optional
            Further parameters.
        little : bool
            As for :meth:`cursor`.

        Yields
        ------
        list of tuple
            Up to 1,000.

        Raises
        ------
        InvalidInputError
            If the store was closed.
        """
        import duckdb

        cursor = self.cursor(little=little)
        try:
            cursor.execute(query, self.bound(values))
            while rows := cursor.fetchmany(1_000):
                yield rows
        except duckdb.Error as error:
            raise refusal(error) from error
        finally:
            cursor.close()

    # ------------------------------------------------------------------ where they are

    @functools.cached_property
    def parts(self) -> list[Part]:
        """The tables that have some."""
        found = []
        for table in self._tables if self.descriptors else ():
            ((rows,),) = self.ask(f"select count(*) from {table.place} where {self.where}")
            if rows:
                cursor = self.cursor()
                relation = cursor.sql(f"select * from {table.place} limit 0")
                names = dict(zip(relation.columns, map(str, relation.types), strict=True))
                cursor.close()
                kinds = {column: _KINDS[kind] for column, kind in names.items() if kind in _KINDS}
                found.append(Part(table, rows, kinds))
        return found

    @functools.cached_property
    def rests(self) -> Rests:
        """What stands in the rests of their rows."""
        found = Rests()
        for part in self.parts:
            source = f"from {part.table.place} where {self.where} and octet_length(rest) > 0"
            ((several,),) = self.ask(f"select approx_count_distinct(rest) {source}")
            if several <= MOST_RESTS:
                bodies = (row for rows in self.stream(f"select distinct rest {source}", little=False) for row in rows)
            else:
                # So many are not held at once.
                bodies = (row for rows in self.stream(f"select rest {source}", little=False) for row in rows)
            for (body,) in bodies:
                self._look(found, body)
        return found

    def _look(self, found: Rests, body: bytes) -> None:
        rest = decode_words(body)
        odd = False
        for member, (over, wholes) in _OVER.items():
            found.whole.update((member, key) for key in rest.get(wholes, ()))
            for key, value in rest.get(over, {}).items():
                form = form_of(value)
                if form is not None:
                    found.over.setdefault((member, key), set()).add(form)
                    odd = True
        found.written.update(rest.get(REST_KEYS, ()))
        changed = rest.get(REST_CHANGED, {})
        found.heads = found.heads or bool({"seq_num", "time", "uid"} & changed.keys())
        if odd and found.bodies is not None:
            found.bodies.append(body)
            if len(found.bodies) > MOST_RESTS:
                found.bodies = None

    # ------------------------------------------------------------------ what they are

    @functools.cached_property
    def letters(self) -> dict[str, str] | None:
        """How data keys are written, by their form in lower case; None if that differs among the events."""
        found: dict[str, set[str]] = {}
        told = (keys for each in self.documents if type(keys := each.get("data_keys")) is dict)
        over = (key for _, key in self.rests.over)
        for key in (*(key for keys in told for key in keys), *over, *self.rests.written):
            if type(key) is str:
                found.setdefault(key.lower(), set()).add(key)
        if any(len(keys) > 1 for keys in found.values()):
            return None
        letters = {lower: next(iter(keys)) for lower, keys in found.items()}
        for lower, key in letters.items():
            lacking = [uid for uid in self.descriptors if lower not in self.described[uid]]
            if key != lower and lacking:
                for part in self.parts:
                    columns = [quoted(column) for column in self.columns(part, "data", lower)]
                    if not columns:
                        continue
                    ((count,),) = self.ask(
                        f"select count(coalesce({', '.join(f'{c}::varchar' for c in columns)})) "
                        f"from {part.table.place} where {self.where} "
                        "and list_contains($lacking::varchar[], descriptor)",
                        {"lacking": lacking},
                    )
                    if count:
                        return None
        return letters

    def columns(self, part: Part, member: Member, lower: str) -> list[str]:
        """Return the columns of a table that hold a value.

        Parameters
        ----------
        part : Part
            The table.
        member : str
            ``data`` or ``timestamps``.
        lower : str
            The data key in lower case.

        Returns
        -------
        list of str
            In order of the table.
        """
        pairs = part.table.values if member == "data" else part.table.times
        return [column for column, key in pairs if key.lower() == lower and column in part.kinds]

    @functools.cached_property
    def keys(self) -> list[Any]:
        """The data keys: those of the descriptors in their order, then what else events have."""
        found: dict[Any, None] = {}
        for each in self.documents:
            keys = each.get("data_keys")
            found.update(dict.fromkeys(keys if type(keys) is dict else ()))
        further: dict[Any, None] = {}
        for part in self.parts:
            known = {key.lower() for key in found if type(key) is str}
            others = [(column, key) for column, key in part.table.values if column in part.kinds]
            # Where letters differ, every column is looked at.
            others = [pair for pair in others if self.letters is None or pair[1].lower() not in known]
            if not others:
                continue
            asked = ", ".join(f"count({quoted(column)})" for column, _ in others)
            (counts,) = self.ask(f"select {asked} from {part.table.place} where {self.where}")
            for (_, key), count in zip(others, counts, strict=True):
                if count and self.letters is not None:
                    further[self.letters.get(key.lower(), key.lower())] = None
                elif count:
                    written = {keys.get(key.lower(), key.lower()) for keys in self.described.values()}
                    further.update(dict.fromkeys(written | {k for k in self.rests.written if k.lower() == key.lower()}))
        further.update(dict.fromkeys(key for member, key in self.rests.over if member == "data"))
        for event in self.loose:
            data = event.get("data")
            further.update(dict.fromkeys(data if type(data) is dict else ()))
        found.update(dict.fromkeys(sorted((key for key in further if key not in found), key=repr)))
        return list(found)

    def about(self, key: Any) -> dict[str, Any]:
        """Return what the first descriptor that has a data key says of it.

        Parameters
        ----------
        key : object
            The data key.

        Returns
        -------
        dict
            Empty if none has it.
        """
        for each in self.documents:
            keys = each.get("data_keys")
            if type(keys) is dict and type(keys.get(key)) is dict:
                found: dict[str, Any] = keys[key]
                return found
        return {}

    def forms(self, item: Item) -> list[Form]:
        """Return the columns that hold a value of all events.

        Parameters
        ----------
        item : tuple
            Which value.

        Returns
        -------
        list of Form
            One at least.
        """
        if item not in self._forms:
            self._forms[item] = columns_for(self._find_forms(item), self._declared(item))
        return self._forms[item]

    def _declared(self, item: Item) -> Form:
        member, key = item
        if member == "timestamps":
            return Form("float64")
        about = self.about(key)
        kind = about.get("dtype")
        if kind in DECLARED:
            return Form(DECLARED[kind])
        shape = about.get("shape")
        if kind == "array":
            return Form(_element(about), max(1, len(shape) if isinstance(shape, (list, tuple)) else 1))
        return Form("null")

    def _find_forms(self, item: Item) -> set[Form]:
        member, key = item
        found = set(self.rests.over.get(item, ()))
        for event in self.loose:
            values = event.get(member)
            form = form_of(values.get(key)) if type(values) is dict else None
            found |= {form} if form is not None else set()
        for part in self.parts if type(key) is str else ():
            for column in self.columns(part, member, key.lower()):
                found |= self._forms_of(part, column)
        return found

    def _forms_of(self, part: Part, column: str) -> set[Form]:
        kind, name = part.kinds[column], quoted(column)
        if kind == "blob":
            found = set()
            for window in self.windows([column]):
                low, high = window.bounds
                query = f"select {name} from {part.table.place} where {self.where} and {window.where} "
                given = {"low": low, "high": high}
                for rows in self.stream(f"{query} and {name} is not null", given, little=self.little([column])):
                    forms = {form_of(decode_words(body)) for (body,) in rows}
                    found |= {form for form in forms if form is not None}
            return found
        asked = f"count({name})" + (f", min({name}), max({name})" if kind == "int64" else "")
        ((count, *ends),) = self.ask(f"select {asked} from {part.table.place} where {self.where}")
        if not count:
            return set()
        if kind != "int64":
            return {Form(kind)}
        forms = {form_of(end) for end in ends}
        exact = all(form is not None and form.exact for form in forms)
        return {Form("int64", 0, exact)} if exact else {Form("int64", 0, False)}

    # ------------------------------------------------------------------ reading them

    def windows(self, columns: list[str]) -> list[Window]:
        """Return ranges of numbers that have so many events that they can be held at once.

        Parameters
        ----------
        columns : list of str
            Which are read: with large values, fewer rows are.

        Returns
        -------
        list of Window
            In order; all events are in them.
        """
        rows = _fitting(self._widest(columns))
        if rows not in self._windows:
            self._windows[rows] = find_windows(self, rows)
        return self._windows[rows]

    def little(self, columns: list[str]) -> bool:
        """Say whether little memory will do to read some columns: DuckDB reads 2,048 values of each at a time.

        Parameters
        ----------
        columns : list of str
            Of the tables.

        Returns
        -------
        bool
            Whether it does.
        """
        return len(columns) <= MOST_COLUMNS and self._widest(columns) * 2048 <= LITTLE

    def _widest(self, columns: list[str]) -> int:
        """Return how many bytes a row may have."""
        width = 64 + 16 * len(columns)
        for part in self.parts:
            for column in columns:
                if part.kinds.get(column) in ("blob", "text"):
                    width += self._width(part, column)
        return width

    @functools.cached_property
    def _widths(self) -> dict[tuple[str, str], int]:
        return {}

    def _width(self, part: Part, column: str) -> int:
        known = (part.table.place, column)
        if known not in self._widths:
            size = "octet_length" if part.kinds[column] == "blob" else "strlen"
            ((width,),) = self.ask(f"select max({size}({quoted(column)})) from {part.table.place} where {self.where}")
            self._widths[known] = int(width or 0)
        return self._widths[known]

    def read(self, window: Window) -> list[dict[str, Any]]:
        """Return the events of a range of numbers, each once, as documents.

        Parameters
        ----------
        window : Window
            The range.

        Returns
        -------
        list of dict
            In the order of their numbers.
        """
        low, high = window.bounds
        group: dict[Any, list[Any]] = {}
        for part in self.parts:
            names = [*HEAD, *(column for column, _ in (*part.table.values, *part.table.times))]
            asked = ", ".join(map(quoted, names))
            query = f"select {asked} from {part.table.place} where {self.where} and {window.where}"
            for rows in self.stream(query, {"low": low, "high": high}, little=False):
                for values in rows:
                    row = dict(zip(names, values, strict=True))
                    group.setdefault(order_of(row), []).append((part.table, row))
        for event in self.loose:
            if window.has(event.get("seq_num")):
                group.setdefault(order_of(event), []).append((None, event))
        found = [event for rows in group.values() for event, _ in _each_once(rows, self.described)]
        return sorted(found, key=in_order)


def in_order(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return where an event stands in a table: by number, time and uid.

    Parameters
    ----------
    event : dict
        The document.

    Returns
    -------
    tuple
        Comparable with others.
    """
    time, number, uid = order_of(event)
    return number, time, uid


def _fitting(width: int) -> int:
    """Return how many rows of so many bytes are read at once: a power of two, of some 32 MiB."""
    rows = MOST_ROWS
    while rows > LEAST_ROWS and rows * width > 32 << 20:
        rows >>= 1
    return rows


def _element(about: dict[str, Any]) -> str:
    """Return what the elements of an array are, as far as a descriptor says it."""
    said = about.get("dtype_numpy", about.get("dtype_str"))
    if type(said) is str:
        import numpy as np

        try:
            kind = np.dtype(said)
        except TypeError:
            return "float64"
        name = str(kind.name)
        if name == "bool" or (kind.kind in "iuf" and kind.itemsize <= 8):
            return name
        return "text" if kind.kind == "U" else "float64"
    return "float64"
