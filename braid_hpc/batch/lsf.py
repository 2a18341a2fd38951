"""IBM Spectrum LSF: ``bsub``, ``bjobs``, ``bkill``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from braid_hpc.batch.asking import answer, ask, wrong_answer
from braid_hpc.batch.durations import shown_time
from braid_hpc.batch.scheduler import Asked, Shell, beyond, together, unbroken

__all__ = ["LSF", "SCHEDULER"]

_HOSTS = '"$(sort -u "$LSB_DJOB_HOSTFILE" | paste -sd " ")"'
# Where jsrun starts ranks, the first host of the file is the one that runs this script.
_NODES = '"$(tail -n +2 "$LSB_DJOB_HOSTFILE" | sort -u | wc -l)"'

_STATES = {
    **dict.fromkeys(("PEND", "PROV", "WAIT"), "pending"),
    "PSUSP": "held",
    **dict.fromkeys(("RUN", "USUSP", "SSUSP", "UNKWN"), "running"),
    **dict.fromkeys(("DONE", "EXIT", "ZOMBI"), "ended"),
}


class LSF:
    """LSF from version 10.1 on."""

    name = "lsf"
    commands = ("bsub", "bjobs", "bkill")
    # Only what bsub reads from its input is searched for directives.
    reads_input = True
    shell = Shell(
        job="$LSB_JOBID",
        submitted="${LS_SUBCWD:?is set by bsub}",
        task="$LSB_JOBINDEX",
        each_node=("blaunch", "-z", _HOSTS),
        each_node_of={"jsrun": ("jsrun", "-n", _NODES, "-r", "1", "-a", "1", "-c", "1", "--bind=none")},
        launcher="mpirun",
        by_hand=(
            "id=$(bsub <{job} | sed 's/[^0-9]*\\([0-9]*\\).*/\\1/')",
            '{variable} bsub -w "ended($id)" <{compact}',
        ),
    )

    def directives(self, asked: Asked) -> list[str]:
        """Return the ``#BSUB`` lines.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Lines.
        """
        tasks, _, together_ = (asked.array or "").partition("%")
        name = f'"{asked.name}[{tasks}]{"%" + together_ if together_ else ""}"' if asked.array else asked.name
        options = [
            f"-J {name}",
            *_shape(asked),
            f"-W {shown_time(asked.time, seconds_too=False)}",
            *([f'-gpu "num={asked.gpus_per_node}"'] if asked.gpus_per_node else []),
            *([f"-q {asked.queue}"] if asked.queue else []),
            *([f"-P {asked.account}"] if asked.account else []),
            *([f'-R "{asked.constraint}"'] if asked.constraint else []),
            *([f"-m {asked.node}"] if asked.node else []),
            "-r" if asked.requeue else "-rn",
            f"-o {_output(asked)}",
            *asked.directives,
        ]
        return [f"#BSUB {option}" for option in options]

    def submit_command(self, script: Path, *, after: str | None = None) -> list[str]:
        """Return the ``bsub`` command; the script is its input.

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
        return ["bsub", *(["-w", f"ended({after})"] if after else [])]

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
            If LSF refused.
        """
        command = self.submit_command(script, after=after)
        said = ask(command, cwd=script.parent, refused=f"LSF did not take {script.name}", script=script)
        found = re.search(r"Job <(\d+)> is submitted", said)
        if found is None:
            raise wrong_answer("bsub", said.strip())
        return found[1]

    def states(self, jobs: Sequence[str]) -> dict[str, str]:
        """Return what LSF says of jobs.

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
            states = answer(["bjobs", "-a", "-noheader", "-o", "stat", job]).split()
            if states and all(state.isupper() for state in states):
                found[job] = together([_STATES.get(state, "running") for state in states])
        return found

    def cancel(self, job: str) -> None:
        """Kill a job.

        Parameters
        ----------
        job : str
            Its id.

        Raises
        ------
        StorageError
            If LSF refused.
        """
        ask(["bkill", job], refused=f"job {job} was not cancelled")

    def faults(self, asked: Asked) -> list[str]:
        """Say what LSF would refuse.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Sentences.
        """
        if not asked.queue:
            return []
        limits: dict[str, int | None] = dict.fromkeys(answer(["bqueues", "-noheader", "-o", "queue_name"]).split())
        longest = re.search(r"RUNLIMIT\s*\n\s*([\d.]+) min", answer(["bqueues", "-l", asked.queue]))
        if longest and asked.queue in limits:
            limits[asked.queue] = round(float(longest[1]) * 60)
        return beyond(asked, limits, "LSF has no queue")


def _shape(asked: Asked) -> list[str]:
    """Return how many processors are wanted, and on how many nodes."""
    if asked.launcher == "jsrun" or asked.whole_nodes:
        return [f"-nnodes {asked.nodes}"]
    cores = [f'-R "affinity[core({asked.cpus_per_rank})]"'] if asked.cpus_per_rank > 1 else []
    return [f"-n {asked.nodes * asked.ranks_per_node}", f'-R "span[ptile={asked.ranks_per_node}]"', *cores]


def _output(asked: Asked) -> str:
    if asked.output is None:
        return f"{asked.name}-%J.%I.out" if asked.array else f"{asked.name}-%J.out"
    path = unbroken(asked.output, "LSF")
    return f"{path.removesuffix('.out')}.%I.out" if asked.array else path


SCHEDULER = LSF()
