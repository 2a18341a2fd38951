"""Walks from a node to what fed it, what came of it, and what is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from braid_hpc.store.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from braid_hpc.lineage.answer import Lineage
    from braid_hpc.lineage.component import Graph
    from braid_hpc.lineage.row_answer import RowLineage
    from braid_hpc.lineage.validity import Judgement
    from braid_hpc.store.store import Store

__all__ = ["Walking"]


class Walking(Opened):
    """What a store is asked of the edges between its nodes."""

    def lineage(
        self,
        reference: str,
        *,
        down: bool = False,
        depth: int | None = None,
        at: int | None = None,
        as_of: Any = None,
        kinds: str | Iterable[str] | None = None,
        relations: str | Iterable[str] | None = None,
    ) -> Lineage:
        """Ask what fed a record or an activity, or what came of it.

        Parameters
        ----------
        reference : str
            Where to start.
        down : bool
            Whether to follow edges to what came of it.
        depth : int, optional
            How many edges to follow at most; without it all.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what was there, what had been stated and what was valid then. A text in ISO 8601, UTC if it names
            no zone; an int is nanoseconds since 1970. With `at`, what the store knew of that time.
        kinds : str or iterable of str, optional
            Only these kinds are shown, ``["data"]`` for example, and the root. All are walked through: what data a
            model was trained on is answered through any number of models.
        relations : str or iterable of str, optional
            Only edges of these relations are followed, ``["wasDerivedFrom"]`` for example; without it those that
            carry provenance: ``wasDerivedFrom``, ``used``, ``wasGeneratedBy``, ``same-content``. Others, such as
            ``wasStartedBy``, are followed only where they are named.

        Returns
        -------
        Lineage
            Nodes with their distance, edges, and whether the answer is complete.

        Raises
        ------
        NotFoundError, ConflictError
            If the reference names nothing, or nothing that was there at that time, or several things.
        InvalidInputError
            If the reference, the depth, a time, a kind or a relation is not one; if there is no such snapshot, or the
            time is before the first event of the store or still to come; if nothing in the store is of a kind that no
            call records by its name.
        """
        from braid_hpc.lineage.ask import ask

        return ask(
            cast("Store", self),
            reference,
            down=down,
            depth=depth,
            kinds=kinds,
            relations=relations,
            at=at,
            as_of=as_of,
        )

    def impact(
        self,
        reference: str,
        *,
        depth: int | None = None,
        at: int | None = None,
        as_of: Any = None,
        kinds: str | Iterable[str] | None = None,
        relations: str | Iterable[str] | None = None,
    ) -> Lineage:
        """Ask what came of a record or an activity; :meth:`lineage` the other way.

        Parameters
        ----------
        reference, depth, at, as_of, kinds, relations
            As for :meth:`lineage`.

        Returns
        -------
        Lineage
            The descendants.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`.
        """
        return self.lineage(reference, down=True, depth=depth, at=at, as_of=as_of, kinds=kinds, relations=relations)

    def row_lineage(
        self,
        reference: str,
        *,
        down: bool = False,
        depth: int | None = None,
        values: bool = False,
        rank: int | None = None,
        writer: str | None = None,
        at: int | None = None,
        as_of: Any = None,
    ) -> RowLineage:
        """Ask which rows of streams a row came from, or what rows came of it.

        Parameters
        ----------
        reference : str
            A row of a stream, ``"peaks#17"`` or ``"stream:peaks@3#17"``; without a version, of the newest.
        down : bool
            Whether to go to what came of it.
        depth : int, optional
            How many edges to follow at most; without it all.
        values : bool
            Whether the columns of the rows are wanted.
        rank : int, optional
            Of the rank that wrote the row, where several have one of that number.
        writer : str, optional
            Id of its writer, or the beginning of that.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been recorded by then.

        Returns
        -------
        RowLineage
            The rows with their distance, run, rank and writer, the edges between them, and the records that their
            streams are and came from.

        Raises
        ------
        NotFoundError
            If there is no such stream or row.
        ConflictError
            If several ranks have a row of that number.
        InvalidInputError
            If the reference names no row, or the depth, the snapshot or the time is none.

        See Also
        --------
        braid_hpc.Run.derive_rows : says which row came from which.
        lineage : what a record came from.
        """
        from braid_hpc.lineage.rows import ask_rows

        return ask_rows(
            cast("Store", self),
            reference,
            down=down,
            depth=depth,
            values=values,
            rank=rank,
            writer=writer,
            at=at,
            as_of=as_of,
        )

    def graph(
        self, reference: str | None = None, *, limit: int | None = 500, at: int | None = None, as_of: Any = None
    ) -> Graph:
        """Return everything that hangs together with a record or an activity, for drawing.

        Parameters
        ----------
        reference : str, optional
            Where to start; without it the whole store.
        limit : int, optional
            How many nodes at most, the nearest ones; None for all. What is beyond it is counted, and the drawings
            say so.
        at, as_of
            As for :meth:`lineage`.

        Returns
        -------
        Graph
            With ``mermaid()``, ``dot()`` and ``to_dict()``.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`; InvalidInputError also if `limit` is no number from 1.
        """
        from braid_hpc.lineage.component import draw

        return draw(cast("Store", self), reference, limit=limit, at=at, as_of=as_of)

    def invalid(self, ids: list[int], *, at: int | None = None, as_of: Any = None) -> set[int]:
        """Return those of some nodes that are not valid any more.

        Parameters
        ----------
        ids : list of int
            Dense ids.
        at, as_of
            As for :meth:`judgements`.

        Returns
        -------
        set of int
            Invalidated by a statement, or descended from something that is.

        Raises
        ------
        InvalidInputError
            As :meth:`judgements`.
        """
        return self.judgements(at=at, as_of=as_of).keys() & set(ids)

    def judgements(self, *, at: int | None = None, as_of: Any = None) -> dict[int, Judgement]:
        """Return everything that is invalid, with the first statement that made it so.

        Parameters
        ----------
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time, as for :meth:`lineage`: what had been stated by then.

        Returns
        -------
        dict of int to Judgement
            By dense id.

        Raises
        ------
        InvalidInputError
            If there is no such snapshot, or `as_of` is no time, or one before the first event or still to come.
        """
        from braid_hpc.lineage.validity import invalid_nodes

        snapshot, time, connection = self._at(at), self._as_of(as_of), self._connected
        return self._once(
            ("judged", snapshot, time),
            lambda: invalid_nodes(connection, at=snapshot, as_of=time, index=self.adjacency),
        )
