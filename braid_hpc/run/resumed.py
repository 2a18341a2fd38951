"""Asynchronous generators that are recorded: entered while their body runs, and only then."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from braid_hpc.run.activities import _CURRENT, _still_open, innermost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from braid_hpc.run.activities import Activity

__all__ = ["RecordedAsyncGenerator", "within"]


class RecordedAsyncGenerator(AsyncGenerator[Any, Any]):
    """An asynchronous generator whose activity lasts until it is exhausted or closed.

    Parameters
    ----------
    generator : asynchronous generator
        What does the work.
    act : Activity
        Begun, and not entered.
    """

    def __init__(self, generator: AsyncGenerator[Any, Any], act: Activity) -> None:
        self._generator = generator
        self._activity = act

    async def asend(self, value: Any) -> Any:
        """Resume the body with a value; see :meth:`agen.asend`."""
        return await self._resume(self._generator.asend, value)

    async def athrow(self, *error: Any) -> Any:
        """Resume the body with an exception; see :meth:`agen.athrow`."""
        return await self._resume(self._generator.athrow, *error)

    def __del__(self) -> None:
        """End the activity of one that nobody holds any more; its event loop closes the body."""
        self._activity.end(error=GeneratorExit())

    async def _resume(self, resume: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        act, outer = self._activity, _CURRENT.get()
        act._outer = _still_open(innermost())
        _CURRENT.set(act)
        try:
            return await resume(*values)
        except StopAsyncIteration:
            act.end()
            raise
        except BaseException as error:
            act.end(error=error)
            raise
        finally:
            _CURRENT.set(outer)


async def within(block: Any, generator: Callable[[], AsyncGenerator[Any, Any]]) -> AsyncGenerator[Any, Any]:
    """Run an asynchronous generator within a block, from its first step to its end.

    Parameters
    ----------
    block : context manager
        Entered before the first step.
    generator : callable
        Makes the generator.

    Yields
    ------
    object
        What the generator yields; what is sent or thrown is passed on to it.
    """
    with block:
        inner = generator()
        step = inner.asend(None)
        while True:
            try:
                value = await step
            except StopAsyncIteration:
                return
            try:
                step = inner.asend((yield value))
            except GeneratorExit:
                await inner.aclose()
                raise
            except BaseException as error:
                step = inner.athrow(error)
