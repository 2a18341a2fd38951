"""Importing what a question needs, and no more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["load_store"]

#: What tells the libraries of linear algebra that come with NumPy how many threads to start when they are loaded.
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


def load_store() -> type[Store]:
    """Import what opens a store.

    Returns
    -------
    type
        :class:`braid_hpc.Store`.
    """
    with _without_threads():
        from braid_hpc.store.store import Store
    return Store


@contextmanager
def _without_threads() -> Iterator[None]:
    """Have NumPy start no threads while it is imported, and leave the environment as it was for other programs.

    One for each core is started for a linear algebra that no question does, and each turns around for a while before
    it sleeps: on a machine of two cores that is a tenth of the time of a question.
    """
    if "numpy" in sys.modules or any(name in os.environ for name in _THREADS):
        yield
        return
    os.environ[_THREADS[0]] = "1"
    try:
        yield
    finally:
        del os.environ[_THREADS[0]]
