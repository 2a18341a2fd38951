"""Documents of a scan given once more to what takes them live."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.exports.emitted import Pair, emitted
from braid_hpc.exports.pages import paged
from braid_hpc.vocabulary.errors import BraidWarning

__all__ = ["Replayed", "export_documents", "not_whole", "replay"]

#: What is missing of a scan that a sentence names.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was given.

    Attributes
    ----------
    uid : str
        Of the scan; empty if it is not known.
    documents : dict of str to int
        How many of each name.
    stopped : bool
        Whether a stop was among them.
    lacks : str
        What the scan lacks, as a sentence; empty if it is whole.
    """

    uid: str
    documents: dict[str, int] = field(default_factory=dict)
    stopped: bool = False
    lacks: str = ""


def export_documents(documents: Any, *, pages: int | None = None) -> Iterator[Pair]:
    """Yield the documents of a scan as a RunEngine would have said them, for any program that takes such.

    Parameters
    ----------
    documents : Documents, Scan or iterable of (str, dict)
        As ``store.documents(uid)`` gives them.
    pages : int, optional
        Events of a page at most: successive events then come as ``event_page``, and datums as ``datum_page``. Without
        it each comes alone.

    Returns
    -------
    iterator of (str, dict)
        Name and document. They are the caller's own: to change them changes nothing else. Each comes after those that
        it refers to; a run that never stopped ends without a stop.

    Raises
    ------
    InvalidInputError
        If the size is no number of events.

    See Also
    --------
    replay : gives them to a callback.

    Examples
    --------
    >>> start, stop = ("start", {"uid": "c0ffee"}), ("stop", {"uid": "beef", "run_start": "c0ffee"})
    >>> [name for name, _ in export_documents([stop, start])]
    ['start', 'stop']
    """
    found = emitted(_given(_documents_of(documents)))
    return found if pages is None else paged(found, pages)


def replay(scan: Any, callback: Callable[[str, dict[str, Any]], object], *, pages: int | None = None) -> Replayed:
    """Give the documents of a scan to a callback, as a RunEngine did while it ran.

    Parameters
    ----------
    scan : Documents, Scan or iterable of (str, dict)
        As ``store.documents(uid)`` gives it.
    callback : callable
        Called with name and document: an ``event_model.RunRouter``, a serializer of a suitcase, a
        ``BestEffortCallback``, a collector. What it raises ends the replay.
    pages : int, optional
        As for :func:`export_documents`.

    Returns
    -------
    Replayed
        What was given, and what the scan lacks.

    Raises
    ------
    InvalidInputError
        If the size is no number of events.

    Warns
    -----
    BraidWarning
        If the scan is not whole: it never stopped, or documents are missing. What is held was given.

    Examples
    --------
    >>> said = []
    >>> replay([("start", {"uid": "c0ffee"}), ("stop", {"run_start": "c0ffee"})], lambda *pair: said.append(pair[0]))
    Replayed(uid='c0ffee', documents={'start': 1, 'stop': 1}, stopped=True, lacks='')
    """
    documents = _documents_of(scan)
    done = _given_to(documents, callback, pages)
    if done.lacks:
        warnings.warn(f"{done.lacks}: what is held was given", BraidWarning, stacklevel=2)
    return done


def _given_to(documents: Any, callback: Callable[[str, dict[str, Any]], object], pages: int | None) -> Replayed:
    counts: Counter[str] = Counter()
    uid = str(getattr(documents, "uid", ""))
    for name, document in export_documents(documents, pages=pages):
        counts[name] += 1
        if name == "start" and not uid:
            uid = str(document.get("uid", ""))
        callback(name, document)
    lacks = not_whole(documents, stopped=bool(counts["stop"]))
    return Replayed(uid, dict(counts), bool(counts["stop"]), lacks)


def not_whole(documents: Any, *, stopped: bool) -> str:
    """Return what a scan lacks.

    Parameters
    ----------
    documents : Documents or iterable
        Of the scan.
    stopped : bool
        Whether it has a stop.

    Returns
    -------
    str
        A sentence without a full stop; empty if it is whole.
    """
    missing = [each for each in getattr(documents, "missing", ()) if each.what != "stop"]
    parts = [] if stopped else ["it has no stop"]
    parts += [each.detail for each in missing[:_NAMED]]
    if len(missing) > _NAMED:
        parts.append(f"and {len(missing) - _NAMED} more")
    uid = getattr(documents, "uid", "")
    return f"scan {uid} is not whole: {', '.join(parts)}".replace("  ", " ") if parts else ""


def _documents_of(scan: Any) -> Any:
    documents = getattr(scan, "documents", None)
    return documents() if callable(documents) else scan


def _given(documents: Any) -> Iterator[Pair]:
    """Yield documents that the consumer may change: what is kept for the next who asks stays as it is."""
    for name, document in documents:
        yield name, copy.deepcopy(document)
