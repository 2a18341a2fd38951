"""What fed something, or what came of it: a walk from a reference, put together as an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from braid_hpc.lineage.answer import Lineage
from braid_hpc.lineage.ground import Ground, edges_by_refs
from braid_hpc.lineage.shown import check_kinds, check_known, edges_among
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["ask"]


def ask(
    store: Store,
    reference: str,
    *,
    down: bool,
    depth: int | None,
    kinds: str | Iterable[str] | None,
    relations: str | Iterable[str] | None,
    at: int | None,
    as_of: Any,
) -> Lineage:
    """Walk from a reference; see :meth:`braid_hpc.Store.lineage`.

    Parameters
    ----------
    store : Store
        Open.
    reference, down, depth, kinds, relations, at, as_of
        As there.

    Returns
    -------
    Lineage
        The answer.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise InvalidInputError(f"a depth is a number from 0, or nothing for all: not {depth!r}")
    shown = check_kinds(kinds)
    ground = Ground.of(store, at=at, as_of=as_of, relations=relations)
    if shown is not None:
        check_known(store._connected, shown)
    root, others = ground.resolve(reference)
    # A step of an SPMD program at which ranks disagree has several versions: they are one answer.
    starts = ground.starts(root, others)
    found = ground.walk(starts, down=down, depth=depth, edges=True)
    nodes = ground.listed(found.distance)
    every = len(nodes)
    stated = found.edges
    if shown is not None:
        nodes = {identity: node for identity, node in nodes.items() if node.kind in shown or identity in starts}
        stated = edges_among(found, nodes, down=down)
    begun = root.ref
    return Lineage(
        begun,
        "down" if down else "up",
        sorted(nodes.values(), key=lambda node: (node.distance, node.ref != begun, node.kind, node.name, node.version)),
        edges_by_refs(stated, nodes),
        ground.missing(found.nodes, root, down=down),
        [other.ref for other in others],
        None if shown is None else sorted(shown),
        every - len(nodes),
        ground.source,
    )
