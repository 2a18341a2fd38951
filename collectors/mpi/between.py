"""What one traced communicator between two groups writes down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from braid_hpc.collectors.mpi.journal import Journal

__all__ = ["InterJournal"]


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

    def call(self, name: str, root: int, size: int) -> int:
        """Write down a collective call; its root is one of the other group, or this rank, or not known to it."""
        return super().call(name, self._in_both(root), size)

    def begin(self, name: str, number: int, repeat: int, root: int, size: int) -> None:
        """Write down a start of a persistent one likewise."""
        super().begin(name, number, repeat, self._in_both(root), size)

    def _in_both(self, root: int) -> int:
        """Return a root's rank among both groups; -1 if it is not known here, or there is none."""
        return self.rank if root == self._root else root + self._shift if root >= 0 else -1
