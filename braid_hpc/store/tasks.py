"""Tasks of a store: their executions, why they ran, and the way back from one to the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from braid_hpc.store.task_moments import tasks_then
from braid_hpc.vocabulary.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.store.recreating import Call
    from braid_hpc.store.redoing import Redo
    from braid_hpc.store.resolve import Node
    from braid_hpc.store.tables import Table
    from braid_hpc.store.why_run import WhyRun

__all__ = ["StoredParameter", "StoredTask", "Tasks"]

#: Fewer digits of a key are taken for a name.
DIGITS = 4

_COLUMNS = (
    "pk, task, key, version, task_module, function, status, reason, detail, epoch_ns(created) as created, "
    "duration, overhead, error, output_pk, value, uri, digest, code, run, writer, sequence"
)


@dataclass(frozen=True, slots=True)
class StoredParameter:
    """A parameter of an execution.

    Attributes
    ----------
    name, value, type, role : str
        As in the views ``parameters`` and ``task_parameters``.
    given : str or None
        What it was given as.
    form : object
        Its canonical form.
    """

    name: str
    value: str
    type: str
    role: str
    given: str | None
    form: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredTask:
    """One execution of a task, and how often its call was made.

    Attributes
    ----------
    pk : int
        Dense id of the execution, as in the view ``tasks``.
    task, key, version, task_module, function, status, reason, detail, error, value, uri, digest, code, run
        As there.
    created : int
        When it began, nanoseconds since 1970 UTC.
    duration, overhead : float or None
        Seconds.
    output_pk : int or None
        Of its result.
    writer : str
        That began it.
    sequence : int
        Of its beginning.
    parameters : tuple of StoredParameter
        All of them.
    executions, skips : int
        How often this key was executed, and skipped.
    """

    pk: int
    task: str
    key: str
    version: str | None
    task_module: str
    function: str
    status: str
    reason: str
    detail: str
    created: int
    duration: float | None
    overhead: float
    error: str | None
    output_pk: int | None
    value: str | None
    uri: str | None
    digest: str | None
    code: str | None
    run: str
    writer: str
    sequence: int
    parameters: tuple[StoredParameter, ...] = ()
    executions: int = 0
    skips: int = 0

    def call(self, *, force: bool = False) -> Call:
        """Make the call again, of what is on record of it; it is not run yet.

        Parameters
        ----------
        force : bool
            Also where its key would be another one now, or its code is another one.

        Returns
        -------
        Call
            With ``run()``.

        Raises
        ------
        NotFoundError
            If the function, or a file that it was given, is not there any more.
        ConflictError
            If its code or one of its files changed, or its key would be another one.
        InvalidInputError
            If a parameter is on record by its digest only.
        """
        from braid_hpc.store.recreating import recreate

        return recreate(self, force=force)


class Tasks:
    """The part of :class:`braid_hpc.Store` that is about tasks."""

    if TYPE_CHECKING:

        @property
        def _connected(self) -> Any: ...
        def _at(self, at: int | None) -> int: ...
        def _as_of(self, as_of: Any) -> int | None: ...
        def _resolved(self, reference: str, at: int, as_of: int | None) -> tuple[Node, list[Node]]: ...

        sql: Callable[..., Table]
        judgements: Callable[..., dict[int, Any]]

    def tasks(
        self, name: str | None = None, *, status: str | None = None, at: int | None = None, as_of: Any = None
    ) -> Table:
        """Return the executions of tasks, newest first.

        Parameters
        ----------
        name : str, optional
            Only of this task.
        status : str, optional
            Only those that ended so, see the view ``tasks``.
        at : int, optional
            A snapshot: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had begun by then, and how it stood.

        Returns
        -------
        Table
            Columns ``pk``, ``task_id``, ``version``, ``status``, ``reason``, ``created``, ``duration``,
            ``parameters``, ``value``, ``uri``, ``error``.

        Raises
        ------
        InvalidInputError
            If there is no such snapshot, or `as_of` is no time of this store.
        """
        then = self._of_moment(at, as_of)
        return self.sql(
            f"{tasks_then(until='as_of' in then)} "
            "select t.pk, t.task_id, t.version, t.status, t.reason, t.created, t.duration, p.parameters, t.value, "
            "t.uri, t.error from tasks t left join (select task_pk, string_agg(parameter_name || '=' || "
            "coalesce(given, parameter_value), ', ' order by position) "
            "filter (where role <> 'inherited') as parameters "
            "from task_parameters join parameters on parameter_pk = parameters.pk group by task_pk) p "
            "on p.task_pk = t.pk where ($name is null or t.task = $name) "
            "and ($status is null or t.status = $status) order by t.created desc, t.pk desc",
            {**then, "name": name, "status": status},
        )

    def _of_moment(self, at: int | None, as_of: Any) -> dict[str, Any]:
        """Return what :func:`tasks_then` takes."""
        time = self._as_of(as_of)
        return {"at": self._at(at)} if time is None else {"at": self._at(at), "as_of": time}

    def task(self, reference: str, *, at: int | None = None, as_of: Any = None) -> StoredTask:
        """Return an execution of a task.

        Parameters
        ----------
        reference : str
            The beginning of a key (at least 4 digits), a ``task_id``, an activity, or a task's name. Of several
            executions of one key the newest that is done, else the newest, is meant; of a name the newest execution.
        at : int, optional
            A snapshot: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had begun by then, and how it stood.

        Returns
        -------
        StoredTask
            With ``call()``, which makes the call again.

        Raises
        ------
        NotFoundError
            If there is none.
        ConflictError
            If several keys begin so.
        InvalidInputError
            If there is no such snapshot, `as_of` is no time of this store, or `reference` cannot be one.
        """
        then = self._of_moment(at, as_of)
        tasks = tasks_then(until="as_of" in then)
        pk = self._task_pk(str(reference), then)
        row = self._connected.execute(f"{tasks} select {_COLUMNS} from tasks where pk = $pk", {**then, "pk": pk})
        row = row.fetchall()[0]
        cut = "and epoch_ns(time) <= $as_of" if "as_of" in then else ""
        executions, skips = self._connected.execute(
            f"{tasks} select (select count(*) from tasks where key = $key), "
            f"(select count(*) from task_skips where key = $key and snapshot <= $at {cut})",
            {**then, "key": row[2]},
        ).fetchall()[0]
        return StoredTask(*(*row, _parameters(self._connected, pk), executions, skips))

    def why_run(self, reference: str, *, at: int | None = None) -> WhyRun:
        """Say why an execution of a task ran, and whether the same call would run now.

        Parameters
        ----------
        reference : str
            As for :meth:`task`.
        at : int, optional
            A snapshot: what the store knew then.

        Returns
        -------
        WhyRun
            A sentence, and what differs from the execution that it is nearest to, of the newest 1,000 before it.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`task`.
        """
        from braid_hpc.store.why_run import explain

        causes = {node: judgement.cause for node, judgement in self.judgements(at=at).items()}
        return explain(self._connected, self.task(reference, at=at), at=self._at(at), causes=causes)

    def redo(self, reference: str, *, at: int | None = None) -> Redo:
        """Say how long it took to make what would be made again, if a task changed, or one thing.

        Parameters
        ----------
        reference : str
            A task's name: its calls in the last run that made any, and what came of these, likewise. Else a version, an
            activity or the beginning of a key: what came of it.
        at : int, optional
            A snapshot: what the store knew then.

        Returns
        -------
        Redo
            Calls and seconds, by task.

        Raises
        ------
        NotFoundError
            If there is nothing of that name.
        ConflictError
            If several things are meant.
        InvalidInputError
            If there is no such snapshot, or `reference` cannot be one.
        """
        from braid_hpc.store.redoing import called, redo

        snapshot, connection = self._at(at), self._connected
        roots = called(connection, str(reference), snapshot)
        current = bool(roots)
        if not roots:
            try:
                roots = [self._resolved(str(reference), snapshot, None)[0].id]
            except NotFoundError:
                roots = [self._task_pk(str(reference), {"at": snapshot})]
        return redo(connection, roots, snapshot, current=current)

    def _task_pk(self, reference: str, then: dict[str, Any]) -> int:
        tasks = tasks_then(until="as_of" in then)
        name, _, digits = reference.rpartition("_")
        digits = digits.lower()
        connection = self._connected
        if len(digits) >= DIGITS and not set(digits) - set("0123456789abcdef"):
            found = connection.execute(
                f"{tasks} select key, first(pk order by status <> 'done', created desc, pk desc), any_value(task) "
                "from tasks where starts_with(key, $digits) and ($name = '' or task = $name) "
                "group by key order by key limit 6",
                {**then, "digits": digits, "name": name},
            ).fetchall()
            if len(found) > 1:
                listed = ", ".join(f"{task} {key[:12]}" for key, _, task in found[:5])
                more = " and more" if len(found) > 5 else ""
                raise ConflictError(f"several keys begin with {digits}: {listed}{more}; give more digits")
            if found:
                return int(found[0][1])
        named = connection.execute(
            f"{tasks} select pk from tasks where task = $name order by created desc, pk desc limit 1",
            {**then, "name": reference},
        ).fetchall()
        if named:
            return int(named[0][0])
        try:
            node = self._resolved(reference, then["at"], then.get("as_of"))[0].id
        except NotFoundError:
            node = None
        if not connection.execute(f"{tasks} select 1 from tasks where pk = $pk", {**then, "pk": node}).fetchall():
            raise NotFoundError(
                f"no task {reference!r} is on record: 'braid tasks list' lists them, a key needs {DIGITS} digits"
            )
        assert node is not None
        return node


def _parameters(connection: Any, pk: int) -> tuple[StoredParameter, ...]:
    rows = connection.execute(
        "select r.name, r.value, r.type, p.role, p.given, r.form from task_parameters p "
        "join parameter_rows r on r.pk = p.parameter_pk where p.task_pk = $1 order by p.position",
        [pk],
    ).fetchall()
    return tuple(StoredParameter(*(*row[:5], msgspec.msgpack.decode(row[5]))) for row in rows)
