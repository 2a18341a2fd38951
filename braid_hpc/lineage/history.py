"""The versions of a name, in order, with what made each."""

from __future__ import annotations

import datetime
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.ground import Ground
from braid_hpc.lineage.pictured import Pictured
from braid_hpc.store.holding import FOREVER, HOLDING, LATER
from braid_hpc.store.listed import Listed
from braid_hpc.store.resolve import Node
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Relation
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.lineage.pictured import Source
    from braid_hpc.lineage.validity import Judgement
    from braid_hpc.store.store import Store
    from braid_hpc.store.tables import Table

__all__ = ["History", "HistoryEntry", "history"]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One version of a name.

    Attributes
    ----------
    ref : str
        Its reference, with the version.
    uid : str
        Its global id.
    time : datetime or None
        UTC, without a zone: its first declaration; None if that was not seen.
    run, job : str or None
        The run that made it, or, of a source, that declared it first, and that run's name.
    step : int or None
        How often that run had moved the name on; None for a source.
    ranks : tuple of int
        Which declared it; empty without a launcher.
    made_by : tuple of str
        References of the activities that generated it.
    revises : tuple of str
        References of the versions of this name that it was derived from.
    digest : str or None
        Of its content.
    size : int or None
        Bytes.
    valid : bool
        Whether no statement of invalidation reaches it.
    """

    ref: str
    uid: str
    time: datetime.datetime | None
    run: str | None
    job: str | None
    step: int | None
    ranks: tuple[int, ...]
    made_by: tuple[str, ...]
    revises: tuple[str, ...]
    digest: str | None
    size: int | None
    valid: bool


class History(Pictured, Listed[HistoryEntry]):
    """The versions of a name, in order: in a row, as a table, and as a graph of what revises and what made what.

    Parameters
    ----------
    entries : iterable of HistoryEntry
        By version.
    nodes : list of LineageNode
        The versions, newest first, then the activities that made them (distance 1).
    edges : list of LineageEdge
        Between these.
    source : Source, optional
        The store and the moment that it is of.
    """

    COLUMNS = (
        *(("ref", "text"), ("uid", "text"), ("time", "time"), ("run", "text"), ("job", "text"), ("step", "int")),
        *(("ranks", "ints"), ("made_by", "texts"), ("revises", "texts"), ("digest", "text"), ("size", "int")),
        ("valid", "bool"),
    )

    def __init__(
        self,
        entries: list[HistoryEntry],
        nodes: list[LineageNode],
        edges: list[LineageEdge],
        source: Source | None = None,
    ) -> None:
        super().__init__(entries)
        self._nodes, self._edges, self._source = nodes, edges, source

    @property
    def nodes(self) -> list[LineageNode]:
        """The versions, newest first, then the activities that made them."""
        return self._nodes

    @property
    def edges(self) -> list[LineageEdge]:
        """What was derived from an earlier version, and what an activity generated."""
        return self._edges

    @property
    def source(self) -> Source | None:
        """The store and the moment that it is of."""
        return self._source

    def table(self) -> Table:
        """Return a row for each version.

        Returns
        -------
        Table
            With the columns of :class:`HistoryEntry`.
        """
        return Listed.table(self)

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return a row for each version.

        Returns
        -------
        columns : tuple of str
            Those of :class:`HistoryEntry`.
        rows : list of dict
            Plain values.
        """
        return Listed.rows(self)


def history(store: Store, reference: str, *, at: int | None = None, as_of: Any = None) -> History:
    """Return the versions of a name; see :meth:`braid_hpc.Store.history`.

    Parameters
    ----------
    store : Store
        Open.
    reference, at, as_of
        As there.

    Returns
    -------
    History
        By version.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    ground = Ground.of(store, at=at, as_of=as_of)
    node, _ = ground.resolve(reference)
    if node.kind == ACTIVITY_KIND:
        raise InvalidInputError(f"{node.ref} is an activity: records have versions; ask for one")
    then = {
        "kind": node.kind,
        "name": node.name,
        "at": ground.at,
        "as_of": FOREVER if ground.as_of is None else ground.as_of,
    }
    rows = store._rows(_VERSIONS, then)
    near, judged = _near(store, then), ground.judged()
    parents: dict[tuple[int, str], list[str]] = defaultdict(list)
    for child, relation, parent in near:
        parents[child, relation].append(parent.ref)
    entries = [
        HistoryEntry(
            ref=format_reference(node.kind, node.name, row["version"]),
            uid=row["uid"],
            time=row["time"],
            run=row["run"],
            job=row["job"],
            step=row["step"],
            ranks=tuple(rank for rank in row["ranks"] or () if rank is not None),
            made_by=tuple(parents[row["id"], str(Relation.GENERATED)]),
            revises=tuple(parents[row["id"], str(Relation.DERIVED)]),
            digest=row["digest"],
            size=row["size"],
            valid=row["id"] not in judged,
        )
        for row in rows
    ]
    versions = {row["id"]: Node(row["id"], row["uid"], node.kind, node.name, row["version"]) for row in reversed(rows)}
    makers = {each.id: each for _, relation, each in near if relation == Relation.GENERATED}
    nodes = [
        *(_shown(each, 0, judged) for each in versions.values()),
        *(_shown(each, 1, judged) for each in makers.values() if each.id not in versions),
    ]
    edges = [LineageEdge(versions[child].ref, parent.ref, relation) for child, relation, parent in near]
    return History(entries, nodes, edges, ground.source)


def _shown(node: Node, distance: int, judged: dict[int, Judgement]) -> LineageNode:
    cause = judged[node.id].cause if node.id in judged else None
    return LineageNode(node.ref, node.kind, node.name, node.version, distance, node.id not in judged, cause)


_THERE = f"snapshot <= $at and id not in (select id from filled where snapshot <= $at) and id not in ({LATER})"

_VERSIONS = f"""
    select v.id, v.uid, v.version, o.time, coalesce(v.run, o.run) as run, w.header ->> '$.job' as job, v.step, o.ranks,
        v.digest, coalesce(v.size, o.size) as size
    from (from version_rows where kind = $kind and name = $name and {_THERE}) v left join (
        select o.id, min(o.time) as time, arg_min(o.run, (o.time, o.writer)) as run, max(o.size) as size,
            list_sort(list(distinct w.rank)) as ranks
        from occurrences o join writers w using (writer)
        where o.snapshot <= $at and epoch_ns(o.time) <= $as_of group by o.id) o on o.id = v.id
    left join (
        select run, arg_min(header, (parent is not null, coalesce(rank, 0), writer)) as header
        from writers group by run) w on w.run = coalesce(v.run, o.run)
    order by v.version
"""


def _near(store: Store, then: dict[str, Any]) -> list[tuple[int, str, Node]]:
    """Return each version's id with the activities that made it, and the versions of that name that it revises."""
    rows = store._rows(
        f"""
        select distinct e.child, e.relation, p.id, p.uid, p.kind, p.name, p.version
        from {HOLDING} e join nodes p on p.id = e.parent
        where e.child in (select id from version_rows where kind = $kind and name = $name and {_THERE})
            and (e.relation = 'wasGeneratedBy'
                or (e.relation = 'wasDerivedFrom' and p.kind = $kind and p.name = $name))
            and p.id in (select id from nodes where {_THERE})
        order by e.child, p.kind, p.name, p.version
        """,
        then,
    )
    return [
        (row["child"], row["relation"], Node(row["id"], row["uid"], row["kind"], row["name"], row["version"]))
        for row in rows
    ]
