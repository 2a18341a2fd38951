"""What the log gets of a task: that an activity is its execution, what came of it, that it was skipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.run.activities import Activity, current_activity, describe_value
from braid_hpc.run.contained import used_by
from braid_hpc.run.guard import passes
from braid_hpc.run.handles import RECORDS, Record
from braid_hpc.tasks.forms import encode_form
from braid_hpc.tasks.identity import Bound, Identity, Parameter
from braid_hpc.tasks.known import RESULTS
from braid_hpc.tasks.options import Options
from braid_hpc.tasks.states import Reason, Role
from braid_hpc.tasks.values import encode_value, plain_value
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.identity import content_of_value
from braid_hpc.vocabulary.payloads import Declaration
from braid_hpc.vocabulary.redaction import REDACTED, is_secret_argument, redact
from braid_hpc.vocabulary.task_payloads import (
    Done,
    Output,
    TaskBegun,
    TaskEnded,
    TaskMissing,
    TaskParameter,
    TaskSkipped,
)

if TYPE_CHECKING:
    from braid_hpc.results.written import Written
    from braid_hpc.run.recorder import Run

__all__ = ["RESULT_KIND", "Execution", "record_missing", "record_skipped", "result_name"]

#: Kind of the records that tasks make.
RESULT_KIND = "result"

#: Forms of more bytes than this are recorded by their digest: a parameter is no place for data.
FORM_LIMIT = 16 << 10


def result_name(task: str, key: bytes) -> str:
    """Return what the result of a call is called.

    Parameters
    ----------
    task : str
        Name of the task.
    key : bytes
        Of the call.

    Returns
    -------
    str
        ``<task>/<key>``.
    """
    return f"{task}/{key.hex()}"


class Execution:
    """The execution of a task, as an activity.

    Parameters
    ----------
    run : Run
        It is recorded in; open.
    identity : Identity
        Of the task.
    bound : Bound
        The call.
    """

    def __init__(self, run: Run, identity: Identity, bound: Bound) -> None:
        self._run, self._identity, self._bound = run, identity, bound
        self._ended: TaskEnded | None = None

    def begin(self, reason: Reason, detail: str, options: Options, shared: int) -> Activity:
        """Begin it.

        Parameters
        ----------
        reason, detail
            Why it runs.
        options : Options
            Of the task: which typed table its result goes into.
        shared : int
            Nanoseconds of set-up time that are its share.

        Returns
        -------
        Activity
            To be entered.
        """
        run, identity, bound = self._run, self._identity, self._bound
        try:
            links = run._good_links(f"used by {identity.name}", self._used())
            about = TaskBegun(
                bound.key,
                identity.name,
                [_kept(each) for each in bound.parameters],
                identity.version,
                identity.place.module,
                identity.place.script,
                identity.place.qualname,
                identity.code,
                reason.value,
                redact(detail) if detail else "",
                options.columns,
                options.table,
                shared,
            )
            params = {each.name: _short(each) for each in bound.parameters}
            act = run._begin(identity.name, links, params, identity.place.name, current_activity())
            if act.sequence:
                number = run._log.intern(identity.name)
                run._log.append(Code.TASK, number, act.sequence, 0, 0, 0, encode(about))
        except Exception as error:
            if passes(error):
                raise
            run._refused(f"task {identity.name}", error, "")
            act = run.activity(identity.name)
        return act

    def _used(self) -> list[Record]:
        run, bound = self._run, self._bound
        found = {record: None for record in (*bound.seen.records, *used_by(bound.arguments.values())) if record}
        for path, digest, size in bound.seen.files:
            known = (run._written or {}).get(path)
            if known is not None and known[1] == digest:
                found[known[0]] = None
            else:
                said = Declaration(uris=[Path(path).as_uri()], digest=digest, size=size)
                found[run._store_file("data", None, Path(path), said, None, made=False)] = None
        return [record for record in found if record]

    def end(self, act: Activity, value: Any, written: Written | None) -> Record:
        """Record what came of it, before its activity ends.

        Parameters
        ----------
        act : Activity
            From :meth:`begin`.
        value : object
            What the function returned.
        written : Written or None
            What was written.

        Returns
        -------
        Record
            The result; false if it could not be recorded.
        """
        run, identity, bound = self._run, self._identity, self._bound
        try:
            said, ended = Declaration(), TaskEnded()
            if written is not None:
                ended.output = output_of(written)
                said = Declaration(uris=[written.uri], digest=written.digest, size=written.size)
            else:
                ended.value, ended.unkept = encode_value(value)
                if ended.value is not None:
                    said.digest = content_of_value(ended.value).digest
            name = result_name(identity.name, bound.key)
            record = run._store_declaration(RESULT_KIND, name, said, act, ended=True)
            ended.record = record.sequence
            if act.sequence:
                run._log.append(Code.TASK_END, 0, act.sequence, run._foreign(act), 0, 0, encode(ended))
            if record:
                RECORDS.remember(value, record)
                if written is not None:
                    RESULTS.remember(value, written.content or written.digest, record)
            return record
        except Exception as error:
            if passes(error):
                raise
            run._refused(f"result of task {identity.name}", error, "")
            return Record(bytes(16), 0)


def output_of(written: Written) -> Output:
    """Return what is recorded of what was written.

    Parameters
    ----------
    written : Written
        From a place for results.

    Returns
    -------
    Output
        The same.
    """
    return Output(written.uri, written.size, written.mtime_ns, written.digest, written.content, written.media_type)


def record_skipped(run: Run, identity: Identity, key: bytes, done: Done, detail: str) -> None:
    """Record that a call did not run, because it was done.

    Parameters
    ----------
    run : Run
        It is recorded in.
    identity : Identity
        Of the task.
    key : bytes
        Of the call.
    done : Done
        The execution whose result was taken. The activity that called uses it.
    detail : str
        What else is to be said.
    """
    try:
        said = TaskSkipped(key, identity.name, done.execution, done.record, detail)
        act = current_activity()
        owner, foreign = run._above(act)
        run._log.append(Code.TASK_SKIP, run._log.intern(identity.name), owner, foreign, 0, 0, encode(said))
        if act is not None and act.run is run and done.record:
            run._link(Code.USE, act, Record.from_bytes(done.record))
    except Exception as error:
        if passes(error):
            raise
        run._refused(f"task {identity.name}", error, "")


def record_missing(run: Run, identity: Identity, message: str) -> None:
    """Record that a call did not run, because a file that it was given is not there.

    Parameters
    ----------
    run : Run
        It is recorded in.
    identity : Identity
        Of the task.
    message : str
        Which file.
    """
    try:
        owner, foreign = run._above(current_activity())
        payload = encode(TaskMissing(identity.name, redact(message)))
        run._log.append(Code.TASK_MISSING, run._log.intern(identity.name), owner, foreign, 0, 0, payload)
    except Exception as error:
        if passes(error):
            raise
        run._refused(f"task {identity.name}", error, "")


def _kept(parameter: Parameter) -> TaskParameter:
    """Return what the log keeps of a parameter: what sounds secret is not in it, and data by its digest."""
    form = parameter.form
    if isinstance(form, (str, bytes)) and is_secret_argument(parameter.name):
        return TaskParameter(parameter.name, ["redacted", REDACTED], parameter.role.value)
    if len(encoded := encode_form(form)) > FORM_LIMIT:
        form = ["digest", content_of_value(encoded).digest, len(encoded)]
    return TaskParameter(parameter.name, form, parameter.role.value, parameter.given)


def _short(parameter: Parameter) -> Any:
    """Return what an activity's parameters say, for people."""
    if isinstance(parameter.form, (str, bytes)) and is_secret_argument(parameter.name):
        return REDACTED
    form = parameter.form
    if not isinstance(form, list):
        return describe_value(form)
    if form[0] in ("list", "tuple", "dict", "set", "frozenset", "dataclass", "named") and len(str(form)) <= 256:
        return plain_value(form)
    if parameter.role is Role.IGNORED or form[0] in ("list", "tuple", "dict", "dataclass", "named"):
        return f"<{form[0]}>"
    return parameter.given or f"<{' '.join(str(part) for part in form)[:80]}>"
