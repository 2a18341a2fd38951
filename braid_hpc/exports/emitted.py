"""Documents in the order in which a RunEngine would have said them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Pair", "emitted"]

#: Name and document.
Pair = tuple[str, dict[str, Any]]


def emitted(documents: Iterable[Pair]) -> Iterator[Pair]:
    """Yield documents in an order in which each comes after those that it refers to, and no sooner than it is needed.

    Descriptors come by their time among the events, resources and datums right before the first event that uses them,
    stream datums before the first event that they have data of. What nothing uses comes before the stop.

    Parameters
    ----------
    documents : iterable of (str, dict)
        Of one run: as ``store.documents(uid)`` gives them, or in any order in which each document comes before the
        events that need it.

    Yields
    ------
    (str, dict)
        Name and document, each of those that were given once.

    Examples
    --------
    >>> start, late = {"uid": "s"}, {"uid": "d2", "time": 5.0}
    >>> one, event = {"uid": "d1", "time": 1.0}, {"descriptor": "d1", "time": 2.0, "seq_num": 1, "data": {}}
    >>> given = [("start", start), ("descriptor", late), ("descriptor", one), ("event", event)]
    >>> [name for name, _ in emitted(given)]
    ['start', 'descriptor', 'event', 'descriptor']
    """
    waiting = _Waiting()
    last: list[Pair] = []
    for name, document in documents:
        if name == "event":
            yield from waiting.before(document)
            yield name, document
        elif name == "stop":
            last.append((name, document))
        elif not waiting.keep(name, document):
            yield name, document
    yield from waiting.rest()
    yield from last


class _Waiting:
    """Documents that wait for the first event that needs them."""

    def __init__(self) -> None:
        self._descriptors: list[dict[str, Any]] = []
        self._sorted = True
        self._described: dict[Any, set[str]] = {}
        self._resources: dict[Any, Pair] = {}
        self._datums: dict[Any, dict[str, Any]] = {}
        self._stream_datums: dict[Any, list[tuple[float, int, dict[str, Any]]]] = {}
        self._order = 0

    def keep(self, name: str, document: dict[str, Any]) -> bool:
        """Take a document that waits; of any other False is returned."""
        uid = document.get("datum_id" if name == "datum" else "uid")
        if type(uid) is not str:
            return False
        if name == "descriptor":
            self._descriptors.append(document)
            self._sorted = False
            self._described[uid] = _external(document)
        elif name in ("resource", "stream_resource") and uid not in self._resources:
            self._resources[uid] = (name, document)
        elif name == "datum" and uid not in self._datums:
            self._datums[uid] = document
        elif name == "stream_datum":
            self._order += 1
            of = self._stream_datums.setdefault(_text(document.get("descriptor")), [])
            heapq.heappush(of, (_first(document), self._order, document))
        else:
            return False
        return True

    def before(self, event: dict[str, Any]) -> Iterator[Pair]:
        """Yield what comes before an event."""
        own, time = _text(event.get("descriptor")), _number(event.get("time"))
        if self._descriptors:
            yield from self._due(own, time)
        data = event.get("data")
        for key in self._described.get(own, ()):
            datum = self._datums.pop(_text(data.get(key)), None) if isinstance(data, dict) else None
            if datum is not None:
                yield from self._with_resource(datum.get("resource"), "datum", datum)
        if own in self._stream_datums:
            yield from self._stream_data(own, event.get("seq_num"))

    def rest(self) -> Iterator[Pair]:
        """Yield what no event needed."""
        self._sort()
        yield from (("descriptor", each) for each in self._descriptors)
        for datum in self._datums.values():
            yield from self._with_resource(datum.get("resource"), "datum", datum)
        for datums in self._stream_datums.values():
            for _, _, datum in sorted(datums, key=lambda each: each[:2]):
                yield from self._with_resource(datum.get("stream_resource"), "stream_datum", datum)
        yield from self._resources.values()

    def _due(self, own: str, time: float) -> Iterator[Pair]:
        self._sort()
        count = 0
        for at, each in enumerate(self._descriptors):
            if _number(each.get("time")) <= time:
                count = at + 1
        for at, each in enumerate(self._descriptors):
            if at < count or _text(each.get("uid")) == own:
                yield "descriptor", each
        self._descriptors = [each for each in self._descriptors[count:] if _text(each.get("uid")) != own]

    def _sort(self) -> None:
        if not self._sorted:
            self._descriptors.sort(key=lambda each: _number(each.get("time")))
            self._sorted = True

    def _stream_data(self, own: str, number: Any) -> Iterator[Pair]:
        datums = self._stream_datums[own]
        while datums and datums[0][0] <= _number(number):
            datum = heapq.heappop(datums)[2]
            yield from self._with_resource(datum.get("stream_resource"), "stream_datum", datum)

    def _with_resource(self, uid: Any, name: str, document: dict[str, Any]) -> Iterator[Pair]:
        resource = self._resources.pop(_text(uid), None)
        if resource is not None:
            yield resource
        yield name, document


def _external(descriptor: dict[str, Any]) -> set[str]:
    """Return the data keys whose values may name datums."""
    keys = descriptor.get("data_keys")
    return {
        key
        for key, about in (keys.items() if isinstance(keys, dict) else ())
        if isinstance(about, dict) and about.get("external") is not None
    }


def _first(datum: dict[str, Any]) -> float:
    """Return the number of the first event that a stream datum is of; one that does not say so is of all."""
    numbers = datum.get("seq_nums")
    return _number(numbers.get("start")) if isinstance(numbers, dict) else -math.inf


def _text(value: Any) -> str:
    """Return what a document is looked up by; what is no text names nothing."""
    return value if type(value) is str else ""


def _number(value: Any) -> float:
    if type(value) is int and abs(value) >> 1000:
        return math.inf if value > 0 else -math.inf
    return float(value) if type(value) in (int, float) and value == value else -math.inf
