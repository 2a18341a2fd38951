"""From references to arrays: events with what their files hold, one by one or as lazy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.assets.lazy import LazyArray
from braid_hpc.assets.opened import Opened, told
from braid_hpc.assets.paths import RootMap
from braid_hpc.assets.references import Pair, References
from braid_hpc.assets.registry import Readers
from braid_hpc.assets.rows import DatumRows, EventRows, StreamRows, check_shape, of_event, said_shape
from braid_hpc.vocabulary.errors import BraidError, ConflictError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.store.documents import Documents

__all__ = ["Filler", "filled"]


class Filler:
    """Reads what the documents of a run refer to.

    Parameters
    ----------
    documents : Documents, or iterable of (str, dict)
        What ``store.documents(uid)`` gives; or names and documents from elsewhere.
    root_map : mapping of str to path-like, optional
        Where files lie today whose paths begin so: ``{"/data/2026": "/archive/2026"}``. The longest beginning that
        fits counts; uris ``file://localhost/data/2026/...`` are mapped by their paths.
    readers : mapping of str to callable, optional
        Readers by spec or mimetype, for this use; others are registered (:func:`braid_hpc.assets.register`).
    verify : bool
        Whether each file is held against what was recorded of it when the run stopped: its digest, or of a large file
        its size and time. Of a file that was mapped its time does not count.
    leave : bool
        Whether what cannot be read stays a reference: ``filled`` stays False, and :attr:`problems` has the sentence.
        Else it is an error.

    Attributes
    ----------
    problems : list of str
        What was left.

    Raises
    ------
    InvalidInputError
        If an argument is wrong.

    Examples
    --------
    >>> import numpy, os, tempfile
    >>> from braid_hpc.assets import Filler
    >>> folder = tempfile.mkdtemp()
    >>> numpy.save(os.path.join(folder, "frames_0.npy"), numpy.ones((2, 3)))
    >>> keys = {"img": {"source": "SIM", "dtype": "array", "shape": [2, 3], "external": "FILESTORE:"}}
    >>> resource = {"uid": "r", "spec": "NPY_SEQ", "root": folder, "resource_path": "frames", "resource_kwargs": {}}
    >>> event = {"uid": "e", "descriptor": "d", "seq_num": 1, "data": {"img": "r/0"}, "filled": {"img": False}}
    >>> documents = [
    ...     ("descriptor", {"uid": "d", "name": "primary", "data_keys": keys}),
    ...     ("resource", resource),
    ...     ("datum", {"datum_id": "r/0", "resource": "r", "datum_kwargs": {"index": 0}}),
    ...     ("event", event),
    ... ]
    >>> with Filler(documents) as filler:
    ...     print(filler.fill(event)["data"]["img"].sum(), filler.array("primary", "img").shape)
    6.0 (1, 2, 3)
    """

    def __init__(
        self,
        documents: Documents | Iterable[Pair],
        *,
        root_map: Mapping[str, Any] | None = None,
        readers: Mapping[str, Any] | None = None,
        verify: bool = True,
        leave: bool = False,
    ) -> None:
        self._references = References.of(documents)
        self._opened = Opened(self._references, RootMap(root_map), Readers(readers), verify=verify)
        self._leave = leave
        self._streams: dict[tuple[str, str], StreamRows] = {}
        self.problems: list[str] = []

    def fill(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event with its external data in place.

        Parameters
        ----------
        event : mapping
            It is not changed.

        Returns
        -------
        dict
            With arrays in ``data``, and ``filled`` True for them.

        Raises
        ------
        NotFoundError
            If a file, a document or a reader is not there.
        InvalidInputError
            If there is no such row in a file, or a value of another shape than its descriptor says.
        ConflictError
            If a file was changed after its run.
        StorageError
            If a file cannot be read, or is damaged.
        MissingExtraError
            If a package that reads it is not installed.
        """
        descriptor = self._references.descriptor(event.get("descriptor"))
        keys = descriptor.get("data_keys")
        found = {**event, "data": dict(event.get("data") or {}), "filled": dict(event.get("filled") or {})}
        for key, about in keys.items() if isinstance(keys, Mapping) else ():
            external = about.get("external") if isinstance(about, Mapping) else None
            if external is None or found["filled"].get(key):
                continue
            try:
                # Older documents say STREAM: of keys whose events name datums.
                if str(external).startswith("STREAM:") and key not in found["data"]:
                    value = self._of_stream(descriptor, key, event.get("seq_num"))
                else:
                    value = self._of_datum(key, found["data"], about)
            except BraidError as error:
                told_of = of_event(error, key, event.get("seq_num"), descriptor.get("name"))
                if not self._leave:
                    raise told_of from error
                self.problems.append(str(told_of))
                found["filled"][key] = False
                continue
            found["data"][key], found["filled"][key] = value, True
        return found

    def array(self, descriptor: Any, key: str, *, ragged: bool | None = None) -> LazyArray:
        """Return the values of a data key, of which only what is asked for is read.

        Parameters
        ----------
        descriptor : str or dict
            Name of the stream; or a descriptor or its uid, for its events alone.
        key : str
            The data key, external or not.
        ragged : bool, optional
            Whether its values may differ in shape: the array then has one axis, and its elements are arrays. Without
            it the descriptor decides.

        Returns
        -------
        LazyArray
            A row for each event that there is, by their numbers; where the descriptor says no shape and there is no
            event, its dtype is object.

        Raises
        ------
        NotFoundError
            If there is no such stream or key; or as :meth:`fill` for the first event, which is looked at.
        InvalidInputError, ConflictError, StorageError, MissingExtraError
            As :meth:`fill`, for the first event.
        """
        described = self._references.of_stream(descriptor)
        found = {
            uid: document["data_keys"][key]
            for uid, document in described.items()
            if isinstance(document.get("data_keys"), Mapping) and isinstance(document["data_keys"].get(key), Mapping)
        }
        name = str(next(iter(described.values())).get("name"))
        if not found:
            raise NotFoundError(f"stream {name!r} has no data key {key!r}")
        about = next(iter(found.values()))
        shapes = {said_shape(each) for each in found.values()}
        vague = len(shapes) > 1 or None in shapes
        external = {str(each.get("external")) for each in found.values() if each.get("external") is not None}
        streamed = {each.startswith("STREAM:") for each in external}
        if len(streamed) > 1:
            raise InvalidInputError(f"{key!r} of stream {name!r} is in datums and in stream datums: name a descriptor")
        apart = vague if ragged is None else ragged
        if not external:
            return self._of_events(list(found), key, name, about, apart)
        if True in streamed and self._references.segments(list(found), key):
            return self._of_segments(list(found), key, name, about, apart)
        return self._of_datums(list(found), key, name, about, apart)

    def datum(self, name: Any) -> Any:
        """Read a datum.

        Parameters
        ----------
        name : str
            Its ``datum_id``.

        Returns
        -------
        object
            What its reader gives; arrays of dask as those of NumPy.

        Raises
        ------
        NotFoundError, InvalidInputError, ConflictError, StorageError, MissingExtraError
            As :meth:`fill`.
        """
        datum = self._references.datums.get(name) if isinstance(name, str) else None
        if datum is None:
            raise NotFoundError(f"datum {name!r} is not among the documents")
        resource = self._references.resource_of(datum)
        handler = self._opened.handler(resource)
        kwargs = datum.get("datum_kwargs") or {}
        with told(f"the reader of {self._opened.place(resource).path}"):
            value = handler(**kwargs)
            return np.asarray(value) if hasattr(value, "__dask_graph__") else value

    def _of_datum(self, key: str, data: Mapping[str, Any], about: Mapping[str, Any]) -> Any:
        if key not in data:
            raise NotFoundError("the event does not name a datum")
        value = self.datum(data[key])
        said, shape = said_shape(about), getattr(value, "shape", None)
        if said is not None and isinstance(shape, tuple):
            check_shape(shape, said)
        return value

    def _of_stream(self, descriptor: Mapping[str, Any], key: str, number: Any) -> Any:
        place = (str(descriptor.get("uid")), key)
        if place not in self._streams:
            about = descriptor["data_keys"][key]
            self._streams[place] = self._rows([place[0]], key, str(descriptor.get("name")), about)
        rows = self._streams[place]
        row = int(np.searchsorted(rows.seq_nums, number)) if type(number) is int else len(rows.seq_nums)
        if row >= len(rows.seq_nums) or rows.seq_nums[row] != number:
            raise NotFoundError("no stream datum says where it lies")
        return rows.read_one(row)

    def _rows(self, uids: list[str], key: str, name: str, about: Any) -> StreamRows:
        segments = self._references.segments(uids, key)
        return StreamRows(self._opened, self._references, segments, about, key=key, stream=name)

    def _of_segments(self, uids: list[str], key: str, name: str, about: Any, ragged: bool) -> LazyArray:
        rows = self._rows(uids, key, name, about)
        count = len(rows.seq_nums)
        said = said_shape(about)
        shape, dtype, chunk = said or (), np.dtype(object if count else _dtype_of(about)), 1
        if count:
            try:
                reader, _, shape = rows.layout(rows.first)
                dtype, chunk = np.dtype(reader.dtype), rows.chunk_rows
            except BraidError as error:
                raise of_event(error, key, rows.number(0), name) from error
        return self._lazy(rows, count, None if ragged else (shape, dtype), rows.seq_nums, f"{name}/{key}", chunk)

    def _of_datums(self, uids: list[str], key: str, name: str, about: Any, ragged: bool) -> LazyArray:
        named: dict[int, Any] = {}
        for event in self._references.events(uids):
            if key in event.get("data", {}):
                _once(named, event, event["data"][key], name)
        numbers = np.array(sorted(named), np.int64)
        rows = DatumRows(self, [named[each] for each in sorted(named)], numbers, key=key, stream=name)
        rows.said = said_shape(about) if not ragged else None
        first = rows.one(0) if len(numbers) and not ragged else None
        shape, dtype = (first.shape, first.dtype) if first is not None else (said_shape(about) or (), _dtype_of(about))
        return self._lazy(rows, len(numbers), None if ragged else (shape, dtype), numbers, f"{name}/{key}")

    def _of_events(self, uids: list[str], key: str, name: str, about: Any, ragged: bool) -> LazyArray:
        rows = EventRows(self._references, uids, key=key, stream=name)
        shapes: dict[tuple[int, ...], np.dtype[Any]] = {}
        seen: dict[int, Any] = {}
        for number, value in rows.values():
            _once(seen, {"seq_num": number}, None, name)
            known = shapes.get(value.shape)
            shapes[value.shape] = value.dtype if known is None else np.result_type(known, value.dtype)
        numbers = np.array(sorted(seen), np.int64)
        rows.rows = {int(number): row for row, number in enumerate(numbers)}
        rows.in_order = list(seen) == sorted(seen)
        # Lists in events may differ in length whatever the descriptor says.
        one = None if ragged or len(shapes) > 1 else next(iter(shapes.items()), ((), _dtype_of(about)))
        return self._lazy(rows, len(numbers), one, numbers, f"{name}/{key}", 10_000)

    def _lazy(
        self,
        rows: Any,
        count: int,
        one: tuple[tuple[int, ...], np.dtype[Any]] | None,
        seq_nums: np.ndarray[Any, Any],
        about: str,
        chunk_rows: int = 1,
    ) -> LazyArray:
        rows.shape, rows.dtype = one if one is not None else (None, np.dtype(object))
        shape = (count, *rows.shape) if one is not None else (count,)
        return LazyArray(rows, shape=shape, dtype=rows.dtype, seq_nums=seq_nums, chunk_rows=chunk_rows, about=about)

    def pairs(self) -> Iterator[Pair]:
        """Yield the documents with their events filled.

        Yields
        ------
        name : str
            Of its kind.
        document : dict
            The document; events as :meth:`fill` returns them.

        Raises
        ------
        NotFoundError, InvalidInputError, ConflictError, StorageError, MissingExtraError
            As :meth:`fill`.
        """
        for name, document in self._references.pairs():
            yield name, self.fill(document) if name == "event" else document

    def close(self) -> None:
        """Close what readers have open; arrays that were made open it anew."""
        self._opened.close()

    def __enter__(self) -> Filler:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def filled(
    documents: Documents | Iterable[Pair],
    *,
    root_map: Mapping[str, Any] | None = None,
    readers: Mapping[str, Any] | None = None,
    verify: bool = True,
    leave: bool = False,
) -> Iterator[Pair]:
    """Iterate over documents with what their files hold in place of references.

    Parameters
    ----------
    documents : Documents, or iterable of (str, dict)
        What ``store.documents(uid)`` gives.
    root_map, readers, verify, leave
        As for :class:`Filler`.

    Yields
    ------
    name : str
        Of its kind.
    document : dict
        Events with arrays, and ``filled`` True for these; all others as they are.

    Raises
    ------
    NotFoundError, InvalidInputError, ConflictError, StorageError, MissingExtraError
        As :meth:`Filler.fill`.
    """
    with Filler(documents, root_map=root_map, readers=readers, verify=verify, leave=leave) as filler:
        yield from filler.pairs()


def _once(known: dict[int, Any], event: Mapping[str, Any], value: Any, name: str) -> None:
    number = event.get("seq_num")
    if type(number) is not int:
        raise InvalidInputError(f"an event of stream {name!r} has the number {number!r}")
    if number in known:
        raise ConflictError(f"stream {name!r} has two events with the number {number}")
    known[number] = value


def _dtype_of(about: Any) -> np.dtype[Any]:
    """Return the dtype that a descriptor says, for an array without a row."""
    for member in ("dtype_numpy", "dtype_str"):
        said = about.get(member) if isinstance(about, Mapping) else None
        if isinstance(said, str):
            try:
                return np.dtype(said)
            except TypeError:
                pass
    kind = about.get("dtype") if isinstance(about, Mapping) else None
    kinds = {"integer": "int64", "boolean": "bool", "string": "object", "number": "float64", "array": "float64"}
    return np.dtype(kinds.get(str(kind), "object"))
