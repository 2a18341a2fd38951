"""From a page of events to rows: column by column, and row by row only where a value fits no column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.documents.kinds import WHOLE, is_text, natural_kind
from braid_hpc.vocabulary.event_rows import (
    REST_CHANGED,
    REST_WHOLE_DATA,
    REST_WHOLE_TIMES,
    column_of,
    time_column_of,
)
from braid_hpc.vocabulary.verbatim import LARGEST, encode_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid_hpc.collectors.documents.layout import Layout

__all__ = ["events_of_page", "extend_page", "is_page", "kinds_of_column"]

#: Rows that are stored at once.
ROWS_AT_ONCE = 65_536

_LISTS = ("seq_num", "time", "uid")
_MEMBERS = frozenset({*_LISTS, "descriptor", "data", "timestamps", "filled"})


class _OddError(Exception):
    """A column holds what its type cannot: the page is taken row by row."""


def is_page(page: Any) -> bool:
    """Say whether a document is a page that can be taken apart.

    Parameters
    ----------
    page : object
        What was delivered as an event page.

    Returns
    -------
    bool
        Whether it has the members of a page, and its lists are of one length, which is not 0.
    """
    if not isinstance(page, dict) or page.keys() != _MEMBERS or type(page["descriptor"]) is not str:
        return False
    inner = [page[name] for name in ("data", "timestamps", "filled")]
    if not all(isinstance(each, dict) for each in inner):
        return False
    columns = [*(page[name] for name in _LISTS), *(column for each in inner for column in each.values())]
    if not all(type(column) in (list, tuple) or getattr(column, "ndim", 0) > 0 for column in columns):
        return False
    return len({len(column) for column in columns}) == 1 and len(page["seq_num"]) > 0


def kinds_of_column(column: Any) -> str | None:
    """Return the natural type for a column of values.

    Parameters
    ----------
    column : list or array
        One value for each event.

    Returns
    -------
    str or None
        The one type of all of them but None, ``float64`` for integers and floats, else that of the first.
    """
    if hasattr(column, "dtype"):
        return natural_kind(column.dtype.type) if column.ndim == 1 and column.dtype.kind != "O" else "bytes"
    found = [natural for each in dict.fromkeys(map(type, column)) if (natural := natural_kind(each)) is not None]
    if set(found) == {"int64", "float64"}:
        return "float64"
    return "bytes" if "bytes" in found else (found[0] if found else None)


def events_of_page(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a page.

    Parameters
    ----------
    page : dict
        One that :func:`is_page`.

    Yields
    ------
    dict
        Event documents.
    """
    for row in range(len(page["seq_num"])):
        yield {
            **{name: page[name][row] for name in _LISTS},
            "descriptor": page["descriptor"],
            **{
                name: {key: column[row] for key, column in page[name].items()}
                for name in ("data", "timestamps", "filled")
            },
        }


def extend_page(layout: Layout, page: dict[str, Any]) -> tuple[int, int] | None:
    """Store the events of a page as columns.

    Parameters
    ----------
    layout : Layout
        That of its descriptor, turned for it.
    page : dict
        One that :func:`is_page`.

    Returns
    -------
    stored, lost : int
        Events that are held, and that could not be written. None if the page has to be taken row by row; nothing of it
        is stored then.
    """
    if page["data"].keys() != layout.places or page["timestamps"].keys() != layout.places:
        return None
    count = len(page["seq_num"])
    # All is looked at before anything is stored: a page is taken one way or the other.
    try:
        checked = [_checked(layout, page, slice(at, at + ROWS_AT_ONCE)) for at in range(0, count, ROWS_AT_ONCE)]
    except _OddError:
        return None
    stored = sum(layout.extend(columns).count for columns in checked)
    return stored, count - stored


def _checked(layout: Layout, page: dict[str, Any], part: slice) -> dict[str, Any]:
    """Return a part of a page as the columns of the stream."""
    descriptor = page["descriptor"]
    if not is_text(descriptor):
        raise _OddError
    count = len(page["seq_num"][part])
    columns: dict[str, Any] = {
        name: _column(page[name][part], kind, [LARGEST])[0]
        for name, kind in (("seq_num", "int64"), ("time", "float64"), ("uid", "text"))
    }
    columns["descriptor"] = [descriptor] * count
    notes: dict[int, dict[str, Any]] = {}
    room = [LARGEST * 4]
    for key, kind in zip(layout.keys, layout.kinds, strict=True):
        for name, column, form, note in (
            ("data", column_of(key) or "", kind, REST_WHOLE_DATA),
            ("timestamps", time_column_of(key), "float64", REST_WHOLE_TIMES),
        ):
            columns[column], wholes = _column(page[name][key][part], form, room)
            for row in wholes:
                notes.setdefault(row, {}).setdefault(note, []).append(key)
    columns["rest"] = _rests(layout, {key: column[part] for key, column in page["filled"].items()}, notes, count)
    return columns


def _column(values: Any, kind: str, room: list[int]) -> tuple[Any, list[int]]:
    """Return a column as the stream takes it, and the rows in which integers stand among floats."""
    if kind == "bytes":
        return _packed(values, room), []
    if hasattr(values, "dtype"):
        if natural_kind(values.dtype.type) != kind or values.dtype.kind == "O" or kind == "text":
            values = values.tolist()
        elif values.dtype.itemsize == 8 and values.dtype.kind == "u" and int(values.max()) >= 1 << 63:
            raise _OddError
        else:
            return values.astype({"float64": "<f8", "int64": "<i8", "bool": "?"}[kind]), []
    naturals = {each: natural_kind(each) for each in set(map(type, values))}
    wholes: list[int] = []
    if set(naturals.values()) != {kind}:
        if kind != "float64" or not {"float64", "int64"}.issuperset(naturals.values()):
            raise _OddError
        wholes = [row for row, value in enumerate(values) if naturals[type(value)] == "int64"]
        if any(not -WHOLE <= values[row] <= WHOLE for row in wholes):
            raise _OddError
    elif kind == "int64":
        if min(values) < -(1 << 63) or max(values) >= 1 << 63:
            raise _OddError
    elif kind == "text" and (sum(map(len, values)) > 4 * LARGEST or not all(map(is_text, values))):
        raise _OddError
    return list(values), wholes


def _packed(values: Any, room: list[int]) -> list[bytes]:
    found = []
    for value in values:
        data, left = encode_words(value, min(LARGEST, max(room[0], 0)))
        room[0] -= len(data)
        if left:
            # Row by row there is room for each.
            raise _OddError
        found.append(data)
    return found


def _rests(layout: Layout, filled: dict[str, Any], notes: dict[int, dict[str, Any]], count: int) -> list[bytes]:
    """Return what the columns do not hold, one for each row."""
    base = layout.notes()
    constant = all(len(set(map(type, c))) == 1 and len(set(c)) == 1 for c in map(_hashable, filled.values()))
    if constant:
        if filled:
            base[REST_CHANGED] = {"filled": {key: column[0] for key, column in filled.items()}}
        always = encode_words(base)[0] if base else b""
        rests = [always] * count
        known: dict[str, bytes] = {}
        for row, note in notes.items():
            shown = repr(note)
            if shown not in known:
                known[shown] = encode_words({**base, **note})[0]
            rests[row] = known[shown]
        return rests
    return [
        encode_words(
            {
                **base,
                **notes.get(row, {}),
                REST_CHANGED: {"filled": {key: column[row] for key, column in filled.items()}},
            }
        )[0]
        for row in range(count)
    ]


def _hashable(column: Any) -> list[Any]:
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    if not {bool, str, type(None)}.issuperset(map(type, values)):
        return [object(), object()]
    return values
