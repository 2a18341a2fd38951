"""The ways in: a decorated ``main()``, a ``with`` block, or one line in a flat script."""

from __future__ import annotations

import atexit
import functools
import os
import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from braid_hpc.run.activities import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from braid_hpc.run.calls import announce
from braid_hpc.run.ending import how_it_ended, watch_ending
from braid_hpc.run.guard import disabled, named, passes, tell
from braid_hpc.run.null import NullRun
from braid_hpc.vocabulary.codes import Outcome
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from braid_hpc.run.recorder import Run

__all__ = ["current_run", "job", "start"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_RUNS: list[Run] = []
_NULL = NullRun()

#: How many runs of each name this process has begun: ranks find each other by it, also where one of them ran more.
_opened: dict[str, int] = {}
#: This process, if it is a worker of multiprocessing that has opened a run, and those that it was forked from.
_workers: set[int] = set()


def current_run() -> Run:
    """Return the run that is open in this process.

    Returns
    -------
    Run
        The one opened last. Outside of all runs a null run, which is false and whose calls do nothing.
    """
    return _RUNS[-1] if _RUNS else _NULL


def _open_run(name: str, log_dir: Any, store: Any) -> Run:
    if disabled():
        return _NULL
    try:
        from braid_hpc.run.children import is_worker
        from braid_hpc.run.recorder import Run

        run = Run(name, log_dir=log_dir, store=store, ordinal=_opened.get(name, 0))
    except Exception as error:
        if passes(error):
            raise
        reason = str(error) if isinstance(error, BraidError) else f"{type(error).__name__}: {error}"
        tell(f"job {name!r} is not recorded on this rank: {reason}")
        return _NULL
    if not _opened:
        atexit.register(_at_exit)
    if is_worker() and os.getpid() not in _workers:
        from multiprocessing.util import Finalize

        # Most workers end by os._exit, which runs nothing else.
        _workers.add(os.getpid())
        Finalize(None, _at_end_of_worker, exitpriority=0)
    _opened[name] = _opened.get(name, 0) + 1
    _RUNS.append(run)
    run._when_closed = _forget
    announce(run)
    return run


def _forget(run: Run) -> None:
    if run in _RUNS:
        _RUNS.remove(run)
    announce(_RUNS[-1] if _RUNS else None)


def _close_run(run: Run, error: BaseException | None, outcome: Outcome | None = None) -> None:
    try:
        run.close(error, outcome)
    except Exception as failed:
        if passes(failed):
            raise
        tell(f"the end of job {run.name!r} could not be recorded ({type(failed).__name__}: {failed})")


def _at_exit() -> None:
    error = how_it_ended()
    for run in reversed(_RUNS[:]):
        _close_run(run, error, None if error is not None else Outcome.OK)


def _at_end_of_worker() -> None:
    # What ended the worker's function is still on its way.
    error = sys.exc_info()[1]
    for run in reversed(_RUNS[:]):
        _close_run(run, error, None if error is not None else Outcome.OK)


def start(name: str, *, log_dir: Any = None, store: Any = None, comm: Any = None) -> Run:
    """Begin a run in a flat script; it ends when the interpreter does.

    An exception that ends the script and the code given to ``sys.exit`` are recorded with the end. A ``raise
    SystemExit(...)`` does not tell its code: such a run counts as exited, whatever the code was.

    Parameters
    ----------
    name : str
        Name of the job.
    log_dir : path-like, optional
        Where rank logs are written; without it ``BRAID_LOG_DIR``, a node-local directory of the site, or the
        temporary directory.
    store : path-like, optional
        Written into the log as the default of ``braid compact``; no rank opens it.
    comm : communicator, optional
        Accepted so that a program may say which ranks belong together; no call is made on it.

    Returns
    -------
    Run
        A null run if nothing can be recorded (the reason is told on the error output) or under ``BRAID_DISABLE=1``.

    Raises
    ------
    StorageError
        Only under ``BRAID_STRICT=1``: if the log cannot be written.
    """
    run = _open_run(named(name), log_dir, store)
    if run:
        watch_ending()
    return run


class job:
    """Record a program: as a decorator of its ``main()``, or around a block.

    Parameters
    ----------
    name : str or callable, optional
        Name of the job; without it the name of the decorated function.
    log_dir, store, comm
        As for :func:`start`.
    files : str or mapping, optional
        ``"auto"``: every file that the program opens is recorded, see
        :class:`braid_hpc.collectors.files.FileCollector`; a mapping is what is given to it: ``include``, ``exclude``.

    Examples
    --------
    >>> import tempfile
    >>> with job("fit", log_dir=tempfile.mkdtemp()) as run:
    ...     config = run.fact("config", {"steps": 3})
    >>> config.kind
    'fact'
    """

    def __init__(
        self, name: Any = None, *, log_dir: Any = None, store: Any = None, comm: Any = None, files: Any = None
    ) -> None:
        self._function = name if callable(name) else None
        self._name: str | None = None if callable(name) or name is None else named(name)
        self._about = {"log_dir": log_dir, "store": store, "files": files}
        self._runs: list[tuple[Run, Any]] = []
        if self._function is not None:
            functools.update_wrapper(self, self._function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Decorate a function, or call the one that was decorated without parentheses.

        Raises
        ------
        TypeError
            If it is called with anything but one function to decorate.
        """
        if self._function is not None:
            with job(self._name or self._function.__name__, **self._about):
                return self._function(*args, **kwargs)
        if len(args) != 1 or kwargs or not callable(args[0]):
            raise TypeError("braid.job(...) decorates a function, or stands in a with statement")
        return self._decorate(args[0])

    def _decorate(self, function: Callable[_P, _T]) -> Any:
        if disabled():
            return function
        name = self._name or str(getattr(function, "__name__", type(function).__name__))
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & CO_COROUTINE:
            return self._decorate_coroutine(function, name)
        if flags & (CO_GENERATOR | CO_ASYNC_GENERATOR):
            return self._decorate_generator(function, name, asynchronous=bool(flags & CO_ASYNC_GENERATOR))

        @functools.wraps(function)
        def recorded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with job(name, **self._about):
                return function(*args, **kwargs)

        return recorded

    def _decorate_coroutine(self, function: Any, name: str) -> Any:
        """Keep the run open until the coroutine has been awaited to its end."""

        @functools.wraps(function)
        async def recorded(*args: Any, **kwargs: Any) -> Any:
            with job(name, **self._about):
                return await function(*args, **kwargs)

        return recorded

    def _decorate_generator(self, function: Any, name: str, *, asynchronous: bool) -> Any:
        """Begin the run with the first step of the generator, and keep it open until its last one."""
        if asynchronous:
            from braid_hpc.run.resumed import within

            @functools.wraps(function)
            def recorded(*args: Any, **kwargs: Any) -> Any:
                block = job(name, **self._about)
                return within(block, lambda: function(*args, **kwargs))

        else:

            @functools.wraps(function)
            def recorded(*args: Any, **kwargs: Any) -> Any:
                with job(name, **self._about):
                    return (yield from function(*args, **kwargs))

        return recorded

    def __enter__(self) -> Run:
        """Begin the run and return it."""
        run = _open_run(self._name or "job", self._about["log_dir"], self._about["store"])
        self._runs.append((run, _watch_files(run, self._about["files"])))
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how the run ended; an exception goes on unchanged."""
        run, files = self._runs.pop()
        if files is not None:
            files.close()
        _close_run(run, error)


def _watch_files(run: Run, files: Any) -> Any:
    if not run or files is None:
        return None
    try:
        if files != "auto" and not hasattr(files, "keys"):
            raise InvalidInputError(f"files= is 'auto' or a mapping, not {files!r}")
        from braid_hpc.collectors.files import FileCollector

        return FileCollector(run, **({} if files == "auto" else files))
    except Exception as error:
        if passes(error):
            raise
        tell(f"files of job {run.name!r} are not recorded: {type(error).__name__}: {error}")
        return None
