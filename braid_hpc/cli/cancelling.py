"""What a merge leaves when somebody ends it: Ctrl-C, or a scheduler that cancels its job."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["tidied_when_cancelled"]


@contextlib.contextmanager
def tidied_when_cancelled(*tidy: Callable[[], None]) -> Iterator[None]:
    """End by SIGTERM or SIGINT at once, after what was begun is removed.

    An exception out of the handler would not do: DuckDB runs it in the middle of a statement, where the exception
    becomes another one, gets lost, or ends in ``std::terminate``.

    Parameters
    ----------
    *tidy : callable
        Called without arguments, at any point of the work; what it raises is passed over.

    Yields
    ------
    None
        To the work.
    """

    def leave(number: int, _: FrameType | None) -> None:
        for each in tidy:
            with contextlib.suppress(Exception):
                each()
        if number == signal.SIGINT:
            os.write(2, b"\nAborted!\n")
        os._exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
