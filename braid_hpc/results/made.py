"""How a dataset was made, as its store says: code, commands, inputs."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError

__all__ = ["Made", "MadeBy", "how_made"]

_DATASETS = "select 'id:' || uid as ref from versions where kind = 'dataset' and digest = ? order by id desc limit 1"

#: What the fact on the state of the sources says, of the environments that a run recorded.
_SOURCES = """
    select fact.value as said
    from versions environment
    join edges on edges.child = environment.id and edges.relation = 'wasDerivedFrom'
    join versions fact on fact.id = edges.parent
    where environment.kind = 'environment' and environment.run = ? and fact.name = 'environment/git'
"""


@dataclass(frozen=True, slots=True)
class MadeBy:
    """A run that took part.

    Attributes
    ----------
    run : str
        Its id.
    command : str
        What was started.
    script, commit : str or None
        Program, and the commit of its sources.
    dirty : bool or None
        Whether there were uncommitted changes; None where that was not recorded.
    packages : dict of str to str
        Versions of the packages that were imported.
    end : str or None
        When its last step ended, ISO 8601.
    """

    run: str
    command: str
    script: str | None
    commit: str | None
    dirty: bool | None
    packages: dict[str, str] = field(default_factory=dict)
    end: str | None = None

    @property
    def code(self) -> str:
        """The state of the sources, in words."""
        if self.commit is None:
            return "its sources were in no git repository"
        state = {
            True: "with uncommitted changes",
            False: "without uncommitted changes",
            None: "it is not on record whether there were uncommitted changes",
        }[self.dirty]
        return f"commit {self.commit}, {state}"


@dataclass(frozen=True, slots=True)
class Made:
    """How a dataset was made.

    Attributes
    ----------
    runs : tuple of MadeBy
        The runs that took part.
    sources : tuple of str
        What it was made of and none of the steps made: references.
    missing : int
        How many logs are not complete, so that this may not be all.
    """

    runs: tuple[MadeBy, ...]
    sources: tuple[str, ...]
    missing: int = 0

    def lines(self) -> list[str]:
        """Say it in sentences.

        Returns
        -------
        list of str
            One for each run, then inputs.
        """
        said = [f"`{run.command}`: {run.code}" for run in self.runs]
        if self.sources:
            said.append(f"of {', '.join(f'`{source}`' for source in self.sources[:20])}")
        if len(self.sources) > 20:
            said.append(f"and {len(self.sources) - 20} further inputs")
        if self.missing:
            said.append(f"{self.missing} logs are not complete, so this may not be all")
        return said

    def must_be_clean(self) -> None:
        """Refuse sources that cannot be had again.

        Raises
        ------
        ConflictError
            If a run's sources had uncommitted changes, or that is not on record.
        """
        for run in self.runs:
            if run.commit is None or run.dirty is not False:
                raise ConflictError(
                    f"run {run.run[:8]} ({run.command}): {run.code}; commit them, record the environment, and run it "
                    "again, or export without require_clean"
                )


def how_made(store: Any, version: str) -> Made:
    """Ask a store how a dataset was made.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    version : str
        Digest of the dataset.

    Returns
    -------
    Made
        What it says.

    Raises
    ------
    InvalidInputError
        If it is no store.
    NotFoundError
        If it does not know the dataset.
    """
    if not hasattr(store, "how"):
        raise InvalidInputError(f"store= is what braid.open gives, not a {type(store).__name__}")
    found = store.sql(_DATASETS, [version]).to_pylist()
    if not found:
        raise NotFoundError(f"the store has no dataset of version {version}: merge the logs of the run that made it")
    answer = store.how(found[0]["ref"])
    runs = []
    for facts in answer.runs:
        said = store.sql(_SOURCES, [facts.run]).to_pylist()
        known = json.loads(said[0]["said"] or "{}") if said else {}
        ends = [step.end.isoformat() for step in answer.steps if step.run == facts.run and step.end]
        runs.append(
            MadeBy(
                facts.run,
                shlex.join(facts.argv),
                facts.script,
                known.get("commit") or facts.git,
                known.get("dirty"),
                dict(facts.packages),
                max(ends, default=None),
            )
        )
    return Made(tuple(runs), tuple(answer.sources), len(answer.missing))
