"""Tasks: functions whose calls have an identity, so that what is done is not done again.

On a rank only: the standard library, what a rank has, and one mapped file, the done index.
"""

from __future__ import annotations

# Importing typing would take longer than all the rest; type checkers know this name without it.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from braid_hpc.tasks.building import Built, build

__all__ = ["Built", "build"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use.

    Raises
    ------
    AttributeError
        If there is no such name.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("braid_hpc.tasks.building"), name)
