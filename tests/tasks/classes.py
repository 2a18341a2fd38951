# mypy: disable-error-code="attr-defined,call-arg,arg-type"
"""Classes that are tasks, of a module that can be imported."""

from __future__ import annotations

import os
import signal
from typing import Annotated, Any

import numpy as np

import braid_hpc as braid
from braid_hpc.results import LocalResult
from tests.tasks.functions import RAN


@braid.task(version="0.1.13", significant="major.minor", name="RNG.Numbers", columns={"samples": "float32[]"})
class Numbers:
    """Draw normal numbers."""

    seed: Annotated[int, "The random seed to use."]
    draws: Annotated[int, "The number of draws to make."] = 1
    delay_time: float = 0.0

    def run(self) -> dict[str, Any]:
        RAN.append((self.seed, self.draws))
        return {"samples": np.random.RandomState(self.seed).normal(size=self.draws)}


@braid.task(version="0.1.13", significant="major.minor", name="RNG.Numbers", columns={"samples": "float32[]"})
def numbers(seed: int, draws: int = 1, delay_time: float = 0.0) -> dict[str, Any]:
    """Be the same task, as a function."""
    return {}


@braid.task(version="1")
class Base:
    """The top of a diamond."""

    x: int

    def run(self) -> int:
        RAN.append(f"base {self.x}")
        if self.x < 0:
            raise ValueError("below zero")
        return self.x


@braid.task(version="1")
class Side:
    """One of its sides; what it does may be what a task should not."""

    x: int
    side: str = "left"

    def requires(self) -> Base:
        return Base(self.x)

    def run(self) -> int:
        RAN.append(f"{self.side} {self.x}")
        if self.side == "raise":
            raise ValueError("no convergence")
        if self.side == "exit":
            raise SystemExit(3)
        if self.side == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return int(self.input()) + len(self.side)


@braid.task(version="1")
class Diamond:
    """Its bottom."""

    x: int
    sides: tuple[str, ...] = ("left", "right")

    def requires(self) -> dict[str, Any]:
        return {"sides": [Side(self.x, side) for side in self.sides], "base": Base(self.x)}

    def run(self) -> int:
        RAN.append(f"diamond {self.x}")
        given = self.input()
        return int(sum(given["sides"]) + given["base"])


@braid.task(version="1")
class Written:
    """Write where it says."""

    folder: str
    x: int

    def requires(self) -> list[Base]:
        return [Base(self.x)]

    def output(self) -> Any:
        return LocalResult(self.folder).at(f"{self.x}.npy", {})

    def run(self) -> Any:
        RAN.append(f"written {self.x}")
        return np.full(3, self.input()[0])


@braid.task(version="1")
class Mean:
    """Read what another one wrote."""

    folder: str
    x: int

    def requires(self) -> Written:
        return Written(self.folder, self.x)

    def run(self) -> float:
        RAN.append(f"mean {self.x}")
        return float(np.mean(np.asarray(self.input())))


@braid.task(version="1")
class Hen:
    """What comes first is not known."""

    def requires(self) -> Any:
        return Egg()

    def run(self) -> None:
        """Never."""


@braid.task(version="1")
class Egg:
    """Likewise."""

    def requires(self) -> Any:
        return Hen()

    def run(self) -> None:
        """Never."""
