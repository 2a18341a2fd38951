"""Tasks of a module that can be imported, as a program's are."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import braid_hpc as braid


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Window:
    """A dataclass."""

    low: float
    high: float


#: What the functions below did, in order.
RAN: list[Any] = []


@braid.task(version="0.1.3", significant="major.minor", columns={"samples": "float32[]"}, name="rng.draw")
def draw(seed: int, draws: int = 1, delay_time: float = 0.0) -> dict[str, Any]:
    """Draw normal numbers, as the example of a well-known task database does."""
    RAN.append((seed, draws))
    return {"samples": np.random.RandomState(seed).normal(size=draws)}


@braid.task(
    version="0.1.13",
    significant="major.minor",
    table="random_number_generator",
    columns={"samples": "float32[]"},
)
def random_numbers(seed: int, draws: int = 1, delay_time: float = 0.0) -> dict[str, Any]:
    """Draw normal numbers after a while."""
    time.sleep(delay_time)
    return {"samples": np.random.RandomState(seed).normal(size=draws)}


@braid.task(version="1", table="tasks", columns={"y": "int64"})
def clashing() -> dict[str, Any]:
    """Have a table of results of a name that the store has too."""
    return {"y": 1}


@braid.task(version="1")
def double(x: float) -> float:
    """Return twice a number."""
    RAN.append(x)
    return 2 * x


@braid.task(version="1")
def spectrum(path: Path, scale: int = 1) -> int:
    """Read a file."""
    RAN.append(path.name)
    return scale * len(path.read_bytes())


@braid.task(version="1")
def anything(x: Any, y: Any = None) -> Any:
    """Take whatever it is given."""
    RAN.append(x)
    return x


@braid.task(version="1", ignore="b")
def several(a: int = 1, b: Any = None, c: str = "c", d: float = 0.5, e: Any = None) -> None:
    """Take values of several types, of which one does not count."""


@braid.task(version="1")
def fails(how: str) -> None:
    """Do not return."""
    if how == "raise":
        raise ValueError("no convergence")
    raise SystemExit(how)
