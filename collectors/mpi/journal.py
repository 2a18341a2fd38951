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
    "InterJournal",
    "Journal",
    "describe",
    "identify",
    "size_of",
    "type_of",
]

#: What a row of the stream ``mpi_messages`` says. The numbers are in the logs: they never change their meaning.
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


def describe(buffer: Any) -> tuple[int, str]:
    """Return size and type of a buffer given to MPI.

    Parameters
    ----------
    buffer : object
        As for :func:`size_of`.

    Returns
    -------
    size : int
        As from :func:`size_of`.
    kind : str
        As from :func:`type_of`.
    """
    try:
        return buffer.nbytes, buffer.dtype.char
    except AttributeError:
        # No array of NumPy's.
        return size_of(buffer), type_of(buffer)


def size_of(buffer: Any) -> int:
    """Return how many bytes a buffer given to MPI has, as far as that can be told.

    Parameters
    ----------
    buffer : object
        A buffer, or a list of buffer, count and datatype as mpi4py takes it.

    Returns
    -------
    int
        Bytes; -1 if that cannot be told.
    """
    try:
        if buffer.__class__ is bytes or buffer.__class__ is bytearray:
            return len(buffer)
        if hasattr(buffer, "nbytes"):
            return int(buffer.nbytes)
        if not isinstance(buffer, (list, tuple)):
            return memoryview(buffer).nbytes
        parts = list(buffer)
        # mpi4py takes buffer, count, displacement and datatype, of which those in the middle may be left out.
        kind = parts.pop() if len(parts) > 1 and hasattr(parts[-1], "Get_size") else None
        count = parts[1] if len(parts) > 1 else None
        if isinstance(count, int) and kind is not None:
            return count * int(kind.Get_size())
        # Without a count all of it is meant; with a type that has gaps, or one said by its letter, who knows.
        if len(parts) == 1 and (kind is None or kind.Get_size() == kind.Get_extent()[1]):
            return size_of(parts[0])
    except (TypeError, ValueError, AttributeError, BufferError):
        # Whatever it is, MPI is given it as it is, and says what is wrong with it.
        return -1
    return -1


def type_of(buffer: Any) -> str:
    """Return what a message consists of.

    Parameters
    ----------
    buffer : object
        As for :func:`size_of`.

    Returns
    -------
    str
        A letter of NumPy's, or the name of an MPI datatype; empty if it cannot be told.
    """
    kind = getattr(buffer, "dtype", None)
    if kind is not None:
        return str(getattr(kind, "char", kind))
    if isinstance(buffer, (list, tuple)) and buffer:
        last = buffer[-1]
        if isinstance(last, str):
            return last
        return str(last.Get_name()) if hasattr(last, "Get_name") else type_of(buffer[0])
    return "B" if isinstance(buffer, (bytes, bytearray)) else ""


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
        *("_calls", "_children", "_posted", "_rows", "_sent"),
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
        self.begin(name, number, -1, root, size)
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
        row = (self.comm, self.rank, self.size, self.first, number, repeat, name, root, size, thread, activity)
        self.streams[1].append(*row)

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

    def child(self, kind: Any, group: tuple[int, ...]) -> int:
        """Return the id of a communicator that was made from this one.

        Parameters
        ----------
        kind : object
            What made it, with all that its ranks agree on.
        group : tuple of int
            Its ranks in the world.

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


class InterJournal(Journal):
    """The counters of an intercommunicator on this rank.

    The ranks of both groups are counted together, those of the first group first: of the one that has the process
    with the lowest rank in the world. So channels and calls of both groups are told apart without more columns.

    Parameters
    ----------
    streams, comm
        As of :class:`Journal`.
    place : (int, int)
        Rank in the own group, and size of that.
    others : int
        Size of the other group.
    is_first : bool
        Whether the own group is the first one.
    root : int
        What a root calls itself.
    """

    __slots__ = ("_root", "_shift")

    def __init__(
        self, streams: Sequence[Any], comm: int, place: tuple[int, int], others: int, *, is_first: bool, root: int
    ) -> None:
        rank, size = place
        super().__init__(streams, comm, (rank if is_first else others + rank, size + others))
        self.first = size if is_first else others
        self._shift = size if is_first else 0
        self._root = root

    def note(
        self, what: int, peer: int, tag: int, number: int, size: int = -1, kind: str = "", record: str = ""
    ) -> None:
        """Write down what became of a message; the peer is one of the other group."""
        super().note(what, peer + self._shift if peer >= 0 else -1, tag, number, size, kind, record)

    def begin(self, name: str, number: int, repeat: int, root: int, size: int) -> None:
        """Write down a collective call; its root is one of the other group, or this rank, or not known to it."""
        root = self.rank if root == self._root else root + self._shift if root >= 0 else -1
        super().begin(name, number, repeat, root, size)
