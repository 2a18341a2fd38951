"""Building: tasks with all that they require, each once, and a summary of what became of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from braid_hpc.run.handles import Record
from braid_hpc.tasks.classes import INPUTS, arguments_of, in_form_of, inputs_of, task_of
from braid_hpc.tasks.identity import ParameterMissing
from braid_hpc.tasks.recording import record_missing
from braid_hpc.tasks.task import _open_run
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["BuildStatus", "Built", "Step", "build", "run_alone", "run_required"]


class BuildStatus(StrEnum):
    """What became of a task that was to be built."""

    DONE = "done"
    SKIPPED = "skipped"
    """It was done before."""
    FAILED = "failed"
    EXITED = "exited"
    INTERRUPTED = "interrupted"
    """The process that ran it has ended, or one of the same pool."""
    MISSING = "dependency missing"
    """Something that it requires was not made."""
    NOT_RUN = "not run"
    """There was nobody left to run it."""

    @property
    def good(self) -> bool:
        """Whether its result is there."""
        return self in (BuildStatus.DONE, BuildStatus.SKIPPED)


@dataclass(slots=True)
class Step:
    """One task of a build.

    Attributes
    ----------
    call : object
        The instance.
    status : BuildStatus
        What became of it.
    seconds : float
        How long it took, with what is recorded of it.
    error : str
        Type and message of what it raised, or what is missing.
    result : object
        What it returned.
    record : Record or None
        Its result in the log.
    """

    call: Any
    status: BuildStatus = BuildStatus.NOT_RUN
    seconds: float = 0.0
    error: str = ""
    result: Any = None
    record: Record | None = None
    _raised: BaseException | None = field(default=None, repr=False)


class Built(Sequence[Step]):
    """What :func:`build` did: each step once, in an order in which what is required comes first."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def __len__(self) -> int:
        """How many tasks there were."""
        return len(self._steps)

    def __getitem__(self, at: Any) -> Any:
        """Return a step."""
        return self._steps[at]

    @property
    def ok(self) -> bool:
        """Whether all results are there."""
        return all(step.status.good for step in self._steps)

    @property
    def exit_code(self) -> int:
        """For :func:`sys.exit`: 0 if all results are there, else 1."""
        return 0 if self.ok else 1

    def counts(self) -> dict[str, int]:
        """Return how many tasks came to which end.

        Returns
        -------
        dict of str to int
            Words that nothing came to are left out.
        """
        counted = Counter(step.status for step in self._steps)
        return {str(status): counted[status] for status in BuildStatus if counted[status]}

    def __str__(self) -> str:
        """Return a table, a line for each task that was not made, and one for each kind of the others."""
        good: Counter[tuple[str, str]] = Counter()
        lines = []
        for step in self._steps:
            if step.status.good:
                good[step.status, task_of(step.call).name] += 1
            else:
                lines.append(f"{step.status:<18}  {step.call!r}: {step.error}")
        table = [f"{status:<18}  {count} of {name}" for (status, name), count in good.items()]
        return "\n".join([f"{len(self._steps)} tasks: {_joined(self.counts())}", *table, *lines])


def _joined(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing to do"


def build(tasks: Any, *, workers: Any = 1) -> Built:
    """Run tasks, and all that they require first; each once, and none whose result is on record.

    One that fails holds up only what requires it.

    Parameters
    ----------
    tasks : object or iterable of object
        Instances of classes that are tasks.
    workers : int or Executor
        How many processes share the work, or a pool such as ``mpi4py.futures.MPIPoolExecutor``, whose workers do it.

    Returns
    -------
    Built
        What became of each.

    Raises
    ------
    InvalidInputError
        Before anything runs: if something is no task, or requires itself.

    Examples
    --------
    >>> from braid_hpc import task
    >>> @task(version="1", name="doubled")
    ... class Doubled:
    ...     x: int
    ...
    ...     def run(self):
    ...         return 2 * self.x
    >>> build([]).exit_code
    0
    """
    if not hasattr(workers, "submit") and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InvalidInputError(f"workers= is a number of processes or a pool, not {workers!r}")
    if task_of(tasks) is tasks and not isinstance(tasks, Iterable):
        raise InvalidInputError(f"build(...) takes tasks such as Fit(seed=3), not {tasks!r}")
    wanted = [tasks] if task_of(tasks) is not tasks else list(tasks)
    graph = _Graph(wanted)
    run = _open_run("build")
    with _pool(workers, len(graph.order)) as pool, run.activity("build", params={"tasks": len(graph.order)}):
        if pool is None:
            for name in graph.order:
                graph.perform(name)
        else:
            _share(graph, pool)
    return Built([graph.steps[name] for name in graph.order])


def run_alone(instance: Any) -> Any:
    """Run a task in this process, and what it requires first.

    Parameters
    ----------
    instance : object
        Of a class that is a task.

    Returns
    -------
    object
        Its result.

    Raises
    ------
    BaseException
        Whatever it raises, or what it requires.
    """
    graph = _Graph([instance])
    for name in graph.order:
        step = graph.perform(name)
        if step._raised is not None:
            raise step._raised
    return graph.steps[graph.order[-1]].result


def run_required(instance: Any) -> Any:
    """Run what a task requires.

    Parameters
    ----------
    instance : object
        Of a class that is a task.

    Returns
    -------
    object
        The results, in the form in which it names them.

    Raises
    ------
    BaseException
        Whatever one of them raises.
    """
    return inputs_of(instance, run_alone)


#: What tells a call from others before the results of what it requires are known.
_Name = Any


class _Graph:
    """What is to be built: each call once, after those that it requires."""

    def __init__(self, wanted: Iterable[Any]) -> None:
        self.steps: dict[_Name, Step] = {}
        self.order: list[_Name] = []
        self.needs: dict[_Name, dict[_Name, None]] = {}
        self._names: dict[int, _Name] = {}
        self._required: dict[_Name, Any] = {}
        for each in wanted:
            self._add(each)

    def _add(self, wanted: Any) -> _Name:
        """Add a call; what it requires is looked at on a stack, because chains may be long."""
        first = self._name(wanted)
        open_calls: dict[_Name, None] = {}
        stack: list[tuple[_Name, Iterator[_Name] | None]] = [(first, None)]
        while stack:
            name, rest = stack.pop()
            if rest is None:
                if name in self.needs and name not in open_calls:
                    continue
                if name in open_calls:
                    chain = [task_of(self.steps[each].call).name for each in [*open_calls, name]]
                    raise InvalidInputError(f"task {chain[-1]} requires itself: {' -> '.join(chain)}")
                open_calls[name] = None
                self.needs[name] = self._needs(name)
                rest = iter(self.needs[name])
            following = next(rest, None)
            if following is None:
                del open_calls[name]
                self.order.append(name)
                continue
            stack.append((name, rest))
            stack.append((following, None))
        return first

    def _needs(self, name: _Name) -> dict[_Name, None]:
        found: dict[_Name, None] = {}

        def note(each: Any) -> _Name:
            its = self._name(each)
            found[its] = None
            return _Place(its)

        self._required[name] = inputs_of(self.steps[name].call, note)
        return found

    def _name(self, call: Any) -> _Name:
        task = task_of(call)
        if task is call or isinstance(call, type):
            raise InvalidInputError(f"build(...) takes tasks such as Fit(seed=3), not {call!r}")
        try:
            name: _Name = task._bind((), arguments_of(call)).key
        except ParameterMissing:
            # A file is not there yet: what requires another task may find it.
            name = (task.name, repr(call))
        self.steps.setdefault(name, Step(call))
        return name

    def inputs(self, name: _Name) -> Any:
        """Return the results of what a call requires."""
        return _filled(self._required[name], self.steps)

    def missing(self, name: _Name) -> Step | None:
        """Return what a call requires and was not made."""
        return next((step for each in self.needs[name] if not (step := self.steps[each]).status.good), None)

    def give_up(self, name: _Name, missing: Step) -> None:
        """Note that a call cannot be made."""
        step = self.steps[name]
        step.status, step.error = BuildStatus.MISSING, f"{missing.call!r} is {missing.status}"
        task = task_of(step.call)
        if run := _open_run(task.name):
            record_missing(run, task.identity, f"it requires {step.error}")

    def uses(self, name: _Name) -> list[Record]:
        """Return the results that a call is given, as records."""
        return [record for each in self.needs[name] if (record := self.steps[each].record)]

    def perform(self, name: _Name) -> Step:
        """Make a call here, unless something is missing."""
        step = self.steps[name]
        if (missing := self.missing(name)) is not None:
            self.give_up(name, missing)
        else:
            self.take(name, _perform(step.call, self.inputs(name), self.uses(name)))
        return self.steps[name]

    def take(self, name: _Name, done: Step) -> None:
        """Take note of what became of a call."""
        done.call = self.steps[name].call
        self.steps[name] = done


@dataclass(frozen=True, slots=True)
class _Place:
    """Stands for a result in what a call requires."""

    name: _Name


def _filled(form: Any, steps: dict[_Name, Step]) -> Any:
    if isinstance(form, _Place):
        return steps[form.name].result
    if isinstance(form, dict):
        return {name: _filled(each, steps) for name, each in form.items()}
    if isinstance(form, (list, tuple)):
        return in_form_of(form, [_filled(each, steps) for each in form])
    return form


def _perform(call: Any, inputs: Any, uses: list[Record]) -> Step:
    """Make a call, in whichever process this is."""
    task = task_of(call)
    given = {INPUTS: inputs} if INPUTS in task.identity.signature.parameters else {}
    step = Step(call)
    began = time.monotonic()
    try:
        step.result, step.record, skipped = task._outcome((), {**arguments_of(call), **given}, uses=uses)
        step.status = BuildStatus.SKIPPED if skipped else BuildStatus.DONE
    except (Exception, SystemExit) as error:
        step.status = BuildStatus.EXITED if isinstance(error, SystemExit) else BuildStatus.FAILED
        step.error = f"{type(error).__name__}: {error}"
        step._raised = error
    step.seconds = time.monotonic() - began
    return step


def _perform_elsewhere(call: Any, inputs: Any, uses: list[Record]) -> Step:
    """Make a call in a worker: what it raised may be of no kind that travels, so its text does."""
    step = _perform(call, inputs, uses)
    step._raised = step.call = None
    return step


@contextmanager
def _pool(workers: Any, count: int) -> Iterator[Any]:
    if hasattr(workers, "submit"):
        yield workers
    elif workers == 1 or count < 2:
        yield None
    else:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        # What runs here was defined here: a child that is forked has it, and a log of its own.
        with ProcessPoolExecutor(min(workers, count), mp_context=multiprocessing.get_context("fork")) as pool:
            yield pool


def _share(graph: _Graph, pool: Any) -> None:
    waiting = list(graph.order)
    at_work: dict[Future[Step], _Name] = {}
    broken = False
    while waiting or at_work:
        later = []
        for name in waiting:
            unsettled = any(each in at_work.values() or each in later for each in graph.needs[name])
            if unsettled:
                later.append(name)
            elif (missing := graph.missing(name)) is not None:
                graph.give_up(name, missing)
            elif broken:
                graph.steps[name].error = "its pool has ended"
            else:
                try:
                    future = pool.submit(
                        _perform_elsewhere, graph.steps[name].call, graph.inputs(name), graph.uses(name)
                    )
                    at_work[future] = name
                except BrokenExecutor:
                    broken = True
                    graph.steps[name].error = "its pool has ended"
        waiting = later
        for future in wait(at_work, return_when=FIRST_COMPLETED).done:
            name = at_work.pop(future)
            step = graph.steps[name]
            try:
                graph.take(name, future.result())
            except BrokenExecutor:
                broken = True
                step.status, step.error = BuildStatus.INTERRUPTED, "a process of its pool has ended"
            except Exception as error:
                # It does not travel: the call itself, or its result.
                step.status, step.error = BuildStatus.FAILED, f"{type(error).__name__}: {error}"
