"""Flux: ``flux batch``, ``flux jobs``, ``flux cancel``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from braid_hpc.batch.asking import answer, ask, wrong_answer
from braid_hpc.batch.scheduler import Asked, Shell, beyond, together

__all__ = ["SCHEDULER", "Flux"]

_HEAD = (
    "# The id of this job in the instance that runs it, as a number.",
    'number=$(flux job id --to=dec "$(flux getattr jobid)")',
)

_STATES = {
    **dict.fromkeys(("DEPEND", "PRIORITY", "SCHED"), "pending"),
    "RUN": "running",
    "CLEANUP": "ending",
    "INACTIVE": "ended",
}

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Flux:
    """Flux from version 0.54 on, where users submit to an instance of the whole machine."""

    name = "flux"
    commands = ("flux",)
    reads_input = False
    shell = Shell(
        head=_HEAD,
        job="$number",
        submitted="$PWD",
        each_node=("flux", "exec", "--rank=all"),
        launcher="flux",
        by_hand=(
            "id=$(flux batch {job})",
            '{decimal} flux batch --dependency=afterany:"$id" {compact}',
        ),
    )

    def directives(self, asked: Asked) -> list[str]:
        """Return the ``# flux:`` lines.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Lines.
        """
        requires = " ".join([*([asked.constraint] if asked.constraint else []), *_host(asked)])
        options = [
            f"--job-name={asked.name}",
            # One slot is what a job has of one node.
            f"--nodes={asked.nodes}",
            f"--nslots={asked.nodes}",
            f"--cores-per-slot={asked.ranks_per_node * asked.cpus_per_rank}",
            *([f"--gpus-per-slot={asked.gpus_per_node}"] if asked.gpus_per_node else []),
            *(["--exclusive"] if asked.whole_nodes else []),
            f"--time-limit={asked.time}s",
            *([f"--queue={asked.queue}"] if asked.queue else []),
            *([f"--bank={asked.account}"] if asked.account else []),
            *([f"--requires='{requires}'"] if requires else []),
            f"--output={shlex.quote(asked.output) if asked.output else asked.name + '-{{id.dec}}.out'}",
            *asked.directives,
        ]
        return [f"# flux: {option}" for option in options]

    def submit_command(self, script: Path, *, after: str | None = None) -> list[str]:
        """Return the ``flux batch`` command.

        Parameters
        ----------
        script : Path
            The script.
        after : str, optional
            A job that has to be over first.

        Returns
        -------
        list of str
            Its words.
        """
        return ["flux", "batch", *([f"--dependency=afterany:{after}"] if after else []), str(script)]

    def submit(self, script: Path, *, after: str | None = None) -> str:
        """Submit a script.

        Parameters
        ----------
        script : Path
            The script.
        after : str, optional
            A job that has to be over first.

        Returns
        -------
        str
            The job's id.

        Raises
        ------
        StorageError
            If Flux refused.
        """
        command = self.submit_command(script, after=after)
        said = ask(command, cwd=script.parent, refused=f"Flux did not take {script.name}").split()
        if len(said) != 1:
            raise wrong_answer("flux batch", " ".join(said))
        return said[0]

    def states(self, jobs: Sequence[str]) -> dict[str, str]:
        """Return what Flux says of jobs.

        Parameters
        ----------
        jobs : sequence of str
            Their ids.

        Returns
        -------
        dict of str to str
            See :meth:`braid_hpc.batch.scheduler.Scheduler.states`.
        """
        found = dict.fromkeys(jobs, "unknown")
        for job in jobs:
            states = answer(["flux", "jobs", "--no-header", "--format={state}", job]).split()
            if states:
                found[job] = together([_STATES.get(state, "running") for state in states])
        return found

    def cancel(self, job: str) -> None:
        """Cancel a job.

        Parameters
        ----------
        job : str
            Its id.

        Raises
        ------
        StorageError
            If Flux refused.
        """
        ask(["flux", "cancel", job], refused=f"job {job} was not cancelled")

    def faults(self, asked: Asked) -> list[str]:
        """Say what Flux would refuse.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Sentences.
        """
        said = answer(["flux", "queue", "list", "--no-header", "--format={queue} {limits.timelimit}"])
        limits = {words[0]: _seconds(words[1]) for line in said.splitlines() if len(words := line.split()) == 2}
        return beyond(asked, limits, "Flux has no queue")


def _host(asked: Asked) -> list[str]:
    return [f"host:{asked.node}"] if asked.node else []


def _seconds(limit: str) -> int | None:
    """Return a duration of Flux as seconds, None for no limit."""
    found = re.fullmatch(r"([\d.]+)([smhd])", limit)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


SCHEDULER = Flux()
