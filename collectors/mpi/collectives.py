"""Collective calls of a traced communicator: as mpi4py's, and written down."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from braid_hpc.collectors.mpi.journal import Journal, size_of

__all__ = ["ROOTED", "Collectives"]

MPI: Any = import_module("mpi4py.MPI")

#: Where the root stands among the arguments behind the communicator, by the call in lower case.
ROOTED = {"bcast": 1, "gather": 2, "gatherv": 2, "scatter": 2, "scatterv": 2, "reduce": 3}
#: With objects in the place of buffers there is none to receive into.
_ROOTED_OBJECTS = {"bcast": 1, "gather": 1, "scatter": 1, "reduce": 2}

_EVERYWHERE = (
    *("Barrier", "Bcast", "Gather", "Gatherv", "Scatter", "Scatterv", "Allgather", "Allgatherv", "Reduce", "Allreduce"),
    *("Alltoall", "Alltoallv", "Alltoallw", "Reduce_scatter", "Reduce_scatter_block", "Scan", "Exscan"),
)
_OBJECTS = (
    *("barrier", "bcast", "gather", "scatter", "allgather", "alltoall", "reduce", "allreduce", "scan", "exscan"),
)


class Collectives:
    """Collective calls; in front of a class of mpi4py."""

    _journal: Journal


def _recorded(plain: Any, call: str, place: int | None, sized: bool) -> Any:
    """Return a call that is written down before it is done."""

    @functools.wraps(plain)
    def recorded(self: Any, *given: Any, **named: Any) -> Any:
        root = -1
        if place is not None:
            root = named.get("root", given[place] if len(given) > place else 0)
        size = size_of(given[0]) if sized and given else -1
        self._journal.call(call, root if isinstance(root, int) else -1, size)
        return plain(self, *given, **named)

    return recorded


def _install() -> None:
    for name in _EVERYWHERE:
        call = name.lower()
        for variant in (name, f"I{call}"):
            setattr(Collectives, variant, _recorded(getattr(MPI.Intracomm, variant), call, ROOTED.get(call), True))
    for name in _OBJECTS:
        plain = getattr(MPI.Intracomm, name)
        setattr(Collectives, name, _recorded(plain, name, _ROOTED_OBJECTS.get(name), False))


_install()
