"""Starting the ranks that a benchmark measures, and ending them when their time is over."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_ranks(
    program: str, arguments: Sequence[str], *, ranks: int, limit: float, variables: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Run Python on real ranks, with a program that lies beside this one, or with other arguments.

    Variables of this package that the user has set do not reach them. Returns what rank 0 and the others printed, and
    why they did not end well, or nothing.
    """
    from braid_hpc.cli.demo import find_mpirun, launch_environment

    launcher = find_mpirun()
    if launcher is None:
        return "", "there is no mpirun here"
    environment = {name: value for name, value in launch_environment(launcher).items() if not name.startswith("BRAID_")}
    path = [str(Path(__file__).with_name(program))] if program else []
    # Files, not pipes: a rank that outlives the launcher would keep a pipe open.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        process = subprocess.Popen(
            [launcher, "-n", str(ranks), sys.executable, *path, *arguments],
            env=environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=wrong,
        )
        ended = False
        try:
            process.wait(limit)
            ended = True
        except subprocess.TimeoutExpired:
            pass
        finally:
            end(process)
        for file in (said, wrong):
            file.seek(0)
        text, errors = said.read(), wrong.read()
    if not ended:
        return text, f"the job was ended after {limit:.0f} s"
    if process.returncode:
        lines = [line for line in (errors or text).splitlines() if line.strip()]
        telling = [line for line in lines if "Error" in line] or lines or [""]
        return text, f"the job ended with {process.returncode}: {telling[-1][:160]}"
    return text, ""


def end(process: subprocess.Popen[bytes]) -> None:
    """End a launcher: it ends its ranks when it is asked to; when it is killed it cannot."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
