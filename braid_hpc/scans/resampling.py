"""Rows in bins of time, with one value of each column for each bin."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import near
from braid_hpc.scans.derived import NUMBER, Batched, Derived, inner_names
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["HOWS", "resample"]

#: What becomes of the values of a bin.
HOWS = {
    "mean": "avg({0}::double){1}",
    "sum": "coalesce(sum({0}){1}, 0)",
    "min": "min({0}){1}",
    "max": "max({0}){1}",
    "first": "first({0} order by t, {2}){1}",
    "last": "last({0} order by t, {2}){1}",
    "count": "count({0}){1}",
    "median": "median({0}::double){1}",
    "std": "stddev_samp({0}::double){1}",
}
_OF_NUMBERS = {"mean", "sum", "median", "std"}
#: Bins of one answer.
MOST = 100_000_000
_NANO = 1_000_000_000
_BEYOND = "a sum is beyond 64 bits: ask for the mean, or for shorter bins"


def resample(
    table: Batched,
    *,
    step: float | datetime.timedelta,
    how: str | Mapping[str, str] = "mean",
    on: str = "time",
    columns: Iterable[str] | None = None,
    empty: bool = True,
) -> Derived:
    """Put rows into bins of time, and make one row of each bin.

    Bins begin at whole multiples of the step since 1970, and hold their beginning. They are compared in whole
    nanoseconds, as :meth:`pandas.DataFrame.resample` with ``origin="epoch"`` does.

    Parameters
    ----------
    table : Batched
        Its rows, in any order; those without a time are left out.
    step : float or timedelta
        How long a bin is: seconds, where `on` holds floats; where it holds integers a whole number of their unit.
    how : str or mapping of str to str
        ``mean``, ``sum``, ``min``, ``max``, ``first``, ``last`` (by time), ``count``, ``median`` or ``std`` (of a
        sample); or which of these for each column. Missing values and NaN are left out.
    on : str
        The column with the time.
    columns : iterable of str, optional
        Which columns; without it those of `how`, or all that hold numbers, except ``seq_num``.
    empty : bool
        Whether bins without rows between the first and the last are there too: a count and a sum are 0 then, and
        everything else is missing.

    Returns
    -------
    Derived
        `on`, which is the beginning of the bin, then the columns; by time.

    Raises
    ------
    InvalidInputError
        If there are no such columns, they do not hold numbers, the step is none, or there would be too many bins.
    """
    schema = table.schema
    whole = _whole(schema, on)
    size = _size(step, whole)
    hows = _hows(schema, on, how, columns)
    n = quoted(NUMBER)
    inner = inner_names(schema)
    moment = inner[on]
    time = moment if whole else f"round({moment}::double * {_NANO})"
    good = f"{moment} is not null" + ("" if whole else f" and isfinite({moment})")
    parts = []
    for name, chosen in hows.items():
        there = f"{inner[name]} is not null"
        if _is_float(schema.field(name).type):
            there += f" and not isnan({inner[name]})"
        made = HOWS[chosen].format(inner[name], f" filter (where {there})", n)
        whole_sum = chosen == "sum" and not _is_float(schema.field(name).type)
        parts.append(f"({made})::bigint" if whole_sum else made)
    made_columns = "".join(f", {made} as {inner[name]}" for made, name in zip(parts, hows, strict=True))
    rows = f"rows as (select *, {time}::hugeint as t from tbl where {good})"
    bins = f"bins as (select (t - (t % {size} + {size}) % {size})::bigint as _bin{made_columns} from rows group by 1)"
    label = "_bin" if whole else f"_bin / {_NANO}::double"
    listed = "".join(f", {inner[name]}" for name in hows)
    query = f"with {rows}, {bins} select {label} as bin{listed} from bins order by _bin"
    if empty:
        filled = "".join(
            f", coalesce(b.{inner[name]}, 0)" if chosen in ("sum", "count") else f", b.{inner[name]}"
            for name, chosen in hows.items()
        )
        ends = "ends as (select min(_bin) as low, max(_bin) as high from bins)"
        many = f"case when (high::hugeint - low) // {size} >= {MOST} then error('{_MANY}') else high end"
        every = f"every as (select unnest(range(low, {many} + 1, {size})) as _bin from ends where low is not null)"
        query = (
            f"with {rows}, {bins}, {ends}, {every} "
            f"select {label.replace('_bin', 'e._bin')} as bin{filled} "
            "from every e left join bins b on b._bin = e._bin order by e._bin"
        )
    about = {name: schema.field(name).metadata for name in (on, *hows) if hows.get(name) != "count"}
    return Derived({"tbl": table}, query, [on, *hows], about=about, refused=_refused)


_MANY = f"there would be more than {MOST} bins: give a longer step, or empty=False"


def _refused(text: str) -> str | None:
    if _MANY in text:
        return _MANY
    return _BEYOND if "INT128" in text or "HUGEINT" in text else None


def _is_float(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind))


def _whole(schema: pa.Schema, on: str) -> bool:
    """Say whether times are integers."""
    import pyarrow as pa

    if on not in schema.names:
        raise InvalidInputError(f"there is no column {on!r:.80}{near(str(on), schema.names)}")
    kind = schema.field(on).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InvalidInputError(f"column {on!r:.80} holds {kind}, and bins are made of numbers")
    return bool(pa.types.is_integer(kind))


def _size(step: Any, whole: bool) -> int:
    """Return the length of a bin in the unit that is counted in."""
    if isinstance(step, datetime.timedelta) and not whole:
        step = step / datetime.timedelta(seconds=1)
    good = isinstance(step, (int, float)) and not isinstance(step, bool) and math.isfinite(step)
    size = round(step * (1 if whole else _NANO)) if good else 0
    if size < 1 or size >= 1 << 62 or (whole and size != step):
        unit = "a whole number, as the times are" if whole else "seconds, or a timedelta, of a nanosecond or more"
        raise InvalidInputError(f"step={step!r:.40} is no length of bins: give {unit}")
    return size


def _listed(columns: Iterable[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _hows(schema: pa.Schema, on: str, how: Any, columns: Iterable[str] | None) -> dict[str, str]:
    """Return what becomes of each column."""
    import pyarrow as pa

    numbers = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)]
    if isinstance(how, Mapping):
        hows = dict(how)
        if columns is not None:
            raise InvalidInputError("which columns, and how, is said once: by columns=, or by how= of each")
    else:
        chosen = [name for name in numbers if name not in (on, "seq_num")] if columns is None else _listed(columns)
        hows = dict.fromkeys(chosen, how)
    for name, each in hows.items():
        if name not in schema.names or name == on:
            raise InvalidInputError(f"there is no column {name!r:.80} to put into bins{near(str(name), schema.names)}")
        if each not in HOWS:
            raise InvalidInputError(f"how={each!r:.40} is none of {', '.join(HOWS)}")
        if each in _OF_NUMBERS and name not in numbers:
            raise InvalidInputError(f"column {name!r:.80} holds no numbers, and has no {each}")
    return hows
