"""The ranks of the program: who we are, and the collectives that the workflows themselves need.

The recorder never communicates; these calls belong to the workflow. Without MPI, or with one rank, they cost nothing
and need no `mpi4py`.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ranks", "join"]

T = TypeVar("T")

SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "WORLD_SIZE")
"""Where Open MPI, MPICH and its relatives, srun and torchrun tell a process how many they started."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among those of the job.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0, and how many there are.
    comm : mpi4py.MPI.Intracomm or None
        None where there is one rank.
    """

    rank: int = 0
    size: int = 1
    comm: Any = None

    def total(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add a block up over all ranks.

        Parameters
        ----------
        block : ndarray of float64
            Of one shape on all ranks.

        Returns
        -------
        ndarray of float64
            The same on all ranks; `block` itself where there is one.
        """
        if self.comm is None:
            return block
        result = np.empty_like(block)
        self.comm.Allreduce(block, result)
        return result

    def everyones(self, thing: T) -> list[T]:
        """Give each rank what every rank has, for instance the handles of the records that it declared.

        Parameters
        ----------
        thing : object
            This rank's; anything that can be pickled. A record handle stays one on its way.

        Returns
        -------
        list of object
            One of each rank, in the order of ranks.
        """
        if self.comm is None:
            return [thing]
        found: list[T] = self.comm.allgather(thing)
        return found

    def share(self, n: int) -> range:
        """Say which of some numbered pieces of work are this rank's.

        Parameters
        ----------
        n : int
            How many pieces there are.

        Returns
        -------
        range
            Every `size`-th piece; over all ranks each one once.
        """
        return range(self.rank, n, self.size)

    def all_same(self, content: bytes) -> bool:
        """Say whether all ranks hold the same bytes.

        Parameters
        ----------
        content : bytes
            What to compare; only a digest of it travels.

        Returns
        -------
        bool
            The same answer on all ranks.
        """
        if self.comm is None:
            return True
        digest = int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")
        # the smallest is minus the largest of the negatives, so one call gives both
        largest = np.empty(2, dtype=np.int64)
        self.comm.Allreduce(np.array([digest, -digest]), largest, importlib.import_module("mpi4py.MPI").MAX)
        return bool(largest[0] == -largest[1])

    def all_well(self, well: bool) -> bool:
        """Say whether all ranks are well, so that all go on or none does.

        Parameters
        ----------
        well : bool
            Whether this one is.

        Returns
        -------
        bool
            The same answer on all ranks.
        """
        return bool(self.total(np.array([float(not well)]))[0] == 0.0)

    def abort(self) -> None:
        """End all ranks: after an error in one, the others would wait for it in a collective for ever."""
        if self.comm is not None:
            self.comm.Abort(1)


def join() -> Ranks:
    """Find out who we are, from MPI where it is installed.

    Returns
    -------
    Ranks
        One rank without a communicator where there is no MPI, or where it was started without ``mpirun``.

    Raises
    ------
    RuntimeError
        The launcher started several processes, but MPI is missing, or belongs to another launcher and counts one.
    """
    started = max((int(value) for name in SIZE_VARIABLES if (value := os.environ.get(name, "")).isdigit()), default=1)
    try:
        comm = importlib.import_module("mpi4py.MPI").COMM_WORLD
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, the MPI library is not
        if started > 1:
            raise RuntimeError(f"{started} ranks were started, but mpi4py cannot be used: {error}") from error
        return Ranks()
    if comm.size > 1:
        return Ranks(comm.rank, comm.size, comm)
    if started > 1:
        raise RuntimeError(
            f"{started} ranks were started, but MPI counts one: use the mpirun of the environment that python is from"
        )
    return Ranks()
