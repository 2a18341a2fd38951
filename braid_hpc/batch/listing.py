"""Jobs that were submitted from here: what became of each, and ending one."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.batch.record import JOB_NAME, read_json
from braid_hpc.batch.scheduler import missing_commands, scheduler
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError

__all__ = ["Job", "cancel", "find_job", "jobs"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was submitted.

    Attributes
    ----------
    directory : Path
        The job's directory.
    name, scheduler : str
        Its name, and who runs it.
    job, compaction : str or None
        The ids.
    submitted : int
        When (UTC ns).
    state, merge : str
        Of the job, and of the one that merges its logs: ``pending``, ``held``, ``running``, ``ending``, ``ended``,
        ``unknown``; ``none`` where there is none.
    exit_code : int or None
        Of the newest attempt, once the summary or the script has said it.
    complete, expected : int or None
        How many ranks' logs are complete, and how many there should be, once there is a summary.
    """

    directory: Path
    name: str
    scheduler: str
    job: str | None
    compaction: str | None
    submitted: int
    state: str
    merge: str
    exit_code: int | None
    complete: int | None
    expected: int | None


def jobs(directory: str | os.PathLike[str] = ".") -> list[Job]:
    """List the jobs that were submitted into a shared directory.

    Parameters
    ----------
    directory : path-like
        The one that the specification names, or a job's own.

    Returns
    -------
    list of Job
        In the order in which they were submitted.

    Raises
    ------
    NotFoundError
        If there is no such directory.
    """
    root = Path(directory)
    if not root.is_dir():
        raise NotFoundError(f"there is no directory {root}")
    found = sorted(_submitted(root), key=lambda item: (_number(item[1].get("submitted")) or 0, str(item[0])))
    asked: dict[str, list[str]] = defaultdict(list)
    for _, about in found:
        asked[str(about.get("scheduler"))] += [str(about[key]) for key in ("job", "compaction") if about.get(key)]
    states = {name: _states(name, ids) for name, ids in asked.items()}
    return [_job(path, about, states[str(about.get("scheduler"))]) for path, about in found]


def _submitted(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in [root / JOB_NAME, *root.glob(f"*/{JOB_NAME}")]:
        about, _ = read_json(path)
        if about is not None and about.get("format") == "braid job":
            yield path.parent, about


def _states(name: str, ids: list[str]) -> dict[str, str]:
    try:
        known = scheduler(name)
    except InvalidInputError:
        return {}
    # A directory may be looked at where the scheduler is not.
    return {} if missing_commands(known.commands) else known.states(ids)


def _job(path: Path, about: dict[str, Any], states: dict[str, str]) -> Job:
    summary, _ = read_json(path / "summary.json")
    found = (summary or {}).get("counts")
    counts = found if isinstance(found, dict) else {}

    def state(key: str) -> str:
        return states.get(str(about[key]), "unknown") if about.get(key) else "none"

    return Job(
        path,
        str(about.get("name")),
        str(about.get("scheduler")),
        about.get("job"),
        about.get("compaction"),
        _number(about.get("submitted")) or 0,
        state("job"),
        state("compaction"),
        _exit_code(path),
        _number(counts.get("complete")),
        _number(counts.get("expected")),
    )


def _exit_code(path: Path) -> int | None:
    """Return the exit code of the newest attempt; of several tasks the worst."""
    newest: dict[str, tuple[int, int | None]] = {}
    for place in path.glob("logs/*attempt-*"):
        task, _, number = place.name.rpartition("attempt-")
        ended, _ = read_json(place / "ended.json")
        if number.isdecimal():
            newest[task] = max(newest.get(task, (-1, None)), (int(number), _number((ended or {}).get("exit_code"))))
    codes = [code for _, code in newest.values()]
    return None if not codes or None in codes else max(code or 0 for code in codes)


def _number(value: Any) -> int | None:
    """Return a number of a file that may be damaged."""
    return value if isinstance(value, int) else None


def find_job(job: str, directory: str | os.PathLike[str] = ".") -> Job:
    """Return one job.

    Parameters
    ----------
    job : str
        Its id, its directory, or the name of that.
    directory : path-like
        Where to look.

    Returns
    -------
    Job
        The job.

    Raises
    ------
    NotFoundError
        If there is none of that id.
    ConflictError
        If there are several.
    """
    if (Path(job) / JOB_NAME).is_file():
        return jobs(job)[0]
    found = [each for each in jobs(directory) if job in (each.job, each.directory.name, each.compaction)]
    if not found:
        raise NotFoundError(f"there is no job {job} in {directory}: name its directory")
    if len(found) > 1:
        raise ConflictError(f"there are {len(found)} jobs {job} in {directory}: name the directory of one")
    return found[0]


def cancel(job: str, directory: str | os.PathLike[str] = ".") -> Job:
    """End a job; what its ranks have written is merged all the same.

    Parameters
    ----------
    job : str
        Its id, or its directory.
    directory : path-like
        Where to look.

    Returns
    -------
    Job
        As it was before.

    Raises
    ------
    NotFoundError
        If there is no such job.
    ConflictError
        If there are several, or it is over.
    StorageError
        If the scheduler refused.
    """
    found = find_job(job, directory)
    if found.job is None or found.state == "ended":
        raise ConflictError(f"job {found.job or found.directory.name} is over")
    scheduler(found.scheduler).cancel(found.job)
    return found
