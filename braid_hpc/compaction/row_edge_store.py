"""Pairs of rows in the store: a row for each range of them, in a table of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from braid_hpc.compaction.row_edges import Link, Stated
from braid_hpc.compaction.rows import BIGINT, INTEGER, TEXT, Rows
from braid_hpc.compaction.stream_store import ROWS_AT_ONCE

__all__ = ["RowEdgeTables"]

_LINK = (
    ("link", INTEGER),
    ("writer", TEXT),
    ("child_stream", TEXT),
    ("child_writer", TEXT),
    ("parent_stream", TEXT),
    ("parent_writer", TEXT),
    ("said", TEXT),
)
_RANGES = ("child_first", "child_last", "parent_first", "parent_last", "count")


class RowEdgeTables:
    """Fills ``row_links`` and ``row_edge_rows`` within a commit.

    Parameters
    ----------
    rows : Rows
        Of the commit.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        found = rows.connection.execute(f"select {', '.join(name for name, _ in _LINK)} from row_links").fetchall()
        self._links: dict[Link, int] = {tuple(link): number for number, *link in found}
        self._waiting: list[tuple[int, Stated]] = []
        self._count = 0

    def add(self, stated: Stated) -> None:
        """Take what an event says; it is inserted when there is much, and by :meth:`flush`.

        Parameters
        ----------
        stated : Stated
            From :class:`~braid_hpc.compaction.row_edges.EdgeReader`.
        """
        number = self.number(stated.link)
        self._waiting.append((number, stated))
        self._rows.counts["row edges"] += stated.edges
        self._count += len(stated.segments)
        if self._count >= ROWS_AT_ONCE or len(self._waiting) >= ROWS_AT_ONCE:
            self.flush()

    def number(self, link: Link) -> int:
        """Return the number of a link, and choose one the first time.

        Parameters
        ----------
        link : Link
            Between which streams.

        Returns
        -------
        int
            As in ``row_links``.
        """
        number = self._links.get(link)
        if number is None:
            number = self._links[link] = len(self._links) + 1
            self._rows.rows("row_links", _LINK, [(number, *link)])
        return number

    def flush(self) -> None:
        """Insert all that waits."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        if not waiting:
            return
        lengths = np.array([len(stated.segments) for _, stated in waiting])
        columns: dict[str, Any] = {
            "link": _repeated([number for number, _ in waiting], lengths, np.int32),
            **{name: np.concatenate([getattr(stated.segments, name) for _, stated in waiting]) for name in _RANGES},
            "sequence": _repeated([stated.sequence for _, stated in waiting], lengths, np.int64),
        }
        table = {name: pa.array(values) for name, values in columns.items()}
        table["time"] = pa.array(_repeated([stated.time for _, stated in waiting], lengths, np.int64)).cast(
            pa.timestamp("ns")
        )
        assert table["count"].type == BIGINT
        self._rows.insert("row_edge_rows", pa.table(table), {"snapshot": self._rows.snapshot})


def _repeated(values: list[int], lengths: Any, dtype: Any) -> Any:
    return np.repeat(np.array(values, dtype), lengths)
