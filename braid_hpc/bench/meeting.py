"""Ranks of one job that meet in a shared directory: any launcher starts them, and no MPI is needed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from braid_hpc.run.launcher import Launch
from braid_hpc.vocabulary.errors import ConflictError
from braid_hpc.vocabulary.identity import key_digest

__all__ = ["Meeting", "name_of"]

#: Between two looks into the directory (s).
_PAUSE = 0.05


def name_of(launch: Launch) -> str:
    """Return a name that the ranks of one launch have in common, and no others.

    Parameters
    ----------
    launch : Launch
        Of this process.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    found = launch.evidence
    chosen = found.get("run_id") or found.get("pmix") or found.get("scheduler") or found.get("launcher")
    return key_digest(["bench", json.dumps(chosen, sort_keys=True)])[:16]


class Meeting:
    """One rank's side of it.

    Parameters
    ----------
    directory : Path
        Seen by all ranks.
    name : str
        From :func:`name_of`.
    rank, size : int
        Of this process.
    patience : float
        How long one waits for the others, in seconds.
    """

    def __init__(self, directory: Path, name: str, *, rank: int, size: int, patience: float) -> None:
        self.directory = directory / f"braid-bench-{name}"
        self.rank, self.size, self._patience = rank, size, patience
        self.directory.mkdir(parents=True, exist_ok=True)
        # Of an earlier launch of the same name that did not come to its end: nobody must hear it again.
        for path in self.directory.glob(f"*-{rank}.json"):
            path.unlink(missing_ok=True)

    def say(self, topic: str, about: dict[str, Any]) -> None:
        """Tell the others something.

        Parameters
        ----------
        topic : str
            What it is about.
        about : dict
            Ready for :mod:`json`.
        """
        path = self.directory / f"{topic}-{self.rank}.json"
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(about))
        os.rename(aside, path)

    def hear(self, topic: str) -> list[dict[str, Any]]:
        """Wait for what all ranks say.

        Parameters
        ----------
        topic : str
            What it is about.

        Returns
        -------
        list of dict
            In the order of ranks.

        Raises
        ------
        ConflictError
            If some of them say nothing in time.
        """
        until = time.monotonic() + self._patience
        waiting = set(range(self.size))
        while waiting and time.monotonic() < until:
            there = {entry.name for entry in os.scandir(self.directory)}
            if waiting := {rank for rank in waiting if f"{topic}-{rank}.json" not in there}:
                time.sleep(_PAUSE)
        if waiting:
            raise ConflictError(
                f"{len(waiting)} of {self.size} ranks said nothing in {self.directory} within {self._patience:.0f} s "
                f"(the first of them is rank {min(waiting)}): is it a directory that all nodes see? Where the "
                f"launcher gives its ranks nothing in common, set BRAID_RUN_ID"
            )
        return [json.loads((self.directory / f"{topic}-{rank}.json").read_text()) for rank in range(self.size)]

    def end(self) -> Path:
        """Put what was said aside, on one rank that has heard all: a later launch may have the same name.

        Launchers inside one job of a scheduler that does not count its steps have, and those with one
        ``BRAID_RUN_ID``.

        Returns
        -------
        Path
            The directory where it is now.
        """
        number = 1
        while (aside := self.directory.with_name(f"{self.directory.name}-{number}")).exists():
            number += 1
        return self.directory.rename(aside)
