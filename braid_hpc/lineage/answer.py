"""An answer to a lineage question: nodes, edges, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.lineage.missing import Missing, missing_logs
from braid_hpc.lineage.pictured import Pictured, Source
from braid_hpc.lineage.shown import edges_among
from braid_hpc.lineage.validity import Judgement
from braid_hpc.lineage.walk import FOLLOWED, walk
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Relation
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Lineage", "LineageEdge", "LineageNode", "Missing", "ask"]


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


def ask(
    store: Store,
    reference: str,
    *,
    down: bool,
    depth: int | None,
    at: int,
    as_of: int | None = None,
    invalid: dict[int, Judgement],
    kinds: frozenset[str] | None = None,
    relations: tuple[Relation, ...] = FOLLOWED,
) -> Lineage:
    """Walk from a reference and put the answer together.

    Parameters
    ----------
    store : Store
        An open store.
    reference : str
        Where to start.
    down : bool
        Towards what came of it.
    depth : int or None
        How many edges at most.
    at : int
        Snapshot number.
    as_of : int, optional
        Nanoseconds since 1970 UTC: only what was there and had been stated by then.
    invalid : dict of int to Judgement
        From :func:`braid_hpc.lineage.validity.invalid_nodes`.
    kinds : frozenset of str, optional
        Only nodes of these kinds are shown; all are walked through.
    relations : tuple of Relation
        Which edges are followed.

    Returns
    -------
    Lineage
        The answer.

    Raises
    ------
    NotFoundError, ConflictError
        If the reference names nothing, or several things.
    InvalidInputError
        If the reference or the depth is not one.
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise InvalidInputError(f"a depth is a number from 0, or nothing for all: not {depth!r}")
    connection = store._connected
    root, others = resolve(connection, reference, at, as_of)
    # A step of an SPMD program at which ranks disagree has several versions: they are one answer.
    siblings = [] if root.kind == ACTIVITY_KIND else [each for each in others if _is_sibling(connection, root, each)]
    starts = [root.id, *(each.id for each in siblings)]
    found = walk(
        connection, starts, down=down, depth=depth, at=at, as_of=as_of, relations=relations, index=store.adjacency
    )
    nodes = _nodes(connection, found.distance)
    every = len(nodes)
    stated = found.edges
    if kinds is not None:
        nodes = {identity: node for identity, node in nodes.items() if node.kind in kinds or identity in starts}
        stated = edges_among(found, nodes, down=down)
    refs = {identity: node.ref for identity, node in nodes.items()}
    listed = [
        LineageNode(
            *(refs[identity], node.kind, node.name, node.version, found.distance[identity], identity not in invalid),
            cause=invalid[identity].cause if identity in invalid else None,
        )
        for identity, node in nodes.items()
    ]
    begun = root.ref
    listed.sort(key=lambda node: (node.distance, node.ref != begun, node.kind, node.name, node.version))
    edges = [LineageEdge(refs[child], refs[parent], relation) for child, parent, relation in stated]
    return Lineage(
        begun,
        "down" if down else "up",
        listed,
        sorted(edges, key=lambda edge: (edge.child, edge.parent, edge.relation)),
        missing_logs(connection, list(found.distance), root, down=down, at=at),
        [other.ref for other in others],
        None if kinds is None else sorted(kinds),
        every - len(nodes),
        Source(store.path, at, as_of),
    )


def _is_sibling(connection: Any, one: Node, other: Node) -> bool:
    rows = connection.execute(
        "select 1 from occurrences a join occurrences b on a.run = b.run and a.step = b.step "
        "where a.id = ? and b.id = ? limit 1",
        [one.id, other.id],
    ).fetchall()
    return bool(rows)


def _nodes(connection: Any, distance: dict[int, int]) -> dict[int, Node]:
    rows = connection.execute(
        "select id, uid, kind, name, version from nodes where id in (select unnest(?::bigint[]))", [list(distance)]
    ).fetchall()
    return {row[0]: Node(*row) for row in rows}
