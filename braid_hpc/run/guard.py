"""The wall between the recorder and the program: what fails in here is kept, counted and told once, never raised.

``BRAID_STRICT=1`` takes the wall down, for tests and demonstrations.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from braid_hpc.log.interrupts import from_handler

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Guarded", "caller", "disabled", "named", "passes", "recording", "shown", "strict", "tell"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def strict() -> bool:
    """Return whether ``BRAID_STRICT`` asks for exceptions.

    Returns
    -------
    bool
        True unless it is unset, empty or ``0``.
    """
    return os.environ.get("BRAID_STRICT", "0") not in ("", "0")


def disabled() -> bool:
    """Return whether ``BRAID_DISABLE`` turns recording off.

    Returns
    -------
    bool
        True unless it is unset, empty or ``0``.
    """
    return os.environ.get("BRAID_DISABLE", "0") not in ("", "0")


def passes(error: Exception) -> bool:
    """Return whether an exception that was caught in a recording call is raised into the program all the same.

    Parameters
    ----------
    error : Exception
        As it was caught.

    Returns
    -------
    bool
        Under ``BRAID_STRICT=1``, and of one that the program's own signal handler raised.
    """
    return strict() or from_handler(error)


class Guarded(Protocol):
    """What has recording calls: it knows how to keep a call that was refused."""

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        """Keep the refusal and return what the caller gets instead."""
        ...


_S = TypeVar("_S", bound=Guarded)


def recording(
    method: Callable[Concatenate[_S, _P], _T],
) -> Callable[Concatenate[_S, _P], _T]:
    """Make a method a recording call, which never raises.

    Parameters
    ----------
    method : callable
        A method of something :class:`Guarded`.

    Returns
    -------
    callable
        The same, but an :class:`Exception` becomes what ``_refused`` returns, unless it :func:`passes`.
    """

    @functools.wraps(method)
    def guarded(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            if passes(error):
                raise
            return self._refused(method.__name__, error, _shown(args, kwargs))  # type: ignore[no-any-return]

    return guarded  # type: ignore[return-value]


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    parts = [shown(value) for value in args] + [f"{key}={shown(value)}" for key, value in kwargs.items()]
    return ", ".join(parts)[:500]


def shown(value: Any) -> str:
    """Return what is said of a value in a message.

    Parameters
    ----------
    value : object
        Anything, also something whose ``repr`` raises.

    Returns
    -------
    str
        At most 120 characters.
    """
    try:
        return repr(value)[:120]
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def named(name: Any) -> str:
    """Return a name as a plain text.

    Parameters
    ----------
    name : object
        A text; of a class of its own, its letters count and not what its methods say. Of anything else, what is shown
        of it.

    Returns
    -------
    str
        Exactly of type str.
    """
    return str.__str__(name) if isinstance(name, str) else shown(name)


def caller() -> str:
    """Return the program's line that the present call came from.

    Returns
    -------
    str
        ``file:line`` of the innermost frame outside this package.
    """
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        if frame.f_back is None:
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def tell(message: str) -> None:
    """Write one line to the error output, where there is one.

    Parameters
    ----------
    message : str
        One sentence.
    """
    # One line, however long what it quotes is.
    line = " ".join(message.split())
    if len(line) > 600:
        line = f"{line[:600]}..."
    try:
        sys.stderr.write(f"braid: {line}\n")
    except (OSError, ValueError, AttributeError, RuntimeError):
        return
