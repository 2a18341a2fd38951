"""What a collector is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from braid_hpc.collectors.losses import Losses

__all__ = ["Collector"]


@runtime_checkable
class Collector(Protocol):
    """Something that turns what a program, a device or a library does into events of a run.

    It calls nothing of the run but its public methods, so it works with the null run too. It never raises into the
    program, unless ``BRAID_STRICT=1`` asks for it; it holds a bounded amount of memory, however much comes in; and
    whatever it could not take is counted. How it is fed is its own affair. It belongs to one thread at a time.
    :class:`braid_hpc.collectors.testing.CollectorContract` has the tests of all this.
    """

    @property
    def run(self) -> Any:
        """The :class:`braid_hpc.Run` that it records in, or a null run."""
        ...

    @property
    def losses(self) -> Losses:
        """What it could not take."""
        ...

    def close(self) -> None:
        """Record what is still held; harmless a second time, and when the run has ended."""
        ...
