"""An answer to a lineage question: nodes, edges, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.lineage.walk import CASCADED, walk
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Lineage", "LineageEdge", "LineageNode", "Missing", "ask", "invalid_among"]


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
    """

    ref: str
    kind: str
    name: str
    version: int
    distance: int
    valid: bool


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """An edge in an answer, between references."""

    child: str
    parent: str
    relation: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A log that does not hold all that its writer recorded, and may hide a part of the answer.

    Attributes
    ----------
    run : str
        The run.
    rank : int or None
        The rank.
    writer : str or None
        The writer; None where no log of that rank was found.
    state : str
        A :class:`~braid_hpc.vocabulary.codes.WriterState`.
    first_lost, last_lost : str or None
        UTC, where a range of losses is known.
    """

    run: str
    rank: int | None
    writer: str | None
    state: str
    first_lost: str | None = None
    last_lost: str | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
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
        Among these nodes.
    missing : list of Missing
        Logs of the runs involved that are not complete.
    others : list of str
        Further versions that were as new as the root, where no version was named.
    """

    root: str
    direction: str
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    missing: list[Missing] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

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

    def table(self) -> Table:
        """Return the nodes as a table.

        Returns
        -------
        Table
            One row for each node.
        """
        import pyarrow as pa

        return Table(pa.Table.from_pylist(self.to_dict()["nodes"]))

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the nodes as an ArrowArrayStream capsule (Arrow PyCapsule interface)."""
        return self.table().__arrow_c_stream__(requested_schema)

    def __str__(self) -> str:
        """Return the tree."""
        return self.tree()


def ask(store: Store, reference: str, *, down: bool, depth: int | None, at: int) -> Lineage:
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
    connection = store._connection
    root, others = resolve(connection, reference, at)
    # A step of an SPMD program at which ranks disagree has several versions: they are one answer.
    siblings = [other for other in others if _is_sibling(connection, root, other)]
    found = walk(connection, [root.id, *(each.id for each in siblings)], down=down, depth=depth, at=at)
    nodes = _nodes(connection, found.distance)
    invalid = invalid_among(connection, list(found.distance), at)
    refs = {identity: node.ref for identity, node in nodes.items()}
    listed = [
        LineageNode(node.ref, node.kind, node.name, node.version, found.distance[identity], identity not in invalid)
        for identity, node in nodes.items()
    ]
    listed.sort(key=lambda node: (node.distance, node.ref != root.ref, node.kind, node.name, node.version))
    edges = [LineageEdge(refs[child], refs[parent], relation) for child, parent, relation in found.edges]
    return Lineage(
        root.ref,
        "down" if down else "up",
        listed,
        sorted(edges, key=lambda edge: (edge.child, edge.parent, edge.relation)),
        _missing(connection, list(found.distance), root, down=down, at=at),
        [other.ref for other in others],
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


def invalid_among(connection: Any, ids: list[int], at: int) -> set[int]:
    """Return those of some nodes that a statement has invalidated, directly or through an ancestor.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    ids : list of int
        Dense ids.
    at : int
        Snapshot number.

    Returns
    -------
    set of int
        A part of `ids`.
    """
    stated = connection.execute(
        "select id, arg_max(cascade, (time, sequence)) from invalidations where snapshot <= ? group by id, cause "
        "having not arg_max(revoked, (time, sequence))",
        [at],
    ).fetchall()
    if not stated:
        return set()
    cascading = [identity for identity, cascade in stated if cascade]
    reached = set()
    if cascading:
        reached = set(walk(connection, cascading, down=True, depth=None, at=at, relations=CASCADED).distance)
    return (reached | {identity for identity, _ in stated}) & set(ids)


def _missing(connection: Any, ids: list[int], root: Node, *, down: bool, at: int) -> list[Missing]:
    """Return the incomplete logs of the runs that own a node or an edge of the answer.

    A version belongs to the run that made it, a source to the run that declared it first: others that read the same
    configuration file say nothing of this one. An answer to what came of something also names damaged runs that went
    on after it, because they may hold more of it.
    """
    runs = connection.execute(
        """
        with answer as (select unnest($ids::bigint[]) as id)
        select coalesce(v.run, o.run) from version_rows v join (
            select id, arg_min(run, (time, writer, sequence)) as run from occurrences
            where snapshot <= $at and id in (from answer) group by id) o on v.id = o.id
        union select run from activity_rows where id in (from answer)
        union select w.run from edge_rows e join writers w using (writer)
        where e.snapshot <= $at and e.child in (from answer) and e.parent in (from answer)
        union select w.run from writers w join writer_states s using (writer)
        where $down and s.snapshot <= $at and s.last_time >= (select min(time) from occurrences where id = $root)
        """,
        {"ids": ids, "at": at, "down": down, "root": root.id},
    ).fetchall()
    found = _of_runs(connection, sorted(run for (run,) in runs), at)
    named = {each.writer for each in found}
    return found + [each for each in _unseen(connection, ids, at) if each.writer not in named]


#: Each writer with the state that it had at a snapshot.
_RANKS = """
    select w.run, w.rank, w.writer, w.parent, s.state, s.first_lost, s.last_lost,
        (w.header ->> '$.size')::integer as size
    from writers w join (
        select *, row_number() over (partition by writer order by snapshot desc) as newest
        from writer_states where snapshot <= $at) s on w.writer = s.writer and s.newest = 1
    where w.snapshot <= $at
"""


def _of_runs(connection: Any, runs: list[str], at: int) -> list[Missing]:
    rows = connection.execute(
        f"select * from ({_RANKS}) where list_contains($runs::varchar[], run) order by run, rank, writer",
        {"runs": runs, "at": at},
    ).fetchall()
    found: list[Missing] = []
    for run in runs:
        mine = [row[1:] for row in rows if row[0] == run]
        found.extend(
            Missing(run, rank, writer, state, _moment(first), _moment(last))
            for rank, writer, _, state, first, last, _ in mine
            if not WriterState(state).complete
        )
        present = {row[0] for row in mine if row[2] is None}
        size = max((row[6] or 0 for row in mine), default=0)
        found.extend(Missing(run, n, None, str(WriterState.ABSENT)) for n in range(size) if n not in present)
    return found


def _moment(time: Any) -> str | None:
    return None if time is None else time.isoformat(timespec="microseconds") + "Z"


def _unseen(connection: Any, ids: list[int], at: int) -> list[Missing]:
    """Return the writers of what was referred to and is not seen."""
    rows = connection.execute(
        f"""
        select distinct split_part(p.placeholder, ':', 1), r.run, r.rank, r.state
        from version_rows p left join ({_RANKS}) r on r.writer = split_part(p.placeholder, ':', 1)
        where p.placeholder is not null and p.id in (select unnest($ids::bigint[])) order by all
        """,
        {"ids": ids, "at": at},
    ).fetchall()
    return [Missing(run or "", rank, writer, state or str(WriterState.ABSENT)) for writer, run, rank, state in rows]
