"""Calls of decorated functions: one row each, unless something is recorded in them or they last.

A call that returns soon, and in which nothing else was recorded, is one row (CALL), stored when it returns. Until
then it is *pending*: no row tells of it. Whatever is recorded inside makes its beginning a row first (BEGIN), and so
does the background thread with calls that last, so that a log says what was running when its process was killed.
Then the end is a row of its own (END).

:func:`recorded` is the twin in Python of ``Function`` in ``kernels/_tail.c``, which stores the row of a plain call
without leaving the compiled code. Everything that is not plain is left to :meth:`braid_hpc.run.doing.Doing._end_call`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct
import weakref
from _thread import get_ident
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

from braid_hpc.log.choice import compiled_module
from braid_hpc.log.interrupts import from_handler
from braid_hpc.log.layout import PAGE, ROW_BYTES
from braid_hpc.log.tail import MappedTail
from braid_hpc.vocabulary.codes import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.run.recorder import Run

__all__ = ["BEGUN", "ENDED", "WANTED", "About", "Call", "announce", "begin_long_calls", "recorded"]

#: States of a call, after PENDING (0). One that is wanted gets a row of its beginning before that of its end.
BEGUN, ENDED, WANTED = 1, 2, 3

#: The background thread looks about every second, and records the beginning of calls that have lasted this long (ns).
LONG_NS = 500_000_000

_HALF = 0xFFFFFFFF00000000

#: A row of a call outside of all activities, in which `subject`, `other` and `flags` are 0.
_PLAIN = struct.Struct("<q8xQI4xH2xIII8x")

#: The stacks of calls of all contexts, by their number in memory.
_stacks: dict[int, weakref.ref[CallStack]] = {}

_watching_forks = False


class About:
    """What is known of a decorated function.

    Attributes
    ----------
    name : str
        Of its activities.
    qualified : str
        Module and qualified name.
    names : tuple of str
        Of its positional arguments.
    payload : bytes
        Of the row of a call without arguments that returned None.
    """

    __slots__ = ("name", "names", "payload", "qualified")

    def __init__(self, name: str, qualified: str, names: tuple[str, ...], payload: bytes) -> None:
        self.name = name
        self.qualified = qualified
        self.names = names
        self.payload = payload


class Call:
    """A call of a decorated function, while it runs.

    Attributes
    ----------
    run : Run
        The run it is recorded in.
    about : About
        Of the function.
    args, kwargs
        Its arguments.
    began : int
        Monotonic nanoseconds.
    activity : Activity or None
        Once its beginning is recorded.
    """

    # Set by `recorded`, one by one: that takes a third of the time that arguments of a constructor do.
    __slots__ = (
        "_at",
        "_below",
        "_entry",
        "_outer",
        "_tail",
        "about",
        "activity",
        "args",
        "began",
        "kwargs",
        "run",
        "state",
    )

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return bool(self.state != ENDED)

    @property
    def mark(self) -> int:
        """Sequence of the last row before it."""
        return int(self._tail._first - 1 + self._at)

    def claim(self, state: int) -> bool:
        """Take a call of which no row tells to another state.

        Parameters
        ----------
        state : int
            BEGUN, ENDED, or WANTED, which a call may still leave for BEGUN.

        Returns
        -------
        bool
            Whether it was one; of several threads that ask, one is told so.
        """
        # No call between these two lines, see braid_hpc.log.tail.
        if self.state and (self.state != WANTED or state != BEGUN):
            return False
        self.state = state
        return True

    if TYPE_CHECKING:
        _at: int
        _below: Call | None
        _entry: Any
        _outer: Any
        _tail: Any
        about: About
        activity: Any
        args: tuple[Any, ...]
        began: int
        kwargs: dict[str, Any] | None
        run: Run
        state: int


class CallStack:
    """The calls that run in a context; one that is copied to another thread gets another stack there.

    Attributes
    ----------
    top : Call or None
        The innermost one.
    thread : int
        The thread it is of.
    """

    __slots__ = ("__weakref__", "thread", "top")

    def __init__(self, thread: int, copied: Any) -> None:
        # The call that the context was copied in stays below, also when it has ended.
        self.top: Call | None = copied.top if copied.__class__ is CallStack else None
        self.thread = thread
        number = id(self)
        _stacks[number] = weakref.ref(self, lambda _: _stacks.pop(number, None))


def recorded(
    function: Callable[..., Any],
    about: About,
    runs: list[Run],
    context: tuple[Callable[[], Any], Callable[[], Any], Callable[[Any], Any]],
) -> Callable[..., Any]:
    """Return a function whose calls are recorded.

    Parameters
    ----------
    function : callable
        What is called.
    about : About
        What is known of it.
    runs : list of Run
        Those that are open; the last one counts.
    context : tuple of callable
        Read the activity that was entered last in this context, read its stack of calls, and set that.

    Returns
    -------
    callable
        The function, wrapped.
    """
    name, payload = about.name, about.payload
    length, pack, code, make = len(payload), _PLAIN.pack, int(Code.CALL), Call
    now, thread, digest = monotonic_ns, get_ident, xxh3_64_intdigest
    get, get_stack, set_stack = context

    # One function, without others called by it, because each of them would cost as much as storing the row.
    @functools.wraps(function)
    def call_recorded(*args: Any, **kwargs: Any) -> Any:
        if not runs or not (run := runs[-1])._open:
            return function(*args, **kwargs)
        ident = thread()
        stack = get_stack()
        if stack.__class__ is not CallStack or stack.thread != ident:
            set_stack(stack := CallStack(ident, stack))
        call = make()
        call.state = 0
        call.run = run
        call.about = about
        call._below = below = stack.top
        call._entry = outer = get()
        # Nothing was entered since the call below began: that is what this one stands in.
        if below is not None and below._entry is outer:
            outer = below
        call._outer = outer
        call.args = args
        call.kwargs = kwargs
        call.activity = None
        log = run._log
        tail: Any = log.tail
        call._tail = tail
        call._at = tail._next
        call.began = began = now()
        stack.top = call
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _end(call, error, None, stack)
            raise
        if result is None and outer is None and not args and not kwargs:
            try:
                tail = log.tail
                if tail.__class__ is MappedTail:
                    words, mapped = tail._words, tail._map
                    number = log._names[name]
                    start = tail._free
                    at = tail._heap + start
                    ended = now()
                    row = pack(ended, ended - began, number, code, ident & 0xFFFFFFFF, start, length)
                    check = (digest(row + payload) & _HALF) or 0x100000000
                    # No call from here to the end of the stores: see braid_hpc.log.tail.
                    slot = tail._next
                    if start == tail._free and slot < tail._rows and start + length <= tail._limit and not call.state:
                        call.state = 2
                        mapped[at : at + length] = payload
                        tail._next = slot + 1
                        tail._free = start + length
                        at = PAGE + slot * ROW_BYTES
                        mapped[at : at + 56] = row
                        words[slot] = check | ((tail._first + slot) & 0xFFFFFFFF)
                        stack.top = below
                        return None
            except Exception as error:
                # A name that the log has not met, a closed file: nothing was stored, and the long way finds out.
                if from_handler(error):
                    _end(call, None, result, stack)
                    raise
                del error
        _end(call, None, result, stack)
        return result

    return call_recorded


def _end(call: Call, error: BaseException | None, result: Any, stack: CallStack) -> None:
    """Record the end of a call that is not plain, and take it off its stack."""
    from braid_hpc.run.activities import end_call

    try:
        end_call(call, error, result)
    finally:
        call.state = ENDED
        stack.top = call._below
        # Whoever holds on to the call does not hold on to these.
        call.args, call.kwargs, call._below = (), None, None


def pending_calls() -> list[Any]:
    """Return the calls that run, in all threads.

    Returns
    -------
    list of Call
        Some of them may have a beginning on record already.
    """
    compiled = compiled_module()
    found: list[Any] = list(compiled.pending_calls() if compiled is not None else ())
    for reference in list(_stacks.values()):
        call = None if (stack := reference()) is None else stack.top
        while call is not None:
            found.append(call)
            call = call._below
    return found


def begin_calls(run: Run, longer_than: int = 0) -> None:
    """Record the beginning of calls that run.

    Parameters
    ----------
    run : Run
        Calls of other runs are left alone.
    longer_than : int
        So are those that have not lasted for so many nanoseconds.
    """
    before = monotonic_ns() - longer_than
    for call in pending_calls():
        if call.run is run and call.activity is None and call.began <= before:
            run._begin_call(call)


def begin_long_calls(run: Run) -> Callable[[], None]:
    """Return what a log's background thread does about calls that last.

    Parameters
    ----------
    run : Run
        Held weakly.

    Returns
    -------
    callable
        Records the beginning of calls that have lasted longer than :data:`LONG_NS`.
    """
    reference = weakref.ref(run)

    def begin() -> None:
        found = reference()
        if found is not None and found._open:
            begin_calls(found, LONG_NS)

    return begin


def announce(run: Any) -> None:
    """Tell compiled functions which run their calls are recorded in.

    Parameters
    ----------
    run : Run or None
        The innermost one; None or a false one if there is none.
    """
    global _watching_forks
    if run and not _watching_forks:
        _watching_forks = True
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
    compiled = compiled_module()
    if compiled is None:
        return
    if run:
        log = run._log
        compiled.set_run(run, log.cell, log.intern, lambda: log.held)
    else:
        compiled.set_run()


def _before_fork() -> None:
    """Record the beginning of the calls that the fork happens in: parent and child both end them."""
    from braid_hpc.run.activities import current_activity

    with contextlib.suppress(Exception):
        current_activity()


def _after_fork() -> None:
    # Those of threads that are not here.
    ident = get_ident()
    for number, reference in list(_stacks.items()):
        if (stack := reference()) is None or stack.thread != ident:
            _stacks.pop(number, None)
    compiled = compiled_module()
    if compiled is not None:
        compiled.forget_calls()
