"""How a flat script ended: asked when the interpreter ends, which says nothing of ``sys.exit`` by itself.

An exception that ends a program is kept by the interpreter when it prints it, but a :class:`SystemExit` is gone
before functions registered with :mod:`atexit` are called. What can still be seen is where the frame of the main module
stopped: at a return, or not. The code that ``sys.exit`` was given is noted on the way; a ``raise SystemExit(...)``
leaves none.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["how_it_ended", "note_ending", "watch_ending"]

#: What is kept as the code of a ``raise SystemExit(...)``, which may as well have been 0.
UNKNOWN_CODE = "raised with a code that is not known"

_main: FrameType | None = None
#: The last call of ``sys.exit``: its thread, what it was given, and where the main module stood.
_exit: tuple[int, Any, int] | None = None
#: Told by who runs the main module for the interpreter: whether it has ended, and by what.
_told: tuple[BaseException | None] | None = None


def watch_ending() -> None:
    """Remember the frame of the main module, and note from now on what ``sys.exit`` is given.

    The frame's variables are the module's, which outlive it anyway.
    """
    global _main
    if _main is not None:
        return
    variables = getattr(sys.modules.get("__main__"), "__dict__", None)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is variables and frame.f_code.co_name == "<module>":
            _main = frame
        frame = frame.f_back
    if _main is not None:
        _note_exits()


def _note_exits() -> None:
    leave = sys.exit

    def exit(status: Any = None, /) -> Any:
        """Exit the interpreter by raising SystemExit(status)."""
        global _exit
        _exit = (get_ident(), status, _main.f_lasti if _main is not None else -1)
        leave(status)

    sys.exit = exit


def note_ending(error: BaseException | None) -> None:
    """Note how the main module ended, where something else than the interpreter runs it.

    Parameters
    ----------
    error : BaseException or None
        What ended it.
    """
    global _told
    _told = (error,)


def how_it_ended() -> BaseException | None:
    """Return what ended the program; called in its main thread, by :mod:`atexit`.

    Returns
    -------
    BaseException or None
        None if the main module came to its end.
    """
    if _told is not None:
        return _told[0]
    printed: BaseException | None = getattr(sys, "last_value", None)
    if _main is None:
        return printed
    if _stopped_at(_main).startswith("RETURN"):
        # Whatever was printed as an exception since then, it did not end the program.
        return None
    if printed is not None:
        return printed
    if _exit is not None and _exit[0] == get_ident():
        _, status, stood = _exit
        # On its way through a finally or a with, an exception stops where it is raised again.
        if _main.f_lasti == stood or _stopped_at(_main) == "RERAISE":
            return SystemExit(status)
    return SystemExit(UNKNOWN_CODE)


def _stopped_at(frame: FrameType) -> str:
    """Return the name of the instruction that was the last one of a frame."""
    from opcode import opname

    return opname[frame.f_code.co_code[frame.f_lasti]]
