"""The machine itself as a scheduler: a job is a process of its own, which goes on when its terminal is closed."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from braid_hpc.batch.asking import ask
from braid_hpc.batch.scheduler import Asked, Shell
from braid_hpc.log.header import process_start
from braid_hpc.vocabulary.errors import StorageError

__all__ = ["SCHEDULER", "Local"]

# The id is printed before the output goes to a file: who submits waits for no more than that.
_BEGIN = 'BRAID_JOB_ID=$(date +%s)-$$; export BRAID_JOB_ID; echo "$BRAID_JOB_ID"; '
_BEGIN += 'exec >>"${0%.sh}.out" 2>&1 </dev/null; '
_RUN = 'exec bash "$0"'
_AFTER = 'tail --pid="$1" -f /dev/null; '

_JOB = re.compile(r"(\d+)-(\d+)")

#: What a process's start may lie before the time in its id (s): clocks are read one after the other.
_SLACK = 30


class Local:
    """One machine: jobs begin at once, all of them, and nobody ends them at their limit but their own script."""

    name = "local"
    commands = ("bash", "setsid", "tail")
    reads_input = False
    shell = Shell(
        job="${BRAID_JOB_ID:-$$}",
        submitted="$PWD",
        attempt="0",
        each_node=(),
        launcher="mpirun",
        limits=False,
        by_hand=("BRAID_JOB_ID=1 bash {job}", 'JOB_DIRECTORY="$PWD/{name}-1" bash {compact}'),
    )

    def directives(self, asked: Asked) -> list[str]:
        """Return nothing: nobody reads them.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Empty.
        """
        return []

    def submit_command(self, script: Path, *, after: str | None = None) -> list[str]:
        """Return the command that starts a script as a process of its own.

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
        steps = _BEGIN + (_AFTER if after else "") + _RUN
        return ["setsid", "--fork", "bash", "-c", steps, str(script), *([after.rpartition("-")[2]] if after else [])]

    def submit(self, script: Path, *, after: str | None = None) -> str:
        """Start a script.

        Parameters
        ----------
        script : Path
            The script.
        after : str, optional
            A job that has to be over first.

        Returns
        -------
        str
            The job's id: when it began, and its process.

        Raises
        ------
        StorageError
            If it could not be started.
        """
        said = ask(
            self.submit_command(script, after=after), cwd=script.parent, refused=f"{script.name} could not be started"
        ).strip()
        if not _JOB.fullmatch(said):
            raise StorageError(f"{script.name} could not be started: its shell said {said!r}")
        return said

    def states(self, jobs: Sequence[str]) -> dict[str, str]:
        """Say which processes are there.

        Parameters
        ----------
        jobs : sequence of str
            Ids of jobs.

        Returns
        -------
        dict of str to str
            ``running`` or ``ended``.
        """
        return {job: "running" if _process(job) is not None else "ended" for job in jobs}

    def cancel(self, job: str) -> None:
        """End a job and all of its processes.

        Parameters
        ----------
        job : str
            Its id.

        Raises
        ------
        StorageError
            If there is no such process, or it is somebody else's.
        """
        process = _process(job)
        if process is None:
            raise StorageError(f"job {job} is over")
        try:
            os.killpg(process, signal.SIGTERM)
        except OSError as error:
            raise StorageError(f"job {job} was not cancelled ({error.strerror})") from error

    def faults(self, asked: Asked) -> list[str]:
        """Say what cannot be done on one machine.

        Parameters
        ----------
        asked : Asked
            What is wanted.

        Returns
        -------
        list of str
            Nothing: more nodes than one are ranks on this one.
        """
        return []


def _process(job: str) -> int | None:
    """Return the process of a job that is not over."""
    found = _JOB.fullmatch(job)
    if found is None:
        return None
    process = int(found[2])
    ticks = process_start(process)
    if not ticks or _is_zombie(process):
        return None
    # Another process may bear its number by now.
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    began = time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")
    return process if abs(began - int(found[1])) <= _SLACK else None


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


SCHEDULER = Local()
