"""Values that no typed column holds, arrays above all: what a search needs to know of them, and no more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.store.event_documents import canonical
from braid_hpc.store.scan_facts import unnested
from braid_hpc.vocabulary.texts import clean

if TYPE_CHECKING:
    from braid_hpc.queries.tree import Condition
    from braid_hpc.store.bound import Bound
    from braid_hpc.store.scan_facts import Facts

__all__ = ["Totals", "Witnesses", "scalars"]

#: Items of an array that are Python's at once.
_AT_ONCE = 65_536


def scalars(value: Any) -> Iterator[list[Any]]:
    """Yield the items of a value, a bounded number at a time.

    Parameters
    ----------
    value : object
        A scalar, a list, nested or not, or an array of NumPy.

    Yields
    ------
    list
        Of Python's own objects.
    """
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        flat = value.reshape(-1)
        for at in range(0, len(flat), _AT_ONCE):
            some = flat[at : at + _AT_ONCE].tolist()
            if value.dtype.hasobject:
                for item in some:
                    yield from scalars(item)
            else:
                yield some
    elif isinstance(value, (list, tuple, set, frozenset)):
        single = [item for item in value if not _holds_items(item)]
        if single:
            yield single
        for item in value:
            if _holds_items(item):
                yield from scalars(item)
    else:
        yield [value]


def _holds_items(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) or hasattr(value, "dtype")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Witnesses:
    """Of the numbers of a scan those that decide a condition; all other values.

    What is compared with all numbers of a scan is decided by the least, the largest, one that is not a number, one that
    is asked for, and one that is not.

    Parameters
    ----------
    asked : Condition
        What is asked.
    number : int
        Its number.
    facts : Facts
        Take them.
    """

    def __init__(self, asked: Condition, number: int, facts: Facts) -> None:
        values = asked.value if isinstance(asked.value, tuple) else (asked.value,)
        self._wanted = [value for value in values if _is_number(value)]
        self._number, self._facts = number, facts
        self._kept: dict[str, dict[str, Any]] = {}

    def add(self, scan: str, value: Any) -> None:
        """Look at a value of an event.

        Parameters
        ----------
        scan : str
            Uid.
        value : object
            A scalar, or what holds several.
        """
        kept = self._kept.setdefault(scan, {})
        for some in scalars(value):
            numbers = []
            for item in some:
                if not _is_number(item):
                    self._facts.add(scan, self._number, item)
                elif item != item:
                    kept["nan"] = item
                else:
                    numbers.append(item)
            if not numbers:
                continue
            low, high = min(numbers), max(numbers)
            kept["least"] = min(low, kept.get("least", low))
            kept["largest"] = max(high, kept.get("largest", high))
            for at, wanted in enumerate(self._wanted):
                if wanted in numbers:
                    kept[f"wanted {at}"] = wanted
            if self._wanted and "other" not in kept:
                other = next((item for item in numbers if item not in self._wanted), None)
                if other is not None:
                    kept["other"] = other

    def close(self) -> None:
        """Give them to the facts."""
        for scan, kept in self._kept.items():
            for value in kept.values():
                self._facts.add(scan, self._number, value)


class Totals:
    """Sums over arrays by scan, and single values by event; an event that came twice counts once."""

    def __init__(self) -> None:
        self._single: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._seen: set[int] = set()
        self._sums: dict[str, dict[str, Any]] = {}

    def add(self, scan: str, event: tuple[Any, ...], value: Any) -> None:
        """Take a value of an event.

        Parameters
        ----------
        scan : str
            Uid.
        event : tuple
            Time, number and uid of the event.
        value : object
            A scalar, or what holds several.
        """
        if not _holds_items(value):
            time, number, uid = event
            where = (
                clean(scan),
                float(time) if type(time) in (int, float) else None,
                number if type(number) is int and abs(number) < 1 << 63 else None,
                clean(uid) if type(uid) is str else None,
            )
            row: tuple[str, str | None, float | None] = ("other", None, None)
            if _is_number(value):
                whole = isinstance(value, int) and abs(value) < 1 << 126
                row = ("int", str(value), None) if whole else ("float", None, _real(value))
            self._single.setdefault(where, row)
            return
        # Sixteen bytes of what names an event are enough to know it again.
        from hashlib import blake2b

        mark = int.from_bytes(blake2b(canonical([scan, *event]), digest_size=16).digest(), "big")
        if mark in self._seen:
            return
        self._seen.add(mark)
        self._add_array(scan, value)

    def _add_array(self, scan: str, value: Any) -> None:
        sums = self._sums.setdefault(
            clean(scan),
            {"n": 0, "others": 0, "int_sum": None, "floats": 0, "real_sum": None, **dict.fromkeys(_EXTREMES)},
        )
        if _is_plain_array(value):
            _add_numbers(sums, value)
            return
        for some in scalars(value):
            whole = [item for item in some if isinstance(item, int) and not isinstance(item, bool)]
            real = [item for item in some if isinstance(item, float)]
            sums["n"] += len(some)
            sums["others"] += len(some) - len(whole) - len(real)
            if whole:
                sums["int_sum"] = (sums["int_sum"] or 0) + sum(whole)
                _extremes(sums, "int", whole)
            if real:
                sums["floats"] += len(real)
                sums["real_sum"] = (sums["real_sum"] or 0.0) + _sum(real)
                _extremes(sums, "real", [item for item in real if item == item])

    def events(self, bound: Bound) -> str:
        """Return SQL of the single values.

        Parameters
        ----------
        bound : Bound
            Takes them.

        Returns
        -------
        str
            With ``scan``, what names an event, and its value.
        """
        rows = [(*where, *value) for where, value in self._single.items()]
        return _rows(bound, rows, _SINGLE)

    def arrays(self, bound: Bound) -> str:
        """Return SQL of the sums over arrays.

        Parameters
        ----------
        bound : Bound
            Takes them.

        Returns
        -------
        str
            With a row for each scan.
        """
        rows = []
        for scan, sums in self._sums.items():
            found = {**sums, **{name: None if sums[name] is None else str(sums[name]) for name in _WIDE}}
            rows.append((scan, *(found[name] for name in list(_SUMS)[1:])))
        return _rows(bound, rows, _SUMS)


def _is_plain_array(value: Any) -> bool:
    """Whether NumPy adds up the items of an array as exactly as Python does."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and (dtype.kind == "f" or (dtype.kind in "iu" and dtype.itemsize < 8))


def _add_numbers(sums: dict[str, Any], values: Any) -> None:
    sums["n"] += values.size
    if not values.size:
        return
    if values.dtype.kind in "iu":
        # 2^31 items of 32 bits fit, and more are never given at once.
        sums["int_sum"] = (sums["int_sum"] or 0) + int(values.sum(dtype="int64"))
        _extremes(sums, "int", [values.min().item(), values.max().item()])
        return
    sums["floats"] += values.size
    sums["real_sum"] = (sums["real_sum"] or 0.0) + float(values.sum(dtype="float64"))
    numbers = values[values == values]
    if numbers.size:
        _extremes(sums, "real", [numbers.min().item(), numbers.max().item()])


_EXTREMES = ("int_min", "int_max", "real_min", "real_max")
_WIDE = ("int_sum", "int_min", "int_max")
_SINGLE = {
    "scan": "varchar",
    "time": "double",
    "seq_num": "bigint",
    "uid": "varchar",
    "type": "varchar",
    "integer": "hugeint",
    "real": "double",
}
_SUMS = {
    "scan": "varchar",
    "n": "bigint",
    "others": "bigint",
    "int_sum": "hugeint",
    "floats": "bigint",
    "real_sum": "double",
    "int_min": "hugeint",
    "int_max": "hugeint",
    "real_min": "double",
    "real_max": "double",
}


def _rows(bound: Bound, rows: list[tuple[Any, ...]], columns: dict[str, str]) -> str:
    lists = list(zip(*rows, strict=True)) or [()] * len(columns)
    return unnested(bound, dict(zip(columns.items(), lists, strict=True)))


def _extremes(sums: dict[str, Any], kind: str, values: list[Any]) -> None:
    if values:
        low, high = sums[f"{kind}_min"], sums[f"{kind}_max"]
        sums[f"{kind}_min"] = min(values) if low is None else min(low, min(values))
        sums[f"{kind}_max"] = max(values) if high is None else max(high, max(values))


def _sum(values: list[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        # Infinities of both signs, or a sum beyond all doubles.
        return sum(values)


def _real(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
