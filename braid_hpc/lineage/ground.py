"""The graph of a store as a question sees it: at a snapshot, as of a time, along some relations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.missing import Gaps, Missing, missing_logs
from braid_hpc.lineage.pictured import Source
from braid_hpc.lineage.relations import check_relations
from braid_hpc.lineage.walk import RELATION_NAMES, Walk, followed, moment_of, walk
from braid_hpc.store.holding import filled_nodes
from braid_hpc.store.resolve import Node
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Relation
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.lineage.validity import Judgement
    from braid_hpc.store.store import Store

__all__ = ["Ground", "edges_by_refs"]

_ORDER = {str(relation): place for place, relation in enumerate(Relation)}


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
        connection = store._connected
        closed = store._once(("filled", snapshot), lambda: frozenset(filled_nodes(connection, snapshot)))
        return cls(store, snapshot, time, followed, closed)

    @property
    def source(self) -> Source:
        """The store that an answer comes from, for what is asked of it later: of a view, what was made for it."""
        return Source(self.store._files.path, self.at, self.as_of)

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
        return self.store._resolved(reference, self.at, self.as_of)

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
        far, relation = self.stepper(down=down)(node)
        pairs = {(there, RELATION_NAMES[number]) for there, number in zip(far.tolist(), relation.tolist(), strict=True)}
        return sorted(pairs, key=lambda pair: (pair[0], _ORDER[pair[1]]))

    def stepper(self, *, down: bool) -> Callable[[int], tuple[NDArray[np.int64], NDArray[np.uint32]]]:
        """Return a function that gives the next nodes of one: for many steps what they have in common is done once.

        Parameters
        ----------
        down : bool
            Children; else parents.

        Returns
        -------
        callable
            Takes a dense id; returns ids, and the numbers of the relations of the edges to them. An edge may be there
            more than once.
        """
        index = self.store.adjacency
        if index is None:
            return lambda node: self._over_tables(node, down=down)
        half = index.half(down=down, timed=self.as_of is not None)
        allowed, when = half.allowed(self.relations, self.at), moment_of(half, at=self.at, as_of=self.as_of)
        later = np.empty(0, np.int64) if when is None else index.later(when.at, when.as_of)
        closed = np.concatenate([later, np.fromiter(self.closed, np.int64, len(self.closed))])

        def step(node: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
            if node > index.nodes:
                return self._over_tables(node, down=down)
            edges = half.edges_of(np.array([node], np.int64))
            keep = followed(half, edges, allowed, when)
            if len(closed):
                keep &= ~np.isin(edges.far, closed)
            return edges.far[keep].astype(np.int64), half.marks[edges.mark[keep], 1]

        return step

    def _over_tables(self, node: int, *, down: bool) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        found = self.walk([node], down=down, depth=1, edges=True)
        near, far = (found.parents, found.children) if down else (found.children, found.parents)
        return far[near == node], found.relations[near == node]

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
        judged = self.judged()
        rows = self.store._connected.execute(
            "select id, kind, name, version from nodes where id in (select unnest(?::bigint[]))", [list(distance)]
        ).fetchall()
        found = {identity: (kind, name, version) for identity, kind, name, version in rows}
        listed = {}
        for identity, far in distance.items():
            if identity in found:
                named, judgement = found[identity], judged.get(identity)
                cause = None if judgement is None else judgement.cause
                listed[identity] = LineageNode(format_reference(*named), *named, far, judgement is None, cause)
        return listed

    def missing(self, ids: Collection[int] | NDArray[np.int64], root: Node, *, down: bool = False) -> list[Missing]:
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
        connection = self.store._connected
        gaps = self.store._once(("gaps", self.at), lambda: Gaps.of(connection, self.at))
        return missing_logs(connection, ids, root, down=down, at=self.at, gaps=gaps)

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
    refs = {identity: node.ref for identity, node in nodes.items()}
    found = {
        (refs[child], refs[parent], relation) for child, parent, relation in edges if child in refs and parent in refs
    }
    return [LineageEdge(*edge) for edge in sorted(found)]
