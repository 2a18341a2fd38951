"""The graph of a store as a question sees it: at a snapshot, as of a time, along some relations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.missing import Missing, missing_logs
from braid_hpc.lineage.pictured import Source
from braid_hpc.lineage.relations import check_relations
from braid_hpc.lineage.walk import Walk, walk
from braid_hpc.snapshots.adjacency import RELATIONS
from braid_hpc.store.holding import filled_nodes
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Relation

if TYPE_CHECKING:
    from braid_hpc.lineage.validity import Judgement
    from braid_hpc.store.store import Store

__all__ = ["Ground", "edges_by_refs"]

_NAMES = {number: str(relation) for relation, number in RELATIONS.items()}


@dataclass(frozen=True, slots=True)
class Ground:
    """What a question stands on.

    Attributes
    ----------
    store : Store
        Open.
    at : int
        Snapshot number.
    as_of : int or None
        Nanoseconds since 1970 UTC.
    relations : tuple of Relation
        What is followed.
    closed : frozenset of int
        Placeholders whose records were seen: they are not entered.
    """

    store: Store
    at: int
    as_of: int | None
    relations: tuple[Relation, ...]
    closed: frozenset[int]

    @classmethod
    def of(cls, store: Store, *, at: int | None, as_of: Any, relations: str | Iterable[str] | None = None) -> Ground:
        """Check what a question was given, and return what it stands on.

        Parameters
        ----------
        store : Store
            Open.
        at : int or None
            A snapshot number; the newest for None.
        as_of : datetime, str, int or None
            A time.
        relations : str or iterable of str, optional
            What to follow.

        Returns
        -------
        Ground
            Of that moment.

        Raises
        ------
        InvalidInputError
            If there is no such snapshot or relation, or nothing can be asked as of that time.
        """
        followed, snapshot, time = check_relations(relations), store._at(at), store._as_of(as_of)
        return cls(store, snapshot, time, followed, frozenset(filled_nodes(store._connected, snapshot)))

    @property
    def source(self) -> Source:
        """Where an answer comes from, for what is asked of it later."""
        return Source(self.store.path, self.at, self.as_of)

    def resolve(self, reference: str) -> tuple[Node, list[Node]]:
        """Find what a reference names, and what is as new where it names no version.

        Parameters
        ----------
        reference : str
            A version or an activity.

        Returns
        -------
        node : Node
            What is meant.
        others : list of Node
            As of :func:`braid_hpc.store.resolve.resolve`.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As there.
        """
        return resolve(self.store._connected, reference, self.at, self.as_of)

    def walk(
        self, starts: Collection[int], *, down: bool = False, depth: int | None = None, edges: bool = False
    ) -> Walk:
        """Follow edges from some nodes.

        Parameters
        ----------
        starts : collection of int
            Dense ids.
        down : bool
            From parents to children.
        depth : int, optional
            How many edges at most.
        edges : bool
            Whether edges are wanted.

        Returns
        -------
        Walk
            As from :func:`braid_hpc.lineage.walk.walk`.
        """
        return walk(
            self.store._connected,
            starts,
            down=down,
            depth=depth,
            at=self.at,
            as_of=self.as_of,
            relations=self.relations,
            index=self.store.adjacency,
            barred=self.closed,
            edges=edges,
        )

    def reached(self, starts: Collection[int], *, down: bool = False) -> Mapping[int, int]:
        """Return everything that is reached from some nodes.

        Parameters
        ----------
        starts : collection of int
            Dense ids.
        down : bool
            From parents to children.

        Returns
        -------
        mapping of int to int
            Edges on the shortest way, by dense id.
        """
        return self.walk(starts, down=down).distance

    def near(self, node: int, *, down: bool) -> list[tuple[int, str]]:
        """Return the next nodes, with the relation of the edge to each.

        Parameters
        ----------
        node : int
            Dense id.
        down : bool
            Children; else parents.

        Returns
        -------
        list of (int, str)
            By id, then in the order of relations.
        """
        index = self.store.adjacency
        if index is None or self.as_of is not None or node > index.nodes:
            found = self.walk([node], down=down, depth=1, edges=True).edges
            pairs = [(c if down else p, relation) for c, p, relation in found if node == (p if down else c)]
        else:
            half = index.down if down else index.up
            places = slice(int(half.offsets[node]), int(half.offsets[node + 1]))
            mark = half.mark[places]
            keep = index.allowed(self.relations, self.at)[mark]
            relation = index.marks[mark[keep], 1].tolist()
            pairs = [(far, _NAMES[r]) for far, r in zip(half.far[places][keep].tolist(), relation, strict=True)]
        order = {str(relation): place for place, relation in enumerate(Relation)}
        return sorted(
            {pair for pair in pairs if pair[0] not in self.closed}, key=lambda pair: (pair[0], order[pair[1]])
        )

    def nodes(self, ids: Collection[int]) -> dict[int, Node]:
        """Return what some dense ids are.

        Parameters
        ----------
        ids : collection of int
            Dense ids.

        Returns
        -------
        dict of int to Node
            In the order given.
        """
        rows = self.store._connected.execute(
            "select id, uid, kind, name, version from nodes where id in (select unnest(?::bigint[]))", [list(ids)]
        ).fetchall()
        found = {row[0]: Node(*row) for row in rows}
        return {identity: found[identity] for identity in ids if identity in found}

    def judged(self) -> dict[int, Judgement]:
        """Return everything that is invalid at this moment.

        Returns
        -------
        dict of int to Judgement
            By dense id.
        """
        return self.store.judgements(at=self.at, as_of=self.as_of)

    def listed(self, distance: Mapping[int, int]) -> dict[int, LineageNode]:
        """Return nodes as an answer shows them.

        Parameters
        ----------
        distance : mapping of int to int
            By dense id.

        Returns
        -------
        dict of int to LineageNode
            In the order of `distance`.
        """
        judged, found = self.judged(), self.nodes(distance)
        return {
            identity: LineageNode(
                *(node.ref, node.kind, node.name, node.version, distance[identity], identity not in judged),
                cause=judged[identity].cause if identity in judged else None,
            )
            for identity, node in found.items()
        }

    def missing(self, ids: Collection[int], root: Node, *, down: bool = False) -> list[Missing]:
        """Return the logs that may hide a part of an answer.

        Parameters
        ----------
        ids : collection of int
            Dense ids of the answer.
        root : Node
            Where it begins.
        down : bool
            Whether it is about what came of it.

        Returns
        -------
        list of Missing
            As from :func:`braid_hpc.lineage.missing.missing_logs`.
        """
        return missing_logs(self.store._connected, list(ids), root, down=down, at=self.at)

    def starts(self, node: Node, others: list[Node]) -> list[int]:
        """Return a node and the versions of the same step of an SPMD program, which are one answer.

        Parameters
        ----------
        node : Node
            What a reference names.
        others : list of Node
            What is as new.

        Returns
        -------
        list of int
            Dense ids.
        """
        if node.kind == ACTIVITY_KIND or not others:
            return [node.id]
        rows = self.store._connected.execute(
            "select distinct b.id from occurrences a join occurrences b on a.run = b.run and a.step = b.step "
            "where a.id = $id and list_contains($ids::bigint[], b.id)",
            {"id": node.id, "ids": [other.id for other in others]},
        ).fetchall()
        siblings = {identity for (identity,) in rows}
        return [node.id, *(other.id for other in others if other.id in siblings)]


def edges_by_refs(edges: Iterable[tuple[int, int, str]], nodes: Mapping[int, LineageNode]) -> list[LineageEdge]:
    """Return edges between nodes of an answer, by their references.

    Parameters
    ----------
    edges : iterable of (int, int, str)
        Child, parent, relation.
    nodes : mapping of int to LineageNode
        Those of the answer.

    Returns
    -------
    list of LineageEdge
        In order.
    """
    found = {
        LineageEdge(nodes[child].ref, nodes[parent].ref, relation)
        for child, parent, relation in edges
        if child in nodes and parent in nodes
    }
    return sorted(found, key=lambda edge: (edge.child, edge.parent, edge.relation))
