"""What a scan is asked that makes something else of its streams, and where it goes to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from braid_hpc.scans.aligning import align
from braid_hpc.scans.merging import split
from braid_hpc.scans.resampling import resample
from braid_hpc.scans.reshaping import stack, unnest

if TYPE_CHECKING:
    import datetime

    from braid_hpc.exports.exporting import Exported
    from braid_hpc.exports.replaying import Replayed
    from braid_hpc.queries.tree import Query
    from braid_hpc.scans.derived import Derived
    from braid_hpc.scans.scan import Scan
    from braid_hpc.scans.stream_table import StreamTable

__all__ = ["Muxing"]


class Muxing:
    """Streams side by side, apart, together, in bins; replay and export."""

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
        tables = cast("Scan", self).table(stream), cast("Scan", self).table(other)
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
        return split(cast("Scan", self), stream, parts, rest=rest, whole=whole)

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
        return unnest(cast("Scan", self).table(stream), keys, keep=keep)

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
        return stack(cast("Scan", self).table(stream), keys, by=by)

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
        return resample(cast("Scan", self).table(stream), step=step, how=how, columns=columns, empty=empty)

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

        scan = cast("Scan", self)
        return export(
            scan._store, scan, to=to, format=format, streams=streams, pages=pages, images=images, overwrite=overwrite
        )
