"""Answers that are graphs: for NetworkX, as a PROV document, as a picture in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from braid_hpc.lineage.answered import Answered, plain

if TYPE_CHECKING:
    from braid_hpc.lineage.answer import LineageEdge, LineageNode

__all__ = ["Pictured", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an answer comes from.

    Attributes
    ----------
    path : Path
        The store.
    at : int
        Snapshot number.
    as_of : int or None
        Nanoseconds since 1970 UTC.
    """

    path: Path
    at: int
    as_of: int | None


class Pictured(Answered):
    """An answer that has nodes and edges between them."""

    __slots__ = ()

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = (
        *(("ref", "text"), ("kind", "text"), ("name", "text"), ("version", "int"), ("distance", "int")),
        *(("valid", "bool"), ("cause", "text")),
    )

    if TYPE_CHECKING:

        @property
        def nodes(self) -> list[LineageNode]:
            """The nodes; what was asked for is the first."""
            ...

        @property
        def edges(self) -> list[LineageEdge]:
            """The edges between them."""
            ...

        @property
        def source(self) -> Source | None:
            """Where the answer comes from."""
            ...

    @property
    def _beyond(self) -> int:
        """How many nodes hang together with these that nobody looked at, the answer being limited."""
        return 0

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return a row for each node.

        Returns
        -------
        columns : tuple of str
            Names.
        rows : list of dict
            Plain values.
        """
        from braid_hpc.lineage.answer import LineageNode

        return LineageNode.__slots__, plain(self.nodes)

    def to_networkx(self) -> Any:
        """Return nodes and edges for NetworkX.

        Returns
        -------
        networkx.MultiDiGraph
            Nodes are references, with the fields of :class:`~braid_hpc.lineage.answer.LineageNode` as attributes.
            Edges lead from parent to child, as time does, so ``networkx.ancestors`` are what fed a node; the relation
            is their key and the attribute ``relation``.

        Raises
        ------
        MissingExtraError
            If networkx is not installed.
        """
        from braid_hpc.lineage.exchange import to_networkx

        return to_networkx(self)

    def to_prov(self) -> Any:
        """Return nodes and edges as a document of W3C PROV.

        Times, contents and the ranks that acted are taken from the store, which must still be where it was.

        Returns
        -------
        prov.model.ProvDocument
            Entities, activities and agents with ``used``, ``wasGeneratedBy``, ``wasDerivedFrom``, ``wasInformedBy``,
            ``wasStartedBy``, ``wasAssociatedWith``, ``wasInvalidatedBy`` and, for equal content, ``alternateOf``.

        Raises
        ------
        MissingExtraError
            If prov is not installed.
        InvalidInputError
            If there are more nodes than :data:`braid_hpc.lineage.exchange.PROV_NODES`.
        NotFoundError
            If the store is not there any more.
        """
        from braid_hpc.lineage.exchange import to_prov

        return to_prov(self)

    def _repr_html_(self) -> str:
        """Show the neighbourhood of the first node as a picture, and the table."""
        from braid_hpc.lineage.picture import picture

        return picture(self.nodes, self.edges, left_out=self._beyond) + self.table()._repr_html_()
