"""A load of records with exact counts: configurations, models, and cycles of experiments that use both.

::

    mpirun -n 4 python -m braid_hpc.demos.load --configurations 100 --models 10 --cycles 50 --experiments 40

With C configurations, M models, CY cycles of E experiments, U uris and D dependencies on configurations, the store has
C + M + CY E records, M + CY E (D + M) edges and U (C + CY E) uris, on any number of ranks: every rank declares the
configurations and models, which are the same for all, and its share of the experiments.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import braid_hpc as braid
from braid_hpc.demos.ranks import Ranks, join

__all__ = ["Shape", "generate", "main"]


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of what.

    Attributes
    ----------
    configurations : int
        Facts, each with `uris` uris.
    models : int
        Each derived from one configuration.
    cycles, experiments : int
        Cycles, and experiments in each: data with `uris` uris, derived from `dependencies` configurations and from
        all models.
    uris : int
        Of each configuration and experiment.
    dependencies : int
        Configurations that an experiment depends on.
    """

    configurations: int = 10
    models: int = 3
    cycles: int = 5
    experiments: int = 20
    uris: int = 2
    dependencies: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be generated.

        Raises
        ------
        ValueError
            A number is negative, or there are not enough configurations to depend on.
        """
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must not be negative, but is {getattr(self, field.name)}")
        if self.dependencies > self.configurations:
            raise ValueError(f"{self.dependencies} dependencies need as many configurations, not {self.configurations}")
        if self.models and not self.configurations:
            raise ValueError("a model needs a configuration to be derived from")

    @property
    def records(self) -> int:
        """How many records the store has."""
        return self.configurations + self.models + self.cycles * self.experiments

    @property
    def edges(self) -> int:
        """How many edges the store has."""
        return self.models + self.cycles * self.experiments * (self.dependencies + self.models)

    @property
    def all_uris(self) -> int:
        """How many uris the store has."""
        return self.uris * (self.configurations + self.cycles * self.experiments)


def generate(run: braid.Run, ranks: Ranks, shape: Shape) -> int:
    """Record this rank's share of a load.

    Parameters
    ----------
    run : Run
        The open run.
    ranks : Ranks
        This process among the others; nothing is communicated.
    shape : Shape
        How much of what, over all ranks.

    Returns
    -------
    int
        Records that this rank declared.

    Examples
    --------
    >>> import tempfile
    >>> import braid_hpc as braid
    >>> with tempfile.TemporaryDirectory() as logs, braid.job("load", log_dir=logs) as run:
    ...     generate(run, Ranks(), Shape(configurations=2, models=1, cycles=3, experiments=4))
    15
    """
    facts = [
        run.fact(f"configuration/{number}", value=number, uri=_uris(shape, f"configuration/{number}"))
        for number in range(shape.configurations)
    ]
    models = [
        # no content: it is the same model on all ranks because this says so
        run.model(f"model/{number}", derived_from=facts[number % len(facts)], same_on_all_ranks=True)
        for number in range(shape.models)
    ]
    share = ranks.share(shape.cycles * shape.experiments)
    for number in share:
        cycle, experiment = divmod(number, shape.experiments)
        name = f"experiment/{cycle}/{experiment}"
        # another group of configurations for each experiment, none of them twice
        needed = [facts[(number + step) % len(facts)] for step in range(shape.dependencies)]
        run.data(name, uri=_uris(shape, name), derived_from=[*needed, *models])
    return len(facts) + len(models) + len(share)


def main(argv: Sequence[str] | None = None) -> int:
    """Record a load as this process's rank of it, and say how long that took.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments of the command line; by default those of the process.

    Returns
    -------
    int
        0 when it is recorded, 2 for numbers that cannot be.

    Raises
    ------
    SystemExit
        For ``--help`` and bad arguments.
    """
    parser = argparse.ArgumentParser(prog="python -m braid_hpc.demos.load", description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path("load"), help="where the logs are")
    for field in fields(Shape):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, metavar="N")
    options = vars(parser.parse_args(argv))
    logs = options.pop("dir") / "logs"
    try:
        shape, ranks = Shape(**options), join()
    except (RuntimeError, ValueError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 2
    with braid.job("load", log_dir=logs, store=logs.parent / "prov.duckdb") as run:
        began = time.monotonic()
        mine = generate(run, ranks, shape)
        seconds = time.monotonic() - began
    if ranks.rank == 0:
        print(f"{shape.records:,} records, {shape.edges:,} edges and {shape.all_uris:,} uris over all ranks")
        print(f"rank 0 declared {mine:,} records in {seconds:.3f} s")
        print(f"next: braid compact {shlex.quote(str(logs))}")
    return 0


def _uris(shape: Shape, name: str) -> list[str]:
    """Give the places of a record, which no file system has."""
    return [f"load://{name}/{number}" for number in range(shape.uris)]


if __name__ == "__main__":
    sys.exit(main())
