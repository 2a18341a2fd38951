"""PBS Professional and OpenPBS: ``qsub``, ``qstat``, ``qdel``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from braid_hpc.batch.asking import answer, ask, wrong_answer
from braid_hpc.batch.durations import shown_time
from braid_hpc.batch.scheduler import Asked, Shell, beyond, together, unbroken

__all__ = ["PBS", "SCHEDULER"]

_HEAD = (
    "# A job is 77.server, a task of an array job 77[3].server; it begins in the home directory.",
    "number=${PBS_JOBID%%.*}",
    "number=${number%%[*}",
    'cd "$PBS_O_WORKDIR" || exit 1',
)

_NODES = '"$(sort -u "$PBS_NODEFILE" | wc -l)"'

_STATES = {
    **dict.fromkeys("QWTM", "pending"),
    "H": "held",
    **dict.fromkeys("RSUB", "running"),
    "E": "ending",
    **dict.fromkeys("FXC", "ended"),
}

_ID = re.compile(r"\d+(?:\[\])?(?:\.\S+)?")


class PBS:
    """PBS from version 13 on (``select``, ``depend=afterany`` on array jobs)."""

    name = "pbs"
    commands = ("qsub", "qstat", "qdel")
    reads_input = False
    shell = Shell(
        head=_HEAD,
        job="$number",
        submitted="${PBS_O_WORKDIR:?is set by qsub}",
        task="$PBS_ARRAY_INDEX",
        each_node=("mpiexec", "-n", _NODES, "-ppn", "1"),
        each_node_of={"openmpi": ("mpirun", "-n", _NODES, "--map-by", "ppr:1:node", "-x", "PATH")},
        launcher="mpiexec",
        by_hand=(
            "id=$(qsub {job})",
            "number=${{id%%.*}}; number=${{number%%[*}}",
            'qsub -W depend=afterany:"$id" -v {number} {compact}',
        ),
    )

    def directives(self, asked: Asked) -> list[str]:
        """Return the ``#PBS`` lines.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Lines.
        """
        scattered = asked.nodes > 1 and not any("place=" in each for each in asked.directives)
        options = [
            f"-N {asked.name}",
            f"-l select={_chunk(asked)}",
            *(["-l place=scatter"] if scattered else []),
            f"-l walltime={shown_time(asked.time)}",
            *([f"-q {asked.queue}"] if asked.queue else []),
            *([f"-A {asked.account}"] if asked.account else []),
            *([f"-J {asked.array}"] if asked.array else []),
            f"-r {'y' if asked.requeue else 'n'}",
            "-j oe",
            *([f"-o {_output(asked)}"] if asked.output is not None else []),
            *asked.directives,
        ]
        return [f"#PBS {option}" for option in options]

    def submit_command(self, script: Path, *, after: str | None = None) -> list[str]:
        """Return the ``qsub`` command.

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
        return ["qsub", *(["-W", f"depend=afterany:{after}"] if after else []), str(script)]

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
            The job's id, with its server.

        Raises
        ------
        StorageError
            If PBS refused.
        """
        command = self.submit_command(script, after=after)
        said = ask(command, cwd=script.parent, refused=f"PBS did not take {script.name}").strip()
        number = said.splitlines()[-1].strip() if said else ""
        if not _ID.fullmatch(number):
            raise wrong_answer("qsub", said)
        return number

    def states(self, jobs: Sequence[str]) -> dict[str, str]:
        """Return what PBS says of jobs.

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
            # -x: also those that are over.
            lines = re.findall(r"^\d\S*\s+.*\s([A-Z])\s+\S+\s*$", answer(["qstat", "-x", job]), re.MULTILINE)
            if lines:
                found[job] = together([_STATES.get(state, "running") for state in lines])
        return found

    def cancel(self, job: str) -> None:
        """Delete a job.

        Parameters
        ----------
        job : str
            Its id.

        Raises
        ------
        StorageError
            If PBS refused.
        """
        ask(["qdel", job], refused=f"job {job} was not cancelled")

    def faults(self, asked: Asked) -> list[str]:
        """Say what PBS would refuse.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Sentences.
        """
        limits: dict[str, int | None] = {}
        for text in re.split(r"^Queue: ", answer(["qstat", "-Q", "-f"]), flags=re.MULTILINE)[1:]:
            longest = re.search(r"resources_max\.walltime = (\d+):(\d+):(\d+)", text)
            hours, minutes, seconds = (int(part) for part in longest.groups()) if longest else (0, 0, 0)
            limits[text.split()[0]] = hours * 3600 + minutes * 60 + seconds if longest else None
        return beyond(asked, limits, "PBS has no queue")


def _chunk(asked: Asked) -> str:
    """Return the nodes that are wanted, as chunks of one node each."""
    parts = [str(asked.nodes)]
    if asked.constraint:
        parts.append(asked.constraint)
    if asked.node:
        parts.append(f"host={asked.node}")
    if not asked.whole_nodes:
        parts += [f"ncpus={asked.ranks_per_node * asked.cpus_per_rank}", f"mpiprocs={asked.ranks_per_node}"]
        parts += [f"ngpus={asked.gpus_per_node}"] if asked.gpus_per_node else []
    return ":".join(parts)


def _output(asked: Asked) -> str:
    path = unbroken(str(asked.output), "PBS")
    return f"{path.removesuffix('.out')}.^array_index^.out" if asked.array else path


SCHEDULER = PBS()
