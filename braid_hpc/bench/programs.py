"""Where the programs that measure are: beside the package in the sources, inside of it where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import braid_hpc._version as inside
from braid_hpc.vocabulary.errors import NotFoundError

__all__ = ["PROGRAMS", "find_program", "run_program"]

#: What each program measures, in the order in which all of them are run.
PROGRAMS = {
    "recording": "what an event costs a rank, beside what else one could take, and what outlives a kill",
    "scaling": "what an event costs on 1 to 64 ranks, in logs of their own and in what all share",
    "overhead": "how much longer whole programs take with recording on",
    "compaction": "what it costs to merge logs into a store",
    "lineage": "what questions about lineage cost, beside other engines",
}


def find_program(name: str) -> Path:
    """Return the path of a program.

    Parameters
    ----------
    name : str
        One of :data:`PROGRAMS`.

    Returns
    -------
    Path
        Of a file that Python can run.

    Raises
    ------
    NotFoundError
        If it is not there.
    """
    package = Path(inside.__file__).parent
    for folder in (package / "benchmarks", package.parent / "benchmarks"):
        if (path := folder / f"{name}.py").is_file():
            return path
    raise NotFoundError(f"the program {name}.py is neither in {package}/benchmarks nor beside the package")


def run_program(name: str, arguments: Sequence[str]) -> int:
    """Run a program to its end, with what it prints and shows going where this process's goes.

    Parameters
    ----------
    name : str
        One of :data:`PROGRAMS`.
    arguments : sequence of str
        For the program.

    Returns
    -------
    int
        Its exit code; of a signal, 128 and its number.

    Raises
    ------
    NotFoundError
        If it is not there.
    KeyboardInterrupt
        If this process was interrupted meanwhile.
    """
    process = subprocess.Popen([sys.executable, os.fspath(find_program(name)), *arguments])
    interrupted = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            # The program was interrupted too, and writes what it has measured.
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return 128 - code if code < 0 else code
