"""The tail whose ``append`` is one compiled call; ``kernels/_tail.c`` says how.

Making, mapping, syncing and closing the file stay in Python: they are the same lines as in :mod:`braid_hpc.log.tail`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid_hpc.kernels._tail import Table, prefault
from braid_hpc.log.tail import MappedTail

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CompiledTail"]


class CompiledTail(MappedTail):
    """A :class:`~braid_hpc.log.tail.MappedTail` with a compiled ``append``.

    Parameters
    ----------
    path, writer, number, first, rows, heap
        As for :class:`~braid_hpc.log.tail.MappedTail`.

    Raises
    ------
    OSError
        If the file cannot be created, allocated or mapped.

    Attributes
    ----------
    table : Table
        The compiled half, for a :class:`braid_hpc.kernels._tail.Cell`.
    """

    # `append` is the compiled function itself: no Python frame lies between the caller and the store.
    __slots__ = ("append", "table")

    def __init__(self, path: Path, writer: bytes, number: int, first: int, rows: int, heap: int) -> None:
        super().__init__(path, writer, number, first, rows, heap)
        header = self.header
        self.table = Table(self._map, writer, first, rows, header.heap_offset, header.heap_bytes)
        self.append = self.table.append  # type: ignore[assignment, method-assign]

    def _prefault(self) -> None:
        # As the twin does it, but without holding up the program's other threads.
        prefault(self._map)

    @property
    def fill(self) -> float:
        """How much of the tail is used, from 0 to 1."""
        return self.table.fill

    @property
    def last(self) -> int:
        """Sequence of the last row that was stored; one less than the first one's where there is none."""
        return self.header.first - 1 + self.table.used

    @property
    def settled(self) -> bool:
        """Always true: no other thread runs between the reservation of a row and its publication."""
        return True

    def close(self) -> None:
        """Let go of the mapping; later calls of ``append`` store nothing."""
        self.table.close()
        super().close()
