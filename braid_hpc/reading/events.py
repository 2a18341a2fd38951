"""Rows of a log as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["COLUMNS", "ROW_DTYPE", "Events"]

Array: TypeAlias = npt.NDArray[Any]

#: A row in the table of a tail (``docs/log-format.md``).
ROW_DTYPE = np.dtype(
    [
        ("time", "<i8"),
        ("subject", "<u8"),
        ("object", "<u8"),
        ("name", "<u4"),
        ("other", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
        ("thread", "<u4"),
        ("heap", "<u4"),
        ("length", "<u4"),
        ("reserved", "<u8"),
        ("word", "<u8"),
    ]
)

COLUMNS = ("sequence", "time", "subject", "object", "name", "other", "code", "flags", "thread", "word")


@dataclass(slots=True)
class Events:
    """Rows in order of their sequence.

    Attributes
    ----------
    columns : dict of str to numpy.ndarray
        Those of :data:`COLUMNS`, all of one length: uint64, except ``time`` (int64, CLOCK_MONOTONIC ns), ``name``,
        ``other``, ``thread`` (uint32), ``code``, ``flags`` (uint16).
    heap : bytes or memoryview
        Payloads, in any order.
    start, length : numpy.ndarray
        Where each row's payload lies in `heap`, int64.
    """

    columns: dict[str, Array]
    heap: bytes | memoryview
    start: Array
    length: Array

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.start)

    def __getitem__(self, name: str) -> Array:
        """Return a column."""
        return self.columns[name]

    def payload(self, row: int) -> bytes:
        """Return the payload of one row.

        Parameters
        ----------
        row : int
            Its position here (not its sequence).

        Returns
        -------
        bytes
            Empty where there is none.
        """
        start = int(self.start[row])
        return bytes(self.heap[start : start + int(self.length[row])])

    def take(self, rows: Array) -> Events:
        """Return some of the rows.

        Parameters
        ----------
        rows : numpy.ndarray
            A mask (bool) or positions (int).

        Returns
        -------
        Events
            They share this heap.
        """
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Events(columns, self.heap, self.start[rows], self.length[rows])

    def positions(self, *codes: int) -> Iterator[int]:
        """Yield the positions of rows with one of `codes`, in order.

        Parameters
        ----------
        *codes : int
            Event codes.

        Yields
        ------
        int
            Positions.
        """
        yield from self.having(*codes).nonzero()[0].tolist()

    def having(self, *codes: int) -> Array:
        """Return which rows have one of `codes`.

        Parameters
        ----------
        *codes : int
            Event codes, below 65,536.

        Returns
        -------
        numpy.ndarray
            bool, of the same length.
        """
        # A merge asks this several times of each log, and np.isin takes longer than all rows of a small one.
        return np.asarray(_chosen(codes)[self.columns["code"]])

    @classmethod
    def empty(cls) -> Events:
        """Return no rows.

        Returns
        -------
        Events
            Of length 0.
        """
        table = np.zeros(0, ROW_DTYPE)
        columns = {name: table[name] for name in COLUMNS if name != "sequence"}
        columns["sequence"] = np.zeros(0, np.uint64)
        return cls(columns, b"", np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def from_table(cls, table: Array, sequence: Array, heap: bytes | memoryview, base: int = 0) -> Events:
        """Make columns of rows as they stand in a tail.

        Parameters
        ----------
        table : numpy.ndarray
            Of :data:`ROW_DTYPE`.
        sequence : numpy.ndarray
            uint64.
        heap : bytes or memoryview
            What ``table["heap"]`` points into.
        base : int
            Added to ``table["heap"]``.

        Returns
        -------
        Events
            In the order of `table`.
        """
        columns = {name: np.ascontiguousarray(table[name]) for name in COLUMNS if name != "sequence"}
        columns["sequence"] = sequence.astype(np.uint64)
        return cls(columns, heap, table["heap"].astype(np.int64) + base, table["length"].astype(np.int64))

    @classmethod
    def join(cls, parts: Sequence[Events]) -> Events:
        """Put parts together, each sequence once, in order.

        Parameters
        ----------
        parts : sequence of Events
            Rows with one sequence in several parts are the same row; the first part's counts.

        Returns
        -------
        Events
            Ordered by sequence.
        """
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        if len(parts) == 1:
            sequence = parts[0]["sequence"]
            if bool((sequence[1:] > sequence[:-1]).all()):
                return parts[0]
        bases = np.cumsum([0, *(len(part.heap) for part in parts[:-1])])
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in COLUMNS}
        start = np.concatenate([part.start + base for part, base in zip(parts, bases, strict=True)])
        whole = cls(columns, b"".join(part.heap for part in parts), start, np.concatenate([p.length for p in parts]))
        _, rows = np.unique(columns["sequence"], return_index=True)
        return whole.take(rows)


@lru_cache(maxsize=64)
def _chosen(codes: tuple[int, ...]) -> Array:
    """Return for each code that a row can have whether it is one of some."""
    chosen = np.zeros(1 << 16, bool)
    chosen[list(codes)] = True
    return chosen
