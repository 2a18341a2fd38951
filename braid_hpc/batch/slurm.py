"""Slurm: ``sbatch``, ``squeue``, ``scancel``, ``scontrol``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from braid_hpc.batch.asking import answer, ask, wrong_answer
from braid_hpc.batch.durations import shown_time
from braid_hpc.batch.scheduler import Asked, Shell, beyond, together

__all__ = ["SCHEDULER", "Slurm"]

_EACH_NODE = (
    *("srun", "--overlap", "--job-name=braid-ship", '--nodes="$SLURM_JOB_NUM_NODES"'),
    *('--ntasks="$SLURM_JOB_NUM_NODES"', "--ntasks-per-node=1", "--cpus-per-task=1", "--mpi=none"),
    "--kill-on-bad-exit=0",
)

# srun answers SIGTERM by killing its tasks at once; a signal to the step itself is one that they can answer.
# The last task of an array has the id of the array, by which the steps of all its tasks are listed.
_STOP = (
    r'mine="$SLURM_JOB_ID\|${SLURM_ARRAY_JOB_ID-}_${SLURM_ARRAY_TASK_ID-}"',
    'steps=$(squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format="%i %j" |',
    r'    sed -n "s/^ *\(\($mine\)\.[0-9]*\) *braid-ship *$/\1/p")',
    "# shellcheck disable=SC2086 # each step is a word of its own",
    "[[ -z $steps ]] || scancel --signal=TERM $steps",
)

_STATES = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED"), "pending"),
    **dict.fromkeys(("RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"), "running"),
    **dict.fromkeys(("COMPLETING", "STAGE_OUT"), "ending"),
    **dict.fromkeys(("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"), "held"),
}


class Slurm:
    """Slurm from version 20.11 on (``--overlap``)."""

    name = "slurm"
    commands = ("sbatch", "squeue", "scancel")
    reads_input = False
    shell = Shell(
        job="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}",
        submitted="${SLURM_SUBMIT_DIR:?is set by sbatch}",
        task="$SLURM_ARRAY_TASK_ID",
        attempt="${SLURM_RESTART_COUNT:-0}",
        each_node=_EACH_NODE,
        stop=_STOP,
        warned="USR1",
        launcher="srun",
        by_hand=(
            "id=$(sbatch --parsable {job})",
            'sbatch --dependency=afterany:"$id" --export=ALL,{variable} {compact}',
        ),
    )

    def directives(self, asked: Asked) -> list[str]:
        """Return the ``#SBATCH`` lines.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Lines.
        """
        options = [
            f"--job-name={asked.name}",
            f"--nodes={asked.nodes}",
            f"--ntasks-per-node={asked.ranks_per_node}",
            f"--cpus-per-task={asked.cpus_per_rank}",
            *([f"--gpus-per-node={asked.gpus_per_node}"] if asked.gpus_per_node and not asked.whole_nodes else []),
            f"--time={shown_time(asked.time)}",
            *([f"--partition={asked.queue}"] if asked.queue else []),
            *([f"--account={asked.account}"] if asked.account else []),
            *([f"--constraint={asked.constraint}"] if asked.constraint else []),
            *([f"--nodelist={asked.node}"] if asked.node else []),
            *([f"--array={asked.array}"] if asked.array else []),
            *([f"--signal=B:{self.shell.warned}@{asked.warning}"] if asked.warning else []),
            "--requeue" if asked.requeue else "--no-requeue",
            "--open-mode=append",
            f"--output={_output(asked)}",
            *asked.directives,
        ]
        return [f"#SBATCH {option}" for option in options]

    def submit_command(self, script: Path, *, after: str | None = None) -> list[str]:
        """Return the ``sbatch`` command.

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
        dependency = [f"--dependency=afterany:{after}"] if after else []
        return ["sbatch", "--parsable", *dependency, str(script)]

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
            If Slurm refused.
        """
        command = self.submit_command(script, after=after)
        said = ask(command, cwd=script.parent, refused=f"Slurm did not take {script.name}")
        # With several clusters "77;cluster".
        number = said.strip().splitlines()[-1].partition(";")[0] if said.strip() else ""
        if not number.isdecimal():
            raise wrong_answer("sbatch", said.strip())
        return number

    def states(self, jobs: Sequence[str]) -> dict[str, str]:
        """Return what Slurm says of jobs.

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
            # One by one: squeue refuses a whole list for one job that it has forgotten.
            said = answer(["squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T"]).split()
            if said:
                found[job] = together([_STATES.get(state, "ended") for state in said])
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
            If Slurm refused.
        """
        ask(["scancel", job], refused=f"job {job} was not cancelled")

    def faults(self, asked: Asked) -> list[str]:
        """Say what Slurm would refuse.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Sentences.
        """
        found = re.findall(r"^PartitionName=(\S+).*? MaxTime=(\S+)", answer(_PARTITIONS), re.MULTILINE)
        return beyond(asked, {name: _seconds(limit) for name, limit in found}, "Slurm has no partition")


_PARTITIONS = ("scontrol", "--oneliner", "show", "partition")


def _output(asked: Asked) -> str:
    if asked.output is None:
        return "%x-%A.%a.out" if asked.array else "%x-%j.out"
    # %: Slurm would take it for a sign of its own.
    path = asked.output.replace("%", "%%")
    path = f"{path.removesuffix('.out')}.%a.out" if asked.array else path
    # Unquoted, a space ends an option for sbatch, and # begins a comment; a backslash alone keeps no space in.
    return path if re.fullmatch(r"[^\s\"'\\#]*", path) else '"' + re.sub(r'(["\\])', r"\\\1", path) + '"'


def _seconds(limit: str) -> int | None:
    """Return Slurm's ``days-hours:minutes:seconds`` as seconds, None for no limit."""
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) != 3:
        return None
    hours, minutes, seconds = (int(part) for part in parts)
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


SCHEDULER = Slurm()
