"""What a batch system is asked, and what it says to a script: one Protocol, one small module for each of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

from braid_hpc.batch.durations import shown_time
from braid_hpc.batch.specification import SCHEDULERS, Specification
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

__all__ = [
    "Asked",
    "Scheduler",
    "Shell",
    "beyond",
    "find_scheduler",
    "missing_commands",
    "scheduler",
    "together",
    "unbroken",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one script asks its scheduler for.

    Attributes
    ----------
    name : str
        Of the job.
    nodes, ranks_per_node, cpus_per_rank, gpus_per_node : int
        How many.
    time : int
        The limit in seconds.
    queue, account, constraint, array : str or None
        As in the specification.
    directives : tuple of str
        Further options.
    output : str or None
        Where the output goes; None for a file beside, named by the scheduler.
    requeue : bool
        Whether it may be started again.
    warning : int
        Seconds before the limit at which the script gets a signal; 0 for none.
    node : str or None
        The one node that it has to run on.
    whole_nodes : bool
        Whether a job gets whole nodes without asking for their processors.
    launcher : str
        What starts the ranks.
    """

    name: str
    nodes: int = 1
    ranks_per_node: int = 1
    cpus_per_rank: int = 1
    gpus_per_node: int = 0
    time: int
    queue: str | None = None
    account: str | None = None
    constraint: str | None = None
    array: str | None = None
    directives: tuple[str, ...] = ()
    output: str | None = None
    requeue: bool = True
    warning: int = 0
    node: str | None = None
    whole_nodes: bool = False
    launcher: str = "mpirun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What a script says in the words of its scheduler.

    Attributes
    ----------
    head : tuple of str
        Lines before anything else.
    job : str
        The job's id; of an array job that of all its tasks.
    submitted : str
        The directory that the job was submitted from.
    task : str
        The number of this task of an array job; empty where there are no arrays.
    attempt : str
        How often the scheduler has started the job again; empty where it does not say.
    each_node : tuple of str
        Words that start one process on each node, beside the ranks.
    each_node_of : dict of str to tuple of str
        Other words, by the launcher of the ranks.
    stop : tuple of str
        Lines that end the shippers gently; ``$shipper`` is the process that started them.
    warned : str
        The signal that the scheduler sends before the limit, or empty: the script has a clock of its own.
    launcher : str
        What starts ranks where the specification does not say.
    limits : bool
        Whether the scheduler ends a job at its limit.
    by_hand : tuple of str
        Commands that submit the two scripts without ours.
    """

    head: tuple[str, ...] = ()
    job: str
    submitted: str
    task: str = ""
    attempt: str = ""
    each_node: tuple[str, ...]
    each_node_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stop: tuple[str, ...] = ('kill -TERM "$shipper" 2>/dev/null',)
    warned: str = ""
    launcher: str = "mpirun"
    limits: bool = True
    by_hand: tuple[str, ...] = ()


class Scheduler(Protocol):
    """A batch system."""

    #: As a specification names it.
    name: str
    #: Its commands; where all of them are on the PATH, it is there.
    commands: tuple[str, ...]
    #: How its scripts speak to it.
    shell: Shell
    #: Whether its command reads the script from its input.
    reads_input: bool

    def directives(self, asked: Asked) -> list[str]:
        """Return the lines at the head of a script.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Comments to the shell.
        """
        ...

    def submit_command(self, script: Path, *, after: str | None = None) -> list[str]:
        """Return the command that submits a script.

        Parameters
        ----------
        script : Path
            The script.
        after : str, optional
            A job that has to be over first, however it ended.

        Returns
        -------
        list of str
            Its words.
        """
        ...

    def submit(self, script: Path, *, after: str | None = None) -> str:
        """Submit a script.

        Parameters
        ----------
        script : Path
            The script; it runs in its own directory.
        after : str, optional
            A job that has to be over first, however it ended.

        Returns
        -------
        str
            The job's id.

        Raises
        ------
        StorageError
            If the scheduler refused; what it said is a note.
        """
        ...

    def states(self, jobs: Sequence[str]) -> dict[str, str]:
        """Return what the scheduler says of jobs.

        Parameters
        ----------
        jobs : sequence of str
            Their ids.

        Returns
        -------
        dict of str to str
            ``pending``, ``held``, ``running``, ``ending`` or ``ended``; ``unknown`` where the scheduler does not
            know the job any more.
        """
        ...

    def cancel(self, job: str) -> None:
        """End a job, or take it out of the queue.

        Parameters
        ----------
        job : str
            Its id.

        Raises
        ------
        StorageError
            If the scheduler refused.
        """
        ...

    def faults(self, asked: Asked) -> list[str]:
        """Say what the scheduler would refuse, as far as it can be asked.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Sentences: a queue that does not exist, a time beyond its limit.
        """
        ...


def together(states: Sequence[str]) -> str:
    """Return one state for several tasks of a job.

    Parameters
    ----------
    states : sequence of str
        Of each.

    Returns
    -------
    str
        The liveliest; ``ended`` only if all are.
    """
    return next((state for state in ("running", "ending", "pending", "held") if state in states), "ended")


def unbroken(path: str, scheduler: str) -> str:
    """Return a path that stands in a directive as it is.

    Parameters
    ----------
    path : str
        Where output goes.
    scheduler : str
        Whose manual has no way to quote one.

    Returns
    -------
    str
        The path.

    Raises
    ------
    InvalidInputError
        If there are blanks or quotes in it: the output would go elsewhere, or nowhere.
    """
    if any(letter.isspace() or letter in "'\"" for letter in path):
        raise InvalidInputError(
            f"{scheduler} takes no blanks and quotes in a path, and the output would go to {path!r}: name another "
            "directory in the specification"
        )
    return path


def beyond(asked: Asked, limits: dict[str, int | None], what: str) -> list[str]:
    """Say what a scheduler would refuse, by its queues.

    Parameters
    ----------
    asked : Asked
        What is wanted.
    limits : dict of str to int or None
        The longest time of each queue (s); None for no limit. Nothing is said where none are known.
    what : str
        What the scheduler calls a queue, with its own name: ``"Slurm has no partition"``.

    Returns
    -------
    list of str
        Sentences.
    """
    if not limits or not asked.queue:
        return []
    if asked.queue not in limits:
        return [f"{what} {asked.queue!r}: there are {', '.join(sorted(limits))}"]
    limit = limits[asked.queue]
    if limit is not None and asked.time > limit:
        kind = what.rpartition(" ")[2]
        return [f"time is {shown_time(asked.time)}, and {kind} {asked.queue} allows {shown_time(limit)}"]
    return []


def scheduler(name: str) -> Scheduler:
    """Return a scheduler by its name.

    Parameters
    ----------
    name : str
        ``slurm``, ``pbs``, ``lsf``, ``flux`` or ``local``.

    Returns
    -------
    Scheduler
        Whether it is installed here or not: scripts can be written for it all the same.

    Raises
    ------
    InvalidInputError
        If there is none of that name.
    """
    if name not in SCHEDULERS:
        raise InvalidInputError(f"there is no scheduler {name!r}: it is one of {', '.join(SCHEDULERS)}")
    found: Scheduler = import_module(f"braid_hpc.batch.{name}").SCHEDULER
    return found


def find_scheduler(spec: Specification | None = None, named: str | None = None) -> Scheduler:
    """Return the scheduler to submit to.

    Parameters
    ----------
    spec : Specification, optional
        May name one.
    named : str, optional
        Comes before that.

    Returns
    -------
    Scheduler
        The one that is named, else the first whose commands are on the PATH; this machine itself without any.

    Raises
    ------
    NotFoundError
        If what is named is not installed here.
    """
    if wanted := named or (spec.scheduler if spec is not None else None):
        chosen = scheduler(wanted)
        if missing := missing_commands(chosen.commands):
            where = os.environ.get("PATH", "")
            error = NotFoundError(f"{wanted} is not here: there is no command {', '.join(missing)} on the PATH")
            error.add_note(f"PATH is {where}")
            raise error
        return chosen
    return next(each for each in map(scheduler, SCHEDULERS) if not missing_commands(each.commands))


def missing_commands(commands: Iterable[str]) -> list[str]:
    """Return those of several commands that are not on the PATH.

    Parameters
    ----------
    commands : iterable of str
        Their names.

    Returns
    -------
    list of str
        In their order.
    """
    return [name for name in commands if shutil.which(name) is None]
