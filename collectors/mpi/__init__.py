"""MPI traffic without messages: a communicator that writes down, on each rank alone, what passed.

``docs/mpi.md`` says what is recorded and what is not. mpi4py is imported when a communicator is traced, and not before.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from braid_hpc.run.guard import disabled
from braid_hpc.run.job import current_run

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run

__all__ = ["sending", "traced"]


def traced(comm: Any, run: Run | None = None) -> Any:
    """Return a communicator that behaves as `comm` and records what passes through it.

    No message is added and none is changed; no collective call is made. All ranks of `comm` trace it, in the same
    order where they trace several of the same group, and use what is returned in the place of `comm`.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or mpi4py.MPI.Win
        Also one with a topology, one between two groups, and a window of one-sided communication.
    run : Run, optional
        Where it is recorded; the current run if none is given.

    Returns
    -------
    mpi4py.MPI.Comm or mpi4py.MPI.Win
        Of a subclass of the type of `comm`, a communicator with a method ``sending``; `comm` itself if nothing is
        recorded (outside of a run, or under ``BRAID_DISABLE=1``), or if it has processes of another world, is of a
        class that the program made (which is told), or is traced in this run already.

    See Also
    --------
    sending : say what a message carries.

    Examples
    --------
    >>> from mpi4py import MPI  # doctest: +SKIP
    >>> comm = braid.collectors.mpi.traced(MPI.COMM_WORLD)  # doctest: +SKIP
    """
    where = current_run() if run is None else run
    if disabled() or not where:
        return comm
    from braid_hpc.collectors.mpi.communicators import trace

    return trace(comm, where)


def sending(comm: Any, record: Any) -> contextlib.AbstractContextManager[Any]:
    """Say that the messages sent within a ``with`` block carry a record.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Any communicator. With one that is not traced nothing happens, so that a program runs alike when nothing is
        recorded; that is what this has beyond the method ``sending`` of a traced one.
    record : Record
        Its handle, or an object that a record was made for.

    Returns
    -------
    context manager
        What is received of these messages uses the record: the activity that receives one of them does.
    """
    method = getattr(comm, "sending", None)
    return contextlib.nullcontext() if method is None else method(record)
