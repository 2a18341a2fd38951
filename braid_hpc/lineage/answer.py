"""An answer to a lineage question: nodes, edges, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from braid_hpc.lineage.missing import Missing
from braid_hpc.lineage.pictured import Pictured, Source

__all__ = ["Lineage", "LineageEdge", "LineageNode", "Missing"]


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A version or an activity in an answer.

    Attributes
    ----------
    ref : str
        ``kind:name@version``.
    kind, name : str
        Its parts.
    version : int
        Its number.
    distance : int
        Edges on the shortest way from the root.
    valid : bool
        Whether no statement that holds has invalidated it or something it descends from.
    cause : str or None
        Why it is not valid: the cause of the first such statement.
    """

    ref: str
    kind: str
    name: str
    version: int
    distance: int
    valid: bool
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """An edge in an answer, between references."""

    child: str
    parent: str
    relation: str


@dataclass(frozen=True, slots=True)
class Lineage(Pictured):
    """The answer.

    Attributes
    ----------
    root : str
        Where the walk began.
    direction : str
        ``up`` to what fed it, ``down`` to what came of it.
    nodes : list of LineageNode
        By distance; the root is the first.
    edges : list of LineageEdge
        Among these nodes; see :func:`braid_hpc.lineage.shown.edges_among` for those of an answer of some kinds.
    missing : list of Missing
        Logs of the runs involved that are not complete.
    others : list of str
        Where no version was named, further ones that were as new as the root; of an activity, all others of its name.
    kinds : list of str or None
        The kinds that were asked for; the root is shown whatever its kind. None if all are.
    left_out : int
        How many nodes were walked through and are not shown, being of other kinds.
    source : Source or None
        The store and the moment that it is of.
    """

    root: str
    direction: str
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    missing: list[Missing] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    kinds: list[str] | None = None
    left_out: int = 0
    source: Source | None = field(default=None, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether every log that could add to the answer is complete."""
        return not self.missing

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes there are of each kind, the root included."""
        found: dict[str, int] = {}
        for node in self.nodes:
            found[node.kind] = found.get(node.kind, 0) + 1
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values, in the form that ``--format json`` prints.

        Returns
        -------
        dict
            ``root``, ``direction``, ``nodes``, ``edges``, ``complete``, ``missing``; references are strings.
        """
        plain: dict[str, Any] = {
            "root": self.root,
            "direction": self.direction,
            "nodes": [{name: getattr(node, name) for name in LineageNode.__slots__} for node in self.nodes],
            "edges": [{name: getattr(edge, name) for name in LineageEdge.__slots__} for edge in self.edges],
            "complete": self.complete,
            "missing": [{name: getattr(each, name) for name in Missing.__slots__} for each in self.missing],
        }
        if self.others:
            plain["others"] = self.others
        if self.kinds is not None:
            plain.update(kinds=self.kinds, left_out=self.left_out)
        return plain

    def tree(self) -> str:
        """Return the answer as an indented tree.

        Returns
        -------
        str
            Several lines; see :func:`braid_hpc.lineage.render.tree`.
        """
        from braid_hpc.lineage.render import tree

        return tree(self)

    def __str__(self) -> str:
        """Return the tree."""
        return self.tree()
