"""What a command is to do that a launcher has started several times: share the work, do it alone, or nothing."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from braid_hpc.cli.output import messages
from braid_hpc.run.launcher import find_launch
from braid_hpc.vocabulary.errors import BraidError

__all__ = ["Place", "find_place", "speaking_for_all"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among those that were started.

    Attributes
    ----------
    comm : mpi4py.MPI.Intracomm or None
        Of all of them; None where this process works alone.
    leads : bool
        Whether it prints.
    idle : bool
        Whether another one does everything.
    """

    comm: Any = None
    leads: bool = True
    idle: bool = False


def find_place() -> Place:
    """Find out whether a launcher has started several ranks, and whether MPI joins them.

    Where it does not, rank 0 says so and works alone, and the others have nothing to do: each of them would do all of
    the work again.

    Returns
    -------
    Place
        Of this process.
    """
    launch = find_launch()
    # torchrun starts no MPI, and leaves its variables to everything that is called from a worker.
    if launch.rank is None or (launch.size or 1) < 2 or launch.kind == "torchrun":
        return Place()
    leads = launch.rank == 0
    try:
        comm = importlib.import_module("mpi4py.MPI").COMM_WORLD
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, the MPI library is not
        reason = f"mpi4py cannot be used ({str(error).partition(chr(10))[0]})"
    else:
        if comm.Get_size() > 1:
            return Place(comm, leads=comm.Get_rank() == 0)
        reason = "MPI's world has one: use the launcher of this environment's MPI"
    if leads:
        messages.print_as_is(
            f"{launch.size} ranks were started, but {reason}; rank 0 works alone, the others do nothing"
        )
    return Place(leads=leads, idle=not leads)


@contextlib.contextmanager
def speaking_for_all(place: Place, context: click.Context) -> Iterator[None]:
    """Let rank 0 say what went wrong, and all ranks end with the same code.

    Parameters
    ----------
    place : Place
        Of this process.
    context : click.Context
        Of the command.

    Yields
    ------
    None
        To the work that is shared.
    """
    from braid_hpc.compaction.channel import RankLostError

    try:
        yield
    except RankLostError as error:
        messages.print_as_is(f"braid: {error}")
        sys.stderr.flush()
        # Nothing else ends ranks that wait for one that is gone.
        place.comm.Abort(error.exit_code)
    except BraidError as error:
        if place.leads:
            raise
        context.exit(error.exit_code)
