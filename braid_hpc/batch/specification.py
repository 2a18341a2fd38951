"""What a batch job needs, said once for every scheduler: read from a TOML file, checked field by field."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.batch.known_fields import CHECKS, LAUNCHERS, NEEDED, SCHEDULERS, nearest
from braid_hpc.batch.sites import SITES, Site
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

__all__ = ["LAUNCHERS", "SCHEDULERS", "Specification", "read_specification"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """What a job needs; each field may stand in the TOML file under its name.

    Attributes
    ----------
    name : str
        Of the job; without it that of the file. A letter, then letters, digits, ``_``, ``.`` and ``-``.
    command : str or tuple of str
        What each rank runs: a text, in which the shell fills in variables (``$job`` is the job's directory,
        ``$BRAID_LOG_DIR`` the directory of the logs), or a list of words that are taken as they are.
    nodes, ranks_per_node, cpus_per_rank : int
        How many; 1 without it.
    threads : int or None
        ``OMP_NUM_THREADS`` of each rank; without it ``cpus_per_rank``.
    gpus_per_node : int
        How many; 0 without it.
    time : int
        The limit in seconds. In the file ``"HH:MM:SS"``, a whole number of minutes, or ``"2 h"``.
    queue, account, constraint : str or None
        Names that the site gave; a queue is a partition of Slurm. `constraint` is Slurm's, or a property of Flux.
    directives : tuple of str
        Further options of the scheduler, each as it stands behind ``#SBATCH`` or ``#PBS``: ``"--qos=debug"``.
    modules : tuple of str
        Loaded in this order.
    environment : tuple of (str, str)
        Variables; in the file a table.
    setup : tuple of str
        Lines for the shell, each a command, after the modules: ``"source /path/venv/bin/activate"``.
    site : str or None
        A machine whose conventions are known, see :data:`braid_hpc.batch.sites.SITES`.
    scheduler : str or None
        ``slurm``, ``pbs``, ``lsf``, ``flux`` or ``local``; without it the one that is found.
    launcher : str or None
        What starts the ranks: ``srun``, ``mpirun`` (any MPI), ``mpiexec`` (MPICH and its relatives), ``openmpi``,
        ``jsrun``, ``flux``, or ``none`` where the command itself does; without it the scheduler's.
    launcher_flags : tuple of str
        Further options of the launcher: ``["--cpu-bind=depth"]``.
    node_local : str
        The directory of each node's own disk or memory; ``/tmp`` without it.
    directory : str
        Shared by all nodes: where the job's directory is made; without it where the file is.
    store : str
        The store that the logs are merged into; without it ``prov.duckdb`` in `directory`.
    array : str or None
        Tasks of an array job: ``"0-19"``, ``"0-19%4"`` for four at a time.
    requeue : bool
        Whether the scheduler may start the job again after a node failed; True without it.
    warning : int
        Seconds before the limit at which logs are shipped once more; 120 without it, 0 for no warning.
    ship_every : int
        Seconds between two rounds of shipping; 60 without it.
    compact_ranks, compact_time, compact_queue : int, int, str or None
        Ranks, limit in seconds and queue of the job that merges the logs; 1, half an hour and `queue` without it.
    source : str
        Where it was read, for messages.
    """

    command: str | tuple[str, ...]
    time: int
    name: str = "job"
    nodes: int = 1
    ranks_per_node: int = 1
    cpus_per_rank: int = 1
    threads: int | None = None
    gpus_per_node: int = 0
    queue: str | None = None
    account: str | None = None
    constraint: str | None = None
    directives: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    setup: tuple[str, ...] = ()
    site: str | None = None
    scheduler: str | None = None
    launcher: str | None = None
    launcher_flags: tuple[str, ...] = ()
    node_local: str = "/tmp"
    directory: str = "."
    store: str = "prov.duckdb"
    array: str | None = None
    requeue: bool = True
    warning: int = 120
    ship_every: int = 60
    compact_ranks: int = 1
    compact_time: int = 1800
    compact_queue: str | None = None
    source: str = "the specification"

    @classmethod
    def of(cls, values: Mapping[str, Any], *, source: str = "the specification") -> Specification:
        """Check values and make a specification of them.

        Parameters
        ----------
        values : mapping
            By the names of the fields, as they stand in a file.
        source : str
            Where they come from, for messages.

        Returns
        -------
        Specification
            With what the site brings, where one is named.

        Raises
        ------
        InvalidInputError
            If a field is unknown, missing or cannot be what it is; further faults are notes.
        """
        faults: list[str] = []
        good: dict[str, Any] = {}
        for key, value in values.items():
            check = CHECKS.get(key)
            if check is None or key == "source":
                faults.append(f"{source}: there is no field {key!r}{nearest(key)}")
                continue
            try:
                good[key] = check(value)
            except ValueError as wrong:
                faults.append(f"{source}: {key} is {_shown(value)}; it must be {wrong}")
        faults += [f"{source}: {key} is missing: {why}" for key, why in NEEDED.items() if key not in values]
        if not faults:
            faults = [f"{source}: {fault}" for fault in _disagreements(good)]
        if faults:
            error = InvalidInputError(faults[0])
            for fault in faults[1:]:
                error.add_note(fault)
            raise error
        return cls(**_with_site(good), source=source)

    @classmethod
    def again(cls, values: Mapping[str, Any], *, source: str) -> Specification:
        """Make a specification of what :meth:`plain` gave.

        Parameters
        ----------
        values : mapping
            By the names of the fields.
        source : str
            Where they come from, for messages.

        Returns
        -------
        Specification
            What the site brought stands among the values, and comes no second time.

        Raises
        ------
        InvalidInputError
            If it is not what a specification may be.
        """
        found = cls.of({key: value for key, value in values.items() if key != "site"}, source=source)
        return found.changed(site=values.get("site"))

    @property
    def ranks(self) -> int:
        """How many ranks there are in all."""
        return self.nodes * self.ranks_per_node

    @property
    def argument(self) -> str:
        """The command as the shell reads it."""
        return self.command if isinstance(self.command, str) else shlex.join(self.command)

    @property
    def shared(self) -> Path:
        """The shared directory, absolute."""
        return Path(os.path.abspath(os.path.expanduser(self.directory)))

    @property
    def store_path(self) -> Path:
        """The store, absolute."""
        return Path(os.path.abspath(self.shared / os.path.expanduser(self.store)))

    def plain(self) -> dict[str, Any]:
        """Return it as it is written to ``job.json``.

        Returns
        -------
        dict
            By the names of the fields, without those that are not set; times in seconds with their unit.
        """
        found = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "source"}
        found |= {"environment": dict(self.environment)}
        found |= {key: f"{found[key]} s" for key in ("time", "compact_time")}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in found.items()
            if value not in (None, (), {})
        }

    def changed(self, **values: Any) -> Specification:
        """Return it with other values, each as in a file.

        Parameters
        ----------
        **values
            By the names of the fields; None leaves a field as it is.

        Returns
        -------
        Specification
            Another one.
        """
        checked = {key: CHECKS[key](value) for key, value in values.items() if value is not None}
        return dataclasses.replace(self, **checked)


def read_specification(path: str | os.PathLike[str]) -> Specification:
    """Read a specification.

    Parameters
    ----------
    path : path-like
        A TOML file.

    Returns
    -------
    Specification
        Paths in it are taken from the file's directory.

    Raises
    ------
    NotFoundError
        If there is no such file.
    InvalidInputError
        If it is not TOML, or not what a specification may be.
    """
    file = Path(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"there is no specification {file}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise InvalidInputError(f"{file}: it is not TOML ({wrong})") from None
    values.setdefault("name", file.stem)
    found = Specification.of(values, source=str(file))
    shared = os.path.join(os.path.abspath(file.parent), os.path.expanduser(found.directory))
    return dataclasses.replace(found, directory=os.path.normpath(shared))


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _disagreements(good: Mapping[str, Any]) -> list[str]:
    """Say where fields that are right each for itself do not go together."""
    found = []
    if good.get("warning", 120) >= good["time"] and "warning" in good:
        found.append(f"warning is {good['warning']} s before the limit, and the limit is {good['time']} s")
    site = SITES.get(good.get("site", ""))
    if site is not None and good.get("scheduler", site.scheduler) not in (site.scheduler, "local"):
        found.append(f"scheduler is {good['scheduler']!r}, and {site.name} has {site.scheduler!r}")
    if good.get("launcher", site.launcher if site else "") != "none":
        found += _several(good["command"])
    if good.get("scheduler") in ("flux", "local") and "array" in good:
        found.append(
            f"array is {good['array']!r}, and {good['scheduler']} has no array jobs: submit a job for each task"
        )
    if good.get("scheduler") == "lsf" and "array" in good and _least(good["array"]) < 1:
        found.append(f"array is {good['array']!r}, and LSF counts the tasks of an array from 1")
    return found


# What the shell takes as it is, and how several commands are one line; a pipe and a redirection belong to one command.
_KEPT = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|`[^`]*`|\$\([^()]*\)|\$\{[^}]*\}|[<>|]&|&>""")
_SEVERAL = re.compile(r"&&|\|\||[;&]|(?:^|\s)#")


def _several(command: str | tuple[str, ...]) -> list[str]:
    """Say that a command is several: the launcher would start the first, and the batch script the others."""
    if not isinstance(command, str):
        return []
    if sign := _SEVERAL.search(_KEPT.sub("_", command)):
        what = f"it must be one command, and {sign[0].strip()!r} makes another thing of it"
        return [f"command is {_shown(command)}; {what}: use a script, or ['bash', '-c', '...']"]
    if re.match(r"\w+=", command):
        return [f"command is {_shown(command)}; it must begin with a command: variables go into 'environment'"]
    return []


def _least(array: str) -> int:
    return min(int(part.partition("-")[0]) for part in array.partition("%")[0].partition(":")[0].split(","))


def _with_site(good: dict[str, Any]) -> dict[str, Any]:
    """Add what a site brings; what the file says itself holds, and its lists follow the site's."""
    good.setdefault("warning", min(120, good["time"] // 2))
    if "site" not in good:
        return good
    site: Site = SITES[good["site"]]
    brought: dict[str, Any] = {"scheduler": site.scheduler, "launcher": site.launcher, "node_local": site.node_local}
    found = {**brought, **good}
    found["launcher_flags"] = (*site.flags(found), *good.get("launcher_flags", ()))
    found["directives"] = (*site.directives(found), *good.get("directives", ()))
    found["environment"] = tuple({**dict(site.environment), **dict(good.get("environment", ()))}.items())
    if site.constraint(found) and "constraint" not in good:
        found["constraint"] = site.constraint(found)
    return found
