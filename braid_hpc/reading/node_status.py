"""Status files: what the shipper of a node tells of the ranks there, for those who cannot see the node's disk."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid_hpc.reading.progress import Progress
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["STATUS_SUFFIX", "NodeStatus", "RankStatus", "find_statuses", "read_status", "write_status"]

STATUS_FORMAT = "braid status"
STATUS_MAJOR = 1
STATUS_MINOR = 0
STATUS_SUFFIX = ".status.json"

#: A status of ten thousand ranks has some 3 MB.
_LONGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class RankStatus:
    """What is told of one writer.

    Attributes
    ----------
    progress : Progress
        How far it has come; without its host.
    shipped : bool
        Whether it has come to its end and all of it has arrived.
    """

    progress: Progress
    shipped: bool


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What the shipper of one node told last.

    Attributes
    ----------
    node, host : str
        Its names.
    scheduler, job : str or None
        Whose job it is.
    part : str
        Which attempt or task: the name of the directory that is shipped to.
    directory : str
        Where the logs are on the node.
    pid : int
        The shipper's process.
    began, time : int
        When it began and when it told this, UTC ns.
    state : str
        ``watching``, or ``final`` when it has ended.
    every : float or None
        Seconds between two rounds.
    writers : list of RankStatus
        The ranks.
    faults : list of str
        What could not be shipped, one sentence for each.
    """

    node: str
    host: str
    scheduler: str | None
    job: str | None
    part: str
    directory: str
    pid: int
    began: int
    time: int
    state: str
    every: float | None
    writers: list[RankStatus] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def write_status(directory: Path, status: NodeStatus) -> None:
    """Write a status file, whole or not at all.

    Parameters
    ----------
    directory : Path
        The directory that is shipped to.
    status : NodeStatus
        What to tell.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    told: dict[str, Any] = {"format": STATUS_FORMAT, "major": STATUS_MAJOR, "minor": STATUS_MINOR}
    told |= {name: getattr(status, name) for name in NodeStatus.__slots__ if name != "writers"}
    told["writers"] = [
        {
            **{name: getattr(rank.progress, name) for name in Progress.__slots__ if name != "host"},
            "shipped": rank.shipped,
        }
        for rank in status.writers
    ]
    aside = directory / f".{status.node}{STATUS_SUFFIX}.{os.getpid()}.new"
    try:
        aside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        os.rename(aside, directory / f"{status.node}{STATUS_SUFFIX}")
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def find_statuses(directory: Path) -> list[Path]:
    """Return the status files in a directory.

    Parameters
    ----------
    directory : Path
        A directory that is shipped to.

    Returns
    -------
    list of Path
        In order of their names.
    """
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(directory / name for name in names if name.endswith(STATUS_SUFFIX) and not name.startswith("."))


def read_status(path: Path) -> NodeStatus:
    """Read a status file.

    Parameters
    ----------
    path : Path
        ``<node>.status.json``.

    Returns
    -------
    NodeStatus
        What it tells.

    Raises
    ------
    CorruptLogError
        If it cannot be read or does not say what it has to.
    FormatTooNewError
        If it is of a newer major format.
    """
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_LONGEST))
        if not isinstance(told, dict) or told.get("format") != STATUS_FORMAT:
            raise CorruptLogError(f"{path} is no status file")
        if told["major"] > STATUS_MAJOR:
            raise FormatTooNewError(
                f"{path} is of status format {told['major']}, this braid_hpc reads up to {STATUS_MAJOR}"
            )
        return _status(told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not say what a status file says"
        raise CorruptLogError(f"{path} cannot be read ({reason})") from None


def _status(told: dict[str, Any]) -> NodeStatus:
    every = told["every"]
    return NodeStatus(
        node=str(told["node"]),
        host=str(told["host"]),
        scheduler=_text(told["scheduler"]),
        job=_text(told["job"]),
        part=str(told["part"]),
        directory=str(told["directory"]),
        pid=int(told["pid"]),
        began=int(told["began"]),
        time=int(told["time"]),
        state=str(told["state"]),
        every=None if every is None else float(every),
        writers=[_rank(rank, str(told["host"])) for rank in told["writers"]],
        faults=[str(fault) for fault in told["faults"]],
    )


def _rank(told: dict[str, Any], host: str) -> RankStatus:
    progress = Progress(
        writer=str(told["writer"]),
        host=host,
        run=_text(told["run"]),
        job=_text(told["job"]),
        rank=_number(told["rank"]),
        size=_number(told["size"]),
        state=str(told["state"]),
        events=int(told["events"]),
        lost=int(told["lost"]),
        last=_number(told["last"]),
        bytes=int(told["bytes"]),
    )
    return RankStatus(progress, bool(told["shipped"]))


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
