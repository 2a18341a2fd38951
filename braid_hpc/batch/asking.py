"""Commands of schedulers: what they answer, and what is said when they refuse."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from braid_hpc.vocabulary.errors import StorageError

__all__ = ["answer", "ask", "wrong_answer"]

#: A scheduler that does not answer within this time will not (s).
PATIENCE = 120


def ask(command: Sequence[str], *, cwd: Path | None = None, refused: str = "", script: Path | None = None) -> str:
    """Run a command of a scheduler.

    Parameters
    ----------
    command : sequence of str
        Its words.
    cwd : Path, optional
        Where it runs.
    refused : str
        What could not be done if it fails.
    script : Path, optional
        What it reads from its input.

    Returns
    -------
    str
        Its output.

    Raises
    ------
    StorageError
        If it is not there, fails, or does not answer.
    """
    said = refused or f"{command[0]} failed"
    try:
        with open(script or os.devnull, "rb") as given:
            done = subprocess.run(list(command), cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, stdin=given)
    except FileNotFoundError:
        raise StorageError(f"{said}: there is no command {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise StorageError(f"{said}: {command[0]} has not answered for {PATIENCE} s") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        error = StorageError(f"{said}: {lines[-1] if lines else f'exit code {done.returncode}'}")
        for line in lines[:-1]:
            error.add_note(line)
        raise error
    return done.stdout


def wrong_answer(command: str, said: str) -> StorageError:
    """Return the error for a scheduler that says something else than a job's id.

    Parameters
    ----------
    command : str
        What was asked.
    said : str
        What it answered.

    Returns
    -------
    StorageError
        To be raised.
    """
    return StorageError(f"{command} has answered {said!r} where a job's id was expected")


def answer(command: Sequence[str]) -> str:
    """Run a command whose answer is welcome and may be missing.

    Parameters
    ----------
    command : sequence of str
        Its words.

    Returns
    -------
    str
        Its output; empty if it failed: not every site lets everybody ask everything.
    """
    try:
        return ask(command)
    except StorageError:
        return ""
