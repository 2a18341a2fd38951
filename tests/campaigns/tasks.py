"""Tasks that are planned, of a module that other processes import."""

from __future__ import annotations

import braid_hpc as braid


@braid.task(version="1")
def fit(ensemble: str, number: int) -> int:
    return number


@braid.task(version="1")
def half(x: int) -> float:
    return x / 2
