"""From the rows of a store to record batches: straight where columns hold the values, else one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.scans.columns import HEADS, Column
from braid_hpc.scans.events import Item
from braid_hpc.scans.forms import Form, arrow_column, arrow_type, form_of, holds
from braid_hpc.store.guarded import refusal
from braid_hpc.vocabulary.event_rows import (
    REST_CHANGED,
    REST_DATA,
    REST_TIMES,
    REST_WHOLE_DATA,
    REST_WHOLE_TIMES,
)
from braid_hpc.vocabulary.sql import quoted
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    import pyarrow as pa

    from braid_hpc.scans.conditions import Where
    from braid_hpc.scans.events import Events, Part
    from braid_hpc.scans.windows import Window

__all__ = ["Frames", "distributed", "one_array"]

_OVER = {"data": (REST_DATA, REST_WHOLE_DATA), "timestamps": (REST_TIMES, REST_WHOLE_TIMES)}


class Frames:
    """Reads some columns of the events of a stream, a range of numbers at a time.

    Parameters
    ----------
    events : Events
        The stream.
    columns : list of Column
        Which are read.
    where : Where or None
        Which events.
    """

    def __init__(self, events: Events, columns: list[Column], where: Where | None = None) -> None:
        self.events = events
        self.columns = columns
        self.where = where
        items = [column.item for column in columns if column.item is not None]
        if where is not None:
            items += where.items
        self.items: list[Item] = list(dict.fromkeys(items))

    @property
    def wide(self) -> list[str]:
        """The columns of the store that are read."""
        return [
            name
            for part in self.events.parts
            for member, key in self.items
            if type(key) is str
            for name in self.events.columns(part, member, key.lower())
        ]

    def statement(self, part: Part, *, distinct: bool = False) -> tuple[str, dict[str, Any]]:
        """Return what a table is asked for.

        Parameters
        ----------
        part : Part
            The table.
        distinct : bool
            Whether rows that are equal are taken together.

        Returns
        -------
        query : str
            SQL, with the parameters ``$low`` and ``$high``.
        values : dict
            Its other parameters.
        """
        chosen = ["seq_num", *(name for name in HEADS if name != "seq_num" and self._needs(name))]
        if self._rest:
            chosen.append("rest")
        names = list(dict.fromkeys(name for item in self.items for name in self._physical(part, item)))
        chosen += [f"{quoted(name)} as c{at}" for at, name in enumerate(names)]
        values: dict[str, Any] = {}
        condition = "true"
        if self.where is not None:
            condition, values = self.where.pushed(part)
        source = f"{part.table.place} where {self.events.where} and seq_num between $low::bigint and $high::bigint"
        if distinct:
            source = f"(select distinct {', '.join(self._told_apart(part))} from {source})"
            query = f"select {', '.join(chosen)} from {source} where ({condition}) order by seq_num"
        else:
            query = f"select {', '.join(chosen)} from {source} and ({condition}) order by seq_num"
        return query, values

    @property
    def _rest(self) -> bool:
        """Whether the rests of rows are read."""
        rests = self.events.rests
        return (rests.heads and (self._needs("time") or self._needs("uid"))) or any(
            item in rests.over or item in rests.whole for item in self.items
        )

    def _needs(self, head: str) -> bool:
        if any(column.item is None and column.name == head for column in self.columns):
            return True
        return self.where is not None and head in self.where.heads

    def _physical(self, part: Part, item: Item) -> list[str]:
        member, key = item
        return self.events.columns(part, member, key.lower()) if type(key) is str else []

    def read(self, window: Window) -> pa.RecordBatch:
        """Return the events of a range of numbers.

        Parameters
        ----------
        window : Window
            The range.

        Returns
        -------
        pyarrow.RecordBatch
            With the columns, in the order of the events' numbers.
        """
        found = self._straight(window)
        if found is None:
            found = self._one_by_one(window)
        batch, checked = found
        if self.where is not None and not checked:
            batch = batch.filter(self.where.mask(batch))
        return batch.select([column.name for column in self.columns])

    def count(self, window: Window) -> int:
        """Return how many events there are in a range of numbers, whatever is asked of them.

        Parameters
        ----------
        window : Window
            The range.

        Returns
        -------
        int
            Each once.
        """
        known = self.events.counts
        if window not in known:
            known[window] = self._count(window)
        return known[window]

    def _count(self, window: Window) -> int:
        part = self._only(window)
        if part is None:
            return len(self.events.read(window))
        low, high = window.bounds
        source = f"from {part.table.place} where {self.events.where} and seq_num between $low::bigint and $high::bigint"
        given = {"low": low, "high": high}
        ((rows, numbers),) = self.events.ask(f"select count(seq_num), count(distinct seq_num) {source}", given)
        if rows == numbers:
            return int(rows)
        ((rows, named),) = self.events.ask(
            f"select count(*), count(uid) from (select distinct seq_num, time, uid {source})", given
        )
        # Events without a uid are told apart by all that they are.
        return int(rows) if rows == named else len(self.events.read(window))

    # ------------------------------------------------------------------ straight

    def _only(self, window: Window) -> Part | None:
        """Return the table whose rows are all the events of a range."""
        if window.low is None or window.loose or sum(count > 0 for count in window.rows) != 1:
            return None
        return next(part for part, count in zip(self.events.parts, window.rows, strict=True) if count)

    def _each_once(self, part: Part, window: Window, *, distinct: bool) -> bool:
        """Say whether each number is that of one row; or of one after rows that are equal are taken together."""
        low, high = window.bounds
        source = f"{part.table.place} where {self.events.where} and seq_num between $low::bigint and $high::bigint"
        if distinct:
            source = f"(select distinct {', '.join(self._told_apart(part))} from {source})"
        ((rows, numbers),) = self.events.ask(
            f"select count(seq_num), count(distinct seq_num) from {source}", {"low": low, "high": high}
        )
        return bool(rows == numbers)

    def _told_apart(self, part: Part) -> list[str]:
        """Return by what rows differ, as far as it is of matter here."""
        names = list(dict.fromkeys(name for item in self.items for name in self._physical(part, item)))
        signs = [f"signbit({quoted(name)})" for name in names if part.kinds[name] == "float64"]
        return ["seq_num", "time", "signbit(time)", "uid", "descriptor", "rest", *map(quoted, names), *signs]

    def _straight(self, window: Window) -> tuple[pa.RecordBatch, bool] | None:
        part = self._only(window)
        if part is None or self.events.letters is None:
            return None
        low, high = window.bounds
        distinct = False
        if self.where is not None and not self._each_once(part, window, distinct=False):
            # Which of several contents counts is not a matter of what is asked.
            if not self._each_once(part, window, distinct=True):
                return None
            distinct = True
        query, values = self.statement(part, distinct=distinct)
        table = self._arrow(query, {**values, "low": low, "high": high})
        if self.where is None and self._repeats(table):
            query, values = self.statement(part, distinct=True)
            table = self._arrow(query, {**values, "low": low, "high": high})
            if self._repeats(table):
                return None
        rests = _Rests(table.column("rest").to_pylist()) if "rest" in table.column_names else None
        names = list(dict.fromkeys(name for item in self.items for name in self._physical(part, item)))
        place = {name: f"c{at}" for at, name in enumerate(names)}
        columns = self._all_columns()
        arrays: list[Any] = []
        made: dict[Item, list[Any]] = {}
        for column in columns:
            if column.item is None:
                arrays.append(self._head(table, column, rests))
                continue
            if column.item not in made:
                physical = self._physical(part, column.item)
                given = [(part.kinds[name], table.column(place[name])) for name in physical]
                made[column.item] = self._value(column.item, given, table.num_rows, rests)
            arrays.append(made[column.item][column.place])
        checked = self.where is None or not self.where.looks_again(part)
        return _batch(columns, arrays), checked

    def _all_columns(self) -> list[Column]:
        """Return the columns that are wanted, and those that are asked for."""
        more = self.where.columns if self.where is not None else []
        return [*self.columns, *(each for each in more if each not in self.columns)]

    def _arrow(self, query: str, values: dict[str, Any]) -> pa.Table:
        import duckdb

        cursor = self.events.cursor(little=self.events.little(self.wide))
        try:
            return cursor.sql(query, params=self.events.bound(values)).to_arrow_table()
        except duckdb.Error as error:
            raise refusal(error) from error
        finally:
            cursor.close()

    @staticmethod
    def _repeats(table: pa.Table) -> bool:
        import numpy as np

        numbers = one_array(table.column("seq_num"))
        # pyarrow would import pandas for this.
        found = np.from_dlpack(numbers)
        return bool(len(found) > 1 and np.any(found[1:] == found[:-1]))

    def _head(self, table: pa.Table, column: Column, rests: _Rests | None) -> Any:
        found = table.column(column.name)
        if rests is None or column.name == "seq_num" or not found.null_count:
            return found
        values = [
            rests.head(row, column.name) if value is None else value for row, value in enumerate(found.to_pylist())
        ]
        return head_column(column.name, values)

    def _value(self, item: Item, given: list[tuple[str, Any]], count: int, rests: _Rests | None) -> list[Any]:
        """Return the columns of a value."""
        forms = self.events.forms(item)
        over = self.events.rests.over.get(item)
        kinds = [kind for kind, _ in given]
        mixed = {"float64", "int64"} <= {form.kind for form in forms if not form.depth}
        if not over and "blob" not in kinds and not mixed:
            # Each type has one column that holds all of its values.
            found: list[Any] = []
            for form in forms:
                mine = [
                    array for kind, array in given if kind == form.kind or (kind, form.kind) == ("int64", "float64")
                ]
                found.append(_united(mine, form, count))
            return found
        values: list[Any] = [None] * count
        for kind, array in given:
            for row, value in enumerate(array.to_pylist()):
                if value is not None:
                    values[row] = decode_words(value) if kind == "blob" else value
        if rests is not None:
            rests.apply(item, values)
        return distributed(values, forms)

    # ------------------------------------------------------------------ one by one

    def _one_by_one(self, window: Window) -> tuple[pa.RecordBatch, bool]:
        documents = self.events.read(window)
        columns = self._all_columns()
        arrays: list[Any] = []
        made: dict[Item, list[Any]] = {}
        for column in columns:
            if column.item is None:
                arrays.append(head_column(column.name, [each.get(column.name) for each in documents]))
                continue
            member, key = column.item
            if column.item not in made:
                values = [inner.get(key) if type(inner := each.get(member)) is dict else None for each in documents]
                made[column.item] = distributed(values, self.events.forms(column.item))
            arrays.append(made[column.item][column.place])
        return _batch(columns, arrays), False


class _Rests:
    """The rests of some rows, each different one decoded once."""

    def __init__(self, bodies: list[Any]) -> None:
        known: dict[bytes, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        for body in bodies:
            if not body:
                self.rows.append({})
                continue
            if body not in known:
                known[body] = decode_words(body)
            self.rows.append(known[body])

    def head(self, row: int, name: str) -> Any:
        return self.rows[row].get(REST_CHANGED, {}).get(name)

    def apply(self, item: Item, values: list[Any]) -> None:
        member, key = item
        over, wholes = _OVER[member]
        for row, rest in enumerate(self.rows):
            if not rest:
                continue
            if key in rest.get(wholes, ()):
                values[row] = int(values[row])
            if key in rest.get(over, ()):
                values[row] = rest[over][key]


def distributed(values: list[Any], forms: list[Form]) -> list[Any]:
    """Put values into the columns that hold them.

    Parameters
    ----------
    values : list
        Of one data key, None for what is not there.
    forms : list of Form
        Its columns.

    Returns
    -------
    list of pyarrow.Array
        One for each; each value stands in the first that holds it exactly.
    """
    if len(forms) == 1:
        return [arrow_column(forms[0], values)]
    columns: list[list[Any]] = [[None] * len(values) for _ in forms]
    for row, value in enumerate(values):
        form = form_of(value)
        if form is not None:
            place = next(at for at, column in enumerate(forms) if holds(column, form))
            columns[place][row] = value
    return [arrow_column(form, column) for form, column in zip(forms, columns, strict=True)]


def head_column(name: str, values: list[Any]) -> Any:
    """Return a column that every event has; what is of another type than it has to be is null.

    Parameters
    ----------
    name : str
        ``seq_num``, ``time``, ``uid`` or ``descriptor``.
    values : list
        As the events have them.

    Returns
    -------
    pyarrow.Array
        Of the type of the head.
    """
    column = HEADS[name]
    return arrow_column(
        column, [value if (form := form_of(value)) is not None and holds(column, form) else None for value in values]
    )


def _united(arrays: list[Any], form: Form, count: int) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not arrays:
        return pa.nulls(count, arrow_type(form))
    found = [array.cast(arrow_type(form)) for array in arrays]
    return found[0] if len(found) == 1 else pc.coalesce(*found)


def _batch(columns: list[Column], arrays: list[Any]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays(list(map(one_array, arrays)), names=[column.name for column in columns])


def one_array(found: Any) -> Any:
    """Return a column in one piece.

    Parameters
    ----------
    found : pyarrow.Array or pyarrow.ChunkedArray
        Of any number of pieces.

    Returns
    -------
    pyarrow.Array
        The same.
    """
    import pyarrow as pa

    if not isinstance(found, pa.ChunkedArray):
        return found
    if found.num_chunks == 1:
        return found.chunk(0)
    found = found.combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found
