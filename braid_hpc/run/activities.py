"""Activities: something that ran, as a block or as a decorated function."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from braid_hpc.log.choice import compiled_module
from braid_hpc.run.guard import disabled, recording
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.codes import Code, Outcome
from braid_hpc.vocabulary.redaction import REDACTED, is_secret_argument, redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from braid_hpc.run.calls import About
    from braid_hpc.run.doing import Doing

__all__ = [
    "Activity",
    "activity",
    "activity_of",
    "carry",
    "current_activity",
    "innermost",
    "when_one_ended",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: The activity that was entered last in this context, or a call that was carried into it.
_CURRENT: ContextVar[Any] = ContextVar("braid_activity", default=None)

#: The calls of decorated functions that run in this context (:class:`braid_hpc.run.calls.CallStack`). They are not
#: entered in the variable above, because setting one takes longer than recording a call is allowed to take.
_CALLS: ContextVar[Any] = ContextVar("braid_calls", default=None)

#: What is told of activities that have ended.
_TOLD: list[Callable[[Any], None]] = []

#: Flags of a code object, by :mod:`inspect`, which is slow to import.
CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR = 0x20, 0x80, 0x200

#: Texts longer than this are described by their length.
SHORT_TEXT = 256


def current_activity() -> Activity | None:
    """Return the innermost activity that is open in this context.

    Returns
    -------
    Activity or None
        None outside of all of them.
    """
    found = innermost()
    # What it mostly is: who writes down every message asks each time.
    return found if found is None or (found.__class__ is Activity and found.open) else activity_of(found)


def innermost() -> Any:
    """Return what was entered last in this context.

    Returns
    -------
    Activity, Call or None
        A call of a decorated function if it runs and nothing was entered since it began.
    """
    found, stack = _CURRENT.get(), _CALLS.get()
    if stack is not None and (top := stack.top) is not None and top._entry is found:
        return top
    return found


def activity_of(found: Any) -> Activity | None:
    """Return the activity that something recorded now belongs to.

    Parameters
    ----------
    found : Activity, Call or None
        What was entered last. If that is a call, its beginning is recorded, because something else is going to be.

    Returns
    -------
    Activity or None
        It, or the innermost one around it that is open.
    """
    found = _still_open(found)
    return found if found is None or isinstance(found, Activity) else found.run._begin_call(found)


def _still_open(found: Any) -> Any:
    # One may have ended out of order: a generator that entered it was resumed inside of a later one.
    while found is not None and not found.open:
        found = found._outer
    return found


def when_one_ended(told: Callable[[Activity], None]) -> Callable[[], None]:
    """Have a callable told of each activity that has ended, in the thread that ended it.

    Parameters
    ----------
    told : callable
        Is given the activity when its end is recorded. It must not raise. Calls of decorated functions of which
        nothing but one row tells are no activities to it.

    Returns
    -------
    callable
        Ends that.
    """
    _TOLD.append(told)

    def forget() -> None:
        if told in _TOLD:
            _TOLD.remove(told)

    return forget


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
    mark : int
        Sequence of the last row before it began, or of that row itself.
    """

    __slots__ = ("_outer", "mark", "name", "open", "run", "sequence", "writer")

    def __init__(self, run: Doing, name: str, writer: bytes, sequence: int) -> None:
        self.run = run
        self.name = name
        self.writer = writer
        self.sequence = self.mark = sequence
        self.open = True
        self._outer: Any = None

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        return self.run._refused(f"activity {self.name!r}: {call}", error, given)

    def __enter__(self) -> Activity:
        """Make it the innermost activity of this context."""
        self._outer = current_activity()
        _CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how it ended; the exception, if there is one, goes on unchanged."""
        self.end(error=error)
        if _CURRENT.get() is self:
            _CURRENT.set(_still_open(self._outer))

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
            for told in _TOLD[:]:
                told(self)

    @recording
    def _end_call(self, result: Any) -> None:
        """End the activity of a decorated function that returned."""
        self.end(result=describe_result(self.name, result), generated=self.run._generated(self, result))

    def record(self, kind: str, name: str, **about: Any) -> Record:
        """Declare a record that this activity generated; see :meth:`braid_hpc.Run.record`."""
        return self.run._declare(kind, name, about, activity=self)

    def data(self, name: str, **about: Any) -> Record:
        """Declare data that this activity generated; see :meth:`braid_hpc.Run.record`."""
        return self.run._declare("data", name, about, activity=self)

    def model(self, name: str, *, state: Any = None, keep: bool | None = None, **about: Any) -> Record:
        """Declare a version of a model that this activity generated; see :meth:`braid_hpc.Run.model`."""
        return self.run._store_model(name, state, keep, about, activity=self)

    @recording
    def input(self, path: Any, /, **about: Any) -> Record:
        """Declare a file that this activity used; see :meth:`braid_hpc.Run.input`."""
        return self.run._input(path, self, **about)  # type: ignore[attr-defined, no-any-return]

    @recording
    def output(self, path: Any, /, **about: Any) -> Record:
        """Declare a file that this activity generated; see :meth:`braid_hpc.Run.output`."""
        return self.run._output(path, self, **about)  # type: ignore[attr-defined, no-any-return]

    def array(self, name: str, array: Any, *, kind: str = "data", **about: Any) -> Record:
        """Store an array that this activity generated; see :meth:`braid_hpc.Run.array`."""
        return self.run._store_array(kind, name, array, about, activity=self)


@overload
def activity(function: Callable[_P, _T], /) -> Callable[_P, _T]: ...


@overload
def activity(name: str | None = None, /) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]: ...


def activity(target: Any = None, /) -> Any:
    """Record each call of a function as an activity.

    Scalars and short texts among the arguments are recorded by value, arrays by dtype and shape, anything else by
    type. An argument that is a record handle, or an object that an earlier activity returned or a record was made
    for, is recorded as used; what the function returns is recorded as generated. Both are looked for in lists, tuples,
    dicts and dataclasses too, of up to 64 elements and three deep. Exceptions are recorded and pass unchanged. The
    activity of a generator lasts until it is exhausted or closed, that of a coroutine until it is awaited to its end.

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
        return _decorate(target, _name_of(target))
    return lambda function: _decorate(function, str(target) if target else _name_of(function))


def _name_of(function: Any) -> str:
    """Return what a callable is called; partial functions and callable objects go by their type."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _decorate(function: Callable[_P, _T], name: str) -> Any:
    if disabled():
        return function
    qualified = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', name)}"
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    flags = code.co_flags if code is not None else 0
    from braid_hpc.run.calls import About, recorded

    if flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR):
        about = About(name, qualified, names, b"")
        return (_decorate_coroutine if flags & CO_COROUTINE else _decorate_generator)(function, about)
    from braid_hpc.run.job import _RUNS
    from braid_hpc.vocabulary.encoding import encode
    from braid_hpc.vocabulary.payloads import Called

    about = About(name, qualified, names, encode(Called(function=qualified)))
    if (compiled := compiled_module()) is None:
        return recorded(function, about, _RUNS, (_CURRENT.get, _CALLS.get, _CALLS.set))
    compiled.set_up(_CURRENT.get, _CALLS.get, _CALLS.set, end_call)
    return functools.update_wrapper(compiled.Function(function, about, name, about.payload), function)


def end_call(call: Any, error: BaseException | None, result: Any) -> None:
    """Record the end of a call of a decorated function that is not plain.

    Parameters
    ----------
    call : Call
        Which one; still on its stack.
    error : BaseException or None
        What it raised.
    result : object
        What it returned.
    """
    try:
        call.run._end_call(call, error, result)
    finally:
        # Something that was entered within the call and not left stays what was entered last.
        if (found := _CURRENT.get()) is not call._entry:
            _CURRENT.set(_still_open(found))


def _decorate_coroutine(function: Any, about: About) -> Any:
    from braid_hpc.run.job import current_run

    @functools.wraps(function)
    async def recorded(*args: Any, **kwargs: Any) -> Any:
        run = current_run()
        if not run:
            return await function(*args, **kwargs)
        with run._begin_at_once(about, args, kwargs) as act:
            result = await function(*args, **kwargs)
            act._end_call(result)
        return result

    return recorded


def _decorate_generator(function: Any, about: About) -> Any:
    from braid_hpc.run.job import current_run

    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        run = current_run()
        if not run:
            return function(*args, **kwargs)
        made, act = function(*args, **kwargs), run._begin_at_once(about, args, kwargs)
        if hasattr(made, "asend"):
            from braid_hpc.run.resumed import RecordedAsyncGenerator

            return RecordedAsyncGenerator(made, act)
        return RecordedGenerator(made, act)

    return recorded


class RecordedGenerator(Generator[Any, Any, Any]):
    """A generator whose activity lasts until it is exhausted or closed, and is entered only while its body runs.

    Parameters
    ----------
    generator : generator
        What does the work.
    act : Activity
        Begun, and not entered.
    """

    def __init__(self, generator: Generator[Any, Any, Any], act: Activity) -> None:
        self._generator = generator
        self._activity = act

    def send(self, value: Any) -> Any:
        """Resume the body with a value; see :meth:`generator.send`."""
        return self._resume(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        """Resume the body with an exception; see :meth:`generator.throw`."""
        return self._resume(self._generator.throw, *error)

    def __del__(self) -> None:
        """Close the body, as happens to a plain generator that nobody holds any more."""
        self.close()

    def _resume(self, resume: Any, *values: Any) -> Any:
        act, outer = self._activity, _CURRENT.get()
        act._outer = _still_open(innermost())
        _CURRENT.set(act)
        try:
            return resume(*values)
        except StopIteration as stop:
            act._end_call(stop.value)
            raise
        except BaseException as error:
            act.end(error=error)
            raise
        finally:
            _CURRENT.set(outer)


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


def describe_result(name: str, value: Any) -> Any:
    """Return what is kept of what a function returned.

    Parameters
    ----------
    name : str
        Of the function.
    value : object
        As for :func:`describe_value`.

    Returns
    -------
    object
        As from there; a text that comes from something that sounds secret is redacted.
    """
    return REDACTED if type(value) in (str, bytes) and is_secret_argument(name) else describe_value(value)


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
    present = innermost()

    def carried(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        def enter() -> _T:
            _CURRENT.set(present)
            return function(*args, **kwargs)

        return copy_context().run(enter)

    with contextlib.suppress(Exception):
        # A callable may have a name, or raise where it is asked for one.
        functools.update_wrapper(carried, function)
    return carried


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
        Type and message, redacted, at most 500 characters.
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return Outcome.OK, None
    try:
        message = str(error)
    except Exception as second:
        message = f"<its text raises {type(second).__name__}>"
    # Redacted before it is cut: of a secret that was cut nobody can tell that it is one.
    text = redact(f"{type(error).__name__}: {message[:10_000]}")[:500]
    if isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        return Outcome.EXITED, text
    return Outcome.FAILED, text
