"""Machines whose conventions are public: launcher, node-local path and the options that their users are told to give.

They are taken from the pages named below; where a site has changed since, what the specification says itself holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SITES", "Site"]

Given = Mapping[str, Any]


def _nothing(given: Given) -> tuple[str, ...]:
    return ()


def _no_constraint(given: Given) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """What a machine's users are told.

    Attributes
    ----------
    name : str
        Of the machine.
    scheduler, launcher, node_local : str
        As in a specification.
    flags, directives : callable
        Take the fields that were given, and return options of the launcher and of the scheduler.
    constraint : callable
        Takes them too, and returns what nodes are wanted, or None.
    environment : tuple of (str, str)
        Variables.
    whole_nodes : bool
        Whether a job gets whole nodes without asking for their processors.
    address : str
        Of the page that says so.
    """

    name: str
    scheduler: str
    launcher: str
    node_local: str
    address: str
    flags: Callable[[Given], tuple[str, ...]] = _nothing
    directives: Callable[[Given], tuple[str, ...]] = _nothing
    constraint: Callable[[Given], str | None] = _no_constraint
    environment: tuple[tuple[str, str], ...] = ()
    whole_nodes: bool = False


def _perlmutter_nodes(given: Given) -> str:
    return "gpu" if given.get("gpus_per_node") else "cpu"


def _frontier_flags(given: Given) -> tuple[str, ...]:
    gpus, ranks = given.get("gpus_per_node", 0), given.get("ranks_per_node", 1)
    return (f"--gpus-per-task={gpus // ranks}", "--gpu-bind=closest") if gpus and gpus % ranks == 0 else ()


def _depth(given: Given) -> tuple[str, ...]:
    return (f"--depth={given.get('cpus_per_rank', 1)}", "--cpu-bind", "depth")


def _filesystems(names: str) -> Callable[[Given], tuple[str, ...]]:
    def directives(given: Given) -> tuple[str, ...]:
        # A site's own list would name them twice otherwise, and PBS takes the last one alone.
        own = any("filesystems=" in each for each in given.get("directives", ()))
        return ("-l place=scatter",) if own else ("-l place=scatter", f"-l filesystems={names}")

    return directives


#: By the word that a specification names them with.
SITES = {
    "perlmutter": Site(
        "Perlmutter",
        *("slurm", "srun", "/tmp"),
        address="https://docs.nersc.gov/systems/perlmutter/running-jobs/",
        flags=lambda given: ("--cpu-bind=cores",),
        constraint=_perlmutter_nodes,
    ),
    "frontier": Site(
        "Frontier",
        *("slurm", "srun", "/mnt/bb/$USER"),
        address="https://docs.olcf.ornl.gov/systems/frontier_user_guide.html",
        flags=_frontier_flags,
        # Without it the burst buffer is not mounted.
        constraint=lambda given: "nvme",
        whole_nodes=True,
    ),
    "aurora": Site(
        "Aurora",
        *("pbs", "mpiexec", "/tmp"),
        address="https://docs.alcf.anl.gov/aurora/running-jobs-aurora/",
        flags=_depth,
        directives=_filesystems("home:flare"),
        whole_nodes=True,
    ),
    "polaris": Site(
        "Polaris",
        *("pbs", "mpiexec", "/local/scratch"),
        address="https://docs.alcf.anl.gov/polaris/running-jobs/",
        flags=_depth,
        directives=_filesystems("home:eagle"),
        constraint=lambda given: "system=polaris",
        whole_nodes=True,
    ),
}
