"""Scans processed into scans: replayed through a function, and recorded again with where they come from."""

from __future__ import annotations

import dataclasses
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from braid_hpc.exports.emitted import Pair
from braid_hpc.exports.replaying import Replayed, _documents_of, _given_to, export_documents, not_whole
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError
from braid_hpc.vocabulary.references import Reference

__all__ = ["process", "processed"]

#: What a transform gives for a document: another one, several with their names, or nothing.
Made = dict[str, Any] | Iterable[Pair] | None


def process(
    scan: Any,
    transform: Callable[[str, dict[str, Any]], Made],
    callback: Callable[[str, dict[str, Any]], object],
    *,
    fill: bool = False,
) -> Replayed:
    """Replay a scan through a function, and give what it makes to a callback as a scan of its own.

    With a :class:`~braid_hpc.collectors.documents.DocumentCollector` as the callback the new scan is recorded, with a
    derivation from the old one: to invalidate the old one invalidates it, and both can be replayed.

    Parameters
    ----------
    scan : Scan, Documents or iterable of (str, dict)
        What is processed.
    transform : callable
        Takes name and document, and returns the document that stands in its place, a list of names and documents, or
        None for nothing. It may change the document that it is given.
    callback : callable
        Takes names and documents.
    fill : bool
        Whether what lies in files of detectors is read into the events before; needs a Scan.

    Returns
    -------
    Replayed
        Of the new scan: its uid, and how many documents it has.

    Raises
    ------
    InvalidInputError
        If the transform gives something else.

    Warns
    -----
    BraidWarning
        If the old scan never stopped, as :func:`~braid_hpc.exports.replaying.replay`.

    See Also
    --------
    processed : yields the documents.

    Examples
    --------
    >>> from braid_hpc.exports.processing import process
    >>> old = [("start", {"uid": "a", "time": 1.0}), ("stop", {"uid": "b", "run_start": "a", "time": 2.0})]
    >>> found = []
    >>> done = process(old, lambda name, document: document, lambda *pair: found.append(pair))
    >>> [name for name, _ in found], found[0][1]["derived_from"], found[1][1]["run_start"] == done.uid
    (['start', 'stop'], ['scan:a'], True)
    """
    documents = scan.documents(fill=True) if fill else _documents_of(scan)
    lacks = not_whole(documents, stopped=_has_stop(documents))
    done = _given_to(processed(documents, transform), callback, None)
    if lacks:
        warnings.warn(f"{lacks}: what is held was processed", BraidWarning, stacklevel=2)
    return dataclasses.replace(done, lacks=lacks)


def processed(documents: Any, transform: Callable[[str, dict[str, Any]], Made]) -> Iterator[Pair]:
    """Yield the documents of a scan that is made of another one.

    The transform sees and gives documents as those of the old scan. Then each gets a uid of its own, and those that
    refer to it follow. The start has the time of now, names the old scan as ``derived_from``, and has no ``scan_id``
    unless the transform gave it another one; events keep their times and are numbered anew in each stream; the stop
    counts them.

    Parameters
    ----------
    documents : Documents, Scan or iterable of (str, dict)
        What is processed.
    transform : callable
        As for :func:`process`.

    Yields
    ------
    (str, dict)
        Name and document.

    Raises
    ------
    InvalidInputError
        If the transform gives something else, or the scan has no start.
    """
    renaming = _Renaming()
    for name, document in export_documents(documents):
        if name == "start":
            renaming.old = dict(document)
        for made_name, made in _made(name, transform(name, document)):
            yield made_name, renaming.renamed(made_name, made)


def _made(name: str, made: Any) -> Iterator[Pair]:
    if isinstance(made, dict):
        yield name, made
    elif made is not None:
        good = isinstance(made, Iterable) and not isinstance(made, (str, bytes))
        pairs = list(made) if good else [made]
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[1], dict):
                raise InvalidInputError(
                    f"a transform gives a document, names and documents, or None; for {name!r} it gave {pair!r:.40}"
                )
            yield str(pair[0]), pair[1]


class _Renaming:
    """New uids for the documents of a scan, and references that follow them."""

    def __init__(self) -> None:
        self.old: dict[str, Any] | None = None
        self._uids: dict[Any, str] = {}
        self._streams: dict[str, str] = {}
        self._external: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def _new(self, uid: Any) -> str:
        return self._uids.setdefault(uid, str(uuid.uuid4()))

    def renamed(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document of the new scan."""
        if self.old is None:
            raise InvalidInputError("a scan without a start document cannot be processed into another one")
        found = dict(document)
        for member in ("run_start", "resource", "stream_resource"):
            if member in found:
                found[member] = self._new(found[member])
        if name == "start":
            return self._start(found)
        if name == "event":
            return self._event(found)
        if name == "datum":
            found["datum_id"] = self._datum(found["datum_id"])
            return found
        if name == "stream_datum":
            found["descriptor"] = self._new(found["descriptor"])
        if name == "descriptor":
            self._describe(found)
        if name == "stop":
            found["num_events"] = {stream: self._counts[stream] for stream in dict.fromkeys(self._streams.values())}
            found["time"] = time.time()
        if "uid" in found:
            found["uid"] = self._new(found["uid"])
        return found

    def _start(self, found: dict[str, Any]) -> dict[str, Any]:
        old = self.old or {}
        found["derived_from"] = [str(Reference(name=str(old["uid"]), kind="scan"))]
        if found.get("scan_id") == old.get("scan_id"):
            found.pop("scan_id", None)
        found["uid"] = self._new(old["uid"])
        found["time"] = time.time()
        return found

    def _describe(self, found: dict[str, Any]) -> None:
        uid = self._new(found["uid"])
        self._streams[uid] = str(found.get("name"))
        keys = found.get("data_keys")
        self._external[uid] = [
            key
            for key, about in (keys.items() if isinstance(keys, dict) else ())
            if isinstance(about, dict) and about.get("external") is not None
        ]

    def _event(self, found: dict[str, Any]) -> dict[str, Any]:
        found["uid"] = str(uuid.uuid4())
        found["descriptor"] = descriptor = self._new(found["descriptor"])
        stream = self._streams.get(descriptor, "")
        self._counts[stream] += 1
        found["seq_num"] = self._counts[stream]
        data = found.get("data")
        filled = found.get("filled")
        for key in self._external.get(descriptor, ()):
            if isinstance(data, dict) and type(data.get(key)) is str and not (filled or {}).get(key):
                data = {**data, key: self._datum(data[key])}
        found["data"] = data
        return found

    def _datum(self, name: Any) -> str:
        """Return the name of a datum, which by custom begins with its resource's."""
        resource, slash, rest = str(name).partition("/")
        return f"{self._new(resource)}/{rest}" if slash else self._new(name)


def _has_stop(documents: Any) -> bool:
    if hasattr(documents, "stop"):
        return documents.stop is not None
    return any(name == "stop" for name, _ in documents)
