"""The stream whose ``append`` is one compiled call: it packs the values, stores the row and returns its place.

Whatever it is not certain of (None, a wrong type, values by name, a full tail) it hands to :meth:`Stream.append`, so
what that does is what holds. It can be imported only where ``kernels/_tail.c`` was compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid_hpc.kernels._tail import StreamBase
from braid_hpc.run.streams import Stream
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import FIXED

if TYPE_CHECKING:
    from braid_hpc.log.writer import RankLog
    from braid_hpc.run.recorder import Run

__all__ = ["CompiledStream"]

#: A column's type as the compiled half knows it.
_LETTERS = {**FIXED, "text": "t", "bytes": "y"}


# The compiled half comes first, so that its `append` and its counter are the ones that are found.
class CompiledStream(StreamBase, Stream):
    """A :class:`~braid_hpc.run.streams.Stream` with a compiled ``append``."""

    _append_slowly = Stream.append

    def __init__(self, run: Run, log: RankLog, number: int, name: str, columns: list[tuple[str, str]]) -> None:
        Stream.__init__(self, run, log, number, name, columns)
        kinds = "".join(_LETTERS[kind] for _, kind in columns)
        # False for rows wider than the compiled half takes; then every row goes the slow way.
        self._attach(log.cell, Code.ROW, number, name, kinds.encode())
