"""Showing a part of an answer: the nodes of some kinds, and how they hang together where others are left out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.codes import ACTIVITY_KIND, is_kind
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.lineage.walk import Walk

__all__ = ["INFLUENCED", "check_kinds", "check_known", "edges_among"]

#: The edge that stands for a way over nodes that are not shown: PROV-DM's relation that all others are cases of.
INFLUENCED = "wasInfluencedBy"


def check_kinds(kinds: str | Iterable[str] | None) -> frozenset[str] | None:
    """Return the kinds to show.

    Parameters
    ----------
    kinds : str, iterable of str or None
        What the caller gave.

    Returns
    -------
    frozenset of str or None
        None for all.

    Raises
    ------
    InvalidInputError
        If one of them cannot be a kind, or there are none.
    """
    if kinds is None:
        return None
    if not isinstance(kinds, Iterable):
        raise InvalidInputError(f"{kinds!r} cannot be a kind to show: it is a word such as 'data' or 'activity'")
    found = frozenset([kinds] if isinstance(kinds, str) else kinds)
    wrong = [kind for kind in found if not is_kind(kind) and kind != ACTIVITY_KIND]
    if wrong or not found:
        given = ", ".join(sorted(map(repr, wrong))) or "an empty list"
        raise InvalidInputError(f"{given} cannot be a kind to show: it is a word such as 'data' or 'activity'")
    return found


#: Kinds that calls of their own record, or that the pages name: they may be asked for where there are none yet.
_ORDINARY = frozenset(
    {ACTIVITY_KIND, "action", "checkpoint", "data", "dataset", "fact", "firmware", "model", "statement"}
)


def check_known(connection: Any, kinds: frozenset[str]) -> None:
    """Make sure that each of some kinds may be there: a word that was mistyped would show nothing.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    kinds : frozenset of str
        As from :func:`check_kinds`.

    Raises
    ------
    InvalidInputError
        If no record of the store, of whatever snapshot, is of one of them, and no call records such by its name.
    """
    for kind in sorted(kinds - _ORDINARY):
        if connection.execute("select 1 from version_rows where kind = ? limit 1", [kind]).fetchall():
            continue
        # Here, because no question that is answered needs it.
        from braid_hpc.queries.fields import near

        rows = connection.execute("select distinct kind from version_rows").fetchall()
        raise InvalidInputError(
            f"this store has nothing of kind {kind!r}{near(kind, [*(there for (there,) in rows), ACTIVITY_KIND])}"
        )


def edges_among(found: Walk, shown: Collection[int], *, down: bool) -> list[tuple[int, int, str]]:
    """Return the edges of an answer of which only some nodes are shown.

    They are the recorded edges between shown nodes. Beyond these, a node to which none of them leads from a shown node
    that is nearer to the root has one edge :data:`INFLUENCED`, from the last shown node before it on a shortest way.
    So there are never more edges than were recorded and nodes are shown, and each node hangs together with the root.

    Parameters
    ----------
    found : Walk
        All that was reached, with its edges.
    shown : collection of int
        Dense ids; what the walk began with is among them.
    down : bool
        Whether the walk went towards what came of it.

    Returns
    -------
    list of (int, int, str)
        Child, parent, relation.
    """
    distance = found.distance
    shown = set(shown)
    direct = [edge for edge in found.edges if edge[0] in shown and edge[1] in shown]
    before: dict[int, int] = {}
    led_to = set()
    for child, parent, _ in found.edges:
        near, far = (parent, child) if down else (child, parent)
        if distance[near] < distance[far]:
            # A shortest way; of several the one over the smallest ids, so that an answer is the same every time.
            if distance[near] + 1 == distance[far]:
                before[far] = min(near, before.get(far, near))
            if near in shown:
                led_to.add(far)
    anchor: dict[int, int] = {}
    over = []
    for node in sorted(distance, key=distance.__getitem__):
        if node not in before:
            continue
        near = before[node]
        anchor[node] = near if near in shown else anchor[near]
        if node in shown and node not in led_to:
            ends = (node, anchor[node]) if down else (anchor[node], node)
            over.append((*ends, INFLUENCED))
    return direct + over
