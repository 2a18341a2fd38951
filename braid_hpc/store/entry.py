"""Calls the function of an action, in an interpreter of its own: ``python -m braid_hpc.store.entry MODULE:FUNCTION``.

What it is told of the record comes on the standard input.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from braid_hpc.vocabulary.actions import Invalidated
from braid_hpc.vocabulary.encoding import decode

__all__ = ["call"]


def call(entry: str, about: Invalidated) -> Any:
    """Call a function.

    Parameters
    ----------
    entry : str
        ``package.module:function``.
    about : Invalidated
        Its only argument.

    Returns
    -------
    object
        What it returns.

    Raises
    ------
    ImportError, AttributeError
        If there is no such function.
    """
    module, _, names = entry.partition(":")
    function: Any = importlib.import_module(module)
    for name in names.split("."):
        function = getattr(function, name)
    return function(about)


if __name__ == "__main__":
    call(sys.argv[1], Invalidated(**decode(sys.stdin.buffer.read())))
