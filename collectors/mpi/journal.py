"""What one traced communicator writes down: its counters, and the rows of its streams."""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from braid_hpc.run.activities import current_activity
from braid_hpc.run.handles import record_of

__all__ = [
    "ACTS",
    "CALLS",
    "CANCELLED",
    "CANCELLING",
    "FAILED",
    "MESSAGES",
    "NEIGHBOURS",
    "POSTED",
    "RECEIVED",
    "SENT",
    "UNSENT",
    "Journal",
    "identify",
]

#: What a row of the stream ``mpi_messages`` says. The numbers are in the logs: they never change their meaning.
#: A call that never came to MPI, because its arguments were wrong, ends its channel as one that MPI refused does.
SENT, POSTED, RECEIVED, CANCELLING, CANCELLED, FAILED, UNSENT = range(1, 8)

#: Name and columns of the stream of messages.
MESSAGES = (
    "mpi_messages",
    {
        "comm": "uint64",
        "rank": "int32",
        "what": "uint8",
        "peer": "int32",
        "tag": "int32",
        "number": "int64",
        "bytes": "int64",
        "type": "text",
        "thread": "uint32",
        "activity": "int64",
        "record": "text",
    },
)
#: Name and columns of the stream of collective calls.
CALLS = (
    "mpi_collectives",
    {
        "comm": "uint64",
        "rank": "int32",
        "size": "int32",
        "first": "int32",
        "number": "int64",
        "repeat": "int64",
        "call": "text",
        "root": "int32",
        "bytes": "int64",
        "thread": "uint32",
        "activity": "int64",
    },
)

#: Name and columns of the stream of who is next to whom, for calls among neighbours.
NEIGHBOURS = ("mpi_neighbours", {"comm": "uint64", "rank": "int32", "source": "int32"})
#: Name and columns of the stream of one-sided communication.
ACTS = (
    "mpi_onesided",
    {
        "comm": "uint64",
        "rank": "int32",
        "what": "text",
        "target": "int32",
        "bytes": "int64",
        "epoch": "int64",
        "thread": "uint32",
        "activity": "int64",
    },
)


def identify(*parts: Any) -> int:
    """Return the id of a communicator, which is derived alike on all of its ranks.

    Parameters
    ----------
    *parts : int, str or sequence of int
        What tells it from others.

    Returns
    -------
    int
        64 bits.
    """
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


class Journal:
    """The counters of a communicator on this rank, and where its rows go.

    Attributes
    ----------
    comm : int
        Its id.
    rank, size : int
        This rank in it, and how many it has.
    first : int
        Of an intercommunicator, how many ranks its first group has; 0 else.
    met : bool
        Whether it was written down who is next to this rank.
    record : str
        Token of the record that messages carry now; empty if there is none.

    Parameters
    ----------
    streams : sequence of Stream
        Of messages, of collective calls, of neighbours and of one-sided communication; the last two may be left out
        where there are none.
    comm : int
        Id of the communicator.
    place : (int, int)
        Rank and size.
    """

    __slots__ = (
        *("_calls", "_children", "_enter", "_posted", "_rows", "_sent"),
        *("comm", "first", "met", "rank", "record", "size", "streams"),
    )

    def __init__(self, streams: Sequence[Any], comm: int, place: tuple[int, int]) -> None:
        self.streams = streams
        self.comm = comm
        self.rank, self.size = place
        self.first = 0
        self.met = False
        self.record = ""
        self._rows = streams[0].append
        self._enter = streams[1].append
        self._sent: dict[tuple[int, int], int] = {}
        self._posted = 0
        self._calls = 0
        self._children: dict[Any, int] = {}

    # A counter is moved on before anything is called, so that a thread that comes in between takes the next number.

    def sent(self, dest: int, tag: int, size: int, kind: str) -> int:
        """Write down a message that is sent.

        Parameters
        ----------
        dest, tag : int
            Where it goes; not to ``PROC_NULL``.
        size : int
            Bytes.
        kind : str
            What it consists of.

        Returns
        -------
        int
            Its number in its channel.
        """
        channel = (dest, tag)
        number = self._sent.get(channel, 0)
        self._sent[channel] = number + 1
        self.note(SENT, dest, tag, number, size, kind, self.record)
        return number

    def post(self) -> int:
        """Return the number of a receive that is posted now."""
        number = self._posted
        self._posted = number + 1
        return number

    def note(
        self, what: int, peer: int, tag: int, number: int, size: int = -1, kind: str = "", record: str = ""
    ) -> None:
        """Write down what became of a message.

        Parameters
        ----------
        what : int
            One of the numbers of this module.
        peer, tag : int
            The envelope; -1 where any will do.
        number : int
            That of its posting; of a send, that in its channel.
        size : int
            Bytes; -1 if that is not known yet.
        kind : str
            What it consists of.
        record : str
            Token of the record that it carries.
        """
        inside = current_activity()
        activity = inside.sequence if inside is not None else -1
        thread = get_ident() & 0xFFFFFFFF
        self._rows(self.comm, self.rank, what, peer, tag, number, size, kind, thread, activity, record)

    def call(self, name: str, root: int, size: int) -> int:
        """Write down a collective call.

        Parameters
        ----------
        name : str
            The call, in lower case.
        root : int
            Its root; -1 if it has none.
        size : int
            Bytes that this rank gives; -1 if that is not known.

        Returns
        -------
        int
            Its number on the communicator.
        """
        number = self._calls
        self._calls = number + 1
        # As `begin` does it, whose call would cost a tenth more.
        inside = current_activity()
        activity = inside.sequence if inside is not None else -1
        thread = get_ident() & 0xFFFFFFFF
        self._enter(self.comm, self.rank, self.size, self.first, number, -1, name, root, size, thread, activity)
        return number

    def begin(self, name: str, number: int, repeat: int, root: int, size: int) -> None:
        """Write down a collective call whose number is known.

        Parameters
        ----------
        name, root, size
            As for :meth:`call`.
        number : int
            Its number, or that of the call that made the persistent one that is started.
        repeat : int
            Which start of that it is; -1 for any other call.
        """
        inside = current_activity()
        activity = inside.sequence if inside is not None else -1
        thread = get_ident() & 0xFFFFFFFF
        self._enter(self.comm, self.rank, self.size, self.first, number, repeat, name, root, size, thread, activity)

    def meet(self, sources: Sequence[int]) -> None:
        """Write down from whom calls among neighbours bring something.

        Parameters
        ----------
        sources : sequence of int
            Ranks; where there is none, ``PROC_NULL``.
        """
        self.met = True
        for source in sorted(set(sources)):
            if source >= 0:
                self.streams[2].append(self.comm, self.rank, source)

    def act(self, what: str, target: int, size: int, epoch: int) -> None:
        """Write down one-sided communication.

        Parameters
        ----------
        what : str
            ``put``, ``get``, ...
        target : int
            The rank whose memory it is.
        size : int
            Bytes of the buffer here; -1 if that is not known.
        epoch : int
            How many fences there were before; -1 if it is not between fences.
        """
        inside = current_activity()
        activity = inside.sequence if inside is not None else -1
        thread = get_ident() & 0xFFFFFFFF
        self.streams[3].append(self.comm, self.rank, what, target, size, epoch, thread, activity)

    def child(self, kind: Any, group: tuple[Any, ...]) -> int:
        """Return the id of a communicator that was made from this one.

        Parameters
        ----------
        kind : object
            What made it, with all that its ranks agree on.
        group : tuple
            Its ranks in the world; of an intercommunicator those of both groups.

        Returns
        -------
        int
            64 bits.
        """
        count = self._children.get(kind, 0)
        self._children[kind] = count + 1
        return identify(self.comm, kind, count, group)

    def carry(self, record: Any) -> str:
        """Have the messages from now on carry a record.

        Parameters
        ----------
        record : Record or object
            A handle, or what a record was made for; anything else says nothing.

        Returns
        -------
        str
            What they carried before, for :attr:`record`.
        """
        before, handle = self.record, record_of(record)
        self.record = handle.token if handle else ""
        return before
