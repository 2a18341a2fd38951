"""Values in the events of scans: typed columns are compared and summed in SQL, and what is encoded is read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from braid_hpc.queries.fields import AGGREGATES
from braid_hpc.queries.written import noun
from braid_hpc.store.event_documents import THEN, event_tables
from braid_hpc.store.scan_facts import Facts, read_loose, read_some, unnested
from braid_hpc.store.scan_files import values_in_files
from braid_hpc.store.scan_totals import Totals, Witnesses
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.event_rows import REST_DATA, REST_KEYS, REST_WHOLE_DATA, written_keys
from braid_hpc.vocabulary.sql import quoted
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    from braid_hpc.queries.tree import Condition
    from braid_hpc.store.bound import Bound
    from braid_hpc.store.opened import Opened
    from braid_hpc.store.scan_facts import Described

__all__ = ["EventValues"]

#: What columns of SQL hold, as tags say it.
_KINDS = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "int"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"), "int"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "float"),
    "VARCHAR": "str",
    "BOOLEAN": "bool",
}

_TYPED = {
    "int": "null::varchar as text, {0}::hugeint as integer, null::double as real, null::boolean as boolean",
    "float": "null::varchar as text, null::hugeint as integer, {0}::double as real, null::boolean as boolean",
    "str": "{0} as text, null::hugeint as integer, null::double as real, null::boolean as boolean",
    "bool": "null::varchar as text, null::hugeint as integer, null::double as real, {0} as boolean",
}


class _Column(NamedTuple):
    """A column with values of a data key."""

    place: str
    name: str
    key: str
    kind: str | None


class _Value(NamedTuple):
    """A value of an event that no typed column holds."""

    scan: str
    event: tuple[Any, ...]
    value: Any


class EventValues:
    """The events of a store, asked for values of data keys.

    Parameters
    ----------
    store : Opened
        Open.
    then : dict of str to int
        The moment.
    described : dict of str to Described
        The descriptors.
    bound : Bound
        Takes values.
    """

    def __init__(self, store: Opened, then: dict[str, int], described: dict[str, Described], bound: Bound) -> None:
        self._store, self._then, self._described, self._bound = store, then, described, bound
        types = store.sql(
            "select table_name as place, column_name as name, data_type as type from information_schema.columns "
            "where table_schema = 'stream'"
        )
        kinds = {(quoted(row["place"]), row["name"]): _KINDS.get(row["type"]) for row in types}
        self._tables = {
            table.place: [
                _Column(table.place, column, key, kinds.get((table.place.partition(".")[2], column)))
                for column, key in table.values
            ]
            for table in event_tables(store)
        }

    def parts(self, number: int, asked: Condition, facts: Facts) -> list[str]:
        """Return SQL of the values that a condition is on; some of them are put among the facts instead.

        Parameters
        ----------
        number : int
            Of the condition.
        asked : Condition
            On a data key.
        facts : Facts
            Take values of some scans.

        Returns
        -------
        list of str
            Queries with the columns of facts.

        Raises
        ------
        InvalidInputError
            If numbers are asked for, and there are only others.
        """
        key, lower = asked.field.key or "", (asked.field.key or "").lower()
        stream = asked.field.stream
        mine = {uid: each for uid, each in self._described.items() if stream is None or each.stream == stream}
        plain = [uid for uid, each in mine.items() if each.keys.get(lower) == key and key not in each.external]
        columns = {place: [c for c in found if c.key.lower() == lower] for place, found in self._tables.items()}
        typed = [column for found in columns.values() for column in found if column.kind is not None]
        given = {("descriptor", "varchar"): plain, ("scan", "varchar"): [clean(mine[uid].scan) for uid in plain]}
        source = unnested(self._bound, given) if plain and typed else None
        values = self._encoded(key, mine, set(plain), columns)
        if asked.field.of not in AGGREGATES:
            seen = Witnesses(asked, number, facts)
            for each in values:
                seen.add(each.scan, each.value)
            seen.close()
            return [] if source is None else [self._compared(number, column, source) for column in typed]
        return self._reduced(number, asked, source, typed, values)

    def _compared(self, number: int, column: _Column, source: str) -> str:
        name = f"e.{quoted(column.name)}"
        assert column.kind is not None
        return (
            f"select d.scan, {number}, '{column.kind}', {_TYPED[column.kind].format(name)} from {column.place} e "
            f"join ({source}) d on d.descriptor = e.descriptor where {name} is not null and {_THEN_E}"
        )

    def _reduced(
        self, number: int, asked: Condition, source: str | None, typed: list[_Column], values: Iterator[_Value]
    ) -> list[str]:
        """Return one row for each scan: each event counts once, in whatever columns and however often it stands."""
        totals = Totals()
        for value in values:
            totals.add(*value)
        parts = [
            f"select d.scan, e.time, e.seq_num, e.uid, '{column.kind}' as type, "
            f"{_TYPED[column.kind or 'str'].format(f'e.{quoted(column.name)}')} from {column.place} e "
            f"join ({source}) d on d.descriptor = e.descriptor "
            f"where e.{quoted(column.name)} is not null and {_THEN_E}"
            for column in (typed if source is not None else ())
        ]
        parts.append(totals.events(self._bound))
        once = (
            "select scan, min(type) as type, min(integer) as integer, min(real) as real "
            f"from ({' union all by name '.join(parts)}) group by scan, time, seq_num, uid"
        )
        number_row = "type in ('int', 'float')"
        by_scan = (
            "select scan, count(*) as n, "
            f"count(*) filter (where not {number_row}) as others, "
            "sum(integer) filter (where type = 'int') as int_sum, count(*) filter (where type = 'float') as floats, "
            f"{_exact_sum('real')} as real_sum, "
            "min(integer) filter (where type = 'int') as int_min, max(integer) filter (where type = 'int') as int_max, "
            "min(real) filter (where type = 'float' and not isnan(real)) as real_min, "
            "max(real) filter (where type = 'float' and not isnan(real)) as real_max "
            f"from ({once}) group by scan union all by name {totals.arrays(self._bound)}"
        )
        whole = (
            "select scan, sum(n)::hugeint as n, sum(others)::hugeint as others, sum(int_sum)::hugeint as int_sum, "
            f"sum(floats)::hugeint as floats, {_exact_sum('real_sum')} as real_sum, min(int_min) as int_min, "
            "max(int_max) as int_max, min(real_min) as real_min, max(real_max) as real_max "
            f"from ({by_scan}) group by scan"
        )
        if asked.field.of != "count":
            self._check_numbers(asked, whole)
        return [
            f"select scan, {number}, {_RESULTS[asked.field.of or '']} from ({whole}) where {_HAS[asked.field.of or '']}"
        ]

    def _check_numbers(self, asked: Condition, whole: str) -> None:
        """See that some scan has numbers, if any has values."""
        query = f"select count(*) as n, count(*) filter (where others = 0) as good from ({whole})"
        used = {name: value for name, value in {**self._bound.values, **self._then}.items() if f"${name}" in query}
        rows = self._store.sql(query, _only(query, used))
        if rows["n"][0] and not rows["good"][0]:
            field = asked.field
            what = noun(type(field)(field.name, field.key, None, field.stream))
            raise InvalidInputError(
                f"{what} has no {field.of}: there are texts, truth values or other things in it, and not numbers alone"
            )

    def _encoded(
        self, key: str, mine: dict[str, Described], plain: set[str], columns: dict[str, list[_Column]]
    ) -> Iterator[_Value]:
        """Yield values that no typed column holds; an event that came several times may be yielded again."""
        for place, found in columns.items():
            yield from self._rows(key, mine, plain, place, found)
        yield from self._loose(key, mine)
        for each in values_in_files(self._store, self._then, key, mine):
            yield _Value(*each)

    def _rows(
        self, key: str, mine: dict[str, Described], plain: set[str], place: str, columns: list[_Column]
    ) -> Iterator[_Value]:
        names = [quoted(column.name) for column in columns]
        nothing = " and ".join(f"{name} is null" for name in names) or "true"
        ways = [f"(octet_length(rest) > 0 and {nothing})"]
        ways += [f"{quoted(column.name)} is not null" for column in columns if column.kind is None]
        odd = [uid for uid in mine if uid not in plain]
        if names and odd:
            ways.append(f"(not ({nothing}) and descriptor in (select unnest($odd::varchar[])))")
        query = (
            f"select descriptor, time, seq_num, uid, rest{''.join(f', {name}' for name in names)} from {place} "
            f"where descriptor in (select unnest($mine::varchar[])) and {THEN} and ({' or '.join(ways)})"
        )
        given = {"mine": list(mine), "odd": odd, **self._then}
        lower = key.lower()
        for row in read_some(self._store, query, {name: v for name, v in given.items() if f"${name}" in query}):
            about = mine[row["descriptor"]]
            if key in about.external:
                continue
            rest = decode_words(row["rest"]) if row["rest"] else {}
            over = rest.get(REST_DATA) or {}
            value = over.get(key)
            if key not in over:
                written = {**about.keys, **written_keys(rest.get(REST_KEYS, ()))}
                held = next((c for c in columns if row[c.name] is not None), None)
                if held is None or written.get(lower, lower) != key:
                    continue
                value = row[held.name]
                value = decode_words(value) if type(value) is bytes else value
                value = int(value) if key in (rest.get(REST_WHOLE_DATA) or ()) else value
            if value is not None:
                yield _Value(about.scan, (row["time"], row["seq_num"], row["uid"]), value)

    def _loose(self, key: str, mine: dict[str, Described]) -> Iterator[_Value]:
        """Yield values of events that were kept as documents."""
        for event in read_loose(self._store, list(mine), self._then):
            about, value = mine[clean(event["descriptor"])], event["data"].get(key)
            if key not in about.external and value is not None:
                yield _Value(about.scan, tuple(event.get(name) for name in ("time", "seq_num", "uid")), value)


def _exact_sum(column: str) -> str:
    """Return SQL of a sum of doubles: what corrects its rounding makes nan of infinities and of what is beyond."""
    return f"if(isfinite(fsum({column})), fsum({column}), sum({column}))"


_THEN_E = THEN.replace("_snapshot", "e._snapshot").replace("_time", "e._time")

_NUMBERS = "others = 0"
_INT = "null::varchar as text, {0}::hugeint as integer, null::double as real, null::boolean as boolean"
_EITHER = (
    "if({choice}, 'int', 'float') as type, null::varchar as text, if({choice}, {whole}, null) as integer, "
    "if({choice}, null, {real}) as real, null::boolean as boolean"
)
_RESULTS = {
    "count": f"'int' as type, {_INT.format('n')}",
    "sum": _EITHER.format(choice="floats = 0", whole="int_sum", real="coalesce(int_sum, 0)::double + real_sum"),
    "mean": _EITHER.format(
        choice="false", whole="null", real="(coalesce(int_sum, 0)::double + coalesce(real_sum, 0)) / n"
    ),
    "min": _EITHER.format(choice="real_min is null or int_min <= real_min", whole="int_min", real="real_min"),
    "max": _EITHER.format(choice="real_max is null or int_max >= real_max", whole="int_max", real="real_max"),
}
_HAS = {
    "count": "n > 0",
    "sum": f"{_NUMBERS} and n > 0",
    "mean": f"{_NUMBERS} and n > 0",
    "min": f"{_NUMBERS} and (int_min is not null or real_min is not null)",
    "max": f"{_NUMBERS} and (int_max is not null or real_max is not null)",
}


def _only(query: str, values: dict[str, Any]) -> dict[str, Any]:
    import re

    used = set(re.findall(r"\$(\w+)", query))
    return {name: value for name, value in values.items() if name in used}
