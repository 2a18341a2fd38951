"""Activities: something that ran, as a block or as a decorated function."""

from __future__ import annotations

import functools
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from braid_hpc.run.guard import disabled, recording
from braid_hpc.run.handles import RECORDS, Record, record_of
from braid_hpc.vocabulary.codes import Code, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from braid_hpc.run.recorder import Run

__all__ = ["Activity", "activity", "carry", "current_activity"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CURRENT: ContextVar[Activity | None] = ContextVar("braid_activity", default=None)

#: Texts longer than this are described by their length.
SHORT_TEXT = 256


def current_activity() -> Activity | None:
    """Return the innermost activity that is open in this context.

    Returns
    -------
    Activity or None
        None outside of all of them.
    """
    return _CURRENT.get()


class Activity:
    """Something that runs; made by :meth:`braid_hpc.Run.activity`, ended by leaving its ``with`` block.

    Attributes
    ----------
    name : str
        What it is called.
    writer : bytes
        The writer that began it, 16 bytes.
    sequence : int
        Sequence of its BEGIN row; 0 if that was lost.
    """

    __slots__ = ("_token", "name", "open", "run", "sequence", "writer")

    def __init__(self, run: Run, name: str, writer: bytes, sequence: int) -> None:
        self.run = run
        self.name = name
        self.writer = writer
        self.sequence = sequence
        self.open = True
        self._token: Any = None

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        return self.run._refused(f"activity {self.name!r}: {call}", error, given)

    def __enter__(self) -> Activity:
        """Make it the innermost activity of this context."""
        self._token = _CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how it ended; the exception, if there is one, goes on unchanged."""
        if self._token is not None:
            try:
                _CURRENT.reset(self._token)
            except ValueError:
                # Entered in one context and left in another (a generator did that): there is nothing to restore.
                _CURRENT.set(None)
        self.end(error=error)

    @recording
    def use(self, *things: Any) -> None:
        """Record that the activity used records after it began.

        Parameters
        ----------
        *things : Record, str, or list of these
            Handles or references.
        """
        self.run._link(Code.USE, self, things)

    @recording
    def end(self, *, error: BaseException | None = None, result: Any = None, generated: Any = ()) -> None:
        """Record the end; called by leaving the ``with`` block, and harmless a second time.

        Parameters
        ----------
        error : BaseException, optional
            What ended it.
        result : object, optional
            A scalar or short description.
        generated : list of Record
            Records it generated that were not declared inside it.
        """
        if self.open:
            self.open = False
            self.run._end_activity(self, error, result, generated)

    def record(self, kind: str, name: str, **about: Any) -> Record:
        """Declare a record that this activity generated; see :meth:`braid_hpc.Run.record`."""
        return self.run._declare(kind, name, about, activity=self)

    def data(self, name: str, **about: Any) -> Record:
        """Declare data that this activity generated; see :meth:`braid_hpc.Run.record`."""
        return self.run._declare("data", name, about, activity=self)

    def model(self, name: str, **about: Any) -> Record:
        """Declare a model state that this activity generated; see :meth:`braid_hpc.Run.record`."""
        return self.run._declare("model", name, about, activity=self)


@overload
def activity(function: Callable[_P, _T], /) -> Callable[_P, _T]: ...


@overload
def activity(name: str | None = None, /) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]: ...


def activity(target: Any = None, /) -> Any:
    """Record each call of a function as an activity.

    Scalars and short texts among the arguments are recorded by value, arrays by dtype and shape, anything else by
    type. An argument that is a record handle, or an object that an earlier activity returned or a record was made
    for, is recorded as used; what the function returns is recorded as generated. Exceptions are recorded and pass
    unchanged.

    Parameters
    ----------
    target : callable or str
        The function (``@activity``), or the activity's name (``@activity("name")``).

    Returns
    -------
    callable
        The function, wrapped; under ``BRAID_DISABLE=1`` the function itself.

    Examples
    --------
    >>> @activity
    ... def reduce(frame, threshold=40):
    ...     return frame
    >>> reduce("frame")
    'frame'
    """
    if callable(target):
        return _decorate(target, target.__qualname__)
    return lambda function: _decorate(function, target or function.__qualname__)


def _decorate(function: Callable[_P, _T], name: str) -> Callable[_P, _T]:
    if disabled():
        return function
    from braid_hpc.run.job import current_run

    qualified = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', name)}"
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()

    @functools.wraps(function)
    def recorded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        run = current_run()
        if not run:
            return function(*args, **kwargs)
        about = run._describe_call(names, args, kwargs)
        with run._begin(name, about[0], about[1], qualified) as act:
            result = function(*args, **kwargs)
            act.end(result=describe_value(result), generated=run._generated(act, result))
        return result

    return recorded


def describe_value(value: Any) -> Any:
    """Return what is kept of an argument or a result.

    Parameters
    ----------
    value : object
        Anything; nothing of it is called or converted beyond reading ``dtype`` and ``shape``.

    Returns
    -------
    object
        Scalars and short texts as they are; a description in angle brackets otherwise.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value if len(value) <= SHORT_TEXT else f"<text of {len(value)} characters>"
    if isinstance(value, Record):
        return f"<{value.kind}:{value.name}>"
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is not None and isinstance(shape, tuple):
        if shape == () and hasattr(value, "item"):
            return value.item()
        return f"<array {dtype} {'x'.join(map(str, shape))}>"
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def results_of(result: Any) -> list[tuple[str, Any]]:
    """Return the parts of a returned value that a record can stand for, with a suffix for their names.

    Parameters
    ----------
    result : object
        What a function returned.

    Returns
    -------
    list of (str, object)
        The value itself, or the elements of a tuple; scalars, texts and None are left out.
    """
    parts = [(f"[{index}]", part) for index, part in enumerate(result)] if isinstance(result, tuple) else [("", result)]
    return [(suffix, part) for suffix, part in parts if not isinstance(part, (type(None), bool, int, float, str, bytes))]


def used_by(values: Any) -> list[Record]:
    """Return the records that arguments stand for.

    Parameters
    ----------
    values : iterable
        Arguments; lists and tuples are looked into once.

    Returns
    -------
    list of Record
        Each once, in order.
    """
    found: dict[Record, None] = {}
    for value in values:
        for each in value if isinstance(value, (list, tuple)) and len(value) <= 64 else (value,):
            record = record_of(each)
            if record is not None:
                found[record] = None
    return list(found)


def remember_result(thing: Any, record: Record) -> bool:
    """Note that an object in memory is what a record declares; see :meth:`RecordMap.remember`."""
    return RECORDS.remember(thing, record)


def carry(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Take the present activity along into a thread of a pool.

    Parameters
    ----------
    function : callable
        What the other thread will call.

    Returns
    -------
    callable
        The same, run in a copy of this context; it may be called many times and at once.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(pool.map(carry(abs), [-1, 2]))
    [1, 2]
    """
    present = _CURRENT.get()

    @functools.wraps(function)
    def carried(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        def enter() -> _T:
            _CURRENT.set(present)
            return function(*args, **kwargs)

        return copy_context().run(enter)

    return carried


#: How an exception ends an activity or a run.
def outcome_of(error: BaseException | None) -> tuple[Outcome, str | None]:
    """Return the outcome that an exception means, and the text that is kept of it.

    Parameters
    ----------
    error : BaseException or None
        What passed through.

    Returns
    -------
    outcome : Outcome
        OK without one, and for ``sys.exit()`` with 0 or nothing.
    text : str or None
        Type and message, at most 500 characters.
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return Outcome.OK, None
    try:
        message = str(error)
    except Exception as second:
        message = f"<its text raises {type(second).__name__}>"
    text = f"{type(error).__name__}: {message}"[:500]
    if isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        return Outcome.EXITED, text
    return Outcome.FAILED, text
