"""The versions of a name, in order, with what made each."""

from __future__ import annotations

import datetime
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.store.holding import FOREVER, LATER
from braid_hpc.store.resolve import Node
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Relation
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["HistoryEntry", "history"]


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


def history(store: Store, node: Node, at: int, *, as_of: int | None = None) -> list[HistoryEntry]:
    """Return the versions of the name that a node has.

    Parameters
    ----------
    store : Store
        Open.
    node : Node
        One of them.
    at : int
        A snapshot number: what the store knew then.
    as_of : int, optional
        Nanoseconds since 1970 UTC: what had been declared and stated by then.

    Returns
    -------
    list of HistoryEntry
        By version.

    Raises
    ------
    InvalidInputError
        If the node is an activity.
    """
    if node.kind == ACTIVITY_KIND:
        raise InvalidInputError(f"{node.ref} is an activity: records have versions; ask for one")
    then = {"kind": node.kind, "name": node.name, "at": at, "as_of": FOREVER if as_of is None else as_of}
    rows = store.sql(
        f"""
        select v.id, v.uid, v.version, o.time, coalesce(v.run, o.run) as run, r.job, v.step, o.ranks, v.digest, v.size
        from versions v left join (
            select o.id, min(o.time) as time, arg_min(o.run, (o.time, o.writer)) as run,
                list_sort(list(distinct w.rank)) as ranks
            from occurrences o join writers w using (writer)
            where o.snapshot <= $at and epoch_ns(o.time) <= $as_of group by o.id) o on o.id = v.id
        left join runs r on r.run = coalesce(v.run, o.run)
        where v.kind = $kind and v.name = $name and v.snapshot <= $at and v.id not in ({LATER})
        order by v.version
        """,
        then,
    )
    near = _near(store, then)
    invalid = store.invalid(rows["id"], at=at, as_of=as_of)
    return [
        HistoryEntry(
            ref=format_reference(node.kind, node.name, row["version"]),
            uid=row["uid"],
            time=row["time"],
            run=row["run"],
            job=row["job"],
            step=row["step"],
            ranks=tuple(rank for rank in row["ranks"] or () if rank is not None),
            made_by=tuple(near[row["id"], str(Relation.GENERATED)]),
            revises=tuple(near[row["id"], str(Relation.DERIVED)]),
            digest=row["digest"],
            size=row["size"],
            valid=row["id"] not in invalid,
        )
        for row in rows
    ]


def _near(store: Store, then: dict[str, Any]) -> dict[tuple[int, str], list[str]]:
    """Return the activities that made versions of a name, and the versions of that name that they revise."""
    rows = store.sql(
        f"""
        select e.child, e.relation, p.kind, p.name, p.version
        from edges e join version_rows c on c.id = e.child join nodes p on p.id = e.parent
        where c.kind = $kind and c.name = $name and e.snapshot <= $at and (e.relation = 'wasGeneratedBy'
            or (e.relation = 'wasDerivedFrom' and p.kind = $kind and p.name = $name))
            and e.child not in ({LATER}) and p.id not in ({LATER})
        order by e.child, p.kind, p.name, p.version
        """,
        then,
    )
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for row in rows:
        found[row["child"], row["relation"]].append(format_reference(row["kind"], row["name"], row["version"]))
    return found
