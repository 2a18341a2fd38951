"""External data of instruments: what documents refer to in files of detectors (``docs/assets.md``).

Nothing is loaded before it is asked for, and nothing is ever unpickled.
"""

from __future__ import annotations

from braid_hpc.assets.filler import Filler, filled
from braid_hpc.assets.lazy import LazyArray
from braid_hpc.assets.protocol import Handler, RowReader
from braid_hpc.assets.reducing import reduce
from braid_hpc.assets.registry import register
from braid_hpc.assets.staging import Staged, StagedFile, stage

__all__ = [
    "Filler",
    "Handler",
    "LazyArray",
    "RowReader",
    "Staged",
    "StagedFile",
    "filled",
    "reduce",
    "register",
    "stage",
]
