"""Documents of several events, or of several datums, where their consumers want such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from braid_hpc.exports.emitted import Pair
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["paged"]

_HEADS = ("seq_num", "time", "uid")
_INNER = ("data", "timestamps", "filled")
_EVENT = {*_HEADS, *_INNER, "descriptor"}
_DATUM = {"datum_id", "datum_kwargs", "resource"}


def paged(documents: Iterable[Pair], size: int) -> Iterator[Pair]:
    """Yield documents with successive events of one descriptor as ``event_page``, and datums as ``datum_page``.

    Parameters
    ----------
    documents : iterable of (str, dict)
        In their order, which is kept.
    size : int
        Events of a page at most.

    Yields
    ------
    (str, dict)
        Name and document; an event that a page cannot hold, because it has other members, stands alone.

    Raises
    ------
    InvalidInputError
        If the size is no number of events.

    Examples
    --------
    >>> events = [("datum", {"datum_id": f"r/{n}", "datum_kwargs": {"at": n}, "resource": "r"}) for n in (0, 1)]
    >>> list(paged(events, 100))
    [('datum_page', {'resource': 'r', 'datum_id': ['r/0', 'r/1'], 'datum_kwargs': {'at': [0, 1]}})]
    """
    if type(size) is not int or size < 1:
        raise InvalidInputError(f"{size!r:.40} is no size of a page: give a number of events, from 1")
    return _paged(documents, size)


def _paged(documents: Iterable[Pair], size: int) -> Iterator[Pair]:
    group: list[dict[str, Any]] = []
    like: Any = None
    for name, document in documents:
        form = _form(name, document)
        if group and (form is None or form != like or len(group) >= size):
            yield _page(like[0], group)
            group = []
        if form is None:
            yield name, document
        else:
            like = form
            group.append(document)
    if group:
        yield _page(like[0], group)


def _form(name: str, document: dict[str, Any]) -> Any:
    """Return what the documents of one page have in common; None if a document fits none."""
    if name == "event" and document.keys() == _EVENT:
        inner = [document[member] for member in _INNER]
        if all(isinstance(each, dict) for each in inner):
            return name, document["descriptor"], tuple(tuple(each) for each in inner)
    elif name == "datum" and document.keys() == _DATUM and isinstance(document["datum_kwargs"], dict):
        return name, document["resource"], tuple(document["datum_kwargs"])
    return None


def _page(name: str, group: list[dict[str, Any]]) -> Pair:
    first = group[0]
    if name == "datum":
        return "datum_page", {
            "resource": first["resource"],
            "datum_id": [each["datum_id"] for each in group],
            "datum_kwargs": _columns(group, "datum_kwargs"),
        }
    heads = {member: [each[member] for each in group] for member in _HEADS}
    inner = {member: _columns(group, member) for member in _INNER}
    return "event_page", {**heads, **inner, "descriptor": first["descriptor"]}


def _columns(group: list[dict[str, Any]], member: str) -> dict[str, list[Any]]:
    return {key: [each[member][key] for each in group] for key in group[0][member]}
