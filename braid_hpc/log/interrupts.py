"""Telling an exception of the program's own signal handler from one of the recorder's.

A handler runs wherever the program happens to be, in the middle of a recording call too. What it raises (a deadline, a
preemption) is meant for the program, and is no failure to record.
"""

from __future__ import annotations

import sys
from functools import partial
from types import CodeType
from typing import Any

__all__ = ["from_handler"]


def from_handler(error: BaseException) -> bool:
    """Return whether an exception was raised by a signal handler of the program, or in what it called.

    Parameters
    ----------
    error : BaseException
        As it was caught, with its traceback.

    Returns
    -------
    bool
        Also true of an exception that says by ``from`` that it was made of such a one. False where the handler is not
        the signal's any more.
    """
    trace = error.__traceback__
    if (trace is None or trace.tb_next is None) and error.__cause__ is None:
        # Raised where it was caught: a value that does not fit, mostly, and a stream may meet one in every row.
        return False
    signal = sys.modules.get("_signal")
    if signal is None or "signal" not in sys.modules:
        return False
    # Of the module beneath, which makes no members of enumerations: that takes ten times as long.
    asked = map(signal.getsignal, range(1, signal.NSIG))
    handlers = {_code(handler) for handler in asked if handler is not None and type(handler) is not int} - {None}
    cause: BaseException | None = error
    while handlers and cause is not None:
        trace = cause.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code in handlers:
                return True
            trace = trace.tb_next
        # Not __context__: that may be one that the program has long caught.
        cause = cause.__cause__
    return False


def _code(handler: Any) -> CodeType | None:
    """Return the code that runs when a handler is called; None for those that are no Python functions."""
    while isinstance(handler, partial):
        handler = handler.func
    for function in (handler, vars(type(handler)).get("__call__")):
        function = getattr(function, "__func__", function)
        if isinstance(code := getattr(function, "__code__", None), CodeType):
            return code
    return None
