"""Streams side by side: to each row of one the row of another that belongs to it by time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from braid_hpc.queries.fields import near
from braid_hpc.scans.derived import NUMBER, Batched, Derived, inner_names
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["align"]

_HOWS = ("asof", "nearest", "linear")
#: Integers up to this are equal to a double.
_EXACT = 1 << 53


def align(
    left: Batched,
    right: Batched,
    *,
    how: str = "asof",
    on: str = "time",
    tolerance: float | None = None,
    columns: Iterable[str] | None = None,
    names: tuple[str, str] = ("left", "right"),
) -> Derived:
    """Put to each row of a table what another table says at that time.

    Parameters
    ----------
    left : Batched
        Each of its rows is in the result, in its order.
    right : Batched
        Its rows may be in any order; of several of one time the last one counts, and those without a time do not.
    how : {"asof", "nearest", "linear"}
        ``asof``: the last row that is not later. ``nearest``: the row that is nearest, of two the earlier one.
        ``linear``: values on the straight line between the rows before and after, as :func:`numpy.interp` has them;
        outside of the first and last row there are none.
    on : str
        The column that is compared: numbers, in both tables.
    tolerance : float, optional
        How far away rows may be, in the unit of `on`; without it any distance.
    columns : iterable of str, optional
        Of `right`; without it all, and for ``linear`` all that hold numbers.
    names : tuple of str
        What the two are called in messages; columns of the second one get its name and a dot before theirs.

    Returns
    -------
    Derived
        The columns of `left`, then those of `right`; null where nothing belongs to a row.

    Raises
    ------
    InvalidInputError
        If there are no such columns, they hold no numbers, or the two have no time in common.
    """
    if how not in _HOWS:
        raise InvalidInputError(f"how={how!r:.40} is no way to align: these are asof, nearest and linear")
    tolerance = _tolerance(tolerance)
    kinds = [_kind(table.schema, on, name) for table, name in zip((left, right), names, strict=True)]
    chosen = _chosen(right.schema, on, names[1], columns, how)
    _refuse_apart(left, right, on, how, tolerance, names)
    whole = kinds == ["int", "int"]
    if not whole and "int" in kinds:
        _refuse_inexact((left, right)[kinds.index("int")], on, names[kinds.index("int")])
    mine, other = inner_names(left.schema), inner_names(right.schema)
    (mine_time, mine_good), (time, good) = _moment(mine[on], whole), _moment(other[on], whole)
    number = quoted(NUMBER)
    given = [f"l.{name}" for name in mine.values()]
    added = [(name, f"{names[1]}.{name}") for name in chosen]
    taken = {*left.schema.names} & {label for _, label in added}
    if taken:
        raise InvalidInputError(f"column {min(taken)!r:.80} of {names[0]} is called as one of the result: leave it out")
    parts = [
        f"l as (select *, case when {mine_good} then {mine_time} end as t from tbl_left)",
        f"r as (select *, {time} as t from tbl_right where {good} "
        f"qualify lead(t) over (order by t, {number}) is distinct from t)",
    ]
    within = " and abs({0} - l.t) <= $tolerance" if tolerance is not None else ""
    values: dict[str, Any] = {} if tolerance is None else {"tolerance": tolerance}
    if how == "linear":
        found, joins = _linear([(other[name], f"v{at}") for at, (name, _) in enumerate(added)], within)
    else:
        parts.append(_matches(how))
        found = [
            f"case when r.t is not null{within.format('r.t')} then r.{other[name]} end as v{at}"
            for at, (name, _) in enumerate(added)
        ]
        joins = f"left join m on m.n = l.{number} left join r on r.{number} = m.k"
    query = f"with {', '.join(parts)} select {', '.join([*given, *found])} from l {joins} order by l.{number}"
    about = {field.name: field.metadata for field in left.schema}
    about |= {label: right.schema.field(name).metadata for name, label in added}
    names_there = [*left.schema.names, *(label for _, label in added)]
    return Derived({"tbl_left": left, "tbl_right": right}, query, names_there, values, about=about)


def _moment(column: str, whole: bool) -> tuple[str, str]:
    """Return the time in a column, and what says whether there is one."""
    time = f"{column}::hugeint" if whole else f"{column}::double"
    return time, f"{column} is not null" + ("" if whole else f" and not isnan({time})")


def _matches(how: str) -> str:
    """Return what finds, for each row on the left, the number of the row on the right."""
    n = quoted(NUMBER)
    before = f"select l.{n} as n, l.t as t, r.t as u, r.{n} as k from l asof left join r on l.t >= r.t"
    if how == "asof":
        return f"m as (select n, k from ({before}))"
    after = f"select l.{n} as n, r.t as u, r.{n} as k from l asof left join r on l.t <= r.t"
    return (
        "m as (select b.n, case when b.k is null then a.k when a.k is null then b.k "
        f"when b.t - b.u <= a.u - b.t then b.k else a.k end as k from ({before}) b join ({after}) a on a.n = b.n)"
    )


def _linear(added: list[tuple[str, str]], within: str) -> tuple[list[str], str]:
    """Return the values between two rows, and the joins that find these, for each column those that have a value."""
    found, joins = [], ""
    for at, (name, label) in enumerate(added):
        rows = f"(select t::double as t, {name}::double as v from r where {name} is not null)"
        joins += f" asof left join {rows} b{at} on l.t >= b{at}.t asof left join {rows} a{at} on l.t <= a{at}.t"
        near_enough = within.format(f"b{at}.t") + within.format(f"a{at}.t")
        slope = f"(a{at}.v - b{at}.v) / (a{at}.t - b{at}.t) * (l.t::double - b{at}.t) + b{at}.v"
        found.append(
            f"case when b{at}.t is null or a{at}.t is null then null{_unless(near_enough)} "
            f"when b{at}.t = a{at}.t then b{at}.v else {slope} end as {label}"
        )
    return found, joins


def _unless(near_enough: str) -> str:
    return f" when not ({near_enough.removeprefix(' and ')}) then null" if near_enough else ""


def _tolerance(tolerance: Any) -> Any:
    if tolerance is None:
        return None
    good = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool) and tolerance >= 0
    if not good or math.isinf(tolerance):
        raise InvalidInputError(f"tolerance={tolerance!r:.40} is no distance: that is a number from 0")
    return tolerance


def _kind(schema: pa.Schema, on: str, name: str) -> str:
    import pyarrow as pa

    if on not in schema.names:
        raise InvalidInputError(f"{name} has no column {on!r:.80}{near(str(on), schema.names)}")
    kind = schema.field(on).type
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    raise InvalidInputError(f"column {on!r:.80} of {name} holds {kind}, and streams are aligned by numbers")


def _chosen(schema: pa.Schema, on: str, name: str, columns: Iterable[str] | None, how: str) -> list[str]:
    import pyarrow as pa

    numbers = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)]
    if columns is None:
        return [each for each in (numbers if how == "linear" else schema.names) if how != "linear" or each != on]
    chosen = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    for each in chosen:
        if each not in schema.names:
            raise InvalidInputError(f"{name} has no column {each!r:.80}{near(str(each), schema.names)}")
        if how == "linear" and each not in numbers:
            raise InvalidInputError(f"column {each!r:.80} of {name} holds no numbers, and nothing lies between them")
    return chosen


def _refuse_apart(
    left: Batched, right: Batched, on: str, how: str, tolerance: float | None, names: tuple[str, str]
) -> None:
    """Refuse two that have no time in common."""
    mine, other = _range(left, on), _range(right, on)
    if mine is None:
        return
    if other is None:
        raise InvalidInputError(f"{names[1]} has no row with a {on}, so nothing of it can be aligned with {names[0]}")
    # How much earlier, and later, than the first and the last row of the right one a row of the left one may be.
    far = math.inf if tolerance is None else tolerance
    before = far if how == "nearest" else 0
    after = 0 if how == "linear" else far
    if mine[1] < other[0] - before or mine[0] > other[1] + after:
        raise InvalidInputError(
            f"{names[0]} ({on} {mine[0]} to {mine[1]}) and {names[1]} ({other[0]} to {other[1]}) have no {on} in common"
            + ("" if tolerance is None else f" within {tolerance}")
        )


def _range(table: Batched, on: str) -> tuple[Any, Any] | None:
    """Return the least and the greatest value of a column; None if it has none."""
    import pyarrow.compute as pc

    low: Any = None
    high: Any = None
    for column in _column(table, on):
        values = column.filter(pc.is_finite(column))
        if len(values):
            found = cast("Any", pc.min_max(values)).as_py()
            low = found["min"] if low is None else min(low, found["min"])
            high = found["max"] if high is None else max(high, found["max"])
    return None if low is None else (low, high)


def _column(table: Batched, on: str) -> Iterable[pa.Array]:
    at = table.schema.get_field_index(on)
    return (batch.column(at) for batch in table.batches())


def _refuse_inexact(table: Batched, on: str, name: str) -> None:
    found = _range(table, on)
    if found is not None and max(abs(found[0]), abs(found[1])) > _EXACT:
        raise InvalidInputError(
            f"column {on!r:.80} of {name} holds integers beyond 2**53, and the other one floats: use one kind of time"
        )
