"""What every demo's program does around its workflow: arguments, ranks, configuration, the run, and the end."""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import braid_hpc as braid
from braid_hpc.demos.ranks import Ranks, join

__all__ = ["Stage", "perform"]

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Stage(Generic[S]):
    """What every step of a workflow needs.

    Attributes
    ----------
    run : Run
        The open run.
    ranks : Ranks
        This process among the others.
    directory : Path
        Where configuration and data are.
    settings : object
        What the configuration says.
    pause : float
        Seconds to sleep after each epoch, for those who want to watch, or to interfere.
    """

    run: braid.Run
    ranks: Ranks
    directory: Path
    settings: S
    pause: float = 0.0

    def say(self, text: str) -> None:
        """Print a line about the progress, on the error output of one rank.

        Parameters
        ----------
        text : str
            The line.
        """
        if self.ranks.rank == 0:
            print(text, file=sys.stderr)


def perform(
    name: str,
    prepare: Callable[[Path, int | None], S],
    job: Callable[[Stage[S]], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Run a demo as this process's rank of it.

    Parameters
    ----------
    name : str
        Of the demo and of its job.
    prepare : callable
        Takes the directory and the seed of the command line, and gives the settings; it writes the configuration
        where there is none. It raises OSError or ValueError with one sentence.
    job : callable
        The work of one rank.
    argv : sequence of str, optional
        Arguments of the command line; by default those of the process.

    Returns
    -------
    int
        0 when the job is done, 1 when a rank failed, 2 for a bad argument or configuration file.

    Raises
    ------
    SystemExit
        For ``--help`` and bad arguments.
    """
    options = _arguments(name, argv)
    try:
        ranks = join()
    except RuntimeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    settings = None
    try:
        settings = prepare(options.dir, options.seed)
    except (OSError, ValueError) as error:
        print(f"{name}: rank {ranks.rank}: {error}", file=sys.stderr)
    if not ranks.all_well(settings is not None) or settings is None:
        return 2
    logs, store = options.logs or options.dir / "logs", options.dir / "prov.duckdb"
    try:
        with braid.job(name, log_dir=logs, store=store) as run:
            job(Stage(run, ranks, options.dir, settings, options.pause))
    except Exception:
        traceback.print_exc()
        ranks.abort()
        return 1
    if ranks.rank == 0:
        print(f"recorded; next: braid compact {shlex.quote(str(logs))} --store {shlex.quote(str(store))}")
    return 0


def _arguments(name: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m braid_hpc.demos.{name}", description="Run the demo on this rank.")
    parser.add_argument("--dir", type=Path, default=Path("demo"), help="where configuration and data are")
    parser.add_argument("--logs", type=Path, help="where the logs of the ranks are; by default DIR/logs")
    parser.add_argument("--seed", type=int, help="of all random numbers, for the configuration where there is none yet")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="sleep after each epoch, to watch")
    return parser.parse_args(argv)
