"""Logs that stayed on a node come home: by a job that is pinned there, and another merge after it."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from braid_hpc.batch.listing import find_job
from braid_hpc.batch.record import JOB_NAME, read_json
from braid_hpc.batch.rendering import asked_of, fill, prepare
from braid_hpc.batch.scheduler import Scheduler, find_scheduler
from braid_hpc.batch.specification import Specification
from braid_hpc.vocabulary.errors import BraidError, NotFoundError, StorageError
from braid_hpc.vocabulary.times import shown_time

__all__ = ["Fetched", "fetch", "left_behind"]

#: How long a job may take that brings one node's logs home (s).
TIME = 900


@dataclass(frozen=True, slots=True)
class Left:
    """A node whose last status is not its final one.

    Attributes
    ----------
    node, part : str
        The node, and the attempt.
    directory : str
        Where its logs are there.
    heard : int or None
        When it was last heard of (UTC ns).
    """

    node: str
    part: str
    directory: str
    heard: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was submitted for one node.

    Attributes
    ----------
    node, part, directory : str
        As for what was left.
    heard : str or None
        When the node was last heard of.
    job, compaction : str or None
        The jobs that bring the logs home and merge them; None where one was refused.
    fault : str or None
        Why it was.
    """

    node: str
    part: str
    directory: str
    heard: str | None
    job: str | None
    compaction: str | None
    fault: str | None


def left_behind(directory: Path) -> list[Left]:
    """Say on which nodes logs of a job may be left.

    Parameters
    ----------
    directory : Path
        The job's directory.

    Returns
    -------
    list of Left
        By attempt and node.
    """
    return sorted(_left(directory), key=lambda each: (each.part, each.node))


def _left(directory: Path) -> Iterator[Left]:
    for path in directory.glob("logs/*/*.status.json"):
        about, _ = read_json(path)
        if about is None or about.get("state") == "final":
            continue
        node, place = about.get("node"), about.get("directory")
        if isinstance(node, str) and isinstance(place, str):
            heard = about.get("time")
            yield Left(node, path.parent.name, place, heard if isinstance(heard, int) else None)


def fetch(job: str, directory: str | os.PathLike[str] = ".", *, scheduler: str | None = None) -> list[Fetched]:
    """Submit a job to each node that may hold logs of a job, which brings them home, and a merge after each.

    Parameters
    ----------
    job : str
        The job's id, or its directory.
    directory : path-like
        Where it was submitted into, or its own directory.
    scheduler : str, optional
        Without it the one of the job.

    Returns
    -------
    list of Fetched
        One for each node; none if every node's last status is its final one.

    Raises
    ------
    NotFoundError
        If there is no such job, or the scheduler is not installed here.
    StorageError
        If the scripts cannot be written.
    """
    found = find_job(job, directory)
    about, faults = read_json(found.directory / JOB_NAME)
    if about is None or not isinstance(about.get("specification"), dict):
        raise NotFoundError(f"{found.directory / JOB_NAME} does not say how the job was submitted: {'; '.join(faults)}")
    spec = Specification.again(about["specification"], source=str(found.directory / JOB_NAME))
    to = find_scheduler(spec, scheduler or found.scheduler)
    # The scripts are submitted from where they lie.
    place = found.directory.absolute()
    return [_fetch(each, place, spec, to) for each in left_behind(place)]


def _fetch(left: Left, directory: Path, spec: Specification, to: Scheduler) -> Fetched:
    script = directory / f"fetch-{left.part}-{left.node}.sh"
    try:
        script.write_text(_rendered(left, directory, spec, to))
        script.chmod(0o755)
    except OSError as error:
        raise StorageError(f"{script} cannot be written ({error.strerror})") from error
    job = compaction = fault = None
    try:
        job = to.submit(script)
        compaction = to.submit(directory / "compact.sh", after=job)
    except BraidError as error:
        fault = str(error)
    heard = None if left.heard is None else shown_time(left.heard)
    return Fetched(left.node, left.part, left.directory, heard, job, compaction, fault)


def _rendered(left: Left, directory: Path, spec: Specification, to: Scheduler) -> str:
    path = os.path.dirname(os.path.abspath(sys.executable))
    output = str(directory / f"fetch-{left.part}-{left.node}.out")
    asked = dataclasses.replace(
        asked_of(spec, "compact", output=output),
        name=f"{spec.name}-fetch",
        ranks_per_node=1,
        time=TIME,
        node=left.node,
    )
    values = {
        "LOGIN": " -l" if spec.modules else "",
        "DIRECTIVES": "\n".join(to.directives(asked)),
        "NAME": spec.name,
        "NODE": left.node,
        "LOGS": shlex.quote(left.directory),
        "ARRIVED": shlex.quote(str(directory / "logs" / left.part)),
        "ENVIRONMENT": "\n".join(prepare(spec, path)),
    }
    return fill("fetch", values)
