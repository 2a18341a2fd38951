"""What holds in spite of a statement: looked up for each of many statements, of which many may have been taken back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

__all__ = ["Barriers"]


class Barriers:
    """Nodes that hold in spite of statements of invalidation.

    Parameters
    ----------
    rows : iterable of (int, str)
        Dense id of each node, and the id of the statement, or its beginning.
    """

    def __init__(self, rows: Iterable[tuple[int, str]]) -> None:
        self._nodes: dict[str, set[int]] = defaultdict(set)
        for node, despite in rows:
            self._nodes[despite].add(node)
        self._lengths = sorted({len(despite) for despite in self._nodes})

    def of(self, uid: str) -> frozenset[int]:
        """Return what holds in spite of a statement.

        Parameters
        ----------
        uid : str
            Its id.

        Returns
        -------
        frozenset of int
            Dense ids.

        Examples
        --------
        >>> sorted(Barriers([(1, "ab"), (2, "abcd"), (3, "b")]).of("abcd"))
        [1, 2]
        """
        return frozenset().union(*(self._nodes.get(uid[:length], ()) for length in self._lengths if length <= len(uid)))
