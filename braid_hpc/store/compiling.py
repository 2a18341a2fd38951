"""From a search to SQL: one statement, in which nothing of what was asked stands as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import Holds
from braid_hpc.queries.operators import Operator, Scalar
from braid_hpc.queries.tree import And, Condition, Not, Query
from braid_hpc.queries.values import LONGEST
from braid_hpc.queries.written import noun
from braid_hpc.store.comparing import Bound, check_expression, compared_number, compared_text, compared_typed
from braid_hpc.store.sources import source
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identifiers import canonical
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.times import nanoseconds

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Compiler"]

#: Columns that every version and activity has.
_OWN = ("kind", "name", "version", "uid", "digest", "step", "snapshot", "weak", "placeholder")

#: Where the other columns are.
_ELSEWHERE = {
    **dict.fromkeys(("time", "size", "dtype", "unit", "value"), "declared"),
    **dict.fromkeys(("begin_time", "end_time", "duration_ns", "status", "error", "function"), "ran"),
    **dict.fromkeys(("rank", "host"), "told"),
}

#: What a run can be asked for without ``run.`` before it.
_OF_RUNS = ("status", "begin_time", "end_time", "snapshot")


@dataclass(slots=True)
class Compiler:
    """Makes the condition of a statement, and says which sources it reads.

    Attributes
    ----------
    store : Store
        Open.
    at : int
        Snapshot number.
    as_of : int or None
        Nanoseconds since 1970.
    runs : bool
        Whether rows are runs; else versions and activities.
    bound : Bound
        The values.
    """

    store: Store
    at: int
    as_of: int | None = None
    runs: bool = False
    bound: Bound = field(default_factory=Bound)
    _sources: dict[str, str] = field(default_factory=dict)

    def condition(self, query: Query) -> str:
        """Return SQL that is true or false of a row ``t``, and never null.

        Parameters
        ----------
        query : Query
            What is asked.

        Returns
        -------
        str
            To stand behind ``where``.

        Raises
        ------
        InvalidInputError
            If it is too long, is not to be asked of such rows, or a regular expression is none.
        """
        if len(str(query)) > LONGEST:
            raise InvalidInputError(f"a search of {len(str(query)):,} characters is too long: {LONGEST:,} at most")
        return self._any(query)

    def source(self, name: str) -> str:
        """Return a source, having noted that the statement needs it.

        Parameters
        ----------
        name : str
            Of :mod:`braid_hpc.store.sources`.

        Returns
        -------
        str
            Its name.
        """
        if name not in self._sources:
            text, needs = source(name, until=self.as_of is not None)
            for need in needs:
                self.source(need)
            self._sources[name] = text
        return name

    def statement(self, body: str) -> tuple[str, dict[str, Any]]:
        """Return a whole statement.

        Parameters
        ----------
        body : str
            What follows the sources.

        Returns
        -------
        query : str
            SQL.
        values : dict of str to object
            Its parameters.
        """
        parts = [f"{name} as ({text})" for name, text in self._sources.items()]
        query = f"with {', '.join(parts)} {body}"
        given = {"at": self.at, "as_of": self.as_of}
        return query, self.bound.values | {name: value for name, value in given.items() if f"${name}" in query}

    # ------------------------------------------------------------------ trees

    def _any(self, query: Query) -> str:
        if isinstance(query, Condition):
            found = self._of_run(query) if self.runs else self._of_node(query)
            return f"not {found}" if query.operator is Operator.NE else found
        parts = [f"({self._any(part)})" for part in query.parts]
        if isinstance(query, Not):
            return f"not {parts[0]}"
        return (" and " if isinstance(query, And) else " or ").join(parts)

    # ------------------------------------------------------------------ conditions

    def _of_node(self, asked: Condition) -> str:
        name, key = asked.field.name, asked.field.key
        if name == "run" and key is not None:
            return self._within("told", f"run in ({self._runs_where(asked)})")
        if name == "run":
            return self._within(
                "told", "true" if asked.operator is Operator.EXISTS else f"run in ({self._named(asked)})"
            )
        if name == "valid":
            invalid = sorted(self.store.judgements(at=self.at, as_of=self.as_of))
            held = f"t.id not in (select unnest({self.bound(invalid)}::bigint[]))"
            return f"({held} = {self.bound(asked.value)})"
        if name == "tag":
            return self._within("labels", f"key = {self.bound(key)} and {self._each(asked, 'type')}")
        if name == "uri":
            return self._within("places", self._each(asked, "uri"))
        if name == "param" or (name == "value" and asked.field.holds is Holds.TYPED):
            column = ("params", "ran") if name == "param" else ("value", "declared")
            return f"t.id in (select id from ({self._members(*column, key)}) where {self._each(asked, 'type')})"
        if name in _OWN:
            return f"coalesce({self._each(asked, f't.{name}')}, false)"
        return self._within(_ELSEWHERE[name], self._each(asked, name))

    def _of_run(self, asked: Condition) -> str:
        name, key = asked.field.name, asked.field.key
        if name == "run" and key is None:
            return "true" if asked.operator is Operator.EXISTS else f"t.run in ({self._named(asked)})"
        if name == "run" or name in _OF_RUNS:
            return f"coalesce({self._each(asked, _column(key or name, 't'))}, false)"
        if name in ("rank", "host"):
            return f"t.run in (select run from {self.source('members')} where {self._each(asked, name)})"
        raise InvalidInputError(
            f"a run has no {noun(asked.field)}: runs are asked for by run, run.job and the other columns of the view "
            f"'runs' behind 'run.', status, begin_time, end_time, rank and host"
        )

    def _within(self, name: str, where: str) -> str:
        return f"t.id in (select id from {self.source(name)} where {where})"

    def _runs_where(self, asked: Condition) -> str:
        column = _column(asked.field.key or "", "k")
        return f"select run from {self.source('known_runs')} k where {self._each(asked, column)}"

    def _named(self, asked: Condition) -> str:
        """Return the query for runs by the name of their job, or the beginning of their id."""
        ways = [self._each(asked, "job")]
        if asked.operator in (Operator.EQ, Operator.NE, Operator.IN):
            for value in _values(asked):
                if len(text := str(value).lower()) >= 4 and set(text) <= set("0123456789abcdef"):
                    ways.append(f"starts_with(run, {self.bound(text)})")
        else:
            ways.append(self._each(asked, "run"))
        return f"select run from {self.source('known_runs')} where {' or '.join(ways)}"

    def _each(self, asked: Condition, column: str) -> str:
        """Compare with one value, or with each of several."""
        if asked.operator is Operator.EXISTS:
            return f"{column} is not null"
        return f"({' or '.join(self._compared(asked, column, value) for value in _values(asked))})"

    def _compared(self, asked: Condition, column: str, value: Scalar) -> str:
        operator = Operator.EQ if asked.operator in (Operator.IN, Operator.NE) else asked.operator
        if operator is Operator.MATCHES:
            check_expression(self.store._connected, str(value))
        holds = asked.field.holds
        if holds is Holds.TYPED:
            return f"({compared_typed(asked, value, self.bound)})"
        if holds is Holds.NUMBER:
            return compared_number(column, operator, _number(value), self.bound)
        if holds is Holds.TIME:
            return compared_number(f"epoch_ns({column})", operator, _number(nanoseconds(value)), self.bound)
        if holds is Holds.FLAG:
            return f"coalesce({column}, false) = {self.bound(value)}"
        if holds is Holds.ID:
            return f"starts_with({column}, {self.bound(str(value).lower().removeprefix('id:'))})"
        if holds is Holds.URI and operator is Operator.EQ:
            return f"{column} in (select unnest({self.bound(self._spellings(str(value)))}::varchar[]))"
        return compared_text(column, asked, str(value), self.bound)

    def _spellings(self, uri: str) -> list[str]:
        """Return the spellings in the store that are the same by the standard of the scheme."""
        wanted = canonical(clean(uri))
        # Spellings differ by nothing but the case of ASCII letters.
        near = self.store.sql("select distinct uri from uri_rows where lower(uri) = lower(?)", [clean(uri)])
        return sorted(each for each in near["uri"] if canonical(each) == wanted)

    def _members(self, column: str, origin: str, key: str | None) -> str:
        """Return the query for a part of JSON, with the columns that tags have."""
        part = f"{column}::json"
        if key is not None:
            pointers = dict.fromkeys([_pointer([key]), _pointer(key.split("."))])
            ways = [f"json_extract({column}, {self.bound(pointer)}::varchar)" for pointer in pointers]
            part = f"coalesce({', '.join(ways)})"
        typed = (
            "case json_type(part) when 'VARCHAR' then 'str' when 'BOOLEAN' then 'bool' when 'DOUBLE' then 'float' "
            "when 'BIGINT' then 'int' when 'UBIGINT' then 'int' when 'HUGEINT' then 'int' else 'json' end"
        )
        text = "part ->> '$'"
        return (
            f"select id, {typed} as type, {text} as text, try_cast({text} as hugeint) as integer, "
            f"try_cast({text} as double) as real, try_cast({text} as boolean) as boolean "
            f"from (select id, {part} as part from {self.source(origin)}) where part is not null"
        )


def _values(asked: Condition) -> tuple[Scalar, ...]:
    if isinstance(asked.value, tuple):
        return asked.value
    return () if asked.value is None else (asked.value,)


def _number(value: Any) -> float:
    assert isinstance(value, (int, float))
    return value


def _column(name: str, table: str) -> str:
    # "user" is a word of SQL; the others are what they are.
    return f'{table}."{name}"'


def _pointer(keys: list[str]) -> str:
    return "".join("/" + clean(key).replace("~", "~0").replace("/", "~1") for key in keys)
