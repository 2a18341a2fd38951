"""Further questions to the edges: why, how, where, how sure, and whether it is still good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from braid_hpc.lineage.completeness import Completeness
    from braid_hpc.lineage.how import How
    from braid_hpc.lineage.stale import Staleness
    from braid_hpc.lineage.where import Where
    from braid_hpc.lineage.why import Why
    from braid_hpc.store.differences import Comparison, Difference
    from braid_hpc.store.store import Store

__all__ = ["Questions"]


class Questions:
    """The part of :class:`braid_hpc.Store` that asks of one thing, or of two."""

    def why(
        self,
        a: str,
        b: str,
        *,
        paths: int = 1,
        between: bool = False,
        relations: str | Iterable[str] | None = None,
        at: int | None = None,
        as_of: Any = None,
    ) -> Why:
        """Ask why one thing is among what fed another: a shortest way between the two.

        Parameters
        ----------
        a, b : str
            Versions or activities, in either order: the answer says which of them fed the other.
        paths : int
            How many ways, the shortest ones, that meet no node twice; at most 1000. The search for further ones looks
            at a bounded number of edges, and the answer says whether it found all that there are.
        between : bool
            Whether the part of the graph between the two is wanted too: all that came of the one and fed the other.
            It is never larger than what the one's lineage has, however many ways lead through it.
        relations : str or iterable of str, optional
            Which relations are followed, as for :meth:`lineage`.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what held then.

        Returns
        -------
        Why
            True if there is a way. If there is none, the answer says which logs may hide one.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`; InvalidInputError also if `paths` is no number from 1 to 1000.
        """
        from braid_hpc.lineage.why import why

        given = {"relations": relations, "at": at, "as_of": as_of}
        return why(cast("Store", self), a, b, paths=paths, between=between, **given)

    def how(self, reference: str | os.PathLike[str], *, at: int | None = None, as_of: Any = None) -> How:
        """Ask how something was made: the steps that led to it, in an order in which they could be done again.

        Steps are the activities that led to it, and the versions that a run derived from others outside any activity.

        Parameters
        ----------
        reference : str or path
            A version or an activity. A path stands for the file there, by its bytes, wherever it was when it was
            recorded; so does the digest of a file, ``"blake3:..."``.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what held then.

        Returns
        -------
        How
            Steps with parameters, code, rank, host, inputs, outputs and times; code and environment of their runs;
            and cycles, for which no order is right.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`; also if nothing has the bytes of a file, or the store knows a file there of others.
        StorageError
            If a file cannot be read.
        """
        from braid_hpc.lineage.how import how

        return how(cast("Store", self), reference, at=at, as_of=as_of)

    def where(self, reference: str, *, at: int | None = None, as_of: Any = None) -> Where:
        """Ask where something was declared or ran, and where its bytes are.

        Parameters
        ----------
        reference : str
            A version or an activity; of a stream, the rows are told.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been declared by then.

        Returns
        -------
        Where
            Rank, host, process and log of each declaration; uris, arrays in the store with file, dataset and range,
            rows of a stream; and what has the same content elsewhere.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`.
        """
        from braid_hpc.lineage.where import where

        return where(cast("Store", self), reference, at=at, as_of=as_of)

    def stale(self, reference: str, *, at: int | None = None, as_of: Any = None) -> Staleness:
        """Ask whether something is still good: what it came from may be invalid, or there may be a newer version.

        An ancestor is a reason if a statement of invalidation stands on it that reaches what was asked for; a
        statement without cascade counts too, because it says of an ancestor that it is bad. Of each name among the
        ancestors, and the thing itself, the newest version is a reason if there is one that was declared later and is
        not among them. Versions of one step of one run are as new as each other.

        Parameters
        ----------
        reference : str
            A version or an activity.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what held then.

        Returns
        -------
        Staleness
            The reasons, each with a shortest way to it; it is true where there is one.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`.
        """
        from braid_hpc.lineage.stale import stale

        return stale(cast("Store", self), reference, at=at, as_of=as_of)

    def complete(self, reference: str, *, at: int | None = None, as_of: Any = None) -> Completeness:
        """Ask how sure an answer is: which of the logs that contribute to something are not whole.

        Parameters
        ----------
        reference : str
            A version or an activity.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what held then.

        Returns
        -------
        Completeness
            Runs, and logs that are torn, lossy, damaged, not closed or not there; it is true where there are none of
            these.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`.
        """
        from braid_hpc.lineage.completeness import complete

        return complete(cast("Store", self), reference, at=at, as_of=as_of)

    def diff(self, a: str, b: str, *, at: Any = None, as_of: Any = None) -> Difference | Comparison:
        """Compare two versions, two activities or two runs.

        Of versions: which arrays changed and by how much, and what was declared of them; of activities: parameters,
        code, environment, inputs, outputs, results; of runs: these and what they made, with the arrays of it. Of
        versions and activities what fed only one of them, and what fed both; of runs what each declared.

        Parameters
        ----------
        a, b : str
            Two references, of one name or not; or two runs, each by its id or the beginning of it, or by the name of
            its job if that has one run. ``run:`` may stand before it. Not more than two arrays are in memory at a
            time.
        at : int or pair of int, optional
            A snapshot number; of a pair, `a` is looked at in the first and `b` in the second.
        as_of : datetime, str, int or pair of these, optional
            A time, likewise.

        Returns
        -------
        Difference or Comparison
            From `a` to `b`; the first for two versions. Its text is for people, and it is false where nothing
            differs.

        Raises
        ------
        NotFoundError, ConflictError
            If one names nothing, or several things.
        InvalidInputError
            If they are not of one sort, or a reference, a snapshot or a time is not one.
        CorruptLogError
            If the bytes of an array do not carry their digest.
        """
        from braid_hpc.lineage.compared import compare

        return compare(cast("Store", self), a, b, at=at, as_of=as_of)

    def diff_snapshots(self, a: int, b: int) -> Comparison:
        """Compare what the store knew at two snapshots.

        Parameters
        ----------
        a, b : int
            Their numbers.

        Returns
        -------
        Comparison
            Counts, runs, states of logs, what became invalid or valid again, and what came to be known.

        Raises
        ------
        InvalidInputError
            If there is no such snapshot.
        """
        from braid_hpc.store.diff_snapshots import diff_snapshots

        store = cast("Store", self)
        numbers = store._at(a), store._at(b)
        invalid = set(store.judgements(at=numbers[0])), set(store.judgements(at=numbers[1]))
        return diff_snapshots(store, *numbers, invalid=invalid)
