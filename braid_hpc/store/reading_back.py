"""Runs of instruments, asked of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, overload

if TYPE_CHECKING:
    from braid_hpc.scans.program_run import ProgramRun
    from braid_hpc.scans.scan import Scan
    from braid_hpc.store.store import Store

__all__ = ["ReadingBack"]


class ReadingBack:
    """The part of :class:`braid_hpc.Store` that gives back what an instrument recorded."""

    @overload
    def scan(self, which: str | int, *, at: int | None = None, as_of: Any = None) -> Scan: ...

    @overload
    def scan(self, which: Any, *, at: int | None = None, as_of: Any = None) -> Scan | ProgramRun: ...

    def scan(self, which: Any, *, at: int | None = None, as_of: Any = None) -> Scan | ProgramRun:
        """Return a run of an instrument: its documents, its streams as tables and arrays, its settings.

        Parameters
        ----------
        which : str or int
            Its uid or the beginning of that; its ``scan_id``; -1 for the newest by the time of its start, -2 for the
            one before it, and so on; or ``run:`` and a run that is no scan of an instrument.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been recorded by then.

        Returns
        -------
        Scan or ProgramRun
            It reads from this store, which has to stay open.

        Raises
        ------
        NotFoundError
            If there is none.
        ConflictError
            If several begin so; they are listed.
        InvalidInputError
            If it is neither text nor number, or there is no such snapshot or time.

        Warns
        -----
        BraidWarning
            If several scans have that ``scan_id``: the newest is taken, and the others are named.

        See Also
        --------
        documents : gives the documents alone.
        """
        from braid_hpc.scans.scan import open_scan

        return open_scan(cast("Store", self), which, at=at, as_of=as_of)
