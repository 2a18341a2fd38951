"""What is asked of events, in the language of searches, as SQL over the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.operators import Operator
from braid_hpc.queries.parse import parse_query
from braid_hpc.queries.tree import And, Condition, Not, Query
from braid_hpc.queries.written import noun
from braid_hpc.scans.events import Item
from braid_hpc.store.bound import Bound
from braid_hpc.store.comparing import check_expression, compared_number, compared_real, compared_text
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sql import quoted
from braid_hpc.vocabulary.times import nanoseconds

if TYPE_CHECKING:
    import pyarrow as pa

    from braid_hpc.queries.fields import Field
    from braid_hpc.scans.columns import Known
    from braid_hpc.scans.events import Events, Part

__all__ = ["Where", "in_sql", "name_of", "parsed"]

#: Columns of one type, as SQL names them.
Pairs = list[tuple[str, str]]


def parsed(where: Query | str) -> Query:
    """Read what is asked of events.

    Parameters
    ----------
    where : Query or str
        As text, names are columns.

    Returns
    -------
    Query
        The same as an object.

    Raises
    ------
    InvalidInputError
        If it does not parse, or is neither.
    """
    if isinstance(where, Query):
        return where
    if not isinstance(where, str):
        raise InvalidInputError(f"where= is a search, such as 'motor > 3', and not {type(where).__name__}")
    return parse_query(where, columns=True)


class Where:
    """What is asked of the events of a stream.

    Parameters
    ----------
    query : Query
        It.
    events : Events
        The stream.
    known : Known
        Its columns.

    Raises
    ------
    InvalidInputError
        If there is no such column, or it cannot be asked so.
    """

    def __init__(self, query: Query, events: Events, known: Known) -> None:
        self.query = query
        self.events = events
        for each in query.conditions():
            self._check_field(each.field)
        self._asked = {name_of(each): known.named(name_of(each)) for each in query.conditions()}
        for each in query.conditions():
            self._check(each)
        self.columns = [column for columns in self._asked.values() for column in columns]
        self.heads = {column.name for column in self.columns if column.item is None}
        self.items: list[Item] = list(dict.fromkeys(each.item for each in self.columns if each.item is not None))

    def _check_field(self, asked: Field) -> None:
        """See that one value of an event is asked for, and one of these events."""
        if asked.of is not None:
            raise InvalidInputError(
                f"where= asks each event for its own values, and an event has no {noun(asked)}: ask "
                "store.find_scans for what holds of all values of a scan"
            )
        if asked.stream is not None and asked.stream != self.events.name:
            raise InvalidInputError(
                f"where= asks an event of stream {self.events.name!r:.80}, which has nothing of {noun(asked)}: "
                "ask the table of that stream"
            )

    def _check(self, asked: Condition) -> None:
        if asked.operator is Operator.MATCHES:
            for value in _values(asked):
                check_expression(self.events.store._connected, str(value))
        columns = self._asked[name_of(asked)]
        if asked.operator is not Operator.EXISTS and all(
            column.form.depth or column.form.kind == "packed" for column in columns
        ):
            raise InvalidInputError(
                f"{name_of(asked)} holds arrays: of these is asked only whether they are there, {name_of(asked)} exists"
            )

    def pushed(self, part: Part) -> tuple[str, dict[str, Any]]:
        """Return what a table of the store is asked.

        Parameters
        ----------
        part : Part
            The table.

        Returns
        -------
        condition : str
            SQL; it holds of every event that is wanted, and of such as have to be looked at again.
        values : dict
            Its parameters.
        """
        bound = Bound()

        def pairs(asked: Condition) -> Pairs:
            found: Pairs = []
            for column in self._asked[name_of(asked)][:1]:
                if column.item is None:
                    return [(column.name, column.form.kind)]
                member, key = column.item
                lower = key.lower() if type(key) is str else ""
                found += [(quoted(name), part.kinds[name]) for name in self.events.columns(part, member, lower)]
            return found

        condition = in_sql(self.query, pairs, bound)
        if self.looks_again(part):
            again = self._again(part, bound)
            condition = " or ".join([f"({condition})", *again])
        return condition, bound.values

    def _again(self, part: Part, bound: Bound) -> list[str]:
        """Return which rows cannot be judged by their columns."""
        found = []
        rests = self.events.rests
        if (rests.heads and self.heads) or any(item in rests.over for item in self.items):
            bodies = rests.bodies
            if bodies is None or (rests.heads and self.heads):
                found.append("octet_length(rest) > 0")
            else:
                found.append(f"list_contains({bound(bodies)}::blob[], rest)")
        for member, key in self.items:
            for name in self.events.columns(part, member, key.lower() if type(key) is str else ""):
                if part.kinds[name] == "blob":
                    found.append(f"{quoted(name)} is not null")
        return found

    def looks_again(self, part: Part) -> bool:
        """Say whether some rows cannot be judged by the columns of a table.

        Parameters
        ----------
        part : Part
            The table.

        Returns
        -------
        bool
            Whether what it answers has to be looked at again.
        """
        return bool(self._again(part, Bound()))

    def mask(self, batch: pa.RecordBatch) -> pa.Array:
        """Judge events.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            With :attr:`columns` among its columns.

        Returns
        -------
        pyarrow.Array
            Of bool.
        """
        import duckdb
        import pyarrow as pa
        import pyarrow.compute as pc

        names = list(dict.fromkeys(column.name for column in self.columns))
        place = {name: f"c{at}" for at, name in enumerate(names)}
        bound = Bound()

        def pairs(asked: Condition) -> Pairs:
            return [
                (place[column.name], "array" if column.form.depth else column.form.kind)
                for column in self._asked[name_of(asked)]
            ]

        condition = in_sql(self.query, pairs, bound)
        arrays = []
        for name in names:
            column = batch.column(batch.schema.get_field_index(name))
            # Of these is asked only whether they are there.
            if pa.types.is_nested(column.type) or pa.types.is_large_binary(column.type):
                there = column.is_valid()
                column = pc.if_else(there, there, pa.scalar(None, pa.bool_()))
            arrays.append(column)
        given = pa.table([*arrays, pa.array(range(batch.num_rows))], names=[*place.values(), "row"])
        with duckdb.connect(":memory:") as connection:
            connection.register("given", given)
            found = connection.sql(f"select {condition} as keeps from given order by row", params=bound.values)
            kept = found.to_arrow_table().column("keeps").combine_chunks()
        return kept.chunk(0) if isinstance(kept, pa.ChunkedArray) else kept


def name_of(asked: Condition) -> str:
    """Return the column that a condition asks for.

    Parameters
    ----------
    asked : Condition
        The condition.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    InvalidInputError
        If it asks for what events do not have.
    """
    name, key = asked.field.name, asked.field.key
    if name in ("tag", "data") and key is not None:
        return key
    if key is None:
        return name
    raise InvalidInputError(f"events have no {name}.{key}: their columns are asked for by their names")


def in_sql(query: Query, pairs: Callable[[Condition], Pairs], bound: Bound, *, holds: bool = True) -> str:
    """Return what is asked as SQL.

    Parameters
    ----------
    query : Query
        It.
    pairs : callable
        Gives the columns of a condition, as SQL names them, with what they hold.
    bound : Bound
        Takes the values.
    holds : bool
        False for its contrary.

    Returns
    -------
    str
        True or false of a row, and never null.
    """
    if isinstance(query, Condition):
        found = _condition(query, pairs(query), bound)
        return found if holds is not (query.operator is Operator.NE) else f"not {found}"
    if isinstance(query, Not):
        return in_sql(query.part, pairs, bound, holds=not holds)
    word = " and " if isinstance(query, And) is holds else " or "
    return "(" + word.join(in_sql(part, pairs, bound, holds=holds) for part in query.parts) + ")"


def _condition(asked: Condition, pairs: Pairs, bound: Bound) -> str:
    """Return SQL that is true or false, and never null."""
    if asked.operator is Operator.EXISTS:
        return f"({' or '.join(f'{column} is not null' for column, _ in pairs) or 'false'})"
    ways = [
        compared
        for column, kind in pairs
        for value in _values(asked)
        if (compared := _compared(asked, column, kind, value, bound)) is not None
    ]
    return f"coalesce({' or '.join(f'({way})' for way in ways)}, false)" if ways else "false"


def _values(asked: Condition) -> tuple[Any, ...]:
    if isinstance(asked.value, tuple):
        return asked.value
    return () if asked.value is None else (asked.value,)


def _compared(asked: Condition, column: str, kind: str, value: Any, bound: Bound) -> str | None:
    operator = Operator.EQ if asked.operator in (Operator.IN, Operator.NE) else asked.operator
    if name_of(asked) == "time":
        value = _seconds(asked, value)
    if isinstance(value, bool):
        return f"{column} = {bound(value)}" if kind == "bool" and operator is Operator.EQ else None
    if isinstance(value, str):
        return f"coalesce({compared_text(column, asked, value, bound)}, false)" if kind == "text" else None
    if kind == "int64":
        return f"coalesce({compared_number(column, operator, value, bound)}, false)"
    if kind == "float64":
        return f"coalesce({compared_real(column, operator, value, bound)}, false)"
    return None


def _seconds(asked: Condition, value: Any) -> Any:
    """Return a time that is compared with the time of events, in seconds since 1970."""
    if isinstance(value, str) and asked.operator in (
        Operator.EQ,
        Operator.NE,
        Operator.IN,
        Operator.LT,
        Operator.LE,
        Operator.GT,
        Operator.GE,
    ):
        moment = nanoseconds(value)
        assert moment is not None
        return moment / 1e9
    if asked.field.name == "time" and isinstance(value, int):
        return value / 1e9
    return math.nan if isinstance(value, str) else value
