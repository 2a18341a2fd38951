"""Collective calls of a traced communicator: as mpi4py's, and written down."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from braid_hpc.collectors.mpi.buffers import size_of
from braid_hpc.collectors.mpi.envelopes import rank_of
from braid_hpc.collectors.mpi.journal import Journal
from braid_hpc.collectors.mpi.requests import Repeating, repeated

__all__ = ["ROOTED", "Collectives", "Neighbours"]

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
_AROUND = (
    *("Neighbor_allgather", "Neighbor_allgatherv"),
    *("Neighbor_alltoall", "Neighbor_alltoallv", "Neighbor_alltoallw"),
)
_OBJECTS_AROUND = ("neighbor_allgather", "neighbor_alltoall")


class Collectives:
    """Collective calls; in front of a class of mpi4py."""

    _journal: Journal


class Neighbours:
    """Calls among neighbours; in front of a class of mpi4py that has a topology."""

    _journal: Journal

    def _meet(self) -> None:
        """Write down once from whom such calls bring something."""
        self._journal.meet(self.inedges)  # type: ignore[attr-defined]


def _root_of(given: tuple[Any, ...], named: dict[str, Any], place: int | None) -> int | None:
    """Return the root of a call, -1 if it has none; None if MPI takes no such root."""
    if place is None:
        return -1
    return rank_of(named.get("root", given[place] if len(given) > place else 0))


def _recorded(plain: Any, call: str, place: int | None, sized: bool) -> Any:
    """Return a call that is written down before it is done."""

    @functools.wraps(plain)
    def recorded(self: Any, *given: Any, **named: Any) -> Any:
        root = -1 if place is None else _root_of(given, named, place)
        if root is None:
            return plain(self, *given, **named)
        self._journal.call(call, root, size_of(given[0]) if sized and given else -1)
        return plain(self, *given, **named)

    return recorded


def _begun(plain: Any, call: str, place: int | None) -> Any:
    """Return what makes a request that does a call each time it is started; the making is a call of all ranks too."""

    @functools.wraps(plain)
    def begun(self: Any, *given: Any, **named: Any) -> Any:
        journal, root = self._journal, _root_of(given, named, place)
        if root is None:
            return plain(self, *given, **named)
        size = size_of(given[0]) if given else -1
        number = journal.call(f"{call}_init", root, size)
        return repeated(plain(self, *given, **named), Repeating(journal, call, number, root, size))

    return begun


def _around(recorded: Any) -> Any:
    """Return a call that tells of the neighbours before the first one."""

    @functools.wraps(recorded)
    def around(self: Any, *given: Any, **named: Any) -> Any:
        if not self._journal.met:
            self._meet()
        return recorded(self, *given, **named)

    return around


def _install() -> None:
    for name in _EVERYWHERE:
        call = name.lower()
        place = ROOTED.get(call)
        for variant in (name, f"I{call}"):
            setattr(Collectives, variant, _recorded(getattr(MPI.Intracomm, variant), call, place, True))
        setattr(Collectives, f"{name}_init", _begun(getattr(MPI.Intracomm, f"{name}_init"), call, place))
    for name in _OBJECTS:
        plain = getattr(MPI.Intracomm, name)
        setattr(Collectives, name, _recorded(plain, name, _ROOTED_OBJECTS.get(name), False))
    for name in _AROUND:
        call = name.lower()
        for variant in (name, f"I{call}"):
            setattr(Neighbours, variant, _around(_recorded(getattr(MPI.Topocomm, variant), call, None, True)))
        setattr(Neighbours, f"{name}_init", _around(_begun(getattr(MPI.Topocomm, f"{name}_init"), call, None)))
    for name in _OBJECTS_AROUND:
        setattr(Neighbours, name, _around(_recorded(getattr(MPI.Topocomm, name), name, None, False)))


_install()
