"""A job is submitted, and with it the one that merges its logs when it is over, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid_hpc._version import __version__
from braid_hpc.batch.record import write_job
from braid_hpc.batch.rendering import PARTS, asked_of, render
from braid_hpc.batch.scheduler import Scheduler, find_scheduler
from braid_hpc.batch.specification import Specification, read_specification
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, StorageError

__all__ = ["Submission", "as_specification", "submit"]


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted, or would be.

    Attributes
    ----------
    directory : Path
        The job's directory.
    scheduler : str
        Its name.
    job, compaction : str or None
        The ids; None where nothing was submitted.
    commands : tuple of str
        The commands that submit, or have submitted, the two.
    scripts : dict of str to str
        The two scripts, ``job`` and ``compact``.
    store : Path
        The store that the logs come into.
    warnings : tuple of str
        What is not as it should be and does not stop the job.
    """

    directory: Path
    scheduler: str
    job: str | None
    compaction: str | None
    commands: tuple[str, ...]
    scripts: dict[str, str] = field(repr=False)
    store: Path
    warnings: tuple[str, ...] = ()


def as_specification(spec: Specification | Mapping[str, Any] | str | os.PathLike[str]) -> Specification:
    """Return a specification.

    Parameters
    ----------
    spec : Specification, mapping or path-like
        Itself, its fields, or the file that it stands in.

    Returns
    -------
    Specification
        Checked.

    Raises
    ------
    NotFoundError
        If there is no such file.
    InvalidInputError
        If it is not what a specification may be.
    """
    if isinstance(spec, Specification):
        return spec
    return Specification.of(spec) if isinstance(spec, Mapping) else read_specification(spec)


def submit(
    spec: Specification | Mapping[str, Any] | str | os.PathLike[str],
    *,
    scheduler: str | None = None,
    through: str | None = None,
    dry_run: bool = False,
) -> Submission:
    """Submit a job, and the one that merges its logs.

    Parameters
    ----------
    spec : Specification, mapping or path-like
        What the job needs: a specification, its fields, or a TOML file.
    scheduler : str, optional
        ``slurm``, ``pbs``, ``lsf``, ``flux`` or ``local``; without it the one that `spec` names, else the one that
        is found.
    through : str, optional
        ``psij``: the scripts are handed over by PSI/J (extra ``psij``), for Slurm, PBS and LSF.
    dry_run : bool
        Write nothing and submit nothing: the scripts and commands are returned.

    Returns
    -------
    Submission
        With the ids of both jobs. If the second was refused, it says so, and the first stays.

    Raises
    ------
    NotFoundError
        If there is no such file, or the scheduler is not installed here.
    InvalidInputError
        If something in the specification cannot be, or the scheduler would refuse it.
    StorageError
        If the shared directory cannot be written, or the scheduler refused the job.

    Examples
    --------
    >>> done = submit({"command": "python fit.py", "time": "00:10:00"}, scheduler="local", dry_run=True)
    >>> done.scheduler, done.job
    ('local', None)
    """
    chosen = as_specification(spec)
    to = find_scheduler(chosen, scheduler)
    if (to.name in ("flux", "local")) and chosen.array:
        raise InvalidInputError(f"{chosen.source}: {to.name} has no array jobs: submit a job for each task")
    warnings = _check(chosen, to)
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime())
    directory = chosen.shared / f"{chosen.name}-{moment}-{secrets.token_hex(2)}"
    path = os.path.dirname(os.path.abspath(sys.executable))
    scripts = {part: render(chosen, to, part, directory=directory, path=path) for part in PARTS}
    _check_shell(chosen, scripts["job"])
    planned = Submission(
        directory,
        to.name,
        None,
        None,
        _lines(to, directory, "JOB"),
        scripts,
        chosen.store_path,
        tuple(warnings),
    )
    if through not in (None, "psij"):
        raise InvalidInputError(f"jobs are submitted through psij, or by the scheduler's own command: not {through!r}")
    return planned if dry_run else _submit(chosen, to, planned, through)


def _send(spec: Specification, to: Scheduler, script: Path, *, through: str | None, after: str | None = None) -> str:
    if through is None:
        return to.submit(script, after=after)
    from braid_hpc.batch.psij import submit_through_psij

    return submit_through_psij(to, script, asked_of(spec, script.stem), after=after)


def _submit(spec: Specification, to: Scheduler, planned: Submission, through: str | None) -> Submission:
    directory = planned.directory
    try:
        (directory / "logs").mkdir(parents=True)
        for part, text in planned.scripts.items():
            script = directory / f"{part}.sh"
            script.write_text(text)
            script.chmod(0o755)
    except OSError as error:
        raise StorageError(f"{directory} cannot be written ({error.strerror})") from error
    about = _about(spec, planned)
    write_job(directory, about)
    try:
        job = _send(spec, to, directory / "job.sh", through=through)
    except BraidError:
        # Nothing runs there: what was written for it would only look like a job.
        shutil.rmtree(directory, ignore_errors=True)
        raise
    write_job(directory, about := {**about, "job": job})
    warnings = list(planned.warnings)
    compaction = None
    try:
        compaction = _send(spec, to, directory / "compact.sh", through=through, after=job)
    except BraidError as error:
        again = shlex.quote(str(directory / "compact.sh"))
        warnings.append(
            f"job {job} was submitted, and the one that merges its logs was not ({error}): "
            f"when it is over, run bash {again}"
        )
    write_job(directory, {**about, "compaction": compaction})
    commands = _lines(to, directory, job)
    return Submission(directory, to.name, job, compaction, commands, planned.scripts, planned.store, tuple(warnings))


def _lines(to: Scheduler, directory: Path, job: str) -> tuple[str, str]:
    """Return the commands that submit the two scripts, as a shell takes them."""

    def line(part: str, after: str | None) -> str:
        script = directory / f"{part}.sh"
        words = shlex.join(to.submit_command(script, after=after))
        return f"{words} < {shlex.quote(str(script))}" if to.reads_input else words

    return line("job", None), line("compact", job)


def _about(spec: Specification, planned: Submission) -> dict[str, Any]:
    return {
        "format": "braid job",
        "major": 1,
        "minor": 0,
        "name": spec.name,
        "scheduler": planned.scheduler,
        "job": None,
        "compaction": None,
        "submitted": time.time_ns(),
        "braid_version": __version__,
        "user": _user(),
        "command": spec.argument,
        "ranks": spec.ranks,
        "directory": str(planned.directory),
        "store": str(planned.store),
        "specification": spec.plain(),
    }


def _user() -> str:
    import getpass

    with contextlib.suppress(KeyError, OSError):
        return getpass.getuser()
    return str(os.getuid())


# ---------------------------------------------------------------------- what can be known before


def _check(spec: Specification, to: Scheduler) -> list[str]:
    """Raise for what cannot go well, and return what perhaps does not."""
    faults = [*_places(spec), *_modules(spec)]
    for part in PARTS:
        faults += [f"{spec.source}: {fault}" for fault in to.faults(asked_of(spec, part)) if fault not in faults]
    if faults := list(dict.fromkeys(faults)):
        error = InvalidInputError(faults[0])
        for fault in faults[1:]:
            error.add_note(fault)
        raise error
    return list(_command_is_missing(spec))


def _places(spec: Specification) -> Iterator[str]:
    """Say which directory cannot be written."""
    for key, place in (("directory", spec.shared), ("store", spec.store_path.parent)):
        # os.path and not Path, which raises for a name that is too long and where we may not look.
        there = next(each for each in (place, *place.parents) if os.path.lexists(each))
        if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
            yield f"{spec.source}: {key} is {str(place)!r}, and {there} cannot be written"


def _modules(spec: Specification) -> Iterator[str]:
    """Say which module does not exist, where there is a command to ask."""
    if not spec.modules:
        return
    question = "command -v module >/dev/null || exit 0; module is-avail x >/dev/null 2>&1; for m; do "
    question += 'module --terse avail "$m" 2>&1 | grep -q . || echo "$m"; done'
    try:
        done = subprocess.run(
            ["bash", "-lc", question, "bash", *spec.modules],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    for name in done.stdout.split():
        if name in spec.modules:
            yield f"{spec.source}: modules names {name!r}, and 'module avail' does not know it"


def _command_is_missing(spec: Specification) -> Iterator[str]:
    """Say that the command's first word is no command here; modules or another machine may bring it."""
    if spec.modules or spec.setup:
        return
    with contextlib.suppress(ValueError):
        first = next((word for word in shlex.split(spec.argument) if not re.match(r"\w+=", word)), "")
        path = f"{os.path.dirname(os.path.abspath(sys.executable))}{os.pathsep}{os.environ.get('PATH', '')}"
        if first and "$" not in first and shutil.which(first, path=path) is None:
            yield f"{spec.source}: command begins with {first!r}, which is no command here"


def _check_shell(spec: Specification, script: str) -> None:
    """Refuse a command or a line of the setup that the shell cannot read.

    Raises
    ------
    InvalidInputError
        With what bash says.
    """
    for key, lines in (("setup", spec.setup), ("command", (spec.argument,)), ("the script", (script,))):
        for line in lines:
            done = subprocess.run(["bash", "-n"], input=f"{line}\n", capture_output=True, text=True, timeout=60)
            if done.returncode:
                said = done.stderr.strip().splitlines()[0].removeprefix("bash: ")
                raise InvalidInputError(f"{spec.source}: the shell cannot read {key} ({said})")
