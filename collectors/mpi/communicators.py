"""Traced communicators: subclasses of mpi4py's, and what they make of themselves."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from braid_hpc.collectors.losses import Losses
from braid_hpc.collectors.mpi.between import InterJournal
from braid_hpc.collectors.mpi.collectives import Collectives, Neighbours
from braid_hpc.collectors.mpi.journal import ACTS, CALLS, MESSAGES, NEIGHBOURS, Journal, identify
from braid_hpc.collectors.mpi.messages import Messages
from braid_hpc.collectors.mpi.windows import Window
from braid_hpc.run.null import NullRun

__all__ = ["trace"]

MPI: Any = import_module("mpi4py.MPI")

#: How many communicators of each group were traced, or made between two groups, by the ranks in the world.
_COUNTS: dict[Any, int] = {}
#: What is known of the world, which is one communicator however often it is traced.
_WORLD: dict[Any, Journal] = {}


class Traced(Messages, Collectives):
    """What stands in front of each class of mpi4py."""

    # Of those that nobody here has made, such as what a library makes of a type.
    _journal = Journal([NullRun().stream("", {})] * 4, 0, (0, 0))

    # ------------------------------------------------------------------ what is made of it

    def Split(self, color: int = 0, key: int = 0) -> Any:
        """Make a communicator of those that name the same color."""
        return self._made("split", MPI.Comm.Split(self, color, key))

    def Split_type(self, split_type: int, key: int = 0, info: Any = None) -> Any:
        """Make a communicator of those that share something."""
        return self._made("split", MPI.Comm.Split_type(self, split_type, key, info or MPI.INFO_NULL))

    def Dup(self, info: Any = None) -> Any:
        """Make one with the same ranks."""
        return self._made("dup", MPI.Comm.Dup(self, info))

    def Dup_with_info(self, info: Any) -> Any:
        """Make one with the same ranks."""
        return self._made("dup", MPI.Comm.Dup_with_info(self, info))

    def Clone(self) -> Any:
        """Make one with the same ranks."""
        return self._made("dup", MPI.Comm.Clone(self))

    def Idup(self, info: Any = None) -> Any:
        """Begin to make one with the same ranks."""
        made, request = MPI.Comm.Idup(self, info)
        return self._made("dup", made), request

    def Idup_with_info(self, info: Any) -> Any:
        """Begin to make one with the same ranks."""
        made, request = MPI.Comm.Idup_with_info(self, info)
        return self._made("dup", made), request

    def Create(self, group: Any) -> Any:
        """Make one of a group of its ranks."""
        return self._made("create", MPI.Comm.Create(self, group))

    def Create_group(self, group: Any, tag: int = 0) -> Any:
        """Make one of a group of its ranks, which call it alone."""
        made = MPI.Intracomm.Create_group(self, group, tag)
        # Not all ranks of this one count it, so that those of the group do it for themselves.
        return made if made == MPI.COMM_NULL else self._made(("group", tag, _world_ranks(made)), made)

    def Create_cart(self, dims: Any, periods: Any = None, reorder: bool = False) -> Any:
        """Make one with the topology of a grid."""
        return self._made("cart", MPI.Intracomm.Create_cart(self, dims, periods, reorder))

    def Create_graph(self, index: Any, edges: Any, reorder: bool = False) -> Any:
        """Make one with the topology of a graph."""
        return self._made("graph", MPI.Intracomm.Create_graph(self, index, edges, reorder))

    def Create_dist_graph(self, *given: Any, **named: Any) -> Any:
        """Make one with the topology of a graph of which each rank knows a part."""
        return self._made("graph", MPI.Intracomm.Create_dist_graph(self, *given, **named))

    def Create_dist_graph_adjacent(self, *given: Any, **named: Any) -> Any:
        """Make one with the topology of a graph of which each rank knows its neighbours."""
        return self._made("graph", MPI.Intracomm.Create_dist_graph_adjacent(self, *given, **named))

    def Create_intercomm(self, local_leader: int, peer_comm: Any, remote_leader: int, tag: int = 0) -> Any:
        """Make one between this and another group, which calls it too."""
        made = MPI.Intracomm.Create_intercomm(self, local_leader, peer_comm, remote_leader, tag)
        # What each group was before, the other one does not know.
        groups = _groups(made)
        if groups is None:
            return made
        return _between(made, groups, self._journal.streams, _counted("inter", tag, *groups))

    def _made(self, kind: Any, made: Any) -> Any:
        """Trace what was made; counted also by a rank that is not in it, so that all of them count alike."""
        if made == MPI.COMM_NULL:
            self._journal.child(kind, ())
            return made
        if isinstance(made, MPI.Intercomm):
            groups = _groups(made)
            comm = self._journal.child(kind, groups or ())
            return made if groups is None else _between(made, groups, self._journal.streams, comm)
        group = _world_ranks(made)
        comm = self._journal.child(kind, group)
        return _wrap(made, Journal(self._journal.streams, comm, (made.Get_rank(), made.Get_size())))


class Intracomm(Traced, MPI.Intracomm):  # type: ignore[misc]
    """A traced communicator."""


class Cartcomm(Neighbours, Traced, MPI.Cartcomm):  # type: ignore[misc]
    """A traced communicator with the topology of a grid."""

    def Sub(self, remain_dims: Any) -> Any:
        """Make communicators of the parts of the grid."""
        return self._made("sub", MPI.Cartcomm.Sub(self, remain_dims))


class Graphcomm(Neighbours, Traced, MPI.Graphcomm):  # type: ignore[misc]
    """A traced communicator with the topology of a graph."""


class Distgraphcomm(Neighbours, Traced, MPI.Distgraphcomm):  # type: ignore[misc]
    """A traced communicator with the topology of a graph of which each rank knows a part."""


class Intercomm(Traced, MPI.Intercomm):  # type: ignore[misc]
    """A traced communicator between two groups."""

    def Merge(self, high: bool = False) -> Any:
        """Make one of both groups."""
        return self._made("merge", MPI.Intercomm.Merge(self, high))


def _world_ranks(comm: Any) -> tuple[int, ...]:
    """Return who is in a communicator, or has a window, by the ranks of the world; nobody else is asked for that."""
    return _translated(comm.Get_group())


def _groups(comm: Any) -> tuple[tuple[int, ...], ...] | None:
    """Return both groups of an intercommunicator in order; None if some of them are of another world."""
    groups = _translated(comm.Get_group()), _translated(comm.Get_remote_group())
    return None if any(rank < 0 for group in groups for rank in group) else tuple(sorted(groups))


def _translated(group: Any) -> tuple[int, ...]:
    world = MPI.COMM_WORLD.Get_group()
    try:
        return tuple(group.Translate_ranks(None, world))
    finally:
        group.Free()
        world.Free()


def _counted(*parts: Any) -> int:
    """Return the id of the next of several that are alike, and that all who have it make in one order."""
    count = _COUNTS[parts] = _COUNTS.get(parts, 0) + 1
    return identify(*parts, count)


def _between(made: Any, groups: tuple[tuple[int, ...], ...], streams: Any, comm: int) -> Any:
    mine = _world_ranks(made)
    place = made.Get_rank(), len(mine)
    journal = InterJournal(streams, comm, place, made.Get_remote_size(), is_first=mine == groups[0], root=MPI.ROOT)
    return _wrap(made, journal)


def _wrap(comm: Any, journal: Journal) -> Any:
    for kind in (Cartcomm, Graphcomm, Distgraphcomm, Intracomm, Intercomm):
        # The last of its bases is mpi4py's.
        if isinstance(comm, kind.__bases__[-1]):
            wrapped = kind(comm)
            wrapped._journal = journal
            return wrapped
    return comm


def _my_rank() -> int:
    return int(MPI.COMM_WORLD.Get_rank())


def trace(comm: Any, run: Any) -> Any:
    """Return a communicator that is traced.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or mpi4py.MPI.Win
        Any.
    run : Run
        Where it is recorded.

    Returns
    -------
    mpi4py.MPI.Comm or mpi4py.MPI.Win
        `comm` itself if it is none of these, or of a class that the program made, or has processes of another world,
        or is traced in this run already.
    """
    if isinstance(comm, Window) or not isinstance(comm, (MPI.Comm, MPI.Win)):
        return comm
    if isinstance(comm, Traced):
        # By a run that may have ended; one name with one set of columns is one stream.
        if comm._journal.streams[0] is run.stream(*MESSAGES):
            return comm
    elif type(comm).__module__ != MPI.__name__:
        # What its methods do is not known here, and what stands in front of it would not have them.
        losses = Losses(run, "mpi")
        losses.count("a class of the program's own is not traced", unit="", note=type(comm).__qualname__)
        losses.write()
        return comm
    if comm in (MPI.COMM_NULL, MPI.WIN_NULL):
        return comm
    is_world = comm == MPI.COMM_WORLD
    if is_world and (known := _WORLD.get(run.writer)) is not None:
        return _wrap(comm, known)
    streams = [run.stream(name, columns) for name, columns in (MESSAGES, CALLS, NEIGHBOURS, ACTS)]
    if isinstance(comm, MPI.Intercomm):
        groups = _groups(comm)
        return comm if groups is None else _between(comm, groups, streams, _counted("traced", *groups))
    group = _world_ranks(comm)
    if isinstance(comm, MPI.Win):
        window = Window(comm)
        window._journal = Journal(streams, _counted("window", group), (group.index(_my_rank()), len(group)))
        return window
    named = identify("traced", 0, group) if is_world else _counted("traced", group)
    journal = Journal(streams, named, (comm.Get_rank(), comm.Get_size()))
    if is_world:
        _WORLD[run.writer] = journal
    return _wrap(comm, journal)
