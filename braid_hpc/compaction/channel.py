"""Messages between the ranks of a compaction: nobody waits for a rank that has ended, and waiting costs no core.

mpi4py is imported where there is a communicator, and nowhere else.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.snapshots.locks import dead_lock
from braid_hpc.vocabulary.errors import BraidError, StorageError

__all__ = ["Channel", "Failed", "RankLostError", "failed", "is_dead"]

#: Seconds between two looks for a message, at first and at most, and between two looks at who lives.
_SHORTEST, _LONGEST, _LOOK = 0.0002, 0.01, 1.0


class RankLostError(StorageError):
    """A rank has ended, or MPI has, before a compaction that ranks share came to its end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What a rank was asked for has come to nothing.

    Attributes
    ----------
    error : BaseException
        Why: it can be pickled.
    """

    error: BaseException


def failed(error: BaseException, rank: int) -> Failed:
    """Return an error as another rank can raise it.

    Parameters
    ----------
    error : BaseException
        As it was raised here.
    rank : int
        Of this process.

    Returns
    -------
    Failed
        With the error itself where it is one of this package; else one that says who has met what.
    """
    if isinstance(error, (BraidError, KeyboardInterrupt)):
        return Failed(error)
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        what = f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"
    elif isinstance(error, MemoryError):
        what = "there is not enough memory"
    told = StorageError(f"rank {rank} on {socket.gethostname()} could not do its part of the merge: {what}")
    if not isinstance(error, (OSError, MemoryError)):
        # Nobody has foreseen it, so it is for who looks after this package.
        for line in "".join(traceback.format_exception(error)).splitlines():
            told.add_note(line)
    return Failed(told)


def is_dead(path: Path) -> bool:
    """Return whether the process that locked a file has ended.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        True also where the file system does not show locks to other machines: see that it is False while it lives.
    """
    if (descriptor := dead_lock(path)) is None:
        return False
    os.close(descriptor)
    return True


class Channel:
    """Sends and receives messages.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        That nobody else uses.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = comm
        self._sending: list[Any] = []
        #: Looks whether the others live, and raises :class:`RankLostError` if one of them does not.
        self.look: Callable[[], None] = lambda: None

    def send(self, rank: int, message: Any) -> None:
        """Send a message, and do not wait until it has arrived.

        Parameters
        ----------
        rank : int
            To whom.
        message : object
            It can be pickled.

        Raises
        ------
        RankLostError
            If MPI refuses.
        """
        try:
            self._sending = [each for each in self._sending if not each.Test()]
            self._sending.append(self._comm.isend(message, rank))
        except self._mpi.Exception as error:
            raise RankLostError(f"MPI cannot reach rank {rank} ({error})") from error

    def has(self) -> bool:
        """Return whether there is a message.

        Returns
        -------
        bool
            False too as long as it is on its way.

        Raises
        ------
        RankLostError
            If MPI refuses.
        """
        try:
            return bool(self._comm.iprobe())
        except self._mpi.Exception as error:
            raise RankLostError(f"MPI cannot be asked any more ({error})") from error

    def receive(self) -> tuple[int, Any]:
        """Wait for a message.

        Returns
        -------
        int
            Whose it is.
        object
            The message.

        Raises
        ------
        RankLostError
            If MPI refuses, or a rank has ended.
        """
        self._wait(self.has)
        status = self._mpi.Status()
        try:
            message = self._comm.recv(status=status)
        except self._mpi.Exception as error:
            raise RankLostError(f"MPI cannot be asked any more ({error})") from error
        return int(status.Get_source()), message

    def flush(self) -> None:
        """Wait until all messages have arrived.

        Raises
        ------
        RankLostError
            If MPI refuses, or a rank has ended.
        """
        self._wait(lambda: all(each.Test() for each in self._sending))
        self._sending.clear()

    def _wait(self, condition: Callable[[], bool]) -> None:
        pause, looked = _SHORTEST, time.monotonic()
        while not condition():
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
            if time.monotonic() - looked > _LOOK:
                self.look()
                looked = time.monotonic()
