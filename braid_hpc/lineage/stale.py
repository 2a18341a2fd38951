"""Whether something is still good: what it came from that was invalidated, or of which there is a newer version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.answered import plain
from braid_hpc.lineage.completeness import said
from braid_hpc.lineage.ground import Ground
from braid_hpc.lineage.missing import Missing
from braid_hpc.lineage.pictured import Pictured, Source
from braid_hpc.lineage.validity import standing
from braid_hpc.lineage.walk import CASCADED, walk
from braid_hpc.lineage.witness import Witness, shortest_way, witness
from braid_hpc.store.holding import FOREVER
from braid_hpc.vocabulary.codes import ACTIVITY_KIND
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["INVALID", "SUPERSEDED", "Reason", "Staleness", "stale"]

INVALID = "invalid"
SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is stale.

    Attributes
    ----------
    what : str
        ``invalid`` or ``superseded``.
    ref : str
        The version or activity that is so; the thing that was asked for itself may be.
    cause : str or None
        Of an invalidation: why.
    newer : str or None
        Of what is superseded: the newest version of that name.
    way : Witness
        A shortest way from what was asked for to `ref`.
    """

    what: str
    ref: str
    cause: str | None
    newer: str | None
    way: Witness


@dataclass(frozen=True, slots=True)
class Staleness(Pictured):
    """Whether something is still good.

    Attributes
    ----------
    ref : str
        What was asked for.
    reasons : list of Reason
        What is not good any more, invalidations first, then by the length of the way; empty if all is.
    nodes : list of LineageNode
        Those on the ways, by distance; what was asked for is the first.
    missing : list of Missing
        Logs that may hide further reasons.
    """

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = (
        *(("what", "text"), ("ref", "text"), ("cause", "text"), ("newer", "text"), ("way", "texts")),
    )

    ref: str
    reasons: list[Reason]
    nodes: list[LineageNode]
    missing: list[Missing]
    source: Source

    @property
    def stale(self) -> bool:
        """Whether there is a reason."""
        return bool(self.reasons)

    @property
    def complete(self) -> bool:
        """Whether every log that could add a reason is complete."""
        return not self.missing

    @property
    def edges(self) -> list[LineageEdge]:
        """Those of the ways."""
        return list(dict.fromkeys(edge for reason in self.reasons for edge in reason.way.edges))

    def __bool__(self) -> bool:
        """Whether it is stale."""
        return self.stale

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            ``ref``, ``stale``, ``reasons`` (``what``, ``ref``, ``cause``, ``newer``, ``way``), ``complete``,
            ``missing``.
        """
        reasons = [
            {"what": each.what, "ref": each.ref, "cause": each.cause, "newer": each.newer, "way": plain(each.way.edges)}
            for each in self.reasons
        ]
        return {
            "ref": self.ref,
            "stale": self.stale,
            "reasons": reasons,
            "complete": self.complete,
            "missing": plain(self.missing),
        }

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return a row for each reason.

        Returns
        -------
        columns : tuple of str
            Names.
        rows : list of dict
            ``way`` is the list of references on the way.
        """
        columns = ("what", "ref", "cause", "newer", "way")
        return columns, [
            {**{name: getattr(each, name) for name in columns[:4]}, "way": list(each.way.nodes)}
            for each in self.reasons
        ]

    def __str__(self) -> str:
        """Return it as lines of text."""
        lines = [f"{self.ref}: {'stale' if self.stale else 'still good'}"]
        for each in self.reasons:
            why = f"invalid: {each.cause}" if each.what == INVALID else f"there is {each.newer}"
            lines.append(f"{each.ref}: {why}")
            lines.extend(f"  {line}" for line in str(each.way).splitlines())
        lines.extend(f"incomplete: {said(each)}" for each in self.missing)
        return "\n".join(lines)


def stale(store: Store, reference: str, *, at: int | None, as_of: Any) -> Staleness:
    """Say whether something is still good; see :meth:`braid_hpc.Store.stale`.

    Parameters
    ----------
    store : Store
        Open.
    reference, at, as_of
        As there.

    Returns
    -------
    Staleness
        The answer.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    ground = Ground.of(store, at=at, as_of=as_of)
    root, others = ground.resolve(reference)
    starts = ground.starts(root, others)
    walked = ground.walk(starts)
    distance = walked.distance
    found: list[tuple[str, int, str | None, str | None]] = [
        (INVALID, node, cause, None) for node, cause in _invalid(ground, distance, starts)
    ]
    found += [(SUPERSEDED, node, None, newer) for node, newer in _superseded(ground, distance)]
    ways = {node: shortest_way(ground, walked, node) for _, node, _, _ in found}
    listed = ground.listed(
        {
            node: distance[node]
            for node in sorted({*starts, *(n for way in ways.values() for n, _ in way)}, key=distance.__getitem__)
        }
    )
    reasons = [
        Reason(what, listed[node].ref, cause, newer, witness(ways[node], listed)) for what, node, cause, newer in found
    ]
    reasons.sort(key=lambda each: (each.what != INVALID, len(each.way), each.ref))
    nodes = sorted(listed.values(), key=lambda node: (node.distance, node.ref != root.ref, node.ref))
    return Staleness(root.ref, reasons, nodes, ground.missing(distance.keys(), root), ground.source)


def _invalid(ground: Ground, distance: Mapping[int, int], starts: list[int]) -> list[tuple[int, str]]:
    """Return what a statement stands on that reaches the start, or that says of an ancestor alone that it is bad.

    Each with the cause; where several say the same of one thing, once.
    """
    heard = standing(ground.store._connected, at=ground.at, as_of=ground.as_of)
    # Backwards from the start: one walk for all statements that are stopped at the same nodes on the way.
    reached: dict[frozenset[int], set[int]] = {}
    found: dict[tuple[int, str], None] = {}
    for judgement, barred in heard:
        if judgement.node not in distance:
            continue
        if judgement.cascade:
            barred = barred.intersection(distance)
            if barred not in reached:
                reached[barred] = _open_ancestors(ground, starts, barred)
            if judgement.node not in reached[barred]:
                continue
        found[judgement.node, judgement.cause] = None
    return list(found)


def _open_ancestors(ground: Ground, starts: list[int], barred: frozenset[int]) -> set[int]:
    """Return whatever an invalidation reaches some nodes from, themselves included, if it does not pass some others."""
    begin = [start for start in starts if start not in barred]
    if not begin:
        return set()
    nodes = walk(
        ground.store._connected,
        begin,
        down=False,
        at=ground.at,
        as_of=ground.as_of,
        relations=CASCADED,
        index=ground.store.adjacency,
        barred=ground.closed | barred,
        edges=False,
    ).nodes
    return set(nodes.tolist())


def _superseded(ground: Ground, distance: Mapping[int, int]) -> list[tuple[int, str]]:
    """Return the newest version of each name that was met, where there is one that is newer, with that.

    Versions of one step of a run are as new as each other, whichever rank was the last.
    """
    rows = ground.store._connected.execute(
        """
        with met as (select unnest($met::bigint[]) as id),
        versioned as (
            select v.id, v.kind, v.name, v.version, v.run, v.step, min(o.time) as time
            from version_rows v join occurrences o on o.id = v.id
            where v.snapshot <= $at and o.snapshot <= $at and epoch_ns(o.time) <= $as_of
                and (v.kind, v.name) in (select (kind, name) from version_rows where id in (from met))
                -- A later collective call takes the place of none.
                and v.id not in (select id from collective_rows)
            group by all),
        newest as (
            select kind, name, arg_max(id, (time, version)) as id, max((time, version)) as rank,
                list(distinct (run, step)) filter (where run is not null) as steps
            from versioned where id in (from met) group by kind, name)
        select n.id, v.kind, v.name, arg_max(v.version, (v.time, v.version))
        from newest n join versioned v using (kind, name)
        where v.id not in (from met) and (v.time, v.version) > n.rank
            and not coalesce(list_contains(n.steps, (v.run, v.step)), false)
        group by n.id, v.kind, v.name order by n.id
        """,
        {"met": list(distance), "at": ground.at, "as_of": FOREVER if ground.as_of is None else ground.as_of},
    ).fetchall()
    return [
        (node, format_reference(kind, name, version)) for node, kind, name, version in rows if kind != ACTIVITY_KIND
    ]
