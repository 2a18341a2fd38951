"""What a run ran in: machine, scheduler, software, sources; without secrets, as far as they can be told.

What is recorded are facts, so that equal environments are one version over all ranks and runs. What they say is asked
in :mod:`braid_hpc.collectors.machine` and :mod:`braid_hpc.collectors.repository`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.losses import Collecting
from braid_hpc.collectors.machine import (
    ALLOWED,
    container,
    gpus,
    host,
    installed_packages,
    interpreter,
    modules,
    scheduler,
    variables,
)
from braid_hpc.collectors.repository import PATCH_BYTES, git_state
from braid_hpc.run.guard import passes, recording
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.encoding import encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.redaction import redact_values

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run

__all__ = ["NOTES", "EnvironmentCollector", "record_environment"]

#: How many facts a collector records.
NOTES = 1024


class EnvironmentCollector(Collecting):
    """Records what a run runs in.

    Parameters
    ----------
    run : Run
        Where.
    allow : sequence of str
        Names of further variables that may be recorded, as patterns; such as sound secret never are.
    patch_bytes : int
        How much of the patch of uncommitted changes is kept; 0 for none.
    """

    def __init__(self, run: Run, *, allow: Sequence[str] = (), patch_bytes: int = PATCH_BYTES) -> None:
        super().__init__(run, "environment")
        self._allowed = (*ALLOWED, *([allow] if isinstance(allow, str) else allow))
        self._patch_bytes = int(patch_bytes)
        self._facts: list[Record] = []
        self._record: Record | None = None

    @recording
    def note(self, name: str, value: Any) -> Record | None:
        """Record a fact of the environment, redacted.

        Parameters
        ----------
        name : str
            The fact is ``environment/<name>``.
        value : object
            Mappings and lists of plain values.

        Returns
        -------
        Record or None
            Its handle; None if it is not recorded.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if the name is no text.
        """
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"a fact of the environment is named by a text, not by {name!r}")
        if not self._run or self._closed:
            return None
        if len(self._facts) >= NOTES:
            self._losses.count("too many facts", note=name)
            return None
        try:
            clean = redact_values(value)
            encode_canonical(clean)
        except (InvalidInputError, RecursionError) as error:
            self._losses.count("value that cannot be recorded", note=f"{name}: {error}")
            self._losses.write()
            return None
        record = self._run.fact(f"environment/{name}", clean)
        self._facts.append(record)
        return record

    def look(self, *, thorough: bool | None = None) -> None:
        """Record what can be told of the environment.

        Parameters
        ----------
        thorough : bool, optional
            Whether also what is the same for all ranks is looked at: packages, sources, variables; without it on
            rank 0, or where there are no ranks.
        """
        if thorough is None:
            thorough = not self._run.rank
        asked: dict[str, Callable[[], Any]] = {"host": host, "gpus": gpus}
        if thorough:
            asked |= {
                "interpreter": interpreter,
                "scheduler": scheduler,
                "modules": modules,
                "container": container,
                "packages": installed_packages,
                "variables": lambda: variables(self._allowed),
                "git": lambda: git_state(_origin(), patch_bytes=self._patch_bytes),
            }
        if not self._run or self._closed:
            return
        for name, question in asked.items():
            try:
                self.note(name, question())
            except Exception as error:
                # One library that fails must not hide what the others tell.
                if passes(error):
                    raise
                self._losses.count("question that failed", note=f"{name}: {type(error).__name__}: {error}")

    @property
    def record(self) -> Record | None:
        """The record ``environment:environment`` of all facts noted until it was first asked for, or it was closed."""
        if self._record is None and self._facts and self._run:
            self._record = self._run.record("environment", "environment", derived_from=self._facts)
        return self._record

    def _finish(self) -> None:
        _ = self.record


def record_environment(run: Run, **about: Any) -> Record | None:
    """Record what a run runs in.

    Parameters
    ----------
    run : Run
        Where.
    **about
        As for :class:`EnvironmentCollector`.

    Returns
    -------
    Record or None
        ``environment:environment``, for ``used=`` of activities; None where nothing is recorded.
    """
    with EnvironmentCollector(run, **about) as collector:
        collector.look()
        return collector.record


def _origin() -> Path:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).absolute().parent if script else Path(os.getcwd())
