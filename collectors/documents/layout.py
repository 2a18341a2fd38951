"""How the events of one descriptor become rows: which columns there are, and what each kind of event needs."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.documents.kinds import natural_kind, wider_kind
from braid_hpc.vocabulary.event_rows import (
    HEAD,
    MOST_KEYS,
    REST_DATA,
    REST_KEYS,
    REST_WHOLE_DATA,
    REST_WHOLE_TIMES,
    column_of,
    time_column_of,
    written_keys,
)
from braid_hpc.vocabulary.verbatim import encode_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Form", "Layout"]

#: Kinds of events that are remembered for one descriptor, and times its columns are made anew.
MOST_FORMS = 64
MOST_TURNS = 16

_HEAD_KINDS = ("int64", "float64", "text", "text")


@dataclass(frozen=True, slots=True)
class Form:
    """What is to be done with events whose values are of certain classes, in order of the columns.

    Attributes
    ----------
    rest : bytes
        What stands in the column of that name.
    notes : dict
        The same, not yet encoded.
    wide, whole : tuple of int
        Where integers stand in columns of int64, and of float64.
    texts, packed : tuple of int
        Where texts stand, and what is encoded.
    """

    rest: bytes
    notes: dict[str, Any]
    wide: tuple[int, ...]
    whole: tuple[int, ...]
    texts: tuple[int, ...]
    packed: tuple[int, ...]


class Layout:
    """The columns for the events of one descriptor.

    They follow from its declaration and its first event; a later event may add keys, or widen a column. Every such
    turn is another declaration of the same stream.

    Parameters
    ----------
    stream : str
        Name of the stream.
    declared : mapping of str to str
        Type of column by data key, as far as a descriptor says it.
    units : mapping of str to str
        By data key.
    described : frozenset of str or None
        Data keys of its descriptor, without those that differ in case only; None if that was not seen yet.

    Attributes
    ----------
    keys : tuple of str
        Data keys that have columns.
    places : frozenset of str
        The same.
    kinds : tuple of str
        Types of these.
    append, extend : callable
        Of the stream; None before the first event.
    """

    def __init__(
        self, stream: str, declared: Mapping[str, str], units: Mapping[str, str], *, described: frozenset[str] | None
    ) -> None:
        self.stream = stream
        self.declared = declared
        self.units = units
        self.orphan = described is None
        self._described = described or frozenset()
        self._told = {key.lower() for key in self._described if type(key) is str}
        self._written = written_keys(self._described)
        self.keys: tuple[str, ...] = ()
        self.places: frozenset[str] = frozenset()
        self.kinds: tuple[str, ...] = ()
        self.turns = 0
        self.append: Any = None
        self.extend: Any = None
        self.get: Callable[[Any], tuple[Any, ...]] = _nothing
        self._forms: dict[tuple[type, ...], Form | None] = {}

    def turn(self, data: Mapping[Any, Any], kinds_of: Callable[[Any], str | None], open_stream: Any) -> bool:
        """Make the columns fit for an event, if they should be made anew for it.

        Parameters
        ----------
        data : mapping
            Values by data key, or columns of them.
        kinds_of : callable
            Returns the natural type of one of these.
        open_stream : callable
            Is given name, columns and units, and returns the stream, or None if there are too many.

        Returns
        -------
        bool
            Whether there are columns.
        """
        if self.turns >= MOST_TURNS:
            return self.append is not None
        wanted = dict(zip(self.keys, self.kinds, strict=True))
        taken = {key.lower() for key in wanted}
        for key, value in data.items():
            natural = kinds_of(value)
            if key in wanted:
                wanted[key] = wider_kind(wanted[key], natural)
            elif column_of(key) is not None and len(wanted) < MOST_KEYS and self._has_place(key, taken):
                wanted[key] = self._first_kind(key, natural)
                taken.add(key.lower())
        if self.append is not None and tuple(wanted.items()) == tuple(zip(self.keys, self.kinds, strict=True)):
            return True
        stream = open_stream(self.stream, self._columns(wanted), self._units(wanted))
        if stream is None:
            self.turns = MOST_TURNS
            return self.append is not None
        self.turns += 1
        self.keys, self.kinds = tuple(wanted), tuple(wanted.values())
        self.places = frozenset(wanted)
        self.get = _getter(self.keys)
        self._forms = {}
        self.append, self.extend = stream.append, stream.extend
        return True

    def _has_place(self, key: str, taken: set[str]) -> bool:
        """Say whether a key can have a column: the name of that does not tell small letters from others."""
        lower = key.lower()
        return lower not in taken and (lower not in self._told or self._written.get(lower) == key)

    def _first_kind(self, key: str, natural: str | None) -> str:
        declared = self.declared.get(key)
        if declared is None or (natural is not None and (declared, natural) != ("float64", "int64")):
            return natural or declared or "bytes"
        return declared

    def _columns(self, wanted: dict[str, str]) -> dict[str, str]:
        data = {column_of(key) or "": kind for key, kind in wanted.items()}
        return {**HEAD, **data, **{time_column_of(key): "float64" for key in wanted}}

    def _units(self, wanted: dict[str, str]) -> dict[str, str]:
        found = {column_of(key) or "": unit for key in wanted if (unit := self.units.get(key)) is not None}
        return {**found, "time": "s", **{time_column_of(key): "s" for key in wanted}}

    def notes(self) -> dict[str, Any]:
        """Return what the rest of every row says: how its keys are written, where no descriptor tells."""
        odd = [key for key in self.keys if key != key.lower() and key not in self._described]
        return {REST_KEYS: odd} if odd else {}

    def form(self, classes: tuple[type, ...]) -> Form | None:
        """Return what is to be done with an event.

        Parameters
        ----------
        classes : tuple of type
            Of ``seq_num``, ``time``, ``uid``, ``descriptor``, the values and their times, in order of the keys.

        Returns
        -------
        Form or None
            None if it has to be looked at value by value.
        """
        try:
            return self._forms[classes]
        except KeyError:
            found = self._find_form(classes)
            if len(self._forms) < MOST_FORMS:
                self._forms[classes] = found
            return found

    def _find_form(self, classes: tuple[type, ...]) -> Form | None:
        kinds = (*_HEAD_KINDS, *self.kinds, *("float64" for _ in self.keys))
        places: dict[str, list[int]] = {"wide": [], "whole": [], "texts": [], "packed": []}
        nothing: list[str] = []
        first, last = len(_HEAD_KINDS), len(_HEAD_KINDS) + len(self.keys)
        for place, (column, each) in enumerate(zip(kinds, classes, strict=True)):
            natural = natural_kind(each)
            if column == "bytes":
                places["packed"].append(place)
            elif column == "float64" and natural == "int64" and place != 1:
                places["whole"].append(place)
            elif natural is None and first <= place < last:
                nothing.append(self.keys[place - first])
            elif natural != column:
                return None
            elif column in ("int64", "text"):
                places["wide" if column == "int64" else "texts"].append(place)
        notes = self.notes()
        if nothing:
            notes[REST_DATA] = dict.fromkeys(nothing)
        if values := [self.keys[place - first] for place in places["whole"] if place < last]:
            notes[REST_WHOLE_DATA] = values
        if times := [self.keys[place - last] for place in places["whole"] if place >= last]:
            notes[REST_WHOLE_TIMES] = times
        rest = encode_words(notes)[0] if notes else b""
        return Form(rest, notes, **{name: tuple(found) for name, found in places.items()})


def _nothing(given: Any) -> tuple[Any, ...]:
    return ()


def _getter(keys: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if not keys:
        return _nothing
    if len(keys) == 1:
        (only,) = keys
        return lambda given: (given[only],)
    return itemgetter(*keys)
