"""What documents say of external data: which datum, which resource, which rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.store.documents import Documents, apart
from braid_hpc.store.recorded_files import RecordedFile
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError

__all__ = ["Pair", "References", "Segment"]

Pair = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of a stream whose values lie behind each other in one resource.

    Attributes
    ----------
    first, stop : int
        Numbers of the events.
    index : int
        Index of the first in the resource.
    resource : str
        Uid of the stream resource.
    """

    first: int
    stop: int
    index: int
    resource: str


@dataclass(slots=True)
class References:
    """The documents of a run that are no events, by their uids.

    Attributes
    ----------
    descriptors, resources, stream_resources, datums : dict of str to dict
        By uid, or ``datum_id``.
    stream_datums : list of dict
        All.
    files : list of RecordedFile
        What was recorded of the files.
    """

    descriptors: dict[str, dict[str, Any]] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    stream_resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    datums: dict[str, dict[str, Any]] = field(default_factory=dict)
    stream_datums: list[dict[str, Any]] = field(default_factory=list)
    files: list[RecordedFile] = field(default_factory=list)
    _documents: Any = None

    @classmethod
    def of(cls, documents: Documents | Iterable[Pair]) -> References:
        """Take what documents refer to.

        Parameters
        ----------
        documents : Documents, or iterable of (str, dict)
            Of one run, or of several; pages too.

        Returns
        -------
        object
            The references in them.

        Raises
        ------
        InvalidInputError
            If they are no names and documents.
        """
        if isinstance(documents, Documents):
            found = cls(files=documents.files(), _documents=documents)
            for name in ("descriptor", "resource", "stream_resource", "datum", "stream_datum"):
                for document in documents.held(name):
                    found._take(name, document)
            return found
        try:
            pairs = [each for name, document in documents for each in apart(name, document)]
        except (TypeError, ValueError):
            raise InvalidInputError(
                "documents are what store.documents(uid) gives, or pairs of name and document"
            ) from None
        found = cls(_documents=pairs)
        for name, document in pairs:
            if isinstance(document, Mapping):
                found._take(name, dict(document))
        return found

    def _take(self, name: str, document: dict[str, Any]) -> None:
        places: dict[str, dict[str, dict[str, Any]]] = {
            "descriptor": self.descriptors,
            "resource": self.resources,
            "stream_resource": self.stream_resources,
            "datum": self.datums,
        }
        if name == "stream_datum":
            self.stream_datums.append(document)
        elif name in places:
            places[name][str(document.get("datum_id" if name == "datum" else "uid"))] = document

    def pairs(self) -> Iterator[Pair]:
        """Yield the documents they were taken from, in their order.

        Yields
        ------
        name : str
            Of its kind.
        document : dict
            As it is.
        """
        yield from self._documents

    def events(self, descriptors: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield events of some descriptors.

        Parameters
        ----------
        descriptors : iterable of str
            Uids.

        Yields
        ------
        dict
            In the order of the documents.
        """
        wanted = set(descriptors)
        for name, document in self._documents:
            if name == "event" and document.get("descriptor") in wanted:
                yield document

    def descriptor(self, uid: Any) -> dict[str, Any]:
        """Return a descriptor.

        Parameters
        ----------
        uid : str
            Of it.

        Returns
        -------
        dict
            The document.

        Raises
        ------
        NotFoundError
            If it is not there.
        """
        found = self.descriptors.get(uid) if isinstance(uid, str) else None
        if found is None:
            raise NotFoundError(f"descriptor {uid!r} is not among the documents")
        return found

    def of_stream(self, which: Any) -> dict[str, dict[str, Any]]:
        """Return the descriptors of a stream.

        Parameters
        ----------
        which : str or dict
            Name of the stream, uid of a descriptor, or that document; of the latter two that descriptor alone.

        Returns
        -------
        dict of str to dict
            By uid.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        uid = which.get("uid") if isinstance(which, Mapping) else which
        if isinstance(uid, str) and uid in self.descriptors:
            return {uid: self.descriptors[uid]}
        found = {key: each for key, each in self.descriptors.items() if each.get("name") == which}
        if not found:
            names = ", ".join(sorted({str(each.get("name")) for each in self.descriptors.values()})) or "none"
            raise NotFoundError(f"there is no stream {which!r}: there are {names}")
        return found

    def resource_of(self, datum: dict[str, Any]) -> dict[str, Any]:
        """Return the resource of a datum.

        Parameters
        ----------
        datum : dict
            The document.

        Returns
        -------
        dict
            The resource.

        Raises
        ------
        NotFoundError
            If it is not there.
        """
        found = self.resources.get(str(datum.get("resource")))
        if found is None:
            raise NotFoundError(f"resource {datum.get('resource')!r} is not among the documents")
        return found

    def segments(self, descriptors: Iterable[str], key: str) -> list[Segment]:
        """Return where stream datums say that the values of a key lie.

        Parameters
        ----------
        descriptors : iterable of str
            Uids.
        key : str
            The data key.

        Returns
        -------
        list of Segment
            By number of event.

        Raises
        ------
        InvalidInputError
            If a stream datum names other numbers of events and of values.
        ConflictError
            If two say different places for one event.
        """
        wanted, found = set(descriptors), set()
        for datum in self.stream_datums:
            resource = str(datum.get("stream_resource"))
            # Of a stream resource that is not there nobody knows the key.
            about = self.stream_resources.get(resource, {})
            if datum.get("descriptor") not in wanted or about.get("data_key") != key:
                continue
            try:
                first, stop = (int(datum["seq_nums"][end]) for end in ("start", "stop"))
                index, end = (int(datum["indices"][end]) for end in ("start", "stop"))
            except (KeyError, TypeError, ValueError):
                raise InvalidInputError(
                    f"stream datum {datum.get('uid')!r} does not say which events it is of"
                ) from None
            if stop - first != end - index or index < 0:
                raise InvalidInputError(
                    f"stream datum {datum.get('uid')!r} has {end - index} values for {stop - first} events"
                )
            if stop > first:
                found.add(Segment(first, stop, index, resource))
        ordered = sorted(found, key=lambda each: (each.first, each.stop, each.resource))
        for one, other in itertools.pairwise(ordered):
            if other.first < one.stop:
                raise ConflictError(
                    f"the stream datums name two places for {key!r} of event {other.first}: "
                    f"in stream resources {one.resource!r} and {other.resource!r}"
                )
        return ordered
