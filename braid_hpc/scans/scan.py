"""A run of an instrument, read back: its documents, its streams as tables and arrays, its settings."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import near
from braid_hpc.scans.aligning import align
from braid_hpc.scans.configuration import Configuration
from braid_hpc.scans.events import Events
from braid_hpc.scans.frames import Frames
from braid_hpc.scans.merging import split
from braid_hpc.scans.resampling import resample
from braid_hpc.scans.reshaping import stack, unnest
from braid_hpc.scans.stream_array import StreamArray
from braid_hpc.scans.stream_table import StreamTable
from braid_hpc.scans.which import resolve_which
from braid_hpc.store.documents import held_documents, read_documents
from braid_hpc.vocabulary.errors import NotFoundError

if TYPE_CHECKING:
    import datetime

    from braid_hpc.exports.exporting import Exported
    from braid_hpc.exports.replaying import Replayed
    from braid_hpc.queries.tree import Query
    from braid_hpc.scans.derived import Derived
    from braid_hpc.store.documents import Documents, MissingDocument
    from braid_hpc.store.store import Store

__all__ = ["Scan", "open_scan"]


class Scan:
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

    def documents(self, *, fill: bool = False, root_map: dict[str, str] | None = None) -> Documents:
        """Return the documents, each once and word for word.

        Parameters
        ----------
        fill : bool
            Whether values that lie in files are read into the events.
        root_map : dict of str to str, optional
            Where files lie now, by where they lay.

        Returns
        -------
        Documents
            Iterate for ``(name, document)``.
        """
        return read_documents(self._store, self.uid, then=self._then)

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

    def array(self, stream: str, key: str) -> StreamArray:
        """Return the values of a data key as an array, which is read when it is used.

        Parameters
        ----------
        stream : str
            Name of the stream.
        key : str
            The data key.

        Returns
        -------
        StreamArray
            The first dimension is that of the events.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        InvalidInputError
            If there is no such column, or it is none that an array can be made of.
        """
        return StreamArray(self._events(stream), key)

    def align(
        self,
        stream: str,
        other: str,
        *,
        how: str = "asof",
        on: str = "time",
        tolerance: float | None = None,
        columns: Iterable[str] | None = None,
    ) -> Derived:
        """Put to each event of a stream what another stream says at that time.

        Parameters
        ----------
        stream, other : str
            Names of streams.
        how : {"asof", "nearest", "linear"}
            The last event of `other` that is not later; the nearest one; or values on the line between two.
        on : str
            The column that is compared.
        tolerance : float, optional
            How far away events may be, in seconds.
        columns : iterable of str, optional
            Of `other`; without it all, and for ``linear`` all that hold numbers.

        Returns
        -------
        Derived
            The columns of `stream`, then those of `other`, as ``<other>.<key>``.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        InvalidInputError
            As :func:`braid_hpc.scans.aligning.align`.
        """
        tables = self.table(stream), self.table(other)
        return align(*tables, how=how, on=on, tolerance=tolerance, columns=columns, names=(stream, other))

    def split(
        self,
        stream: str,
        parts: Mapping[str, Query | str | slice | range],
        *,
        rest: str | None = None,
        whole: bool = False,
    ) -> dict[str, StreamTable]:
        """Make several views of a stream.

        Parameters
        ----------
        stream : str
            Its name.
        parts : mapping of str to Query, str, slice or range
            By name, which events: a search in which names are columns, or which of the events, counted from 0.
        rest : str, optional
            The name of one more view, of the events that no search finds.
        whole : bool
            Whether it is checked that each event is in exactly one of the views.

        Returns
        -------
        dict of str to StreamTable
            The views.

        Raises
        ------
        NotFoundError, InvalidInputError
            As :func:`braid_hpc.scans.merging.split`.
        """
        return split(self, stream, parts, rest=rest, whole=whole)

    def unnest(self, stream: str, keys: str | Iterable[str], *, keep: Iterable[str] | None = None) -> Derived:
        """Make of each event with arrays a row for each of their values.

        Parameters
        ----------
        stream : str
            Its name.
        keys : str or iterable of str
            Data keys with arrays, which in each event have one length.
        keep : iterable of str, optional
            Columns whose value is repeated; without it ``seq_num`` and ``time``.

        Returns
        -------
        Derived
            The columns that are kept, ``index`` (from 0), then `keys`.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        InvalidInputError
            As :func:`braid_hpc.scans.reshaping.unnest`.

        See Also
        --------
        stack : the other way.
        """
        return unnest(self.table(stream), keys, keep=keep)

    def stack(self, stream: str, keys: str | Iterable[str] | None = None, *, by: str | Iterable[str] = ()) -> Derived:
        """Make of the events of a stream one row with arrays.

        Parameters
        ----------
        stream : str
            Its name.
        keys : str or iterable of str, optional
            Columns that become arrays; without it all others.
        by : str or iterable of str
            Columns that the events of one row have in common.

        Returns
        -------
        Derived
            `by`, then an array for each of `keys`, ordered by ``seq_num``.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        InvalidInputError
            If there is no such column.

        See Also
        --------
        unnest : the other way.
        """
        return stack(self.table(stream), keys, by=by)

    def resample(
        self,
        stream: str = "primary",
        *,
        step: float | datetime.timedelta,
        how: str | Mapping[str, str] = "mean",
        columns: Iterable[str] | None = None,
        empty: bool = True,
    ) -> Derived:
        """Put the events of a stream into bins of time.

        Parameters
        ----------
        stream : str
            Its name.
        step : float or timedelta
            How long a bin is, in seconds; bins begin at whole multiples of it since 1970.
        how : str or mapping of str to str
            ``mean``, ``sum``, ``min``, ``max``, ``first``, ``last``, ``count``, ``median`` or ``std``; or which of
            these for each data key.
        columns : iterable of str, optional
            Which data keys; without it all that hold numbers.
        empty : bool
            Whether bins without events are there too.

        Returns
        -------
        Derived
            ``time``, which is the beginning of the bin, then the data keys.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        InvalidInputError
            As :func:`braid_hpc.scans.resampling.resample`.
        """
        return resample(self.table(stream), step=step, how=how, columns=columns, empty=empty)

    def replay(self, callback: Callable[[str, dict[str, Any]], object], *, pages: int | None = None) -> Replayed:
        """Give the documents to a callback, as a RunEngine did while the run was going on.

        Parameters
        ----------
        callback : callable
            Called with name and document.
        pages : int, optional
            Events of a page at most; without it each comes alone.

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
            If the scan is not whole; what is held was given.

        See Also
        --------
        braid_hpc.exports.replaying.export_documents : yields the same documents.
        """
        from braid_hpc.exports.replaying import replay

        return replay(self, callback, pages=pages)

    def export(
        self,
        to: str | os.PathLike[str],
        *,
        format: str | None = None,
        streams: Iterable[str] | None = None,
        pages: int | None = None,
        images: str = "link",
        overwrite: bool = False,
    ) -> Exported:
        """Write the scan into a file or a folder for other programs, whole or not at all.

        Parameters
        ----------
        to : path
            The file; for tables of several streams a folder.
        format : str, optional
            ``documents``, ``jsonl``, ``msgpack``, ``parquet``, ``csv`` or ``nexus``; without it what the name says.
        streams : iterable of str, optional
            Which streams; all of them without it.
        pages : int, optional
            Of documents: events of a page at most.
        images : {"link", "copy", "none"}
            Of NeXus: what becomes of data in files of detectors.
        overwrite : bool
            Whether it takes the place of an earlier export.

        Returns
        -------
        Exported
            What was written, and what is not in it.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError, StorageError
            As :func:`braid_hpc.exports.exporting.export`.
        """
        from braid_hpc.exports.exporting import export

        return export(
            self._store, self, to=to, format=format, streams=streams, pages=pages, images=images, overwrite=overwrite
        )

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


def open_scan(store: Store, which: Any, *, at: int | None = None, as_of: Any = None) -> Scan:
    """Return a run; see :meth:`braid_hpc.Store.scan`.

    Parameters
    ----------
    store : Store
        Open.
    which, at, as_of
        As there.

    Returns
    -------
    Scan
        As there.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    then = store._then(at, as_of)
    return Scan(store, resolve_which(store, which, then), then)
