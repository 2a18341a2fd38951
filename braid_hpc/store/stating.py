"""Statements that are made on an open store, and the actions that follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from braid_hpc.store.walking import Walking
from braid_hpc.vocabulary.codes import check_retractable
from braid_hpc.vocabulary.denials import DENIAL_COLUMNS, DENIALS
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference
from braid_hpc.vocabulary.sql import quoted
from braid_hpc.vocabulary.texts import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from braid_hpc.store.due import Actions, ActionState
    from braid_hpc.store.store import Store
    from braid_hpc.store.tables import Table

__all__ = ["Stating"]

#: Parents that an error names.
LISTED = 10


class Stating(Walking):
    """What is stated of a store's nodes after the run; all of it goes through a log, and this handle moves on."""

    def invalidate(
        self, references: str | Iterable[str], *, cause: str, cascade: bool = True, all_versions: bool = False
    ) -> list[str]:
        """State that records or activities are not to be relied on.

        The statement goes into a log beside the store and from there into its next snapshot, on which this handle
        is afterwards. Everything that came of it, or will, is invalid; what it came from is not touched.

        Parameters
        ----------
        references : str or iterable of str
            What is wrong; without a version, the newest.
        cause : str
            Why, for people.
        cascade : bool
            Whether the statements reach what came of it.
        all_versions : bool
            Every version of these names up to now.

        Returns
        -------
        list of str
            Id of each statement.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`; also InvalidInputError if `cause` is no text. Nothing is stated then.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        revalidate : take it back.
        lineage, impact : whose nodes say whether they are valid, and why not.
        """
        if not isinstance(cause, str) or not cause:
            raise InvalidInputError(f"the cause of an invalidation is a text, not {cause!r}")
        targets = self._targets(references, all_versions=all_versions)
        about = {"cause": cause, "cascade": cascade, "all_versions": all_versions}
        return self._state(lambda run: [run.invalidate(target, **about) for target in targets])

    def revalidate(
        self, references: str | Iterable[str], *, despite: str | None = None, all_versions: bool = False
    ) -> list[str]:
        """Take back the statements that records or activities are not to be relied on.

        Parameters
        ----------
        references : str or iterable of str
            What the statements stand on.
        despite : str, optional
            Id of one statement, or its beginning: these records hold in spite of it, wherever it stands, and do not
            pass it on.
        all_versions : bool
            Every version of these names up to now.

        Returns
        -------
        list of str
            Id of each statement.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`; NotFoundError also if there is no statement to take back. Nothing is stated then.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        invalidate : what is taken back.
        """
        targets = self._targets(references, all_versions=all_versions)
        if despite is not None:
            despite = self._statement(despite)
        else:
            self._must_be_stated(references, all_versions=all_versions)
        about = {"despite": despite, "all_versions": all_versions}
        return self._state(lambda run: [run.revalidate(target, **about) for target in targets])

    def retract(self, child: str, parent: str, *, cause: str, relation: str | None = None) -> str:
        """State that an edge was stated wrongly: that one thing did not come from the other.

        The statement goes the way of :meth:`invalidate`. From its time on the edge is not followed and carries no
        invalidation; as of an earlier time, and at an earlier snapshot, it holds. Stated again later, it holds again.

        Parameters
        ----------
        child, parent : str
            Its ends; without a version, the newest.
        cause : str
            Why, for people.
        relation : str, optional
            Only the edge of this relation, such as ``wasDerivedFrom``; without it all between the two.

        Returns
        -------
        str
            Id of the statement.

        Raises
        ------
        NotFoundError
            If there is no such edge; the error names the parents that there are. Nothing is stated then.
        ConflictError, InvalidInputError
            As :meth:`get`; also InvalidInputError if `cause` is no text, or `relation` none that is stated.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        invalidate : where not an edge was wrong, but what it leads to.
        """
        if not isinstance(cause, str) or not cause:
            raise InvalidInputError(f"the cause of a retraction is a text, not {cause!r}")
        if relation is not None:
            relation = check_retractable(relation)
        one, other = self.get(child), self.get(parent)
        rows = self.sql(
            "select n.id, n.kind, n.name, n.version, e.relation from edges e join nodes n on n.id = e.parent "
            "where e.child = ? and e.relation <> 'same-content' order by n.kind, n.name, n.version, e.relation",
            [one.id],
        )
        if not any(row["id"] == other.id and relation in (None, row["relation"]) for row in rows):
            known = [f"{format_reference(r['kind'], r['name'], r['version'])} ({r['relation']})" for r in rows]
            listed = ", ".join(known[:LISTED]) + (f" and {len(known) - LISTED} more" if len(known) > LISTED else "")
            said = f"no edge {relation}" if relation is not None else "no edge"
            raise NotFoundError(f"{one.ref} has {said} to {other.ref}; its parents are: {listed or 'none'}")
        ends = [f"id:{node.uid}" for node in (one, other)]
        (made,) = self._state(lambda run: [run.retract(*ends, cause=cause, relation=relation)])
        return made

    def deny(self, revision: str, *, cause: str) -> None:
        """State that what code of a revision has made, and what it will have made, is not to be relied on.

        That is all that processes of it have recorded, in whichever log it comes: activities and calls of tasks,
        records that they made (sources they only declared), rows of declared tables, and files that they said to
        exist. Everything that came of it is invalid too.

        Parameters
        ----------
        revision : str
            The commit, the digest of the script, or that of a task's source; or its first digits, seven at least.
        cause : str
            Why, for people.

        Raises
        ------
        InvalidInputError
            If `revision` is none, or `cause` no text. Nothing is stated then.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        allow : take it back.
        """
        if not isinstance(cause, str) or not cause:
            raise InvalidInputError(f"the cause of a denial is a text, not {cause!r}")
        self._say_denial(_revision(revision), cause, denied=True)

    def allow(self, revision: str) -> None:
        """Take back that a revision is denied; what else was said of what it made stays.

        Parameters
        ----------
        revision : str
            As it was denied.

        Raises
        ------
        NotFoundError
            If it is not denied.
        InvalidInputError
            If it is no revision.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        deny : what is taken back.
        """
        revision = _revision(revision)
        denied = [row["revision"] for row in self.denials()]
        if revision not in denied:
            known = ", ".join(denied) or "none"
            raise NotFoundError(f"the revision {revision} is not denied in {self.path.name}; there are: {known}")
        self._say_denial(revision, "", denied=False)

    def denials(self, *, at: int | None = None, as_of: Any = None) -> Table:
        """Return the revisions of code that are denied.

        Parameters
        ----------
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been said by then.

        Returns
        -------
        Table
            ``revision``, ``cause``, ``time`` and ``user``.

        Raises
        ------
        InvalidInputError
            If there is no such snapshot, or nothing can be asked as of that time.
        """
        then = self._then(at, as_of)
        place = self._asked("select min(place) as place from stream_rows where stream = ?", [DENIALS])["place"][0]
        if place is None:
            names = ", ".join(f"null::varchar as {name}" for name in ("revision", "cause", "time", '"user"'))
            return self._asked(f"select {names} where false")
        return self._asked(
            """select revision, cause, time, "user" from (
            select d.revision, d.cause, d.denied, d._time as time, w.header ->> '$.user' as "user",
                row_number() over (partition by d.revision order by d._time desc, d._writer desc, d._row desc) as last
            from stream."""
            + quoted(place)
            + """ d left join writers w on w.writer = d._writer
            where d._snapshot <= $at and epoch_ns(d._time) <= $as_of) where last = 1 and denied order by time""",
            then,
        )

    def _say_denial(self, revision: str, cause: str, *, denied: bool) -> None:
        columns = {"revision": [revision], "cause": [cause], "denied": [denied]}

        def say(run: Any) -> list[str]:
            return [revision if run.stream(DENIALS, DENIAL_COLUMNS).extend(columns).count == 1 else ""]

        self._state(say)

    def _targets(self, references: str | Iterable[str], *, all_versions: bool) -> list[str]:
        texts = [references] if isinstance(references, str) else list(references)
        nodes = [self.get(text) for text in texts]
        if not nodes:
            raise InvalidInputError("no record is named: give references such as 'data:scan@1'")
        return [format_reference(n.kind, n.name) if all_versions else f"id:{n.uid}" for n in nodes]

    def _must_be_stated(self, references: str | Iterable[str], *, all_versions: bool) -> None:
        standing = {row["id"] for row in self.sql("select id from invalidations where not revoked")}
        names = {(row["kind"], row["name"]) for row in self.sql("select kind, name from invalidations")}
        judged = self.judgements()
        for text in [references] if isinstance(references, str) else references:
            node = self.get(text)
            if (all_versions and (node.kind, node.name) in names) or node.id in standing:
                continue
            found = judged.get(node.id)
            hint = "" if found is None else f"; it is invalid by statement id:{found.uid} ({found.cause}): name that"
            raise NotFoundError(f"no statement stands on {node.ref}{hint}")

    def _statement(self, text: str) -> str:
        if not isinstance(text, str):
            raise InvalidInputError(f"{text!r} is not the id of a statement: that is a text")
        rows = self.sql(
            "select distinct uid from invalidations where starts_with(uid, ?)",
            [clean(text.removeprefix("id:").lower())],
        )
        if len(rows) != 1:
            raise NotFoundError(f"{text} is the id of {len(rows) or 'no'} statements: see the view 'invalidations'")
        return str(rows["uid"][0])

    def _state(self, say: Callable[[Any], list[str]]) -> list[str]:
        from braid_hpc.store.statements import state

        made = state(self._files, say)
        self.refresh()
        return made

    def on_invalid(self, references: str | Iterable[str], action: Any) -> None:
        """Attach an action to records; see :func:`braid_hpc.store.actions.attach`.

        Parameters
        ----------
        references : str or iterable of str
            The records.
        action : list of str, str, mapping, or list of these
            A command, a function, or several of these.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError, StorageError
            As :func:`braid_hpc.store.actions.attach`.
        """
        from braid_hpc.store.actions import attach

        attach(cast("Store", self), references, action)

    def actions(self) -> Actions:
        """Return what is attached to records, and what has come of it; nothing is run.

        It is of now: what is due is not a question to an earlier moment.

        Returns
        -------
        Actions
            Of :class:`~braid_hpc.store.due.ActionState`, as in a list, and a table for other libraries, in the order of
            :func:`braid_hpc.store.due.list_actions`.
        """
        from braid_hpc.store.due import list_actions

        return list_actions(cast("Store", self))

    def run_actions(
        self,
        *,
        retry: bool = False,
        dry_run: bool = False,
        timeout: float | None = None,
        told: Callable[[ActionState], None] | None = None,
    ) -> list[ActionState]:
        """Run the actions that are due; see :func:`braid_hpc.store.actions.run_actions`.

        Parameters
        ----------
        retry : bool
            Whether those that failed or were interrupted are run again.
        dry_run : bool
            Only return what would be run.
        timeout : float, optional
            Seconds for an action without a limit of its own; an hour if nothing is said.
        told : callable, optional
            Is given each action before it is begun and when it has ended.

        Returns
        -------
        list of ActionState
            Those that were run, or would be, in order.

        Raises
        ------
        ConflictError, InvalidInputError, StorageError
            As :func:`braid_hpc.store.actions.run_actions`.
        """
        from braid_hpc.store.actions import run_actions
        from braid_hpc.store.executing import TIMEOUT

        limit = TIMEOUT if timeout is None else timeout
        return run_actions(cast("Store", self), retry=retry, dry_run=dry_run, timeout=limit, told=told)


def _revision(text: Any) -> str:
    """Return a revision of code as it is written down."""
    digits = text.rpartition(":")[2] if isinstance(text, str) else ""
    if len(digits) < 7 or set(digits.lower()) - set("0123456789abcdef"):
        raise InvalidInputError(
            f"{text!r} is no revision: give a commit, or the digest of a script or of a task's source, seven digits at "
            "least"
        )
    return str(text).lower()
