"""``@braid.task``: a function whose calls are done once."""

from __future__ import annotations

import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, dataclass_transform, overload

from braid_hpc.results.lazy import loaded
from braid_hpc.run.guard import disabled
from braid_hpc.run.handles import RECORDS, Record
from braid_hpc.run.job import current_run, start
from braid_hpc.tasks.classes import ClassOutput, Runner, equip, make_class, task_of
from braid_hpc.tasks.deciding import Decision, decide, index_of, tell_once
from braid_hpc.tasks.identity import Bound, Identity, ParameterMissing
from braid_hpc.tasks.keys import keys_of_columns
from braid_hpc.tasks.known import RESULTS
from braid_hpc.tasks.options import Options, make_options
from braid_hpc.tasks.recording import Execution, record_missing, record_skipped
from braid_hpc.tasks.states import Reason
from braid_hpc.tasks.values import decode_value
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from braid_hpc.results.result import Target
    from braid_hpc.results.written import Written
    from braid_hpc.run.recorder import Run
    from braid_hpc.tasks.mapping import Mapped
    from braid_hpc.vocabulary.task_payloads import Done, Output

__all__ = ["Task", "task"]

_starting = threading.Lock()

T = TypeVar("T")


class _Decorator(Protocol):
    """What ``task(version="1")`` returns: a class stays one, and a function becomes a task."""

    @overload
    def __call__(self, made: type[T], /) -> type[T]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, made: Callable[..., Any], /) -> Task: ...


#: Makes arguments that are made once, and says how much of the time that took is the call's share.
Prepare = Callable[[], tuple[dict[str, Any], int]]


class Task:
    """A function whose calls are done once; made by :func:`task`.

    Attributes
    ----------
    identity : Identity
        Name, version, signature and source.
    options : Options
        Where results go, and when a call runs although it is done.
    """

    def __init__(self, function: Callable[..., Any], identity: Identity, options: Options) -> None:
        self.function = function
        self.identity = identity
        self.options = options
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """What it is called in every process."""
        return self.identity.name

    @property
    def version(self) -> str | None:
        """As declared; None if its source stands in."""
        return self.identity.version

    @property
    def marks_as(self) -> str:
        """What it is called where files of declared tables are marked or claimed."""
        return f"task:{self.name}"

    def __repr__(self) -> str:
        """Return its name and version."""
        return f"<task {self.name}, version {self.version or 'of its source'}>"

    def __reduce__(self) -> Any:
        """Travel by name, as functions do."""
        found: Any = inspect.getmodule(self.function)
        for part in self.function.__qualname__.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type):
            return _of_class, (found, self.options)
        return self.function.__qualname__ if found is self else (_with_options, (found, self.options))

    def with_options(self, **options: Any) -> Task:
        """Return the same task with other options.

        Parameters
        ----------
        **options
            ``rerun``, ``verify``, ``code``, ``result``, ``target``, ``location``, as for :func:`task`.

        Returns
        -------
        Task
            With the same identity.

        Raises
        ------
        InvalidInputError
            If there is no such option, or it cannot be used.
        """
        return Task(self.function, self.identity, make_options(self.name, {**self.options.given, **options}))

    # ------------------------------------------------------------------ identity

    def key_of(self, /, *args: Any, **kwargs: Any) -> bytes:
        """Return the key of a call, which is not made.

        Parameters
        ----------
        *args, **kwargs
            As for the function.

        Returns
        -------
        bytes
            16 bytes.

        Raises
        ------
        InvalidInputError
            If the arguments are not what the function takes, or one of them has no value that can be told again.
        NotFoundError
            If one of them is the path of a file that is not there.
        """
        return self._bind(args, kwargs).key

    def keys_of(self, columns: Mapping[str, Any]) -> NDArray[Any]:
        """Return the keys of many calls.

        Parameters
        ----------
        columns : mapping of str to sequence
            Values of each argument, one for each call; arguments that are left out have their defaults.

        Returns
        -------
        numpy.ndarray
            uint8, shape (n, 16).

        Raises
        ------
        InvalidInputError
            As for :meth:`key_of`, and if the columns are not of one length.
        NotFoundError
            As for :meth:`key_of`.
        """
        return keys_of_columns(self.identity, columns)

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: Run | None = None) -> Bound:
        run = run or current_run()
        return self.identity.bind(args, kwargs, stands_for=RESULTS.find, digest_of=run.digest_of)

    # ------------------------------------------------------------------ calls

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, unless that was done: then its recorded result is returned.

        Raises
        ------
        InvalidInputError
            Before anything runs: if the arguments are not what the function takes, one of them has no value that can
            be told again, or the target of the call cannot be made of them.
        NotFoundError
            Likewise: if one of them is the path of a file that is not there.
        """
        return self._call(args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], prepare: Prepare | None = None) -> Any:
        return self._outcome(args, kwargs, prepare)[0]

    def _outcome(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        prepare: Prepare | None = None,
        uses: Iterable[Record] = (),
    ) -> tuple[Any, Record | None, bool]:
        """Return the result of a call, its record, and whether it was skipped; what else it uses is recorded."""
        run = _open_run(self.name)
        try:
            bound = self._bind(args, kwargs, run)
        except ParameterMissing as error:
            if run:
                record_missing(run, self.identity, str(error))
            raise NotFoundError(str(error)) from None
        target = self._target(bound)
        decision = self.decide(bound, target, run)
        if (done := decision.done) is not None:
            try:
                value = self._result(done, bound, target, run)
            except BraidError as error:
                # Of a class that is not there any more, for instance.
                decision = Decision(reason=Reason.UNRECORDED, detail=f"the recorded result cannot be read: {error}")
            else:
                record_skipped(run, self.identity, bound.key, done, decision.detail)
                return value, Record.from_bytes(done.record) if done.record else None, True
        bound.seen.records.extend(uses)
        return *self._execute(bound, target, run, decision, prepare), False

    def decide(self, bound: Bound, target: Target | None, run: Run) -> Decision:
        """Decide whether a call runs.

        Parameters
        ----------
        bound : Bound
            The call.
        target : Target or None
            Where it writes.
        run : Run
            Whose done index is asked.

        Returns
        -------
        Decision
            With the execution whose result is taken, or why it runs.
        """
        options = self.options
        if disabled() or not run:
            return Decision(reason=Reason.DISABLED if disabled() else Reason.NO_INDEX)
        if options.rerun:
            return Decision(reason=Reason.ASKED)
        if options.location is not None:
            return Decision(reason=Reason.ALWAYS)
        about = {"code": self.identity.code, "keep": options.code == "keep", "verify": options.verify}
        return decide(index_of(run), bound.key, target=target, task=self.name, **about)

    def _target(self, bound: Bound) -> Target | None:
        options = self.options
        if options.result is None:
            return None
        if options.where is None:
            return options.result.default(self.name, bound.key.hex())  # type: ignore[no-any-return]
        return options.result.at(options.where, bound.arguments)  # type: ignore[no-any-return]

    def _execute(
        self, bound: Bound, target: Target | None, run: Run, decision: Decision, prepare: Prepare | None = None
    ) -> tuple[Any, Record | None]:
        made, shared = prepare() if prepare is not None else ({}, 0)
        bound.arguments.update(made)
        if decision.reason is Reason.NEW and target is not None and target.there():
            said = "is there, and was made by another call: it is written anew, as all such files of this task"
            tell_once(f"task {self.name}: {target.uri} {said}", about=f"over {self.name}")
        if not run:
            value = self._run(bound)
            return value if target is None else target.lazy(target.write(value), value=(value,)), None
        execution = Execution(run, self.identity, bound)
        act = execution.begin(decision.reason or Reason.NEW, decision.detail, self.options, shared)
        with act:
            value = self._run(bound)
            written = target.write(value) if target is not None else None
            record = execution.end(act, value, written)
        if target is None or written is None:
            return value, record or None
        # As it comes back the next time: what is below counts it alike, here and in other processes.
        return self._lazy(target, written, record, bound, value=(value,)), record or None

    def _run(self, bound: Bound) -> Any:
        """Call the function; an argument that is a result which was not read yet is read for it."""
        arguments = OrderedDict((name, loaded(value)) for name, value in bound.arguments.items())
        call = inspect.BoundArguments(self.identity.signature, arguments)
        return self.function(*call.args, **call.kwargs)

    def _lazy(self, target: Target, written: Written, record: Record, bound: Bound, value: tuple[Any, ...] = ()) -> Any:
        call = inspect.BoundArguments(self.identity.signature, OrderedDict(bound.arguments))
        otherwise = _Again(self, call.args, call.kwargs)
        lazy = target.lazy(written, record=record or None, otherwise=otherwise, value=value)
        if record:
            RESULTS.remember(lazy, written.content or written.digest, record)
        return lazy

    def _result(self, done: Done, bound: Bound, target: Target | None, run: Run) -> Any:
        """Return the recorded result of an execution."""
        record = Record.from_bytes(done.record) if done.record else Record(bytes(16), 0)
        if target is None or done.output is None:
            value = decode_value(done.value or b"\xc0")
            if record:
                RECORDS.remember(value, record)
            return value

        return self._lazy(target, _written(done.output), record, bound)

    def map(
        self, cells: Any, /, *, setup: Any = None, comm: Any = None, errors: str = "raise", **common: Any
    ) -> Mapped:
        """Call it for many cells, of which those that are done do not run.

        Parameters
        ----------
        cells : iterable of mapping, or mapping of str to sequence
            Arguments of each call by name, as rows or as columns.
        setup : mapping of str to callable, optional
            Arguments that ``ignore=`` names, each made by its callable once, and only if a call runs. How long that
            took is divided among the calls.
        comm : communicator, optional
            This rank takes the cells whose key, as a number, modulo the size is its rank; nothing is communicated.
        errors : str
            ``"raise"``: an exception of a call ends the mapping. ``"keep"``: it is kept, and the others run.
        **common
            Arguments that are the same for all cells.

        Returns
        -------
        Mapped
            A sequence of the results.

        Raises
        ------
        InvalidInputError
            Before anything runs: as for a call, and if `cells` or `setup` cannot be used.
        """
        from braid_hpc.tasks.mapping import run_cells

        return run_cells(self, cells, setup=setup, comm=comm, errors=errors, common=common)


class _Again:
    """Makes a result where what was written is another one by the time it is read, in whichever process that is."""

    def __init__(self, made_by: Task, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._task, self._args, self._kwargs = made_by, args, kwargs

    def __call__(self) -> Any:
        run = _open_run(self._task.name)
        bound = self._task._bind(self._args, self._kwargs, run)
        target = self._task._target(bound)
        said = "" if target is None else f"{target.uri} is not what was written there"
        return self._task._execute(bound, target, run, Decision(reason=Reason.CHANGED, detail=said))[0]


def _written(output: Output) -> Written:
    from braid_hpc.results import written

    return written.Written(
        output.uri, output.size, output.mtime_ns, output.digest, output.content, output.media_type or ""
    )


def _with_options(base: Task, options: Options) -> Task:
    return base.with_options(**options.given)


def _of_class(made: Any, options: Options) -> Task:
    base: Task = task_of(made)
    return base if base.options.given == options.given else base.with_options(**options.given)


def _open_run(name: str) -> Run:
    """Return the run that is open; outside of all runs one is begun, which ends when the process does."""
    run = current_run()
    if run or disabled():
        return run
    with _starting:
        return current_run() or start(name)


@overload
@dataclass_transform(frozen_default=True)
def task(function: type[T], /) -> type[T]: ...  # type: ignore[overload-overlap]


@overload
def task(function: Callable[..., Any], /) -> Task: ...


@overload
def task(
    *,
    version: str | None = ...,
    name: str | None = ...,
    significant: str = ...,
    ignore: Iterable[str] = ...,
    result: Any = ...,
    target: Any = ...,
    location: Any = ...,
    verify: Any = ...,
    code: str = ...,
    rerun: bool = ...,
    table: str | None = ...,
    columns: Any = ...,
) -> _Decorator: ...


def task(
    function: Any = None,
    /,
    *,
    version: str | None = None,
    name: str | None = None,
    significant: str = "exact",
    ignore: Iterable[str] = (),
    **options: Any,
) -> Any:
    """Make a function a task: the same call is not made twice.

    The identity of a call is a key of 128 bits over the name of the function, its version, and all its arguments,
    defaults included: numbers and texts by value, files (:class:`pathlib.Path`) and arrays by content, records and
    results of other tasks by theirs. If the done index of the store holds an execution of that key that ended well
    and holds, its recorded result is returned, and that the call was skipped is recorded.

    Parameters
    ----------
    function : callable or type, optional
        The function (``@task``), or a class: its annotated attributes are the parameters, ``run(self)`` is what is
        called, ``requires(self)`` returns instances of such classes whose results ``self.input()`` has, and
        ``output(self)`` the target that the result is written to.
    version : str, optional
        Such as ``"0.1.3"``. Without it the source of the function stands in.
    name : str, optional
        Instead of module and name of the function.
    significant : str
        Which part of the version counts: ``"exact"``, ``"major.minor"`` or ``"major"``.
    ignore : iterable of str
        Arguments that are no part of the identity.
    result : Result, optional
        Where results are written. Without it they are kept in the log, up to 64 KiB.
    target : str or callable, optional
        Name of what is written, made of the arguments.
    location : str or callable, optional
        Instead of `target`: the call always runs, and always writes.
    verify : str
        How closely what was written is looked at before it is taken: ``"size"`` (and time) or ``"digest"``; by
        default as `result` says.
    code : str
        What is done if the source changed and the version did not: ``"rerun"``, or ``"keep"`` what the old one made.
        Either is told.
    rerun : bool
        Whether calls run although they are done.
    table : str, optional
        Name of the table of results in the store; the function's name by default.
    columns : mapping of str to type, optional
        Its columns: each result is a mapping, or a dataclass, with these.

    Returns
    -------
    Task
        To be called as the function is. A class stays a class: ``Fit(seed=3).run()`` is the call.

    Raises
    ------
    InvalidInputError
        If one of them cannot be used.

    Examples
    --------
    >>> @task(version="1", name="double")
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> double.key_of(3) == double.key_of(x=3)
    True
    """
    if function is not None:
        return _make(function, version, name, significant, ignore, options)
    return lambda made: _make(made, version, name, significant, ignore, options)


def _make(
    function: Any, version: Any, name: Any, significant: str, ignore: Iterable[str], given: dict[str, Any]
) -> Any:
    if isinstance(function, type):
        made = make_class(function)
        runner = Runner(made)
        if hasattr(made, "output"):
            if given.get("result") is not None:
                raise InvalidInputError(f"task {made.__qualname__}: result= and output(self) are two ways: give one")
            given = {**given, "result": ClassOutput(made), "target": ""}
        identity = Identity(runner, name=name, version=version, significant=significant, ignore=ignore)
        equip(made, Task(runner, identity, make_options(identity.name, given, runner)))
        return made
    if not callable(function):
        raise InvalidInputError(f"task(...) decorates a function, not {function!r}")
    if (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise InvalidInputError(
            f"task {function.__qualname__}: a task returns its result, it is no generator or coroutine"
        )
    identity = Identity(function, name=name, version=version, significant=significant, ignore=ignore)
    return Task(function, identity, make_options(identity.name, given, function))
