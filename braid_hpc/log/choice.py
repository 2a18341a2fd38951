"""Which tail runs: the compiled one where it was built, else its twin in Python.

Both write the same bytes. ``BRAID_TAIL=python`` in the environment takes the twin in any case.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from braid_hpc.log.tail import MappedTail

__all__ = ["compiled_module", "mapped_tail", "tail_kind", "why_python"]


def _find() -> tuple[ModuleType | None, str]:
    if os.environ.get("BRAID_TAIL") == "python":
        return None, "BRAID_TAIL=python"
    try:
        import braid_hpc.kernels._tail as module
    except ModuleNotFoundError:
        return None, "it was not compiled when braid_hpc was installed"
    except ImportError as error:
        # Compiled for another machine or kind of interpreter.
        return None, str(error)
    return module, ""


def compiled_module() -> ModuleType | None:
    """Return the compiled module, if it is to be used.

    Returns
    -------
    module or None
        ``braid_hpc.kernels._tail``.
    """
    return _find()[0]


def mapped_tail() -> type[MappedTail]:
    """Return what the tails of a log on a mappable file system are made of.

    Returns
    -------
    type
        :class:`braid_hpc.log.compiled.CompiledTail` or :class:`braid_hpc.log.tail.MappedTail`.
    """
    if compiled_module() is not None:
        from braid_hpc.log.compiled import CompiledTail

        return CompiledTail
    from braid_hpc.log.tail import MappedTail

    return MappedTail


def tail_kind() -> str:
    """Return which of the two implementations runs in this process.

    Returns
    -------
    str
        ``"compiled"`` or ``"python"``.

    See Also
    --------
    why_python : why it is not the compiled one.
    """
    return "python" if compiled_module() is None else "compiled"


def why_python() -> str | None:
    """Return why the compiled tail does not run.

    Returns
    -------
    str or None
        The variable that says so, or what importing it raised; None if it runs.
    """
    return _find()[1] or None
