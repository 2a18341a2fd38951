"""What arguments and results consist of: records and objects that stand for one lie in lists, dicts and dataclasses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.run.handles import Record, record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DEPTH", "MOST", "results_of", "used_by"]

#: A container with more elements than this is not looked into: a call must not cost what its data weighs.
MOST = 64
#: Nor are containers within containers beyond this depth.
DEPTH = 3

#: Values that no record is ever made for.
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def results_of(result: Any) -> list[tuple[str, Any]]:
    """Return the parts of a returned value that a record can stand for, with a suffix for their names.

    Parameters
    ----------
    result : object
        What a function returned.

    Returns
    -------
    list of (str, object)
        The value itself, or what lies in it if it is a tuple, list or dict: ``[0]``, ``[mask]``. A dataclass is a part
        itself, and so are its fields: ``.mask``. Scalars, texts and None are left out.
    """
    return [] if isinstance(result, _PLAIN) else list(_parts(result, "", DEPTH))


def used_by(values: Iterable[Any]) -> list[Record]:
    """Return the records that arguments stand for.

    Parameters
    ----------
    values : iterable
        Arguments. Lists, tuples, sets, the values of dicts and the fields of dataclasses are looked into.

    Returns
    -------
    list of Record
        Each once, in order.
    """
    found: dict[Record, None] = {}
    for value in values:
        if not isinstance(value, _PLAIN):
            for _, part in _parts(value, "", DEPTH):
                if (record := record_of(part)) is not None:
                    found[record] = None
    return list(found)


def _parts(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    inside: Iterable[tuple[str, Any]] = ()
    fields = getattr(type(value), "__dataclass_fields__", None)
    if isinstance(value, Record):
        yield name, value
    elif isinstance(value, (tuple, list, set, frozenset)):
        inside = ((f"{name}[{index}]", part) for index, part in enumerate(value)) if len(value) <= MOST else ()
    elif isinstance(value, dict):
        inside = ((f"{name}[{key}]", part) for key, part in value.items()) if len(value) <= MOST else ()
    else:
        yield name, value
        if fields is not None and len(fields) <= MOST:
            # Through its dictionary or slots, so that nothing is computed by being looked at.
            inside = ((f"{name}.{field}", getattr(value, field, None)) for field in fields)
    for inner, part in inside:
        if depth and not isinstance(part, _PLAIN):
            yield from _parts(part, inner, depth - 1)
