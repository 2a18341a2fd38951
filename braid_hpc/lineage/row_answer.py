"""An answer about rows of streams: these rows, how they are related, and the records that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.encoding import to_jsonable

if TYPE_CHECKING:
    from braid_hpc.lineage.answer import LineageNode
    from braid_hpc.lineage.missing import Missing
    from braid_hpc.lineage.pictured import Source

__all__ = ["RowLineage", "RowNode"]


@dataclass(frozen=True, slots=True)
class RowNode:
    """A row of a stream in an answer.

    Attributes
    ----------
    ref : str
        ``stream:name@version#row``; rows of several ranks may share one.
    stream : str
        Name of the stream.
    run : str or None
        Whose it is; None where the log is not there.
    rank : int or None
        Likewise, and None without a launcher.
    writer : str
        Id of the log it stands in.
    row : int
        Its number there, from 0.
    distance : int
        Edges on the shortest way from the row that was asked for.
    there : bool
        Whether the store has the row; else only that it is spoken of is known.
    values : dict or None
        Its columns, if they were asked for and it is there.
    """

    ref: str
    stream: str
    run: str | None
    rank: int | None
    writer: str
    row: int
    distance: int
    there: bool = True
    values: dict[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class RowLineage:
    """The answer.

    Attributes
    ----------
    root : str
        The row that was asked for.
    direction : str
        ``up`` to what it came from, ``down`` to what came of it.
    rows : list of RowNode
        By distance; the root is the first.
    edges : list of (int, int)
        Child and parent, by their places in `rows`.
    records : list of LineageNode
        The versions that the streams of these rows are (distance 0), and what these came from directly (distance 1):
        ``store.lineage`` of one of them goes on from there.
    unresolved : list of str
        References that name parents of such rows (or, downwards, may name such rows as parents) and do not say whose
        rows they mean.
    missing : list of Missing
        Logs of the runs involved that are not complete.
    source : Source or None
        The store and the moment that it is of.
    """

    root: str
    direction: str
    rows: list[RowNode]
    edges: list[tuple[int, int]]
    records: list[LineageNode]
    unresolved: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    source: Source | None = field(default=None, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether every log that could add to the answer is complete, and every reference says what it means."""
        return not self.missing and not self.unresolved

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values, in the form that ``--format json`` prints.

        Returns
        -------
        dict
            ``root``, ``direction``, ``rows``, ``edges``, ``records``, ``unresolved``, ``complete``, ``missing``.
        """
        return {
            "root": self.root,
            "direction": self.direction,
            "rows": [
                {name: to_jsonable(getattr(row, name)) for name in RowNode.__slots__ if name != "values" or row.values}
                for row in self.rows
            ],
            "edges": [{"child": child, "parent": parent} for child, parent in self.edges],
            "records": [{name: getattr(node, name) for name in node.__slots__} for node in self.records],
            "unresolved": self.unresolved,
            "complete": self.complete,
            "missing": [{name: getattr(each, name) for name in each.__slots__} for each in self.missing],
        }

    def tree(self) -> str:
        """Return the answer as an indented tree; a row that is reached twice is followed once.

        Returns
        -------
        str
            Several lines, the records behind the rows.
        """
        near: dict[int, list[int]] = {}
        for child, parent in self.edges:
            one, other = (parent, child) if self.direction == "down" else (child, parent)
            near.setdefault(one, []).append(other)
        lines: list[str] = []
        waiting, told = [(0, 0)], set()
        while waiting:
            place, depth = waiting.pop()
            again = place in told and place in near
            lines.append("  " * depth + _line(self.rows[place]) + (" (above)" if again else ""))
            if place not in told:
                told.add(place)
                waiting.extend((other, depth + 1) for other in reversed(near.get(place, ())))
        for node in self.records:
            lines.append(("of " if not node.distance else "  from ") + node.ref + ("" if node.valid else ", not valid"))
        lines.extend(f"not known whose rows: {said}" for said in self.unresolved)
        lines.extend(
            f"incomplete: rank {'?' if each.rank is None else each.rank} of run {each.run[:8]} is {each.state}"
            for each in self.missing
        )
        return "\n".join(lines)

    def __str__(self) -> str:
        """Return the tree."""
        return self.tree()


def _line(row: RowNode) -> str:
    about = [] if row.rank is None else [f"rank {row.rank}"]
    about += [] if row.run is None else [f"run {row.run[:8]}"]
    about += [] if row.there else ["not in the store"]
    about += [f"{name} = {value}" for name, value in (row.values or {}).items()]
    return f"{row.ref}  {', '.join(about)}".rstrip()
