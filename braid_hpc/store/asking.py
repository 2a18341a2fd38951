"""Questions that are answered with SQL alone: what carries this, what is said of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from braid_hpc.queries.tree import Query
    from braid_hpc.store.documents import Documents
    from braid_hpc.store.stated import TestChanges, Tests
    from braid_hpc.store.store import Store
    from braid_hpc.store.tables import Table

__all__ = ["Asking"]


class Asking:
    """What a store is asked of tags, uris and statements."""

    def find(
        self,
        query: Query | str | Mapping[str, Any] | None = None,
        *,
        tags: Mapping[str, Any] | None = None,
        uri: str | Iterable[str] | None = None,
        kind: str | None = None,
        at: int | None = None,
        as_of: Any = None,
        limit: int | None = None,
    ) -> Table:
        """Find versions and activities of which something holds; all that is asked has to hold.

        Parameters
        ----------
        query : Query, str or mapping, optional
            A search as an object (:mod:`braid_hpc.queries`) or as text, ``kind = model and energy_keV > 70`` for
            example; the page :doc:`filter` has the language. A mapping stands for `tags`.
        tags : mapping, optional
            Key to value, by the value's type: 71.7 is not "71.7", and True is not 1. An int and a float that are
            equal are the same number, at any size.
        uri : str or iterable of str, optional
            Places or identifiers, in any spelling that is the same by the standard of its scheme
            (:func:`braid_hpc.vocabulary.identifiers.canonical`).
        kind : str, optional
            Their kind; ``activity`` for activities.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been declared, begun, tagged and stated by then. Text in ISO 8601, UTC if it names no
            zone; an int is nanoseconds since 1970.
        limit : int, optional
            How many rows at most, in their order.

        Returns
        -------
        Table
            ``ref``, ``id``, ``kind``, ``name``, ``version``, ``uid``, ``time``, ``digest``, ordered by kind, name and
            version; no rows if nothing was found. The time of an activity is that of its beginning.

        Raises
        ------
        InvalidInputError
            If nothing is asked for, a text does not parse (a caret in its notes stands below the place), or tags, uris,
            the kind, a snapshot, a time or the limit cannot be such.

        Warns
        -----
        BraidWarning
            If a name in a text that is read as a tag is nearly that of a field, and nothing has such a tag.

        See Also
        --------
        find_runs : finds runs.
        """
        # Here, because other questions need not wait for it.
        from braid_hpc.store import searching

        return searching.find(
            cast("Store", self), query, tags=tags, uri=uri, kind=kind, at=at, as_of=as_of, limit=limit
        )

    def find_runs(
        self, query: Query | str | None = None, *, at: int | None = None, as_of: Any = None, limit: int | None = None
    ) -> Table:
        """Find runs of which something holds.

        Parameters
        ----------
        query : Query or str, optional
            As for :meth:`find`, of ``run``, the columns of the view ``runs`` (``run.job``, ``run.lost``), ``status``,
            ``begin_time``, ``end_time``, ``rank`` and ``host``; without it all.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: runs that had begun by then.
        limit : int, optional
            How many rows at most, in their order.

        Returns
        -------
        Table
            With the columns of the view ``runs``, ordered by their beginning.

        Raises
        ------
        InvalidInputError
            As :meth:`find`, and if something is asked that runs do not have.

        See Also
        --------
        find : finds versions and activities.
        """
        from braid_hpc.store import searching

        return searching.find_runs(cast("Store", self), query, at=at, as_of=as_of, limit=limit)

    def find_scans(
        self, query: Query | str | None = None, *, at: int | None = None, as_of: Any = None, limit: int | None = None
    ) -> Table:
        """Find scans of an instrument, of which documents were recorded (:doc:`documents`).

        Parameters
        ----------
        query : Query or str, optional
            As for :meth:`find`; also what their documents say (``start.sample.name``, ``stop.exit_status``,
            ``config.detector.gain``, ``stream``, ``device``, ``data_key``) and the values of their events
            (``max(data.det) > 10``). Of fields of versions those of the record of the start are meant. Without it all.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been recorded and said by then.
        limit : int, optional
            How many rows at most, in their order.

        Returns
        -------
        Table
            ``uid``, ``scan_id``, ``plan``, ``time`` of the start, ``exit_status``, ``streams`` and ``rows`` (a list
            each: names, and how many events of them there are), ordered by time and uid. What is missing is null.

        Raises
        ------
        InvalidInputError
            As :meth:`find`, and if numbers are asked of values that are none.

        See Also
        --------
        documents : returns the documents of one of them.
        """
        from braid_hpc.store import searching

        return searching.find_scans(cast("Store", self), query, at=at, as_of=as_of, limit=limit)

    def describe(self, reference: str, *, at: int | None = None, as_of: Any = None) -> dict[str, Any]:
        """Return all that is known of one version or activity, as ``braid show`` prints it.

        Parameters
        ----------
        reference : str
            A version or an activity.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been declared, tagged and stated by then.

        Returns
        -------
        dict
            ``ref``, ``id``, ``kind``, ``tags`` (typed as they were given), ``uris`` (in order), ``parents``,
            ``children``, ``valid`` and what else there is; what does not apply is left out.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`.
        """
        from braid_hpc.lineage.described import describe

        return describe(cast("Store", self), reference, at=at, as_of=as_of)

    def tests(self, reference: str, *, all_versions: bool = False, at: int | None = None, as_of: Any = None) -> Tests:
        """Return the tests that were stated about a record.

        Parameters
        ----------
        reference : str
            A version; without a number the newest.
        all_versions : bool
            Every version of that name.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been tested by then, and could be relied on then.

        Returns
        -------
        Tests
            Of :class:`~braid_hpc.store.stated.Statement`, as in a list, and a table for other libraries; by name,
            version and time, without statements that say neither ``passed=True`` nor ``passed=False``.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`.

        See Also
        --------
        braid_hpc.Run.statement : makes them.
        newly_failing : what changed between two versions.
        """
        from braid_hpc.store.stated import tests_about

        return tests_about(cast("Store", self), reference, all_versions=all_versions, at=at, as_of=as_of)

    def compare_tests(self, reference: str, *, against: str, at: int | None = None, as_of: Any = None) -> TestChanges:
        """Return every test of two versions, with what it says of each.

        Parameters
        ----------
        reference : str
            A version.
        against : str
            An older one.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been tested by then of either, and could be relied on then.

        Returns
        -------
        TestChanges
            Of :class:`~braid_hpc.store.stated.TestChange`, as in a list, and a table for other libraries, by name.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`.
        """
        from braid_hpc.store.stated import compare

        return compare(cast("Store", self), reference, against, at=at, as_of=as_of)

    def newly_failing(self, reference: str, *, against: str, at: int | None = None, as_of: Any = None) -> TestChanges:
        """Return the tests that do not pass on a version, and that did not fail on an older one.

        These are those of :meth:`compare_tests` of which ``newly_failing`` is true.

        A test that passed on the older one, was not made there, or cannot be relied on there counts.

        Parameters
        ----------
        reference : str
            A version.
        against : str
            An older one.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been tested by then of either, and could be relied on then.

        Returns
        -------
        TestChanges
            Of :class:`~braid_hpc.store.stated.TestChange`, as in a list, and a table for other libraries, by name.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`.
        """
        from braid_hpc.store.stated import TestChanges

        changes = self.compare_tests(reference, against=against, at=at, as_of=as_of)
        return TestChanges(change for change in changes if change.newly_failing)

    def sets(self, *, at: int | None = None) -> Table:
        """Return the sets that were collected, each once, by what is in them.

        Parameters
        ----------
        at : int, optional
            A snapshot number: what the store knew then.

        Returns
        -------
        Table
            ``digest``, ``members`` (how many), ``labels`` (the one that was there first comes first) and ``runs``.

        See Also
        --------
        braid_hpc.Run.collect : puts members into them.
        """
        from braid_hpc.store.sets import find_sets

        return find_sets(cast("Store", self), at)

    def members(self, label: str, *, at: int | None = None) -> Table:
        """Return what is in a set.

        Parameters
        ----------
        label : str
            What it is called, or its digest.
        at : int, optional
            A snapshot number: what the store knew then.

        Returns
        -------
        Table
            ``table`` and ``member``, in order; of a record its global id, and ``:record`` for the table.

        Raises
        ------
        NotFoundError
            If there is no such set.
        ConflictError
            If runs have given the label to different sets: name one by its digest.
        """
        from braid_hpc.store.sets import members_of

        return members_of(cast("Store", self), label, at)

    def sets_with(self, thing: Any, *, at: int | None = None) -> Table:
        """Return the sets that something is in.

        Parameters
        ----------
        thing : object or str
            An instance of a declared table, or a reference to a record.
        at : int, optional
            A snapshot number: what the store knew then.

        Returns
        -------
        Table
            As from :meth:`sets`.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            If there is no such record, or the instance is of no declared table.
        """
        from braid_hpc.store.sets import sets_with

        return sets_with(cast("Store", self), thing, at)

    def documents(self, uid: str, *, at: int | None = None, as_of: Any = None) -> Documents:
        """Return the documents of a Bluesky run, each once and word for word, from the logs of any ranks.

        Parameters
        ----------
        uid : str
            Of its start document, or the beginning of that.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been recorded by then.

        Returns
        -------
        Documents
            Iterate for ``(name, document)``; it also says what is missing.

        Raises
        ------
        NotFoundError
            If the store has no document of such a run.
        ConflictError
            If several runs begin so.
        InvalidInputError
            If there is no such snapshot, or nothing can be asked as of that time.

        See Also
        --------
        braid_hpc.collectors.documents.DocumentCollector : records them.
        """
        from braid_hpc.store.documents import read_documents

        store = cast("Store", self)
        return read_documents(store, uid, then=store._then(at, as_of))
