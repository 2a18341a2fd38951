"""From an event, or a page of them, to rows of a stream; what fits no column stands in the rest of its row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.documents.kinds import WHOLE, fits_column, is_text, natural_kind
from braid_hpc.vocabulary.event_rows import (
    REST_CHANGED,
    REST_DATA,
    REST_LACKING,
    REST_TIMES,
    REST_WHOLE_DATA,
    REST_WHOLE_TIMES,
)
from braid_hpc.vocabulary.verbatim import LARGEST, Unkept, encode_words

if TYPE_CHECKING:
    from braid_hpc.collectors.documents.layout import Layout

__all__ = ["EVENT_MEMBERS", "LONGEST_NAME", "append_event", "append_exactly", "is_event", "kinds_of_value"]

#: What every event of today has.
EVENT_MEMBERS = frozenset({"seq_num", "time", "uid", "descriptor", "data", "timestamps", "filled"})

#: Characters of a uid by which documents are found.
LONGEST_NAME = 4096

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


def is_event(document: Any) -> bool:
    """Say whether a document can stand in a row.

    Parameters
    ----------
    document : object
        What was delivered as an event.

    Returns
    -------
    bool
        Whether its data and times are mappings.
    """
    return (
        isinstance(document, dict)
        and isinstance(document.get("data"), dict)
        and isinstance(document.get("timestamps"), dict)
        and type(document.get("descriptor")) is str
    )


def append_event(layout: Layout, document: dict[str, Any]) -> tuple[Any, list[Unkept]] | None:
    """Append an event of a kind that was met before.

    Parameters
    ----------
    layout : Layout
        That of its descriptor.
    document : dict
        The event.

    Returns
    -------
    (Rows, list of Unkept) or None
        Its place, and what could not be kept; None if it has to be looked at value by value.
    """
    data, stamps = document["data"], document["timestamps"]
    count = len(layout.keys)
    if len(data) != count or len(stamps) != count or len(document) != 7:
        return None
    try:
        head = (document["seq_num"], document["time"], document["uid"], document["descriptor"])
        given = head + layout.get(data) + layout.get(stamps)
        filled = document["filled"]
    except KeyError:
        return None
    form = layout.form(tuple(map(type, given)))
    if form is None or not isinstance(filled, dict):
        return None
    for place in form.wide:
        if not _LEAST <= given[place] <= _MOST:
            return None
    for place in form.whole:
        if not -WHOLE <= given[place] <= WHOLE:
            return None
    for place in form.texts:
        text = given[place]
        if len(text) > LARGEST or not (text.isascii() or is_text(text)):
            return None
    rest = form.rest
    unkept: list[Unkept] = []
    if filled:
        rest, unkept = encode_words({**form.notes, REST_CHANGED: {"filled": filled}})
    if form.packed:
        values = list(given)
        room = LARGEST
        for place in form.packed:
            values[place], left = encode_words(given[place], room)
            room -= len(values[place])
            unkept += left
        return layout.append(*values[:4], rest, *values[4:]), unkept
    return layout.append(*head, rest, *given[4:]), unkept


def append_exactly(layout: Layout, document: dict[str, Any]) -> tuple[Any, list[Unkept]] | None:
    """Append an event value by value: what does not fit its column goes into the rest.

    Parameters
    ----------
    layout : Layout
        That of its descriptor.
    document : dict
        The event.

    Returns
    -------
    (Rows, list of Unkept) or None
        Its place, and what could not be kept; None if no row could be found by the descriptor again.
    """
    if len(document["descriptor"]) > LONGEST_NAME or not is_text(document["descriptor"]):
        return None
    rest: dict[str, Any] = layout.notes()
    changed = {key: value for key, value in document.items() if key not in EVENT_MEMBERS}
    row: list[Any] = []
    room = LARGEST
    for member, kind in (("seq_num", "int64"), ("time", "float64"), ("uid", "text"), ("descriptor", "text")):
        fits, stored, whole = fits_column(kind, document.get(member))
        fits = fits and not whole and (kind != "text" or len(stored) <= room)
        room -= len(stored) if kind == "text" and fits else 0
        row.append(stored if fits else None)
        if not fits and member in document:
            changed[member] = document[member]
    if document.get("filled") != {}:
        changed["filled"] = document.get("filled")
    if lacking := [member for member in sorted(EVENT_MEMBERS) if member not in document]:
        rest[REST_LACKING] = lacking
        changed = {key: value for key, value in changed.items() if key not in lacking}
    if changed:
        rest[REST_CHANGED] = changed
    unkept: list[Unkept] = []
    for member, kinds, over, wholes in (
        ("data", layout.kinds, REST_DATA, REST_WHOLE_DATA),
        ("timestamps", ("float64",) * len(layout.keys), REST_TIMES, REST_WHOLE_TIMES),
    ):
        given = document[member]
        beyond = {key: value for key, value in given.items() if key not in layout.places}
        noted: list[str] = []
        for key, kind in zip(layout.keys, kinds, strict=True):
            if key not in given:
                row.append(None)
                continue
            value = given[key]
            if kind == "bytes":
                stored, left = encode_words(value, max(room, 0))
                unkept += left
                fits, whole = True, False
            else:
                fits, stored, whole = fits_column(kind, value)
                fits = fits and (kind != "text" or len(stored) <= room)
            room -= len(stored) if fits and kind in ("text", "bytes") else 0
            row.append(stored if fits else None)
            if not fits:
                beyond[key] = value
            elif whole:
                noted.append(key)
        if beyond:
            rest[over] = beyond
        if noted:
            rest[wholes] = noted
    packed, left = encode_words(rest, max(room, 0) + 4096) if rest else (b"", [])
    return layout.append(*row[:4], packed, *row[4:]), unkept + left


def kinds_of_value(value: Any) -> str | None:
    """Return the natural type of the column of a value.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    str or None
        As :func:`~braid_hpc.collectors.documents.kinds.natural_kind`.
    """
    return natural_kind(type(value))
