"""From a search to SQL: one statement, in which nothing of what was asked stands as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import OF_SCANS, Holds
from braid_hpc.queries.operators import Operator, Scalar
from braid_hpc.queries.tree import And, Condition, Not, Query
from braid_hpc.queries.values import LONGEST
from braid_hpc.queries.words import mistake
from braid_hpc.queries.written import noun
from braid_hpc.store.annotations import current_tags
from braid_hpc.store.bound import Bound
from braid_hpc.store.comparing import (
    among_numbers,
    among_texts,
    among_typed,
    check_expression,
    compared_number,
    compared_text,
    compared_typed,
)
from braid_hpc.store.holding import FOREVER
from braid_hpc.store.marks import Marks, joined
from braid_hpc.store.scan_conditions import ScanConditions, known_scans
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

#: Of which there are several rows for one thing.
_SEVERAL = ("labels", "places", "told", "of_runs", "members")

#: Conditions of a search.
MOST = 500

#: So many are joined by words of SQL: DuckDB then looks for rows by them, but ponders over many for minutes.
FEW = 20

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
    scans : bool
        Whether rows are scans of an instrument, each with the record of its start.
    bound : Bound
        The values.
    """

    store: Store
    at: int
    as_of: int | None = None
    runs: bool = False
    scans: bool = False
    bound: Bound = field(default_factory=Bound)
    _of_scans: ScanConditions | None = None
    _sources: dict[str, str] = field(default_factory=dict)
    _marks: dict[str, Marks] = field(default_factory=dict)
    _parts: dict[str, dict[str | None, int]] = field(default_factory=dict)
    _spelled: dict[str, list[str]] = field(default_factory=dict)
    _plain: bool = True

    def condition(self, query: Query) -> str:
        """Return SQL that is true or false of a row ``t``, and never null.

        Parameters
        ----------
        query : Query
            What is asked.

        Returns
        -------
        str
            To stand behind ``where``, of rows from :meth:`rows`.

        Raises
        ------
        InvalidInputError
            If it is too long, is not to be asked of such rows, or a regular expression is none.
        """
        if len(str(query)) > LONGEST:
            raise InvalidInputError(f"a search of {len(str(query)):,} characters is too long: {LONGEST:,} at most")
        conditions = query.conditions()
        if len(conditions) > MOST:
            raise InvalidInputError(
                f"a search of {len(conditions):,} conditions is too long: {MOST:,} at most; many values of one field "
                f"are one condition, such as name in (a, b)"
            )
        self._plain = len(conditions) <= FEW
        self._spell(conditions)
        return self._any(query)

    def rows(self, name: str) -> str:
        """Return what a statement reads the rows ``t`` from, after its conditions have been made.

        Parameters
        ----------
        name : str
            ``things``, ``known_runs`` or ``known_scans``.

        Returns
        -------
        str
            To stand behind ``from``.
        """
        if name == "known_scans" and name not in self._sources:
            self.source("things")
            self._sources[name] = known_scans(self.store, until=self.as_of is not None)
        found = f"{self.source(name)} t"
        for each in self._marks.values():
            found += f" left join {each.name} on {each.name}.{each.identity} = t.{each.identity}"
        return found

    def labelled(self, key: str, where: str) -> str:
        """Return the condition for a tag.

        Parameters
        ----------
        key : str
            Its key.
        where : str
            SQL of the columns that tags have.

        Returns
        -------
        str
            As :meth:`condition`.
        """
        return self._marked("labels", where, key=key)

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
            if name == "labels":
                text = current_tags(self.store, self.bound, until=self.as_of is not None)
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
        if self._of_scans is not None:
            self._sources = {"said_of_scans": self._of_scans.query(), **self._sources}
        parts = [f"{name} as ({text})" for name, text in self._sources.items()]
        parts += [f"{name}_parts as ({self._taken_apart(name, keys)})" for name, keys in self._parts.items()]
        parts += [f"{each.name} as ({each.query()})" for each in self._marks.values()]
        query = f"with {', '.join(parts)} {body}"
        given = {"at": self.at, "as_of": FOREVER if self.as_of is None else self.as_of}
        return query, self.bound.values | {name: value for name, value in given.items() if f"${name}" in query}

    # ------------------------------------------------------------------ trees

    def _any(self, query: Query, *, holds: bool = True) -> str:
        """Return SQL that is true where a search holds, or where it does not: ``not`` comes down to the conditions."""
        if isinstance(query, Condition):
            found = self._of_run(query) if self.runs else self._of_node(query)
            return found if holds is not (query.operator is Operator.NE) else f"not {found}"
        if isinstance(query, Not):
            return self._any(query.part, holds=not holds)
        parts = [self._any(part, holds=holds) for part in query.parts]
        return joined(parts, "and" if isinstance(query, And) is holds else "or", plain=self._plain)

    # ------------------------------------------------------------------ conditions

    def _of_node(self, asked: Condition) -> str:
        name, key = asked.field.name, asked.field.key
        if name in OF_SCANS:
            return self._of_scan(asked)
        if name == "run" and key is not None:
            return self._marked("of_runs", self._each(asked, f'"{key}"'))
        if name == "run":
            exists = asked.operator is Operator.EXISTS
            return self._marked("told", "true") if exists else self._marked("of_runs", self._named(asked, ""))
        if name == "valid":
            if "judged" not in self._sources:
                invalid = sorted(self.store.judgements(at=self.at, as_of=self.as_of))
                self._sources["judged"] = f"select unnest({self.bound(invalid)}::bigint[]) as id"
            return f"({self._marked('judged', 'true')} <> {self.bound(asked.value)})"
        if name == "tag":
            return self.labelled(key or "", self._each(asked, "type"))
        if name == "uri":
            return self._marked("places", self._each(asked, "uri"))
        if name == "param" or (name == "value" and asked.field.holds is Holds.TYPED):
            origin = "ran" if name == "param" else "declared"
            self.source(origin)
            keys = self._parts.setdefault(origin, {})
            number = keys.setdefault(key, len(keys))
            return self._marked(f"{origin}_parts", f"number = {number} and {self._each(asked, 'type')}")
        if name in _OWN:
            return f"coalesce({self._each(asked, f't.{name}')}, false)"
        return self._marked(_ELSEWHERE[name], self._each(asked, name))

    def _of_scan(self, asked: Condition) -> str:
        """Return the condition on what documents and events of an instrument hold."""
        if self._of_scans is None:
            then = {"at": self.at, "as_of": FOREVER if self.as_of is None else self.as_of}
            self._of_scans = ScanConditions(self.store, then, self.bound)
            if not self.scans:
                self._sources["of_scans"] = self._of_scans.belonging(runs=self.runs)
                column = "run" if self.runs else "id"
                self._sources["scan_values"] = (
                    f"select o.{column}, s.* from said_of_scans s join of_scans o using (scan)"
                )
        number = self._of_scans.add(asked)
        name = "said_of_scans" if self.scans else "scan_values"
        exists = asked.operator is Operator.EXISTS
        where = (
            "true" if exists else self._each(asked, "text") if asked.field.holds is Holds.TEXT else self._typed(asked)
        )
        if asked.field.of != "all":
            return self._marked(name, f"number = {number} and {where}")
        # Not one of them is otherwise, and there is one.
        otherwise = self._marked(name, f"number = {number} and not coalesce({where}, false)")
        return f"({self._marked(name, f'number = {number}')} and not {otherwise})"

    def _typed(self, asked: Condition) -> str:
        values = _values(asked)
        if len(values) != 1:
            return f"({among_typed(values, self.bound)})"
        if asked.operator is Operator.MATCHES:
            self._check(asked, str(values[0]))
        return f"({compared_typed(asked, values[0], self.bound)})"

    def _of_run(self, asked: Condition) -> str:
        name, key = asked.field.name, asked.field.key
        if name in OF_SCANS:
            return self._of_scan(asked)
        if name == "run" and key is None:
            return "true" if asked.operator is Operator.EXISTS else f"coalesce({self._named(asked, 't.')}, false)"
        if name == "run" or name in _OF_RUNS:
            # "user" is a word of SQL; the others are what they are.
            column = f't."{key or name}"'
            return f"coalesce({self._each(asked, column)}, false)"
        if name in ("rank", "host"):
            return self._marked("members", self._each(asked, name))
        raise InvalidInputError(
            f"a run has no {noun(asked.field)}: runs are asked for by run, run.job and the other columns of the view "
            f"'runs' behind 'run.', status, begin_time, end_time, rank and host"
        )

    def _marked(self, name: str, where: str, *, key: str | None = None) -> str:
        """Return SQL that says whether a row of a source that belongs to ``t`` fits."""
        origin = name.removesuffix("_parts")
        of_scans = name in ("said_of_scans", "scan_values")
        if origin not in self._sources and not of_scans:
            self.source(name)
        if name not in self._marks:
            several = name in _SEVERAL or name != origin or of_scans
            identity = "scan" if name == "said_of_scans" else "run" if self.runs else "id"
            self._marks[name] = Marks(name, identity, self.bound, several=several)
        return self._marks[name].add(where, key=key)

    def _named(self, asked: Condition, table: str) -> str:
        """Return the condition on runs: by the name of their job, or the beginning of their id."""
        ways = [self._each(asked, f"{table}job")]
        if asked.operator in (Operator.EQ, Operator.NE, Operator.IN):
            for value in _values(asked):
                if len(text := str(value).lower()) >= 4 and set(text) <= set("0123456789abcdef"):
                    ways.append(f"starts_with({table}run, {self.bound(text)})")
        else:
            ways.append(self._each(asked, f"{table}run"))
        return joined(ways, "or", plain=len(ways) <= FEW)

    def _each(self, asked: Condition, column: str) -> str:
        """Compare with one value, or with each of several."""
        if asked.operator is Operator.EXISTS:
            return f"{column} is not null"
        values = _values(asked)
        if len(values) == 1:
            return f"({self._compared(asked, column, values[0])})"
        holds = asked.field.holds
        if holds is Holds.TYPED:
            return f"({among_typed(values, self.bound)})"
        if holds is Holds.NUMBER:
            return among_numbers(column, [_number(value) for value in values], self.bound)
        if holds is Holds.TIME:
            return among_numbers(f"epoch_ns({column})", [_number(nanoseconds(value)) for value in values], self.bound)
        if holds is Holds.ID:
            ways = [self._compared(asked, column, value) for value in values]
            return joined(ways, "or", plain=len(ways) <= FEW)
        texts = [str(value) for value in values]
        if holds is Holds.URI:
            texts = sorted({spelling for text in texts for spelling in self._spelled[text]})
        return among_texts(column, texts, self.bound)

    def _compared(self, asked: Condition, column: str, value: Scalar) -> str:
        operator = Operator.EQ if asked.operator in (Operator.IN, Operator.NE) else asked.operator
        if operator is Operator.MATCHES:
            self._check(asked, str(value))
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
            return among_texts(column, self._spelled[str(value)], self.bound)
        return compared_text(column, asked, str(value), self.bound)

    def _check(self, asked: Condition, expression: str) -> None:
        try:
            check_expression(self.store._connected, expression)
        except InvalidInputError as error:
            raise error if asked.place is None else mistake(str(error), *asked.place) from error

    def _spell(self, conditions: list[Condition]) -> None:
        """Find the spellings in the store that are the same, by the standard of their scheme, as those asked for."""
        exact = (Operator.EQ, Operator.NE, Operator.IN)
        asked = [each for each in conditions if each.field.holds is Holds.URI and each.operator in exact]
        wanted = {str(value): canonical(clean(str(value))) for each in asked for value in _values(each)}
        if not wanted:
            return
        # Spellings differ by nothing but the case of ASCII letters.
        near = self.store.sql(
            "select distinct uri from uri_rows where lower(uri) in (select lower(unnest(?::varchar[])))",
            [[clean(uri) for uri in wanted]],
        )
        same: dict[str, list[str]] = {}
        for uri in near["uri"]:
            same.setdefault(canonical(uri), []).append(uri)
        self._spelled.update({uri: sorted(same.get(as_standard, [])) for uri, as_standard in wanted.items()})

    def _taken_apart(self, origin: str, keys: dict[str | None, int]) -> str:
        """Return the query for parts of JSON, by the number of what was asked for, with the columns that tags have."""
        column = "params" if origin == "ran" else "value"
        ways = []
        for key, number in keys.items():
            parts = [f"{column}::json"]
            if key is not None:
                # A dot may belong to a key.
                pointers = dict.fromkeys([_pointer([key]), _pointer(key.split("."))])
                parts = [f"json_extract({column}, {self.bound(pointer)}::varchar)" for pointer in pointers]
            ways += [f"{{'number': {number}, 'part': {part}}}" for part in parts]
        text = "part ->> '$'"
        # Integers of more than 64 bits are doubles to DuckDB, which keeps their digits all the same.
        typed = (
            f"case json_type(part) when 'VARCHAR' then 'str' when 'BOOLEAN' then 'bool' "
            f"when 'DOUBLE' then if(regexp_full_match({text}, '-?[0-9]+'), 'int', 'float') "
            f"when 'BIGINT' then 'int' when 'UBIGINT' then 'int' when 'HUGEINT' then 'int' else 'json' end"
        )
        return (
            f"select id, number, {typed} as type, {text} as text, try_cast({text} as hugeint) as integer, "
            f"try_cast({text} as double) as real, try_cast({text} as boolean) as boolean from ("
            f"select id, unnest([{', '.join(ways)}], recursive := true) from {origin} where {column} is not null"
            ") where part is not null"
        )


def _values(asked: Condition) -> tuple[Scalar, ...]:
    if isinstance(asked.value, tuple):
        return asked.value
    return () if asked.value is None else (asked.value,)


def _number(value: Any) -> float:
    assert isinstance(value, (int, float))
    return value


def _pointer(keys: list[str]) -> str:
    return "".join("/" + clean(key).replace("~", "~0").replace("/", "~1") for key in keys)
