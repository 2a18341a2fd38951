"""A run of an instrument, read back: its documents, its streams as tables and arrays, its settings."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import near
from braid_hpc.scans.configuration import Configuration
from braid_hpc.scans.events import Events
from braid_hpc.scans.frames import Frames
from braid_hpc.scans.muxing import Muxing
from braid_hpc.scans.program_run import ProgramRun
from braid_hpc.scans.stream_array import StreamArray, lies_in_files
from braid_hpc.scans.stream_table import StreamTable
from braid_hpc.scans.which import is_run, resolve_which
from braid_hpc.store.documents import held_documents, read_documents
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.assets import LazyArray
    from braid_hpc.queries.tree import Query
    from braid_hpc.store.documents import Documents, MissingDocument
    from braid_hpc.store.store import Store

__all__ = ["Scan", "open_scan"]


class Scan(Muxing):
    """A run of an instrument, as the documents say it; nothing of its events is read before it is asked for.

    Parameters
    ----------
    store : Store
        Open; it has to stay so.
    uid : str
        Of the run.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Attributes
    ----------
    uid : str
        Of the run.
    """

    def __init__(self, store: Store, uid: str, then: dict[str, int]) -> None:
        self._store = store
        self._then = then
        self._held = held_documents(store, uid, then=then)
        self.uid = self._held.found.uid

    @property
    def start(self) -> dict[str, Any] | None:
        """The start document; None if it is not there."""
        return self._held.found.start

    @property
    def stop(self) -> dict[str, Any] | None:
        """The stop document; None for a run that never stopped, or whose stop is not there."""
        return self._held.found.stop

    @property
    def descriptors(self) -> list[dict[str, Any]]:
        """The descriptors, by time."""
        return self._held.found.descriptors

    @functools.cached_property
    def streams(self) -> dict[str, int]:
        """The streams by name, and how many events each has."""
        names = dict.fromkeys(str(each["name"]) for each in self.descriptors if type(each.get("name")) is str)
        found = {}
        for name in names:
            events = self._events(name)
            frames = Frames(events, [])
            found[name] = sum(frames.count(window) for window in events.windows([]))
        return found

    @functools.cached_property
    def config(self) -> Configuration:
        """What the devices were set to, by device: one for each descriptor."""
        return Configuration(self._store, self.descriptors, self._then)

    @functools.cached_property
    def missing(self) -> list[MissingDocument]:
        """What the documents that are there refer to or count, and is not there; empty for a whole run."""
        return self.documents().missing

    def documents(self, *, fill: bool = False, root_map: Mapping[str, Any] | None = None) -> Documents:
        """Return the documents, each once and word for word.

        Parameters
        ----------
        fill : bool
            Whether what lies in files of detectors is read into the events, while one iterates.
        root_map : mapping of str to path-like, optional
            Where files lie today whose paths begin so.

        Returns
        -------
        Documents
            Iterate for ``(name, document)``; with `fill` that raises what :meth:`braid_hpc.assets.Filler.fill` does,
            where a file cannot be read.

        Raises
        ------
        InvalidInputError
            If there is a `root_map`, and nothing is filled.
        """
        found = read_documents(self._store, self.uid, then=self._then)
        if not fill:
            if root_map is not None:
                raise InvalidInputError("root_map= says where files lie, and none is read: give fill=True too")
            return found
        from braid_hpc.assets import Filler

        return found.through(Filler(found, root_map=root_map).fill)

    def table(
        self,
        stream: str = "primary",
        *,
        columns: Iterable[str] | None = None,
        where: Query | str | None = None,
        rows: int | slice | range | None = None,
        timestamps: bool = False,
    ) -> StreamTable:
        """Return the events of a stream as a table, which is read when it is used.

        Parameters
        ----------
        stream : str
            Its name.
        columns : iterable of str, optional
            Which columns: data keys, ``seq_num``, ``time``, ``uid``, ``descriptor``, ``time.<key>``. Without it
            ``seq_num``, ``time`` and all data keys.
        where : Query or str, optional
            Which events, in the language of searches (:doc:`filter`), in which names are columns.
        rows : int, slice or range, optional
            Which of these events, counted from 0 in the order of their numbers.
        timestamps : bool
            Whether, without `columns`, the time of each value is a column too, ``time.<key>``.

        Returns
        -------
        StreamTable
            Each event once.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        InvalidInputError
            If there is no such column, or `where` or `rows` cannot be such.
        """
        return StreamTable(self._events(stream), columns=columns, where=where, rows=rows, timestamps=timestamps)

    def array(self, stream: str, key: str, *, root_map: Mapping[str, Any] | None = None) -> StreamArray | LazyArray:
        """Return the values of a data key as an array, which is read when it is used.

        Parameters
        ----------
        stream : str
            Name of the stream.
        key : str
            The data key.
        root_map : mapping of str to path-like, optional
            Where files of detectors lie today whose paths begin so.

        Returns
        -------
        StreamArray or LazyArray
            The first dimension is that of the events; with shape, dtype, chunks, slices, and ``to_dask()``. The second
            one reads files.

        Raises
        ------
        NotFoundError
            If there is no such stream, or a file or its reader is not there.
        InvalidInputError
            If there is no such column, or it is none that an array can be made of.
        ConflictError, StorageError, MissingExtraError
            As :class:`braid_hpc.assets.Filler`, of a file.
        """
        events = self._events(stream)
        if lies_in_files(events, key):
            from braid_hpc.assets import Filler

            return Filler(self.documents(), root_map=root_map).array(stream, key)
        return StreamArray(events, key)

    def _events(self, stream: str) -> Events:
        known: dict[str, Events] = self.__dict__.setdefault("_known", {})
        if stream not in known:
            names = [each["name"] for each in self.descriptors if type(each.get("name")) is str]
            if stream not in names:
                raise NotFoundError(f"scan {self.uid} has no stream {stream!r:.80}{near(str(stream), names)}")
            known[stream] = Events(self._store, self._held, stream, self._then)
        return known[stream]

    def __repr__(self) -> str:
        """Say which it is."""
        start = self.start or {}
        number = "" if start.get("scan_id") is None else f" {start['scan_id']}"
        return f"<Scan{number} {self.uid}>"


def open_scan(store: Store, which: Any, *, at: int | None = None, as_of: Any = None) -> Scan | ProgramRun:
    """Return a run; see :meth:`braid_hpc.Store.scan`.

    Parameters
    ----------
    store : Store
        Open.
    which, at, as_of
        As there.

    Returns
    -------
    Scan or ProgramRun
        As there.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    then = store._then(at, as_of)
    if is_run(which):
        return ProgramRun(store, which, then)
    return Scan(store, resolve_which(store, which, then), then)
